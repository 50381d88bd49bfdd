/* gguf.c - parses GGUF. Lengths are compared with the bytes that remain, never added to a pointer
 * first; counts are bounded by the smallest size that their elements can have.
 */
#include "lib/gguf.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum {
    MIN_PAIR_BYTES = 8 + 4 + 1,       /* key length, type, the smallest value */
    MIN_TENSOR_BYTES = 8 + 4 + 4 + 8, /* name length, rank, type, offset */
    MAX_ALIGNMENT = 1 << 20,
    DEFAULT_ALIGNMENT = 32
};

static const uint8_t VALUE_BYTES[GGUF_VALUE_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static const gguf_type TYPES[] = {
    [0] = {"F32", 1, 4},         [1] = {"F16", 1, 2},         [2] = {"Q4_0", 32, 18},
    [3] = {"Q4_1", 32, 20},      [6] = {"Q5_0", 32, 22},      [7] = {"Q5_1", 32, 24},
    [8] = {"Q8_0", 32, 34},      [9] = {"Q8_1", 32, 36},      [10] = {"Q2_K", 256, 84},
    [11] = {"Q3_K", 256, 110},   [12] = {"Q4_K", 256, 144},   [13] = {"Q5_K", 256, 176},
    [14] = {"Q6_K", 256, 210},   [15] = {"Q8_K", 256, 292},   [16] = {"IQ2_XXS", 256, 66},
    [17] = {"IQ2_XS", 256, 74},  [18] = {"IQ3_XXS", 256, 98}, [19] = {"IQ1_S", 256, 50},
    [20] = {"IQ4_NL", 32, 18},   [21] = {"IQ3_S", 256, 110},  [22] = {"IQ2_S", 256, 82},
    [23] = {"IQ4_XS", 256, 136}, [24] = {"I8", 1, 1},         [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},        [27] = {"I64", 1, 8},        [28] = {"F64", 1, 8},
    [29] = {"IQ1_M", 256, 56},   [30] = {"BF16", 1, 2},       [34] = {"TQ1_0", 256, 54},
    [35] = {"TQ2_0", 256, 66},   [39] = {"MXFP4", 32, 17},
};

const gguf_type *gguf_type_of(uint32_t type)
{
    if (type >= sizeof TYPES / sizeof TYPES[0] || !TYPES[type].name) {
        return NULL;
    }
    return &TYPES[type];
}

/* ---- Reading ------------------------------------------------------------------------------------
 */

typedef struct parser {
    gguf *g;
    byte_reader r;
    failure *f;
} parser;

static int refuse(const parser *p, uint64_t offset, const char *what)
{
    return fail(p->f, EXIT_INPUT, "%s: offset %" PRIu64 ": %s", p->g->name, offset, what);
}

static int truncated(const parser *p, const char *what)
{
    return fail(p->f, EXIT_INPUT, "%s: offset %" PRIu64 ": the file ends inside %s", p->g->name,
                p->r.pos, what);
}

static int read_string(parser *p, uint64_t max, const char *what, gguf_string *s)
{
    uint64_t at = p->r.pos;
    uint64_t n = read_u64(&p->r);
    if (p->r.failed || n > p->r.n_bytes - p->r.pos) {
        return truncated(p, what);
    }
    if (n > max) {
        return fail(p->f, EXIT_INPUT,
                    "%s: offset %" PRIu64 ": %s of %" PRIu64 " bytes; at most %" PRIu64, p->g->name,
                    at, what, n, max);
    }
    s->text = (const char *)read_bytes(&p->r, n);
    s->n_bytes = n;
    return EXIT_OK;
}

/* Moves past n strings; each needs 8 bytes at least, so that n is bounded by the file. */
static int skip_strings(parser *p, uint64_t n)
{
    if (n > (p->r.n_bytes - p->r.pos) / 8) {
        return truncated(p, "an array of strings");
    }
    for (uint64_t i = 0; i < n; i++) {
        gguf_string s;
        if (read_string(p, UINT64_MAX, "a string", &s) != EXIT_OK) {
            return EXIT_INPUT;
        }
    }
    return EXIT_OK;
}

static int read_elements(parser *p, gguf_pair *pair)
{
    pair->value = p->r.bytes + p->r.pos;
    if (pair->element == GGUF_STRING) {
        return skip_strings(p, pair->n_elements);
    }
    uint64_t size = VALUE_BYTES[pair->element], n_bytes;
    if (!checked_mul_u64(pair->n_elements, size, &n_bytes) || !read_bytes(&p->r, n_bytes)) {
        return truncated(p, "a metadata value");
    }
    for (uint64_t i = 0; pair->element == GGUF_BOOL && i < n_bytes; i++) {
        if (pair->value[i] > 1) {
            return refuse(p, (uint64_t)(pair->value - p->g->bytes) + i, "a bool is 0 or 1");
        }
    }
    return EXIT_OK;
}

static int read_pair(parser *p, gguf_pair *pair)
{
    uint64_t at = p->r.pos;
    if (read_string(p, GGUF_MAX_KEY, "a metadata key", &pair->key) != EXIT_OK) {
        return EXIT_INPUT;
    }
    if (pair->key.n_bytes == 0) {
        return refuse(p, at, "a metadata key is empty");
    }
    for (uint64_t i = 0; i < pair->key.n_bytes; i++) {
        if (pair->key.text[i] < 0x20 || pair->key.text[i] > 0x7e) {
            return refuse(p, at, "a metadata key holds bytes that are not printable ASCII");
        }
    }
    uint32_t type = read_u32(&p->r);
    uint32_t element = type;
    pair->n_elements = 1;
    if (type == GGUF_ARRAY) {
        element = read_u32(&p->r);
        pair->n_elements = read_u64(&p->r);
    }
    if (p->r.failed) {
        return truncated(p, "a metadata value");
    }
    if (type >= GGUF_VALUE_TYPES || element >= GGUF_VALUE_TYPES || element == GGUF_ARRAY) {
        return fail(
            p->f, EXIT_INPUT, "%s: offset %" PRIu64 ": %.*s has value type %u%s", p->g->name, at,
            (int)pair->key.n_bytes, pair->key.text, type == GGUF_ARRAY ? element : type,
            element == GGUF_ARRAY ? " (arrays of arrays are not read)" : ", which is unknown");
    }
    pair->type = (gguf_value_type)type;
    pair->element = (gguf_value_type)element;
    return read_elements(p, pair);
}

static int compare_strings(const gguf_string *a, const gguf_string *b)
{
    uint64_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes;
    int order = memcmp(a->text, b->text, (size_t)n);
    return order ? order : (a->n_bytes > b->n_bytes) - (a->n_bytes < b->n_bytes);
}

static int by_key(const void *a, const void *b)
{
    return compare_strings(&((const gguf_pair *)a)->key, &((const gguf_pair *)b)->key);
}

static int read_pairs(parser *p)
{
    gguf *g = p->g;
    if (g->n_pairs > (p->r.n_bytes - p->r.pos) / MIN_PAIR_BYTES) {
        return truncated(p, "the metadata: more pairs are announced than could fit");
    }
    g->pairs = (gguf_pair *)calloc((size_t)g->n_pairs + 1, sizeof(gguf_pair));
    if (!g->pairs) {
        return fail(p->f, EXIT_RESOURCE, "%s: no memory for %" PRIu64 " metadata pairs", g->name,
                    g->n_pairs);
    }
    for (uint64_t i = 0; i < g->n_pairs; i++) {
        if (read_pair(p, &g->pairs[i]) != EXIT_OK) {
            return EXIT_INPUT;
        }
    }
    qsort(g->pairs, (size_t)g->n_pairs, sizeof(gguf_pair), by_key);
    for (uint64_t i = 1; i < g->n_pairs; i++) {
        if (by_key(&g->pairs[i - 1], &g->pairs[i]) == 0) {
            return fail(p->f, EXIT_INPUT, "%s: metadata key %.*s appears twice", g->name,
                        (int)g->pairs[i].key.n_bytes, g->pairs[i].key.text);
        }
    }
    return EXIT_OK;
}

/* ---- Tensors ------------------------------------------------------------------------------------
 */

static int refuse_tensor(const parser *p, const gguf_tensor *t, const char *what)
{
    return fail(p->f, EXIT_INPUT, "%s: tensor %.*s: %s", p->g->name, (int)t->name.n_bytes,
                t->name.text, what);
}

static int size_tensor(const parser *p, gguf_tensor *t)
{
    const gguf_type *type = gguf_type_of(t->type);
    if (!type) {
        return fail(p->f, EXIT_INPUT, "%s: tensor %.*s: type number %u is unknown", p->g->name,
                    (int)t->name.n_bytes, t->name.text, t->type);
    }
    uint64_t elements = 1;
    for (uint32_t i = 0; i < t->rank; i++) {
        if (t->dims[i] == 0 || t->dims[i] > INT64_MAX) {
            return refuse_tensor(p, t, "a dimension is zero or out of range");
        }
        if (!checked_mul_u64(elements, t->dims[i], &elements)) {
            return refuse_tensor(p, t, "the product of its dimensions overflows");
        }
    }
    if (t->dims[0] % type->block_elements != 0) {
        return fail(p->f, EXIT_INPUT,
                    "%s: tensor %.*s: rows of %" PRIu64 " are not whole %s blocks", p->g->name,
                    (int)t->name.n_bytes, t->name.text, t->dims[0], type->name);
    }
    if (!checked_mul_u64(elements / type->block_elements, type->block_bytes, &t->n_bytes)) {
        return refuse_tensor(p, t, "its size in bytes overflows");
    }
    return EXIT_OK;
}

static int read_tensor(parser *p, gguf_tensor *t)
{
    uint64_t at = p->r.pos;
    if (read_string(p, GGUF_MAX_TENSOR_NAME, "a tensor name", &t->name) != EXIT_OK) {
        return EXIT_INPUT;
    }
    if (t->name.n_bytes == 0 || memchr(t->name.text, 0, (size_t)t->name.n_bytes)) {
        return refuse(p, at, "a tensor name is empty or holds a NUL");
    }
    t->rank = read_u32(&p->r);
    if (!p->r.failed && (t->rank == 0 || t->rank > GGUF_MAX_DIMS)) {
        return refuse_tensor(p, t, "its rank is not 1 to 4");
    }
    for (uint32_t i = 0; i < GGUF_MAX_DIMS; i++) {
        t->dims[i] = i < t->rank && !p->r.failed ? read_u64(&p->r) : 1;
    }
    t->type = read_u32(&p->r);
    t->offset = read_u64(&p->r);
    return p->r.failed ? truncated(p, "the tensor list") : size_tensor(p, t);
}

static int by_offset(const void *a, const void *b)
{
    const gguf_tensor *x = *(const gguf_tensor *const *)a, *y = *(const gguf_tensor *const *)b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int by_name(const void *a, const void *b)
{
    return compare_strings(&(*(const gguf_tensor *const *)a)->name,
                           &(*(const gguf_tensor *const *)b)->name);
}

/* Tensors lie at aligned offsets, in any order, without overlap, inside the file. */
static int check_placement(const parser *p, gguf_tensor **order)
{
    gguf *g = p->g;
    uint64_t end = g->data_offset;
    qsort(order, (size_t)g->n_tensors, sizeof order[0], by_offset);
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        gguf_tensor *t = order[i];
        if (t->offset % g->alignment != 0) {
            return refuse_tensor(p, t, "its offset is not a multiple of the alignment");
        }
        if (t->offset > g->n_bytes - g->data_offset ||
            t->n_bytes > g->n_bytes - g->data_offset - t->offset) {
            return refuse_tensor(p, t, "its data lies past the end of the file");
        }
        t->offset += g->data_offset;
        if (t->offset < end) {
            return refuse_tensor(p, t, "its data overlaps another tensor");
        }
        end = t->offset + t->n_bytes;
    }
    uint64_t padded;
    g->n_trailing = checked_align_u64(end, g->alignment, &padded) && padded < g->n_bytes
                        ? g->n_bytes - padded
                        : 0;
    return EXIT_OK;
}

static int check_names(const parser *p, gguf_tensor **order)
{
    qsort(order, (size_t)p->g->n_tensors, sizeof order[0], by_name);
    for (uint64_t i = 1; i < p->g->n_tensors; i++) {
        if (compare_strings(&order[i - 1]->name, &order[i]->name) == 0) {
            return refuse_tensor(p, order[i], "the name appears twice");
        }
    }
    return EXIT_OK;
}

static int read_tensors(parser *p)
{
    gguf *g = p->g;
    if (g->n_tensors > (p->r.n_bytes - p->r.pos) / MIN_TENSOR_BYTES) {
        return truncated(p, "the tensor list: more tensors are announced than could fit");
    }
    g->tensors = (gguf_tensor *)calloc((size_t)g->n_tensors + 1, sizeof(gguf_tensor));
    gguf_tensor **order = (gguf_tensor **)calloc((size_t)g->n_tensors + 1, sizeof *order);
    int code = EXIT_OK;
    if (!g->tensors || !order) {
        code = fail(p->f, EXIT_RESOURCE, "%s: no memory for %" PRIu64 " tensors", g->name,
                    g->n_tensors);
    }
    for (uint64_t i = 0; i < g->n_tensors && code == EXIT_OK; i++) {
        code = read_tensor(p, &g->tensors[i]);
        order[i] = &g->tensors[i];
    }
    if (code == EXIT_OK && (!checked_align_u64(p->r.pos, g->alignment, &g->data_offset) ||
                            (g->n_tensors != 0 && g->data_offset > g->n_bytes))) {
        code = truncated(p, "the padding before the data");
    }
    if (code == EXIT_OK && g->n_tensors != 0) {
        code = check_placement(p, order);
    }
    if (code == EXIT_OK) {
        code = check_names(p, order);
    }
    free(order);
    return code;
}

/* ---- The whole file -----------------------------------------------------------------------------
 */

static int read_header(parser *p)
{
    gguf *g = p->g;
    const uint8_t *magic = read_bytes(&p->r, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0) {
        return refuse(p, 0, "not a GGUF file");
    }
    g->version = read_u32(&p->r);
    if (g->version == 0x02000000u || g->version == 0x03000000u) {
        return refuse(p, 4, "a big-endian GGUF file; only little-endian ones are read");
    }
    if (p->r.failed || g->version < 2 || g->version > 3) {
        return fail(p->f, EXIT_INPUT, "%s: GGUF version %u; versions 2 and 3 are read", g->name,
                    g->version);
    }
    g->n_tensors = read_u64(&p->r);
    g->n_pairs = read_u64(&p->r);
    return p->r.failed ? truncated(p, "the header") : EXIT_OK;
}

static int read_alignment(parser *p)
{
    uint32_t alignment = DEFAULT_ALIGNMENT;
    const gguf_pair *pair = gguf_find(p->g, "general.alignment");
    if (pair && pair->type != GGUF_U32) {
        return fail(p->f, EXIT_INPUT, "%s: general.alignment must be a u32", p->g->name);
    }
    if (gguf_get_u32(p->g, "general.alignment", 1, MAX_ALIGNMENT, &alignment, NULL, p->f) !=
        EXIT_OK) {
        return EXIT_INPUT;
    }
    if ((alignment & (alignment - 1)) != 0) {
        return fail(p->f, EXIT_INPUT, "%s: general.alignment is %u, not a power of two", p->g->name,
                    alignment);
    }
    p->g->alignment = alignment;
    return EXIT_OK;
}

int gguf_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, gguf *g, failure *f)
{
    memset(g, 0, sizeof *g);
    g->name = name;
    g->bytes = bytes;
    g->n_bytes = n_bytes;
    parser p = {g, byte_reader_view(bytes, n_bytes), f};
    int code = read_header(&p);
    if (code == EXIT_OK) {
        code = read_pairs(&p);
    }
    if (code == EXIT_OK) {
        code = read_alignment(&p);
    }
    if (code == EXIT_OK) {
        code = read_tensors(&p);
    }
    if (code != EXIT_OK) {
        gguf_free(g);
    }
    return code;
}

