/* eval_run.c - the cases of one run, one after the other, each claimed, evaluated, committed. */
#include "lib/eval_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct loop {
    eval_store *store;
    const eval_suite *suite;
    eval_engine *engine;
    result_writer writer;
    int64_t run_id, attempt_id;
    int64_t *rows; /* by ordinal */
    bool *done;    /* by ordinal: there is a result, or it is not ours to make */
    uint64_t n_done, n_todo;
    const char *title; /* of the progress */
    progress *bar;
    eval_progress *report;
} loop;

static uint64_t peak_bytes(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

/* ---- One case -------------------------------------------------------------------------------- */

static int evaluate(loop *l, uint32_t ordinal, failure *f)
{
    case_result result;
    int code = eval_engine_run(l->engine, suite_case(l->suite, ordinal), &result, f);
    if (code == EXIT_OK) {
        code = store_put_result(l->store, &l->writer, l->run_id, l->attempt_id, l->rows[ordinal],
                                &result.r, f);
        l->report->n_new += code == EXIT_OK;
    }
    case_result_free(&result);
    return code;
}

/* A claimed case may have been done since the run began; an unclaimed one is at work elsewhere. */
static int take_case(loop *l, uint32_t ordinal, bool wait, failure *f)
{
    bool has = false;
    int64_t row = l->rows[ordinal];
    if (!store_claim(l->store, l->run_id, row, wait)) {
        return EXIT_OK;
    }
    int code = store_has(l->store, &l->writer, l->run_id, row, &has, f);
    if (code == EXIT_OK && !has) {
        code = evaluate(l, ordinal, f);
    }
    store_release(l->store, l->run_id, row);
    l->report->n_before += code == EXIT_OK && has;
    l->done[ordinal] = true;
    progress_update(l->bar, l->title, ++l->n_done, l->n_todo);
    return code;
}

/* First what is free, then what others had claimed: they have done it by then, or have died. */
static int take_cases(loop *l, failure *f)
{
    int code = EXIT_OK;
    uint32_t n = suite_n_cases(l->suite);
    for (int wait = 0; wait < 2; wait++) {
        for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
            if (!l->done[i]) {
                code = take_case(l, i, wait != 0, f);
            }
        }
    }
    return code;
}

/* ---- Which cases ----------------------------------------------------------------------------- */

static bool applies(const eval_case *c, const eval_subject *baseline)
{
    return c->kind != EVAL_DIVERGENCE || baseline;
}

/* Leaves only the cases of this share to be done. */
static void choose_cases(loop *l, const eval_subject *baseline, const eval_share *share)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < suite_n_cases(l->suite); i++) {
        bool ours = applies(suite_case(l->suite, i), baseline) && i % share->count == share->index;
        ours = ours && (share->limit == 0 || taken < share->limit);
        taken += ours;
        l->report->n_before += ours && l->done[i] && !l->report->created;
        l->done[i] = l->done[i] || !ours;
        l->n_todo += !l->done[i];
    }
}

static int enter_run(loop *l, eval_subject *subject, const eval_subject *baseline, bool again,
                     failure *f)
{
    uint32_t n_cases = suite_n_cases(l->suite);
    n_cases -= baseline ? 0 : suite_count(l->suite, EVAL_DIVERGENCE);
    run_identity identity = {.model_id = subject->row,
                             .baseline_id = baseline ? baseline->row : 0,
                             .model_sha256 = subject->sha256,
                             .suite_sha256 = suite_sha256(l->suite),
                             .baseline_sha256 = baseline ? baseline->sha256 : NULL,
                             .logits_digest = subject->digest,
                             .baseline_digest = baseline ? baseline->digest : NULL,
                             .model_name = subject->name,
                             .settings = subject->settings,
                             .n_cases = n_cases};
    int code = store_put_suite(l->store, l->suite, &identity.suite_id, f);
    code = code ? code
                : store_enter_run(l->store, &identity, again, &l->run_id, &l->report->created, f);
    if (code == EXIT_OK && l->report->created && !again) {
        code = store_reuse(l->store, l->run_id, &l->report->n_reused, f);
    }
    if (code == EXIT_OK && l->report->created && !again) {
        code = store_explain_new(l->store, l->run_id, l->report->note, sizeof l->report->note, f);
    }
    l->report->run_id = l->run_id;
    return code
               ? code
               : store_cases(l->store, l->run_id, identity.suite_id, l->suite, l->rows, l->done, f);
}

/* ---- The run --------------------------------------------------------------------------------- */

static int work(loop *l, const eval_subject *subject, const eval_share *share, failure *f)
{
    char shard[32];
    double start = clock_seconds();
    snprintf(shard, sizeof shard, "%u/%u", share->index + 1, share->count);
    int code = store_begin_attempt(l->store, l->run_id, slm_team_size(subject->file.team),
                                   subject->file.info.kernels, shard, &l->attempt_id, f);
    code = code ? code : result_writer_init(&l->writer, l->store, f);
    code = code ? code : take_cases(l, f);
    result_writer_free(&l->writer);
    l->report->seconds = clock_seconds() - start;
    return code ? code
                : store_end_attempt(l->store, l->attempt_id, l->report->seconds, peak_bytes(), f);
}

int eval_run_suite(eval_store *store, const eval_suite *suite, eval_subject *subject,
                   const eval_subject *baseline, const eval_share *share, bool again, progress *bar,
                   eval_progress *done, failure *f)
{
    char title[SUITE_MAX_NAME + 300];
    uint32_t n = suite_n_cases(suite);
    memset(done, 0, sizeof *done);
    done->suite = suite;
    done->subject = subject;
    done->baseline = baseline;
    snprintf(title, sizeof title, "%.256s on %.256s", suite_name(suite), subject->name);
    loop l = {.store = store,
              .suite = suite,
              .engine = &subject->engine,
              .rows = (int64_t *)calloc(n, sizeof(int64_t)),
              .done = (bool *)calloc(n, sizeof(bool)),
              .title = title,
              .bar = bar,
              .report = done};
    int code = l.rows && l.done
                   ? EXIT_OK
                   : fail(f, EXIT_RESOURCE, "%s: no memory to run it", suite_path(suite));
    code = code ? code : enter_run(&l, subject, baseline, again, f);
    if (code == EXIT_OK) {
        choose_cases(&l, baseline, share);
    }
    if (code == EXIT_OK && l.n_todo != 0) {
        code = work(&l, subject, share, f);
    }
    code = code ? code : store_update_metrics(store, l.run_id, f);
    free(l.rows);
    free(l.done);
    return code;
}
