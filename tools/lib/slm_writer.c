/* slm_writer.c - sections, tensor declarations and a stream of tensor data -> the bytes of a .slm
 * file. Data goes out as it comes, with a checksum per tensor on the way; the front of the file,
 * which holds those checksums, is written last, over a gap left for it.
 */
#include "lib/slm_writer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

typedef struct declared_tensor {
    char *name;
    uint32_t name_bytes, rank;
    slm_type type;
    uint64_t dims[SLM_MAX_DIMS];
    uint64_t offset, length, checksum; /* offset: in DATA */
} declared_tensor;

typedef struct front_section {
    uint32_t kind, flags;
    uint8_t *bytes; /* NULL: not present, or DATA */
    uint64_t offset, length, checksum;
} front_section;

/* In file order. */
enum { CONF, TOKN, CHAT, TMPL, PROV, TDIR, DATA, N_KINDS };
static const uint32_t KINDS[N_KINDS] = {
    SLM_SECTION_CONFIG,     SLM_SECTION_TOKENIZER, SLM_SECTION_CHAT, SLM_SECTION_TEMPLATE,
    SLM_SECTION_PROVENANCE, SLM_SECTION_DIRECTORY, SLM_SECTION_DATA};

struct slm_writer {
    output *out;
    char architecture[SLM_ARCHITECTURE_BYTES];
    front_section sections[N_KINDS];
    declared_tensor *tensors;
    uint32_t n_tensors, capacity;
    bool begun;
    uint64_t n_parameters, n_bytes;
    uint32_t current; /* tensor that receives data */
    uint64_t received;
    slm_hash hash; /* of the current tensor */
};

static uint64_t align_up(uint64_t n)
{
    return (n + SLM_ALIGN - 1) & ~(uint64_t)(SLM_ALIGN - 1);
}

static int no_memory(failure *f)
{
    return fail(f, EXIT_RESOURCE, "out of memory while writing a .slm file");
}

int slm_writer_create(output *out, const char *architecture, const slm_config *config,
                      slm_writer **writer, failure *f)
{
    slm_error error;
    size_t n = strlen(architecture);
    if (n == 0 || n >= SLM_ARCHITECTURE_BYTES) {
        return fail(f, EXIT_INPUT, "architecture name '%s' must have 1 to 31 bytes", architecture);
    }
    if (slm_config_check(config, &error) != SLM_OK) {
        return fail(f, EXIT_INPUT, "%s", error.text);
    }
    slm_writer *w = (slm_writer *)calloc(1, sizeof *w);
    if (!w) {
        return no_memory(f);
    }
    w->out = out;
    memcpy(w->architecture, architecture, n);
    for (int i = 0; i < N_KINDS; i++) {
        w->sections[i].kind = KINDS[i];
        w->sections[i].flags = i == CHAT || i == TMPL || i == PROV ? 0 : SLM_SECTION_REQUIRED;
    }
    uint8_t bytes[SLM_CONFIG_MAX_BYTES];
    size_t n_bytes = slm_config_write(config, bytes, sizeof bytes);
    int code = slm_writer_section(w, SLM_SECTION_CONFIG, bytes, n_bytes, f);
    if (code != EXIT_OK) {
        slm_writer_destroy(&w);
        return code;
    }
    *writer = w;
    return EXIT_OK;
}

int slm_writer_section(slm_writer *w, uint32_t kind, const void *bytes, uint64_t n_bytes,
                       failure *f)
{
    for (int i = 0; i < TDIR; i++) {
        front_section *s = &w->sections[i];
        if (s->kind != kind) {
            continue;
        }
        if (w->begun || s->bytes || n_bytes == 0 || n_bytes > SIZE_MAX) {
            return fail(f, EXIT_INTERNAL, "section %d is added twice, late or empty", i);
        }
        s->bytes = (uint8_t *)malloc((size_t)n_bytes);
        if (!s->bytes) {
            return no_memory(f);
        }
        memcpy(s->bytes, bytes, (size_t)n_bytes);
        s->length = n_bytes;
        return EXIT_OK;
    }
    return fail(f, EXIT_INTERNAL, "the writer knows no section of kind %08" PRIx32, kind);
}

static int grow(slm_writer *w, failure *f)
{
    if (w->n_tensors < w->capacity) {
        return EXIT_OK;
    }
    uint32_t capacity = w->capacity ? 2 * w->capacity : 64;
    declared_tensor *tensors = (declared_tensor *)realloc(w->tensors, capacity * sizeof *tensors);
    if (!tensors) {
        return no_memory(f);
    }
    w->tensors = tensors;
    w->capacity = capacity;
    return EXIT_OK;
}

