/* config_tensors.c - the tensors that a configuration calls for, in canonical file order, and the
 * comparison of a file with them.
 */
#include "base/bytes.h"
#include "base/status.h"
#include "format/config.h"

/* What a dimension of a tensor is, in terms of the configuration. */
enum { NONE, VOCAB, MODEL, FF, HEAD, QUERY, KEY_VALUE };

typedef struct tensor_rule {
    const char *name;
    uint8_t rows, cols; /* one of those; cols NONE: rank 1 */
    uint8_t needs;      /* BIAS, NORM: only if the configuration says so */
} tensor_rule;

enum { ALWAYS, BIAS, NORM };

static const tensor_rule LAYER_RULES[] = {
    {"attn_norm.weight", MODEL, NONE, ALWAYS}, {"attn_q.weight", QUERY, MODEL, ALWAYS},
    {"attn_q.bias", QUERY, NONE, BIAS},        {"attn_k.weight", KEY_VALUE, MODEL, ALWAYS},
    {"attn_k.bias", KEY_VALUE, NONE, BIAS},    {"attn_v.weight", KEY_VALUE, MODEL, ALWAYS},
    {"attn_v.bias", KEY_VALUE, NONE, BIAS},    {"attn_q_norm.weight", HEAD, NONE, NORM},
    {"attn_k_norm.weight", HEAD, NONE, NORM},  {"attn_output.weight", MODEL, QUERY, ALWAYS},
    {"ffn_norm.weight", MODEL, NONE, ALWAYS},  {"ffn_gate.weight", FF, MODEL, ALWAYS},
    {"ffn_up.weight", FF, MODEL, ALWAYS},      {"ffn_down.weight", MODEL, FF, ALWAYS},
};
enum { N_LAYER_RULES = sizeof LAYER_RULES / sizeof LAYER_RULES[0] };

static const tensor_rule EMBEDDING = {"token_embd.weight", VOCAB, MODEL, ALWAYS};
static const tensor_rule OUTPUT_NORM = {"output_norm.weight", MODEL, NONE, ALWAYS};
static const tensor_rule OUTPUT = {"output.weight", VOCAB, MODEL, ALWAYS};

static bool applies(const slm_config *c, const tensor_rule *rule)
{
    return rule->needs == ALWAYS || (rule->needs == BIAS ? c->qkv_bias : c->qk_norm) != 0;
}

static uint64_t width_of(const slm_config *c, uint8_t what)
{
    switch (what) {
    case VOCAB: return c->n_vocab;
    case MODEL: return c->d_model;
    case FF: return c->d_ff;
    case HEAD: return c->head_dim;
    case QUERY: return (uint64_t)c->n_heads * c->head_dim;
    case KEY_VALUE: return (uint64_t)c->n_kv_heads * c->head_dim;
    default: return 1;
    }
}

static uint32_t tensors_per_layer(const slm_config *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < N_LAYER_RULES; i++) {
        n += applies(c, &LAYER_RULES[i]);
    }
    return n;
}

uint32_t slm_config_n_tensors(const slm_config *config)
{
    return 2 + config->n_layers * tensors_per_layer(config) + (config->tied_output ? 0 : 1);
}

/* "blk.LAYER." in front of the rule's name; layer < 10000. */
static void name_layer_tensor(char *out, uint32_t layer, const char *name)
{
    char digits[10];
    uint32_t n = 0;
    do {
        digits[n++] = (char)('0' + layer % 10);
        layer /= 10;
    } while (layer != 0);
    memcpy(out, "blk.", 4);
    out += 4;
    while (n > 0) {
        *out++ = digits[--n];
    }
    *out++ = '.';
    memcpy(out, name, strlen(name) + 1);
}

void slm_config_tensor(const slm_config *config, uint32_t index, slm_tensor_spec *spec)
{
    uint32_t per_layer = tensors_per_layer(config), in_layers = config->n_layers * per_layer;
    const tensor_rule *rule = index == 0               ? &EMBEDDING
                              : index == in_layers + 1 ? &OUTPUT_NORM
                                                       : &OUTPUT;
    memset(spec, 0, sizeof *spec);
    if (index != 0 && index <= in_layers) {
        uint32_t at = (index - 1) % per_layer;
        rule = LAYER_RULES;
        while (!applies(config, rule) || at-- > 0) {
            rule++;
        }
        name_layer_tensor(spec->name, (index - 1) / per_layer, rule->name);
    } else {
        memcpy(spec->name, rule->name, strlen(rule->name) + 1);
    }
    spec->rank = rule->cols == NONE ? 1 : 2;
    spec->dims[0] = width_of(config, rule->rows);
    spec->dims[1] = width_of(config, rule->cols);
}

