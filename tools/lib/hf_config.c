/* hf_config.c - config.json, generation_config.json -> slm_config; see hf_config.h. */
#include "lib/hf_config.h"

#include <stdio.h>
#include <string.h>

#include "lib/hf_config_parts.h"
#include "lib/json_in.h"

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
    char known[512];
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
    const char *const *keys = r->hf->family->keys;
    const hf_defaults *absent = &r->hf->family->absent;
    const struct {
        int key;
        uint32_t *to, max;
        bool required;
    } sizes[] = {
        {HF_VOCAB, &c->n_vocab, MAX_COUNT, true},
        {HF_WIDTH, &c->d_model, MAX_WIDTH, true},
        {HF_LAYERS, &c->n_layers, SLM_MAX_LAYERS, true},
        {HF_HEADS, &c->n_heads, MAX_HEADS, true},
        {HF_FF, &c->d_ff, MAX_WIDTH, absent->ff_widths == 0},
        {HF_KV_HEADS, &c->n_kv_heads, MAX_HEADS, false},
        {HF_HEAD_DIM, &c->head_dim, MAX_HEAD_DIM, false},
        {HF_CONTEXT, &c->n_context, MAX_COUNT, false},
    };
    c->n_kv_heads = c->head_dim = c->n_context = c->d_ff = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const char *key = keys[sizes[i].key];
        bool found;
        if (!key) {
            continue;
        }
        int code = json_in_u32(r->name, r->root, key, 1, sizes[i].max, sizes[i].to, &found, r->f);
        if (code != EXIT_OK) {
            return code;
        }
        if (!found && sizes[i].required) {
            return fail(r->f, EXIT_INPUT, "%s: %s is missing", r->name, key);
        }
    }
    if (c->d_ff == 0) {
        c->d_ff = absent->ff_widths * c->d_model;
        if (c->d_ff > MAX_WIDTH) {
            return fail(r->f, EXIT_INPUT, "%s: %s is missing, and %u times %s %u exceeds %d",
                        r->name, keys[HF_FF], absent->ff_widths, keys[HF_WIDTH], c->d_model,
                        MAX_WIDTH);
        }
    }
    if (c->n_context == 0) {
        c->n_context = absent->context;
        note(r->w, "%s: %s is missing; the class assumes %u", r->name, keys[HF_CONTEXT],
             c->n_context);
    }
    return EXIT_OK;
}

/* Heads: what is not given follows from the rest. */
static int settle_heads(reading *r)
{
    slm_config *c = &r->hf->config;
    const char *const *keys = r->hf->family->keys;
    if (c->n_kv_heads == 0 && keys[HF_KV_HEADS] && !json_object_get(r->root, keys[HF_KV_HEADS])) {
        c->n_kv_heads = r->hf->family->absent.kv_heads;
    }
    if (c->n_kv_heads == 0) { /* null says so, or the class */
        c->n_kv_heads = c->n_heads;
    }
    if (c->n_kv_heads > c->n_heads || c->n_heads % c->n_kv_heads != 0) {
        return fail(r->f, EXIT_INPUT, "%s: %s %u does not divide %s %u", r->name, keys[HF_KV_HEADS],
                    c->n_kv_heads, keys[HF_HEADS], c->n_heads);
    }
    if (c->head_dim == 0) {
        c->head_dim = r->hf->family->absent.head_dim;
    }
    if (c->head_dim == 0 && c->d_model % c->n_heads != 0) {
        return fail(r->f, EXIT_INPUT, "%s: %s %u is not a multiple of %s %u%s", r->name,
                    keys[HF_WIDTH], c->d_model, keys[HF_HEADS], c->n_heads,
                    keys[HF_HEAD_DIM] ? " and head_dim is missing" : "");
    }
    if (c->head_dim == 0) {
        c->head_dim = c->d_model / c->n_heads;
    }
    if (c->head_dim % 2 != 0) {
        return fail(r->f, EXIT_INPUT, "%s: %s %u is odd; rope turns pairs", r->name,
                    keys[HF_HEAD_DIM] ? keys[HF_HEAD_DIM] : "the width of a head,", c->head_dim);
    }
    if (c->head_dim > MAX_HEAD_DIM || c->n_heads * c->head_dim > MAX_WIDTH) {
        return fail(r->f, EXIT_INPUT,
                    "%s: %s %u with heads of %u: a head has at most %d values, all of them %d",
                    r->name, keys[HF_HEADS], c->n_heads, c->head_dim, MAX_HEAD_DIM, MAX_WIDTH);
    }
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
    static int (*const steps[])(reading *) = {read_sizes, settle_heads,   hf_config_numbers,
                                              read_dtype, hf_config_rope, hf_config_layers};
    uint32_t n_ids;
    code = read_family(&r);
    code = code == EXIT_OK ? hf_config_check_keys(&r) : code;
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
