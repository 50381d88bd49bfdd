/* eval_policy.h - a gate policy (evals/gates/NAME.json, schemas/policy.schema.json) -> checked
 * gates.
 *
 * A gate is one rule on one figure. Kinds, and what "observed" is:
 *   limit            a metric of the model's run: "min" and "max" are two gates
 *   recovery         metric over baseline's, inverted where lower is better: at least "min";
 * "level" "standard" is 0.99, "high" 0.999 non_inferiority  paired difference, in the direction of
 * better: its 95 % interval must lie above
 *                    -"margin"; wholly below fails, across is inconclusive
 *   flips            cases that the baseline passed and the model fails: at most "max"
 *   resource         file_bytes, memory_bytes or bits_per_weight: at most "max"
 *   digest           in every policy, without being written there: the machine's best kernels give
 *                    the logits that the scalar reference gives
 */
#ifndef SLM_TOOLS_EVAL_POLICY_H
#define SLM_TOOLS_EVAL_POLICY_H

#include "lib/eval_suite.h"

typedef enum gate_kind {
    GATE_LIMIT,
    GATE_RECOVERY,
    GATE_NON_INFERIORITY,
    GATE_FLIPS,
    GATE_RESOURCE,
    GATE_DIGEST,
    GATE_KINDS
} gate_kind;

const char *gate_kind_name(gate_kind kind); /* "limit", ...; static */

/* Everything is borrowed from the policy. */
typedef struct gate_rule {
    const char *id;
    gate_kind kind;
    const char *suite, *metric, *slice; /* "" where there is none */
    bool at_least;                      /* observed >= threshold, else observed <= threshold */
    double threshold;                   /* non_inferiority: -margin */
    uint32_t min_n;                     /* with fewer cases the verdict is inconclusive */
} gate_rule;

typedef struct gate_policy {
    json_t *root;
    const char *name;
    char sha256[65]; /* of the file */
    gate_rule *rules;
    size_t n_rules;
} gate_policy;

/* Reads and checks a policy; *policy is the caller's (policy_close), also on failure. EXIT_INPUT
 * names the gate and its key. */
int policy_open(const char *path, gate_policy *policy, failure *f);
void policy_close(gate_policy *policy); /* accepts a zeroed one */

#endif
