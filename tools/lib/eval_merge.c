/* eval_merge.c - the rows of one database into another: by what they are, never by their ids. */
#include "lib/eval_merge.h"

#include <string.h>

/* ---- The same runs? -------------------------------------------------------------------------- */

static int find_stranger(eval_store *a, eval_store *b, failure *f)
{
    sqlite3_stmt *all = NULL, *one = NULL;
    bool row, known;
    int code = store_prepare(a,
                             "SELECT r.key, r.model_name, s.name FROM runs r JOIN suites s ON "
                             "s.id = r.suite_id ORDER BY r.id",
                             &all, f);
    code = code ? code : store_prepare(b, "SELECT 1 FROM runs WHERE key = ?", &one, f);
    while (code == EXIT_OK && (code = store_step(a, all, &row, f)) == EXIT_OK && row) {
        sqlite3_bind_text(one, 1, (const char *)sqlite3_column_text(all, 0), -1, SQLITE_STATIC);
        code = store_step(b, one, &known, f);
        sqlite3_reset(one);
        if (code == EXIT_OK && !known) {
            code = fail(f, EXIT_INPUT,
                        "%s: has a run of %s on suite %s that %s has not: another model, suite, "
                        "baseline, setting or version; such shards are not of one run",
                        store_path(a), (const char *)sqlite3_column_text(all, 1),
                        (const char *)sqlite3_column_text(all, 2), store_path(b));
        }
    }
    sqlite3_finalize(all);
    sqlite3_finalize(one);
    return code;
}

int merge_check_same(eval_store *a, eval_store *b, failure *f)
{
    int code = find_stranger(a, b, f);
    return code ? code : find_stranger(b, a, f);
}

/* ---- Copying --------------------------------------------------------------------------------- */

#define SAME_RUN                                                                                   \
    "FROM shard.results x JOIN shard.runs q ON q.id = x.run_id "                                   \
    "JOIN shard.cases d ON d.id = x.case_id "                                                      \
    "JOIN main.runs r ON r.key = q.key AND r.repeat = q.repeat "                                   \
    "JOIN main.cases c ON c.suite_id = r.suite_id AND c.name = d.name "

static const char ROWS[] =
    "INSERT INTO main.models (sha256, name, architecture, n_parameters, bytes, content_checksum, "
    "layout_checksum, tokenizer_checksum) SELECT sha256, name, architecture, n_parameters, bytes, "
    "content_checksum, layout_checksum, tokenizer_checksum FROM shard.models WHERE true "
    "ORDER BY id ON CONFLICT DO NOTHING; "
    "INSERT INTO main.suites (sha256, name, description, n_cases) "
    "SELECT sha256, name, description, n_cases FROM shard.suites WHERE true ORDER BY id "
    "ON CONFLICT DO NOTHING; "
    "INSERT INTO main.cases (suite_id, ordinal, name, kind, sha256, tags, definition) "
    "SELECT s.id, c.ordinal, c.name, c.kind, c.sha256, c.tags, c.definition FROM shard.cases c "
    "JOIN shard.suites t ON t.id = c.suite_id JOIN main.suites s ON s.sha256 = t.sha256 "
    "WHERE true ORDER BY c.id ON CONFLICT DO NOTHING; "
    "INSERT INTO main.runs (key, repeat, model_id, model_name, suite_id, baseline_id, settings, "
    "tool_version, scorers, n_cases, created_at, logits_digest, baseline_digest) "
    "SELECT r.key, r.repeat, m.id, r.model_name, s.id, b.id, r.settings, r.tool_version, "
    "r.scorers, r.n_cases, r.created_at, r.logits_digest, r.baseline_digest FROM shard.runs r "
    "JOIN shard.models n ON n.id = r.model_id JOIN main.models m ON m.sha256 = n.sha256 "
    "JOIN shard.suites t ON t.id = r.suite_id JOIN main.suites s ON s.sha256 = t.sha256 "
    "LEFT JOIN shard.models k ON k.id = r.baseline_id "
    "LEFT JOIN main.models b ON b.sha256 = k.sha256 "
    "WHERE true ORDER BY r.id ON CONFLICT DO NOTHING; "
    "INSERT INTO main.attempts (run_id, threads, kernels, shard, started_at, ended_at, seconds, "
    "peak_bytes) SELECT r.id, a.threads, a.kernels, a.shard, a.started_at, a.ended_at, a.seconds, "
    "a.peak_bytes FROM shard.attempts a JOIN shard.runs q ON q.id = a.run_id "
    "JOIN main.runs r ON r.key = q.key AND r.repeat = q.repeat "
    "WHERE NOT EXISTS (SELECT 1 FROM main.attempts e WHERE e.run_id = r.id AND e.shard = a.shard "
    "AND e.started_at = a.started_at AND e.seconds IS a.seconds) ORDER BY a.id";

