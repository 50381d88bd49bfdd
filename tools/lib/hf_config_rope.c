/* hf_config_rope.c - rope_theta, rope_scaling, rope_parameters -> the rope fields of slm_config. */
#include <stdio.h>
#include <string.h>

#include "lib/hf_config_parts.h"
#include "lib/json_in.h"
#include "lib/rope_scaling.h"

/* The object that describes rope: rope_parameters (newer) or rope_scaling. NULL: neither. */
static int rope_object(reading *r, const char **key, json_t **rope)
{
    json_t *newer = json_in_get(r->root, "rope_parameters");
    json_t *older = json_in_get(r->root, "rope_scaling");
    *key = newer ? "rope_parameters" : "rope_scaling";
    *rope = newer ? newer : older;
    if (newer && older && !json_equal(newer, older)) {
        return fail(r->f, EXIT_INPUT, "%s: rope_parameters and rope_scaling differ", r->name);
    }
    if (*rope && !json_is_object(*rope)) {
        return json_in_refuse(r->name, *key, "an object or null", *rope, r->f);
    }
    return EXIT_OK;
}

static int rope_type(reading *r, const char *key, json_t *rope, const char **type)
{
    const char *older = NULL, *newer = NULL;
    char shown[64];
    snprintf(shown, sizeof shown, "%s: %s", r->name, key);
    if (json_in_string(shown, rope, "type", &older, NULL, r->f) ||
        json_in_string(shown, rope, "rope_type", &newer, NULL, r->f)) {
        return r->f->exit_code;
    }
    if (older && newer && strcmp(older, newer) != 0) {
        return fail(r->f, EXIT_INPUT, "%s: type \"%.40s\" contradicts rope_type \"%.40s\"", shown,
                    older, newer);
    }
    *type = newer ? newer : older;
    if (!*type && strncmp(key, "rope_parameters", 15) == 0) {
        *type = "default";
    }
    return *type ? EXIT_OK : fail(r->f, EXIT_INPUT, "%s: rope_type is missing", shown);
}

/* The scalings that a rope object can name; each a bit below. */
typedef enum rope_kind {
    ROPE_DEFAULT = 1,
    ROPE_LINEAR = 2,
    ROPE_LLAMA3 = 4,
    ROPE_YARN = 8,
    ROPE_LONGROPE = 16,
    ROPE_DYNAMIC = 32,
    ROPE_ANY = 63
} rope_kind;

static int kind_of(reading *r, const char *shown, const char *type, json_t *rope, rope_kind *kind)
{
    static const struct {
        const char *type;
        rope_kind kind;
    } known[] = {{"default", ROPE_DEFAULT}, {"linear", ROPE_LINEAR},     {"llama3", ROPE_LLAMA3},
                 {"yarn", ROPE_YARN},       {"longrope", ROPE_LONGROPE}, {"su", ROPE_LONGROPE},
                 {"dynamic", ROPE_DYNAMIC}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(type, known[i].type) == 0) {
            *kind = known[i].kind;
            /* Early Phi-3 files call it yarn. */
            if (*kind == ROPE_YARN && json_in_get(rope, "short_factor")) {
                *kind = ROPE_LONGROPE;
            }
            return EXIT_OK;
        }
    }
    return fail(r->f, EXIT_INPUT,
                "%s: type \"%.60s\" is not supported (supported: default, linear, llama3, yarn, "
                "longrope, dynamic)",
                shown, type);
}

/* Every key of the rope object must be one whose meaning is known for that type. */
static int check_rope_keys(reading *r, const char *rope_key, json_t *rope, rope_kind kind)
{
    const struct {
        const char *key;
        int kinds; /* of rope_kind: the key is read there */
        bool one;  /* elsewhere it may be 1 */
        bool any;  /* elsewhere it may be anything */
    } keys[] = {
        {"type", ROPE_ANY, false, false},
        {"rope_type", ROPE_ANY, false, false},
        {"rope_theta", ROPE_ANY, false, false},
        {"factor", ROPE_ANY & ~ROPE_DEFAULT, true, false},
        {"low_freq_factor", ROPE_LLAMA3, false, false},
        {"high_freq_factor", ROPE_LLAMA3, false, false},
        {"original_max_position_embeddings", ROPE_LLAMA3 | ROPE_YARN | ROPE_LONGROPE, false, true},
        {"partial_rotary_factor", 0, true, r->hf->family->keys[HF_ROTARY_FACTOR] != NULL},
        {"attention_factor", ROPE_YARN | ROPE_LONGROPE, true, false},
        {"beta_fast", ROPE_YARN, false, false},
        {"beta_slow", ROPE_YARN, false, false},
        {"mscale", ROPE_YARN, false, false},
        {"mscale_all_dim", ROPE_YARN, false, false},
        {"truncate", ROPE_YARN, false, false},
        {"short_factor", ROPE_LONGROPE, false, false},
        {"long_factor", ROPE_LONGROPE, false, false},
    };
    const char *key;
    json_t *value;
    json_object_foreach(rope, key, value)
    {
        bool good = json_is_null(value);
        for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !good; i++) {
            good =
                strcmp(keys[i].key, key) == 0 && ((keys[i].kinds & (int)kind) || keys[i].any ||
                                                  (keys[i].one && json_number_value(value) == 1));
        }
        if (!good) {
            return fail(r->f, EXIT_INPUT, "%s: %s: %.64s is not supported here", r->name, rope_key,
                        key);
        }
    }
    return EXIT_OK;
}

