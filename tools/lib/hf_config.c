/* hf_config.c - config.json, generation_config.json -> slm_config; see hf_config.h. */
#include "lib/hf_config.h"

#include <stdio.h>
#include <string.h>

#include "lib/hf_config_keys.h"
#include "lib/json_in.h"

/* The limits of the .slm format, applied here so that messages can name the key. */
enum { MAX_WIDTH = 1 << 20, MAX_HEADS = 4096, MAX_HEAD_DIM = 1024, MAX_COUNT = 1 << 24 };

typedef struct reading {
    const char *name;
    json_t *root;
    hf_config *hf;
    notes *w;
    failure *f;
} reading;

/* ---- Which family ---------------------------------------------------------------------------- */

/* "llama (LlamaForCausalLM), ..." for messages. */
static void list_families(char *out, size_t capacity)
{
    uint32_t n;
    const hf_family *families = hf_families(&n);
    size_t used = 0;
    for (uint32_t i = 0; i < n && used < capacity; i++) {
        used += (size_t)snprintf(out + used, capacity - used, "%s%s", i ? ", " : "",
                                 families[i].classes[0]);
    }
}

static const hf_family *family_of_class(const char *class)
{
    uint32_t n;
    const hf_family *families = hf_families(&n);
    for (uint32_t i = 0; i < n; i++) {
        for (const char *const *c = families[i].classes; *c; c++) {
            if (strcmp(*c, class) == 0) {
                return &families[i];
            }
        }
    }
    return NULL;
}

static int read_family(reading *r)
{
    char known[256];
    list_families(known, sizeof known);
    json_t *list = json_in_get(r->root, "architectures");
    const char *class = json_string_value(json_array_get(list, 0));
    if (!list) {
        return fail(r->f, EXIT_INPUT, "%s: architectures is missing; known are %s", r->name, known);
    }
    if (!json_is_array(list) || json_array_size(list) != 1 || !class) {
        return json_in_refuse(r->name, "architectures", "a list of one name", list, r->f);
    }
    const hf_family *family = family_of_class(class);
    if (!family) {
        return fail(r->f, EXIT_INPUT, "%s: architecture \"%.100s\" is not supported; known are %s",
                    r->name, class, known);
    }
    const char *type = family->model_type;
    int code = json_in_string(r->name, r->root, "model_type", &type, NULL, r->f);
    if (code == EXIT_OK && strcmp(type, family->model_type) != 0) {
        return fail(r->f, EXIT_INPUT, "%s: model_type \"%.100s\" contradicts architecture %s",
                    r->name, type, class);
    }
    r->hf->family = family;
    return code;
}

/* ---- Sizes ----------------------------------------------------------------------------------- */

static int read_sizes(reading *r)
{
    slm_config *c = &r->hf->config;
    const hf_keys *k = r->hf->family->keys;
    const struct {
        const char *key;
        uint32_t *to, max;
        bool required;
    } sizes[] = {
        {k->vocab, &c->n_vocab, MAX_COUNT, true},
        {k->width, &c->d_model, MAX_WIDTH, true},
        {k->layers, &c->n_layers, SLM_MAX_LAYERS, true},
        {k->heads, &c->n_heads, MAX_HEADS, true},
        {k->ff, &c->d_ff, MAX_WIDTH, true},
        {k->kv_heads, &c->n_kv_heads, MAX_HEADS, false},
        {k->head_dim, &c->head_dim, MAX_HEAD_DIM, false},
        {k->context, &c->n_context, MAX_COUNT, false},
    };
    c->n_kv_heads = c->head_dim = c->n_context = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (!sizes[i].key) {
            continue;
        }
        bool found;
        int code =
            json_in_u32(r->name, r->root, sizes[i].key, 1, sizes[i].max, sizes[i].to, &found, r->f);
        if (code != EXIT_OK) {
            return code;
        }
        if (!found && sizes[i].required) {
            return fail(r->f, EXIT_INPUT, "%s: %s is missing", r->name, sizes[i].key);
        }
    }
    if (c->n_context == 0) {
        c->n_context = r->hf->family->default_context;
        note(r->w, "%s: %s is missing; the class assumes %u", r->name, k->context, c->n_context);
    }
    return EXIT_OK;
}

