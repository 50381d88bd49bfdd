/* eval_run_cli.c - slm-eval run: options, models, suites, the database; then the runs. */
#include <stdlib.h>
#include <string.h>

#include "lib/eval_report.h"
#include "lib/sha256.h"

enum { MAX_SUITES = 64, DEFAULT_WAIT = 30, MAX_CONTEXT = 4096 };

static struct {
    const char *operands[1 + MAX_SUITES]; /* model, suites */
    const char *db, *baseline, *shard, *junit, *kv_name, *kernels;
    uint32_t limit, context, threads, wait, max_errors;
    bool again, json, github, progress;
} given = {.kv_name = "f16", .wait = DEFAULT_WAIT};

/* clang-format off */
static cli_option table[] = {
    {.name = "db", .argument = "FILE", .kind = CLI_STRING, .value = &given.db,
     .help = "the SQLite database that keeps the results; made if it is not there (required)"},
    {.name = "baseline", .letter = 'b', .argument = "MODEL.slm", .kind = CLI_STRING,
     .value = &given.baseline,
     .help = "the model to compare with: cases of kind divergence run both in lockstep, the others "
     "are done with it first"},
    {.name = "shard", .argument = "I/N", .kind = CLI_STRING, .value = &given.shard,
     .help = "do only the I-th of N parts of each suite; slm-eval merge joins them"},
    {.name = "limit", .argument = "N", .kind = CLI_U32, .value = &given.limit, .min = 1,
     .max = 1000000, .help = "do only the first N cases of each suite: a run that is not complete"},
    {.name = "again", .kind = CLI_FLAG, .value = &given.again,
     .help = "begin a new run even if this one is there already"},
    {.name = "max-errors", .argument = "N", .kind = CLI_U32, .value = &given.max_errors,
     .help = "cases that may fail to be evaluated before the exit code is 1 (default 0)"},
    {.name = "ctx", .letter = 'c', .argument = "N", .kind = CLI_U32, .value = &given.context,
     .min = 1, .max = 1 << 24,
     .help = "positions of context (default: the model's own, at most 4096)"},
    {.name = "kv", .argument = "f16|f32|q8_0", .kind = CLI_STRING, .value = &given.kv_name,
     .help = "element type of the cache (default f16)"},
    {.name = "threads", .letter = 't', .argument = "N", .kind = CLI_U32, .value = &given.threads,
     .min = 1, .max = 256, .help = "threads (default: one per core); they change no result"},
    {.name = "kernels", .argument = "NAME", .kind = CLI_STRING, .value = &given.kernels,
     .help = "kernel variant (default: the best); they change no result"},
    {.name = "wait", .argument = "SECONDS", .kind = CLI_U32, .value = &given.wait, .max = 86400,
     .help = "how long to wait for a locked database (default 30)"},
    {.name = "junit", .argument = "FILE", .kind = CLI_STRING, .value = &given.junit,
     .help = "write the results as JUnit XML"},
    {.name = "github", .kind = CLI_FLAG, .value = &given.github,
     .help = "print GitHub annotations after the table"},
    {.name = "json", .kind = CLI_FLAG, .value = &given.json, .help = "print one JSON document"},
    {.name = "progress", .kind = CLI_FLAG, .value = &given.progress,
     .help = "show progress without a terminal too; --no-progress: never"},
};
/* clang-format on */

static const char SUMMARY[] =
    "Evaluates a model on suites of cases and keeps every result in an SQLite database.\n"
    "\n"
    "Each case is committed by itself. The same command goes on where it was stopped, and does no\n"
    "case twice: what the database has for these bytes of model, suite and baseline under these\n"
    "settings is not done again. Several processes may share a database, also a run.";

static const char EPILOG[] =
    "Exit codes: 1 if a case could not be evaluated (see --max-errors), 3 if none could.\n"
    "\n"
    "example:\n"
    "  slm-eval run model-q4.slm evals/suites/*.jsonl --db results.db --baseline model.slm\n"
    "  sqlite3 results.db 'select * from latest'";

typedef struct job {
    cli c;
    eval_suite *suites[MAX_SUITES];
    uint32_t n_suites;
    eval_subject model, baseline;
    eval_store *store;
    eval_share share;
    slm_session_options session;
    eval_progress runs[2 * MAX_SUITES];
    uint32_t n_runs;
    notes warnings;
    failure f;
} job;

/* ---- Before the first case ------------------------------------------------------------------- */