static int read_linear(reading *r, const char *shown, json_t *rope)
{
    bool found;
    int code =
        json_in_f32(shown, rope, "factor", 1e-3, 1e6, &r->hf->config.rope_factor, &found, r->f);
    r->hf->config.rope_scaling = SLM_ROPE_SCALING_LINEAR;
    return code || found ? code : fail(r->f, EXIT_INPUT, "%s: factor is missing", shown);
}

static int read_llama3(reading *r, const char *shown, json_t *rope)
{
    slm_config *c = &r->hf->config;
    bool low, high, original;
    failure *f = r->f;
    int code = read_linear(r, shown, rope);
    c->rope_scaling = SLM_ROPE_SCALING_LLAMA3;
    if (code != EXIT_OK) {
        return code;
    }
    if (json_in_f32(shown, rope, "low_freq_factor", 1e-3, 1e6, &c->rope_low_freq_factor, &low, f) ||
        json_in_f32(shown, rope, "high_freq_factor", 1e-3, 1e6, &c->rope_high_freq_factor, &high,
                    f) ||
        json_in_u32(shown, rope, "original_max_position_embeddings", 1, MAX_COUNT,
                    &c->rope_original_context, &original, f)) {
        return f->exit_code;
    }
    if (!low || !high || !original) {
        return fail(f, EXIT_INPUT, "%s: %s is missing", shown,
                    !low    ? "low_freq_factor"
                    : !high ? "high_freq_factor"
                            : "original_max_position_embeddings");
    }
    if (c->rope_low_freq_factor >= c->rope_high_freq_factor) {
        return fail(f, EXIT_INPUT, "%s: low_freq_factor must be below high_freq_factor", shown);
    }
    return EXIT_OK;
}

/* The context before scaling: in the rope object, beside it, or as `absent` says. */
static int read_original(reading *r, const char *shown, json_t *rope, uint32_t absent,
                         uint32_t *original, bool *beside)
{
    static const char key[] = "original_max_position_embeddings";
    uint32_t outside = 0;
    bool inside;
    *original = absent;
    if (json_in_u32(shown, rope, key, 2, MAX_COUNT, original, &inside, r->f) ||
        json_in_u32(r->name, r->root, key, 2, MAX_COUNT, &outside, beside, r->f)) {
        return r->f->exit_code;
    }
    if (inside && *beside && *original != outside) {
        return fail(r->f, EXIT_INPUT, "%s: %s contradicts the one outside", shown, key);
    }
    if (!inside && *beside) {
        *original = outside;
    }
    return *original ? EXIT_OK : fail(r->f, EXIT_INPUT, "%s: %s is missing", shown, key);
}

static int read_yarn(reading *r, const char *shown, json_t *rope)
{
    slm_config *c = &r->hf->config;
    float factor = 0, fast = 32, slow = 1, scale = 0, all = 0, magnitude = 0;
    uint32_t original;
    bool beside, given, truncate = true;
    failure *f = r->f;
    if (read_original(r, shown, rope, c->n_context, &original, &beside) ||
        json_in_f32(shown, rope, "factor", 1, 1e6, &factor, &given, f) ||
        json_in_f32(shown, rope, "beta_fast", 1e-3, 1e6, &fast, NULL, f) ||
        json_in_f32(shown, rope, "beta_slow", 1e-3, 1e6, &slow, NULL, f) ||
        json_in_f32(shown, rope, "mscale", 0, 1e3, &scale, NULL, f) ||
        json_in_f32(shown, rope, "mscale_all_dim", 0, 1e3, &all, NULL, f) ||
        json_in_f32(shown, rope, "attention_factor", 1e-3, 1e3, &magnitude, NULL, f) ||
        json_in_bool(shown, rope, "truncate", &truncate, NULL, f)) {
        return f->exit_code;
    }
    if (!given) {
        return fail(f, EXIT_INPUT, "%s: factor is missing", shown);
    }
    if (!(fast > slow)) {
        return fail(f, EXIT_INPUT, "%s: beta_fast must be above beta_slow", shown);
    }
    if (!(c->rope_theta > 1)) {
        return fail(f, EXIT_INPUT, "%s: yarn needs a rope_theta above 1", shown);
    }
    double s = (double)factor;
    rope_scale_yarn(c, &(rope_yarn){s, original, (double)fast, (double)slow, truncate});
    c->rope_magnitude =
        magnitude > 0 ? magnitude
        : scale > 0 && all > 0
            ? (float)(rope_yarn_magnitude(s, (double)scale) / rope_yarn_magnitude(s, (double)all))
            : (float)rope_yarn_magnitude(s, 1);
    return EXIT_OK;
}