void gguf_free(gguf *g)
{
    free(g->pairs);
    free(g->tensors);
    memset(g, 0, sizeof *g);
}

/* ---- Metadata -----------------------------------------------------------------------------------
 */

const gguf_pair *gguf_find(const gguf *g, const char *key)
{
    gguf_pair wanted = {.key = {key, strlen(key)}};
    return (const gguf_pair *)bsearch(&wanted, g->pairs, (size_t)g->n_pairs, sizeof wanted, by_key);
}

static int wrong_kind(const gguf *g, const char *key, const char *what, failure *f)
{
    return fail(f, EXIT_INPUT, "%s: %s must be %s", g->name, key, what);
}

/* A scalar integer of any width; false if the pair is something else or negative. */
static bool as_unsigned(const gguf_pair *pair, uint64_t *value)
{
    const uint8_t *v = pair->value;
    int64_t negative = 0;
    switch (pair->type) {
    case GGUF_U8: *value = v[0]; break;
    case GGUF_U16: *value = load_u16(v); break;
    case GGUF_U32: *value = load_u32(v); break;
    case GGUF_U64: *value = load_u64(v); break;
    case GGUF_I8: *value = (uint64_t)(negative = (int8_t)v[0]); break;
    case GGUF_I16: *value = (uint64_t)(negative = (int16_t)load_u16(v)); break;
    case GGUF_I32: *value = (uint64_t)(negative = (int32_t)load_u32(v)); break;
    case GGUF_I64: *value = (uint64_t)(negative = (int64_t)load_u64(v)); break;
    default: return false;
    }
    return negative >= 0;
}

