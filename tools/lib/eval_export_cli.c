/* eval_export_cli.c - slm-eval export: figures and verdicts in the forms that other programs read.
 *
 * csv: one row a metric (RFC 4180; a field that a spreadsheet would take for a formula begins with
 * an apostrophe). json: runs with their metrics. model-index: the metadata of a model card (YAML).
 * in-toto: the newest verdict as a Statement v1 with a test-result v0.1 predicate, ready to be
 * signed.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/eval_compare_cli.h"
#include "lib/eval_select.h"
#include "lib/json_out.h"

static struct {
    const char *operands[1];
    const char *db, *suite, *format;
} given;

static cli_option table[] = {
    {.name = "format",
     .argument = "csv|json|model-index|in-toto",
     .help = "what to write (required)",
     .kind = CLI_STRING,
     .value = &given.format},
    {.name = "db",
     .argument = "FILE",
     .help = "the database that slm-eval run wrote (required)",
     .kind = CLI_STRING,
     .value = &given.db},
    {.name = "suite",
     .argument = "NAME",
     .help = "this suite only",
     .kind = CLI_STRING,
     .value = &given.suite},
};

static double column_real(sqlite3_stmt *q, int column)
{
    return sqlite3_column_type(q, column) == SQLITE_NULL ? (double)NAN
                                                         : sqlite3_column_double(q, column);
}

/* A run's metrics, one after the other: write(user, row), columns as selected. */
static int each_metric(eval_store *store, const store_run *run, void *user,
                       void (*write)(void *user, const store_run *run, sqlite3_stmt *row),
                       failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row;
    int code = store_prepare(store,
                             "SELECT name, slice, n, value, stderr, low, high, higher_is_better "
                             "FROM metrics WHERE run_id = ? ORDER BY slice, name",
                             &q, f);
    sqlite3_bind_int64(q, 1, run->id);
    while (code == EXIT_OK && (code = store_step(store, q, &row, f)) == EXIT_OK && row) {
        write(user, run, q);
    }
    sqlite3_finalize(q);
    return code;
}

/* ---- CSV ------------------------------------------------------------------------------------- */

static void csv_text(const char *text)
{
    putchar('"');
    if (*text && strchr("=+-@\t\r", *text)) {
        putchar('\'');
    }
    for (const char *c = text; *c; c++) {
        fputs(*c == '"' ? "\"" : "", stdout);
        putchar(*c);
    }
    putchar('"');
}

static void csv_row(void *user, const store_run *run, sqlite3_stmt *q)
{
    (void)user;
    csv_text(run->suite_name);
    putchar(',');
    csv_text(run->model_name);
    printf(",%" PRId64 ",%s,", run->id, run->complete ? "complete" : "open");
    csv_text((const char *)sqlite3_column_text(q, 0));
    putchar(',');
    csv_text((const char *)sqlite3_column_text(q, 1));
    printf(",%" PRId64, (int64_t)sqlite3_column_int64(q, 2));
    for (int i = 3; i <= 6; i++) {
        double value = column_real(q, i);
        if (isfinite(value)) {
            printf(",%.17g", value);
        } else {
            putchar(',');
        }
    }
    printf("\r\n");
}

