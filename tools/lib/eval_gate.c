/* eval_gate.c - rules and stored figures -> verdicts; see eval_gate.h. */
#include "lib/eval_gate.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *gate_verdict_name(gate_verdict verdict)
{
    static const char *const names[] = {"passed", "failed", "inconclusive"};
    return names[verdict];
}

/* One gate at work. */
typedef struct judge {
    eval_store *store;
    const gate_subjects *subjects;
    const gate_rule *rule;
    gate_result *result;
    failure *f;
} judge;

static int undecided(judge *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int undecided(judge *g, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(g->result->reason, sizeof g->result->reason, format, arguments);
    va_end(arguments);
    g->result->verdict = VERDICT_INCONCLUSIVE;
    return EXIT_OK;
}

/* Compares what was observed with the rule. */
static int judge_observed(judge *g)
{
    gate_result *r = g->result;
    const gate_rule *rule = g->rule;
    if (isnan(r->observed)) {
        return undecided(g, "%s is not defined", rule->metric);
    }
    if (rule->kind != GATE_RESOURCE && r->n < rule->min_n) {
        return undecided(g, "over %llu cases only, %u are wanted", (unsigned long long)r->n,
                         rule->min_n);
    }
    bool good = rule->at_least ? r->observed >= rule->threshold : r->observed <= rule->threshold;
    r->verdict = good ? VERDICT_PASSED : VERDICT_FAILED;
    if (!good) {
        snprintf(r->reason, sizeof r->reason, "%.6g is %s %.6g", r->observed,
                 rule->at_least ? "below" : "above", rule->threshold);
    }
    return EXIT_OK;
}

/* ---- Where figures come from ----------------------------------------------------------------- */

int gate_find_runs(eval_store *store, const gate_subjects *subjects, const char *suite,
                   store_run *model, bool *found_model, store_run *baseline, bool *found_baseline,
                   failure *f)
{
    *found_model = *found_baseline = false;
    int code = store_newest_run(store, subjects->model_id, suite, true, model, found_model, f);
    if (code == EXIT_OK && subjects->baseline_id != 0) {
        code = store_newest_run(store, subjects->baseline_id, suite, true, baseline, found_baseline,
                                f);
    }
    return code;
}

static int missing_run(judge *g, const char *whose)
{
    return undecided(g, "%s has no complete run of suite %s; run slm-eval run", whose,
                     g->rule->suite);
}

/* Both runs, or a verdict. *have: go on. */
static int find_both(judge *g, store_run *model, store_run *baseline, bool *have)
{
    bool has_model, has_baseline;
    *have = false;
    int code = gate_find_runs(g->store, g->subjects, g->rule->suite, model, &has_model, baseline,
                              &has_baseline, g->f);
    if (code != EXIT_OK) {
        return code;
    }
    if (g->subjects->baseline_id == 0) {
        return undecided(g, "there is no baseline");
    }
    if (!has_model || !has_baseline) {
        return missing_run(g, has_model ? g->subjects->baseline : g->subjects->model);
    }
    if (strcmp(model->suite_sha256, baseline->suite_sha256) != 0) {
        return undecided(g, "model and baseline ran different contents of suite %s",
                         g->rule->suite);
    }
    *have = true;
    return EXIT_OK;
}

bool gate_metric_covers(const char *metric, eval_kind kind)
{
    const char *name = eval_kind_name(kind);
    size_t n = strlen(name);
    return *metric == 0 || (strncmp(metric, name, n) == 0 && metric[n] == '.');
}

/* A figure that is not there. Where the suite has cases that should give it and none was measured,
 * nothing is known; else the rule asks for what no case gives, and must not pass by its absence. */
static int no_figure(judge *g, int64_t run_id)
{
    const gate_rule *rule = g->rule;
    bool of_suite[EVAL_KINDS], measured[EVAL_KINDS], cases = false, results = false;
    int code = store_measured_kinds(g->store, run_id, *rule->slice ? rule->slice : NULL, of_suite,
                                    measured, g->f);
    for (int k = 0; code == EXIT_OK && k < EVAL_KINDS; k++) {
        bool covered = gate_metric_covers(rule->metric, (eval_kind)k);
        cases = cases || (covered && of_suite[k]);
        results = results || (covered && measured[k]);
    }
    if (code != EXIT_OK) {
        return code;
    }
    const char *metric = *rule->metric ? rule->metric : "a verdict";
    const char *of = *rule->slice ? " with tag " : "";
    if (cases && !results) {
        return undecided(g, "no case of suite %s%s%s was measured for %s", rule->suite, of,
                         rule->slice, metric);
    }
    snprintf(g->result->reason, sizeof g->result->reason, "no case of suite %s%s%s gives %s",
             rule->suite, of, rule->slice, metric);
    g->result->verdict = VERDICT_FAILED;
    return EXIT_OK;
}

static int read_metric(judge *g, int64_t run_id, store_metric *metric, bool *have)
{
    int code =
        store_read_metric(g->store, run_id, g->rule->slice, g->rule->metric, metric, have, g->f);
    return code == EXIT_OK && !*have ? no_figure(g, run_id) : code;
}

/* ---- Kinds ----------------------------------------------------------------------------------- */

static int judge_limit(judge *g)
{
    store_run run;
    store_metric m;
    bool have;
    int code =
        store_newest_run(g->store, g->subjects->model_id, g->rule->suite, true, &run, &have, g->f);
    if (code == EXIT_OK && !have) {
        return missing_run(g, g->subjects->model);
    }
    code = code ? code : read_metric(g, run.id, &m, &have);
    if (code != EXIT_OK || !have) {
        return code;
    }
    g->result->observed = m.e.value;
    g->result->n = m.e.n;
    return judge_observed(g);
}

static int judge_recovery(judge *g)
{
    store_run run, base;
    store_metric after, before;
    bool have;
    int code = find_both(g, &run, &base, &have);
    if (code == EXIT_OK && have) {
        code = read_metric(g, run.id, &after, &have);
    }
    if (code == EXIT_OK && have) {
        code = read_metric(g, base.id, &before, &have);
    }
    if (code != EXIT_OK || !have) {
        return code;
    }
    double top = after.higher_is_better ? after.e.value : before.e.value;
    double bottom = after.higher_is_better ? before.e.value : after.e.value;
    g->result->n = after.e.n;
    if (!(bottom > 0) || isnan(top)) {
        return undecided(g, "%s of %s leaves nothing to compare with", g->rule->metric,
                         after.higher_is_better ? g->subjects->baseline : g->subjects->model);
    }
    g->result->observed = top / bottom;
    return judge_observed(g);
}

/* The same cases of both runs, with verdicts (outcomes) or scores (values). */
typedef struct paired_cases {
    uint8_t *passed[2];
    double *scores[2];
    size_t n_passed, n_scores;
} paired_cases;

static void free_cases(paired_cases *c)
{
    for (int i = 0; i < 2; i++) {
        free(c->passed[i]);
        free(c->scores[i]);
    }
}

static int collect(judge *g, const store_results *before, const store_results *after,
                   const store_pairs *pairs, paired_cases *c)
{
    for (int i = 0; i < 2; i++) {
        c->passed[i] = (uint8_t *)malloc(pairs->n + 1);
        c->scores[i] = (double *)malloc((pairs->n + 1) * sizeof *c->scores[i]);
        if (!c->passed[i] || !c->scores[i]) {
            return fail(g->f, EXIT_RESOURCE, "no memory for the pairs");
        }
    }
    for (size_t i = 0; i < pairs->n; i++) {
        const store_result *b = &before->items[pairs->before[i]];
        const store_result *a = &after->items[pairs->after[i]];
        if (!gate_metric_covers(g->rule->metric, a->kind)) {
            continue;
        }
        if (a->passed >= 0 && b->passed >= 0) {
            c->passed[0][c->n_passed] = (uint8_t)b->passed;
            c->passed[1][c->n_passed++] = (uint8_t)a->passed;
        }
        if (!isnan(a->score) && !isnan(b->score)) {
            c->scores[0][c->n_scores] = b->score;
            c->scores[1][c->n_scores++] = a->score;
        }
    }
    return EXIT_OK;
}

static int pair_cases(judge *g, paired_cases *c, int64_t *run_id, bool *have)
{
    store_run run, base;
    store_results before = {0}, after = {0};
    store_pairs pairs = {0};
    const char *slice = *g->rule->slice ? g->rule->slice : NULL;
    int code = find_both(g, &run, &base, have);
    if (code != EXIT_OK || !*have) {
        return code;
    }
    *run_id = run.id;
    code = store_load_results(g->store, base.id, slice, &before, g->f);
    code = code ? code : store_load_results(g->store, run.id, slice, &after, g->f);
    code = code ? code : store_pair(&before, &after, &pairs, g->f);
    code = code ? code : collect(g, &before, &after, &pairs, c);
    store_pairs_free(&pairs);
    store_results_free(&before);
    store_results_free(&after);
    return code;
}

/* An interval of the difference, positive for better, against the margin. */
static int judge_interval(judge *g, double difference, double low, double high)
{
    gate_result *r = g->result;
    r->observed = difference;
    if (r->n < g->rule->min_n) {
        return undecided(g, "over %llu cases only, %u are wanted", (unsigned long long)r->n,
                         g->rule->min_n);
    }
    r->verdict = low >= g->rule->threshold   ? VERDICT_PASSED
                 : high < g->rule->threshold ? VERDICT_FAILED
                                             : VERDICT_INCONCLUSIVE;
    if (r->verdict != VERDICT_PASSED) {
        snprintf(r->reason, sizeof r->reason,
                 "the difference lies between %.6g and %.6g, which %s %.6g", low, high,
                 r->verdict == VERDICT_FAILED ? "is below" : "does not rule out less than",
                 g->rule->threshold);
    }
    return EXIT_OK;
}

static int judge_non_inferiority(judge *g)
{
    paired_cases c = {0};
    bool have, lower = strstr(g->rule->metric, ".nll") || strstr(g->rule->metric, ".perplexity");
    int64_t run_id = 0;
    int code = pair_cases(g, &c, &run_id, &have);
    if (code == EXIT_OK && have && lower && c.n_scores != 0) {
        paired_means m;
        g->result->n = c.n_scores;
        code = stats_paired_means(c.scores[0], c.scores[1], c.n_scores, 0, BOOTSTRAP_RESAMPLES, &m)
                   ? fail(g->f, EXIT_RESOURCE, "no memory for the bootstrap")
                   : judge_interval(g, -m.difference, -m.high, -m.low);
    } else if (code == EXIT_OK && have && !lower && c.n_passed != 0) {
        paired_outcomes p = stats_paired_outcomes(c.passed[0], c.passed[1], c.n_passed);
        g->result->n = p.n;
        code = judge_interval(g, p.difference, p.low, p.high);
    } else if (code == EXIT_OK && have) {
        code = no_figure(g, run_id);
    }
    free_cases(&c);
    return code;
}

static int judge_flips(judge *g)
{
    paired_cases c = {0};
    bool have;
    int64_t run_id = 0;
    int code = pair_cases(g, &c, &run_id, &have);
    if (code == EXIT_OK && have && c.n_passed == 0) {
        code = no_figure(g, run_id);
    } else if (code == EXIT_OK && have) {
        paired_outcomes p = stats_paired_outcomes(c.passed[0], c.passed[1], c.n_passed);
        g->result->observed = (double)p.lost;
        g->result->n = p.n;
        code = judge_observed(g);
    }
    free_cases(&c);
    return code;
}

static int judge_resource(judge *g)
{
    const gate_resources *r = &g->subjects->resources;
    const char *metric = g->rule->metric;
    g->result->observed = strcmp(metric, "file_bytes") == 0     ? (double)r->file_bytes
                          : strcmp(metric, "memory_bytes") == 0 ? (double)r->memory_bytes
                                                                : r->bits_per_weight;
    return judge_observed(g);
}

/* Observed: how many digests differ. */
static int judge_digest(judge *g)
{
    const gate_subjects *s = g->subjects;
    g->result->observed = strcmp(s->digest, s->reference_digest) != 0;
    g->result->verdict = g->result->observed > 0 ? VERDICT_FAILED : VERDICT_PASSED;
    if (g->result->verdict == VERDICT_FAILED) {
        snprintf(g->result->reason, sizeof g->result->reason,
                 "kernels %s give logits digest %s, the scalar reference %s", s->kernels, s->digest,
                 s->reference_digest);
    }
    return EXIT_OK;
}

/* ---- All of them ----------------------------------------------------------------------------- */

int gate_evaluate(eval_store *store, const gate_policy *policy, const gate_subjects *subjects,
                  gate_result *results, failure *f)
{
    static int (*const kinds[GATE_KINDS])(judge *) = {judge_limit,           judge_recovery,
                                                      judge_non_inferiority, judge_flips,
                                                      judge_resource,        judge_digest};
    for (size_t i = 0; i < policy->n_rules; i++) {
        results[i] = (gate_result){.rule = &policy->rules[i], .observed = (double)NAN};
        judge g = {store, subjects, &policy->rules[i], &results[i], f};
        int code = kinds[policy->rules[i].kind](&g);
        if (code != EXIT_OK) {
            return code;
        }
    }
    return EXIT_OK;
}

gate_verdict gate_overall(const gate_result *results, size_t n)
{
    gate_verdict overall = VERDICT_PASSED;
    for (size_t i = 0; i < n; i++) {
        if (results[i].verdict == VERDICT_FAILED) {
            return VERDICT_FAILED;
        }
        overall = results[i].verdict == VERDICT_INCONCLUSIVE ? VERDICT_INCONCLUSIVE : overall;
    }
    return overall;
}
