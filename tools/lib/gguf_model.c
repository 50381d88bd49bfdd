/* gguf_model.c - opens a GGUF file with all its parts and finds the rows of every tensor that the
 * configuration calls for. Files are mapped: what is resident follows what is read.
 */
#include "lib/gguf_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARTS = 4096, PART_DIGITS = 5 };

/* ---- Parts ----------------------------------------------------------------------------------- */

static int open_part(gguf_part *part, failure *f)
{
    int code = input_open(part->path, &part->in, f);
    code = code ? code : input_map(&part->in, f);
    if (code != EXIT_OK) {
        return code;
    }
    if (part->in.n_bytes >= 4 && memcmp(part->in.bytes, "FUGG", 4) == 0) {
        return fail(f, EXIT_INPUT, "%s: is a big-endian file, which is not supported", part->path);
    }
    return gguf_parse(part->path, part->in.bytes, part->in.n_bytes, &part->g, f);
}

static bool all_digits(const char *p, int n)
{
    for (int i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return false;
        }
    }
    return true;
}

/* "m-00002-of-00003.gguf": where "00002" begins, or NULL; *n_parts as the name says. */
static const char *part_number(const char *path, uint32_t *n_parts)
{
    static const char ending[] = ".gguf";
    size_t n = strlen(path), tail = PART_DIGITS + strlen("-of-") + PART_DIGITS + strlen(ending);
    if (n <= tail || strcmp(path + n - strlen(ending), ending) != 0) {
        return NULL;
    }
    const char *at = path + n - tail, *of = at + PART_DIGITS, *count = of + strlen("-of-");
    if (at[-1] != '-' || !all_digits(at, PART_DIGITS) || memcmp(of, "-of-", 4) != 0 ||
        !all_digits(count, PART_DIGITS)) {
        return NULL;
    }
    *n_parts = (uint32_t)strtoul(count, NULL, 10);
    return at;
}

static int check_part(const gguf_model *m, uint32_t index, uint32_t n_parts, failure *f)
{
    const gguf *g = &m->parts[index].g;
    uint32_t number = 0, count = 1;
    bool numbered;
    int code = gguf_get_u32(g, "split.no", 0, MAX_PARTS, &number, &numbered, f);
    code = code ? code : gguf_get_u32(g, "split.count", 0, MAX_PARTS, &count, NULL, f);
    if (code == EXIT_OK && n_parts > 1 && (!numbered || number != index || count != n_parts)) {
        return fail(f, EXIT_INPUT,
                    "%s: by its name it is part %u of %u, by split.no and split.count %u of %u: "
                    "give all parts their original names",
                    g->name, index + 1, n_parts, number + 1, count);
    }
    return code;
}

/* The number of tensors in all parts is in each; it tells parts of different models apart. */
static int check_count(const gguf_model *m, failure *f)
{
    for (uint32_t i = 0; i < m->n_parts; i++) {
        uint32_t count = (uint32_t)m->n_found;
        int code =
            gguf_get_u32(&m->parts[i].g, "split.tensors.count", 0, INT32_MAX, &count, NULL, f);
        if (code == EXIT_OK && count != m->n_found) {
            return fail(f, EXIT_INPUT,
                        "%s: split.tensors.count is %u, but the %u parts hold %" PRIu64
                        " tensors: are they of one model?",
                        m->parts[i].path, count, m->n_parts, m->n_found);
        }
        if (code != EXIT_OK) {
            return code;
        }
    }
    return EXIT_OK;
}

static int open_parts(gguf_model *m, const char *path, failure *f)
{
    uint32_t n = 1, said = 1;
    const char *number = part_number(path, &n);
    if (number && (n == 0 || n > MAX_PARTS)) {
        return fail(f, EXIT_INPUT, "%s: the name speaks of %u parts", path, n);
    }
    m->parts = calloc(n, sizeof *m->parts);
    if (!m->parts) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", path);
    }
    m->n_parts = n;
    for (uint32_t i = 0; i < n; i++) {
        m->parts[i].in.fd = -1;
    }
    for (uint32_t i = 0; i < n; i++) {
        gguf_part *part = &m->parts[i];
        part->path = strdup(path);
        if (!part->path) {
            return fail(f, EXIT_RESOURCE, "%s: no memory", path);
        }
        if (number) {
            char digits[16];
            snprintf(digits, sizeof digits, "%05u", i + 1);
            memcpy(part->path + (number - path), digits, PART_DIGITS);
        }
        int code = open_part(part, f);
        code = code ? code : check_part(m, i, n, f);
        if (code != EXIT_OK) {
            return code;
        }
    }
    int code = gguf_get_u32(&m->parts[0].g, "split.count", 0, MAX_PARTS, &said, NULL, f);
    if (code == EXIT_OK && said > 1 && n == 1) {
        return fail(f, EXIT_INPUT,
                    "%s: is one of %u parts; give them their original names "
                    "(NAME-00001-of-%05u.gguf) and name any of them",
                    path, said, said);
    }
    return code;
}

