/* eval_store_write.c - what a run writes: its row, its attempts, its results. */
#include "lib/eval_store_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/eval_score.h"
#include "lib/sha256.h"
#include "lib/utf8.h"

static int64_t now(void)
{
    return (int64_t)time(NULL);
}

/* ---- Runs ------------------------------------------------------------------------------------ */

static void make_key(const run_identity *r, char key[65])
{
    char tail[64];
    snprintf(tail, sizeof tail, "%s %d %u", SLM_VERSION, SCORERS_VERSION, r->n_cases);
    const char *parts[] = {r->model_sha256,
                           r->suite_sha256,
                           r->baseline_sha256 ? r->baseline_sha256 : "-",
                           r->logits_digest,
                           r->baseline_digest ? r->baseline_digest : "-",
                           r->settings,
                           tail};
    sha256 sha;
    sha256_init(&sha);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        sha256_update(&sha, parts[i], strlen(parts[i]));
        sha256_update(&sha, "\n", 1);
    }
    sha256_final_hex(&sha, key);
}

static int insert_run(eval_store *s, const run_identity *r, const char *key, int64_t repeat,
                      int64_t *run_id, failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = store_prepare(s,
                             "INSERT INTO runs (key, repeat, model_id, model_name, suite_id, "
                             "baseline_id, settings, tool_version, scorers, n_cases, created_at, "
                             "logits_digest, baseline_digest) "
                             "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                             &q, f);
    if (code != EXIT_OK) {
        return code;
    }
    sqlite3_bind_text(q, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 2, repeat);
    sqlite3_bind_int64(q, 3, r->model_id);
    sqlite3_bind_text(q, 4, r->model_name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 5, r->suite_id);
    if (r->baseline_id != 0) {
        sqlite3_bind_int64(q, 6, r->baseline_id);
    }
    sqlite3_bind_text(q, 7, r->settings, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 8, SLM_VERSION, -1, SQLITE_STATIC);
    sqlite3_bind_int(q, 9, SCORERS_VERSION);
    sqlite3_bind_int64(q, 10, r->n_cases);
    sqlite3_bind_int64(q, 11, now());
    sqlite3_bind_text(q, 12, r->logits_digest, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 13, r->baseline_digest, -1, SQLITE_STATIC); /* NULL: SQL's NULL */
    code = store_do(s, q, f);
    *run_id = sqlite3_last_insert_rowid(store_database(s));
    sqlite3_finalize(q);
    return code;
}

static int find_run(eval_store *s, const char *key, int64_t *run_id, int64_t *repeat, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(
        s, "SELECT id, repeat FROM runs WHERE key = ? ORDER BY repeat DESC LIMIT 1", &q, f);
    sqlite3_bind_text(q, 1, key, -1, SQLITE_STATIC);
    code = code ? code : store_step(s, q, &row, f);
    *run_id = row ? sqlite3_column_int64(q, 0) : 0;
    *repeat = row ? sqlite3_column_int64(q, 1) : -1;
    sqlite3_finalize(q);
    return code;
}

int store_enter_run(eval_store *s, const run_identity *identity, bool again, int64_t *run_id,
                    bool *created, failure *f)
{
    char key[65];
    int64_t repeat;
    make_key(identity, key);
    *created = false;
    int code = store_begin(s, f);
    code = code ? code : find_run(s, key, run_id, &repeat, f);
    if (code == EXIT_OK && (again || *run_id == 0)) {
        code = insert_run(s, identity, key, repeat + 1, run_id, f);
        *created = true;
    }
    if (code != EXIT_OK) {
        store_rollback(s);
        return code;
    }
    return store_commit(s, f);
}

/* The newest earlier run of these names that was left unfinished, and what makes it another run. */
static const char EXPLAIN[] =
    "SELECT 'run ' || q.id || ' is not complete and stays so: ' || CASE "
    "WHEN q.model_id <> r.model_id THEN 'the model has other bytes now' "
    "WHEN q.suite_id <> r.suite_id THEN 'the suite has other cases now' "
    "WHEN q.baseline_id IS NOT r.baseline_id THEN 'the baseline is another one now' "
    "WHEN q.settings <> r.settings THEN 'the settings differ' "
    "WHEN q.tool_version <> r.tool_version OR q.scorers <> r.scorers THEN 'slm-eval is another "
    "version now' ELSE 'this build computes other logits' END "
    "FROM runs r JOIN suites s ON s.id = r.suite_id JOIN suites t ON t.name = s.name "
    "JOIN runs q ON q.suite_id = t.id AND q.model_name = r.model_name AND q.id < r.id "
    "AND q.key <> r.key AND q.status = 'open' WHERE r.id = ? ORDER BY q.id DESC LIMIT 1";

int store_explain_new(eval_store *s, int64_t run_id, char *why, size_t room, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(s, EXPLAIN, &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    code = code ? code : store_step(s, q, &row, f);
    snprintf(why, room, "%s", row ? (const char *)sqlite3_column_text(q, 0) : "");
    sqlite3_finalize(q);
    return code;
}

/* A result is the same wherever model, case, settings and versions are; only divergence depends on
 * the baseline too. Of several sources the newest is taken. */
static const char REUSE[] =
    "INSERT INTO results (run_id, case_id, attempt_id, source_id, status, passed, score, error, "
    "output, detail, n_tokens, seconds) "
    "SELECT r.id, c.id, NULL, x.id, x.status, x.passed, x.score, x.error, x.output, x.detail, "
    "x.n_tokens, x.seconds "
    "FROM runs r JOIN cases c ON c.suite_id = r.suite_id "
    "JOIN results x ON x.id = (SELECT max(y.id) FROM cases d JOIN results y ON y.case_id = d.id "
    "JOIN runs q ON q.id = y.run_id WHERE d.sha256 = c.sha256 AND q.id <> r.id "
    "AND q.model_id = r.model_id AND q.settings = r.settings AND q.scorers = r.scorers "
    "AND q.tool_version = r.tool_version AND q.logits_digest = r.logits_digest "
    "AND (d.kind <> 'divergence' OR (q.baseline_id = r.baseline_id "
    "AND q.baseline_digest = r.baseline_digest))) "
    "WHERE r.id = ?1 AND (c.kind <> 'divergence' OR r.baseline_id IS NOT NULL) "
    "ON CONFLICT DO NOTHING";

static const char REUSE_VECTORS[] =
    "INSERT INTO vectors (result_id, name, n, data) "
    "SELECT x.id, v.name, v.n, v.data FROM results x JOIN vectors v ON v.result_id = x.source_id "
    "WHERE x.run_id = ?1 AND x.source_id IS NOT NULL ON CONFLICT DO NOTHING";

static int copy_rows(eval_store *s, const char *sql, int64_t run_id, uint64_t *n, failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = store_prepare(s, sql, &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    code = code ? code : store_do(s, q, f);
    *n = (uint64_t)sqlite3_changes(store_database(s));
    sqlite3_finalize(q);
    return code;
}

int store_reuse(eval_store *s, int64_t run_id, uint64_t *n, failure *f)
{
    uint64_t n_vectors;
    int code = store_begin(s, f);
    code = code ? code : copy_rows(s, REUSE, run_id, n, f);
    code = code ? code : copy_rows(s, REUSE_VECTORS, run_id, &n_vectors, f);
    if (code != EXIT_OK) {
        store_rollback(s);
        return code;
    }
    return store_commit(s, f);
}

/* ---- Attempts -------------------------------------------------------------------------------- */

int store_begin_attempt(eval_store *s, int64_t run_id, uint32_t threads, const char *kernels,
                        const char *shard, int64_t *attempt_id, failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = store_prepare(s,
                             "INSERT INTO attempts (run_id, threads, kernels, shard, started_at) "
                             "VALUES (?, ?, ?, ?, ?)",
                             &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    sqlite3_bind_int64(q, 2, threads);
    sqlite3_bind_text(q, 3, kernels, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 4, shard, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 5, now());
    code = code ? code : store_do(s, q, f);
    *attempt_id = sqlite3_last_insert_rowid(store_database(s));
    sqlite3_finalize(q);
    return code;
}

int store_end_attempt(eval_store *s, int64_t attempt_id, double seconds, uint64_t peak_bytes,
                      failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = store_prepare(
        s, "UPDATE attempts SET ended_at = ?, seconds = ?, peak_bytes = ? WHERE id = ?", &q, f);
    sqlite3_bind_int64(q, 1, now());
    sqlite3_bind_double(q, 2, seconds);
    sqlite3_bind_int64(q, 3, (int64_t)peak_bytes);
    sqlite3_bind_int64(q, 4, attempt_id);
    code = code ? code : store_do(s, q, f);
    sqlite3_finalize(q);
    return code;
}

/* ---- Cases and results ----------------------------------------------------------------------- */

int store_cases(eval_store *s, int64_t run_id, int64_t suite_id, const eval_suite *suite,
                int64_t *ids, bool *done, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(s,
                             "SELECT c.id, c.name, EXISTS (SELECT 1 FROM results x "
                             "WHERE x.run_id = ? AND x.case_id = c.id) "
                             "FROM cases c WHERE c.suite_id = ? ORDER BY c.name",
                             &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    sqlite3_bind_int64(q, 2, suite_id);
    /* A file whose lines were shuffled is the same suite: so rows are matched by name. */
    for (uint32_t i = 0; i < suite_n_cases(suite) && code == EXIT_OK; i++) {
        const eval_case *c = suite_case_by_id(suite, i);
        code = store_step(s, q, &row, f);
        const char *name = code == EXIT_OK && row ? (const char *)sqlite3_column_text(q, 1) : "";
        if (code == EXIT_OK && strcmp(name, c->id) != 0) {
            code = fail(f, EXIT_INPUT, "%s: its cases of suite %s are not those of the file",
                        store_path(s), suite_name(suite));
        }
        if (code == EXIT_OK) {
            ids[c->ordinal] = sqlite3_column_int64(q, 0);
            done[c->ordinal] = sqlite3_column_int(q, 2) != 0;
        }
    }
    sqlite3_finalize(q);
    return code;
}

int result_writer_init(result_writer *w, eval_store *s, failure *f)
{
    int code =
        store_prepare(s, "SELECT 1 FROM results WHERE run_id = ? AND case_id = ?", &w->has, f);
    code = code ? code
                : store_prepare(s,
                                "INSERT INTO results (run_id, case_id, attempt_id, status, passed, "
                                "score, error, output, detail, n_tokens, seconds) "
                                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                                &w->insert, f);
    return code
               ? code
               : store_prepare(s,
                               "INSERT INTO vectors (result_id, name, n, data) VALUES (?, ?, ?, ?)",
                               &w->vector, f);
}

void result_writer_free(result_writer *w)
{
    sqlite3_finalize(w->has);
    sqlite3_finalize(w->insert);
    sqlite3_finalize(w->vector);
    memset(w, 0, sizeof *w);
}

int store_has(eval_store *s, result_writer *w, int64_t run_id, int64_t case_id, bool *has,
              failure *f)
{
    sqlite3_bind_int64(w->has, 1, run_id);
    sqlite3_bind_int64(w->has, 2, case_id);
    int code = store_step(s, w->has, has, f);
    sqlite3_reset(w->has);
    return code;
}

/* SQLite's shell and most readers stop at a NUL and expect UTF-8: other bytes are kept as a blob.
 */
static void bind_output(sqlite3_stmt *q, int at, const char *bytes, size_t n)
{
    bool plain = true;
    for (size_t i = 0, length; i < n && plain; i += length) {
        length = utf8_length(bytes + i, n - i);
        plain = length != 0 && bytes[i] != 0;
    }
    if (!bytes) {
        sqlite3_bind_null(q, at);
    } else if (plain) {
        sqlite3_bind_text64(q, at, bytes, n, SQLITE_STATIC, SQLITE_UTF8);
    } else {
        sqlite3_bind_blob64(q, at, bytes, n, SQLITE_STATIC);
    }
}

static int insert_result(eval_store *s, result_writer *w, int64_t run_id, int64_t attempt_id,
                         int64_t case_id, const new_result *r, failure *f)
{
    sqlite3_stmt *q = w->insert;
    sqlite3_clear_bindings(q);
    sqlite3_bind_int64(q, 1, run_id);
    sqlite3_bind_int64(q, 2, case_id);
    sqlite3_bind_int64(q, 3, attempt_id);
    sqlite3_bind_text(q, 4, r->error ? "error" : "ok", -1, SQLITE_STATIC);
    if (r->passed >= 0) {
        sqlite3_bind_int(q, 5, r->passed);
    }
    if (isfinite(r->score)) {
        sqlite3_bind_double(q, 6, r->score);
    }
    if (r->error) {
        bind_output(q, 7, r->reason, strlen(r->reason));
    }
    bind_output(q, 8, r->output, r->n_output);
    sqlite3_bind_text(q, 9, r->detail, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 10, (int64_t)r->n_tokens);
    sqlite3_bind_double(q, 11, r->seconds);
    return store_do(s, q, f);
}

static int insert_vector(eval_store *s, result_writer *w, int64_t result_id, const result_vector *v,
                         failure *f)
{
    uint8_t *bytes = (uint8_t *)malloc(v->n * 8);
    if (!bytes) {
        return fail(f, EXIT_RESOURCE, "%s: no memory to store %zu figures", store_path(s), v->n);
    }
    for (size_t i = 0; i < v->n; i++) {
        uint64_t u;
        memcpy(&u, &v->values[i], 8);
        for (size_t k = 0; k < 8; k++) {
            bytes[8 * i + k] = (uint8_t)(u >> 8 * k);
        }
    }
    sqlite3_bind_int64(w->vector, 1, result_id);
    sqlite3_bind_text(w->vector, 2, v->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(w->vector, 3, (int64_t)v->n);
    sqlite3_bind_blob64(w->vector, 4, bytes, v->n * 8, SQLITE_STATIC);
    int code = store_do(s, w->vector, f);
    sqlite3_clear_bindings(w->vector);
    free(bytes);
    return code;
}

int store_put_result(eval_store *s, result_writer *w, int64_t run_id, int64_t attempt_id,
                     int64_t case_id, const new_result *result, failure *f)
{
    int code = store_begin(s, f);
    code = code ? code : insert_result(s, w, run_id, attempt_id, case_id, result, f);
    bool fresh = code == EXIT_OK && sqlite3_changes(store_database(s)) == 1;
    int64_t id = sqlite3_last_insert_rowid(store_database(s));
    for (int i = 0; i < RESULT_VECTORS && code == EXIT_OK && fresh; i++) {
        if (result->vectors[i].n != 0) {
            code = insert_vector(s, w, id, &result->vectors[i], f);
        }
    }
    if (code != EXIT_OK) {
        store_rollback(s);
        return code;
    }
    return store_commit(s, f);
}
