/* bench_store.c - measurements -> rows of an SQLite database. */
#include <inttypes.h>
#include <sqlite3.h>
#include <time.h>

#include "lib/bench_report.h"

enum { APPLICATION_ID = 0x534c4d42, VERSION = 1, WAIT_MS = 30000 };

/* schemas/bench.sql; tests/cli/bench.bats compares the two. */
static const char TABLE[] = "CREATE TABLE IF NOT EXISTS results (\n"
                            "    id INTEGER PRIMARY KEY,\n"
                            "    at INTEGER NOT NULL,\n"
                            "    version TEXT NOT NULL,\n"
                            "    model TEXT NOT NULL,\n"
                            "    synthetic TEXT,\n"
                            "    content_checksum TEXT NOT NULL,\n"
                            "    weight_bytes INTEGER NOT NULL,\n"
                            "    processor TEXT NOT NULL,\n"
                            "    cores INTEGER NOT NULL,\n"
                            "    load REAL,\n"
                            "    kernels TEXT NOT NULL,\n"
                            "    kv TEXT NOT NULL,\n"
                            "    threads INTEGER NOT NULL,\n"
                            "    kind TEXT NOT NULL CHECK (kind IN ('prefill', 'decode')),\n"
                            "    tokens INTEGER NOT NULL,\n"
                            "    batch INTEGER NOT NULL,\n"
                            "    depth INTEGER NOT NULL,\n"
                            "    repeats INTEGER NOT NULL,\n"
                            "    tokens_per_second REAL NOT NULL,\n"
                            "    lowest REAL NOT NULL,\n"
                            "    highest REAL NOT NULL,\n"
                            "    bytes REAL,\n"
                            "    read_bytes REAL NOT NULL,\n"
                            "    macs REAL NOT NULL,\n"
                            "    peak_macs REAL,\n"
                            "    outside_matrices REAL\n"
                            ") STRICT;\n";

static const char INSERT[] =
    "INSERT INTO results (at, version, model, synthetic, content_checksum, weight_bytes, "
    "processor, cores, load, kernels, kv, threads, kind, tokens, batch, depth, repeats, "
    "tokens_per_second, lowest, highest, bytes, read_bytes, macs, peak_macs, outside_matrices) "
    "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

static int store_fail(sqlite3 *db, const char *path, failure *f)
{
    int code = sqlite3_errcode(db);
    return fail(f,
                code == SQLITE_NOTADB || code == SQLITE_CORRUPT || code == SQLITE_ERROR ? EXIT_INPUT
                : code == SQLITE_NOMEM ? EXIT_RESOURCE
                                       : EXIT_IO,
                "%s: %s", path, sqlite3_errmsg(db));
}

/* A positive figure, or NULL. */
static void bind_known(sqlite3_stmt *q, int place, double value)
{
    if (value > 0) {
        sqlite3_bind_double(q, place, value);
    } else {
        sqlite3_bind_null(q, place);
    }
}

static void bind_text(sqlite3_stmt *q, int place, const char *text)
{
    sqlite3_bind_text(q, place, text, -1, SQLITE_TRANSIENT);
}

static void bind_subject(sqlite3_stmt *q, const bench *b, const bench_subject *s)
{
    char checksum[24];
    snprintf(checksum, sizeof checksum, "%016" PRIx64, b->cases[0].model.info.content_checksum);
    sqlite3_bind_int64(q, 1, (int64_t)time(NULL));
    bind_text(q, 2, SLM_VERSION);
    bind_text(q, 3, s->model);
    bind_text(q, 4, s->type);
    bind_text(q, 5, checksum);
    sqlite3_bind_int64(q, 6, (int64_t)b->weight_bytes);
    bind_text(q, 7, s->machine);
    sqlite3_bind_int64(q, 8, s->cores);
    bind_known(q, 9, b->load[0]);
}

