/* hf_config_rope.c - rope_theta, rope_scaling, rope_parameters -> the rope fields of slm_config. */
#include <stdio.h>
#include <string.h>

#include "lib/hf_config_parts.h"
#include "lib/json_in.h"

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

/* Every key of the rope object must be one whose meaning is known for that type. */
static int check_rope_keys(reading *r, const char *rope_key, json_t *rope, uint32_t scaling)
{
    const struct {
        const char *key;
        uint32_t types; /* bit per slm_rope_scaling: the key is read there */
        bool one;       /* elsewhere it may be 1 */
        bool any;       /* elsewhere it may be anything */
    } keys[] = {
        {"type", 7, false, false},
        {"rope_type", 7, false, false},
        {"rope_theta", 7, false, false},
        {"factor", 1 << SLM_ROPE_SCALING_LINEAR | 1 << SLM_ROPE_SCALING_LLAMA3, true, false},
        {"low_freq_factor", 1 << SLM_ROPE_SCALING_LLAMA3, false, false},
        {"high_freq_factor", 1 << SLM_ROPE_SCALING_LLAMA3, false, false},
        {"original_max_position_embeddings", 1 << SLM_ROPE_SCALING_LLAMA3, false, true},
        {"partial_rotary_factor", 0, true, r->hf->family->keys[HF_ROTARY_FACTOR] != NULL},
        {"attention_factor", 0, true, false},
    };
    const char *key;
    json_t *value;
    json_object_foreach(rope, key, value)
    {
        bool good = json_is_null(value);
        for (size_t i = 0; i < sizeof keys / sizeof keys[0] && !good; i++) {
            good =
                strcmp(keys[i].key, key) == 0 && ((keys[i].types >> scaling & 1) || keys[i].any ||
                                                  (keys[i].one && json_number_value(value) == 1));
        }
        if (!good) {
            return fail(r->f, EXIT_INPUT, "%s: %s: %.64s is not supported here", r->name, rope_key,
                        key);
        }
    }
    return EXIT_OK;
}

static int read_llama3(reading *r, const char *shown, json_t *rope)
{
    slm_config *c = &r->hf->config;
    bool low, high, original;
    failure *f = r->f;
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
    slm_config *c = &r->hf->config;
    const char *type;
    bool found = false;
    char shown[96];
    snprintf(shown, sizeof shown, "%s: %s", r->name, key);
    int code = rope_type(r, key, rope, &type);
    if (code != EXIT_OK) {
        return code;
    }
    if (strcmp(type, "linear") == 0) {
        c->rope_scaling = SLM_ROPE_SCALING_LINEAR;
    } else if (strcmp(type, "llama3") == 0) {
        c->rope_scaling = SLM_ROPE_SCALING_LLAMA3;
    } else if (strcmp(type, "default") != 0) {
        return fail(r->f, EXIT_INPUT,
                    "%s: type \"%.60s\" is not supported (supported: default, linear, llama3)",
                    shown, type);
    }
    code = check_rope_keys(r, key, rope, c->rope_scaling);
    if (code != EXIT_OK || c->rope_scaling == SLM_ROPE_SCALING_NONE) {
        return code;
    }
    code = json_in_f32(shown, rope, "factor", 1e-3, 1e6, &c->rope_factor, &found, r->f);
    if (code == EXIT_OK && !found) {
        return fail(r->f, EXIT_INPUT, "%s: factor is missing", shown);
    }
    return code == EXIT_OK && c->rope_scaling == SLM_ROPE_SCALING_LLAMA3
               ? read_llama3(r, shown, rope)
               : code;
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
    code = code ? code : check_rope_keys(r, key, rope, SLM_ROPE_SCALING_NONE);
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
    if (!json_is_object(global) || !json_is_object(local) || json_object_size(both) != 2) {
        return json_in_refuse(r->name, "rope_parameters",
                              "objects full_attention and sliding_attention", both, r->f);
    }
    int code = read_theta(r, shown, global);
    code = code ? code : read_scaling(r, key, global);
    return code ? code : read_local(r, local);
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