int gguf_get_u32(const gguf *g, const char *key, uint32_t min, uint32_t max, uint32_t *value,
                 bool *found, failure *f)
{
    const gguf_pair *pair = gguf_find(g, key);
    if (found) {
        *found = pair != NULL;
    }
    if (!pair) {
        return EXIT_OK;
    }
    uint64_t wide;
    if (!as_unsigned(pair, &wide) || wide < min || wide > max) {
        return fail(f, EXIT_INPUT, "%s: %s must be an integer from %u to %u", g->name, key, min,
                    max);
    }
    *value = (uint32_t)wide;
    return EXIT_OK;
}

int gguf_get_f32(const gguf *g, const char *key, float *value, bool *found, failure *f)
{
    const gguf_pair *pair = gguf_find(g, key);
    if (found) {
        *found = pair != NULL;
    }
    if (!pair) {
        return EXIT_OK;
    }
    double wide = 0;
    if (pair->type == GGUF_F32) {
        uint32_t bits = load_u32(pair->value);
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        wide = (double)narrow;
    } else if (pair->type == GGUF_F64) {
        uint64_t bits = load_u64(pair->value);
        memcpy(&wide, &bits, sizeof wide);
    } else {
        return wrong_kind(g, key, "a floating-point number", f);
    }
    if (!isfinite((float)wide)) {
        return wrong_kind(g, key, "finite", f);
    }
    *value = (float)wide;
    return EXIT_OK;
}