/* One number for each rotated pair. to: NULL only checks. */
static int read_factors(reading *r, const char *shown, json_t *rope, const char *key, float *to)
{
    json_t *list = json_in_get(rope, key), *item;
    size_t i;
    uint32_t n = rope_pairs(&r->hf->config);
    if (!list) {
        return fail(r->f, EXIT_INPUT, "%s: %s is missing", shown, key);
    }
    if (!json_is_array(list) || json_array_size(list) != n) {
        return fail(r->f, EXIT_INPUT, "%s: %s must be a list of %u numbers, one for each pair",
                    shown, key, n);
    }
    json_array_foreach(list, i, item)
    {
        double value = json_number_value(item);
        if (!json_is_number(item) || !(value >= 1e-3 && value <= 1e6)) {
            return json_in_refuse(shown, key, "a list of numbers from 0.001 to 1e6", item, r->f);
        }
        if (to) {
            to[i] = (float)value;
        }
    }
    return EXIT_OK;
}

/* Up to the original context its short factors hold, beyond it others for all positions, those
 * already cached too. The model keeps to the first. */
static int read_longrope(reading *r, const char *shown, json_t *rope)
{
    slm_config *c = &r->hf->config;
    float given = 0, magnitude = 0;
    uint32_t original;
    bool beside, found;
    if (read_original(r, shown, rope, 0, &original, &beside) ||
        json_in_f32(shown, rope, "factor", 1, 1e6, &given, &found, r->f) ||
        json_in_f32(shown, rope, "attention_factor", 1e-3, 1e3, &magnitude, NULL, r->f) ||
        read_factors(r, shown, rope, "short_factor", c->rope_divisors) ||
        read_factors(r, shown, rope, "long_factor", NULL)) {
        return r->f->exit_code;
    }
    double ratio = (double)c->n_context / original, factor = found ? (double)given : ratio;
    if (found && beside && !(factor > 0.999 * ratio && factor < 1.001 * ratio)) {
        return fail(r->f, EXIT_INPUT,
                    "%s: factor %g contradicts max_position_embeddings / "
                    "original_max_position_embeddings",
                    shown, factor);
    }
    c->rope_scaling = SLM_ROPE_SCALING_DIVISORS;
    c->n_rope_divisors = rope_pairs(c);
    c->rope_magnitude =
        magnitude > 0 ? magnitude : (float)rope_longrope_magnitude(factor, original);
    if (c->n_context > original) {
        note(r->w,
             "%s: the context is %u positions, where short_factor holds; the %u of long_factor are "
             "left out",
             shown, original, c->n_context);
        c->n_context = original;
    }
    return EXIT_OK;
}

/* rope_theta stands beside or inside the rope object; twice only with one value. */
static int read_theta(reading *r, const char *shown, json_t *rope)
{
    float inside = 0, outside = 0;
    bool in = false, out = false;
    if (json_in_f32(r->name, r->root, "rope_theta", 1, 1e12, &outside, &out, r->f) ||
        (rope && json_in_f32(shown, rope, "rope_theta", 1, 1e12, &inside, &in, r->f))) {
        return r->f->exit_code;
    }
    if (in && out && (inside < outside || inside > outside)) {
        return fail(r->f, EXIT_INPUT, "%s: rope_theta contradicts the one outside", shown);
    }
    r->hf->config.rope_theta = in ? inside : out ? outside : r->hf->family->absent.theta;
    return EXIT_OK;
}

/* Type and scaling of one rope object; key: where it stands. */
static int read_scaling(reading *r, const char *key, json_t *rope)
{
    const char *type;
    rope_kind kind = ROPE_DEFAULT;
    char shown[96];
    snprintf(shown, sizeof shown, "%s: %s", r->name, key);
    int code = rope_type(r, key, rope, &type);
    code = code ? code : kind_of(r, shown, type, rope, &kind);
    code = code ? code : check_rope_keys(r, key, rope, kind);
    if (code != EXIT_OK) {
        return code;
    }
    switch (kind) {
    case ROPE_LINEAR: return read_linear(r, shown, rope);
    case ROPE_LLAMA3: return read_llama3(r, shown, rope);
    case ROPE_YARN: return read_yarn(r, shown, rope);
    case ROPE_LONGROPE: return read_longrope(r, shown, rope);
    case ROPE_DYNAMIC:
        note(r->w, "%s: up to %u positions dynamic changes nothing; beyond, rope is not scaled",
             shown, r->hf->config.n_context);
        break;
    case ROPE_DEFAULT:
    case ROPE_ANY: break;
    }
    return EXIT_OK;
}

