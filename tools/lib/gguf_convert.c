/* gguf_convert.c - streams the tensors of a GGUF file into a .slm file: blocks are moved from rows
 * into groups of 16 rows bit by bit, rows of q and k go from interleaved to half-split order.
 */
#include "lib/gguf_convert.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/half.h"
#include "lib/convert.h"
#include "lib/json_out.h"
#include "lib/sha256.h"
#include "quant/blocks.h"

static slm_type target_type(const gguf_job *job, const gguf_place *p)
{
    bool f32 = strcmp(job->dtype, "f32") == 0;
    if (p->spec.rank == 1 || f32) {
        return SLM_TYPE_F32;
    }
    return slm_type_is_block(p->type)        ? p->type
           : strcmp(job->dtype, "f16") == 0  ? SLM_TYPE_F16
           : strcmp(job->dtype, "bf16") == 0 ? SLM_TYPE_BF16
                                             : p->type;
}

/* The row of the source that becomes row r: of each head, its rows i and i + half stand side by
 * side there. */
static uint64_t source_row(const gguf_place *p, uint64_t r)
{
    if (p->pair_rows != 0) {
        uint64_t half = p->pair_rows / 2, in_head = r % p->pair_rows;
        r = r - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
    }
    return p->first_row + r;
}

typedef struct stream {
    const gguf_model *m;
    const gguf_place *place;
    slm_writer *writer;
    convert_progress *p;
    uint8_t *group; /* 64-byte aligned; a group of rows, or one row */
    failure *f;
} stream;

static int refuse_value(const stream *s, uint64_t row, uint64_t col, const char *what)
{
    return fail(s->f, EXIT_INPUT,
                "%s: tensor %.*s: %s at [%" PRIu64 ", %" PRIu64
                "] is not finite; a .slm file holds finite numbers only",
                s->m->parts[s->place->part].path, (int)s->place->tensor->name.n_bytes,
                s->place->tensor->name.text, what, row, col);
}

static bool scales_are_finite(slm_type type, const slm_super_block *b, uint32_t n_sub)
{
    bool good = true;
    if (type == SLM_TYPE_Q8_0 || type == SLM_TYPE_Q4_0) {
        for (uint32_t i = 0; i < n_sub; i++) {
            good = good && half_is_finite(b->block_d[i]);
        }
        return good;
    }
    bool with_min = type == SLM_TYPE_Q4_K || type == SLM_TYPE_Q5_K;
    return half_is_finite(b->d) && (!with_min || half_is_finite(b->dmin));
}

static uint64_t source_row_bytes(const gguf_place *p)
{
    const gguf_type *type = gguf_type_of(p->tensor->type);
    return p->tensor->dims[0] / type->block_elements * type->block_bytes;
}

static const uint8_t *source_data(const stream *s)
{
    return s->m->parts[s->place->part].in.bytes + s->place->tensor->offset;
}

/* Calls for every super-block of a row: into the group, or as numbers into out. */
static int load_row(stream *s, uint64_t row, uint32_t in_group, float *out)
{
    slm_type type = s->place->type;
    uint32_t n_cols = (uint32_t)s->place->spec.dims[1];
    uint32_t super = slm_n_super_blocks(n_cols);
    const gguf_type *ggml = gguf_type_of(s->place->tensor->type);
    uint64_t from_row = source_row(s->place, row);
    const uint8_t *at = source_data(s) + from_row * source_row_bytes(s->place);
    for (uint32_t b = 0; b < super; b++) {
        slm_super_block block;
        uint32_t n_sub = slm_sub_blocks(n_cols, b);
        slm_ggml_load(type, at, n_sub, &block);
        if (!scales_are_finite(type, &block, n_sub)) {
            return refuse_value(s, from_row, (uint64_t)b * SLM_SUPER_BLOCK, "a block's scale");
        }
        if (out) {
            slm_super_block_decode(type, &block, n_sub, out + (size_t)b * SLM_SUPER_BLOCK);
        } else {
            slm_t16_store(type, s->group, n_cols, b, in_group, &block);
        }
        at += (uint64_t)n_sub * SLM_SUB_BLOCK / ggml->block_elements * ggml->block_bytes;
    }
    return EXIT_OK;
}

static void advance(stream *s, uint64_t rows)
{
    s->p->done += rows * source_row_bytes(s->place);
    progress_update(s->p->shown, "converting", s->p->done, s->p->total);
}

static int write_groups(stream *s)
{
    const gguf_place *p = s->place;
    uint64_t group_bytes = slm_t16_group_bytes(p->type, (uint32_t)p->spec.dims[1]);
    int code = EXIT_OK;
    for (uint64_t row = 0; row < p->spec.dims[0] && code == EXIT_OK; row += SLM_GROUP_ROWS) {
        uint64_t left = p->spec.dims[0] - row;
        uint32_t n = left < SLM_GROUP_ROWS ? (uint32_t)left : SLM_GROUP_ROWS;
        memset(s->group, 0, (size_t)group_bytes);
        for (uint32_t r = 0; r < n && code == EXIT_OK; r++) {
            code = load_row(s, row + r, r, NULL);
        }
        code = code ? code : slm_writer_data(s->writer, s->group, group_bytes, s->f);
        advance(s, n);
    }
    return code;
}

