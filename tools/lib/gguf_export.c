/* gguf_export.c - .slm -> GGUF: groups of 16 rows become rows of blocks again, bit for bit; rows of
 * q and k go back to interleaved order, and to one tensor with v where the architecture has that.
 *
 * What has been written as metadata is read again before the first tensor is: only if it gives the
 * configuration of the .slm file is the GGUF the same model.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/half.h"
#include "lib/gguf_convert.h"
#include "lib/gguf_keys.h"
#include "lib/output.h"
#include "quant/blocks.h"

enum { ALIGNMENT = 32, MAX_FUSED = 3 };

typedef struct out_tensor {
    char name[GGUF_MAX_TENSOR_NAME];
    const slm_tensor *parts[MAX_FUSED]; /* whose rows follow each other; NULL: rope_freqs */
    uint32_t n_parts;
    bool turned; /* rows of each head in interleaved order */
    gguf_tensor header;
} out_tensor;

typedef struct export
{
    const char *path;
    input in;
    void *memory;
    slm_file file;
    slm_config config;
    const gguf_family *family;
    out_tensor *tensors;
    uint32_t n_tensors;
    gguf_keys keys;
    float *freqs; /* rope_freqs.weight, head_dim / 2 */
    output *out;
    failure *f;
}
export;

static int open_source(export *e)
{
    slm_error error;
    uint64_t need = 0;
    int code = input_open(e->path, &e->in, e->f);
    code = code ? code : input_map(&e->in, e->f);
    if (code != EXIT_OK) {
        return code;
    }
    slm_status status = slm_file_arena_bytes(e->in.bytes, e->in.n_bytes, &need, &error);
    if (status == SLM_OK) {
        if (need > SIZE_MAX || posix_memalign(&e->memory, 64, (size_t)need) != 0) {
            return fail(e->f, EXIT_RESOURCE, "%s: no memory for its directory", e->path);
        }
        slm_arena arena = arena_over(e->memory, need);
        status = slm_file_open(&e->file, &arena, e->in.bytes, e->in.n_bytes, e->in.n_bytes, &error);
    }
    if (status == SLM_OK) {
        const slm_section *s = slm_file_section(&e->file, SLM_SECTION_CONFIG);
        status = slm_config_read(&e->config, e->in.bytes + s->offset, (size_t)s->length, &error);
    }
    if (status == SLM_OK) {
        status = slm_config_check_tensors(&e->config, &e->file, &error);
    }
    if (status != SLM_OK) {
        return fail_status(e->f, e->path, &error);
    }
    e->family = gguf_family_of(e->file.architecture);
    return e->family ? EXIT_OK
                     : fail(e->f, EXIT_INPUT, "%s: there is no GGUF architecture for \"%s\"",
                            e->path, e->file.architecture);
}

/* ---- Tensors --------------------------------------------------------------------------------- */

static const slm_tensor *find(const export *e, const char *name)
{
    return slm_file_tensor(&e->file, name, strlen(name));
}

/* Where the name says `.from.`: the same with `.to.`. */
static bool renamed(const char *name, const char *from, const char *to, char *out)
{
    const char *at = strstr(name, from);
    if (at) {
        snprintf(out, GGUF_MAX_TENSOR_NAME, "%.*s%s%s", (int)(at - name), name, to,
                 at + strlen(from));
    }
    return at != NULL;
}

/* The tensors of the file that make up the one that begins with `name`. Returns false for one that
 * is part of another. */
static bool collect(const export *e, const char *name, out_tensor *t)
{
    char other[GGUF_MAX_TENSOR_NAME];
    t->parts[0] = find(e, name);
    t->n_parts = 1;
    if (e->family->fused_qkv) {
        if (strstr(name, ".attn_k.") || strstr(name, ".attn_v.")) {
            return false;
        }
        if (renamed(name, ".attn_q.", ".attn_k.", other)) {
            t->parts[1] = find(e, other);
            renamed(name, ".attn_q.", ".attn_v.", other);
            t->parts[2] = find(e, other);
            t->n_parts = 3;
            renamed(name, ".attn_q.", ".attn_qkv.", t->name);
        }
    }
    if (e->family->fused_up) {
        if (strstr(name, ".ffn_gate.")) {
            return false;
        }
        if (renamed(name, ".ffn_up.", ".ffn_gate.", other)) {
            t->parts[1] = t->parts[0];
            t->parts[0] = find(e, other);
            t->n_parts = 2;
        }
    }
    t->turned = e->family->interleaved && (strstr(name, ".attn_q.") || strstr(name, ".attn_k."));
    return true;
}