/* The part of each head that is rotated; stands beside or inside the rope object. */
static int read_rotary_factor(reading *r, const char *shown, json_t *rope)
{
    slm_config *c = &r->hf->config;
    const char *key = r->hf->family->keys[HF_ROTARY_FACTOR];
    float factor = r->hf->family->absent.rotary_factor, inside = 0;
    bool in = false, out = false;
    if (!key) {
        return EXIT_OK;
    }
    if (json_in_f32(r->name, r->root, key, 1e-6, 1, &factor, &out, r->f) ||
        (rope && json_in_f32(shown, rope, key, 1e-6, 1, &inside, &in, r->f))) {
        return r->f->exit_code;
    }
    if (in && out && (inside < factor || inside > factor)) {
        return fail(r->f, EXIT_INPUT, "%s: %s contradicts the one outside", shown, key);
    }
    factor = in ? inside : factor;
    /* As there: the product's whole part. The key had few digits: F32 may lie just below. */
    double n = (double)factor * (double)c->head_dim;
    uint32_t n_rotated = (uint32_t)(n + 1e-4);
    if (n_rotated == 0 || n_rotated % 2 != 0) {
        return fail(r->f, EXIT_INPUT, "%s: %s rotates %u elements of %u; rope turns pairs", r->name,
                    key, n_rotated, c->head_dim);
    }
    c->rope_dim = n_rotated == c->head_dim ? 0 : n_rotated;
    return EXIT_OK;
}

/* Rope of layers with a window, where it is another: its own base, and no scaling. */
static int read_local(reading *r, json_t *rope)
{
    slm_config *c = &r->hf->config;
    static const char key[] = "rope_parameters: sliding_attention";
    const char *type;
    char shown[96];
    snprintf(shown, sizeof shown, "%s: %s", r->name, key);
    int code = rope_type(r, key, rope, &type);
    if (code == EXIT_OK && strcmp(type, "default") != 0) {
        return fail(r->f, EXIT_INPUT, "%s: type \"%.60s\" is not supported (supported: default)",
                    shown, type);
    }
    code = code ? code : check_rope_keys(r, key, rope, ROPE_DEFAULT);
    code = code ? code
                : json_in_f32(shown, rope, "rope_theta", 1, 1e12, &c->rope_local_theta, NULL, r->f);
    return code;
}

/* rope_parameters with an object for each kind of layer. */
static int read_by_kind(reading *r, json_t *both)
{
    json_t *global = json_in_get(both, "full_attention");
    json_t *local = json_in_get(both, "sliding_attention");
    static const char key[] = "rope_parameters: full_attention";
    char shown[96];
    snprintf(shown, sizeof shown, "%s: %s", r->name, key);
    if (r->hf->config.rope_local_theta <= 0) {
        return fail(r->f, EXIT_INPUT,
                    "%s: rope_parameters: rope of its own for each layer type is not supported",
                    r->name);
    }
    if ((global && !json_is_object(global)) || (local && !json_is_object(local)) ||
        json_object_size(both) != (global ? 1U : 0U) + (local ? 1U : 0U)) {
        return json_in_refuse(r->name, "rope_parameters",
                              "objects full_attention and sliding_attention", both, r->f);
    }
    int code = read_theta(r, shown, global);
    code = code || !global ? code : read_scaling(r, key, global);
    return code || !local ? code : read_local(r, local);
}

int hf_config_rope(reading *r)
{
    slm_config *c = &r->hf->config;
    const char *key, *local_key = r->hf->family->keys[HF_LOCAL_THETA];
    json_t *rope;
    char shown[96];
    int code = rope_object(r, &key, &rope);
    snprintf(shown, sizeof shown, "%s: %s", r->name, key);
    c->rope_local_theta = r->hf->family->absent.local_theta;
    if (code == EXIT_OK && local_key) {
        code = json_in_f32(r->name, r->root, local_key, 1, 1e12, &c->rope_local_theta, NULL, r->f);
    }
    if (code != EXIT_OK) {
        return code;
    }
    if (rope && json_is_object(json_object_iter_value(json_object_iter(rope)))) {
        return read_by_kind(r, rope);
    }
    code = read_theta(r, shown, rope);
    code = code ? code : read_rotary_factor(r, shown, rope);
    return code || !rope ? code : read_scaling(r, key, rope);
}
