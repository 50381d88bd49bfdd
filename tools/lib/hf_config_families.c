/* hf_config_families.c - the model families as data: keys, tensor names, defaults. What keys mean
 * and what holds without them: the configuration classes of the transformers library.
 */
#include <stdio.h>
#include <string.h>

#include "lib/hf_config.h"

/* ---- Keys ------------------------------------------------------------------------------------ */

#define COMMON_KEYS                                                                                \
    [HF_VOCAB] = "vocab_size", [HF_WIDTH] = "hidden_size", [HF_LAYERS] = "num_hidden_layers",      \
    [HF_HEADS] = "num_attention_heads", [HF_KV_HEADS] = "num_key_value_heads",                     \
    [HF_HEAD_DIM] = "head_dim", [HF_FF] = "intermediate_size",                                     \
    [HF_CONTEXT] = "max_position_embeddings"
#define LLAMA_KEYS COMMON_KEYS, [HF_NORM_EPS] = "rms_norm_eps", [HF_ACTIVATION] = "hidden_act"
#define ATTENTION_BIAS [HF_QKV_BIAS] = "attention_bias", [HF_OUTPUT_BIAS] = "attention_bias"

/* Without keys for biases. */
static const char *const PLAIN[HF_N_KEYS] = {LLAMA_KEYS};
static const char *const WITH_ATTENTION_BIAS[HF_N_KEYS] = {LLAMA_KEYS, ATTENTION_BIAS};
static const char *const WITH_ALL_BIASES[HF_N_KEYS] = {
    LLAMA_KEYS,
    ATTENTION_BIAS,
    [HF_FFN_BIAS] = "mlp_bias",
};
static const char *const SMOLLM3_KEYS[HF_N_KEYS] = {
    LLAMA_KEYS,
    ATTENTION_BIAS,
    [HF_FFN_BIAS] = "mlp_bias",
    [HF_NO_ROPE_LAYERS] = "no_rope_layers",
    [HF_NO_ROPE_EVERY] = "no_rope_layer_interval",
};
static const char *const GRANITE_KEYS[HF_N_KEYS] = {
    LLAMA_KEYS,
    ATTENTION_BIAS,
    [HF_FFN_BIAS] = "mlp_bias",
    [HF_ATTENTION_SCALE] = "attention_multiplier",
    [HF_EMBEDDING_SCALE] = "embedding_multiplier",
    [HF_RESIDUAL_SCALE] = "residual_multiplier",
    [HF_LOGIT_DIVISOR] = "logits_scaling",
};
static const char *const GEMMA2_KEYS[HF_N_KEYS] = {
    COMMON_KEYS,
    ATTENTION_BIAS,
    [HF_NORM_EPS] = "rms_norm_eps",
    [HF_ACTIVATION] = "hidden_activation",
    [HF_QUERY_SCALAR] = "query_pre_attn_scalar",
    [HF_ATTENTION_CAP] = "attn_logit_softcapping",
    [HF_LOGIT_CAP] = "final_logit_softcapping",
};
static const char *const GEMMA3_KEYS[HF_N_KEYS] = {
    COMMON_KEYS,
    ATTENTION_BIAS,
    [HF_NORM_EPS] = "rms_norm_eps",
    [HF_ACTIVATION] = "hidden_activation",
    [HF_QUERY_SCALAR] = "query_pre_attn_scalar",
    [HF_LOCAL_THETA] = "rope_local_base_freq",
    [HF_GLOBAL_EVERY] = "sliding_window_pattern",
    [HF_LOGIT_CAP] = "final_logit_softcapping",
};
static const char *const PHI3_KEYS[HF_N_KEYS] = {
    LLAMA_KEYS,
    [HF_ROTARY_FACTOR] = "partial_rotary_factor",
};
static const char *const STABLELM_KEYS[HF_N_KEYS] = {
    COMMON_KEYS,
    [HF_NORM_EPS] = "layer_norm_eps",
    [HF_ACTIVATION] = "hidden_act",
    [HF_QKV_BIAS] = "use_qkv_bias",
    [HF_ROTARY_FACTOR] = "partial_rotary_factor",
};
static const char *const STARCODER2_KEYS[HF_N_KEYS] = {
    COMMON_KEYS,
    [HF_NORM_EPS] = "norm_epsilon",
    [HF_ACTIVATION] = "hidden_act",
    [HF_QKV_BIAS] = "use_bias",
    [HF_OUTPUT_BIAS] = "use_bias",
    [HF_FFN_BIAS] = "use_bias",
};
static const char *const GPT2_KEYS[HF_N_KEYS] = {
    [HF_VOCAB] = "vocab_size",
    [HF_WIDTH] = "n_embd",
    [HF_LAYERS] = "n_layer",
    [HF_HEADS] = "n_head",
    [HF_FF] = "n_inner",
    [HF_CONTEXT] = "n_positions",
    [HF_NORM_EPS] = "layer_norm_epsilon",
    [HF_ACTIVATION] = "activation_function",
};

