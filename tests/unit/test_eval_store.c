/* The store of results under faults of single calls: each read, write, sync or size query that
 * SQLite makes fails once (DB16, DB17), each allocation fails once (DB18), the power fails after
 * commits (DB20). Whatever happens there is no crash, an exit code, and a whole database that has
 * every result that was reported written. What commands make of files is in
 * tests/cli/eval_store.bats.
 */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/eval_schema.h"
#include "lib/eval_store_write.h"

enum { N_RESULTS = 3 };

static char folder[] = "/tmp/slm-eval-store-XXXXXX";
static char path[64], power_path[64];

/* ---- A VFS whose calls fail on demand, and that remembers what was synced -------------------- */

typedef struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
    const char *name;
} fault_file;

static struct {
    sqlite3_vfs *real;
    int countdown; /* the call that fails; below 0: none */
    int failure;   /* what it returns */
    int calls;
    bool keep_synced;
} vfs;

static sqlite3_vfs fault_vfs;
static sqlite3_io_methods methods;

static bool strikes(void)
{
    vfs.calls++;
    return vfs.countdown >= 0 && vfs.countdown-- == 0;
}

static sqlite3_file *real(sqlite3_file *file)
{
    return ((fault_file *)(void *)file)->real;
}

static int on_close(sqlite3_file *file)
{
    return real(file)->pMethods->xClose(real(file));
}

static int on_read(sqlite3_file *file, void *bytes, int n, sqlite3_int64 at)
{
    return strikes() ? SQLITE_IOERR_READ : real(file)->pMethods->xRead(real(file), bytes, n, at);
}

static int on_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 at)
{
    return strikes() ? vfs.failure : real(file)->pMethods->xWrite(real(file), bytes, n, at);
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return strikes() ? SQLITE_IOERR_TRUNCATE : real(file)->pMethods->xTruncate(real(file), size);
}

static void copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char block[4096];
    size_t n;
    while (in && out && (n = fread(block, 1, sizeof block, in)) != 0) {
        fwrite(block, 1, n, out);
    }
    if (in) {
        fclose(in);
    }
    if (out) {
        fclose(out);
    }
}

/* What was synced is what a power failure leaves: a copy beside, under the name of power_path. */
static int on_sync(sqlite3_file *file, int flags)
{
    const char *name = ((fault_file *)(void *)file)->name;
    if (strikes()) {
        return SQLITE_IOERR_FSYNC;
    }
    (void)flags; /* nobody cuts this machine's power: the disk is not waited for */
    if (vfs.keep_synced && name) {
        char to[80];
        const char *dash = strrchr(name, '-'); /* r.db, r.db-wal */
        bool wal = dash && strcmp(dash, "-wal") == 0;
        snprintf(to, sizeof to, "%s%s", power_path, wal ? "-wal" : "");
        copy_file(name, to);
    }
    return SQLITE_OK;
}

static int on_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return strikes() ? SQLITE_IOERR_FSTAT : real(file)->pMethods->xFileSize(real(file), size);
}

static int on_lock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xLock(real(file), level);
}

static int on_unlock(sqlite3_file *file, int level)
{
    return real(file)->pMethods->xUnlock(real(file), level);
}

static int on_reserved(sqlite3_file *file, int *out)
{
    return real(file)->pMethods->xCheckReservedLock(real(file), out);
}

static int on_control(sqlite3_file *file, int op, void *arg)
{
    return real(file)->pMethods->xFileControl(real(file), op, arg);
}

static int on_sector(sqlite3_file *file)
{
    return real(file)->pMethods->xSectorSize(real(file));
}

static int on_character(sqlite3_file *file)
{
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
}

static int on_map(sqlite3_file *file, int region, int n, int extend, void volatile **memory)
{
    return strikes() ? SQLITE_IOERR_SHMMAP
                     : real(file)->pMethods->xShmMap(real(file), region, n, extend, memory);
}

static int on_shm_lock(sqlite3_file *file, int at, int n, int flags)
{
    return real(file)->pMethods->xShmLock(real(file), at, n, flags);
}

static void on_barrier(sqlite3_file *file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}

static int on_unmap(sqlite3_file *file, int remove_it)
{
    return real(file)->pMethods->xShmUnmap(real(file), remove_it);
}

static int on_open(sqlite3_vfs *v, const char *name, sqlite3_file *file, int flags, int *out)
{
    fault_file *f = (fault_file *)(void *)file;
    (void)v;
    f->base.pMethods = NULL;
    f->real = (sqlite3_file *)(void *)(f + 1);
    f->name = name;
    if (strikes()) {
        return SQLITE_CANTOPEN;
    }
    int code = vfs.real->xOpen(vfs.real, name, f->real, flags, out);
    if (f->real->pMethods) {
        f->base.pMethods = &methods;
    }
    return code;
}

