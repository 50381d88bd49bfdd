/* eval_store.c - opens the database of results, or says why not; see eval_store.h. */
#include "lib/eval_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/cli.h"
#include "lib/eval_schema.h"
#include "lib/eval_store_write.h"

enum {
    OLDEST_SQLITE = 3037000, /* STRICT tables */
    CHECKED_WHOLE = 64 << 20 /* bytes of a database that is proved page by page when opened */
};

struct eval_store {
    sqlite3 *db;
    char *path;
    int fd; /* for the checks and the claims; closing it earlier would drop SQLite's own locks */
    uint32_t wait_seconds;
    bool in_transaction;
};

sqlite3 *store_database(eval_store *s)
{
    return s->db;
}

const char *store_path(const eval_store *s)
{
    return s->path;
}

uint64_t store_bytes(const eval_store *s)
{
    struct stat st;
    uint64_t n = fstat(s->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    char *wal = sqlite3_mprintf("%s-wal", s->path);
    n += wal && stat(wal, &st) == 0 ? (uint64_t)st.st_size : 0;
    sqlite3_free(wal);
    return n;
}

/* ---- Failures and statements ----------------------------------------------------------------- */

int store_fail(eval_store *s, const char *action, failure *f)
{
    int full = sqlite3_extended_errcode(s->db), code = full & 0xff;
    const char *why = sqlite3_errmsg(s->db);
    switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fail(f, EXIT_IO, "%s: %s: another process has held it locked for %u s", s->path,
                    action, s->wait_seconds);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return fail(f, EXIT_INPUT, "%s: %s: the database is damaged or none: %s", s->path, action,
                    why);
    case SQLITE_READONLY:
        return fail(f, EXIT_IO, "%s: %s: the file or its folder is read-only", s->path, action);
    case SQLITE_FULL: return fail(f, EXIT_IO, "%s: %s: the disk is full", s->path, action);
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_PROTOCOL:
        return fail(f, EXIT_IO, "%s: %s: %s (SQLite %d)", s->path, action, why, full);
    case SQLITE_NOMEM: return fail(f, EXIT_RESOURCE, "%s: %s: no memory", s->path, action);
    case SQLITE_TOOBIG: return fail(f, EXIT_INPUT, "%s: %s: a text is too large", s->path, action);
    default: return fail(f, EXIT_INTERNAL, "%s: %s: %s (SQLite %d)", s->path, action, why, full);
    }
}

int store_prepare(eval_store *s, const char *sql, sqlite3_stmt **statement, failure *f)
{
    return sqlite3_prepare_v2(s->db, sql, -1, statement, NULL) == SQLITE_OK
               ? EXIT_OK
               : store_fail(s, "cannot be queried", f);
}

int store_step(eval_store *s, sqlite3_stmt *statement, bool *row, failure *f)
{
    int code = sqlite3_step(statement);
    *row = code == SQLITE_ROW;
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        return store_fail(
            s, sqlite3_stmt_readonly(statement) ? "cannot be read" : "cannot be written", f);
    }
    return EXIT_OK;
}

int store_do(eval_store *s, sqlite3_stmt *statement, failure *f)
{
    bool row;
    int code = store_step(s, statement, &row, f);
    sqlite3_reset(statement);
    return code;
}

int store_exec(eval_store *s, const char *sql, failure *f)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? EXIT_OK
               : store_fail(s, "cannot be written", f);
}

/* What goes to a file without a name is lost, and another file under it is not ours to describe. */
static int check_in_place(const eval_store *s, failure *f)
{
    struct stat named, open_one;
    if (stat(s->path, &named) != 0 || fstat(s->fd, &open_one) != 0 ||
        named.st_ino != open_one.st_ino || named.st_dev != open_one.st_dev) {
        return fail(f, EXIT_IO, "%s: was removed or replaced while it was in use", s->path);
    }
    return EXIT_OK;
}

int store_begin(eval_store *s, failure *f)
{
    int code = check_in_place(s, f);
    code = code ? code : store_exec(s, "BEGIN IMMEDIATE", f);
    s->in_transaction = code == EXIT_OK;
    return code;
}

void store_rollback(eval_store *s)
{
    if (s->in_transaction) {
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        s->in_transaction = false;
    }
}

int store_commit(eval_store *s, failure *f)
{
    int code = store_exec(s, "COMMIT", f);
    if (code != EXIT_OK) {
        store_rollback(s);
    }
    s->in_transaction = false;
    return code;
}