/* Heads: what is not given follows from the rest. */
static int settle_heads(reading *r)
{
    slm_config *c = &r->hf->config;
    const hf_keys *k = r->hf->family->keys;
    if (c->n_kv_heads == 0) {
        c->n_kv_heads = c->n_heads;
    }
    if (c->n_kv_heads > c->n_heads || c->n_heads % c->n_kv_heads != 0) {
        return fail(r->f, EXIT_INPUT, "%s: %s %u does not divide %s %u", r->name, k->kv_heads,
                    c->n_kv_heads, k->heads, c->n_heads);
    }
    if (c->head_dim == 0) {
        c->head_dim = r->hf->family->default_head_dim;
    }
    if (c->head_dim == 0 && c->d_model % c->n_heads != 0) {
        return fail(r->f, EXIT_INPUT, "%s: %s %u is not a multiple of %s %u and %s is missing",
                    r->name, k->width, c->d_model, k->heads, c->n_heads, k->head_dim);
    }
    if (c->head_dim == 0) {
        c->head_dim = c->d_model / c->n_heads;
    }
    if (c->head_dim % 2 != 0) {
        return fail(r->f, EXIT_INPUT, "%s: %s %u is odd; rope turns pairs", r->name, k->head_dim,
                    c->head_dim);
    }
    return EXIT_OK;
}

/* ---- Numbers and switches -------------------------------------------------------------------- */

static int read_numbers(reading *r)
{
    slm_config *c = &r->hf->config;
    const hf_family *family = r->hf->family;
    const char *activation = "silu";
    bool tied = false, bias = false;
    c->norm_eps = 1e-6f;
    failure *f = r->f;
    if (json_in_f32(r->name, r->root, family->keys->norm_eps, 1e-20, 1, &c->norm_eps, NULL, f) ||
        json_in_string(r->name, r->root, family->keys->activation, &activation, NULL, f) ||
        json_in_bool(r->name, r->root, "tie_word_embeddings", &tied, NULL, f) ||
        json_in_bool(r->name, r->root, "attention_bias", &bias, NULL, f)) {
        return f->exit_code;
    }
    if (strcmp(activation, "silu") != 0 && strcmp(activation, "swish") != 0) {
        return fail(f, EXIT_INPUT, "%s: %s \"%.60s\" is not supported (supported: silu)", r->name,
                    family->keys->activation, activation);
    }
    if (bias && family->qkv_bias == HF_NO) {
        return fail(f, EXIT_INPUT, "%s: attention_bias is true, which %s models do not have",
                    r->name, family->model_type);
    }
    c->tied_output = tied;
    c->qk_norm = family->qk_norm;
    c->qkv_bias = family->qkv_bias == HF_YES || (family->qkv_bias == HF_BY_KEY && bias);
    r->hf->attention_bias = bias;
    return EXIT_OK;
}

static int read_dtype(reading *r)
{
    const char *dtype = "", *older = "";
    int code = json_in_string(r->name, r->root, "torch_dtype", &older, NULL, r->f);
    if (code == EXIT_OK) {
        dtype = older;
        code = json_in_string(r->name, r->root, "dtype", &dtype, NULL, r->f);
    }
    if (strncmp(dtype, "torch.", 6) == 0) {
        dtype += 6;
    }
    snprintf(r->hf->dtype, sizeof r->hf->dtype, "%s", dtype);
    return code;
}