/* ---- Tensors --------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const gguf_string *x = &((const gguf_found *)a)->tensor->name;
    const gguf_string *y = &((const gguf_found *)b)->tensor->name;
    uint64_t n = x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes;
    int order = memcmp(x->text, y->text, (size_t)n);
    return order ? order : (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

void gguf_model_sort(gguf_model *m)
{
    qsort(m->found, (size_t)m->n_found, sizeof *m->found, by_name);
}

static int list_tensors(gguf_model *m, failure *f)
{
    for (uint32_t i = 0; i < m->n_parts; i++) {
        m->n_found += m->parts[i].g.n_tensors;
    }
    m->found = calloc((size_t)m->n_found + 1, sizeof *m->found);
    if (!m->found) {
        return fail(f, EXIT_RESOURCE, "no memory for the list of tensors");
    }
    uint64_t at = 0;
    for (uint32_t i = 0; i < m->n_parts; i++) {
        for (uint64_t k = 0; k < m->parts[i].g.n_tensors; k++) {
            m->found[at++] = (gguf_found){&m->parts[i].g.tensors[k], i, false};
        }
    }
    gguf_model_sort(m);
    for (uint64_t i = 1; i < m->n_found; i++) {
        if (by_name(&m->found[i - 1], &m->found[i]) == 0) {
            gguf_string name = m->found[i].tensor->name;
            return fail(f, EXIT_INPUT, "%s: tensor %.*s is in another part too",
                        m->parts[m->found[i].part].path, (int)name.n_bytes, name.text);
        }
    }
    return check_count(m, f);
}

gguf_found *gguf_model_find(const gguf_model *m, const char *name)
{
    gguf_tensor named = {.name = {name, strlen(name)}};
    gguf_found wanted = {.tensor = &named};
    return bsearch(&wanted, m->found, (size_t)m->n_found, sizeof wanted, by_name);
}

/* Replaces `from` in a name. False if it is not there. */
static bool replaced(const char *name, const char *from, const char *to, char *out)
{
    const char *at = strstr(name, from);
    if (at) {
        snprintf(out, GGUF_MAX_TENSOR_NAME, "%.*s%s%s", (int)(at - name), name, to,
                 at + strlen(from));
    }
    return at != NULL;
}

/* A tensor that stands in the rows of a larger one: q, k and v in attn_qkv, gate and up in ffn_up.
 * *rows: how many that one must have. */
static gguf_found *find_fused(const gguf_model *m, const char *name, uint64_t *first,
                              uint64_t *rows)
{
    const slm_config *c = &m->config;
    uint64_t n_q = (uint64_t)c->n_heads * c->head_dim, n_k = (uint64_t)c->n_kv_heads * c->head_dim;
    char fused[GGUF_MAX_TENSOR_NAME];
    const char *const parts[] = {".attn_q.", ".attn_k.", ".attn_v."};
    for (uint64_t i = 0; i < 3; i++) {
        if (replaced(name, parts[i], ".attn_qkv.", fused)) {
            *first = i == 0 ? 0 : i == 1 ? n_q : n_q + n_k;
            *rows = n_q + 2 * n_k;
            return gguf_model_find(m, fused);
        }
    }
    *rows = 2 * (uint64_t)c->d_ff;
    if (replaced(name, ".ffn_gate.", ".ffn_up.", fused)) {
        *first = 0;
        return gguf_model_find(m, fused);
    }
    char gate[GGUF_MAX_TENSOR_NAME];
    if (c->gated && replaced(name, ".ffn_up.", ".ffn_gate.", gate) && !gguf_model_find(m, gate)) {
        *first = c->d_ff;
        return gguf_model_find(m, name);
    }
    return NULL;
}

static bool source_type(uint32_t ggml, slm_type *type)
{
    static const uint32_t numbers[SLM_TYPE_COUNT] = {0, 1, 30, 8, 2, 12, 13, 14};
    for (int i = 0; i < SLM_TYPE_COUNT; i++) {
        if (numbers[i] == ggml) {
            *type = (slm_type)i;
            return true;
        }
    }
    return false;
}

static int check_place(const gguf_model *m, gguf_place *p, uint64_t rows, const char *name,
                       failure *f)
{
    const gguf_tensor *t = p->tensor;
    const char *path = m->parts[p->part].path;
    uint64_t cols = p->spec.rank == 2 ? p->spec.dims[1] : 0;
    uint64_t is_rows = p->spec.rank == 2 ? t->dims[1] : t->dims[0];
    bool same = is_rows == rows && (cols == 0 || t->dims[0] == cols);
    for (uint32_t i = p->spec.rank; i < GGUF_MAX_DIMS; i++) {
        same = same && t->dims[i] == 1;
    }
    if (!same) {
        return fail(f, EXIT_INPUT,
                    "%s: tensor %s has dimensions %" PRIu64 " x %" PRIu64
                    ", the metadata asks for %" PRIu64 " x %" PRIu64,
                    path, name, t->dims[0], t->dims[1], cols ? cols : rows, cols ? rows : 1);
    }
    const gguf_type *type = gguf_type_of(t->type);
    bool known = source_type(t->type, &p->type);
    if (!known || (p->spec.rank == 1 && p->type > SLM_TYPE_BF16)) {
        return fail(f, EXIT_INPUT,
                    "%s: tensor %s has type %s, which is not supported%s; take a file of type %s",
                    path, name, type->name, known ? " for a norm or bias" : "",
                    "F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K or Q6_K, or convert the original "
                    "checkpoint and use slm-quantize");
    }
    return EXIT_OK;
}