/* The one whole number that a query gives. */
static int ask(eval_store *s, const char *sql, int64_t *value, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(s, sql, &q, f);
    code = code ? code : store_step(s, q, &row, f);
    *value = row ? sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return code;
}

/* ---- Is it ours? ----------------------------------------------------------------------------- */

/* All statements of a version in one malloc'd string. */
static char *join_lines(const char *const *lines)
{
    size_t n = 1;
    for (int i = 0; lines[i]; i++) {
        n += strlen(lines[i]);
    }
    char *sql = (char *)malloc(n), *at = sql;
    for (int i = 0; sql && lines[i]; i++) {
        size_t length = strlen(lines[i]);
        memcpy(at, lines[i], length);
        at += length;
    }
    if (sql) {
        *at = 0;
    }
    return sql;
}

/* Runs the steps from one version to another. Returns an SQLite code. */
static int run_steps(sqlite3 *db, int64_t from, int64_t to)
{
    int code = SQLITE_OK;
    for (int64_t v = from; v < to && code == SQLITE_OK; v++) {
        char *sql = join_lines(EVAL_SCHEMA[v]);
        code = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
        free(sql);
    }
    return code;
}

/* Every table, index and view that a database of this version has must read as we wrote it. */
static int compare_schema(eval_store *s, sqlite3 *model, failure *f)
{
    sqlite3_stmt *want = NULL, *have = NULL;
    int code =
        sqlite3_prepare_v2(model, "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL",
                           -1, &want, NULL) == SQLITE_OK
            ? EXIT_OK
            : fail(f, EXIT_RESOURCE, "%s: no memory", s->path);
    code = code ? code
                : store_prepare(s, "SELECT type, sql FROM sqlite_schema WHERE name = ?", &have, f);
    while (code == EXIT_OK && sqlite3_step(want) == SQLITE_ROW) {
        const char *type = (const char *)sqlite3_column_text(want, 0);
        const char *name = (const char *)sqlite3_column_text(want, 1);
        bool row;
        sqlite3_bind_text(have, 1, name, -1, SQLITE_STATIC);
        code = store_step(s, have, &row, f);
        if (code == EXIT_OK &&
            (!row || strcmp(type, (const char *)sqlite3_column_text(have, 0)) != 0 ||
             sqlite3_column_type(have, 1) != SQLITE_TEXT ||
             strcmp((const char *)sqlite3_column_text(want, 2),
                    (const char *)sqlite3_column_text(have, 1)) != 0)) {
            code = fail(f, EXIT_INPUT, "%s: its %s %s is %s", s->path, type, name,
                        row ? "not the one that slm-eval makes" : "missing");
        }
        sqlite3_reset(have);
    }
    sqlite3_finalize(want);
    sqlite3_finalize(have);
    return code;
}