/* ---- Tensor names: of a family's lists, the first that has a name counts ----------------------
 */

#define LAYER(name) "model.layers.#." name
#define BLOCK(name) "transformer.h.#." name

static const hf_name ENDS[] = {
    {.ours = "token_embd.weight", .theirs = "model.embed_tokens.weight"},
    {.ours = "output_norm.weight", .theirs = "model.norm.weight"},
    {.ours = "output_norm.bias", .theirs = "model.norm.bias"},
    {.ours = "output.weight", .theirs = "lm_head.weight"},
    {0},
};

static const hf_name PRE_NORMS[] = {
    {.ours = "blk.#.attn_norm.weight", .theirs = LAYER("input_layernorm.weight")},
    {.ours = "blk.#.attn_norm.bias", .theirs = LAYER("input_layernorm.bias")},
    {.ours = "blk.#.ffn_norm.weight", .theirs = LAYER("post_attention_layernorm.weight")},
    {.ours = "blk.#.ffn_norm.bias", .theirs = LAYER("post_attention_layernorm.bias")},
    {0},
};

static const hf_name POST_NORMS[] = {
    {.ours = "blk.#.attn_post_norm.weight", .theirs = LAYER("post_attention_layernorm.weight")},
    {.ours = "blk.#.ffn_post_norm.weight", .theirs = LAYER("post_feedforward_layernorm.weight")},
    {0},
};

static const hf_name GEMMA_NORMS[] = {
    {.ours = "blk.#.attn_norm.weight", .theirs = LAYER("input_layernorm.weight"), .less_one = true},
    {.ours = "blk.#.attn_q_norm.weight",
     .theirs = LAYER("self_attn.q_norm.weight"),
     .less_one = true},
    {.ours = "blk.#.attn_k_norm.weight",
     .theirs = LAYER("self_attn.k_norm.weight"),
     .less_one = true},
    {.ours = "blk.#.attn_post_norm.weight",
     .theirs = LAYER("post_attention_layernorm.weight"),
     .less_one = true},
    {.ours = "blk.#.ffn_norm.weight",
     .theirs = LAYER("pre_feedforward_layernorm.weight"),
     .less_one = true},
    {.ours = "blk.#.ffn_post_norm.weight",
     .theirs = LAYER("post_feedforward_layernorm.weight"),
     .less_one = true},
    {.ours = "output_norm.weight", .theirs = "model.norm.weight", .less_one = true},
    {0},
};

static const hf_name ATTENTION[] = {
    {.ours = "blk.#.attn_q.weight", .theirs = LAYER("self_attn.q_proj.weight")},
    {.ours = "blk.#.attn_q.bias", .theirs = LAYER("self_attn.q_proj.bias")},
    {.ours = "blk.#.attn_k.weight", .theirs = LAYER("self_attn.k_proj.weight")},
    {.ours = "blk.#.attn_k.bias", .theirs = LAYER("self_attn.k_proj.bias")},
    {.ours = "blk.#.attn_v.weight", .theirs = LAYER("self_attn.v_proj.weight")},
    {.ours = "blk.#.attn_v.bias", .theirs = LAYER("self_attn.v_proj.bias")},
    {.ours = "blk.#.attn_output.weight", .theirs = LAYER("self_attn.o_proj.weight")},
    {.ours = "blk.#.attn_output.bias", .theirs = LAYER("self_attn.o_proj.bias")},
    {.ours = "blk.#.attn_q_norm.weight", .theirs = LAYER("self_attn.q_norm.weight")},
    {.ours = "blk.#.attn_k_norm.weight", .theirs = LAYER("self_attn.k_norm.weight")},
    {0},
};

static const hf_name GATED[] = {
    {.ours = "blk.#.ffn_gate.weight", .theirs = LAYER("mlp.gate_proj.weight")},
    {.ours = "blk.#.ffn_gate.bias", .theirs = LAYER("mlp.gate_proj.bias")},
    {.ours = "blk.#.ffn_up.weight", .theirs = LAYER("mlp.up_proj.weight")},
    {.ours = "blk.#.ffn_up.bias", .theirs = LAYER("mlp.up_proj.bias")},
    {.ours = "blk.#.ffn_down.weight", .theirs = LAYER("mlp.down_proj.weight")},
    {.ours = "blk.#.ffn_down.bias", .theirs = LAYER("mlp.down_proj.bias")},
    {0},
};