/* Blocks as F32 numbers. */
static int write_decoded(stream *s)
{
    const gguf_place *p = s->place;
    uint64_t row_bytes = slm_row_bytes(SLM_TYPE_F32, (uint32_t)p->spec.dims[1]);
    int code = EXIT_OK;
    for (uint64_t row = 0; row < p->spec.dims[0] && code == EXIT_OK; row++) {
        memset(s->group, 0, (size_t)row_bytes);
        code = load_row(s, row, 0, (float *)(void *)s->group);
        for (uint64_t i = 0; i < p->spec.dims[1] && code == EXIT_OK; i++) {
            if ((load_u32(s->group + 4 * i) & 0x7f800000u) == 0x7f800000u) {
                code = refuse_value(s, source_row(p, row), i, "the element");
            }
        }
        code = code ? code : slm_writer_data(s->writer, s->group, row_bytes, s->f);
        advance(s, 1);
    }
    return code;
}

static int write_rows(stream *s, slm_type to)
{
    const gguf_place *p = s->place;
    bool matrix = p->spec.rank == 2;
    uint64_t n_rows = p->spec.dims[0], n_cols = matrix ? p->spec.dims[1] : 1;
    uint64_t from_bytes = p->type == SLM_TYPE_F32 ? 4 : 2;
    uint64_t to_bytes = matrix ? slm_row_bytes(to, (uint32_t)n_cols) : 4;
    int code = EXIT_OK;
    for (uint64_t row = 0; row < n_rows && code == EXIT_OK; row++) {
        size_t bad;
        uint64_t from_row = source_row(p, row);
        const uint8_t *at = source_data(s) + from_row * n_cols * from_bytes;
        memset(s->group, 0, (size_t)to_bytes);
        convert_result result = convert_elements(at, p->type, s->group, to, (size_t)n_cols, &bad);
        if (result == CONVERT_NOT_FINITE) {
            return refuse_value(s, from_row, bad, "the element");
        }
        if (result == CONVERT_OVERFLOW) {
            return fail(s->f, EXIT_INPUT,
                        "%s: tensor %.*s: element [%" PRIu64 ", %zu] is too large for %s; use "
                        "--dtype keep or f32",
                        s->m->parts[p->part].path, (int)p->tensor->name.n_bytes,
                        p->tensor->name.text, from_row, bad, slm_type_name(to));
        }
        code = slm_writer_data(s->writer, s->group, to_bytes, s->f);
        s->p->done += n_cols * from_bytes;
    }
    progress_update(s->p->shown, "converting", s->p->done, s->p->total);
    return code;
}

/* Room for the largest group or row of any tensor, in whole lines. */
static uint64_t largest_piece(const gguf_model *m)
{
    uint64_t most = SLM_LINE_BYTES;
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const gguf_place *p = &m->places[i];
        if (p->spec.rank == 2) {
            uint32_t n_cols = (uint32_t)p->spec.dims[1];
            uint64_t n = slm_row_bytes(SLM_TYPE_F32, n_cols);
            uint64_t group = slm_type_is_block(p->type) ? slm_t16_group_bytes(p->type, n_cols) : 0;
            n = group > n ? group : n;
            most = n > most ? n : most;
        }
    }
    return (most + SLM_LINE_BYTES - 1) / SLM_LINE_BYTES * SLM_LINE_BYTES;
}

static int write_tensors(const gguf_job *job, const gguf_model *m, slm_writer *writer, progress *p,
                         failure *f)
{
    convert_progress shown = {p, 0, m->n_source_bytes};
    stream s = {.m = m, .writer = writer, .p = &shown, .f = f};
    s.group = aligned_alloc(SLM_LINE_BYTES, (size_t)largest_piece(m));
    int code = s.group ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory for a group of rows");
    for (uint32_t i = 0; i < m->n_tensors && code == EXIT_OK; i++) {
        s.place = &m->places[i];
        slm_type to = target_type(job, s.place);
        code = !slm_type_is_block(s.place->type) ? write_rows(&s, to)
               : slm_type_is_block(to)           ? write_groups(&s)
                                                 : write_decoded(&s);
    }
    free(s.group);
    return code;
}

/* ---- The file -------------------------------------------------------------------------------- */

static void file_digest(const gguf_part *part, char hex[65])
{
    sha256 digest;
    sha256_init(&digest);
    sha256_update(&digest, part->in.bytes, (size_t)part->in.n_bytes);
    sha256_final_hex(&digest, hex);
}

