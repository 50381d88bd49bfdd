/* hf_model.c - opens a Hugging Face folder and matches its tensors with the configuration. */
#include "lib/hf_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/hf_model_files.h"
#include "lib/hf_tokenizer_check.h"
#include "lib/json_in.h"
#include "lib/sha256.h"

/* ---- Tensors --------------------------------------------------------------------------------- */

static uint64_t dim(const safetensors_tensor *t, uint32_t i)
{
    return i < t->rank ? t->dims[i] : 1;
}

/* "[512, 256]" */
static const char *shape_text(char out[64], uint32_t rank, const uint64_t *dims)
{
    size_t used = 0;
    out[0] = '[';
    out[1] = ']';
    out[2] = 0;
    for (uint32_t i = 0; i < rank && used < 60; i++) {
        used += (size_t)snprintf(out + used, 64 - used, "%s%llu%s", i ? ", " : "[",
                                 (unsigned long long)dims[i], i + 1 == rank ? "]" : "");
    }
    return out;
}

/* Exports of the bare decoder drop the prefix, from every tensor or none. */
static bool has_prefix(const hf_model *m)
{
    const char *prefix = m->hf.family->prefix;
    for (uint32_t i = 0; i < m->all.n_tensors; i++) {
        if (strncmp(m->all.tensors[i].name, prefix, strlen(prefix)) == 0) {
            return true;
        }
    }
    return false;
}

/* Two tensors, byte for byte. */
static int same_bytes(hf_model *m, const safetensors_tensor *a, const safetensors_tensor *b,
                      bool *same, failure *f)
{
    const size_t n_piece = 1 << 16;
    *same = a->dtype == b->dtype && a->rank == b->rank && dim(a, 0) == dim(b, 0) &&
            dim(a, 1) == dim(b, 1) && a->end - a->begin == b->end - b->begin;
    uint8_t *pieces = malloc(2 * n_piece);
    int code = pieces ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory");
    uint64_t n = a->end - a->begin;
    for (uint64_t at = 0; at < n && *same && code == EXIT_OK; at += n_piece) {
        const safetensors_tensor *t[2] = {a, b};
        uint64_t take = n - at < n_piece ? n - at : n_piece;
        for (size_t i = 0; i < 2 && code == EXIT_OK; i++) {
            const input *in;
            code = hf_model_shard(m, t[i]->shard, &in, f);
            if (code == EXIT_OK) {
                uint64_t start = m->headers[t[i]->shard].data_offset + t[i]->begin + at;
                code = input_read_at(in, start, pieces + i * n_piece, take, f);
            }
        }
        *same = code == EXIT_OK && memcmp(pieces, pieces + n_piece, (size_t)take) == 0;
    }
    free(pieces);
    return code;
}

/* The file's tensor that serves as token embedding, and the output tensor that it makes
 * superfluous, if any. */
typedef struct tied {
    const safetensors_tensor *embedding, *dropped;
} tied;

static int find_tied(hf_model *m, bool prefix, tied *t, notes *w, failure *f)
{
    const hf_family *family = m->hf.family;
    char name[SLM_MAX_NAME], other[SLM_MAX_NAME];
    hf_tensor_name(family, "token_embd.weight", prefix, name);
    hf_tensor_name(family, "output.weight", prefix, other);
    const safetensors_tensor *separate = safetensors_find(&m->all, other);
    *t = (tied){safetensors_find(&m->all, name), NULL};
    if (!m->hf.config.tied_output || !separate) {
        return EXIT_OK;
    }
    if (!t->embedding) {
        t->embedding = separate;
        return EXIT_OK;
    }
    bool same;
    int code = same_bytes(m, t->embedding, separate, &same, f);
    if (code == EXIT_OK && !same) {
        return fail(f, EXIT_INPUT,
                    "tie_word_embeddings is true, but %s and %s are different: correct "
                    "config.json or the weights",
                    name, other);
    }
    if (code == EXIT_OK) {
        note(w, "%s equals %s and is stored once", other, name);
        t->dropped = separate;
    }
    return code;
}

/* The embedding may have more rows than vocab_size says (padding): they are kept. */
static void settle_vocabulary(hf_model *m, const safetensors_tensor *embedding, notes *w)
{
    slm_config *c = &m->hf.config;
    if (embedding && embedding->rank == 2 && embedding->dims[1] == c->d_model &&
        embedding->dims[0] > c->n_vocab && embedding->dims[0] <= INT32_MAX) {
        note(w, "the embedding has %llu rows for %s %u: all are kept, and may be generated",
             (unsigned long long)embedding->dims[0], m->hf.family->keys[HF_VOCAB], c->n_vocab);
        c->n_vocab = (uint32_t)embedding->dims[0];
    }
}

