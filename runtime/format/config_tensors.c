/* config_tensors.c - the tensors that a configuration calls for, in canonical file order, and the
 * comparison of a file with them.
 */
#include "base/bytes.h"
#include "base/status.h"
#include "format/config.h"

/* What a dimension of a tensor is, in terms of the configuration. */
enum { NONE, VOCAB, MODEL, FF, HEAD, QUERY, KEY_VALUE, POSITIONS };

/* What of the configuration a tensor depends on. */
enum {
    ALWAYS,
    LAYER_NORM,
    LEARNED,
    QKV_BIAS,
    OUTPUT_BIAS,
    FFN_BIAS,
    GATE,
    GATE_BIAS,
    PRE_NORM,
    PRE_BIAS,
    POST_NORM,
    POST_BIAS,
    HEAD_NORM,
    ROW_NORM,
    UNTIED
};

typedef struct tensor_rule {
    const char *name;
    uint8_t rows, cols; /* one of those; cols NONE: rank 1 */
    uint8_t needs;
} tensor_rule;

static const tensor_rule HEAD_RULES[] = {
    {"token_embd.weight", VOCAB, MODEL, ALWAYS},
    {"position_embd.weight", POSITIONS, MODEL, LEARNED},
};

static const tensor_rule LAYER_RULES[] = {
    {"attn_norm.weight", MODEL, NONE, PRE_NORM},
    {"attn_norm.bias", MODEL, NONE, PRE_BIAS},
    {"attn_q.weight", QUERY, MODEL, ALWAYS},
    {"attn_q.bias", QUERY, NONE, QKV_BIAS},
    {"attn_k.weight", KEY_VALUE, MODEL, ALWAYS},
    {"attn_k.bias", KEY_VALUE, NONE, QKV_BIAS},
    {"attn_v.weight", KEY_VALUE, MODEL, ALWAYS},
    {"attn_v.bias", KEY_VALUE, NONE, QKV_BIAS},
    {"attn_q_norm.weight", HEAD, NONE, HEAD_NORM},
    {"attn_q_norm.weight", QUERY, NONE, ROW_NORM},
    {"attn_k_norm.weight", HEAD, NONE, HEAD_NORM},
    {"attn_k_norm.weight", KEY_VALUE, NONE, ROW_NORM},
    {"attn_output.weight", MODEL, QUERY, ALWAYS},
    {"attn_output.bias", MODEL, NONE, OUTPUT_BIAS},
    {"attn_post_norm.weight", MODEL, NONE, POST_NORM},
    {"attn_post_norm.bias", MODEL, NONE, POST_BIAS},
    {"ffn_norm.weight", MODEL, NONE, PRE_NORM},
    {"ffn_norm.bias", MODEL, NONE, PRE_BIAS},
    {"ffn_gate.weight", FF, MODEL, GATE},
    {"ffn_gate.bias", FF, NONE, GATE_BIAS},
    {"ffn_up.weight", FF, MODEL, ALWAYS},
    {"ffn_up.bias", FF, NONE, FFN_BIAS},
    {"ffn_down.weight", MODEL, FF, ALWAYS},
    {"ffn_down.bias", MODEL, NONE, FFN_BIAS},
    {"ffn_post_norm.weight", MODEL, NONE, POST_NORM},
    {"ffn_post_norm.bias", MODEL, NONE, POST_BIAS},
};

static const tensor_rule TAIL_RULES[] = {
    {"output_norm.weight", MODEL, NONE, ALWAYS},
    {"output_norm.bias", MODEL, NONE, LAYER_NORM},
    {"output.weight", VOCAB, MODEL, UNTIED},
};

#define COUNT(rules) (uint32_t)(sizeof(rules) / sizeof(rules)[0])

static bool applies(const slm_config *c, const tensor_rule *rule)
{
    bool layer_norm = c->norm_kind == SLM_NORM_LAYER;
    switch (rule->needs) {
    case LAYER_NORM: return layer_norm;
    case LEARNED: return c->learned_positions;
    case QKV_BIAS: return c->qkv_bias;
    case OUTPUT_BIAS: return c->output_bias;
    case FFN_BIAS: return c->ffn_bias;
    case GATE: return c->gated;
    case GATE_BIAS: return c->gated && c->ffn_bias;
    case PRE_NORM: return c->pre_norm;
    case PRE_BIAS: return c->pre_norm && layer_norm;
    case POST_NORM: return c->post_norm;
    case POST_BIAS: return c->post_norm && layer_norm;
    case HEAD_NORM: return c->qk_norm == SLM_QK_NORM_HEAD;
    case ROW_NORM: return c->qk_norm == SLM_QK_NORM_ROW;
    case UNTIED: return !c->tied_output;
    default: return true;
    }
}

