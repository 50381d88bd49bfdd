/* eval_report.c - the table for people and the document for programs. */
#include "lib/eval_report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { SHOWN_ERRORS = 20 };

static double real_or_nan(sqlite3_stmt *q, int column)
{
    return sqlite3_column_type(q, column) == SQLITE_NULL ? (double)NAN
                                                         : sqlite3_column_double(q, column);
}

static bool is_share(const char *name)
{
    return strstr(name, "accuracy") || strstr(name, "passed") || strstr(name, "round_trip") ||
           strstr(name, "agreement");
}

double metric_detectable(const store_metric *m)
{
    if (m->e.n == 0 || !isfinite(m->e.value) || !isfinite(m->e.stderr_)) {
        return (double)NAN;
    }
    return is_share(m->name) ? stats_detectable(m->e.value, m->e.n)
                             : stats_detectable_mean(m->e.stderr_);
}

/* Calls `each` with every metric of a run, the whole before its slices. */
static int for_metrics(eval_store *s, int64_t run_id, bool slices, const void *user,
                       void (*each)(const void *user, const store_metric *), failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row;
    int code = store_prepare(s,
                             "SELECT name, slice, n, value, stderr, low, high, higher_is_better "
                             "FROM metrics WHERE run_id = ?1 AND (?2 OR slice = '') "
                             "ORDER BY slice, name",
                             &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    sqlite3_bind_int(q, 2, slices);
    while (code == EXIT_OK && (code = store_step(s, q, &row, f)) == EXIT_OK && row) {
        store_metric m = {.e = {.n = (uint64_t)sqlite3_column_int64(q, 2),
                                .value = real_or_nan(q, 3),
                                .stderr_ = real_or_nan(q, 4),
                                .low = real_or_nan(q, 5),
                                .high = real_or_nan(q, 6)},
                          .higher_is_better = sqlite3_column_int(q, 7) != 0};
        snprintf(m.name, sizeof m.name, "%s", (const char *)sqlite3_column_text(q, 0));
        snprintf(m.slice, sizeof m.slice, "%s", (const char *)sqlite3_column_text(q, 1));
        each(user, &m);
    }
    sqlite3_finalize(q);
    return code;
}

/* Calls `each` with the name and reason of the first cases that could not be evaluated. */
static int for_errors(eval_store *s, int64_t run_id, const void *user,
                      void (*each)(const void *user, const char *name, const char *reason),
                      failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row;
    int code = store_prepare(s,
                             "SELECT c.name, x.error FROM results x JOIN cases c ON c.id = "
                             "x.case_id WHERE x.run_id = ? AND x.status = 'error' "
                             "ORDER BY c.name LIMIT ?",
                             &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    sqlite3_bind_int(q, 2, SHOWN_ERRORS);
    while (code == EXIT_OK && (code = store_step(s, q, &row, f)) == EXIT_OK && row) {
        each(user, (const char *)sqlite3_column_text(q, 0),
             (const char *)sqlite3_column_text(q, 1));
    }
    sqlite3_finalize(q);
    return code;
}

static int read_run(const eval_report *r, uint32_t i, store_run *run, failure *f)
{
    bool found = false;
    int code = store_read_run(r->store, r->runs[i].run_id, run, &found, f);
    return code != EXIT_OK || found ? code
                                    : fail(f, EXIT_INPUT, "%s: run %" PRId64 " is gone",
                                           store_path(r->store), r->runs[i].run_id);
}

/* ---- Text ------------------------------------------------------------------------------------ */

static void print_metric(const void *user, const store_metric *m)
{
    FILE *out = *(FILE *const *)user;
    char interval[64] = "", detects[32] = "";
    double least = metric_detectable(m);
    if (isfinite(m->e.low) && isfinite(m->e.high)) {
        snprintf(interval, sizeof interval, "%.5g .. %.5g", m->e.low, m->e.high);
    }
    if (isfinite(least)) {
        snprintf(detects, sizeof detects, "%.3g", least);
    }
    if (isfinite(m->e.value)) {
        fprintf(out, "  %-28s %9" PRIu64 " %12.6g  %-22s %s\n", m->name, m->e.n, m->e.value,
                interval, detects);
    } else {
        fprintf(out, "  %-28s %9" PRIu64 "            -\n", m->name, m->e.n);
    }
}

static void print_error(const void *user, const char *name, const char *reason)
{
    FILE *out = *(FILE *const *)user;
    failure safe; /* its text has no control bytes */
    fail(&safe, EXIT_CHECK, "%s: %s", name, reason);
    fprintf(out, "  not evaluated: %s\n", safe.text);
}

static int print_run(const eval_report *r, uint32_t i, FILE *out, failure *f)
{
    const eval_progress *p = &r->runs[i];
    store_run run;
    int code = read_run(r, i, &run, f);
    if (code != EXIT_OK) {
        return code;
    }
    fprintf(out, "%s%s on %s%s: run %" PRId64 ", %s\n", i ? "\n" : "", run.suite_name,
            run.model_name, p->is_baseline ? " (baseline)" : "", run.id,
            run.complete ? "complete" : "not complete");
    fprintf(out, "  %" PRIu64 " of %" PRIu64 " cases: %" PRIu64 " done now", run.n_done,
            run.n_cases, p->n_new);
    if (p->n_before != 0) {
        fprintf(out, ", %" PRIu64 " before", p->n_before);
    }
    if (p->n_reused != 0) {
        fprintf(out, ", %" PRIu64 " unchanged since another run", p->n_reused);
    }
    fprintf(out, "; %" PRIu64 " could not be evaluated", run.n_errors);
    if (p->n_new != 0) {
        fprintf(out, "; %.1f s, %.2f ms a case", p->seconds, 1e3 * p->seconds / (double)p->n_new);
    }
    fprintf(out, "\n  %-28s %9s %12s  %-22s %s\n", "metric", "n", "value", "95 % interval",
            "detects");
    code = for_metrics(r->store, run.id, false, (const void *)&out, print_metric, f);
    return code ? code : for_errors(r->store, run.id, (const void *)&out, print_error, f);
}

int report_text(const eval_report *r, FILE *stream, failure *f)
{
    int code = EXIT_OK;
    for (uint32_t i = 0; i < r->n_runs && code == EXIT_OK; i++) {
        code = print_run(r, i, stream, f);
    }
    if (code == EXIT_OK) {
        fprintf(stream, "\n%s holds %.2f MB\n", store_path(r->store),
                (double)store_bytes(r->store) / 1e6);
        fprintf(stream, "detects: no smaller difference from another run can be told from "
                        "chance (on the same cases,\npaired comparison can tell less)\n");
    }
    return code;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void write_metric(const void *user, const store_metric *m)
{
    json_out *out = *(json_out *const *)user;
    json_object(out, NULL);
    json_string(out, "name", m->name);
    json_string(out, "slice", m->slice);
    json_u64(out, "n", m->e.n);
    json_f64(out, "value", m->e.value);
    json_f64(out, "stderr", m->e.stderr_);
    json_f64(out, "low", m->e.low);
    json_f64(out, "high", m->e.high);
    json_f64(out, "detectable", metric_detectable(m));
    json_bool(out, "higher_is_better", m->higher_is_better);
    json_object_end(out);
}

static void write_error(const void *user, const char *name, const char *reason)
{
    json_out *out = *(json_out *const *)user;
    json_object(out, NULL);
    json_string(out, "case", name);
    json_string(out, "reason", reason);
    json_object_end(out);
}

static void write_string_or_null(json_out *out, const char *key, const char *value)
{
    if (value) {
        json_string(out, key, value);
    } else {
        json_null(out, key);
    }
}

static int write_run(const eval_report *r, uint32_t i, json_out *out, failure *f)
{
    const eval_progress *p = &r->runs[i];
    const eval_subject *base = p->baseline;
    store_run run;
    int code = read_run(r, i, &run, f);
    if (code != EXIT_OK) {
        return code;
    }
    json_object(out, NULL);
    json_i64(out, "run", run.id);
    json_string(out, "suite", run.suite_name);
    json_string(out, "suite_sha256", run.suite_sha256);
    json_string(out, "model", run.model_name);
    json_string(out, "model_sha256", p->subject->sha256);
    json_bool(out, "is_baseline", p->is_baseline);
    write_string_or_null(out, "baseline_sha256", base ? base->sha256 : NULL);
    json_string(out, "status", run.complete ? "complete" : "open");
    json_u64(out, "cases", run.n_cases);
    json_u64(out, "done", run.n_done);
    json_u64(out, "errors", run.n_errors);
    json_u64(out, "new", p->n_new);
    json_u64(out, "reused", p->n_reused);
    json_f64(out, "seconds", p->seconds);
    json_u64(out, "threads", slm_team_size(p->subject->file.team));
    json_string(out, "kernels", p->subject->file.info.kernels);
    json_u64(out, "context", slm_session_context(p->subject->file.session));
    json_array(out, "metrics");
    code = for_metrics(r->store, run.id, true, (const void *)&out, write_metric, f);
    json_array_end(out);
    json_array(out, "not_evaluated");
    code = code ? code : for_errors(r->store, run.id, (const void *)&out, write_error, f);
    json_array_end(out);
    json_object_end(out);
    return code;
}

int report_json(const eval_report *r, FILE *stream, failure *f)
{
    json_out out;
    int code = EXIT_OK;
    json_begin(&out, stream, false);
    json_object(&out, NULL);
    json_string(&out, "tool", "slm-eval");
    json_string(&out, "command", "run");
    json_string(&out, "version", SLM_VERSION);
    json_string(&out, "database", store_path(r->store));
    json_u64(&out, "database_bytes", store_bytes(r->store));
    json_string(&out, "shard", r->shard);
    json_u64(&out, "limit", r->limit);
    json_array(&out, "runs");
    for (uint32_t i = 0; i < r->n_runs && code == EXIT_OK; i++) {
        code = write_run(r, i, &out, f);
    }
    json_array_end(&out);
    json_object_end(&out);
    json_end(&out);
    return code;
}
