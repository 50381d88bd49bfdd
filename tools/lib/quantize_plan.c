/* quantize_plan.c - tensor names, shapes and a mix -> types. The mixes choose as llama.cpp's of the
 * same names do, but for rows that are a multiple of 32 and not of 256: those keep the K type.
 */
#include "lib/quantize_plan.h"

#include <stdlib.h>
#include <string.h>

#include "quant/blocks.h"

static const quantize_mix MIXES[] = {
    {"Q8_0", SLM_TYPE_Q8_0, false, false}, {"Q4_0", SLM_TYPE_Q4_0, false, false},
    {"Q4_K", SLM_TYPE_Q4_K, false, false}, {"Q5_K", SLM_TYPE_Q5_K, false, false},
    {"Q6_K", SLM_TYPE_Q6_K, false, false}, {"Q4_K_S", SLM_TYPE_Q4_K, true, false},
    {"Q4_K_M", SLM_TYPE_Q4_K, true, true}, {"Q5_K_S", SLM_TYPE_Q5_K, true, false},
    {"Q5_K_M", SLM_TYPE_Q5_K, true, true},
};

const quantize_mix *quantize_mix_find(const char *name)
{
    for (size_t i = 0; i < sizeof MIXES / sizeof MIXES[0]; i++) {
        if (strcmp(MIXES[i].name, name) == 0) {
            return &MIXES[i];
        }
    }
    return NULL;
}

const char *quantize_mix_names(void)
{
    return "Q8_0, Q4_0, Q4_K, Q5_K, Q6_K, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M";
}

/* First and last eighth of the layers, and every third between. */
static bool use_more_bits(uint32_t layer, uint32_t n)
{
    return layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2;
}

static bool ends_with(const slm_tensor *t, const char *suffix)
{
    size_t n = strlen(suffix);
    return t->name_bytes >= n && memcmp(t->name + t->name_bytes - n, suffix, n) == 0;
}

static bool is_named(const slm_tensor *t, const char *name)
{
    return t->name_bytes == strlen(name) && ends_with(t, name);
}

/* The number in "blk.N."; names are those of the configuration. */
static uint32_t layer_of(const slm_tensor *t)
{
    uint32_t layer = 0;
    for (uint32_t i = 4; i < t->name_bytes && t->name[i] >= '0' && t->name[i] <= '9'; i++) {
        layer = 10 * layer + (uint32_t)(t->name[i] - '0');
    }
    return layer;
}

static slm_type mixed_type(const slm_tensor *t, const slm_config *c, const quantize_mix *mix)
{
    uint32_t layer = layer_of(t), n = c->n_layers;
    if (is_named(t, c->tied_output ? "token_embd.weight" : "output.weight")) {
        return SLM_TYPE_Q6_K;
    }
    bool is_v = ends_with(t, ".attn_v.weight"), is_down = ends_with(t, ".ffn_down.weight");
    if (mix->is_medium) {
        return (is_v || is_down) && use_more_bits(layer, n) ? SLM_TYPE_Q6_K : mix->base;
    }
    if (mix->base == SLM_TYPE_Q4_K && ((is_v && layer < 4) || (is_down && layer < n / 8))) {
        return SLM_TYPE_Q5_K;
    }
    return mix->base;
}

/* Sixteen bits for a matrix that blocks of 32 cannot hold: the bits it has, or F16. */
static slm_type unblocked_type(slm_type from)
{
    return from == SLM_TYPE_F32 ? SLM_TYPE_F16 : from;
}

int quantize_plan_make(const char *path, const slm_file *file, const slm_config *config,
                       const quantize_mix *mix, tensor_plan *plan, failure *f)
{
    for (uint32_t i = 0; i < file->n_tensors; i++) {
        const slm_tensor *t = &file->tensors[i];
        tensor_plan p = {.from = t->type, .to = t->type, .from_bytes = t->length};
        if (slm_type_is_block(t->type)) {
            return fail(f, EXIT_INPUT,
                        "%s: tensor '%.*s' is %s already; quantize from the F32, F16 or BF16 model",
                        path, (int)t->name_bytes, t->name, slm_type_name(t->type));
        }
        if (t->rank == 2 && !is_named(t, "position_embd.weight")) { /* added, never multiplied */
            p.kept = t->dims[1] % SLM_SUB_BLOCK != 0;
            p.to = p.kept        ? unblocked_type(t->type)
                   : mix->is_mix ? mixed_type(t, config, mix)
                                 : mix->base;
        }
        p.n_parameters = t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
        if (!slm_tensor_stored_bytes(p.to, t->rank, t->dims, &p.to_bytes)) {
            return fail(f, EXIT_INPUT, "%s: tensor '%.*s' cannot be stored as %s", path,
                        (int)t->name_bytes, t->name, slm_type_name(p.to));
        }
        plan[i] = p;
    }
    return EXIT_OK;
}
