/* eval_gate_cli.c - slm-eval gate: applies a policy to what was measured of a model, keeps the
 * verdicts in the database and writes the quality manifest beside the model.
 */
#include "lib/eval_gate_cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/cli.h"
#include "lib/eval_manifest.h"
#include "lib/output.h"
#include "lib/quality.h"

static struct {
    const char *operands[1];
    const char *db, *policy, *baseline, *out, *kernels;
    uint32_t threads, wait;
    bool json, quiet;
} given = {.wait = 30};

static cli_option table[] = {
    {.name = "db",
     .argument = "FILE",
     .help = "the database that slm-eval run wrote (required)",
     .kind = CLI_STRING,
     .value = &given.db},
    {.name = "policy",
     .argument = "FILE",
     .help = "the gates, such as evals/gates/default.json (required)",
     .kind = CLI_STRING,
     .value = &given.policy},
    {.name = "baseline",
     .letter = 'b',
     .argument = "MODEL.slm",
     .help = "the model to compare with; its runs are in the database",
     .kind = CLI_STRING,
     .value = &given.baseline},
    {.name = "out",
     .letter = 'o',
     .argument = "FILE",
     .help = "the manifest (default: MODEL.slm.quality.json); replaced if it is there",
     .kind = CLI_STRING,
     .value = &given.out},
    {.name = "threads",
     .letter = 't',
     .argument = "N",
     .help = "threads (default: one per core); they change no figure",
     .kind = CLI_U32,
     .value = &given.threads,
     .min = 1,
     .max = 256},
    {.name = "kernels",
     .argument = "NAME",
     .help = "kernel variant (default: the best); they change no figure",
     .kind = CLI_STRING,
     .value = &given.kernels},
    {.name = "wait",
     .argument = "SECONDS",
     .help = "how long to wait for a locked database (default 30)",
     .kind = CLI_U32,
     .value = &given.wait,
     .min = 0,
     .max = 86400},
    {.name = "json",
     .help = "print the manifest instead of the table",
     .kind = CLI_FLAG,
     .value = &given.json},
    {.name = "quiet",
     .letter = 'q',
     .help = "print nothing but errors",
     .kind = CLI_FLAG,
     .value = &given.quiet},
};

typedef struct job {
    cli c;
    gate_policy policy;
    eval_store *store;
    manifest_model model, baseline;
    gate_subjects subjects;
    gate_result *results;
    json_t *digest, *reference; /* of the best kernels and of the scalar ones */
    char *out, *text;
    size_t n_text;
    int64_t now;
    failure f;
} job;

/* ---- Reading --------------------------------------------------------------------------------- */

static int find_row(job *j, const manifest_model *m, int64_t *id)
{
    int code = store_find_model(j->store, m->sha256, id, &j->f);
    if (code == EXIT_OK && *id == 0) {
        code = fail(&j->f, EXIT_INPUT,
                    "%s: the database %s has no results of these bytes (SHA-256 %s); run slm-eval "
                    "run first",
                    m->path, given.db, m->sha256);
    }
    return code;
}

/* Without --baseline: the one of the model's newest run that had one. */
static int find_baseline(job *j)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(j->store,
                             "SELECT r.baseline_id, m.name FROM runs r JOIN models m ON m.id = "
                             "r.baseline_id WHERE r.model_id = ? ORDER BY r.id DESC LIMIT 1",
                             &q, &j->f);
    sqlite3_bind_int64(q, 1, j->subjects.model_id);
    code = code ? code : store_step(j->store, q, &row, &j->f);
    if (code == EXIT_OK && row) {
        static char name[256];
        snprintf(name, sizeof name, "%s", (const char *)sqlite3_column_text(q, 1));
        j->subjects.baseline_id = sqlite3_column_int64(q, 0);
        j->subjects.baseline = name;
    }
    sqlite3_finalize(q);
    return code;
}