/* ---- Comparison ------------------------------------------------------------------------------ */

static bool same_name(const slm_tensor *t, const slm_tensor_spec *spec)
{
    return t->name_bytes == strlen(spec->name) && memcmp(t->name, spec->name, t->name_bytes) == 0;
}

/* The number of a name "blk.N...", or n_layers if there is none below it. */
static uint32_t layer_of(const slm_tensor *t, uint32_t n_layers)
{
    uint32_t layer = 0, i = 4;
    if (t->name_bytes < 6 || memcmp(t->name, "blk.", 4) != 0) {
        return n_layers;
    }
    for (; i < t->name_bytes && t->name[i] >= '0' && t->name[i] <= '9' && layer < n_layers; i++) {
        layer = 10 * layer + (uint32_t)(t->name[i] - '0');
    }
    return i > 4 && layer < n_layers ? layer : n_layers;
}

static bool is_called_for(const slm_config *config, const slm_tensor *t)
{
    slm_tensor_spec spec;
    uint32_t per_layer = tensors_per_layer(config), n = slm_config_n_tensors(config);
    uint32_t layer = layer_of(t, config->n_layers);
    uint32_t first = layer < config->n_layers ? 1 + layer * per_layer : 0;
    uint32_t end = layer < config->n_layers ? first + per_layer : 1;
    for (uint32_t i = first; i < end; i++) {
        slm_config_tensor(config, i, &spec);
        if (same_name(t, &spec)) {
            return true;
        }
    }
    for (uint32_t i = 1 + config->n_layers * per_layer; i < n; i++) {
        slm_config_tensor(config, i, &spec);
        if (same_name(t, &spec)) {
            return true;
        }
    }
    return false;
}

static slm_status check_tensor(const slm_tensor *t, const slm_tensor_spec *spec, slm_error *error)
{
    if (t->rank != spec->rank || t->dims[0] != spec->dims[0] || t->dims[1] != spec->dims[1]) {
        return slm_fail(error, SLM_ERR_TENSOR_SHAPE, 0,
                        "tensor '%s' has rank %u and shape %l x %l; the configuration asks for "
                        "rank %u and %l x %l",
                        spec->name, t->rank, t->dims[0], t->dims[1], spec->rank, spec->dims[0],
                        spec->dims[1]);
    }
    if (t->rank == 1 && t->type != SLM_TYPE_F32) {
        return slm_fail(error, SLM_ERR_TENSOR_TYPE, 0, "tensor '%s' is %s; vectors must be F32",
                        spec->name, slm_type_name(t->type));
    }
    return SLM_OK;
}

/* The tensors of file and configuration differ at position i: says how. */
static slm_status explain(const slm_config *config, const slm_file *file, uint32_t i,
                          slm_error *error)
{
    slm_tensor_spec spec;
    for (uint32_t k = 0; k < slm_config_n_tensors(config); k++) {
        slm_config_tensor(config, k, &spec);
        if (!slm_file_tensor(file, spec.name, strlen(spec.name))) {
            return slm_fail(error, SLM_ERR_TENSOR_MISSING, 0,
                            "tensor '%s' is missing; the configuration calls for it", spec.name);
        }
    }
    for (; i < file->n_tensors; i++) {
        const slm_tensor *t = &file->tensors[i];
        if (!is_called_for(config, t)) {
            return slm_fail(error, SLM_ERR_TENSOR_EXTRA, 0,
                            "tensor '%n' is not one that the configuration calls for", t->name,
                            (size_t)t->name_bytes);
        }
    }
    return slm_fail(error, SLM_ERR_LAYOUT, 0, "the tensors are not in canonical order");
}

slm_status slm_config_check_tensors(const slm_config *config, const slm_file *file,
                                    slm_error *error)
{
    static const char *const known[] = {"llama", "mistral", "qwen2", "qwen3"};
    bool found = false;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        found |= strcmp(file->architecture, known[i]) == 0;
    }
    if (!found) {
        return slm_fail(error, SLM_ERR_ARCHITECTURE, 0,
                        "architecture '%s' is unknown to this build (llama, mistral, qwen2, qwen3)",
                        file->architecture);
    }
    uint32_t n = slm_config_n_tensors(config);
    for (uint32_t i = 0; i < n; i++) {
        slm_tensor_spec spec;
        slm_config_tensor(config, i, &spec);
        if (i >= file->n_tensors || !same_name(&file->tensors[i], &spec)) {
            return explain(config, file, i, error);
        }
        slm_status status = check_tensor(&file->tensors[i], &spec, error);
        if (status != SLM_OK) {
            return status;
        }
    }
    return file->n_tensors == n ? SLM_OK : explain(config, file, n, error);
}
