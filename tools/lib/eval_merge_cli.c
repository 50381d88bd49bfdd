/* eval_merge_cli.c - slm-eval merge: shards checked, joined, reported. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/eval_merge.h"
#include "lib/json_out.h"

enum { MAX_SHARDS = 1024, DEFAULT_WAIT = 30 };

static struct {
    const char *operands[MAX_SHARDS];
    const char *db;
    uint32_t wait;
    bool json;
} given = {.wait = DEFAULT_WAIT};

/* clang-format off */
static cli_option table[] = {
    {.name = "db", .argument = "FILE", .kind = CLI_STRING, .value = &given.db,
     .help = "the database that gets the results; made if it is not there (required)"},
    {.name = "wait", .argument = "SECONDS", .kind = CLI_U32, .value = &given.wait, .max = 86400,
     .help = "how long to wait for a locked database (default 30)"},
    {.name = "json", .kind = CLI_FLAG, .value = &given.json, .help = "print one JSON document"},
};
/* clang-format on */

static const char SUMMARY[] =
    "Joins the databases that slm-eval run --shard I/N has made on different machines.\n"
    "\n"
    "All of them must be of the same models, suites, baselines, settings and versions. Merging "
    "one\n"
    "twice changes nothing.";

static const char EPILOG[] = "example:\n"
                             "  slm-eval merge --db results.db shard-1.db shard-2.db\n"
                             "\n"
                             "Exit code 1: all went well, but a run is not complete yet.";

typedef struct job {
    cli c;
    eval_store *into;
    merge_counts counts[MAX_SHARDS];
    int64_t *runs;
    uint32_t n_runs;
    bool incomplete;
    failure f;
} job;

/* Each is opened and proved alone, and compared with the first. */
static int check_shards(job *j)
{
    eval_store *first = NULL, *other = NULL;
    int code = store_open(given.operands[0], STORE_READ, given.wait, &first, &j->f);
    for (uint32_t i = 1; i < j->c.n_operands && code == EXIT_OK; i++) {
        code = store_open(given.operands[i], STORE_READ, given.wait, &other, &j->f);
        code = code ? code : merge_check_same(first, other, &j->f);
        store_close(&other);
    }
    store_close(&first);
    return code;
}

/* The runs that the shards have, which in the target may be but a few of many. */
static int find_runs(job *j)
{
    sqlite3_stmt *all = NULL, *one = NULL;
    eval_store *first = NULL;
    bool row, found;
    uint32_t room = 0;
    int code = store_open(given.operands[0], STORE_READ, given.wait, &first, &j->f);
    code = code ? code : store_prepare(first, "SELECT key, repeat FROM runs", &all, &j->f);
    code = code ? code
                : store_prepare(j->into, "SELECT id FROM runs WHERE key = ? AND repeat = ?", &one,
                                &j->f);
    while (code == EXIT_OK && (code = store_step(first, all, &row, &j->f)) == EXIT_OK && row) {
        sqlite3_bind_text(one, 1, (const char *)sqlite3_column_text(all, 0), -1, SQLITE_STATIC);
        sqlite3_bind_int64(one, 2, sqlite3_column_int64(all, 1));
        code = store_step(j->into, one, &found, &j->f);
        if (code == EXIT_OK && found && j->n_runs == room) {
            room = room ? 2 * room : 64;
            int64_t *grown = (int64_t *)realloc(j->runs, room * sizeof *grown);
            code = grown ? EXIT_OK : fail(&j->f, EXIT_RESOURCE, "no memory for %u runs", room);
            j->runs = grown ? grown : j->runs;
        }
        if (code == EXIT_OK && found) {
            j->runs[j->n_runs++] = sqlite3_column_int64(one, 0);
        }
        sqlite3_reset(one);
    }
    sqlite3_finalize(all);
    sqlite3_finalize(one);
    store_close(&first);
    return code;
}

