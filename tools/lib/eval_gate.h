/* eval_gate.h - a policy, a database of results and a model -> a verdict for every gate.
 *
 * Figures come from the newest complete run of the model on each suite, and for the baseline from
 * its own newest complete run on the same content of the suite. What was not measured makes a gate
 * inconclusive, never passed.
 */
#ifndef SLM_TOOLS_EVAL_GATE_H
#define SLM_TOOLS_EVAL_GATE_H

#include "lib/eval_policy.h"
#include "lib/eval_store.h"

typedef enum gate_verdict { VERDICT_PASSED, VERDICT_FAILED, VERDICT_INCONCLUSIVE } gate_verdict;

const char *gate_verdict_name(gate_verdict verdict); /* "passed", ...; static */

typedef struct gate_result {
    const gate_rule *rule; /* borrowed from the policy */
    double observed;       /* NAN: there is none */
    uint64_t n;            /* cases or tokens that it is over; 0 for resources */
    gate_verdict verdict;
    char reason[256]; /* "" if passed */
} gate_result;

/* What resource gates look at. */
typedef struct gate_resources {
    uint64_t file_bytes;
    uint64_t memory_bytes; /* file, model and session at a stated context */
    double bits_per_weight;
} gate_resources;

typedef struct gate_subjects {
    int64_t model_id, baseline_id; /* rows of models; baseline 0: none */
    const char *model, *baseline;  /* names, for reasons; baseline may be NULL */
    gate_resources resources;
    const char *digest, *reference_digest; /* best kernels', scalar reference's */
    const char *kernels;                   /* the best ones' name */
} gate_subjects;

/* results: room for policy->n_rules. Failures are the database's. */
int gate_evaluate(eval_store *store, const gate_policy *policy, const gate_subjects *subjects,
                  gate_result *results, failure *f);

/* Failed if any failed, else inconclusive if any is, else passed. */
gate_verdict gate_overall(const gate_result *results, size_t n);

/* The runs that figures of a suite come from. *found_*: there is a complete one. */
int gate_find_runs(eval_store *store, const gate_subjects *subjects, const char *suite,
                   store_run *model, bool *found_model, store_run *baseline, bool *found_baseline,
                   failure *f);

/* Is a result's kind what a metric is over: "choice.accuracy" is over choice; "" over everything.
 */
bool gate_metric_covers(const char *metric, eval_kind kind);

#endif