static int place_tensor(gguf_model *m, gguf_place *p, failure *f)
{
    const slm_config *c = &m->config;
    char name[GGUF_MAX_TENSOR_NAME];
    gguf_tensor_name(p->spec.name, name);
    uint64_t first = 0, rows = p->spec.dims[0];
    gguf_found *found = gguf_model_find(m, name), *fused = NULL;
    if (!found || (strstr(name, ".ffn_up.") && c->gated)) {
        uint64_t fused_first = 0, fused_rows = 0;
        fused = find_fused(m, name, &fused_first, &fused_rows);
        if (fused) {
            found = fused;
            first = fused_first;
            rows = fused_rows;
        }
    }
    if (!found) {
        return fail(f, EXIT_INPUT, "%s: tensor %s is missing", m->parts[0].path, name);
    }
    found->used = true;
    p->tensor = found->tensor;
    p->part = found->part;
    p->first_row = first;
    bool turned = strstr(name, ".attn_q.") || strstr(name, ".attn_k.");
    p->pair_rows = turned && m->family->interleaved ? c->head_dim : 0;
    int code = check_place(m, p, rows, name, f);
    uint64_t n = p->spec.dims[0] * (p->spec.rank == 2 ? p->spec.dims[1] : 1);
    m->n_parameters += n;
    if (code == EXIT_OK) {
        const gguf_type *type = gguf_type_of(found->tensor->type);
        m->n_source_bytes += n / type->block_elements * type->block_bytes;
    }
    return code;
}

/* Tensors without which the numbers would be the same. */
static bool is_harmless(gguf_string name)
{
    static const char *const endings[] = {".attn_rot_embd", ".rope_freqs.weight",
                                          "rotary_emb.inv_freq"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t k = strlen(endings[i]);
        if (name.n_bytes >= k && memcmp(name.text + name.n_bytes - k, endings[i], k) == 0) {
            return true;
        }
    }
    return false;
}

static int check_left_over(const gguf_model *m, notes *w, failure *f)
{
    for (uint64_t i = 0; i < m->n_found; i++) {
        gguf_string name = m->found[i].tensor->name;
        if (m->found[i].used) {
            continue;
        }
        if (!is_harmless(name)) {
            return fail(
                f, EXIT_INPUT, "%s: tensor %.*s is left over: %s models have no place for it",
                m->parts[m->found[i].part].path, (int)name.n_bytes, name.text, m->family->name);
        }
        note(w, "tensor %.*s is left out: no result depends on it", (int)name.n_bytes, name.text);
    }
    return EXIT_OK;
}

static int place_tensors(gguf_model *m, notes *w, failure *f)
{
    m->n_tensors = slm_config_n_tensors(&m->config);
    m->places = calloc(m->n_tensors, sizeof *m->places);
    if (!m->places) {
        return fail(f, EXIT_RESOURCE, "no memory for the list of tensors");
    }
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        slm_config_tensor(&m->config, i, &m->places[i].spec);
        int code = place_tensor(m, &m->places[i], f);
        if (code != EXIT_OK) {
            return code;
        }
    }
    return check_left_over(m, w, f);
}

int gguf_model_open(const char *path, bool want_tokenizer, gguf_model *m, notes *w, failure *f)
{
    *m = (gguf_model){0};
    int code = open_parts(m, path, f);
    code = code ? code : list_tensors(m, f);
    code = code ? code : gguf_config_read(m, w, f);
    code = code ? code : place_tensors(m, w, f);
    for (uint32_t i = 0; i < m->n_parts && code == EXIT_OK; i++) {
        if (m->parts[i].g.n_trailing != 0) {
            note(w, "%s: %" PRIu64 " bytes after the last tensor are ignored", m->parts[i].path,
                 m->parts[i].g.n_trailing);
        }
    }
    return code == EXIT_OK && want_tokenizer ? gguf_tokenizer_read(m, w, f) : code;
}

int gguf_model_open_tokenizer(const char *path, gguf_model *m, notes *w, failure *f)
{
    int code = open_parts(m, path, f);
    code = code ? code : gguf_config_read_ids(m, f);
    return code ? code : gguf_tokenizer_read(m, w, f);
}

void gguf_model_free(gguf_model *m)
{
    for (uint32_t i = 0; i < m->n_parts; i++) {
        gguf_free(&m->parts[i].g);
        if (m->parts[i].in.path) {
            input_close(&m->parts[i].in);
        }
        free(m->parts[i].path);
    }
    free(m->parts);
    free(m->found);
    free(m->places);
    tokenizer_payload_free(&m->tokenizer);
    *m = (gguf_model){0};
}
