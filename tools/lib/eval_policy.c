/* eval_policy.c - a gate policy -> checked gates; see eval_policy.h. */
#include "lib/eval_policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/input.h"
#include "lib/sha256.h"

enum { POLICY_MAX_BYTES = 1 << 20, POLICY_MAX_GATES = 1000 };

#define DIGEST_GATE "logits-digest"

static const char *const KINDS[GATE_KINDS] = {"limit", "recovery", "non_inferiority",
                                              "flips", "resource", "digest"};
static const char *const RESOURCES[] = {"file_bytes", "memory_bytes", "bits_per_weight"};

const char *gate_kind_name(gate_kind kind)
{
    return KINDS[kind];
}

typedef struct reader {
    char where[SUITE_MAX_NAME + 4096]; /* "FILE: gate ID", for messages */
    json_t *gate;
    failure *f;
} reader;

/* A text of 1 to SUITE_MAX_NAME bytes, or fallback; NULL: it must be there. */
static int read_text(reader *r, const char *key, const char *fallback, const char **text)
{
    bool found;
    int code = json_in_string(r->where, r->gate, key, text, &found, r->f);
    if (code == EXIT_OK && !found) {
        *text = fallback;
        return fallback ? EXIT_OK : fail(r->f, EXIT_INPUT, "%s: %s is missing", r->where, key);
    }
    if (code == EXIT_OK && (**text == 0 || strlen(*text) > SUITE_MAX_NAME)) {
        return fail(r->f, EXIT_INPUT, "%s: %s must have 1 to %d bytes", r->where, key,
                    SUITE_MAX_NAME);
    }
    return code;
}

static int read_number(reader *r, const char *key, double min, double *value, bool *found)
{
    json_t *item = json_in_get(r->gate, key);
    *found = item != NULL;
    if (!item) {
        return EXIT_OK;
    }
    *value = json_number_value(item);
    if (!json_is_number(item) || !isfinite(*value) || *value < min) {
        return json_in_refuse(r->where, key, min < 0 ? "a number" : "a number from 0", item, r->f);
    }
    return EXIT_OK;
}

static int refuse_unknown(reader *r, json_t *object, const char *const *known, size_t n)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (i < n && strcmp(known[i], key) != 0) {
            i++;
        }
        if (i == n) {
            return fail(r->f, EXIT_INPUT, "%s: the key \"%.64s\" is unknown", r->where, key);
        }
    }
    return EXIT_OK;
}

/* ---- Thresholds ------------------------------------------------------------------------------ */

static int read_recovery(reader *r, gate_rule *rule)
{
    const char *level;
    bool found;
    int code = read_text(r, "level", "", &level);
    code = code ? code : read_number(r, "min", 0, &rule->threshold, &found);
    if (code != EXIT_OK) {
        return code;
    }
    rule->at_least = true;
    if (found != (*level == 0)) {
        return fail(r->f, EXIT_INPUT, "%s: needs either min or level", r->where);
    }
    if (!found && strcmp(level, "standard") != 0 && strcmp(level, "high") != 0) {
        return fail(r->f, EXIT_INPUT, "%s: level must be standard or high, not \"%s\"", r->where,
                    level);
    }
    if (!found) {
        rule->threshold = strcmp(level, "high") == 0 ? 0.999 : 0.99;
    }
    return EXIT_OK;
}

/* The one number of a gate, under the keys that its kind allows. */
static int read_threshold(reader *r, gate_rule *rule)
{
    double min = 0, max = 0, margin = 0;
    bool has_min, has_max, has_margin;
    if (rule->kind == GATE_RECOVERY) {
        return read_recovery(r, rule);
    }
    int code = read_number(r, "min", -HUGE_VAL, &min, &has_min);
    code = code ? code : read_number(r, "max", -HUGE_VAL, &max, &has_max);
    code = code ? code : read_number(r, "margin", 0, &margin, &has_margin);
    if (code != EXIT_OK) {
        return code;
    }
    const char *wanted = rule->kind == GATE_NON_INFERIORITY ? "margin"
                         : rule->kind == GATE_LIMIT         ? "min or max"
                                                            : "max";
    bool right = rule->kind == GATE_NON_INFERIORITY ? has_margin && !has_min && !has_max
                 : rule->kind == GATE_LIMIT         ? has_min != has_max && !has_margin
                                                    : has_max && !has_min && !has_margin;
    if (!right) {
        return fail(r->f, EXIT_INPUT, "%s: a gate of kind %s needs %s, and no other threshold",
                    r->where, KINDS[rule->kind], wanted);
    }
    rule->at_least = has_min || has_margin;
    rule->threshold = has_margin ? -margin : has_min ? min : max;
    return EXIT_OK;
}

/* ---- Gates ----------------------------------------------------------------------------------- */

static int read_kind(reader *r, gate_rule *rule)
{
    const char *kind;
    int code = read_text(r, "kind", NULL, &kind);
    for (int i = 0; code == EXIT_OK && i < GATE_DIGEST; i++) {
        if (strcmp(kind, KINDS[i]) == 0) {
            rule->kind = (gate_kind)i;
            return EXIT_OK;
        }
    }
    return code ? code : fail(r->f, EXIT_INPUT, "%s: the kind \"%s\" is unknown", r->where, kind);
}