static int read_shard(job *j)
{
    uint64_t index = 1, count = 1;
    char text[32] = "";
    const char *slash = given.shard ? strchr(given.shard, '/') : NULL;
    if (slash && (size_t)(slash - given.shard) < sizeof text) {
        memcpy(text, given.shard, (size_t)(slash - given.shard));
    }
    if (given.shard && (!parse_u64(text, 1, 1000000, &index) ||
                        !parse_u64(slash + 1, 1, 1000000, &count) || index > count)) {
        return fail(&j->f, EXIT_USAGE, "--shard: '%s' is not I/N with 1 <= I <= N", given.shard);
    }
    j->share = (eval_share){(uint32_t)index - 1, (uint32_t)count, given.limit};
    return EXIT_OK;
}

static int check_options(job *j)
{
    if (!given.db) {
        return fail(&j->f, EXIT_USAGE, "--db: say which database keeps the results");
    }
    if (given.json && given.github) {
        return fail(&j->f, EXIT_USAGE, "--github: does not go with --json; both use the output");
    }
    int code = kv_type_parse("--kv", given.kv_name, &j->session.kv_type, &j->f);
    return code ? code : read_shard(j);
}

static int open_suites(job *j)
{
    int code = EXIT_OK;
    for (; given.operands[1 + j->n_suites] && j->n_suites < MAX_SUITES && code == EXIT_OK;
         j->n_suites++) {
        uint32_t i = j->n_suites;
        code = suite_open(given.operands[1 + i], &j->suites[i], &j->warnings, &j->f);
        for (uint32_t k = 0; k < i && code == EXIT_OK; k++) {
            if (strcmp(suite_name(j->suites[k]), suite_name(j->suites[i])) == 0) {
                code = fail(&j->f, EXIT_INPUT, "%s and %s: both suites are called \"%s\"",
                            suite_path(j->suites[k]), suite_path(j->suites[i]),
                            suite_name(j->suites[i]));
            }
        }
    }
    for (uint32_t i = 0; i < j->n_suites && code == EXIT_OK; i++) {
        uint32_t n = suite_count(j->suites[i], EVAL_DIVERGENCE);
        if (!given.baseline && n == suite_n_cases(j->suites[i])) {
            code = fail(&j->f, EXIT_USAGE, "--baseline: %s holds cases of kind divergence only",
                        suite_path(j->suites[i]));
        } else if (!given.baseline && n != 0) {
            note(&j->warnings, "%s: %u cases of kind divergence are left out: no --baseline",
                 suite_path(j->suites[i]), n);
        }
    }
    return code;
}

static int open_subject(job *j, eval_subject *s, const char *path)
{
    slm_session_options so = j->session;
    const char *slash = strrchr(path, '/');
    int code = model_file_open(&s->file, path, given.kernels, MODEL_CHECK_SMALL, &j->f);
    if (code != EXIT_OK) {
        return code;
    }
    sha256 sha;
    sha256_init(&sha);
    sha256_update(&sha, s->file.file.bytes, (size_t)s->file.file.n_bytes);
    sha256_final_hex(&sha, s->sha256);
    uint32_t trained = s->file.info.n_context;
    so.n_context = given.context ? given.context : trained < MAX_CONTEXT ? trained : MAX_CONTEXT;
    s->name = slash ? slash + 1 : path;
    snprintf(s->settings, sizeof s->settings, "{\"context\":%u,\"kv\":\"%s\"}", so.n_context,
             given.kv_name);
    return model_file_start(&s->file, &so, given.threads, &j->f);
}

static int put_subject(job *j, eval_subject *s)
{
    const slm_model_info *info = &s->file.info;
    store_model row = {.name = s->name,
                       .architecture = info->architecture,
                       .n_parameters = info->n_parameters,
                       .bytes = s->file.file.n_bytes,
                       .content_checksum = info->content_checksum,
                       .layout_checksum = info->layout_checksum,
                       .tokenizer_checksum = info->tokenizer_checksum};
    memcpy(row.sha256, s->sha256, sizeof row.sha256);
    return store_put_model(j->store, &row, &s->row, &j->f);
}

static int open_models(job *j)
{
    bool has_base = given.baseline != NULL;
    model_file *base = has_base ? &j->baseline.file : NULL;
    int code = open_subject(j, &j->model, given.operands[0]);
    code = code || !has_base ? code : open_subject(j, &j->baseline, given.baseline);
    code = code ? code : eval_engine_init(&j->model.engine, &j->model.file, base, &j->f);
    code = code ? code : eval_engine_digest(&j->model.engine, j->model.digest, &j->f);
    if (code == EXIT_OK && has_base) {
        code = eval_engine_init(&j->baseline.engine, base, NULL, &j->f);
        code = code ? code : eval_engine_digest(&j->baseline.engine, j->baseline.digest, &j->f);
    }
    return code;
}

static int open_store(job *j)
{
    int code = store_open(given.db, STORE_WRITE, given.wait, &j->store, &j->f);
    code = code ? code : put_subject(j, &j->model);
    return code || !given.baseline ? code : put_subject(j, &j->baseline);
}