/* ---- Rope ------------------------------------------------------------------------------------ */

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
    if (!*type && strcmp(key, "rope_parameters") == 0) {
        *type = "default";
    }
    return *type ? EXIT_OK : fail(r->f, EXIT_INPUT, "%s: rope_type is missing", shown);
}

/* Every key of the rope object must be one whose meaning is known for that type. */
static int check_rope_keys(reading *r, const char *rope_key, json_t *rope, uint32_t scaling)
{
    static const struct {
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
        {"partial_rotary_factor", 0, true, false},
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
    r->hf->config.rope_theta = in ? inside : out ? outside : 10000.0f;
    return EXIT_OK;
}

static int read_rope(reading *r)
{
    slm_config *c = &r->hf->config;
    const char *key, *type = "default";
    json_t *rope;
    bool found = false;
    char shown[64];
    int code = rope_object(r, &key, &rope);
    snprintf(shown, sizeof shown, "%s: %s", r->name, key);
    code = code == EXIT_OK ? read_theta(r, shown, rope) : code;
    if (code != EXIT_OK || !rope) {
        return code;
    }
    json_t *first = json_object_iter_value(json_object_iter(rope));
    if (json_is_object(first)) {
        return fail(r->f, EXIT_INPUT, "%s: rope of its own for each layer type is not supported",
                    shown);
    }
    code = rope_type(r, key, rope, &type);
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

/* ---- Attention windows ----------------------------------------------------------------------- */

static int check_layer_types(reading *r)
{
    json_t *types = json_in_get(r->root, "layer_types"), *item;
    size_t i;
    if (!types) {
        return EXIT_OK;
    }
    if (!json_is_array(types) || json_array_size(types) != r->hf->config.n_layers) {
        return json_in_refuse(r->name, "layer_types", "a list with one entry for each layer", types,
                              r->f);
    }
    json_array_foreach(types, i, item)
    {
        const char *type = json_string_value(item);
        if (!type || strcmp(type, "full_attention") != 0) {
            return json_in_refuse(r->name, "layer_types", "full_attention everywhere", item, r->f);
        }
    }
    return EXIT_OK;
}

/* A window that is shorter than the context would change the numbers only past its length: the
 * context ends there instead. */
static int read_window(reading *r)
{
    slm_config *c = &r->hf->config;
    const hf_family *family = r->hf->family;
    bool flag = false;
    int code = check_layer_types(r);
    if (code == EXIT_OK && family->window == HF_WINDOW_FLAG) {
        code = json_in_bool(r->name, r->root, "use_sliding_window", &flag, NULL, r->f);
        if (code == EXIT_OK && flag) {
            return fail(r->f, EXIT_INPUT, "%s: use_sliding_window is true: not supported", r->name);
        }
    }
    if (code != EXIT_OK || family->window != HF_WINDOW_ALWAYS) {
        return code;
    }
    json_t *item = json_object_get(r->root, "sliding_window");
    uint32_t window = item ? c->n_context : family->default_window;
    code = json_in_u32(r->name, r->root, "sliding_window", 1, INT32_MAX, &window, NULL, r->f);
    if (code == EXIT_OK && window < c->n_context) {
        note(r->w,
             "%s: attention slides over %u positions, which is not supported: the context is "
             "limited from %u to that length, where the numbers are the same",
             r->name, window, c->n_context);
        c->n_context = window;
    }
    return code;
}

/* ---- Token ids and sampling ------------------------------------------------------------------ */

static int add_stop_id(reading *r, const json_t *item, uint32_t *n_new)
{
    slm_config *c = &r->hf->config;
    json_int_t id = json_integer_value(item);
    if (!json_is_integer(item) || id < 0 || id >= MAX_COUNT) {
        return json_in_refuse(r->name, "eos_token_id", "a token id or a list of them", item, r->f);
    }
    for (uint32_t i = 0; i < c->n_stop_ids; i++) {
        if (c->stop_ids[i] == (int32_t)id) {
            return EXIT_OK;
        }
    }
    if (c->n_stop_ids == SLM_MAX_STOP_IDS) {
        return fail(r->f, EXIT_INPUT, "%s: eos_token_id: more than %d ids that end a text", r->name,
                    SLM_MAX_STOP_IDS);
    }
    c->stop_ids[c->n_stop_ids++] = (int32_t)id;
    *n_new += 1;
    return EXIT_OK;
}

static int read_ids(reading *r, uint32_t *n_new)
{
    json_t *bos = json_in_get(r->root, "bos_token_id"), *eos = json_in_get(r->root, "eos_token_id");
    uint32_t id = 0;
    int code = json_in_u32(r->name, r->root, "bos_token_id", 0, MAX_COUNT - 1, &id, NULL, r->f);
    if (code == EXIT_OK && bos) {
        r->hf->config.bos_id = (int32_t)id;
    }
    *n_new = 0;
    size_t n = json_is_array(eos) ? json_array_size(eos) : eos ? 1 : 0;
    for (size_t i = 0; i < n && code == EXIT_OK; i++) {
        code = add_stop_id(r, json_is_array(eos) ? json_array_get(eos, i) : eos, n_new);
    }
    return code;
}

int hf_config_read(const char *name, const char *text, size_t n_bytes, hf_config *hf, notes *w,
                   failure *f)
{
    *hf = (hf_config){.config = slm_config_default()};
    reading r = {.name = name, .hf = hf, .w = w, .f = f};
    int code = json_in_parse(name, text, n_bytes, &r.root, f);
    if (code != EXIT_OK) {
        return code;
    }
    static int (*const steps[])(reading *) = {read_sizes, settle_heads, read_numbers,
                                              read_dtype, read_rope,    read_window};
    uint32_t n_ids;
    code = read_family(&r);
    code = code == EXIT_OK ? hf_config_check_keys(name, r.root, w, f) : code;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && code == EXIT_OK; i++) {
        code = steps[i](&r);
    }
    code = code == EXIT_OK ? read_ids(&r, &n_ids) : code;
    json_decref(r.root);
    return code;
}

int hf_config_generation(const char *name, const char *text, size_t n_bytes, hf_config *hf,
                         notes *w, failure *f)
{
    slm_config *c = &hf->config;
    reading r = {.name = name, .hf = hf, .w = w, .f = f};
    int code = json_in_parse(name, text, n_bytes, &r.root, f);
    if (code != EXIT_OK) {
        return code;
    }
    float temperature = -1, top_p = c->top_p, min_p = c->min_p;
    uint32_t top_k = c->top_k, n_new = 0, had = c->n_stop_ids;
    int32_t bos = c->bos_id;
    bool sample = true;
    if (json_in_f32(name, r.root, "temperature", 0, 100, &temperature, NULL, f) ||
        json_in_f32(name, r.root, "top_p", 1e-6, 1, &top_p, NULL, f) ||
        json_in_f32(name, r.root, "min_p", 0, 1, &min_p, NULL, f) ||
        json_in_u32(name, r.root, "top_k", 0, MAX_COUNT, &top_k, NULL, f) ||
        json_in_bool(name, r.root, "do_sample", &sample, NULL, f) || read_ids(&r, &n_new)) {
        json_decref(r.root);
        return f->exit_code;
    }
    json_decref(r.root);
    if (sample) { /* do_sample false: the rest is not used there either */
        c->temperature = temperature;
        c->top_p = top_p;
        c->min_p = min_p;
        c->top_k = top_k;
    }
    if (n_new > 0 && had > 0) {
        note(w, "%s: eos_token_id has %u more than config.json: all of them end a text", name,
             n_new);
    }
    if (bos >= 0 && c->bos_id != bos) {
        note(w, "%s: bos_token_id %d differs from config.json's %d, which is kept", name, c->bos_id,
             bos);
        c->bos_id = bos;
    }
    return EXIT_OK;
}