static int merge_all(job *j)
{
    int code = check_shards(j);
    code = code ? code : store_open(given.db, STORE_WRITE, given.wait, &j->into, &j->f);
    for (uint32_t i = 0; i < j->c.n_operands && code == EXIT_OK; i++) {
        code = merge_one(j->into, given.operands[i], &j->counts[i], &j->f);
    }
    code = code ? code : find_runs(j);
    for (uint32_t i = 0; i < j->n_runs && code == EXIT_OK; i++) {
        code = store_update_metrics(j->into, j->runs[i], &j->f);
    }
    return code;
}

/* ---- Reports --------------------------------------------------------------------------------- */

static void print_text(const job *j, const store_run *runs)
{
    for (uint32_t i = 0; i < j->c.n_operands; i++) {
        printf("%s: %" PRIu64 " results taken, %" PRIu64 " there already\n", given.operands[i],
               j->counts[i].n_taken, j->counts[i].n_known);
    }
    for (uint32_t i = 0; i < j->n_runs; i++) {
        printf("%s on %s: run %" PRId64 ", %" PRIu64 " of %" PRIu64 " cases%s\n",
               runs[i].suite_name, runs[i].model_name, runs[i].id, runs[i].n_done, runs[i].n_cases,
               runs[i].complete ? ", complete" : "");
    }
}

static void print_json(job *j, const store_run *runs)
{
    json_out out;
    json_begin(&out, stdout, false);
    json_object(&out, NULL);
    json_string(&out, "tool", "slm-eval");
    json_string(&out, "command", "merge");
    json_string(&out, "version", SLM_VERSION);
    json_string(&out, "database", given.db);
    json_array(&out, "shards");
    for (uint32_t i = 0; i < j->c.n_operands; i++) {
        json_object(&out, NULL);
        json_string(&out, "file", given.operands[i]);
        json_u64(&out, "taken", j->counts[i].n_taken);
        json_u64(&out, "known", j->counts[i].n_known);
        json_object_end(&out);
    }
    json_array_end(&out);
    json_array(&out, "runs");
    for (uint32_t i = 0; i < j->n_runs; i++) {
        json_object(&out, NULL);
        json_i64(&out, "run", runs[i].id);
        json_string(&out, "suite", runs[i].suite_name);
        json_string(&out, "model", runs[i].model_name);
        json_string(&out, "status", runs[i].complete ? "complete" : "open");
        json_u64(&out, "cases", runs[i].n_cases);
        json_u64(&out, "done", runs[i].n_done);
        json_object_end(&out);
    }
    json_array_end(&out);
    json_object_end(&out);
    json_end(&out);
    j->c.json_done = true;
}

static int report(job *j)
{
    store_run *runs = (store_run *)calloc(j->n_runs + 1, sizeof *runs);
    int code = runs ? EXIT_OK : fail(&j->f, EXIT_RESOURCE, "no memory for a report");
    bool found;
    for (uint32_t i = 0; i < j->n_runs && code == EXIT_OK; i++) {
        code = store_read_run(j->into, j->runs[i], &runs[i], &found, &j->f);
        j->incomplete = j->incomplete || !runs[i].complete;
    }
    if (code == EXIT_OK) {
        given.json ? print_json(j, runs) : print_text(j, runs);
    }
    free(runs);
    if (code == EXIT_OK && j->incomplete) {
        code =
            fail(&j->f, EXIT_CHECK, "%s: not every run is complete: shards are missing", given.db);
    }
    return code;
}

int eval_merge_main(int argc, char **argv)
{
    static job j = {.c = {.tool = "slm-eval merge",
                          .synopsis = "--db FILE SHARD.db... [options]",
                          .summary = SUMMARY,
                          .options = table,
                          .n_options = sizeof table / sizeof table[0],
                          .min_operands = 1,
                          .max_operands = MAX_SHARDS,
                          .operands = given.operands,
                          .epilog = EPILOG}};
    int code = cli_parse(&j.c, argc, argv);
    if (code >= 0) {
        return code;
    }
    code = given.db ? EXIT_OK : fail(&j.f, EXIT_USAGE, "--db: say which database gets the results");
    code = code ? code : merge_all(&j);
    code = code ? code : report(&j);
    if (code != EXIT_OK) {
        cli_report(&j.c, &j.f);
    }
    store_close(&j.into);
    free(j.runs);
    return cli_finish(&j.c, code);
}