static int open_all(job *j)
{
    if (!given.db || !given.policy) {
        return fail(&j->f, EXIT_USAGE, "%s is missing", given.db ? "--policy" : "--db");
    }
    int code = policy_open(given.policy, &j->policy, &j->f);
    code = code ? code : manifest_model_open(given.operands[0], &j->model, &j->f);
    if (code == EXIT_OK && given.baseline) {
        code = manifest_model_open(given.baseline, &j->baseline, &j->f);
    }
    if (code == EXIT_OK && access(given.db, F_OK) != 0) { /* opened to write, it would be made */
        code = fail_errno(&j->f, given.db, "cannot be opened");
    }
    code = code ? code : store_open(given.db, STORE_WRITE, given.wait, &j->store, &j->f);
    code = code ? code : find_row(j, &j->model, &j->subjects.model_id);
    if (code == EXIT_OK && given.baseline) {
        code = find_row(j, &j->baseline, &j->subjects.baseline_id);
        j->subjects.baseline = j->baseline.name;
    } else if (code == EXIT_OK) {
        code = find_baseline(j);
    }
    j->subjects.model = j->model.name;
    j->subjects.resources = (gate_resources){j->model.opened.file.n_bytes, j->model.memory_bytes,
                                             j->model.bits_per_weight};
    j->out = given.out ? strdup(given.out) : quality_path(given.operands[0]);
    j->results = (gate_result *)calloc(j->policy.n_rules + 1, sizeof *j->results);
    if (code == EXIT_OK && (!j->out || !j->results)) {
        code = fail(&j->f, EXIT_RESOURCE, "no memory");
    }
    return code;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static void bind_real(sqlite3_stmt *q, int at, double value)
{
    if (isfinite(value)) {
        sqlite3_bind_double(q, at, value);
    }
}

static int keep_verdict(job *j, sqlite3_stmt *q, int64_t decision, const gate_result *r)
{
    sqlite3_clear_bindings(q);
    sqlite3_bind_int64(q, 1, decision);
    sqlite3_bind_int64(q, 2, j->subjects.model_id);
    if (j->subjects.baseline_id != 0) {
        sqlite3_bind_int64(q, 3, j->subjects.baseline_id);
    }
    sqlite3_bind_text(q, 4, j->policy.name, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 5, j->policy.sha256, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 6, r->rule->id, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 7, gate_kind_name(r->rule->kind), -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 8, r->rule->suite, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 9, r->rule->metric, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 10, r->rule->slice, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 11, r->rule->at_least ? ">=" : "<=", -1, SQLITE_STATIC);
    bind_real(q, 12, r->rule->threshold);
    bind_real(q, 13, r->observed);
    sqlite3_bind_int64(q, 14, (int64_t)r->n);
    sqlite3_bind_text(q, 15, gate_verdict_name(r->verdict), -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 16, r->reason, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 17, j->now);
    return store_do(j->store, q, &j->f);
}

/* All verdicts in one transaction. */
static int keep_verdicts(job *j)
{
    sqlite3_stmt *q = NULL, *next = NULL;
    bool row;
    int code = store_begin(j->store, &j->f);
    if (code != EXIT_OK) {
        return code;
    }
    code =
        store_prepare(j->store, "SELECT coalesce(max(decision), 0) + 1 FROM gates", &next, &j->f);
    code = code ? code : store_step(j->store, next, &row, &j->f);
    int64_t decision = code == EXIT_OK ? sqlite3_column_int64(next, 0) : 0;
    sqlite3_finalize(next);
    code = code ? code
                : store_prepare(j->store,
                                "INSERT INTO gates (decision, model_id, baseline_id, policy_name, "
                                "policy_sha256, gate, kind, suite, metric, slice, operator, "
                                "threshold, observed, n, verdict, reason, created_at) VALUES (?1, "
                                "?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, "
                                "?16, ?17)",
                                &q, &j->f);
    for (size_t i = 0; i < j->policy.n_rules && code == EXIT_OK; i++) {
        code = keep_verdict(j, q, decision, &j->results[i]);
    }
    sqlite3_finalize(q);
    if (code != EXIT_OK) {
        store_rollback(j->store);
        return code;
    }
    return store_commit(j->store, &j->f);
}

static int write_manifest(job *j)
{
    manifest_parts parts = {.store = j->store,
                            .model = &j->model,
                            .baseline = given.baseline ? &j->baseline : NULL,
                            .policy = &j->policy,
                            .subjects = &j->subjects,
                            .results = j->results,
                            .logits_digest = j->digest,
                            .kernels = j->subjects.kernels,
                            .created_at = (uint64_t)j->now};
    const char *inputs[] = {given.operands[0], given.baseline, given.db, given.policy};
    output *out = NULL;
    int code = manifest_write(&parts, &j->text, &j->n_text, &j->f);
    code = code ? code : output_create(j->out, true, inputs, 4, &out, &j->f);
    code = code ? code : output_write(out, j->text, j->n_text, &j->f);
    code = code ? code : input_unchanged(&j->model.opened.file, &j->f);
    code = code ? code : output_commit(out, &j->f);
    output_destroy(&out);
    return code;
}

/* ---- Showing --------------------------------------------------------------------------------- */

static void print_table(const job *j)
{
    printf("%-28s %-16s %12s %15s  %s\n", "gate", "kind", "observed", "wanted", "verdict");
    for (size_t i = 0; i < j->policy.n_rules; i++) {
        const gate_result *r = &j->results[i];
        char observed[32] = "-", wanted[32];
        if (isfinite(r->observed)) {
            snprintf(observed, sizeof observed, "%.6g", r->observed);
        }
        snprintf(wanted, sizeof wanted, "%s %.6g",
                 r->rule->at_least ? ">=" : "<=", r->rule->threshold);
        printf("%-28s %-16s %12s %15s  %s%s%s\n", r->rule->id, gate_kind_name(r->rule->kind),
               observed, wanted, gate_verdict_name(r->verdict), *r->reason ? ": " : "", r->reason);
    }
    printf("%s: %s; %s\n", j->model.path,
           gate_verdict_name(gate_overall(j->results, j->policy.n_rules)), j->out);
}

static int find_digests(job *j)
{
    const char *path = given.operands[0];
    int code = quality_digest(path, given.kernels, given.threads, &j->digest, &j->f);
    code = code ? code : quality_digest(path, "ref", given.threads, &j->reference, &j->f);
    const json_t *ours = json_object_get(j->digest, "prompts");
    const json_t *theirs = json_object_get(j->reference, "prompts");
    for (size_t i = 0; code == EXIT_OK && i < json_array_size(ours); i++) {
        const json_t *a = json_array_get(ours, i), *b = json_array_get(theirs, i);
        j->subjects.digest = json_string_value(json_object_get(a, "digest"));
        j->subjects.reference_digest = json_string_value(json_object_get(b, "digest"));
        if (strcmp(j->subjects.digest, j->subjects.reference_digest) != 0) {
            break;
        }
    }
    j->subjects.kernels = given.kernels;
    for (uint32_t i = 0; !given.kernels && slm_kernels_variant(i); i++) {
        j->subjects.kernels = slm_kernels_variant(i); /* the best is last */
    }
    return code;
}

static int decide(job *j)
{
    static const int exit_codes[] = {EXIT_OK, EXIT_CHECK, EXIT_UNDECIDED};
    j->now = (int64_t)time(NULL);
    int code = find_digests(j);
    code = code ? code : gate_evaluate(j->store, &j->policy, &j->subjects, j->results, &j->f);
    code = code ? code : write_manifest(j);
    code = code ? code : keep_verdicts(j);
    if (code != EXIT_OK) {
        return code;
    }
    if (given.json) {
        fwrite(j->text, 1, j->n_text, stdout);
        j->c.json_done = true;
    } else if (!given.quiet) {
        print_table(j);
    }
    return exit_codes[gate_overall(j->results, j->policy.n_rules)];
}

int eval_gate_main(int argc, char **argv)
{
    static job j = {
        .c = {.tool = "slm-eval gate",
              .synopsis = "MODEL.slm --db FILE --policy FILE [options]",
              .summary = "Applies the gates of a policy to what slm-eval run measured of a model, "
                         "and writes\nthe quality manifest that travels with it: what was "
                         "measured, on which bytes, and a\ndigest of logits that every machine "
                         "must reproduce.",
              .options = table,
              .n_options = sizeof table / sizeof table[0],
              .min_operands = 1,
              .max_operands = 1,
              .operands = given.operands,
              .epilog = "Exit codes: 0 passed, 1 failed, 6 inconclusive: too little was measured.\n"
                        "\n"
                        "example:\n"
                        "  slm-eval gate model-q4.slm --db results.db --policy "
                        "evals/gates/default.json"}};
    int code = cli_parse(&j.c, argc, argv);
    if (code >= 0) {
        return code;
    }
    code = open_all(&j);
    code = code ? code : decide(&j);
    if (j.f.exit_code != EXIT_OK) {
        cli_report(&j.c, &j.f);
    }
    store_close(&j.store);
    manifest_model_close(&j.model);
    manifest_model_close(&j.baseline);
    policy_close(&j.policy);
    json_decref(j.digest);
    json_decref(j.reference);
    free(j.results);
    free(j.out);
    free(j.text);
    return cli_finish(&j.c, code);
}