static const char RESULTS[] =
    "INSERT INTO main.results (run_id, case_id, attempt_id, status, passed, score, error, output, "
    "detail, n_tokens, seconds) SELECT r.id, c.id, (SELECT min(e.id) FROM shard.attempts a "
    "JOIN main.attempts e ON e.run_id = r.id AND e.shard = a.shard "
    "AND e.started_at = a.started_at AND e.seconds IS a.seconds WHERE a.id = x.attempt_id), "
    "x.status, x.passed, x.score, x.error, x.output, x.detail, x.n_tokens, x.seconds " SAME_RUN
    "WHERE true ORDER BY x.id ON CONFLICT DO NOTHING";

static const char VECTORS[] =
    "INSERT INTO main.vectors (result_id, name, n, data) SELECT y.id, v.name, v.n, v.data " SAME_RUN
    "JOIN main.results y ON y.run_id = r.id AND y.case_id = c.id "
    "JOIN shard.vectors v ON v.result_id = x.id WHERE true ON CONFLICT DO NOTHING";

/* The same case under the same key gives the same bits: anything else is not the same run. */
static const char CONFLICT[] =
    "SELECT c.name, r.model_name " SAME_RUN
    "JOIN main.results y ON y.run_id = r.id AND y.case_id = c.id "
    "WHERE y.status IS NOT x.status OR y.passed IS NOT x.passed OR y.score IS NOT x.score "
    "OR y.error IS NOT x.error OR y.output IS NOT x.output OR y.detail IS NOT x.detail LIMIT 1";

static const char TOTAL[] = "SELECT count(*) FROM shard.results";

static int attach(eval_store *s, const char *path, failure *f)
{
    sqlite3_stmt *q = NULL;
    char *plain = sqlite3_mprintf("%s%s", path[0] == '/' ? "" : "./", path);
    int code = plain ? store_prepare(s, "ATTACH ? AS shard", &q, f)
                     : fail(f, EXIT_RESOURCE, "%s: no memory", path);
    sqlite3_bind_text(q, 1, plain, -1, SQLITE_STATIC);
    code = code ? code : store_do(s, q, f);
    sqlite3_finalize(q);
    sqlite3_free(plain);
    return code;
}

static int check_conflicts(eval_store *into, const char *from, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(into, CONFLICT, &q, f);
    code = code ? code : store_step(into, q, &row, f);
    if (code == EXIT_OK && row) {
        code = fail(f, EXIT_INPUT, "%s: case %s of %s has another result in %s; nothing was merged",
                    from, (const char *)sqlite3_column_text(q, 0),
                    (const char *)sqlite3_column_text(q, 1), store_path(into));
    }
    sqlite3_finalize(q);
    return code;
}

static int count_all(eval_store *into, uint64_t *n, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(into, TOTAL, &q, f);
    code = code ? code : store_step(into, q, &row, f);
    *n = row ? (uint64_t)sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return code;
}

static int copy(eval_store *into, const char *from, merge_counts *counts, failure *f)
{
    uint64_t total = 0;
    int code = store_exec(into, ROWS, f);
    code = code ? code : check_conflicts(into, from, f);
    code = code ? code : count_all(into, &total, f);
    code = code ? code : store_exec(into, RESULTS, f);
    counts->n_taken = (uint64_t)sqlite3_changes(store_database(into));
    counts->n_known = total - counts->n_taken;
    return code ? code : store_exec(into, VECTORS, f);
}

int merge_one(eval_store *into, const char *from, merge_counts *counts, failure *f)
{
    int code = attach(into, from, f);
    if (code != EXIT_OK) {
        return code;
    }
    code = store_begin(into, f);
    code = code ? code : copy(into, from, counts, f);
    if (code == EXIT_OK) {
        code = store_commit(into, f);
    } else {
        store_rollback(into);
    }
    int detached = store_exec(into, "DETACH shard", code == EXIT_OK ? f : &(failure){0});
    return code ? code : detached;
}