static void install_vfs(void)
{
    vfs.real = sqlite3_vfs_find(NULL);
    vfs.countdown = -1;
    fault_vfs = *vfs.real;
    fault_vfs.zName = "faults";
    fault_vfs.szOsFile = (int)sizeof(fault_file) + vfs.real->szOsFile;
    fault_vfs.xOpen = on_open;
    fault_vfs.pNext = NULL;
    methods = (sqlite3_io_methods){.iVersion = 2,
                                   .xClose = on_close,
                                   .xRead = on_read,
                                   .xWrite = on_write,
                                   .xTruncate = on_truncate,
                                   .xSync = on_sync,
                                   .xFileSize = on_size,
                                   .xLock = on_lock,
                                   .xUnlock = on_unlock,
                                   .xCheckReservedLock = on_reserved,
                                   .xFileControl = on_control,
                                   .xSectorSize = on_sector,
                                   .xDeviceCharacteristics = on_character,
                                   .xShmMap = on_map,
                                   .xShmLock = on_shm_lock,
                                   .xShmBarrier = on_barrier,
                                   .xShmUnmap = on_unmap};
    sqlite3_vfs_register(&fault_vfs, 1);
}

/* ---- A small run ----------------------------------------------------------------------------- */

static const char SUITE[] = "{\"slm_suite\": 1, \"name\": \"s\"}\n"
                            "{\"id\": \"a\", \"kind\": \"tokenize\", \"text\": \"x\"}\n"
                            "{\"id\": \"b\", \"kind\": \"tokenize\", \"text\": \"y\"}\n"
                            "{\"id\": \"c\", \"kind\": \"perplexity\", \"text\": \"z\", "
                            "\"window\": 2, \"stride\": 1}\n";
static eval_suite *suite;

static int enter(eval_store *s, int64_t *run, int64_t *ids, failure *f)
{
    bool created, done[N_RESULTS];
    store_model model = {.name = "m", .architecture = "llama"};
    run_identity identity = {.model_sha256 = model.sha256,
                             .suite_sha256 = suite_sha256(suite),
                             .logits_digest = "0",
                             .model_name = "m",
                             .settings = "{}",
                             .n_cases = N_RESULTS};
    memset(model.sha256, 'a', 64);
    int code = store_put_model(s, &model, &identity.model_id, f);
    code = code ? code : store_put_suite(s, suite, &identity.suite_id, f);
    code = code ? code : store_enter_run(s, &identity, false, run, &created, f);
    return code ? code : store_cases(s, *run, identity.suite_id, suite, ids, done, f);
}

/* *n: how many results were reported written. */
static int do_run(uint32_t *n, failure *f)
{
    static const double nll[] = {0.5, NAN, 1e-300};
    eval_store *s = NULL;
    result_writer w = {0};
    int64_t run, attempt, ids[N_RESULTS];
    *n = 0;
    int code = store_open(path, STORE_WRITE, 0, &s, f);
    code = code ? code : enter(s, &run, ids, f);
    code = code ? code : store_begin_attempt(s, run, 1, "ref", "1/1", &attempt, f);
    code = code ? code : result_writer_init(&w, s, f);
    for (uint32_t i = 0; i < N_RESULTS && code == EXIT_OK; i++) {
        new_result r = {.passed = i == 2 ? -1 : 1,
                        .score = i == 2 ? (double)NAN : 1,
                        .output = "a\0b",
                        .n_output = i == 1 ? 3 : 1,
                        .detail = i == 2 ? "{\"bytes\":1}" : "{}",
                        .vectors = {{"nll", nll, i == 2 ? 3 : 0}}};
        code = store_put_result(s, &w, run, attempt, ids[i], &r, f);
        *n += code == EXIT_OK;
    }
    code = code ? code : store_end_attempt(s, attempt, 1, 1, f);
    code = code ? code : store_update_metrics(s, run, f);
    result_writer_free(&w);
    store_close(&s);
    return code;
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

static void remove_files(const char *of)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal"};
    for (int i = 0; i < 4; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s%s", of, endings[i]);
        unlink(name);
    }
}