int gguf_get_bool(const gguf *g, const char *key, bool *value, bool *found, failure *f)
{
    const gguf_pair *pair = gguf_find(g, key);
    if (found) {
        *found = pair != NULL;
    }
    if (pair && pair->type != GGUF_BOOL) {
        return wrong_kind(g, key, "a bool", f);
    }
    if (pair) {
        *value = pair->value[0] != 0;
    }
    return EXIT_OK;
}

int gguf_get_string(const gguf *g, const char *key, gguf_string *value, bool *found, failure *f)
{
    const gguf_pair *pair = gguf_find(g, key);
    if (found) {
        *found = pair != NULL;
    }
    if (pair && pair->type != GGUF_STRING) {
        return wrong_kind(g, key, "a string", f);
    }
    if (pair) {
        const uint8_t *cursor = pair->value;
        *value = gguf_next_string(&cursor);
    }
    return EXIT_OK;
}

int gguf_get_array(const gguf *g, const char *key, gguf_value_type element, const gguf_pair **array,
                   failure *f)
{
    *array = gguf_find(g, key);
    if (*array && ((*array)->type != GGUF_ARRAY || (*array)->element != element)) {
        return wrong_kind(g, key, "an array of another element type than it is", f);
    }
    return EXIT_OK;
}

gguf_string gguf_next_string(const uint8_t **cursor)
{
    gguf_string s = {(const char *)*cursor + 8, load_u64(*cursor)};
    *cursor += 8 + s.n_bytes;
    return s;
}