static int check_resource(reader *r, const gate_rule *rule)
{
    for (size_t i = 0; i < sizeof RESOURCES / sizeof RESOURCES[0]; i++) {
        if (strcmp(rule->metric, RESOURCES[i]) == 0) {
            return EXIT_OK;
        }
    }
    return fail(r->f, EXIT_INPUT,
                "%s: metric must be file_bytes, memory_bytes or bits_per_weight, not \"%s\"",
                r->where, rule->metric);
}

static int read_gate(reader *r, gate_rule *rule)
{
    static const char *const known[] = {"id",  "kind",  "suite",  "metric", "slice", "min",
                                        "max", "level", "margin", "min_n",  "why"};
    bool found;
    const char *why;
    int code = refuse_unknown(r, r->gate, known, sizeof known / sizeof known[0]);
    code = code ? code : read_kind(r, rule);
    bool resource = rule->kind == GATE_RESOURCE, flips = rule->kind == GATE_FLIPS;
    code = code ? code : read_text(r, "suite", resource ? "" : NULL, &rule->suite);
    code = code ? code : read_text(r, "metric", flips ? "" : NULL, &rule->metric);
    code = code ? code : read_text(r, "slice", "", &rule->slice);
    code = code ? code : read_text(r, "why", "", &why);
    rule->min_n = 1;
    code = code ? code
                : json_in_u32(r->where, r->gate, "min_n", 1, SUITE_MAX_CASES, &rule->min_n, &found,
                              r->f);
    if (code == EXIT_OK && resource && (*rule->suite || *rule->slice)) {
        return fail(r->f, EXIT_INPUT, "%s: a resource belongs to no suite and no slice", r->where);
    }
    code = code || !resource ? code : check_resource(r, rule);
    return code ? code : read_threshold(r, rule);
}

static int read_gates(reader *r, const char *path, gate_policy *policy)
{
    json_t *gates = json_object_get(policy->root, "gates");
    size_t n = json_array_size(gates);
    if (n < 1 || n > POLICY_MAX_GATES) {
        return fail(r->f, EXIT_INPUT, "%s: gates must be a list of 1 to %d gates", path,
                    POLICY_MAX_GATES);
    }
    policy->rules = (gate_rule *)calloc(n + 1, sizeof *policy->rules);
    if (!policy->rules) {
        return fail(r->f, EXIT_RESOURCE, "%s: no memory", path);
    }
    for (size_t i = 0; i < n; i++) {
        gate_rule *rule = &policy->rules[i];
        r->gate = json_array_get(gates, i);
        snprintf(r->where, sizeof r->where, "%.4000s: gates[%zu]", path, i);
        if (!json_is_object(r->gate)) {
            return fail(r->f, EXIT_INPUT, "%s must be an object", r->where);
        }
        int code = read_text(r, "id", NULL, &rule->id);
        if (code == EXIT_OK) {
            snprintf(r->where, sizeof r->where, "%.4000s: gate \"%s\"", path, rule->id);
            code = read_gate(r, rule);
        }
        for (size_t k = 0; code == EXIT_OK && k <= i; k++) {
            if (strcmp(k < i ? policy->rules[k].id : DIGEST_GATE, rule->id) == 0) {
                code = fail(r->f, EXIT_INPUT, "%s: the id stands twice", r->where);
            }
        }
        if (code != EXIT_OK) {
            return code;
        }
    }
    policy->rules[n] = (gate_rule){.id = DIGEST_GATE,
                                   .kind = GATE_DIGEST,
                                   .suite = "",
                                   .metric = "logits_digest",
                                   .slice = ""};
    policy->n_rules = n + 1;
    return EXIT_OK;
}

int policy_open(const char *path, gate_policy *policy, failure *f)
{
    static const char *const known[] = {"slm_policy", "name", "description", "gates"};
    reader r = {.f = f};
    char *text = NULL;
    size_t n = 0;
    uint32_t version = 0;
    bool found;
    *policy = (gate_policy){0};
    int code = input_slurp(path, POLICY_MAX_BYTES, &text, &n, f);
    if (code == EXIT_OK) {
        sha256 s;
        sha256_init(&s);
        sha256_update(&s, text, n);
        sha256_final_hex(&s, policy->sha256);
        code = json_in_parse(path, text, n, &policy->root, f);
    }
    free(text);
    snprintf(r.where, sizeof r.where, "%.4000s", path);
    r.gate = policy->root;
    code = code ? code : json_in_u32(path, policy->root, "slm_policy", 1, 1, &version, &found, f);
    if (code == EXIT_OK && !found) {
        code = fail(f, EXIT_INPUT, "%s: is no gate policy: \"slm_policy\": 1 is missing", path);
    }
    code = code ? code : refuse_unknown(&r, r.gate, known, sizeof known / sizeof known[0]);
    code = code ? code : read_text(&r, "name", NULL, &policy->name);
    return code ? code : read_gates(&r, path, policy);
}

void policy_close(gate_policy *policy)
{
    json_decref(policy->root);
    free(policy->rules);
    *policy = (gate_policy){0};
}