/* Checkpoints of older tools have attention_bias without one on the output: the class then takes it
 * as zero. */
static void settle_output_bias(hf_model *m, bool prefix, notes *w)
{
    slm_config *c = &m->hf.config;
    char name[SLM_MAX_NAME];
    if (c->output_bias && !m->hf.family->always_output_bias &&
        hf_tensor_name(m->hf.family, "blk.0.attn_output.bias", prefix, name) &&
        !safetensors_find(&m->all, name)) {
        c->output_bias = 0;
        note(w, "%s is missing: the output of attention is taken to have no bias", name);
    }
}

/* Ids are compared with the rows of the embedding, not with vocab_size, which may be smaller. */
static int check_ids(const slm_config *c, failure *f)
{
    if (c->bos_id >= 0 && (uint32_t)c->bos_id >= c->n_vocab) {
        return fail(f, EXIT_INPUT, "config.json: bos_token_id %d is not below the vocabulary's %u",
                    c->bos_id, c->n_vocab);
    }
    for (uint32_t i = 0; i < c->n_stop_ids; i++) {
        if ((uint32_t)c->stop_ids[i] >= c->n_vocab) {
            return fail(f, EXIT_INPUT,
                        "config.json or generation_config.json: eos_token_id %d is not below the "
                        "vocabulary's %u",
                        c->stop_ids[i], c->n_vocab);
        }
    }
    return EXIT_OK;
}

/* What is wrong with the tensors taken together: the first case of each kind, and how many. */
typedef struct mismatch {
    uint32_t n_missing, n_shape, n_type, n_extra;
    bool no_output; /* is what is missing first */
    char missing[SLM_MAX_NAME], shape[400], type[400], extra[3][128];
} mismatch;

static void match_tensor(hf_model *m, hf_tensor *t, const char *name, mismatch *bad)
{
    const safetensors_tensor *s = t->source;
    if (!s) {
        if (bad->n_missing++ == 0) {
            snprintf(bad->missing, sizeof bad->missing, "%s", name);
            bad->no_output = strcmp(t->spec.name, "output.weight") == 0;
        }
        return;
    }
    uint64_t dims[2] = {t->source_rows, t->spec.dims[1]};
    if (t->turned) {
        dims[0] = t->spec.dims[1];
        dims[1] = t->source_rows;
    }
    bool same = s->rank == t->spec.rank;
    for (uint32_t i = 0; i < t->spec.rank && same; i++) {
        same = s->dims[i] == dims[i];
    }
    if (!same && bad->n_shape++ == 0) {
        char is[64], needed[64];
        snprintf(bad->shape, sizeof bad->shape, "%.200s has shape %s, %.99s asks for %s", s->name,
                 shape_text(is, s->rank, s->dims), m->config_name,
                 shape_text(needed, t->spec.rank, dims));
    }
    switch (safetensors_dtype_kind(s->dtype)) {
    case SAFETENSORS_F32: t->type = SLM_TYPE_F32; break;
    case SAFETENSORS_F16: t->type = SLM_TYPE_F16; break;
    case SAFETENSORS_BF16: t->type = SLM_TYPE_BF16; break;
    case SAFETENSORS_OTHER:
        if (bad->n_type++ == 0) {
            snprintf(bad->type, sizeof bad->type, "%.200s in %.100s has type %s", s->name,
                     m->shards[s->shard].name, safetensors_dtype_name(s->dtype));
        }
        break;
    }
    uint64_t n = t->spec.dims[0] * (t->spec.rank == 2 ? t->spec.dims[1] : 1);
    m->n_source_bytes += n * (t->type == SLM_TYPE_F32 ? 4 : 2);
    m->n_parameters += n;
}

