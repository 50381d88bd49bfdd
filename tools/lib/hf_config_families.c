/* hf_config_families.c - the model families as data: keys, tensor names, defaults. */
#include <stdio.h>
#include <string.h>

#include "lib/hf_config.h"

static const hf_keys COMMON_KEYS = {
    .vocab = "vocab_size",
    .width = "hidden_size",
    .layers = "num_hidden_layers",
    .heads = "num_attention_heads",
    .kv_heads = "num_key_value_heads",
    .head_dim = "head_dim",
    .ff = "intermediate_size",
    .context = "max_position_embeddings",
    .norm_eps = "rms_norm_eps",
    .activation = "hidden_act",
};

/* Decoder with separate q, k, v and gated feed-forward, as Llama's classes name it. */
static const hf_name LLAMA_NAMES[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"blk.#.attn_norm.weight", "model.layers.#.input_layernorm.weight"},
    {"blk.#.attn_q.weight", "model.layers.#.self_attn.q_proj.weight"},
    {"blk.#.attn_q.bias", "model.layers.#.self_attn.q_proj.bias"},
    {"blk.#.attn_k.weight", "model.layers.#.self_attn.k_proj.weight"},
    {"blk.#.attn_k.bias", "model.layers.#.self_attn.k_proj.bias"},
    {"blk.#.attn_v.weight", "model.layers.#.self_attn.v_proj.weight"},
    {"blk.#.attn_v.bias", "model.layers.#.self_attn.v_proj.bias"},
    {"blk.#.attn_q_norm.weight", "model.layers.#.self_attn.q_norm.weight"},
    {"blk.#.attn_k_norm.weight", "model.layers.#.self_attn.k_norm.weight"},
    {"blk.#.attn_output.weight", "model.layers.#.self_attn.o_proj.weight"},
    {"blk.#.ffn_norm.weight", "model.layers.#.post_attention_layernorm.weight"},
    {"blk.#.ffn_gate.weight", "model.layers.#.mlp.gate_proj.weight"},
    {"blk.#.ffn_up.weight", "model.layers.#.mlp.up_proj.weight"},
    {"blk.#.ffn_down.weight", "model.layers.#.mlp.down_proj.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
    {NULL, NULL},
};

#define LLAMA_LIKE                                                                                 \
    .keys = &COMMON_KEYS, .names = LLAMA_NAMES, .prefix = "model.",                                \
    .embedding = "model.embed_tokens.weight", .output = "lm_head.weight",                          \
    .zero_bias = ".self_attn.o_proj.bias"

static const hf_family FAMILIES[] = {
    {
        LLAMA_LIKE,
        .architecture = "llama",
        .model_type = "llama",
        .classes = {"LlamaForCausalLM", "LlamaModel"},
        .default_context = 2048,
        .qkv_bias = HF_BY_KEY,
    },
    {
        LLAMA_LIKE,
        .architecture = "mistral",
        .model_type = "mistral",
        .classes = {"MistralForCausalLM", "MistralModel"},
        .default_context = 131072,
        .default_window = 4096,
        .window = HF_WINDOW_ALWAYS,
    },
    {
        LLAMA_LIKE,
        .architecture = "qwen2",
        .model_type = "qwen2",
        .classes = {"Qwen2ForCausalLM", "Qwen2Model"},
        .default_context = 32768,
        .qkv_bias = HF_YES,
        .window = HF_WINDOW_FLAG,
    },
    {
        LLAMA_LIKE,
        .architecture = "qwen3",
        .model_type = "qwen3",
        .classes = {"Qwen3ForCausalLM", "Qwen3Model"},
        .default_context = 32768,
        .default_head_dim = 128,
        .qkv_bias = HF_BY_KEY,
        .qk_norm = true,
        .window = HF_WINDOW_FLAG,
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

bool hf_tensor_name(const hf_family *family, const char *ours, bool with_prefix, char *out)
{
    for (const hf_name *n = family->names; n->ours; n++) {
        uint32_t layer = 0;
        if (!matches(n->ours, ours, &layer)) {
            continue;
        }
        const char *theirs = n->theirs, *hash = strchr(theirs, '#');
        size_t n_prefix = strlen(family->prefix);
        if (!with_prefix && strncmp(theirs, family->prefix, n_prefix) == 0) {
            theirs += n_prefix;
        }
        if (hash) {
            snprintf(out, SLM_MAX_NAME, "%.*s%u%s", (int)(hash - theirs), theirs, layer, hash + 1);
        } else {
            snprintf(out, SLM_MAX_NAME, "%s", theirs);
        }
        return true;
    }
    return false;
}

bool hf_tensor_ignorable(const char *theirs)
{
    static const char *const endings[] = {
        "rotary_emb.inv_freq",   "rotary_emb.original_inv_freq",
        "rotary_emb.cos_cached", "rotary_emb.sin_cached",
        ".attn.masked_bias",     ".attention.masked_bias",
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
