/* inspect.c - one .slm file -> what is in it and everything that is wrong with it. Goes on after a
 * problem wherever the rest can still be judged.
 */
#include "lib/inspect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/input.h"
#include "lib/json_in.h"
#include "text/chat.h"
#include "text/payload.h"
#include "text/tokenizer.h"

static void add_problem(inspection *r, int exit_code, slm_status code, uint64_t offset,
                        const char *text)
{
    if (r->n_problems++ < INSPECT_MAX_PROBLEMS) {
        problem *p = &r->problems[r->n_problems - 1];
        p->exit_code = exit_code;
        p->code = code;
        p->offset = offset;
        snprintf(p->text, sizeof p->text, "%s", text);
    }
    if (exit_code > r->exit_code) {
        r->exit_code = exit_code;
    }
}

static bool note(inspection *r, slm_status status, const slm_error *error)
{
    if (status == SLM_OK) {
        return true;
    }
    failure f;
    int code = fail_status(&f, r->path, error);
    add_problem(r, code == EXIT_RESOURCE ? EXIT_RESOURCE : EXIT_INPUT, status, error->offset,
                error->text);
    return false;
}

static void note_failure(inspection *r, const failure *f)
{
    size_t n = strlen(r->path);
    bool named = strncmp(f->text, r->path, n) == 0 && strncmp(f->text + n, ": ", 2) == 0;
    add_problem(r, f->exit_code, SLM_OK, 0, named ? f->text + n + 2 : f->text);
}

/* An arena in malloc'd, 64-byte aligned memory. */
static bool arena_create(uint64_t need, slm_arena *arena)
{
    void *memory = NULL;
    if (need > SIZE_MAX - 64 || posix_memalign(&memory, 64, (size_t)need + 64) != 0) {
        return false;
    }
    *arena = arena_over(memory, need);
    return true;
}

static void no_memory(inspection *r)
{
    add_problem(r, EXIT_RESOURCE, SLM_OK, 0, "out of memory");
}

/* ---- Parts ----------------------------------------------------------------------------------- */

static void inspect_config(inspection *r)
{
    slm_error error;
    const slm_section *s = slm_file_section(&r->file, SLM_SECTION_CONFIG);
    slm_status status =
        slm_config_read(&r->config, r->file.bytes + s->offset, (size_t)s->length, &error);
    if (status != SLM_OK) {
        error.offset += s->offset; /* it speaks of the section */
    }
    r->has_config = note(r, status, &error);
    if (strcmp(r->file.architecture, SLM_ARCHITECTURE_TOKENIZER) == 0) {
        if (!slm_file_section(&r->file, SLM_SECTION_TOKENIZER)) {
            add_problem(r, EXIT_INPUT, SLM_ERR_TOKENIZER, 0,
                        "section TOKN is missing in a file that holds only a tokenizer");
        }
    } else if (r->has_config) {
        note(r, slm_config_check_tensors(&r->config, &r->file, &error), &error);
    }
}

static void check_special_ids(inspection *r)
{
    char text[160];
    if (r->n_tokens > r->config.n_vocab) {
        snprintf(text, sizeof text,
                 "the tokenizer has %" PRIu32 " tokens but the model only %" PRIu32
                 " embedding rows",
                 r->n_tokens, r->config.n_vocab);
        add_problem(r, EXIT_INPUT, SLM_ERR_TOKENIZER, 0, text);
    }
    int32_t worst = r->config.bos_id;
    for (uint32_t i = 0; i < r->config.n_stop_ids; i++) {
        worst = r->config.stop_ids[i] > worst ? r->config.stop_ids[i] : worst;
    }
    if (worst >= 0 && (uint32_t)worst >= r->n_tokens) {
        snprintf(text, sizeof text,
                 "configuration: special id %" PRId32 " is not one of the tokenizer's %" PRIu32
                 " tokens",
                 worst, r->n_tokens);
        add_problem(r, EXIT_INPUT, SLM_ERR_CONFIG, 0, text);
    }
}

/* The tokenizer, and the chat turns, which need it. */
static void inspect_text(inspection *r)
{
    const slm_section *s = slm_file_section(&r->file, SLM_SECTION_TOKENIZER);
    const slm_section *chat_section = slm_file_section(&r->file, SLM_SECTION_CHAT);
    slm_error error;
    if (!s) {
        if (chat_section) {
            add_problem(r, EXIT_INPUT, SLM_ERR_CHAT, chat_section->offset,
                        "section CHAT needs section TOKN, which is missing");
        }
        return;
    }
    const uint8_t *payload = r->file.bytes + s->offset;
    slm_arena arena = arena_measure();
    slm_tokenizer *tokenizer = NULL;
    memcpy(r->tokenizer_kind, payload, s->length < 4 ? (size_t)s->length : 4);
    if (!note(r, slm_tokenizer_open(&tokenizer, &arena, payload, s->length, &error), &error)) {
        return;
    }
    if (!arena_create(arena.used, &arena)) {
        no_memory(r);
        return;
    }
    if (note(r, slm_tokenizer_open(&tokenizer, &arena, payload, s->length, &error), &error)) {
        r->has_tokenizer = true;
        r->n_tokens = slm_token_count(tokenizer);
        if (r->has_config) {
            check_special_ids(r);
        }
        const slm_chat *chat = NULL;
        r->has_chat =
            chat_section && note(r,
                                 slm_chat_open(&chat, r->file.bytes + chat_section->offset,
                                               chat_section->length, tokenizer, &error),
                                 &error);
    }
    free(arena.base);
}