int slm_writer_tensor(slm_writer *w, const char *name, slm_type type, uint32_t rank,
                      const uint64_t *dims, failure *f)
{
    size_t n = strlen(name);
    if (w->begun || n == 0 || n > SLM_MAX_NAME || w->n_tensors == SLM_MAX_TENSORS) {
        return fail(f, EXIT_INTERNAL, "tensor '%s' cannot be declared", name);
    }
    int code = grow(w, f);
    if (code != EXIT_OK) {
        return code;
    }
    declared_tensor *t = &w->tensors[w->n_tensors];
    memset(t, 0, sizeof *t);
    uint64_t elements = 1;
    bool fits = rank >= 1 && rank <= SLM_MAX_DIMS;
    for (uint32_t i = 0; i < SLM_MAX_DIMS && fits; i++) {
        t->dims[i] = i < rank ? dims[i] : 1;
        fits = checked_mul_u64(elements, t->dims[i], &elements);
    }
    if (!fits || !slm_tensor_stored_bytes(type, rank, t->dims, &t->length) ||
        !checked_add_u64(w->n_parameters, elements, &w->n_parameters)) {
        return fail(f, EXIT_INPUT,
                    "tensor '%s': a shape of rank %" PRIu32 " cannot be stored as %s", name, rank,
                    slm_type_name(type));
    }
    t->name = strdup(name);
    if (!t->name) {
        return no_memory(f);
    }
    t->name_bytes = (uint32_t)n;
    t->type = type;
    t->rank = rank;
    w->n_tensors++;
    return EXIT_OK;
}

static uint64_t entry_bytes(const declared_tensor *t)
{
    return 8 + 8 * (uint64_t)t->rank + 24 + (t->name_bytes + 7) / 8 * 8;
}

/* Places of tensors in DATA, and of sections in the file. */
static int lay_out(slm_writer *w, failure *f)
{
    uint64_t end = 0, directory = 8, n_sections = 0;
    for (uint32_t i = 0; i < w->n_tensors; i++) {
        declared_tensor *t = &w->tensors[i];
        t->offset = align_up(end);
        directory += entry_bytes(t);
        if (t->length > INT64_MAX - t->offset - (1 << 20)) {
            return fail(f, EXIT_RESOURCE, "the file would exceed 2^63 bytes");
        }
        end = t->offset + t->length;
    }
    w->sections[TDIR].length = directory;
    w->sections[DATA].length = end;
    for (int i = 0; i < N_KINDS; i++) {
        n_sections += w->sections[i].length != 0;
    }
    uint64_t at = SLM_HEADER_BYTES + n_sections * SLM_SECTION_ENTRY_BYTES;
    for (int i = 0; i < N_KINDS; i++) {
        front_section *s = &w->sections[i];
        if (s->length != 0) {
            s->offset = align_up(at);
            if (s->length > INT64_MAX - s->offset) {
                return fail(f, EXIT_RESOURCE, "the file would exceed 2^63 bytes");
            }
            at = s->offset + s->length;
        }
    }
    w->n_bytes = at;
    return EXIT_OK;
}

int slm_writer_begin(slm_writer *w, uint64_t *n_bytes, failure *f)
{
    if (w->begun || w->n_tensors == 0) {
        return fail(f, EXIT_INTERNAL, "a .slm file needs a tensor, and begins once");
    }
    int code = lay_out(w, f);
    if (code != EXIT_OK) {
        return code;
    }
    w->begun = true;
    slm_hash_init(&w->hash, 0);
    *n_bytes = w->n_bytes;
    return EXIT_OK;
}

/* ---- Data ------------------------------------------------------------------------------------ */

/* The gap in front of the data, and the padding between tensors. */
static int write_zeros(slm_writer *w, uint64_t n, failure *f)
{
    static const uint8_t zeros[4096];
    int code = EXIT_OK;
    while (n > 0 && code == EXIT_OK) {
        uint64_t piece = n < sizeof zeros ? n : sizeof zeros;
        code = output_write(w->out, zeros, piece, f);
        n -= piece;
    }
    return code;
}

static int end_tensor(slm_writer *w, failure *f)
{
    declared_tensor *t = &w->tensors[w->current++];
    t->checksum = slm_hash_final(&w->hash);
    slm_hash_init(&w->hash, 0);
    w->received = 0;
    uint64_t end = t->offset + t->length;
    return w->current < w->n_tensors ? write_zeros(w, t[1].offset - end, f) : EXIT_OK;
}

int slm_writer_data(slm_writer *w, const void *bytes, uint64_t n_bytes, failure *f)
{
    const uint8_t *p = (const uint8_t *)bytes;
    int code = EXIT_OK;
    if (!w->begun) {
        return fail(f, EXIT_INTERNAL, "tensor data before slm_writer_begin");
    }
    if (w->current == 0 && w->received == 0 && n_bytes != 0) {
        code = write_zeros(w, w->sections[DATA].offset, f);
    }
    while (n_bytes > 0 && code == EXIT_OK) {
        if (w->current == w->n_tensors) {
            return fail(f, EXIT_INTERNAL, "%" PRIu64 " bytes of data more than the tensors have",
                        n_bytes);
        }
        uint64_t left = w->tensors[w->current].length - w->received;
        uint64_t piece = n_bytes < left ? n_bytes : left;
        slm_hash_update(&w->hash, p, (size_t)piece);
        code = output_write(w->out, p, piece, f);
        w->received += piece;
        p += piece;
        n_bytes -= piece;
        if (piece == left && code == EXIT_OK) {
            code = end_tensor(w, f);
        }
    }
    return code;
}