/* The database opens, is whole, and has at least n results. */
static bool whole(const char *of, uint32_t n)
{
    eval_store *s = NULL;
    failure f = {0};
    if (store_open(of, STORE_WRITE, 0, &s, &f) != EXIT_OK) {
        printf("# %s\n", f.text);
        return false;
    }
    sqlite3 *db = store_database(s);
    bool good = ask(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check") == 1 &&
                ask(db, "SELECT count(*) FROM pragma_foreign_key_check") == 0 &&
                ask(db, "SELECT count(*) FROM results") >= (int64_t)n;
    store_close(&s);
    return good;
}

/* ---- Tests ----------------------------------------------------------------------------------- */

static void the_schema_is_that_of_the_file(void)
{
    FILE *file = fopen("schemas/eval.sql", "r");
    char line[256];
    uint32_t version = 0, at = 0;
    CHECK(file != NULL);
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "-- version ", 11) == 0) {
            CHECK(version == 0 || EVAL_SCHEMA[version - 1][at] == NULL);
            version++;
            at = 0;
        } else if (line[0] != '\n' && strncmp(line, "--", 2) != 0) {
            CHECK(EVAL_SCHEMA[version - 1][at] != NULL);
            CHECK_STRING(EVAL_SCHEMA[version - 1][at], line);
            at++;
        }
    }
    CHECK_U64(version, STORE_VERSION);
    CHECK(EVAL_SCHEMA[version - 1][at] == NULL && EVAL_SCHEMA[version] == NULL);
    if (file) {
        fclose(file);
    }
}

static void rows_hold_what_was_put_DB27_DB29_DB34(void)
{
    failure f = {0};
    uint32_t n;
    eval_store *s = NULL;
    remove_files(path);
    CHECK_U64(do_run(&n, &f), EXIT_OK);
    CHECK_U64(store_open(path, STORE_WRITE, 0, &s, &f), EXIT_OK);
    sqlite3 *db = store_database(s);
    CHECK_U64(ask(db, "SELECT count(*) FROM results WHERE typeof(output) = 'text'"), 2);
    CHECK_U64(ask(db, "SELECT count(*) FROM results WHERE output = x'610062'"), 1);
    CHECK_U64(ask(db, "SELECT count(*) FROM results WHERE score IS NULL AND passed IS NULL"), 1);
    CHECK_U64(ask(db, "SELECT count(*) FROM metrics WHERE name = 'perplexity.nll' AND n = 3 "
                      "AND value IS NULL"),
              1);
    CHECK_U64(ask(db, "SELECT count(*) FROM runs WHERE status = 'complete'"), 1);
    CHECK_U64(ask(db, "PRAGMA synchronous"), 2);
    CHECK(store_exec(s,
                     "INSERT INTO results (run_id, case_id, status, detail, n_tokens, seconds) "
                     "VALUES (99, 99, 'ok', '{}', 0, 0)",
                     &f) != EXIT_OK); /* an orphan */
    CHECK(store_exec(s, "UPDATE results SET status = 'maybe'", &f) != EXIT_OK);
    double *values = NULL;
    size_t count = 0;
    CHECK_U64(store_load_vector(s, 3, "nll", &values, &count, &f), EXIT_OK);
    CHECK(count == 3 && values[0] < 0.51 && isnan(values[1]) && values[2] > 0);
    free(values);
    store_close(&s);
}

static void results_pair_by_name_and_content(void)
{
    store_result a[] = {
        {.name = "a", .sha256 = "1"}, {.name = "b", .sha256 = "2"}, {.name = "d", .sha256 = "4"}};
    store_result b[] = {{.name = "a", .sha256 = "1"},
                        {.name = "b", .sha256 = "x"},
                        {.name = "c", .sha256 = "3"},
                        {.name = "d", .sha256 = "4"}};
    store_results before = {a, 3}, after = {b, 4};
    store_pairs pairs;
    failure f = {0};
    CHECK_U64(store_pair(&before, &after, &pairs, &f), EXIT_OK);
    CHECK_U64(pairs.n, 2);
    CHECK(pairs.before[0] == 0 && pairs.after[0] == 0 && pairs.before[1] == 2 &&
          pairs.after[1] == 3);
    CHECK(pairs.only_before == 1 && pairs.only_after == 2); /* b changed: it has no partner */
    store_pairs_free(&pairs);
}

/* Fails call after call until a run needs fewer. */
static void sweep(int failure_code)
{
    uint32_t n = 0, n_failed = 0;
    for (int at = 0; at < 5000; at++) {
        failure f = {0};
        remove_files(path);
        vfs.countdown = at;
        vfs.failure = failure_code;
        int code = do_run(&n, &f);
        bool struck = vfs.countdown < 0;
        vfs.countdown = -1;
        if (code != EXIT_OK && (f.exit_code != code || f.text[0] == 0 || code == EXIT_INTERNAL)) {
            printf("# call %d: exit %d: %s\n", at, code, f.text);
            CHECK(false);
        }
        n_failed += code != EXIT_OK;
        if (!whole(path, n)) {
            printf("# call %d left a damaged database\n", at);
            CHECK(false);
        }
        if (!struck) {
            break;
        }
    }
    printf("# %u faults made a run fail\n", n_failed);
    CHECK(n_failed > 20);
}