/* The chat template is for people and other formats; the runtime never reads it. */
static void inspect_template(inspection *r)
{
    const slm_section *s = slm_file_section(&r->file, SLM_SECTION_TEMPLATE);
    if (!s) {
        return;
    }
    const char *text = (const char *)r->file.bytes + s->offset;
    json_t *value = s->length <= CHAT_MAX_TEMPLATE ? json_stringn(text, (size_t)s->length) : NULL;
    if (!value || memchr(text, 0, (size_t)s->length)) {
        add_problem(r, EXIT_INPUT, SLM_ERR_CHAT, s->offset,
                    "section TMPL: not UTF-8 text without NUL of at most 1 MiB");
    }
    json_decref(value);
}

/* Provenance is for people and scripts; the runtime never reads it. It must be a JSON object. */
static void inspect_provenance(inspection *r)
{
    const slm_section *s = slm_file_section(&r->file, SLM_SECTION_PROVENANCE);
    json_t *root = NULL;
    failure f;
    if (!s) {
        return;
    }
    if (json_in_parse("section PROV", (const char *)r->file.bytes + s->offset, (size_t)s->length,
                      &root, &f) != EXIT_OK) {
        add_problem(r, f.exit_code, SLM_ERR_SECTION, s->offset, f.text);
        return;
    }
    r->has_provenance = true;
    json_decref(root);
}

static void sum_types(inspection *r)
{
    for (uint32_t i = 0; i < r->file.n_tensors; i++) {
        const slm_tensor *t = &r->file.tensors[i];
        type_sum *sum = &r->types[t->type];
        sum->n_tensors++;
        sum->n_parameters += t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
        sum->n_bytes += t->length;
    }
}

static void inspect_data(inspection *r, progress *p)
{
    slm_error error;
    for (uint32_t i = 0; i < r->file.n_tensors; i++) {
        progress_update(p, r->path, r->file.tensors[i].offset, r->file.n_bytes);
        if (note(r, slm_file_check_tensor(&r->file, i, &error), &error)) {
            note(r, slm_file_check_values(&r->file, i, &error), &error);
        }
    }
    r->data_checked = true;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static void inspect_bytes(const input *in, bool quick, progress *p, inspection *r)
{
    slm_error error;
    uint64_t need = 0;
    slm_arena arena;
    slm_status status = slm_file_arena_bytes(in->bytes, in->n_bytes, &need, &error);
    if (status == SLM_OK && !arena_create(need, &arena)) {
        no_memory(r);
        return;
    }
    if (!note(r, status, &error)) {
        return;
    }
    status = slm_file_open(&r->file, &arena, in->bytes, in->n_bytes, in->n_bytes, &error);
    if (note(r, status, &error)) {
        r->has_structure = true;
        sum_types(r);
        inspect_config(r);
        inspect_text(r);
        inspect_template(r);
        inspect_provenance(r);
        if (!quick) {
            inspect_data(r, p);
        }
    }
    r->file.bytes = NULL;
    r->file.tensors = NULL;
    r->file.by_name = NULL;
    free(arena.base);
}

void inspect_file(const char *path, bool quick, progress *p, inspection *r)
{
    input in;
    failure f;
    memset(r, 0, sizeof *r);
    r->path = path;
    int code = input_open(path, &in, &f);
    if (code == EXIT_OK) {
        r->n_bytes = in.n_bytes;
        code = input_map(&in, &f);
    }
    if (code == EXIT_OK) {
        inspect_bytes(&in, quick, p, r);
        code = input_unchanged(&in, &f);
    }
    if (code != EXIT_OK) {
        note_failure(r, &f);
    }
    input_close(&in);
    progress_end(p);
}

double inspect_bits_per_weight(const inspection *r)
{
    uint64_t bytes = 0;
    for (int i = 0; i < SLM_TYPE_COUNT; i++) {
        bytes += r->types[i].n_bytes;
    }
    return r->file.n_parameters ? 8.0 * (double)bytes / (double)r->file.n_parameters : 0;
}