/* ---- Front ----------------------------------------------------------------------------------- */

static int build_directory(slm_writer *w, failure *f)
{
    front_section *s = &w->sections[TDIR];
    s->bytes = (uint8_t *)calloc(1, (size_t)s->length);
    if (!s->bytes) {
        return no_memory(f);
    }
    store_u32(s->bytes, w->n_tensors);
    uint8_t *p = s->bytes + 8;
    for (uint32_t i = 0; i < w->n_tensors; i++) {
        const declared_tensor *t = &w->tensors[i];
        store_u16(p, (uint16_t)t->name_bytes);
        p[2] = (uint8_t)t->type;
        p[3] = (uint8_t)t->rank;
        p[4] = t->type >= SLM_TYPE_Q8_0 ? SLM_LAYOUT_T16 : SLM_LAYOUT_ROWS;
        uint8_t *q = p + 8;
        for (uint32_t k = 0; k < t->rank; k++, q += 8) {
            store_u64(q, t->dims[k]);
        }
        store_u64(q, t->offset);
        store_u64(q + 8, t->length);
        store_u64(q + 16, t->checksum);
        memcpy(q + 24, t->name, t->name_bytes);
        p += entry_bytes(t);
    }
    return EXIT_OK;
}

static void build_header(const slm_writer *w, uint8_t *front, uint32_t n_sections)
{
    static const uint8_t magic[8] = {0x89, 'S', 'L', 'M', '\r', '\n', 0x1a, '\n'};
    uint64_t layout = slm_layout_checksum_begin();
    for (uint32_t i = 0; i < w->n_tensors; i++) {
        const declared_tensor *t = &w->tensors[i];
        layout = slm_layout_checksum_add(layout, t->name, t->name_bytes, t->rank, t->dims);
    }
    memcpy(front, magic, 8);
    store_u32(front + 8, SLM_FORMAT_VERSION);
    store_u32(front + 12, SLM_HEADER_BYTES);
    store_u64(front + 16, w->n_bytes);
    store_u32(front + 24, n_sections);
    store_u64(front + 32, SLM_HEADER_BYTES);
    store_u64(front + 40, w->n_parameters);
    store_u64(front + 48, w->sections[TOKN].checksum);
    store_u64(front + 56, layout);
    store_u64(front + 64, w->sections[DATA].checksum);
    memcpy(front + 72, w->architecture, SLM_ARCHITECTURE_BYTES);
    slm_hash hash;
    slm_hash_init(&hash, 0);
    slm_hash_update(&hash, front, 120);
    slm_hash_update(&hash, front + SLM_HEADER_BYTES, n_sections * SLM_SECTION_ENTRY_BYTES);
    store_u64(front + 120, slm_hash_final(&hash));
}

static uint64_t content_checksum(const slm_writer *w)
{
    uint64_t h = slm_content_checksum_begin();
    for (uint32_t i = 0; i < w->n_tensors; i++) {
        h = slm_content_checksum_add(h, w->tensors[i].checksum);
    }
    return h;
}

/* Copies the payloads into the front and makes its section table; returns the number of sections.
 */
static uint32_t build_sections(slm_writer *w, uint8_t *front)
{
    uint32_t n = 0;
    for (int i = 0; i < N_KINDS; i++) {
        front_section *s = &w->sections[i];
        if (s->length == 0) {
            continue;
        }
        s->checksum =
            i == DATA ? content_checksum(w) : slm_hash_bytes(0, s->bytes, (size_t)s->length);
        if (i != DATA) {
            memcpy(front + s->offset, s->bytes, (size_t)s->length);
        }
        uint8_t *entry = front + SLM_HEADER_BYTES + n++ * SLM_SECTION_ENTRY_BYTES;
        store_u32(entry, s->kind);
        store_u32(entry + 4, s->flags);
        store_u64(entry + 8, s->offset);
        store_u64(entry + 16, s->length);
        store_u64(entry + 24, s->checksum);
    }
    return n;
}

int slm_writer_finish(slm_writer *w, failure *f)
{
    if (!w->begun || w->current != w->n_tensors) {
        return fail(f, EXIT_INTERNAL, "tensor %" PRIu32 " of %" PRIu32 " has not all of its data",
                    w->current, w->n_tensors);
    }
    int code = build_directory(w, f);
    if (code != EXIT_OK) {
        return code;
    }
    uint64_t n_front = w->sections[DATA].offset;
    uint8_t *front = (uint8_t *)calloc(1, (size_t)n_front);
    if (!front) {
        return no_memory(f);
    }
    build_header(w, front, build_sections(w, front));
    code = output_write_at(w->out, 0, front, n_front, f);
    free(front);
    return code;
}

void slm_writer_destroy(slm_writer **writer)
{
    slm_writer *w = *writer;
    if (!w) {
        return;
    }
    for (int i = 0; i < N_KINDS; i++) {
        free(w->sections[i].bytes);
    }
    for (uint32_t i = 0; i < w->n_tensors; i++) {
        free(w->tensors[i].name);
    }
    free(w->tensors);
    free(w);
    *writer = NULL;
}