static int check_schema(eval_store *s, int64_t version, failure *f)
{
    int64_t n_triggers = 0;
    int code = ask(s, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'", &n_triggers, f);
    if (code == EXIT_OK && n_triggers != 0) {
        return fail(f, EXIT_INPUT, "%s: holds triggers, which slm-eval did not make", s->path);
    }
    sqlite3 *model = NULL;
    if (code == EXIT_OK && (sqlite3_open(":memory:", &model) != SQLITE_OK ||
                            run_steps(model, 0, version) != SQLITE_OK)) {
        code = fail(f, EXIT_RESOURCE, "%s: no memory to check it", s->path);
    }
    code = code ? code : compare_schema(s, model, f);
    sqlite3_close(model);
    return code;
}

static int check_pages(eval_store *s, failure *f)
{
    struct stat st;
    if (fstat(s->fd, &st) != 0 || st.st_size > CHECKED_WHOLE) {
        return EXIT_OK; /* what is damaged shows when it is met */
    }
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(s, "PRAGMA quick_check(1)", &q, f);
    code = code ? code : store_step(s, q, &row, f);
    const char *text = row ? (const char *)sqlite3_column_text(q, 0) : NULL;
    if (code == EXIT_OK && (!text || strcmp(text, "ok") != 0)) {
        code = fail(f, EXIT_INPUT, "%s: the database is damaged: %s", s->path, text ? text : "?");
    }
    sqlite3_finalize(q);
    return code;
}

static int look_inside(eval_store *s, int64_t *version, failure *f)
{
    int64_t id = 0, n_objects = 0;
    int code = ask(s, "PRAGMA application_id", &id, f);
    code = code ? code : ask(s, "PRAGMA user_version", version, f);
    code = code ? code : ask(s, "SELECT count(*) FROM sqlite_schema", &n_objects, f);
    if (code != EXIT_OK || (id == 0 && *version == 0 && n_objects == 0)) {
        return code;
    }
    if (id != STORE_APPLICATION_ID) {
        return fail(f, EXIT_INPUT, "%s: is a database of another program", s->path);
    }
    if (*version < 1 || *version > STORE_VERSION) {
        return fail(f, EXIT_INPUT,
                    "%s: has version %" PRId64 " of the schema; this slm-eval knows 1 to %d",
                    s->path, *version, STORE_VERSION);
    }
    code = check_pages(s, f);
    return code ? code : check_schema(s, *version, f);
}

/* *version: 0 for an empty database. One transaction: another process may be making the tables. */
static int identify(eval_store *s, int64_t *version, failure *f)
{
    int code = store_exec(s, "BEGIN", f);
    s->in_transaction = code == EXIT_OK;
    code = code ? code : look_inside(s, version, f);
    store_rollback(s); /* nothing was written */
    if (code ==
        EXIT_INTERNAL) { /* these queries are right: it is the file that SQLite cannot read */
        f->exit_code = code = EXIT_INPUT;
    }
    return code;
}

/* ---- Making and migrating -------------------------------------------------------------------- */

/* A copy of the older version, unless an earlier attempt has left one. */
static int back_up(eval_store *s, int64_t version, failure *f)
{
    char *copy = sqlite3_mprintf("%s.v%lld.bak", s->path, (long long)version);
    char *sql = copy ? sqlite3_mprintf("VACUUM INTO %Q", copy) : NULL;
    int code = EXIT_OK;
    if (!sql) {
        code = fail(f, EXIT_RESOURCE, "%s: no memory", s->path);
    } else if (access(copy, F_OK) != 0 && sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        code = store_fail(s, "cannot be copied before its migration", f);
        unlink(copy); /* half a copy would pass for one */
    }
    sqlite3_free(sql);
    sqlite3_free(copy);
    return code;
}

/* One transaction; another process may have been faster, so that the version is read again. */
static int migrate(eval_store *s, int64_t version, failure *f)
{
    int code = version != 0 ? back_up(s, version, f) : EXIT_OK;
    code = code ? code : store_begin(s, f);
    code = code ? code : ask(s, "PRAGMA user_version", &version, f);
    char pragmas[96];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d",
             STORE_APPLICATION_ID, STORE_VERSION);
    if (code == EXIT_OK && version < STORE_VERSION &&
        run_steps(s->db, version, STORE_VERSION) != SQLITE_OK) {
        code = store_fail(s, "its tables cannot be made", f);
    }
    code = code ? code : store_exec(s, pragmas, f);
    if (code != EXIT_OK) {
        store_rollback(s);
        return code;
    }
    return store_commit(s, f);
}

/* Readers do not wait for writers in WAL mode. A file system without shared memory keeps the mode
 * that it has, which is safe too. Switching asks no busy handler, hence the loop. */