static int size_tensor(const export *e, out_tensor *t, uint64_t *offset)
{
    static const uint32_t numbers[SLM_TYPE_COUNT] = {0, 1, 30, 8, 2, 12, 13, 14};
    const slm_tensor *s = t->parts[0];
    uint64_t rows = 0, cols = s->rank == 2 ? s->dims[1] : 1;
    const gguf_type *type = gguf_type_of(numbers[s->type]);
    for (uint32_t i = 0; i < t->n_parts; i++) {
        rows += t->parts[i]->dims[0];
        if (t->parts[i]->type != s->type) {
            return fail(e->f, EXIT_INPUT,
                        "%s: %s would join tensors of type %s and %s; give them one type", e->path,
                        t->name, slm_type_name(s->type), slm_type_name(t->parts[i]->type));
        }
    }
    if (cols % type->block_elements != 0 && s->rank == 2) {
        return fail(e->f, EXIT_INPUT,
                    "%s: tensor %s: rows of %" PRIu64 " elements end in a short super-block, "
                    "which GGUF's %s does not have; use slm-quantize with Q8_0 or Q4_0 for it",
                    e->path, t->name, cols, type->name);
    }
    t->header = (gguf_tensor){.name = {t->name, strlen(t->name)},
                              .rank = s->rank,
                              .dims = {s->rank == 2 ? cols : rows, s->rank == 2 ? rows : 1, 1, 1},
                              .type = numbers[s->type],
                              .offset = *offset};
    t->header.n_bytes = rows * cols / type->block_elements * type->block_bytes;
    *offset += (t->header.n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return EXIT_OK;
}

static int add_freqs(export *e, uint32_t n, uint64_t *offset)
{
    out_tensor *t = &e->tensors[e->n_tensors++];
    snprintf(t->name, sizeof t->name, "rope_freqs.weight");
    t->header = (gguf_tensor){.name = {t->name, strlen(t->name)},
                              .rank = 1,
                              .dims = {n, 1, 1, 1},
                              .offset = *offset,
                              .n_bytes = n * 4};
    *offset += (t->header.n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return EXIT_OK;
}

/* What llama.cpp divides each frequency by: Llama 3.1's scaling, or any other, as a tensor. */
static int make_freqs(export *e, uint64_t *offset)
{
    const slm_config *c = &e->config;
    uint32_t n = c->rope_dim ? c->rope_dim : c->head_dim;
    e->freqs = malloc(n / 2 * sizeof *e->freqs);
    if (!e->freqs) {
        return fail(e->f, EXIT_RESOURCE, "%s: no memory", e->path);
    }
    if (c->rope_scaling == SLM_ROPE_SCALING_DIVISORS) {
        memcpy(e->freqs, c->rope_divisors, n / 2 * sizeof *e->freqs);
        return add_freqs(e, n / 2, offset);
    }
    double low = (double)c->rope_low_freq_factor, high = (double)c->rope_high_freq_factor;
    for (uint32_t i = 0; i < n / 2; i++) {
        double wavelength = 2 * 3.14159265358979323846 * pow((double)c->rope_theta, 2.0 * i / n);
        double smooth = (c->rope_original_context / wavelength - low) / (high - low);
        double factor = (double)c->rope_factor;
        e->freqs[i] = (float)(smooth <= 0   ? factor
                              : smooth >= 1 ? 1
                                            : 1 / ((1 - smooth) / factor + smooth));
    }
    return add_freqs(e, n / 2, offset);
}

static int plan_tensors(export *e)
{
    uint64_t offset = 0;
    uint32_t n = slm_config_n_tensors(&e->config);
    e->tensors = calloc((size_t)n + 1, sizeof *e->tensors);
    if (!e->tensors) {
        return fail(e->f, EXIT_RESOURCE, "%s: no memory", e->path);
    }
    for (uint32_t i = 0; i < n; i++) {
        slm_tensor_spec spec;
        out_tensor *t = &e->tensors[e->n_tensors];
        slm_config_tensor(&e->config, i, &spec);
        gguf_tensor_name(spec.name, t->name);
        if (collect(e, spec.name, t)) {
            int code = size_tensor(e, t, &offset);
            if (code != EXIT_OK) {
                return code;
            }
            e->n_tensors++;
        }
    }
    bool has_freqs =
        e->config.rope_scaling == SLM_ROPE_SCALING_LLAMA3 ||
        (e->config.rope_scaling == SLM_ROPE_SCALING_DIVISORS && e->family->interleaved);
    return has_freqs ? make_freqs(e, &offset) : EXIT_OK;
}

/* ---- Metadata -------------------------------------------------------------------------------- */

/* Token ids: those that end a text have three keys. None is said, too, for a reader has its own
 * idea of a file that says nothing. */
static void put_ids(export *e, notes *w)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    const slm_config *c = &e->config;
    gguf_key_u32(&e->keys, "tokenizer.ggml.bos_token_id", (uint32_t)c->bos_id);
    if (c->n_stop_ids == 0) {
        gguf_key_u32(&e->keys, ends[0], UINT32_MAX);
    }
    for (uint32_t i = 0; i < c->n_stop_ids && i < 3; i++) {
        gguf_key_u32(&e->keys, ends[i], (uint32_t)c->stop_ids[i]);
    }
    if (c->n_stop_ids > 3) {
        note(w, "%s: GGUF names three tokens that end a text; %u are left out", e->path,
             c->n_stop_ids - 3);
    }
}

/* Takes over what GGUF has no place for, and the parameters behind rope_freqs, whose values are
 * what was written. */
static void take_over(slm_config *read, const slm_config *c)
{
    read->temperature = c->temperature;
    read->top_p = c->top_p;
    read->min_p = c->min_p;
    read->top_k = c->top_k;
    read->n_stop_ids = c->n_stop_ids;
    memcpy(read->stop_ids, c->stop_ids, sizeof c->stop_ids);
    if (c->rope_scaling == SLM_ROPE_SCALING_LLAMA3 &&
        read->rope_scaling == SLM_ROPE_SCALING_DIVISORS) {
        read->rope_scaling = c->rope_scaling;
        read->rope_factor = c->rope_factor;
        read->rope_original_context = c->rope_original_context;
        read->n_rope_divisors = 0;
    }
    read->rope_low_freq_factor = c->rope_low_freq_factor;
    read->rope_high_freq_factor = c->rope_high_freq_factor;
}

/* Reads the metadata back and compares. */
static int prove(export *e)
{
    uint8_t head[24] = "GGUF", was[SLM_CONFIG_MAX_BYTES], is[SLM_CONFIG_MAX_BYTES];
    gguf_keys copy = {0};
    gguf_part part = {.path = (char *)(uintptr_t)e->path};
    gguf_model m = {.parts = &part, .n_parts = 1, .n_found = e->n_tensors};
    store_u32(head + 4, 3);
    store_u64(head + 16, e->keys.n_pairs);
    gguf_put(&copy, head, sizeof head);
    gguf_put(&copy, e->keys.bytes, e->keys.n_bytes);
    m.found = calloc((size_t)e->n_tensors + 1, sizeof *m.found);
    gguf_tensor freqs = {0};
    int code = copy.failed || !m.found
                   ? fail(e->f, EXIT_RESOURCE, "%s: no memory", e->path)
                   : gguf_parse(e->path, copy.bytes, copy.n_bytes, &part.g, e->f);
    for (uint32_t i = 0; i < e->n_tensors && m.found; i++) {
        m.found[i] = (gguf_found){&e->tensors[i].header, 0, false};
        if (!e->tensors[i].parts[0]) { /* its values are looked at: they lie in memory */
            freqs = e->tensors[i].header;
            freqs.offset = 0;
            m.found[i].tensor = &freqs;
            part.in.bytes = (const uint8_t *)e->freqs;
        }
    }
    if (code == EXIT_OK) {
        gguf_model_sort(&m);
        notes *ignored = calloc(1, sizeof *ignored);
        code = ignored ? gguf_config_read(&m, ignored, e->f)
                       : fail(e->f, EXIT_RESOURCE, "%s: no memory", e->path);
        free(ignored);
    }
    if (code == EXIT_OK) {
        take_over(&m.config, &e->config);
        size_t n = slm_config_write(&e->config, was, sizeof was);
        if (slm_config_write(&m.config, is, sizeof is) != n || memcmp(was, is, n) != 0) {
            code = fail(e->f, EXIT_INPUT,
                        "%s: its configuration differs from what GGUF's %s models compute; there "
                        "is no GGUF for it",
                        e->path, e->family->name);
        }
    }
    gguf_free(&part.g);
    gguf_keys_free(&copy);
    free(m.found);
    return code;
}

/* The file says what the model is; what llama.cpp makes of it may be another thing. */
static void note_readers(const export *e, notes *w)
{
    const gguf_family *family = e->family;
    const slm_config *c = &e->config;
    if (family->window_unread && c->window != 0 && c->window < c->n_context) {
        note(w,
             "%s: llama.cpp gives %s models no window: beyond %u positions its numbers are others",
             e->path, family->name, c->window);
    }
    if (e->freqs && !family->rope_freqs) {
        note(w, "%s: llama.cpp does not load %s models with rope_freqs.weight", e->path,
             family->name);
    }
    if (family->untied_only && c->tied_output) {
        note(w, "%s: llama.cpp does not load %s models without output.weight", e->path,
             family->name);
    }
}

static int make_keys(export *e, bool want_tokenizer, notes *w)
{
    const slm_section *s = slm_file_section(&e->file, SLM_SECTION_TOKENIZER);
    int code = EXIT_OK;
    gguf_keys_config(&e->keys, e->family, &e->config);
    put_ids(e, w);
    note_readers(e, w);
    if (s && want_tokenizer) {
        code = gguf_keys_tokenizer(&e->keys, e->path, e->in.bytes + s->offset, s->length,
                                   &e->config, w, e->f);
    } else {
        gguf_key_string(&e->keys, "tokenizer.ggml.model", "none");
    }
    if (slm_file_section(&e->file, SLM_SECTION_CHAT)) {
        note(w, "%s: chat turns are not written: GGUF holds templates in Jinja", e->path);
    }
    if (code == EXIT_OK && e->keys.failed) {
        return fail(e->f, EXIT_RESOURCE, "%s: no memory for the metadata", e->path);
    }
    return code ? code : prove(e);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static int write_header(export *e, uint64_t *n_header)
{
    gguf_keys head = {0};
    static const uint8_t zero[ALIGNMENT];
    gguf_put(&head, "GGUF", 4);
    gguf_put_u32(&head, 3);
    gguf_put_u64(&head, e->n_tensors);
    gguf_put_u64(&head, e->keys.n_pairs);
    gguf_put(&head, e->keys.bytes, e->keys.n_bytes);
    for (uint32_t i = 0; i < e->n_tensors; i++) {
        const gguf_tensor *t = &e->tensors[i].header;
        gguf_put_string(&head, t->name.text, t->name.n_bytes);
        gguf_put_u32(&head, t->rank);
        for (uint32_t k = 0; k < t->rank; k++) {
            gguf_put_u64(&head, t->dims[k]);
        }
        gguf_put_u32(&head, t->type);
        gguf_put_u64(&head, t->offset);
    }
    gguf_put(&head, zero, (ALIGNMENT - head.n_bytes % ALIGNMENT) % ALIGNMENT);
    int code = head.failed ? fail(e->f, EXIT_RESOURCE, "%s: no memory", e->path)
                           : output_write(e->out, head.bytes, head.n_bytes, e->f);
    *n_header = head.n_bytes;
    gguf_keys_free(&head);
    return code;
}

/* Row r of the GGUF tensor is this row of ours. */
static uint64_t our_row(const export *e, const out_tensor *t, uint64_t r)
{
    if (t->turned) {
        uint64_t n = e->config.head_dim, in_head = r % n;
        r = r - in_head + (in_head % 2 ? n / 2 : 0) + in_head / 2;
    }
    return r;
}

static void put_block_row(const slm_tensor *s, const uint8_t *data, uint64_t row, uint8_t *out)
{
    static const uint32_t block_bytes[SLM_TYPE_COUNT] = {[SLM_TYPE_Q8_0] = sizeof(ggml_q8_0),
                                                         [SLM_TYPE_Q4_0] = sizeof(ggml_q4_0),
                                                         [SLM_TYPE_Q4_K] = sizeof(ggml_q4_k),
                                                         [SLM_TYPE_Q5_K] = sizeof(ggml_q5_k),
                                                         [SLM_TYPE_Q6_K] = sizeof(ggml_q6_k)};
    uint32_t n_cols = (uint32_t)s->dims[1];
    const uint8_t *group = data + row / SLM_GROUP_ROWS * slm_t16_group_bytes(s->type, n_cols);
    bool small = s->type == SLM_TYPE_Q8_0 || s->type == SLM_TYPE_Q4_0;
    for (uint32_t b = 0; b < slm_n_super_blocks(n_cols); b++) {
        slm_super_block block;
        uint32_t n_sub = slm_sub_blocks(n_cols, b);
        slm_t16_load(s->type, group, n_cols, b, (uint32_t)(row % SLM_GROUP_ROWS), &block);
        slm_ggml_store(s->type, &block, n_sub, out);
        out += (small ? n_sub : 1) * block_bytes[s->type];
    }
}

static int write_part(export *e, const out_tensor *t, const slm_tensor *s, uint8_t *row_bytes)
{
    const uint8_t *data = slm_tensor_data(&e->file, s);
    const gguf_type *type = gguf_type_of(t->header.type);
    uint64_t cols = s->rank == 2 ? s->dims[1] : 1;
    uint64_t n = cols / type->block_elements * type->block_bytes;
    uint64_t stride =
        s->rank == 2 && !slm_type_is_block(s->type) ? slm_row_bytes(s->type, (uint32_t)cols) : n;
    int code = EXIT_OK;
    for (uint64_t r = 0; r < s->dims[0] && code == EXIT_OK; r++) {
        uint64_t row = our_row(e, t, r);
        if (slm_type_is_block(s->type)) {
            put_block_row(s, data, row, row_bytes);
            code = output_write(e->out, row_bytes, n, e->f);
        } else {
            code = output_write(e->out, data + row * stride, n, e->f);
        }
    }
    return code;
}

static int write_tensors(export *e, progress *p)
{
    static const uint8_t zero[ALIGNMENT];
    uint64_t widest = 0, done = 0, total = 0;
    for (uint32_t i = 0; i < e->n_tensors; i++) {
        const gguf_tensor *t = &e->tensors[i].header;
        widest = t->dims[0] > widest ? t->dims[0] : widest;
        total += t->n_bytes;
    }
    uint8_t *row = malloc((size_t)widest * 4);
    int code = row ? EXIT_OK : fail(e->f, EXIT_RESOURCE, "%s: no memory for a row", e->path);
    for (uint32_t i = 0; i < e->n_tensors && code == EXIT_OK; i++) {
        const out_tensor *t = &e->tensors[i];
        for (uint32_t k = 0; k < t->n_parts && code == EXIT_OK; k++) {
            code = write_part(e, t, t->parts[k], row);
        }
        if (t->n_parts == 0) {
            code = output_write(e->out, e->freqs, t->header.n_bytes, e->f);
        }
        uint64_t padding = (ALIGNMENT - t->header.n_bytes % ALIGNMENT) % ALIGNMENT;
        code = code ? code : output_write(e->out, zero, padding, e->f);
        done += t->header.n_bytes;
        progress_update(p, "writing", done, total);
    }
    free(row);
    return code;
}

/* Checksums first: what is damaged must not go on in another format. */
static int check_data(const export *e)
{
    slm_error error;
    for (uint32_t i = 0; i < e->file.n_tensors; i++) {
        if (slm_file_check_tensor(&e->file, i, &error) != SLM_OK) {
            return fail_status(e->f, e->path, &error);
        }
    }
    return EXIT_OK;
}

static void close_all(export *e)
{
    output_destroy(&e->out);
    gguf_keys_free(&e->keys);
    free(e->tensors);
    free(e->freqs);
    free(e->memory);
    if (e->in.path) {
        input_close(&e->in);
    }
}

int slm_to_gguf(const gguf_job *job, gguf_model *m, convert_summary *r, progress *p, notes *w,
                failure *f)
{
    export e = {.path = job->in, .in = {.fd = -1}, .f = f};
    int code = strcmp(job->dtype, "keep") == 0
                   ? EXIT_OK
                   : fail(f, EXIT_USAGE, "--to gguf keeps every type; leave out --dtype");
    uint64_t n_header = 0;
    code = code ? code : open_source(&e);
    code = code ? code : check_data(&e);
    code = code ? code : plan_tensors(&e);
    code = code ? code : make_keys(&e, job->want_tokenizer, w);
    code = code ? code : output_create(job->out, job->force, &job->in, 1, &e.out, f);
    code = code ? code : write_header(&e, &n_header);
    code = code ? code : write_tensors(&e, p);
    code = code ? code : input_unchanged(&e.in, f);
    code = code ? code : output_commit(e.out, f);
    if (code == EXIT_OK) {
        const gguf_tensor *last = &e.tensors[e.n_tensors - 1].header;
        const slm_section *s = slm_file_section(&e.file, SLM_SECTION_TOKENIZER);
        m->family = e.family;
        m->config = e.config;
        m->tokenizer.n_tokenizer = s && job->want_tokenizer ? s->length : 0;
        m->n_parameters = e.file.n_parameters;
        m->n_tensors = e.n_tensors;
        r->n_bytes =
            n_header + last->offset + (last->n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        for (uint32_t i = 0; i < e.file.n_tensors; i++) {
            r->n_of_type[e.file.tensors[i].type]++;
        }
        gguf_summary(m, r);
    }
    close_all(&e);
    return code;
}
