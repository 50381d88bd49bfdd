/* hf_config_layers.c - what config.json says of single layers -> window and layer_flags. */
#include <stdio.h>
#include <string.h>

#include "lib/hf_config_parts.h"
#include "lib/json_in.h"

/* ---- Layers without rope --------------------------------------------------------------------- */

static int read_no_rope_list(reading *r, const char *key, json_t *list)
{
    slm_config *c = &r->hf->config;
    json_t *item;
    size_t i;
    if (!json_is_array(list) || json_array_size(list) != c->n_layers) {
        return json_in_refuse(r->name, key, "a list with 0 or 1 for each layer", list, r->f);
    }
    json_array_foreach(list, i, item)
    {
        json_int_t value = json_is_boolean(item) ? json_is_true(item) : json_integer_value(item);
        bool good = json_is_boolean(item) || json_is_integer(item);
        if (!good || (value != 0 && value != 1)) {
            return json_in_refuse(r->name, key, "a list with 0 or 1 for each layer", item, r->f);
        }
        c->layer_flags[i] |= value ? 0 : SLM_LAYER_NO_ROPE;
    }
    return EXIT_OK;
}

static int read_no_rope(reading *r)
{
    slm_config *c = &r->hf->config;
    const char *list_key = r->hf->family->keys[HF_NO_ROPE_LAYERS];
    const char *every_key = r->hf->family->keys[HF_NO_ROPE_EVERY];
    uint32_t every = 4;
    if (!list_key) {
        return EXIT_OK;
    }
    json_t *list = json_in_get(r->root, list_key);
    int code = json_in_u32(r->name, r->root, every_key, 1, INT32_MAX, &every, NULL, r->f);
    if (code != EXIT_OK || list) {
        return code ? code : read_no_rope_list(r, list_key, list);
    }
    for (uint32_t i = 0; i < c->n_layers; i++) {
        c->layer_flags[i] |= (i + 1) % every == 0 ? SLM_LAYER_NO_ROPE : 0;
    }
    return EXIT_OK;
}

/* ---- Windows --------------------------------------------------------------------------------- */

/* *window: what sliding_window says; 0 if it does not apply. */
static int read_window(reading *r, uint32_t *window)
{
    const hf_family *family = r->hf->family;
    bool by_switch = family->window == HF_WINDOW_FROM || family->window == HF_WINDOW_NO_ROPE;
    bool on = !by_switch;
    json_t *item = json_object_get(r->root, "sliding_window");
    *window = item ? 0 : family->absent.window;
    int code = EXIT_OK;
    if (by_switch) {
        code = json_in_bool(r->name, r->root, "use_sliding_window", &on, NULL, r->f);
    }
    if (code == EXIT_OK && on) {
        code = json_in_u32(r->name, r->root, "sliding_window", 1, INT32_MAX, window, NULL, r->f);
    }
    *window = !on ? 0 : *window < MAX_COUNT ? *window : MAX_COUNT;
    return code;
}

/* The layers that have the window where the family's class decides it. */
static int choose_layers(reading *r, bool *slides)
{
    const slm_config *c = &r->hf->config;
    const char *every_key = r->hf->family->keys[HF_GLOBAL_EVERY];
    uint32_t from = 28, every = 6;
    hf_window kind = r->hf->family->window;
    int code = EXIT_OK;
    if (kind == HF_WINDOW_FROM) {
        code = json_in_u32(r->name, r->root, "max_window_layers", 0, INT32_MAX, &from, NULL, r->f);
    }
    if (code == EXIT_OK && every_key) {
        code = json_in_u32(r->name, r->root, every_key, 1, INT32_MAX, &every, NULL, r->f);
    }
    for (uint32_t i = 0; i < c->n_layers; i++) {
        slides[i] = kind == HF_WINDOW_ALL || (kind == HF_WINDOW_FROM && i >= from) ||
                    (kind == HF_WINDOW_NO_ROPE && (c->layer_flags[i] & SLM_LAYER_NO_ROPE)) ||
                    (kind == HF_WINDOW_ALTERNATE && i % 2 == 0) ||
                    (kind == HF_WINDOW_ALL_BUT && (i + 1) % every != 0);
    }
    return code;
}

static int read_layer_types(reading *r, json_t *types, bool *slides)
{
    json_t *item;
    size_t i;
    if (!json_is_array(types) || json_array_size(types) != r->hf->config.n_layers) {
        return json_in_refuse(r->name, "layer_types", "a list with one entry for each layer", types,
                              r->f);
    }
    json_array_foreach(types, i, item)
    {
        const char *type = json_string_value(item);
        slides[i] = type && strcmp(type, "sliding_attention") == 0;
        if (!type || (!slides[i] && strcmp(type, "full_attention") != 0)) {
            return json_in_refuse(r->name, "layer_types", "full_attention or sliding_attention",
                                  item, r->f);
        }
    }
    return EXIT_OK;
}

/* layer_types decides for families whose classes choose layers; for the others it must agree. */
static int settle_layers(reading *r, uint32_t window, const bool *chosen, const bool *listed)
{
    hf_window kind = r->hf->family->window;
    for (uint32_t i = 0; i < r->hf->config.n_layers; i++) {
        bool fixed = kind == HF_WINDOW_NONE || kind == HF_WINDOW_ALL;
        bool differs = listed && fixed && listed[i] != (chosen[i] && window != 0);
        if (differs || (listed && listed[i] && window == 0)) {
            return fail(r->f, EXIT_INPUT,
                        "%s: layer_types: layer %u is %s, which contradicts sliding_window",
                        r->name, i, listed[i] ? "sliding_attention" : "full_attention");
        }
        if ((listed ? listed[i] : chosen[i]) && window != 0) {
            r->hf->config.layer_flags[i] |= SLM_LAYER_WINDOW;
        }
    }
    return EXIT_OK;
}

int hf_config_layers(reading *r)
{
    slm_config *c = &r->hf->config;
    bool chosen[SLM_MAX_LAYERS], listed[SLM_MAX_LAYERS];
    json_t *types = json_in_get(r->root, "layer_types");
    uint32_t window, all = 0;
    int code = read_no_rope(r);
    code = code ? code : read_window(r, &window);
    code = code ? code : choose_layers(r, chosen);
    code = code || !types ? code : read_layer_types(r, types, listed);
    code = code ? code : settle_layers(r, window, chosen, types ? listed : NULL);
    if (code != EXIT_OK) {
        return code;
    }
    for (uint32_t i = 0; i < c->n_layers; i++) {
        bool slides = (c->layer_flags[i] & SLM_LAYER_WINDOW) != 0;
        /* The base of local layers is theirs even where no window is set. */
        bool local = types ? listed[i] : chosen[i];
        c->layer_flags[i] |= c->rope_local_theta > 0 && local ? SLM_LAYER_LOCAL_ROPE : 0;
        c->window = slides ? window : c->window;
        all |= c->layer_flags[i];
    }
    c->n_layer_flags = all ? c->n_layers : 0;
    if (!(all & SLM_LAYER_LOCAL_ROPE)) {
        c->rope_local_theta = 0;
    }
    return EXIT_OK;
}
