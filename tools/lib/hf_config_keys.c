/* hf_config_keys.c - see hf_config_keys.h. */
#include "lib/hf_config_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Read elsewhere, or without influence on what a forward pass computes. */
static const char *const HARMLESS[] = {
    "architectures",
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "attention_bias",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
    "torch_dtype",
    "dtype",
    "sliding_window",
    "use_sliding_window",
    "max_window_layers",
    "layer_types",
    /* training, bookkeeping, other libraries */
    "_name_or_path",
    "_from_model_config",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_implementation",
    "auto_map",
    "chunk_size_feed_forward",
    "embd_pdrop",
    "finetuning_task",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "task_specific_params",
    "tokenizer_class",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
    "use_bfloat16",
    "is_decoder",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "temperature",
    "top_k",
    "top_p",
    "do_sample",
    "max_length",
    "min_length",
    "num_beams",
    "repetition_penalty",
    "length_penalty",
    "max_new_tokens",
};

typedef enum neutral { ONLY_NULL, ONLY_FALSE, ONLY_ZERO, ONLY_ONE } neutral;

/* Features that would change the numbers, with the value that switches them off. */
static const struct {
    const char *key;
    neutral off;
    const char *why;
} SWITCHED[] = {
    {"quantization_config", ONLY_NULL,
     "the weights are already quantized; convert the original 16- or 32-bit checkpoint and use "
     "slm-quantize"},
    {"compression_config", ONLY_NULL, "compressed weights are not supported"},
    {"num_experts", ONLY_ZERO, "mixtures of experts are not supported"},
    {"num_local_experts", ONLY_ZERO, "mixtures of experts are not supported"},
    {"n_routed_experts", ONLY_ZERO, "mixtures of experts are not supported"},
    {"num_experts_per_tok", ONLY_ZERO, "mixtures of experts are not supported"},
    {"moe_intermediate_size", ONLY_NULL, "mixtures of experts are not supported"},
    {"mlp_bias", ONLY_FALSE, "biases in the feed-forward layers are not supported"},
    {"partial_rotary_factor", ONLY_ONE, "rope over part of a head is not supported"},
    {"rotary_pct", ONLY_ONE, "rope over part of a head is not supported"},
    {"rope_interleaved", ONLY_FALSE, "interleaved rope is not supported"},
    {"rope_interleave", ONLY_FALSE, "interleaved rope is not supported"},
    {"use_mrope", ONLY_FALSE, "rope in several sections is not supported"},
    {"no_rope_layers", ONLY_NULL, "layers without rope are not supported"},
    {"no_rope_layer_interval", ONLY_NULL, "layers without rope are not supported"},
    {"attn_logit_softcapping", ONLY_NULL, "soft caps are not supported"},
    {"final_logit_softcapping", ONLY_NULL, "soft caps are not supported"},
    {"query_pre_attn_scalar", ONLY_NULL, "another attention scale is not supported"},
    {"attention_multiplier", ONLY_NULL, "another attention scale is not supported"},
    {"embedding_multiplier", ONLY_ONE, "scaled embeddings are not supported"},
    {"residual_multiplier", ONLY_ONE, "scaled residuals are not supported"},
    {"logits_scaling", ONLY_ONE, "scaled logits are not supported"},
    {"logit_scale", ONLY_ONE, "scaled logits are not supported"},
    {"scale_emb", ONLY_ONE, "scaled embeddings are not supported"},
    {"scale_depth", ONLY_NULL, "scaled residuals are not supported"},
    {"use_qk_norm", ONLY_FALSE, "norms of q and k are not supported in this family"},
    {"qk_layernorm", ONLY_FALSE, "norms of q and k are not supported in this family"},
    {"num_nextn_predict_layers", ONLY_ZERO, "layers that predict several tokens are not supported"},
    {"is_encoder_decoder", ONLY_FALSE, "encoder-decoder models are not supported"},
    {"add_cross_attention", ONLY_FALSE, "cross attention is not supported"},
    {"text_config", ONLY_NULL, "models of several modalities are not supported"},
    {"vision_config", ONLY_NULL, "models of several modalities are not supported"},
    {"audio_config", ONLY_NULL, "models of several modalities are not supported"},
};

static bool is_off(const json_t *value, neutral off)
{
    if (!value || json_is_null(value)) {
        return true;
    }
    switch (off) {
    case ONLY_FALSE: return json_is_false(value);
    case ONLY_ZERO: return json_is_number(value) && json_number_value(value) == 0;
    case ONLY_ONE: return json_is_number(value) && json_number_value(value) == 1;
    case ONLY_NULL: break;
    }
    return false;
}

static bool known(const char *key)
{
    for (size_t i = 0; i < sizeof HARMLESS / sizeof HARMLESS[0]; i++) {
        if (strcmp(HARMLESS[i], key) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof SWITCHED / sizeof SWITCHED[0]; i++) {
        if (strcmp(SWITCHED[i].key, key) == 0) {
            return true;
        }
    }
    return false;
}

int hf_config_check_keys(const char *name, json_t *root, notes *w, failure *f)
{
    for (size_t i = 0; i < sizeof SWITCHED / sizeof SWITCHED[0]; i++) {
        json_t *value = json_object_get(root, SWITCHED[i].key);
        if (!is_off(value, SWITCHED[i].off)) {
            char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
            int code = fail(f, EXIT_INPUT, "%s: %s is %.60s: %s", name, SWITCHED[i].key,
                            shown ? shown : "set", SWITCHED[i].why);
            free(shown);
            return code;
        }
    }
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        if (!json_is_null(value) && !known(key)) {
            note(w, "%s: key \"%.64s\" is not known and has been ignored", name, key);
        }
    }
    if (json_object_get(root, "auto_map")) {
        note(w, "%s: auto_map names code of the model's own, which is never run", name);
    }
    return EXIT_OK;
}