static void every_file_operation_fails_once_DB17(void)
{
    sweep(SQLITE_IOERR_WRITE);
}

static void the_disk_is_full_at_every_write_DB16(void)
{
    sweep(SQLITE_FULL);
}

/* After a commit the machine stops: only what was synced is there. */
static void power_fails_after_commits_DB20(void)
{
    failure f = {0};
    eval_store *s = NULL;
    result_writer w = {0};
    int64_t run, attempt, ids[N_RESULTS];
    remove_files(path);
    vfs.keep_synced = true;
    CHECK_U64(store_open(path, STORE_WRITE, 0, &s, &f), EXIT_OK);
    CHECK_U64(enter(s, &run, ids, &f), EXIT_OK);
    CHECK_U64(store_begin_attempt(s, run, 1, "ref", "1/1", &attempt, &f), EXIT_OK);
    CHECK_U64(result_writer_init(&w, s, &f), EXIT_OK);
    for (uint32_t i = 0; i < N_RESULTS; i++) {
        new_result r = {.passed = 1, .score = 1, .detail = "{}"};
        CHECK_U64(store_put_result(s, &w, run, attempt, ids[i], &r, &f), EXIT_OK);
        char left[80];
        snprintf(left, sizeof left, "%s-left", power_path);
        remove_files(left);
        copy_file(power_path, left);
        char from[80], to[96];
        snprintf(from, sizeof from, "%s-wal", power_path);
        snprintf(to, sizeof to, "%s-wal", left);
        copy_file(from, to);
        vfs.keep_synced = false;
        CHECK(whole(left, i + 1));
        vfs.keep_synced = true;
        remove_files(left);
    }
    vfs.keep_synced = false;
    result_writer_free(&w);
    store_close(&s);
    remove_files(power_path);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static struct {
    sqlite3_mem_methods real;
    int countdown;
} heap = {.countdown = -1};

static void *on_malloc(int n)
{
    return heap.countdown >= 0 && heap.countdown-- == 0 ? NULL : heap.real.xMalloc(n);
}

static void *on_realloc(void *block, int n)
{
    return heap.countdown >= 0 && heap.countdown-- == 0 ? NULL : heap.real.xRealloc(block, n);
}

static void every_allocation_of_sqlite_fails_once_DB18(void)
{
    uint32_t n = 0, n_failed = 0, step = 1;
    for (int at = 0; at < 200000; at += (int)step) {
        failure f = {0};
        remove_files(path);
        heap.countdown = at;
        int code = do_run(&n, &f);
        bool struck = heap.countdown < 0;
        heap.countdown = -1;
        n_failed += code != EXIT_OK;
        if (code == EXIT_INTERNAL || (code != EXIT_OK && f.text[0] == 0) || !whole(path, n)) {
            printf("# allocation %d: exit %d: %s\n", at, code, f.text);
            CHECK(false);
        }
        if (!struck) {
            break;
        }
        step = at < 200 ? 1 : 29; /* all of the start, then samples */
    }
    printf("# %u failed allocations made a run fail\n", n_failed);
    CHECK(n_failed > 50);
}

int main(void)
{
    static notes warnings;
    failure f = {0};
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &heap.real);
    sqlite3_mem_methods failing = heap.real;
    failing.xMalloc = on_malloc;
    failing.xRealloc = on_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &failing);
    sqlite3_initialize();
    install_vfs();
    if (!mkdtemp(folder) ||
        suite_from_text("s", SUITE, sizeof SUITE - 1, &suite, &warnings, &f) != EXIT_OK) {
        printf("# %s\n", f.text);
        return 1;
    }
    snprintf(path, sizeof path, "%s/r.db", folder);
    snprintf(power_path, sizeof power_path, "%s/power.db", folder);
    RUN(the_schema_is_that_of_the_file);
    RUN(rows_hold_what_was_put_DB27_DB29_DB34);
    RUN(results_pair_by_name_and_content);
    RUN(every_file_operation_fails_once_DB17);
    RUN(the_disk_is_full_at_every_write_DB16);
    RUN(power_fails_after_commits_DB20);
    RUN(every_allocation_of_sqlite_fails_once_DB18);
    suite_close(&suite);
    remove_files(path);
    rmdir(folder);
    return test_finish();
}