static const hf_name NOT_GATED[] = {
    {.ours = "blk.#.ffn_up.weight", .theirs = LAYER("mlp.c_fc.weight")},
    {.ours = "blk.#.ffn_up.bias", .theirs = LAYER("mlp.c_fc.bias")},
    {.ours = "blk.#.ffn_down.weight", .theirs = LAYER("mlp.c_proj.weight")},
    {.ours = "blk.#.ffn_down.bias", .theirs = LAYER("mlp.c_proj.bias")},
    {0},
};

/* Several matrices one below the other. */
static const hf_name FUSED[] = {
    {.ours = "blk.#.attn_q.weight", .theirs = LAYER("self_attn.qkv_proj.weight"), .part = HF_Q},
    {.ours = "blk.#.attn_k.weight", .theirs = LAYER("self_attn.qkv_proj.weight"), .part = HF_K},
    {.ours = "blk.#.attn_v.weight", .theirs = LAYER("self_attn.qkv_proj.weight"), .part = HF_V},
    {.ours = "blk.#.ffn_gate.weight", .theirs = LAYER("mlp.gate_up_proj.weight"), .part = HF_GATE},
    {.ours = "blk.#.ffn_up.weight", .theirs = LAYER("mlp.gate_up_proj.weight"), .part = HF_UP},
    {0},
};

/* Matrices of Conv1D layers are stored inputs x outputs. */
static const hf_name GPT2_NAMES[] = {
    {.ours = "token_embd.weight", .theirs = "transformer.wte.weight"},
    {.ours = "position_embd.weight", .theirs = "transformer.wpe.weight"},
    {.ours = "blk.#.attn_norm.weight", .theirs = BLOCK("ln_1.weight")},
    {.ours = "blk.#.attn_norm.bias", .theirs = BLOCK("ln_1.bias")},
    {.ours = "blk.#.ffn_norm.weight", .theirs = BLOCK("ln_2.weight")},
    {.ours = "blk.#.ffn_norm.bias", .theirs = BLOCK("ln_2.bias")},
    {.ours = "blk.#.attn_q.weight",
     .theirs = BLOCK("attn.c_attn.weight"),
     .part = HF_Q,
     .turned = true},
    {.ours = "blk.#.attn_q.bias", .theirs = BLOCK("attn.c_attn.bias"), .part = HF_Q},
    {.ours = "blk.#.attn_k.weight",
     .theirs = BLOCK("attn.c_attn.weight"),
     .part = HF_K,
     .turned = true},
    {.ours = "blk.#.attn_k.bias", .theirs = BLOCK("attn.c_attn.bias"), .part = HF_K},
    {.ours = "blk.#.attn_v.weight",
     .theirs = BLOCK("attn.c_attn.weight"),
     .part = HF_V,
     .turned = true},
    {.ours = "blk.#.attn_v.bias", .theirs = BLOCK("attn.c_attn.bias"), .part = HF_V},
    {.ours = "blk.#.attn_output.weight", .theirs = BLOCK("attn.c_proj.weight"), .turned = true},
    {.ours = "blk.#.attn_output.bias", .theirs = BLOCK("attn.c_proj.bias")},
    {.ours = "blk.#.ffn_up.weight", .theirs = BLOCK("mlp.c_fc.weight"), .turned = true},
    {.ours = "blk.#.ffn_up.bias", .theirs = BLOCK("mlp.c_fc.bias")},
    {.ours = "blk.#.ffn_down.weight", .theirs = BLOCK("mlp.c_proj.weight"), .turned = true},
    {.ours = "blk.#.ffn_down.bias", .theirs = BLOCK("mlp.c_proj.bias")},
    {.ours = "output_norm.weight", .theirs = "transformer.ln_f.weight"},
    {.ours = "output_norm.bias", .theirs = "transformer.ln_f.bias"},
    {.ours = "output.weight", .theirs = "lm_head.weight"},
    {0},
};

/* ---- Families -------------------------------------------------------------------------------- */

