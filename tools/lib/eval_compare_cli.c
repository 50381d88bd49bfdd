/* eval_compare_cli.c - slm-eval compare A B: the same cases of two runs, paired. */
#include "lib/eval_compare_cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/eval_gate.h"
#include "lib/eval_select.h"
#include "lib/json_out.h"

static struct {
    const char *operands[2];
    const char *db, *suite, *slice;
    bool json;
} given;

static cli_option table[] = {
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
    {.name = "slice",
     .argument = "TAG",
     .help = "cases with this tag only",
     .kind = CLI_STRING,
     .value = &given.slice},
    {.name = "json", .help = "print one JSON document", .kind = CLI_FLAG, .value = &given.json},
};

/* The paired cases of one suite and kind. */
typedef struct comparison {
    eval_kind kind;
    bool has_outcomes, has_means;
    paired_outcomes outcomes;
    paired_means means;
} comparison;

typedef struct suite_comparison {
    const store_run *before, *after;
    store_results a, b; /* before, after */
    store_pairs pairs;
    comparison kinds[EVAL_KINDS];
    uint32_t n_kinds;
} suite_comparison;

static int compare_kind(suite_comparison *s, eval_kind kind, failure *f)
{
    size_t room = s->pairs.n + 1, n_passed = 0, n_scores = 0;
    uint8_t *passed = (uint8_t *)malloc(2 * room);
    double *scores = (double *)malloc(2 * room * sizeof *scores);
    comparison *c = &s->kinds[s->n_kinds];
    int code = passed && scores ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory for the pairs");
    for (size_t i = 0; i < s->pairs.n && code == EXIT_OK; i++) {
        const store_result *a = &s->a.items[s->pairs.before[i]];
        const store_result *b = &s->b.items[s->pairs.after[i]];
        if (a->kind != kind) {
            continue;
        }
        if (a->passed >= 0 && b->passed >= 0) {
            passed[n_passed] = (uint8_t)a->passed;
            passed[room + n_passed++] = (uint8_t)b->passed;
        }
        if (isfinite(a->score) && isfinite(b->score)) {
            scores[n_scores] = a->score;
            scores[room + n_scores++] = b->score;
        }
    }
    *c = (comparison){.kind = kind, .has_outcomes = n_passed != 0, .has_means = n_scores != 0};
    if (c->has_outcomes) {
        c->outcomes = stats_paired_outcomes(passed, passed + room, n_passed);
    }
    if (c->has_means && stats_paired_means(scores, scores + room, n_scores, 0, BOOTSTRAP_RESAMPLES,
                                           &c->means) != 0) {
        code = fail(f, EXIT_RESOURCE, "no memory for the bootstrap");
    }
    if (n_scores == 1) {
        c->means.low = c->means.high = c->means.p =
            (double)NAN; /* one case says nothing of others */
    }
    s->n_kinds += c->has_outcomes || c->has_means;
    free(passed);
    free(scores);
    return code;
}

static int compare_suite(eval_store *store, suite_comparison *s, failure *f)
{
    int code = store_load_results(store, s->before->id, given.slice, &s->a, f);
    code = code ? code : store_load_results(store, s->after->id, given.slice, &s->b, f);
    code = code ? code : store_pair(&s->a, &s->b, &s->pairs, f);
    for (int kind = 0; kind < EVAL_KINDS && code == EXIT_OK; kind++) {
        code = compare_kind(s, (eval_kind)kind, f);
    }
    return code;
}

static void free_comparison(suite_comparison *s)
{
    store_pairs_free(&s->pairs);
    store_results_free(&s->a);
    store_results_free(&s->b);
}

/* ---- For people ------------------------------------------------------------------------------ */