static int report_mismatch(const hf_model *m, const mismatch *bad, failure *f)
{
    uint32_t n = bad->n_shape + bad->n_missing + bad->n_extra;
    char hint[96] = "";
    if (n > 3) {
        snprintf(hint, sizeof hint, ": is %.50s that of another model?", m->config_name);
    }
    if (bad->n_shape != 0) {
        return fail(f, EXIT_INPUT,
                    "tensor %s (%u shapes disagree, %u tensors missing, %u left "
                    "over%s)",
                    bad->shape, bad->n_shape, bad->n_missing, bad->n_extra, hint);
    }
    if (bad->n_missing != 0) {
        return fail(f, EXIT_INPUT, "tensor %s is missing (%u missing, %u left over%s)%s",
                    bad->missing, bad->n_missing, bad->n_extra, hint,
                    bad->no_output ? "; tie_word_embeddings is false or absent in config.json"
                                   : "");
    }
    if (bad->n_extra != 0) {
        return fail(f, EXIT_INPUT,
                    "%u tensor%s left over, for which %s models have no place: %s%s%s%s%s%s",
                    bad->n_extra, bad->n_extra == 1 ? " is" : "s are", m->hf.family->model_type,
                    bad->extra[0], *bad->extra[1] ? ", " : "", bad->extra[1],
                    *bad->extra[2] ? ", " : "", bad->extra[2], bad->n_extra > 3 ? ", ..." : "");
    }
    if (bad->n_type != 0) {
        return fail(f, EXIT_INPUT, "tensor %s, which is not supported (F32, F16, BF16 are)",
                    bad->type);
    }
    return EXIT_OK;
}

/* Tensors of the file that no place was found for. used: one flag a tensor of m->all. */
static void check_extra(hf_model *m, const bool *used, mismatch *bad, notes *w)
{
    uint32_t n_ignored = 0;
    const char *ignored = "";
    for (uint32_t i = 0; i < m->all.n_tensors; i++) {
        const safetensors_tensor *t = &m->all.tensors[i];
        if (used[i]) {
            continue;
        }
        if (hf_tensor_ignorable(t->name)) {
            ignored = n_ignored++ == 0 ? t->name : ignored;
        } else if (bad->n_extra++ < 3) {
            snprintf(bad->extra[bad->n_extra - 1], sizeof bad->extra[0], "%s", t->name);
        }
    }
    if (n_ignored != 0) {
        note(w, "tensors that no result depends on are left out: %u, such as %.200s", n_ignored,
             ignored);
    }
}

int hf_model_match(hf_model *m, notes *w, failure *f)
{
    if (m->all.n_tensors == 0) {
        return fail(f, EXIT_INPUT, "%s: holds no tensors", m->shards[0].path);
    }
    bool prefix = has_prefix(m);
    mismatch bad = {0};
    tied ties;
    int code = find_tied(m, prefix, &ties, w, f);
    if (code != EXIT_OK) {
        return code;
    }
    settle_vocabulary(m, ties.embedding, w);
    settle_output_bias(m, prefix, w);
    code = check_ids(&m->hf.config, f);
    if (code != EXIT_OK) {
        return code;
    }
    slm_error error;
    if (slm_config_check(&m->hf.config, &error) != SLM_OK) {
        return fail_status(f, m->config_name, &error);
    }
    m->n_tensors = slm_config_n_tensors(&m->hf.config);
    m->tensors = calloc(m->n_tensors, sizeof *m->tensors);
    bool *used = calloc((size_t)m->all.n_tensors + 1, sizeof *used);
    if (!m->tensors || !used) {
        free(used);
        return fail(f, EXIT_RESOURCE, "no memory for the list of tensors");
    }
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        hf_tensor *t = &m->tensors[i];
        char name[SLM_MAX_NAME];
        slm_config_tensor(&m->hf.config, i, &t->spec);
        const hf_name *known = hf_tensor_name(m->hf.family, t->spec.name, prefix, name);
        if (!known) {
            code = fail(f, EXIT_INTERNAL, "no name for tensor %s", t->spec.name);
            break;
        }
        t->first_row = hf_part_rows(&m->hf.config, known->part, t->spec.dims[0], &t->source_rows);
        t->turned = known->turned;
        t->less_one = known->less_one;
        bool embedding = strcmp(t->spec.name, "token_embd.weight") == 0;
        t->source = embedding ? ties.embedding : safetensors_find(&m->all, name);
        match_tensor(m, t, name, &bad);
        if (t->source) {
            used[t->source - m->all.tensors] = true;
        }
    }
    if (ties.dropped) {
        used[ties.dropped - m->all.tensors] = true;
    }
    if (code == EXIT_OK) {
        check_extra(m, used, &bad, w);
    }
    free(used);
    return code == EXIT_OK ? report_mismatch(m, &bad, f) : code;
}