static uint64_t width_of(const slm_config *c, uint8_t what)
{
    switch (what) {
    case VOCAB: return c->n_vocab;
    case POSITIONS: return c->n_context;
    case MODEL: return c->d_model;
    case FF: return c->d_ff;
    case HEAD: return c->head_dim;
    case QUERY: return (uint64_t)c->n_heads * c->head_dim;
    case KEY_VALUE: return (uint64_t)c->n_kv_heads * c->head_dim;
    default: return 1;
    }
}

static uint32_t count_rules(const slm_config *c, const tensor_rule *rules, uint32_t n)
{
    uint32_t applying = 0;
    for (uint32_t i = 0; i < n; i++) {
        applying += applies(c, &rules[i]);
    }
    return applying;
}

/* The index-th rule that applies. */
static const tensor_rule *nth_rule(const slm_config *c, const tensor_rule *rules, uint32_t index)
{
    while (!applies(c, rules) || index-- > 0) {
        rules++;
    }
    return rules;
}

/* Where the tensors of layers begin and how many each has. */
typedef struct numbering {
    uint32_t first, per_layer, tail, total;
} numbering;

static numbering number_tensors(const slm_config *c)
{
    numbering n;
    n.first = count_rules(c, HEAD_RULES, COUNT(HEAD_RULES));
    n.per_layer = count_rules(c, LAYER_RULES, COUNT(LAYER_RULES));
    n.tail = n.first + c->n_layers * n.per_layer;
    n.total = n.tail + count_rules(c, TAIL_RULES, COUNT(TAIL_RULES));
    return n;
}

uint32_t slm_config_n_tensors(const slm_config *config)
{
    return number_tensors(config).total;
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
    numbering n = number_tensors(config);
    const tensor_rule *rule;
    memset(spec, 0, sizeof *spec);
    if (index >= n.first && index < n.tail) {
        rule = nth_rule(config, LAYER_RULES, (index - n.first) % n.per_layer);
        name_layer_tensor(spec->name, (index - n.first) / n.per_layer, rule->name);
    } else {
        rule = index < n.first ? nth_rule(config, HEAD_RULES, index)
                               : nth_rule(config, TAIL_RULES, index - n.tail);
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

static bool is_among(const slm_config *config, const slm_tensor *t, uint32_t first, uint32_t end)
{
    slm_tensor_spec spec;
    for (uint32_t i = first; i < end; i++) {
        slm_config_tensor(config, i, &spec);
        if (same_name(t, &spec)) {
            return true;
        }
    }
    return false;
}

static bool is_called_for(const slm_config *config, const slm_tensor *t)
{
    numbering n = number_tensors(config);
    uint32_t layer = layer_of(t, config->n_layers);
    if (layer < config->n_layers) {
        uint32_t first = n.first + layer * n.per_layer;
        return is_among(config, t, first, first + n.per_layer);
    }
    return is_among(config, t, 0, n.first) || is_among(config, t, n.tail, n.total);
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

const char *const *slm_architectures(void)
{
    static const char *const names[] = {"llama",   "mistral",    "qwen2",    "qwen3",   "gemma2",
                                        "gemma3",  "gpt2",       "phi3",     "smollm3", "olmo2",
                                        "granite", "starcoder2", "stablelm", NULL};
    return names;
}

static bool is_known(const char *architecture)
{
    for (const char *const *name = slm_architectures(); *name; name++) {
        if (strcmp(architecture, *name) == 0) {
            return true;
        }
    }
    return false;
}

slm_status slm_config_check_tensors(const slm_config *config, const slm_file *file,
                                    slm_error *error)
{
    if (strcmp(file->architecture, SLM_ARCHITECTURE_TOKENIZER) == 0) {
        return slm_fail(error, SLM_ERR_ARCHITECTURE, 0,
                        "the file holds a tokenizer only, no model; slm-tokenizer reads it");
    }
    if (!is_known(file->architecture)) {
        return slm_fail(error, SLM_ERR_ARCHITECTURE, 0,
                        "architecture '%s' is unknown to this build; update slm",
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