static void print_flips(const suite_comparison *s, int8_t was, const char *heading)
{
    bool any = false;
    for (size_t i = 0; i < s->pairs.n; i++) {
        const store_result *a = &s->a.items[s->pairs.before[i]];
        const store_result *b = &s->b.items[s->pairs.after[i]];
        if (a->passed == was && b->passed == 1 - was) {
            failure safe; /* its text has no control bytes */
            fail(&safe, EXIT_CHECK, "%s", b->name);
            printf("%s %s", any ? "" : heading, safe.text);
            any = true;
        }
    }
    printf("%s", any ? "\n" : "");
}

static void print_comparison(const suite_comparison *s)
{
    printf("%s: %s (run %" PRId64 ") -> %s (run %" PRId64 "), %zu cases in both",
           s->after->suite_name, s->before->model_name, s->before->id, s->after->model_name,
           s->after->id, s->pairs.n);
    if (s->pairs.only_before != 0 || s->pairs.only_after != 0) {
        printf(", %zu only before, %zu only after", s->pairs.only_before, s->pairs.only_after);
    }
    printf("\n");
    for (uint32_t i = 0; i < s->n_kinds; i++) {
        const comparison *c = &s->kinds[i];
        const paired_outcomes *o = &c->outcomes;
        const paired_means *m = &c->means;
        if (c->has_outcomes) {
            printf("  %-11s passed  n %" PRIu64 ", lost %" PRIu64 ", gained %" PRIu64
                   ": difference %+.4f (%.4f .. %.4f), McNemar p %.4g, detects %.3g\n",
                   eval_kind_name(c->kind), o->n, o->lost, o->gained, o->difference, o->low,
                   o->high, o->p, o->detectable);
        }
        if (c->has_means) {
            printf("  %-11s score   n %" PRIu64
                   ", %.6g -> %.6g: difference %+.6g (%.6g .. %.6g), bootstrap p %.4g\n",
                   eval_kind_name(c->kind), m->n, m->before, m->after, m->difference, m->low,
                   m->high, m->p);
        }
    }
    print_flips(s, 1, "  lost:  ");
    print_flips(s, 0, "  gained:");
}

/* ---- For programs ---------------------------------------------------------------------------- */

static void json_flips(json_out *j, const suite_comparison *s, int8_t was, const char *key)
{
    json_array(j, key);
    for (size_t i = 0; i < s->pairs.n; i++) {
        const store_result *a = &s->a.items[s->pairs.before[i]];
        const store_result *b = &s->b.items[s->pairs.after[i]];
        if (a->passed == was && b->passed == 1 - was) {
            json_string(j, NULL, b->name);
        }
    }
    json_array_end(j);
}

static void json_kind(json_out *j, const comparison *c)
{
    json_object(j, NULL);
    json_string(j, "kind", eval_kind_name(c->kind));
    if (c->has_outcomes) {
        json_object(j, "outcomes");
        json_u64(j, "n", c->outcomes.n);
        json_u64(j, "lost", c->outcomes.lost);
        json_u64(j, "gained", c->outcomes.gained);
        json_f64(j, "difference", c->outcomes.difference);
        json_f64(j, "low", c->outcomes.low);
        json_f64(j, "high", c->outcomes.high);
        json_f64(j, "p", c->outcomes.p);
        json_f64(j, "detectable", c->outcomes.detectable);
        json_object_end(j);
    }
    if (c->has_means) {
        json_object(j, "scores");
        json_u64(j, "n", c->means.n);
        json_f64(j, "before", c->means.before);
        json_f64(j, "after", c->means.after);
        json_f64(j, "difference", c->means.difference);
        json_f64(j, "low", c->means.low);
        json_f64(j, "high", c->means.high);
        json_f64(j, "p", c->means.p);
        json_f64(j, "detectable", c->means.detectable);
        json_object_end(j);
    }
    json_object_end(j);
}

static void json_run(json_out *j, const char *key, const store_run *run)
{
    json_object(j, key);
    json_string(j, "model", run->model_name);
    json_i64(j, "run", run->id);
    json_bool(j, "complete", run->complete);
    json_object_end(j);
}