static const hf_family FAMILIES[] = {
    {
        .architecture = "llama",
        .model_type = "llama",
        .classes = {"LlamaForCausalLM", "LlamaModel"},
        .keys = WITH_ALL_BIASES,
        .names = {PRE_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 2048, .norm_eps = 1e-6f, .theta = 1e4f, .activation = "silu"},
    },
    {
        .architecture = "mistral",
        .model_type = "mistral",
        .classes = {"MistralForCausalLM", "MistralModel"},
        .keys = PLAIN,
        .names = {PRE_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 131072,
                   .kv_heads = 8,
                   .window = 4096,
                   .norm_eps = 1e-6f,
                   .theta = 1e4f,
                   .activation = "silu"},
        .window = HF_WINDOW_ALL,
    },
    {
        .architecture = "qwen2",
        .model_type = "qwen2",
        .classes = {"Qwen2ForCausalLM", "Qwen2Model"},
        .keys = PLAIN,
        .names = {PRE_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 32768,
                   .kv_heads = 32,
                   .window = 4096,
                   .norm_eps = 1e-6f,
                   .theta = 1e4f,
                   .activation = "silu"},
        .always_qkv_bias = true,
        .window = HF_WINDOW_FROM,
    },
    {
        .architecture = "qwen3",
        .model_type = "qwen3",
        .classes = {"Qwen3ForCausalLM", "Qwen3Model"},
        .keys = WITH_ATTENTION_BIAS,
        .names = {PRE_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 32768,
                   .kv_heads = 32,
                   .head_dim = 128,
                   .window = 4096,
                   .norm_eps = 1e-6f,
                   .theta = 1e4f,
                   .activation = "silu"},
        .qk_norm = SLM_QK_NORM_HEAD,
        .window = HF_WINDOW_FROM,
    },
    {
        .architecture = "gemma2",
        .model_type = "gemma2",
        .classes = {"Gemma2ForCausalLM", "Gemma2Model"},
        .keys = GEMMA2_KEYS,
        .names = {GEMMA_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 8192,
                   .kv_heads = 4,
                   .head_dim = 256,
                   .window = 4096,
                   .query_scalar = 256,
                   .attention_cap = 50,
                   .logit_cap = 30,
                   .tied = true,
                   .norm_eps = 1e-6f,
                   .theta = 1e4f,
                   .activation = "gelu_pytorch_tanh"},
        .post_norm = true,
        .embedding_root = true,
        .window = HF_WINDOW_ALTERNATE,
    },
    {
        .architecture = "gemma3",
        .model_type = "gemma3_text",
        .classes = {"Gemma3ForCausalLM", "Gemma3TextModel"},
        .keys = GEMMA3_KEYS,
        .names = {GEMMA_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 131072,
                   .kv_heads = 4,
                   .head_dim = 256,
                   .window = 4096,
                   .local_theta = 1e4f,
                   .query_scalar = 256,
                   .tied = true,
                   .norm_eps = 1e-6f,
                   .theta = 1e6f,
                   .activation = "gelu_pytorch_tanh"},
        .post_norm = true,
        .embedding_root = true,
        .qk_norm = SLM_QK_NORM_HEAD,
        .window = HF_WINDOW_ALL_BUT,
    },
    {
        .architecture = "gpt2",
        .model_type = "gpt2",
        .classes = {"GPT2LMHeadModel", "GPT2Model"},
        .keys = GPT2_KEYS,
        .names = {GPT2_NAMES},
        .prefix = "transformer.",
        .absent = {.context = 1024,
                   .ff_widths = 4,
                   .tied = true,
                   .norm_eps = 1e-5f,
                   .theta = 1e4f,
                   .activation = "gelu_new"},
        .always_qkv_bias = true,
        .always_output_bias = true,
        .always_ffn_bias = true,
        .layer_norm = true,
        .no_gate = true,
        .learned_positions = true,
    },
    {
        .architecture = "phi3",
        .model_type = "phi3",
        .classes = {"Phi3ForCausalLM", "Phi3Model"},
        .keys = PHI3_KEYS,
        .names = {FUSED, PRE_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 4096,
                   .rotary_factor = 1,
                   .norm_eps = 1e-5f,
                   .theta = 1e4f,
                   .activation = "silu"},
        .window = HF_WINDOW_ALL,
    },
    {
        .architecture = "smollm3",
        .model_type = "smollm3",
        .classes = {"SmolLM3ForCausalLM", "SmolLM3Model"},
        .keys = SMOLLM3_KEYS,
        .names = {PRE_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 32768,
                   .kv_heads = 4,
                   .tied = true,
                   .norm_eps = 1e-6f,
                   .theta = 2e6f,
                   .activation = "silu"},
        .window = HF_WINDOW_NO_ROPE,
    },
    {
        .architecture = "olmo2",
        .model_type = "olmo2",
        .classes = {"Olmo2ForCausalLM", "Olmo2Model"},
        .keys = WITH_ATTENTION_BIAS,
        .names = {POST_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 2048, .norm_eps = 1e-5f, .theta = 1e4f, .activation = "silu"},
        .no_pre_norm = true,
        .post_norm = true,
        .qk_norm = SLM_QK_NORM_ROW,
    },
    {
        .architecture = "granite",
        .model_type = "granite",
        .classes = {"GraniteForCausalLM", "GraniteModel"},
        .keys = GRANITE_KEYS,
        .names = {PRE_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 2048, .norm_eps = 1e-6f, .theta = 1e4f, .activation = "silu"},
    },
    {
        .architecture = "starcoder2",
        .model_type = "starcoder2",
        .classes = {"Starcoder2ForCausalLM", "Starcoder2Model"},
        .keys = STARCODER2_KEYS,
        .names = {PRE_NORMS, ATTENTION, NOT_GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 4096,
                   .kv_heads = 2,
                   .tied = true,
                   .biases = true,
                   .norm_eps = 1e-5f,
                   .theta = 1e4f,
                   .activation = "gelu_pytorch_tanh"},
        .layer_norm = true,
        .no_gate = true,
        .window = HF_WINDOW_ALL,
    },
    {
        .architecture = "stablelm",
        .model_type = "stablelm",
        .classes = {"StableLmForCausalLM", "StableLmModel"},
        .keys = STABLELM_KEYS,
        .names = {PRE_NORMS, ATTENTION, GATED, ENDS},
        .prefix = "model.",
        .absent = {.context = 4096,
                   .kv_heads = 32,
                   .rotary_factor = 0.25f,
                   .norm_eps = 1e-5f,
                   .theta = 1e4f,
                   .activation = "silu"},
        .layer_norm = true,
    },
};