static int write_csv(eval_store *store, const run_list *runs, failure *f)
{
    int code = EXIT_OK;
    printf("suite,model,run,status,metric,slice,n,value,stderr,low,high\r\n");
    for (uint32_t i = 0; i < runs->n && code == EXIT_OK; i++) {
        code = each_metric(store, &runs->runs[i], NULL, csv_row, f);
    }
    return code;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_metric(void *user, const store_run *run, sqlite3_stmt *q)
{
    json_out *j = (json_out *)user;
    (void)run;
    json_object(j, NULL);
    json_string(j, "name", (const char *)sqlite3_column_text(q, 0));
    json_string(j, "slice", (const char *)sqlite3_column_text(q, 1));
    json_i64(j, "n", sqlite3_column_int64(q, 2));
    json_f64(j, "value", column_real(q, 3));
    json_f64(j, "stderr", column_real(q, 4));
    json_f64(j, "low", column_real(q, 5));
    json_f64(j, "high", column_real(q, 6));
    json_bool(j, "higher_is_better", sqlite3_column_int(q, 7) != 0);
    json_object_end(j);
}

static int write_json(eval_store *store, const run_list *runs, failure *f)
{
    json_out j;
    int code = EXIT_OK;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-eval");
    json_string(&j, "command", "export");
    json_string(&j, "version", SLM_VERSION);
    json_array(&j, "runs");
    for (uint32_t i = 0; i < runs->n && code == EXIT_OK; i++) {
        const store_run *run = &runs->runs[i];
        json_object(&j, NULL);
        json_i64(&j, "run", run->id);
        json_string(&j, "model", run->model_name);
        json_string(&j, "suite", run->suite_name);
        json_string(&j, "suite_sha256", run->suite_sha256);
        json_bool(&j, "complete", run->complete);
        json_u64(&j, "cases", run->n_cases);
        json_u64(&j, "done", run->n_done);
        json_u64(&j, "errors", run->n_errors);
        json_array(&j, "metrics");
        code = each_metric(store, run, &j, json_metric, f);
        json_array_end(&j);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
    json_end(&j);
    return code;
}

/* ---- Model card ------------------------------------------------------------------------------ */

/* Text as a JSON string, which is a YAML scalar too. */
static void yaml_text(const char *before, const char *text)
{
    json_out j;
    fputs(before, stdout);
    json_begin(&j, stdout, true);
    json_string(&j, NULL, text);
    putchar('\n');
}

static void yaml_metric(void *user, const store_run *run, sqlite3_stmt *q)
{
    double value = column_real(q, 3);
    (void)user, (void)run;
    if (isfinite(value) && sqlite3_column_text(q, 1)[0] == 0) {
        yaml_text("      - type: ", (const char *)sqlite3_column_text(q, 0));
        printf("        value: %.17g\n        verified: false\n", value);
    }
}

static int write_model_index(eval_store *store, const run_list *runs, failure *f)
{
    int code = EXIT_OK;
    if (!given.operands[0]) {
        return fail(f, EXIT_USAGE, "--format model-index: name the model");
    }
    for (uint32_t i = 0; i < runs->n; i++) { /* a model card has no word for half a run */
        const store_run *run = &runs->runs[i];
        if (!run->complete) {
            return fail(f, EXIT_INPUT,
                        "%s: only %" PRIu64 " of %" PRIu64 " cases of suite %s are done; run "
                        "slm-eval run again to finish them, or export csv or json",
                        given.db, run->n_done, run->n_cases, run->suite_name);
        }
    }
    yaml_text("model-index:\n- name: ", runs->runs[0].model_name);
    printf("  results:\n");
    for (uint32_t i = 0; i < runs->n && code == EXIT_OK; i++) {
        const store_run *run = &runs->runs[i];
        printf("  - task:\n      type: text-generation\n    dataset:\n");
        yaml_text("      type: ", run->suite_name);
        yaml_text("      name: ", run->suite_name);
        yaml_text("      revision: ", run->suite_sha256);
        printf("    metrics:\n");
        code = each_metric(store, run, NULL, yaml_metric, f);
    }
    return code;
}

/* ---- in-toto --------------------------------------------------------------------------------- */

/* The ids of the newest decision's gates with one verdict. */
static int json_gates(json_out *j, eval_store *store, int64_t model_id, const char *key,
                      const char *verdict, uint64_t *n, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row;
    int code = store_prepare(store,
                             "SELECT gate FROM gates WHERE verdict = ?2 AND decision = "
                             "(SELECT max(decision) FROM gates WHERE model_id = ?1) ORDER BY id",
                             &q, f);
    sqlite3_bind_int64(q, 1, model_id);
    sqlite3_bind_text(q, 2, verdict, -1, SQLITE_STATIC);
    json_array(j, key);
    while (code == EXIT_OK && (code = store_step(store, q, &row, f)) == EXIT_OK && row) {
        json_string(j, NULL, (const char *)sqlite3_column_text(q, 0));
        *n += 1;
    }
    json_array_end(j);
    sqlite3_finalize(q);
    return code;
}

static void json_subject(json_out *j, const char *key, sqlite3_stmt *q, int name)
{
    json_array(j, key);
    json_object(j, NULL);
    json_string(j, "name", (const char *)sqlite3_column_text(q, name));
    json_object(j, "digest");
    json_string(j, "sha256", (const char *)sqlite3_column_text(q, name + 1));
    json_object_end(j);
    json_object_end(j);
    json_array_end(j);
}

static int write_statement(eval_store *store, int64_t model_id, sqlite3_stmt *q, failure *f)
{
    uint64_t passed = 0, warned = 0, failed = 0;
    json_out j;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "_type", "https://in-toto.io/Statement/v1");
    json_subject(&j, "subject", q, 0);
    json_string(&j, "predicateType", "https://in-toto.io/attestation/test-result/v0.1");
    json_object(&j, "predicate");
    json_subject(&j, "configuration", q, 2);
    int code = json_gates(&j, store, model_id, "passedTests", "passed", &passed, f);
    code = code ? code : json_gates(&j, store, model_id, "warnedTests", "inconclusive", &warned, f);
    code = code ? code : json_gates(&j, store, model_id, "failedTests", "failed", &failed, f);
    json_string(&j, "result", failed ? "FAILED" : warned ? "WARNED" : "PASSED");
    json_object_end(&j);
    json_object_end(&j);
    json_end(&j);
    return code;
}

static int write_in_toto(eval_store *store, const run_list *runs, failure *f)
{
    int64_t model_id = runs->runs[0].model_id;
    sqlite3_stmt *q = NULL;
    bool row = false;
    if (!given.operands[0]) {
        return fail(f, EXIT_USAGE, "--format in-toto: name the model");
    }
    int code = store_prepare(store,
                             "SELECT m.name, m.sha256, g.policy_name, g.policy_sha256 FROM gates g "
                             "JOIN models m ON m.id = g.model_id WHERE g.model_id = ? "
                             "ORDER BY g.decision DESC LIMIT 1",
                             &q, f);
    sqlite3_bind_int64(q, 1, model_id);
    code = code ? code : store_step(store, q, &row, f);
    if (code == EXIT_OK && !row) {
        code = fail(f, EXIT_INPUT, "%s: no gate was applied to %s; run slm-eval gate",
                    store_path(store), given.operands[0]);
    }
    code = code ? code : write_statement(store, model_id, q, f);
    sqlite3_finalize(q);
    return code;
}

/* ---- Main ------------------------------------------------------------------------------------ */

typedef int (*exporter)(eval_store *store, const run_list *runs, failure *f);

static exporter find_format(const char *name)
{
    static const struct {
        const char *name;
        exporter write;
    } formats[] = {{"csv", write_csv},
                   {"json", write_json},
                   {"model-index", write_model_index},
                   {"in-toto", write_in_toto}};
    for (size_t i = 0; name && i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(name, formats[i].name) == 0) {
            return formats[i].write;
        }
    }
    return NULL;
}