static void json_comparison(json_out *j, const suite_comparison *s)
{
    json_object(j, NULL);
    json_string(j, "suite", s->after->suite_name);
    json_run(j, "before", s->before);
    json_run(j, "after", s->after);
    json_u64(j, "cases", s->pairs.n);
    json_u64(j, "only_before", s->pairs.only_before);
    json_u64(j, "only_after", s->pairs.only_after);
    json_array(j, "kinds");
    for (uint32_t i = 0; i < s->n_kinds; i++) {
        json_kind(j, &s->kinds[i]);
    }
    json_array_end(j);
    json_flips(j, s, 1, "lost");
    json_flips(j, s, 0, "gained");
    json_object_end(j);
}

/* ---- Main ------------------------------------------------------------------------------------ */

/* Every suite that both sides ran. */
static int compare_all(eval_store *store, const run_list *before, const run_list *after, failure *f)
{
    json_out j;
    int code = EXIT_OK;
    json_begin(&j, stdout, false);
    if (given.json) {
        json_object(&j, NULL);
        json_string(&j, "tool", "slm-eval");
        json_string(&j, "command", "compare");
        json_string(&j, "version", SLM_VERSION);
        json_array(&j, "suites");
    }
    for (uint32_t i = 0; i < after->n && code == EXIT_OK; i++) {
        for (uint32_t k = 0; k < before->n && code == EXIT_OK; k++) {
            suite_comparison s = {.before = &before->runs[k], .after = &after->runs[i]};
            if (strcmp(s.before->suite_name, s.after->suite_name) != 0) {
                continue;
            }
            code = compare_suite(store, &s, f);
            if (code == EXIT_OK) {
                given.json ? json_comparison(&j, &s) : print_comparison(&s);
            }
            free_comparison(&s);
        }
    }
    if (given.json) {
        json_array_end(&j);
        json_object_end(&j);
        json_end(&j);
    }
    return code;
}

static bool share_suite(const run_list *a, const run_list *b)
{
    for (uint32_t i = 0; i < a->n; i++) {
        for (uint32_t k = 0; k < b->n; k++) {
            if (strcmp(a->runs[i].suite_name, b->runs[k].suite_name) == 0) {
                return true;
            }
        }
    }
    return false;
}

int eval_compare_main(int argc, char **argv)
{
    static run_list before, after;
    static cli c = {.tool = "slm-eval compare",
                    .synopsis = "BEFORE AFTER --db FILE [options]",
                    .summary = "Compares two models, or two runs by number, on the cases that both "
                               "have done: what\nwas lost and gained, and whether it is more than "
                               "chance.",
                    .options = table,
                    .n_options = sizeof table / sizeof table[0],
                    .min_operands = 2,
                    .max_operands = 2,
                    .operands = given.operands,
                    .epilog =
                        "example:\n  slm-eval compare model.slm model-q4.slm --db results.db"};
    failure f = {0};
    eval_store *store = NULL;
    int code = cli_parse(&c, argc, argv);
    if (code >= 0) {
        return code;
    }
    code = given.db ? EXIT_OK : fail(&f, EXIT_USAGE, "--db is missing");
    code = code ? code : store_open(given.db, STORE_READ, 30, &store, &f);
    code = code ? code : select_runs(store, given.operands[0], given.suite, &before, &f);
    code = code ? code : select_runs(store, given.operands[1], given.suite, &after, &f);
    if (code == EXIT_OK && !share_suite(&before, &after)) {
        code = fail(&f, EXIT_INPUT, "%s and %s have no suite in common", given.operands[0],
                    given.operands[1]);
    }
    code = code ? code : compare_all(store, &before, &after, &f);
    if (code != EXIT_OK) {
        cli_report(&c, &f);
    }
    store_close(&store);
    return cli_finish(&c, code);
}