/* config.json's dtype is what the weights were trained in; files say for themselves. */
static void note_dtype(const hf_model *m, notes *w)
{
    static const char *const names[] = {"float32", "float16", "bfloat16"};
    static const slm_type types[] = {SLM_TYPE_F32, SLM_TYPE_F16, SLM_TYPE_BF16};
    if (!*m->hf.dtype || strcmp(m->hf.dtype, "auto") == 0) {
        return;
    }
    for (int k = 0; k < 3; k++) {
        for (uint32_t i = 0; i < m->n_tensors && strcmp(names[k], m->hf.dtype) == 0; i++) {
            if (m->tensors[i].type == types[k]) {
                return;
            }
        }
    }
    note(w, "config.json: dtype \"%s\" is not that of the weights (%s)", m->hf.dtype,
         slm_type_name(m->tensors[0].type));
}

/* ---- Tokenizer ------------------------------------------------------------------------------- */

/* chat_template.jinja, where newer folders keep the template, takes its place in the text of
 * tokenizer_config.json; a different one that stands there is told of. *config is replaced
 * (malloc'd). */
static int insert_template(char **config, size_t *n_config, const char *template, size_t n_template,
                           notes *w, failure *f)
{
    json_t *root = NULL;
    int code = EXIT_OK;
    if (*config) {
        code = json_in_parse_reals("tokenizer_config.json", *config, *n_config, &root, f);
    } else {
        root = json_object();
    }
    if (code != EXIT_OK) {
        return code;
    }
    json_t *value = json_stringn(template, n_template);
    if (!value) {
        json_decref(root);
        return fail(f, EXIT_INPUT, "chat_template.jinja: not UTF-8 text");
    }
    const json_t *other = json_object_get(root, "chat_template");
    if (other && !json_is_null(other) && !json_equal(other, value)) {
        note(w, "tokenizer_config.json: chat_template is not that of chat_template.jinja, which "
                "counts");
    }
    int failed = json_object_set_new(root, "chat_template", value);
    char *merged = failed ? NULL : json_in_text(root);
    json_decref(root);
    if (!merged) {
        return fail(f, EXIT_RESOURCE, "tokenizer_config.json: no memory");
    }
    free(*config);
    *config = merged;
    *n_config = strlen(merged);
    return EXIT_OK;
}