const hf_family *hf_families(uint32_t *n)
{
    *n = sizeof FAMILIES / sizeof FAMILIES[0];
    return FAMILIES;
}

/* Compares a name with a pattern; *layer receives the number in place of '#'. */
static bool matches(const char *pattern, const char *name, uint32_t *layer)
{
    const char *hash = strchr(pattern, '#');
    if (!hash) {
        return strcmp(pattern, name) == 0;
    }
    size_t before = (size_t)(hash - pattern);
    if (strncmp(pattern, name, before) != 0) {
        return false;
    }
    int used = 0;
    return sscanf(name + before, "%u%n", layer, &used) == 1 &&
           strcmp(hash + 1, name + before + used) == 0;
}

static const hf_name *find_name(const hf_family *family, const char *ours, uint32_t *layer)
{
    for (const hf_name *const *list = family->names; *list; list++) {
        for (const hf_name *n = *list; n->ours; n++) {
            if (matches(n->ours, ours, layer)) {
                return n;
            }
        }
    }
    return NULL;
}

const hf_name *hf_tensor_name(const hf_family *family, const char *ours, bool with_prefix,
                              char *out)
{
    uint32_t layer = 0;
    const hf_name *found = find_name(family, ours, &layer);
    if (!found) {
        return NULL;
    }
    const char *theirs = found->theirs;
    size_t n_prefix = strlen(family->prefix);
    if (!with_prefix && strncmp(theirs, family->prefix, n_prefix) == 0) {
        theirs += n_prefix;
    }
    const char *hash = strchr(theirs, '#');
    if (hash) {
        snprintf(out, SLM_MAX_NAME, "%.*s%u%s", (int)(hash - theirs), theirs, layer, hash + 1);
    } else {
        snprintf(out, SLM_MAX_NAME, "%s", theirs);
    }
    return found;
}

uint64_t hf_part_rows(const slm_config *c, hf_part part, uint64_t n_rows, uint64_t *total)
{
    uint64_t q = (uint64_t)c->n_heads * c->head_dim, kv = (uint64_t)c->n_kv_heads * c->head_dim;
    bool of_qkv = part == HF_Q || part == HF_K || part == HF_V;
    *total = part == HF_WHOLE ? n_rows : of_qkv ? q + 2 * kv : 2 * (uint64_t)c->d_ff;
    switch (part) {
    case HF_K: return q;
    case HF_V: return q + kv;
    case HF_UP: return c->d_ff;
    case HF_WHOLE:
    case HF_Q:
    case HF_GATE: break;
    }
    return 0;
}

bool hf_tensor_ignorable(const char *theirs)
{
    static const char *const endings[] = {
        "rotary_emb.inv_freq",
        "rotary_emb.original_inv_freq",
        "rotary_emb.cos_cached",
        "rotary_emb.sin_cached",
        ".attn.masked_bias",
        ".attention.masked_bias",
        ".attn.bias",
        "position_ids",
    };
    size_t n = strlen(theirs);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        size_t k = strlen(endings[i]);
        if (n >= k && strcmp(theirs + n - k, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}
