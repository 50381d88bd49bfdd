/* eval_engine.c - what all kinds of cases need: ids, a session that is never fed twice, results. */
#include "lib/eval_engine.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/eval_engine_parts.h"
#include "lib/eval_perplexity.h"

enum { ROWS_BYTES = 8 << 20, MOST_ROWS = 64 };

/* ---- Results --------------------------------------------------------------------------------- */

int case_error(case_result *result, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(result->reason, sizeof result->reason, format, args);
    va_end(args);
    result->r.error = true;
    result->r.reason = result->reason;
    return EXIT_OK;
}

int case_detail(case_result *result, json_t *detail, failure *f)
{
    free(result->detail);
    result->detail = detail ? json_dumps(detail, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(detail);
    result->r.detail = result->detail;
    return result->detail ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory for a result");
}

void case_result_free(case_result *result)
{
    free(result->output);
    free(result->detail);
    for (int i = 0; i < RESULT_VECTORS; i++) {
        free(result->vectors[i]);
    }
    memset(result, 0, sizeof *result);
}

/* ---- The session ----------------------------------------------------------------------------- */

uint32_t engine_context(const eval_engine *e)
{
    return slm_session_context(e->model->session);
}

void engine_forget(eval_engine *e)
{
    e->n_held = 0;
}

int engine_advance(eval_engine *e, const int32_t *ids, size_t n, failure *f)
{
    size_t shared = 0;
    while (shared < e->n_held && shared + 1 < n && e->held[shared] == ids[shared]) {
        shared++;
    }
    slm_error error = {0};
    slm_session_truncate(e->model->session, 0, (uint32_t)shared);
    e->n_held = shared;
    if (slm_session_eval(e->model->session, ids + shared, n - shared, NULL, &error) != SLM_OK) {
        return fail_status(f, e->model->path, &error);
    }
    memcpy(e->held + shared, ids + shared, (n - shared) * sizeof *ids);
    e->n_held = n;
    e->n_tokens += n - shared;
    return EXIT_OK;
}

int encode_case(const eval_engine *e, const char *text, size_t n_bytes, id_list *list, failure *f)
{
    int32_t *ids = NULL;
    size_t n = 0, n_bos = e->bos_id >= 0 ? 1 : 0;
    memset(list, 0, sizeof *list);
    int code = encode_text(e->model, text, n_bytes, 0, &ids, &n, f);
    if (code == EXIT_OK) {
        list->ids = (int32_t *)malloc((n + 1) * sizeof *ids);
        code = list->ids ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory for %zu token ids", n);
    }
    if (code == EXIT_OK) {
        list->ids[0] = e->bos_id;
        memcpy(list->ids + n_bos, ids, n * sizeof *ids);
        list->n = n + n_bos;
    }
    free(ids);
    return code;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static int check_pair(const model_file *m, const model_file *base, failure *f)
{
    if (m->info.tokenizer_checksum != base->info.tokenizer_checksum ||
        m->info.n_vocab != base->info.n_vocab) {
        return fail(f, EXIT_INPUT,
                    "%s: its tokenizer is not that of %s: they cannot be compared token by token",
                    base->path, m->path);
    }
    return EXIT_OK;
}

int eval_engine_init(eval_engine *e, model_file *model, model_file *baseline, failure *f)
{
    memset(e, 0, sizeof *e);
    e->model = model;
    e->baseline = baseline;
    if (!model->tokenizer) {
        return fail(f, EXIT_INPUT, "%s: carries no tokenizer, which suites need", model->path);
    }
    int code = baseline ? check_pair(model, baseline, f) : EXIT_OK;
    code = code ? code : text_bos_id(model, &e->bos_id, f);
    if (code != EXIT_OK) {
        return code;
    }
    uint32_t rows = (uint32_t)(ROWS_BYTES / sizeof(float)) / model->info.n_vocab;
    e->n_rows = rows < 1 ? 1 : rows > MOST_ROWS ? MOST_ROWS : rows;
    e->held = (int32_t *)malloc(engine_context(e) * sizeof *e->held);
    e->rows =
        baseline ? (float *)malloc((size_t)e->n_rows * model->info.n_vocab * sizeof(float)) : NULL;
    return e->held && (e->rows || !baseline)
               ? EXIT_OK
               : fail(f, EXIT_RESOURCE, "%s: no memory to evaluate it", model->path);
}

int eval_engine_digest(eval_engine *e, char hex[17], failure *f)
{
    int32_t ids[DIGEST_IDS];
    uint32_t n = engine_context(e) < DIGEST_IDS ? engine_context(e) : DIGEST_IDS;
    for (uint32_t i = 0; i < n; i++) { /* all over the vocabulary */
        ids[i] = (int32_t)((uint64_t)(i + 1) * 2654435761u % e->model->info.n_vocab);
    }
    logits_out digest;
    logits_out_init(&digest, NULL);
    slm_error error = {0};
    slm_eval_options o = {.every_position = logits_out_row, .user = &digest};
    slm_session_truncate(e->model->session, 0, 0);
    engine_forget(e);
    if (slm_session_eval(e->model->session, ids, n, &o, &error) != SLM_OK) {
        return fail_status(f, e->model->path, &error);
    }
    snprintf(hex, 17, "%016" PRIx64, slm_hash_final(&digest.hash));
    return EXIT_OK;
}

void eval_engine_free(eval_engine *e)
{
    free(e->held);
    free(e->rows);
    memset(e, 0, sizeof *e);
}

int eval_engine_run(eval_engine *e, const eval_case *c, case_result *result, failure *f)
{
    static int (*const runs[EVAL_KINDS])(eval_engine *, const eval_case *, case_result *,
                                         failure *) = {
        [EVAL_GENERATE] = run_generate,     [EVAL_CHOICE] = run_choice,
        [EVAL_CLOZE] = run_cloze,           [EVAL_PERPLEXITY] = run_perplexity,
        [EVAL_DIVERGENCE] = run_divergence, [EVAL_TOKENIZE] = run_tokenize};
    double start = clock_seconds();
    uint64_t n_before = e->n_tokens;
    memset(result, 0, sizeof *result);
    result->r.passed = -1;
    result->r.score = (double)NAN;
    int code = runs[c->kind](e, c, result, f);
    bool verdict = c->kind == EVAL_GENERATE || c->kind == EVAL_CHOICE || c->kind == EVAL_CLOZE ||
                   c->kind == EVAL_TOKENIZE;
    if (code == EXIT_OK && result->r.error) {
        result->r.passed = verdict ? 0 : -1;
        result->r.score = verdict && c->kind != EVAL_CLOZE ? 0 : (double)NAN;
        code = result->detail ? EXIT_OK : case_detail(result, json_object(), f);
    }
    result->r.n_tokens = e->n_tokens - n_before;
    result->r.seconds = clock_seconds() - start;
    return code;
}