/* ---- Runs and reports ------------------------------------------------------------------------ */

static int run_one(job *j, const eval_suite *suite, eval_subject *subject, bool is_baseline,
                   progress *bar)
{
    const eval_subject *base = given.baseline && !is_baseline ? &j->baseline : NULL;
    eval_progress *p = &j->runs[j->n_runs];
    int code =
        eval_run_suite(j->store, suite, subject, base, &j->share, given.again, bar, p, &j->f);
    p->is_baseline = is_baseline;
    if (code == EXIT_OK && p->note[0]) {
        progress_end(bar);
        fprintf(stderr, "slm-eval run: note: %s: %s\n", suite_name(suite), p->note);
    }
    j->n_runs += code == EXIT_OK;
    return code;
}

static int run_all(job *j)
{
    progress bar;
    int code = EXIT_OK;
    for (uint32_t i = 0; i < j->n_suites && code == EXIT_OK; i++) {
        const eval_suite *suite = j->suites[i];
        bool alone = suite_count(suite, EVAL_DIVERGENCE) == suite_n_cases(suite);
        progress_begin(&bar, !cli_seen(&j->c, "progress") ? PROGRESS_AUTO
                             : given.progress             ? PROGRESS_ON
                                                          : PROGRESS_OFF);
        if (given.baseline && !alone) {
            code = run_one(j, suite, &j->baseline, true, &bar);
            progress_end(&bar);
            bar.start = clock_seconds();
        }
        code = code ? code : run_one(j, suite, &j->model, false, &bar);
        engine_forget(&j->baseline.engine); /* divergence has used its session */
        progress_end(&bar);
    }
    return code;
}

static int report(job *j)
{
    eval_report r = {.store = j->store,
                     .runs = j->runs,
                     .n_runs = j->n_runs,
                     .shard = given.shard ? given.shard : "1/1",
                     .limit = given.limit};
    int code = given.junit ? report_junit(&r, given.junit, &j->f) : EXIT_OK;
    if (code == EXIT_OK && given.json) {
        code = report_json(&r, stdout, &j->f);
        j->c.json_done = true;
    } else if (code == EXIT_OK) {
        code = report_text(&r, stdout, &j->f);
    }
    return code || !given.github ? code : report_github(&r, stdout, &j->f);
}

/* Cases that could not be evaluated: some is a check that failed, all is another kind of trouble.
 */
static int verdict(job *j)
{
    uint64_t n_errors = 0, n_done = 0;
    int code = EXIT_OK;
    for (uint32_t i = 0; i < j->n_runs && code == EXIT_OK; i++) {
        store_run run = {0};
        bool found;
        code = store_read_run(j->store, j->runs[i].run_id, &run, &found, &j->f);
        n_errors += run.n_errors;
        n_done += run.n_done;
    }
    if (code == EXIT_OK && n_errors > given.max_errors) {
        code = fail(&j->f, n_errors == n_done ? EXIT_INPUT : EXIT_CHECK,
                    "%llu of %llu cases could not be evaluated", (unsigned long long)n_errors,
                    (unsigned long long)n_done);
    }
    return code;
}

static void close_all(job *j)
{
    store_close(&j->store);
    eval_engine_free(&j->model.engine);
    eval_engine_free(&j->baseline.engine);
    model_file_close(&j->model.file);
    model_file_close(&j->baseline.file);
    for (uint32_t i = 0; i < MAX_SUITES; i++) {
        suite_close(&j->suites[i]);
    }
}

int eval_run_main(int argc, char **argv)
{
    static job j = {.c = {.tool = "slm-eval run",
                          .synopsis = "MODEL.slm SUITE.jsonl... --db FILE [options]",
                          .summary = SUMMARY,
                          .options = table,
                          .n_options = sizeof table / sizeof table[0],
                          .min_operands = 2,
                          .max_operands = 1 + MAX_SUITES,
                          .operands = given.operands,
                          .epilog = EPILOG}};
    int code = cli_parse(&j.c, argc, argv);
    if (code >= 0) {
        return code;
    }
    code = check_options(&j);
    code = code ? code : open_suites(&j);
    for (uint32_t i = 0; i < j.warnings.n; i++) {
        fprintf(stderr, "slm-eval run: warning: %s\n", j.warnings.text[i]);
    }
    code = code ? code : open_models(&j);
    code = code ? code : open_store(&j);
    code = code ? code : run_all(&j);
    code = code ? code : report(&j);
    code = code ? code : verdict(&j);
    if (code != EXIT_OK) {
        cli_report(&j.c, &j.f);
    }
    close_all(&j);
    return cli_finish(&j.c, code);
}