static int write_provenance(const gguf_job *job, const gguf_model *m, slm_writer *writer,
                            failure *f)
{
    char *json = NULL;
    size_t n_json = 0;
    FILE *text = json_open_memory(&json, &n_json);
    if (!text) {
        return fail(f, EXIT_RESOURCE, "no memory for the provenance");
    }
    json_out j;
    json_begin(&j, text, true);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-convert");
    json_string(&j, "version", SLM_VERSION);
    json_string(&j, "source", "gguf");
    json_object(&j, "options");
    json_string(&j, "dtype", job->dtype);
    json_bool(&j, "tokenizer", m->tokenizer.n_tokenizer != 0);
    json_object_end(&j);
    json_array(&j, "files");
    for (uint32_t i = 0; i < m->n_parts; i++) {
        char hex[65];
        const char *slash = strrchr(m->parts[i].path, '/');
        file_digest(&m->parts[i], hex);
        json_object(&j, NULL);
        json_string(&j, "name", slash ? slash + 1 : m->parts[i].path);
        json_u64(&j, "bytes", m->parts[i].in.n_bytes);
        json_string(&j, "sha256", hex);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
    json_end(&j);
    int code = json_close_memory(text) ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory");
    code = code ? code : slm_writer_section(writer, SLM_SECTION_PROVENANCE, json, n_json, f);
    free(json);
    return code;
}

static int write_head(const gguf_job *job, const gguf_model *m, slm_writer *writer,
                      convert_summary *r, failure *f)
{
    const tokenizer_payload *t = &m->tokenizer;
    int code = EXIT_OK;
    if (t->n_tokenizer != 0) {
        code = slm_writer_section(writer, SLM_SECTION_TOKENIZER, t->tokenizer, t->n_tokenizer, f);
    }
    if (code == EXIT_OK && t->chat) {
        code = slm_writer_section(writer, SLM_SECTION_CHAT, t->chat, t->n_chat, f);
    }
    if (code == EXIT_OK && t->chat_text) {
        code = slm_writer_section(writer, SLM_SECTION_TEMPLATE, t->chat_text, t->n_chat_text, f);
    }
    code = code ? code : write_provenance(job, m, writer, f);
    for (uint32_t i = 0; i < m->n_tensors && code == EXIT_OK; i++) {
        const slm_tensor_spec *spec = &m->places[i].spec;
        slm_type type = target_type(job, &m->places[i]);
        r->n_of_type[type]++;
        code = slm_writer_tensor(writer, spec->name, type, spec->rank, spec->dims, f);
    }
    return code ? code : slm_writer_begin(writer, &r->n_bytes, f);
}

/* Rounding quantized weights a second time would be a surprise. */
static int check_dtype(const gguf_job *job, const gguf_model *m, failure *f)
{
    bool narrow = strcmp(job->dtype, "f16") == 0 || strcmp(job->dtype, "bf16") == 0;
    for (uint32_t i = 0; i < m->n_tensors && narrow; i++) {
        if (slm_type_is_block(m->places[i].type)) {
            return fail(f, EXIT_INPUT,
                        "%s: tensor %s is already quantized (%s): --dtype %s would round it again; "
                        "use keep or f32",
                        job->in, m->places[i].spec.name, slm_type_name(m->places[i].type),
                        job->dtype);
        }
    }
    return EXIT_OK;
}

void gguf_summary(const gguf_model *m, convert_summary *r)
{
    r->architecture = m->family ? m->family->architecture : NULL;
    r->config = &m->config;
    r->tokenizer = &m->tokenizer;
    r->n_parameters = m->n_parameters;
    r->n_tensors = m->n_tensors;
}

int gguf_to_slm(const gguf_job *job, gguf_model *m, convert_summary *r, progress *p, notes *w,
                failure *f)
{
    output *out = NULL;
    slm_writer *writer = NULL;
    const char **inputs = NULL;
    int code = gguf_model_open(job->in, job->want_tokenizer, m, w, f);
    code = code ? code : check_dtype(job, m, f);
    if (code == EXIT_OK) {
        inputs = calloc(m->n_parts, sizeof *inputs);
        code = inputs ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory");
    }
    for (uint32_t i = 0; i < m->n_parts && code == EXIT_OK; i++) {
        inputs[i] = m->parts[i].path;
    }
    code = code ? code : output_create(job->out, job->force, inputs, m->n_parts, &out, f);
    code = code ? code : slm_writer_create(out, m->family->architecture, &m->config, &writer, f);
    code = code ? code : write_head(job, m, writer, r, f);
    code = code ? code : write_tensors(job, m, writer, p, f);
    code = code ? code : slm_writer_finish(writer, f);
    for (uint32_t i = 0; i < m->n_parts && code == EXIT_OK; i++) {
        code = input_unchanged(&m->parts[i].in, f);
    }
    code = code ? code : output_commit(out, f);
    slm_writer_destroy(&writer);
    output_destroy(&out);
    free(inputs);
    gguf_summary(m, r);
    return code;
}