static int read_tokenizer(hf_model *m, const char *folder, notes *w, failure *f)
{
    const slm_config *c = &m->hf.config;
    char *json, *config = NULL, *template = NULL;
    size_t n_json, n_config = 0, n_template = 0;
    int code = hf_read_text(m, folder, "tokenizer.json", false, &json, &n_json, f);
    if (code == EXIT_OK && !json) {
        return fail(f, EXIT_INPUT,
                    "%s: there is no tokenizer.json (--no-tokenizer converts the weights alone)",
                    folder);
    }
    if (code == EXIT_OK) {
        code = hf_read_text(m, folder, "tokenizer_config.json", false, &config, &n_config, f);
    }
    if (code == EXIT_OK) {
        code = hf_read_text(m, folder, "chat_template.jinja", false, &template, &n_template, f);
    }
    if (code == EXIT_OK && template) {
        code = insert_template(&config, &n_config, template, n_template, w, f);
    }
    if (code == EXIT_OK) {
        tokenizer_hints hints = {.n_vocab = c->n_vocab,
                                 .bos_id = c->bos_id,
                                 .eos_id = c->n_stop_ids ? c->stop_ids[0] : -1,
                                 .stop_ids = c->stop_ids,
                                 .n_stop_ids = c->n_stop_ids};
        code = tokenizer_from_json("tokenizer.json", json, n_json, "tokenizer_config.json", config,
                                   n_config, &hints, &m->tokenizer, f);
    }
    if (code == EXIT_OK) {
        note_lines(w, m->tokenizer.warnings);
        hf_check_special_tokens(folder, config, n_config, w);
        hf_check_pieces(folder, json, n_json, w);
    }
    free(json);
    free(config);
    free(template);
    return code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int check_folder(const char *folder, failure *f)
{
    struct stat s;
    if (*folder == 0) {
        return fail(f, EXIT_USAGE, "the name of the folder is empty");
    }
    if (stat(folder, &s) != 0) {
        return fail_errno(f, folder, "cannot be opened");
    }
    if (!S_ISDIR(s.st_mode)) {
        return fail(f, EXIT_INPUT,
                    "%s: is a file; name the folder that holds config.json and the weights",
                    folder);
    }
    return EXIT_OK;
}

int hf_model_open(const char *folder, bool want_tokenizer, hf_model *m, notes *w, failure *f)
{
    *m = (hf_model){.open = {.fd = -1},
                    .open_index = UINT32_MAX,
                    .source = "huggingface",
                    .config_name = "config.json"};
    char *config = NULL, *generation = NULL;
    size_t n_config, n_generation;
    int code = check_folder(folder, f);
    code = code ? code : hf_read_text(m, folder, "config.json", true, &config, &n_config, f);
    code = code ? code : hf_config_read("config.json", config, n_config, &m->hf, w, f);
    code = code ? code
                : hf_read_text(m, folder, "generation_config.json", false, &generation,
                               &n_generation, f);
    if (code == EXIT_OK && generation) {
        code =
            hf_config_generation("generation_config.json", generation, n_generation, &m->hf, w, f);
    }
    free(config);
    free(generation);
    code = code ? code : hf_find_weights(m, folder, w, f);
    code = code ? code : hf_model_match(m, w, f);
    if (code == EXIT_OK) {
        note_dtype(m, w);
    }
    return code == EXIT_OK && want_tokenizer ? read_tokenizer(m, folder, w, f) : code;
}

static int close_shard(hf_model *m, failure *f)
{
    int code = m->open_index != UINT32_MAX ? input_unchanged(&m->open, f) : EXIT_OK;
    input_close(&m->open);
    m->open_index = UINT32_MAX;
    return code;
}

int hf_model_shard(hf_model *m, uint32_t index, const input **in, failure *f)
{
    const hf_file *file = &m->shards[index];
    if (file->memory) {
        m->rearranged =
            (input){.path = file->path, .fd = -1, .n_bytes = file->n_bytes, .bytes = file->memory};
        *in = &m->rearranged;
        return EXIT_OK;
    }
    if (m->open_index != index) {
        int code = close_shard(m, f);
        code = code == EXIT_OK ? input_open(file->path, &m->open, f) : code;
        if (code != EXIT_OK) {
            return code;
        }
        m->open_index = index;
        if (m->open.n_bytes != file->n_bytes || m->open.mtime_ns != file->mtime_ns ||
            m->open.inode != file->inode || m->open.device != file->device) {
            return fail(f, EXIT_IO, "%s: changed while it was being read; run again", file->path);
        }
    }
    *in = &m->open;
    return EXIT_OK;
}

int hf_model_hash(hf_model *m, progress *p, failure *f)
{
    enum { PIECE = 1 << 20 };
    uint8_t *piece = malloc(PIECE);
    uint64_t done = 0, total = 0;
    int code = piece ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory");
    for (uint32_t i = 0; i < m->n_shards; i++) {
        total += m->shards[i].memory ? 0 : m->shards[i].n_bytes;
    }
    for (uint32_t i = 0; i < m->n_shards && code == EXIT_OK; i++) {
        const input *in;
        sha256 digest;
        if (m->shards[i].memory) {
            continue;
        }
        sha256_init(&digest);
        code = hf_model_shard(m, i, &in, f);
        uint64_t n = m->shards[i].n_bytes;
        for (uint64_t at = 0; at < n && code == EXIT_OK; at += PIECE) {
            uint64_t take = n - at < PIECE ? n - at : PIECE;
            code = input_read_at(in, at, piece, take, f);
            if (code == EXIT_OK) {
                sha256_update(&digest, piece, (size_t)take);
                done += take;
                progress_update(p, "hashing", done, total);
            }
        }
        sha256_final_hex(&digest, m->shards[i].sha256);
    }
    free(piece);
    return code;
}

int hf_model_finish(hf_model *m, failure *f)
{
    int code = EXIT_OK;
    for (uint32_t i = 0; i < m->n_shards && code == EXIT_OK; i++) {
        const input *in;
        code = hf_model_shard(m, i, &in, f);
    }
    return code == EXIT_OK ? close_shard(m, f) : code;
}

static void free_file(hf_file *file)
{
    free(file->name);
    free(file->path);
    free(file->memory);
}

void hf_model_free(hf_model *m)
{
    if (m->open_index != UINT32_MAX && m->open.path) {
        input_close(&m->open);
    }
    for (uint32_t i = 0; i < m->n_shards; i++) {
        free_file(&m->shards[i]);
        safetensors_free(&m->headers[i]);
    }
    for (uint32_t i = 0; i < m->n_texts; i++) {
        free_file(&m->texts[i]);
    }
    safetensors_free(&m->all);
    free(m->shards);
    free(m->headers);
    free(m->tensors);
    tokenizer_payload_free(&m->tokenizer);
    *m = (hf_model){.open = {.fd = -1}, .open_index = UINT32_MAX};
}