static int use_wal(eval_store *s, failure *f)
{
    double end = clock_seconds() + s->wait_seconds;
    for (;;) {
        int code = sqlite3_exec(s->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if (code != SQLITE_BUSY || clock_seconds() >= end) {
            return code == SQLITE_OK ? EXIT_OK : store_fail(s, "cannot be written", f);
        }
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}

/* ---- Opening --------------------------------------------------------------------------------- */

static int check_path(const char *path, failure *f)
{
    if (*path == 0 || strcmp(path, ":memory:") == 0 || strncmp(path, "file:", 5) == 0) {
        return fail(f, EXIT_USAGE,
                    "'%s': the database must be a plain path; write ./ before an odd name", path);
    }
    return EXIT_OK;
}

/* Our own descriptor, and what it shows before SQLite is let near the file. */
static int open_file(eval_store *s, store_mode mode, failure *f)
{
    struct stat st;
    if (stat(s->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return fail(f, EXIT_IO, "%s: is not a regular file", s->path);
    }
    int flags = mode == STORE_READ ? O_RDONLY : O_RDWR | O_CREAT;
    s->fd = open(s->path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (s->fd < 0 || fstat(s->fd, &st) != 0) {
        return fail_errno(f, s->path,
                          mode == STORE_READ ? "cannot be opened" : "cannot be opened for writing");
    }
    if (!S_ISREG(st.st_mode)) {
        return fail(f, EXIT_IO, "%s: is not a regular file", s->path);
    }
    if (st.st_nlink > 1) {
        return fail(f, EXIT_INPUT,
                    "%s: has a second name (hard link), under which another program could damage "
                    "it; copy it",
                    s->path);
    }
    char magic[16];
    ssize_t n = pread(s->fd, magic, sizeof magic, 0);
    if (n != 0 && (n != 16 || memcmp(magic, "SQLite format 3", 16) != 0)) {
        return fail(f, EXIT_INPUT, "%s: is not an SQLite database", s->path);
    }
    return EXIT_OK;
}

static int open_database(eval_store *s, store_mode mode, failure *f)
{
    char *path = sqlite3_mprintf("%s%s", s->path[0] == '/' ? "" : "./", s->path);
    int flags = mode == STORE_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    int opened =
        path ? sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_PRIVATECACHE, NULL) : SQLITE_NOMEM;
    sqlite3_free(path);
    if (!s->db) {
        return fail(f, EXIT_RESOURCE, "%s: no memory to open it", s->path);
    }
    if (opened != SQLITE_OK) {
        return store_fail(s, "cannot be opened", f);
    }
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, (int)(s->wait_seconds * 1000));
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
    /* Sorts stay in memory: a missing TMPDIR must not end a run. */
    return store_exec(s, "PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON", f);
}

static int set_up(eval_store *s, store_mode mode, failure *f)
{
    int64_t version = 0, foreign_keys = 0;
    int code = open_database(s, mode, f);
    code = code ? code : identify(s, &version, f);
    if (code != EXIT_OK) {
        return code;
    }
    if (mode == STORE_READ) {
        if (version == 0) {
            return fail(f, EXIT_INPUT, "%s: holds no results", s->path);
        }
        code = store_exec(s, "BEGIN", f); /* what other processes do from now on is not seen */
        s->in_transaction = code == EXIT_OK;
        return code;
    }
    if (version < STORE_VERSION) {
        code = migrate(s, version, f);
    }
    code = code ? code : use_wal(s, f);
    code = code ? code : store_exec(s, "PRAGMA synchronous = FULL", f);
    code = code ? code : ask(s, "PRAGMA foreign_keys", &foreign_keys, f);
    if (code == EXIT_OK && foreign_keys != 1) {
        code = fail(f, EXIT_RESOURCE, "%s: this SQLite was built without foreign keys", s->path);
    }
    return code;
}

int store_open(const char *path, store_mode mode, uint32_t wait_seconds, eval_store **store,
               failure *f)
{
    int code = check_path(path, f);
    if (code != EXIT_OK) {
        return code;
    }
    if (sqlite3_libversion_number() < OLDEST_SQLITE) {
        return fail(f, EXIT_RESOURCE, "SQLite %s is too old; 3.37 is needed", sqlite3_libversion());
    }
    eval_store *s = (eval_store *)calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path))) {
        free(s);
        return fail(f, EXIT_RESOURCE, "%s: no memory to open it", path);
    }
    signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is an error of write() */
    s->fd = -1;
    s->wait_seconds = wait_seconds;
    code = open_file(s, mode, f);
    code = code ? code : set_up(s, mode, f);
    if (code != EXIT_OK) {
        store_close(&s);
        return code;
    }
    *store = s;
    return EXIT_OK;
}

void store_close(eval_store **store)
{
    eval_store *s = *store;
    if (s) {
        store_rollback(s);
        sqlite3_close(s->db);
        if (s->fd >= 0) {
            close(s->fd);
        }
        free(s->path);
        free(s);
        *store = NULL;
    }
}

/* ---- Claims ---------------------------------------------------------------------------------- */

/* One byte for each case of each run, far behind any page. */
static struct flock claim_byte(int64_t run_id, int64_t case_id, short type)
{
    const int64_t base = (int64_t)1 << 60, case_bits = 34;
    int64_t at =
        base + ((run_id & 0xffffff) << case_bits) + (case_id & (((int64_t)1 << case_bits) - 1));
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
}

bool store_claim(eval_store *s, int64_t run_id, int64_t case_id, bool wait)
{
    struct flock byte = claim_byte(run_id, case_id, F_WRLCK);
    int done;
    do {
        done = fcntl(s->fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &byte);
    } while (done != 0 && errno == EINTR);
    /* Where such locks do not exist, two processes may do one case; its result stands once. */
    return done == 0 || (errno != EAGAIN && errno != EACCES);
}

void store_release(eval_store *s, int64_t run_id, int64_t case_id)
{
    struct flock byte = claim_byte(run_id, case_id, F_UNLCK);
    fcntl(s->fd, F_OFD_SETLK, &byte);
}