int eval_export_main(int argc, char **argv)
{
    static run_list runs;
    static cli c = {.tool = "slm-eval export",
                    .synopsis = "[MODEL|RUN] --format FORMAT --db FILE [options]",
                    .summary = "Writes figures of the newest runs (of a model, or of all) as CSV, "
                               "JSON or a model\ncard's metadata, or the newest verdict as an "
                               "in-toto statement.",
                    .options = table,
                    .n_options = sizeof table / sizeof table[0],
                    .min_operands = 0,
                    .max_operands = 1,
                    .operands = given.operands,
                    .epilog = "example:\n"
                              "  slm-eval export model-q4.slm --format csv --db results.db"};
    failure f = {0};
    eval_store *store = NULL;
    int code = cli_parse(&c, argc, argv);
    if (code >= 0) {
        return code;
    }
    exporter write = find_format(given.format);
    if (!given.db) {
        code = fail(&f, EXIT_USAGE, "--db is missing");
    } else if (!write) {
        code = fail(&f, EXIT_USAGE, "--format: must be csv, json, model-index or in-toto");
    } else {
        code = store_open(given.db, STORE_READ, 30, &store, &f);
    }
    if (code == EXIT_OK) {
        code = given.operands[0] ? select_runs(store, given.operands[0], given.suite, &runs, &f)
                                 : select_newest(store, given.suite, &runs, &f);
    }
    code = code ? code : write(store, &runs, &f);
    if (code != EXIT_OK) {
        cli_report(&c, &f);
    }
    store_close(&store);
    return cli_finish(&c, code);
}