static void bind_result(sqlite3_stmt *q, const bench *b, const bench_case *c, uint32_t i)
{
    const bench_test *t = &b->tests[i];
    double rate = samples_median(&c->tokens_per_second[i]);
    bind_text(q, 10, c->kernels);
    bind_text(q, 11, bench_kv_name(c->kv));
    sqlite3_bind_int64(q, 12, c->threads);
    bind_text(q, 13, t->is_prefill ? "prefill" : "decode");
    sqlite3_bind_int64(q, 14, t->n_tokens);
    sqlite3_bind_int64(q, 15, t->is_prefill ? t->n_tokens : t->batch);
    sqlite3_bind_int64(q, 16, t->depth);
    sqlite3_bind_int64(q, 17, b->repeats);
    sqlite3_bind_double(q, 18, rate);
    sqlite3_bind_double(q, 19, samples_low(&c->tokens_per_second[i]));
    sqlite3_bind_double(q, 20, samples_high(&c->tokens_per_second[i]));
    bind_known(q, 21, rate * bench_bytes_per_token(b, t));
    sqlite3_bind_double(q, 22, samples_median(&c->read_rate));
    sqlite3_bind_double(q, 23, rate * bench_macs_per_token(b, t));
    bind_known(q, 24, samples_median(&c->integer_rate));
    if (c->profiles) {
        sqlite3_bind_double(q, 25, profile_outside(&c->profiles[i]));
    } else {
        sqlite3_bind_null(q, 25);
    }
}

static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *q = NULL;
    int64_t value = -1;
    if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW) {
        value = sqlite3_column_int64(q, 0);
    }
    sqlite3_finalize(q);
    return value;
}

/* An empty database becomes ours; one that holds anything must be ours already. */
static int take_over(sqlite3 *db, const char *path, failure *f)
{
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) {
        return store_fail(db, path, f);
    }
    int64_t n = ask(db, "SELECT count(*) FROM sqlite_schema");
    int64_t id = ask(db, "PRAGMA application_id"), version = ask(db, "PRAGMA user_version");
    if (n != 0 && (id != APPLICATION_ID || version != VERSION)) {
        return fail(f, EXIT_INPUT, "%s: is not a database of this slm-bench; name a new file",
                    path);
    }
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             (int)APPLICATION_ID, (int)VERSION);
    if (sqlite3_exec(db, mark, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(db, TABLE, NULL, NULL, NULL) != SQLITE_OK) {
        return store_fail(db, path, f);
    }
    return EXIT_OK;
}

static int insert_all(sqlite3 *db, const bench *b, const bench_subject *s, const char *path,
                      failure *f)
{
    sqlite3_stmt *q = NULL;
    int code = sqlite3_prepare_v2(db, INSERT, -1, &q, NULL) == SQLITE_OK ? EXIT_OK
                                                                         : store_fail(db, path, f);
    for (uint32_t i = 0; i < b->n_cases * b->n_tests && code == EXIT_OK; i++) {
        bind_subject(q, b, s);
        bind_result(q, b, &b->cases[i / b->n_tests], i % b->n_tests);
        if (sqlite3_step(q) != SQLITE_DONE) {
            code = store_fail(db, path, f);
        }
        sqlite3_reset(q);
    }
    sqlite3_finalize(q);
    if (code == EXIT_OK && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
        code = store_fail(db, path, f);
    }
    return code;
}

int bench_store(const bench *b, const bench_subject *s, const char *path, failure *f)
{
    sqlite3 *db = NULL;
    int code = EXIT_OK;
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK) {
        code = fail(f, EXIT_IO, "%s: %s", path, db ? sqlite3_errmsg(db) : "no memory");
    } else {
        sqlite3_busy_timeout(db, WAIT_MS);
        code = take_over(db, path, f);
        code = code ? code : insert_all(db, b, s, path, f);
    }
    sqlite3_close(db); /* rolls back what was not committed */
    return code;
}
