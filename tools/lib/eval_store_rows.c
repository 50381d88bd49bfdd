/* eval_store_rows.c - models, suites, runs and results: rows of the database <-> C. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eval_store.h"

static int no_memory(const eval_store *s, failure *f)
{
    return fail(f, EXIT_RESOURCE, "%s: no memory for its rows", store_path(s));
}

/* The row's id from a query with one text parameter; 0 if there is none. */
static int find_id(eval_store *s, const char *sql, const char *text, int64_t *id, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(s, sql, &q, f);
    sqlite3_bind_text(q, 1, text, -1, SQLITE_STATIC);
    code = code ? code : store_step(s, q, &row, f);
    *id = row ? sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return code;
}

/* ---- Models ---------------------------------------------------------------------------------- */

int store_find_model(eval_store *s, const char *sha256, int64_t *id, failure *f)
{
    return find_id(s, "SELECT id FROM models WHERE sha256 = ?", sha256, id, f);
}

static void bind_hex(sqlite3_stmt *q, int at, uint64_t value)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016" PRIx64, value);
    sqlite3_bind_text(q, at, hex, 16, SQLITE_TRANSIENT);
}

static int insert_model(eval_store *s, const store_model *m, failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = store_prepare(s,
                             "INSERT INTO models (sha256, name, architecture, n_parameters, bytes, "
                             "content_checksum, layout_checksum, tokenizer_checksum) "
                             "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                             &q, f);
    if (code != EXIT_OK) {
        return code;
    }
    sqlite3_bind_text(q, 1, m->sha256, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 2, m->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, m->architecture, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 4, (int64_t)m->n_parameters);
    sqlite3_bind_int64(q, 5, (int64_t)m->bytes);
    bind_hex(q, 6, m->content_checksum);
    bind_hex(q, 7, m->layout_checksum);
    bind_hex(q, 8, m->tokenizer_checksum);
    code = store_do(s, q, f);
    sqlite3_finalize(q);
    return code;
}

int store_put_model(eval_store *s, const store_model *model, int64_t *id, failure *f)
{
    int code = store_find_model(s, model->sha256, id, f);
    if (code != EXIT_OK || *id != 0) {
        return code;
    }
    code = insert_model(s, model, f);
    return code ? code : store_find_model(s, model->sha256, id, f);
}

/* ---- Suites ---------------------------------------------------------------------------------- */

static int insert_suite(eval_store *s, const eval_suite *suite, failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = store_prepare(s,
                             "INSERT INTO suites (sha256, name, description, n_cases) "
                             "VALUES (?, ?, ?, ?)",
                             &q, f);
    if (code == EXIT_OK) {
        sqlite3_bind_text(q, 1, suite_sha256(suite), -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 2, suite_name(suite), -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 3, suite_description(suite), -1, SQLITE_STATIC);
        sqlite3_bind_int64(q, 4, suite_n_cases(suite));
        code = store_do(s, q, f);
    }
    sqlite3_finalize(q);
    return code;
}

static int insert_cases(eval_store *s, const eval_suite *suite, int64_t suite_id, failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = store_prepare(s,
                             "INSERT INTO cases (suite_id, ordinal, name, kind, sha256, tags, "
                             "definition) VALUES (?, ?, ?, ?, ?, ?, ?)",
                             &q, f);
    for (uint32_t i = 0; i < suite_n_cases(suite) && code == EXIT_OK; i++) {
        const eval_case *c = suite_case(suite, i);
        const json_t *list = json_object_get(c->definition, "tags");
        char *tags = list ? json_dumps(list, JSON_COMPACT) : NULL;
        sqlite3_bind_int64(q, 1, suite_id);
        sqlite3_bind_int64(q, 2, i);
        sqlite3_bind_text(q, 3, c->id, -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 4, eval_kind_name(c->kind), -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 5, c->sha256, -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 6, tags ? tags : "[]", -1, SQLITE_STATIC);
        sqlite3_bind_text(q, 7, c->canonical, -1, SQLITE_STATIC);
        code = store_do(s, q, f);
        free(tags);
    }
    sqlite3_finalize(q);
    return code;
}

int store_put_suite(eval_store *s, const eval_suite *suite, int64_t *id, failure *f)
{
    const char *find = "SELECT id FROM suites WHERE sha256 = ?";
    int code = find_id(s, find, suite_sha256(suite), id, f);
    if (code != EXIT_OK || *id != 0) {
        return code;
    }
    code = store_begin(s, f); /* another process may make it meanwhile: so it is asked again */
    code = code ? code : find_id(s, find, suite_sha256(suite), id, f);
    if (code == EXIT_OK && *id == 0) {
        code = insert_suite(s, suite, f);
        *id = sqlite3_last_insert_rowid(store_database(s));
        code = code ? code : insert_cases(s, suite, *id, f);
    }
    if (code != EXIT_OK) {
        store_rollback(s);
        return code;
    }
    return store_commit(s, f);
}

/* ---- Runs ------------------------------------------------------------------------------------ */

static void copy_column(sqlite3_stmt *q, int column, char *text, size_t room)
{
    const char *from = (const char *)sqlite3_column_text(q, column);
    snprintf(text, room, "%s", from ? from : "");
}

#define RUN_COLUMNS                                                                                \
    "SELECT r.id, r.model_id, r.suite_id, coalesce(r.baseline_id, 0), r.model_name, s.name, "      \
    "s.sha256, r.n_cases, r.status = 'complete', "                                                 \
    "(SELECT count(*) FROM results x WHERE x.run_id = r.id), "                                     \
    "(SELECT count(*) FROM results x WHERE x.run_id = r.id AND x.status = 'error') "               \
    "FROM runs r JOIN suites s ON s.id = r.suite_id "

static int take_run(eval_store *s, sqlite3_stmt *q, store_run *run, bool *found, failure *f)
{
    int code = store_step(s, q, found, f);
    if (code == EXIT_OK && *found) {
        memset(run, 0, sizeof *run);
        run->id = sqlite3_column_int64(q, 0);
        run->model_id = sqlite3_column_int64(q, 1);
        run->suite_id = sqlite3_column_int64(q, 2);
        run->baseline_id = sqlite3_column_int64(q, 3);
        copy_column(q, 4, run->model_name, sizeof run->model_name);
        copy_column(q, 5, run->suite_name, sizeof run->suite_name);
        copy_column(q, 6, run->suite_sha256, sizeof run->suite_sha256);
        run->n_cases = (uint64_t)sqlite3_column_int64(q, 7);
        run->complete = sqlite3_column_int(q, 8) != 0;
        run->n_done = (uint64_t)sqlite3_column_int64(q, 9);
        run->n_errors = (uint64_t)sqlite3_column_int64(q, 10);
    }
    return code;
}

int store_read_run(eval_store *s, int64_t run_id, store_run *run, bool *found, failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = store_prepare(s, RUN_COLUMNS "WHERE r.id = ?", &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    code = code ? code : take_run(s, q, run, found, f);
    sqlite3_finalize(q);
    return code;
}

int store_newest_run(eval_store *s, int64_t model_id, const char *suite_name, bool complete_only,
                     store_run *run, bool *found, failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = store_prepare(s,
                             RUN_COLUMNS "WHERE r.model_id = ?1 AND (?2 IS NULL OR s.name = ?2) "
                                         "AND (?3 = 0 OR r.status = 'complete') "
                                         "ORDER BY r.id DESC LIMIT 1",
                             &q, f);
    sqlite3_bind_int64(q, 1, model_id);
    sqlite3_bind_text(q, 2, suite_name, -1, SQLITE_STATIC); /* NULL: SQL's NULL */
    sqlite3_bind_int(q, 3, complete_only);
    code = code ? code : take_run(s, q, run, found, f);
    sqlite3_finalize(q);
    return code;
}

/* ---- Results --------------------------------------------------------------------------------- */

static eval_kind kind_of(const char *name)
{
    int kind = 0;
    while (kind < EVAL_KINDS && strcmp(eval_kind_name((eval_kind)kind), name) != 0) {
        kind++;
    }
    return (eval_kind)kind;
}

static bool fill_result(sqlite3_stmt *q, store_result *r)
{
    memset(r, 0, sizeof *r);
    r->id = sqlite3_column_int64(q, 0);
    r->case_id = sqlite3_column_int64(q, 1);
    r->name = strdup((const char *)sqlite3_column_text(q, 2));
    copy_column(q, 3, r->sha256, sizeof r->sha256);
    r->tags = strdup((const char *)sqlite3_column_text(q, 4));
    r->kind = kind_of((const char *)sqlite3_column_text(q, 5));
    r->error = sqlite3_column_int(q, 6) != 0;
    bool verdict = sqlite3_column_type(q, 7) != SQLITE_NULL;
    r->passed = verdict ? (int8_t)sqlite3_column_int(q, 7) : (int8_t)-1;
    bool scored = sqlite3_column_type(q, 8) != SQLITE_NULL;
    r->score = scored ? sqlite3_column_double(q, 8) : (double)NAN;
    r->detail = strdup((const char *)sqlite3_column_text(q, 9));
    return r->name && r->tags && r->detail;
}

static int add_result(eval_store *s, sqlite3_stmt *q, store_results *list, size_t *room, failure *f)
{
    if (list->n == *room) {
        size_t grown_room = *room ? 2 * *room : 256;
        store_result *grown =
            (store_result *)realloc(list->items, grown_room * sizeof *list->items);
        if (!grown) {
            return no_memory(s, f);
        }
        list->items = grown;
        *room = grown_room;
    }
    return fill_result(q, &list->items[list->n++]) ? EXIT_OK : no_memory(s, f);
}

int store_load_results(eval_store *s, int64_t run_id, const char *slice, store_results *results,
                       failure *f)
{
    sqlite3_stmt *q = NULL;
    size_t room = 0;
    bool row;
    memset(results, 0, sizeof *results);
    int code = store_prepare(s,
                             "SELECT x.id, c.id, c.name, c.sha256, c.tags, c.kind, "
                             "x.status = 'error', x.passed, x.score, x.detail "
                             "FROM results x JOIN cases c ON c.id = x.case_id "
                             "WHERE x.run_id = ?1 AND (?2 IS NULL OR EXISTS "
                             "(SELECT 1 FROM json_each(c.tags) t WHERE t.value = ?2)) "
                             "ORDER BY c.name",
                             &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    sqlite3_bind_text(q, 2, slice, -1, SQLITE_STATIC);
    while (code == EXIT_OK && (code = store_step(s, q, &row, f)) == EXIT_OK && row) {
        code = add_result(s, q, results, &room, f);
    }
    sqlite3_finalize(q);
    if (code != EXIT_OK) {
        store_results_free(results);
    }
    return code;
}

void store_results_free(store_results *results)
{
    for (size_t i = 0; i < results->n; i++) {
        free(results->items[i].name);
        free(results->items[i].tags);
        free(results->items[i].detail);
    }
    free(results->items);
    memset(results, 0, sizeof *results);
}

int store_pair(const store_results *before, const store_results *after, store_pairs *pairs,
               failure *f)
{
    size_t most = before->n < after->n ? before->n : after->n, i = 0, k = 0;
    memset(pairs, 0, sizeof *pairs);
    pairs->before = (uint32_t *)malloc((most + 1) * sizeof *pairs->before);
    pairs->after = (uint32_t *)malloc((most + 1) * sizeof *pairs->after);
    if (!pairs->before || !pairs->after) {
        store_pairs_free(pairs);
        return fail(f, EXIT_RESOURCE, "no memory to pair %zu results", most);
    }
    while (i < before->n && k < after->n) { /* both are in order of name */
        const store_result *a = &before->items[i], *b = &after->items[k];
        int order = strcmp(a->name, b->name);
        if (order == 0 && strcmp(a->sha256, b->sha256) == 0) {
            pairs->before[pairs->n] = (uint32_t)i;
            pairs->after[pairs->n++] = (uint32_t)k;
        }
        i += order <= 0;
        k += order >= 0;
    }
    pairs->only_before = before->n - pairs->n;
    pairs->only_after = after->n - pairs->n;
    return EXIT_OK;
}

void store_pairs_free(store_pairs *pairs)
{
    free(pairs->before);
    free(pairs->after);
    memset(pairs, 0, sizeof *pairs);
}

/* ---- Vectors and metrics --------------------------------------------------------------------- */

static void unpack(const uint8_t *bytes, double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t u = 0;
        for (int k = 7; k >= 0; k--) {
            u = u << 8 | bytes[8 * i + (size_t)k];
        }
        memcpy(&values[i], &u, 8);
    }
}

int store_load_vector(eval_store *s, int64_t result_id, const char *name, double **values,
                      size_t *n, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    *values = NULL;
    *n = 0;
    int code = store_prepare(s, "SELECT data FROM vectors WHERE result_id = ? AND name = ?", &q, f);
    sqlite3_bind_int64(q, 1, result_id);
    sqlite3_bind_text(q, 2, name, -1, SQLITE_STATIC);
    code = code ? code : store_step(s, q, &row, f);
    size_t n_bytes = row ? (size_t)sqlite3_column_bytes(q, 0) : 0;
    if (n_bytes >= 8) {
        *values = (double *)malloc(n_bytes);
        code = *values ? EXIT_OK : no_memory(s, f);
    }
    if (code == EXIT_OK && *values) {
        *n = n_bytes / 8;
        unpack((const uint8_t *)sqlite3_column_blob(q, 0), *values, *n);
    }
    sqlite3_finalize(q);
    return code;
}

static double real_or_nan(sqlite3_stmt *q, int column)
{
    return sqlite3_column_type(q, column) == SQLITE_NULL ? (double)NAN
                                                         : sqlite3_column_double(q, column);
}

int store_read_metric(eval_store *s, int64_t run_id, const char *slice, const char *name,
                      store_metric *metric, bool *found, failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = store_prepare(s,
                             "SELECT n, value, stderr, low, high, higher_is_better FROM metrics "
                             "WHERE run_id = ? AND slice = ? AND name = ?",
                             &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    sqlite3_bind_text(q, 2, slice ? slice : "", -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, name, -1, SQLITE_STATIC);
    code = code ? code : store_step(s, q, found, f);
    if (code == EXIT_OK && *found) {
        memset(metric, 0, sizeof *metric);
        snprintf(metric->slice, sizeof metric->slice, "%s", slice ? slice : "");
        snprintf(metric->name, sizeof metric->name, "%s", name);
        metric->e = (estimate){.n = (uint64_t)sqlite3_column_int64(q, 0),
                               .value = real_or_nan(q, 1),
                               .stderr_ = real_or_nan(q, 2),
                               .low = real_or_nan(q, 3),
                               .high = real_or_nan(q, 4)};
        metric->higher_is_better = sqlite3_column_int(q, 5) != 0;
    }
    sqlite3_finalize(q);
    return code;
}

int store_measured_kinds(eval_store *s, int64_t run_id, const char *slice, bool *of_suite,
                         bool *measured, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row;
    memset(of_suite, 0, EVAL_KINDS * sizeof *of_suite);
    memset(measured, 0, EVAL_KINDS * sizeof *measured);
    int code = store_prepare(s,
                             "SELECT c.kind, max(x.status IS 'ok') FROM runs r "
                             "JOIN cases c ON c.suite_id = r.suite_id "
                             "LEFT JOIN results x ON x.run_id = r.id AND x.case_id = c.id "
                             "WHERE r.id = ?1 AND (?2 IS NULL OR EXISTS "
                             "(SELECT 1 FROM json_each(c.tags) t WHERE t.value = ?2)) "
                             "GROUP BY c.kind",
                             &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    sqlite3_bind_text(q, 2, slice, -1, SQLITE_STATIC);
    while (code == EXIT_OK && (code = store_step(s, q, &row, f)) == EXIT_OK && row) {
        const char *kind = (const char *)sqlite3_column_text(q, 0);
        for (int k = 0; kind && k < EVAL_KINDS; k++) {
            if (strcmp(kind, eval_kind_name((eval_kind)k)) == 0) {
                of_suite[k] = true;
                measured[k] = sqlite3_column_int(q, 1) != 0;
            }
        }
    }
    sqlite3_finalize(q);
    return code;
}
