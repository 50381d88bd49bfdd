/* hf_config_keys.c - which keys of config.json are harmless, and which must have the one value that
 * leaves the numbers as this project computes them.
 */
#include "lib/hf_config_parts.h"
#include "lib/json_in.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Read elsewhere, or without influence on what a forward pass computes. */
static const char *const HARMLESS[] = {
    "architectures",
    "model_type",
    "hidden_act", /* of families that read hidden_activation */
    "head_dim",   /* of families that have no such key: width / heads */
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
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
    "attn_pdrop",
    "auto_map",
    "cache_implementation",
    "chunk_size_feed_forward",
    "embd_pdrop",
    "embedding_dropout",
    "finetuning_task",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "label2id",
    "n_ctx",
    "original_max_position_embeddings",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "reorder_and_upcast_attn",
    "resid_dropout",
    "residual_dropout",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
    "tokenizer_class",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
    "norm_type", /* see check_texts */
    "mlp_type",
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

typedef enum neutral { ONLY_NULL, ONLY_FALSE, ONLY_ZERO, ONLY_ONE, ONLY_TRUE } neutral;

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
    {"attention_bias", ONLY_FALSE, "this family has no such biases"},
    {"mlp_bias", ONLY_FALSE, "this family has no such biases"},
    {"use_bias", ONLY_FALSE, "this family has no such biases"},
    {"use_qkv_bias", ONLY_FALSE, "this family has no such biases"},
    {"partial_rotary_factor", ONLY_ONE, "rope over part of a head is not supported in this family"},
    {"rotary_pct", ONLY_ONE, "rope over part of a head is not supported in this family"},
    {"rope_pct", ONLY_ONE, "rope over part of a head is not supported in this family"},
    {"rope_interleaved", ONLY_FALSE, "interleaved rope is not supported"},
    {"rope_interleave", ONLY_FALSE, "interleaved rope is not supported"},
    {"use_mrope", ONLY_FALSE, "rope in several sections is not supported"},
    {"no_rope_layers", ONLY_NULL, "layers without rope are not supported in this family"},
    {"no_rope_layer_interval", ONLY_NULL, "layers without rope are not supported in this family"},
    {"attn_logit_softcapping", ONLY_NULL, "soft caps are not supported in this family"},
    {"final_logit_softcapping", ONLY_NULL, "soft caps are not supported in this family"},
    {"query_pre_attn_scalar", ONLY_NULL, "another attention scale is not supported in this family"},
    {"attention_multiplier", ONLY_NULL, "another attention scale is not supported in this family"},
    {"embedding_multiplier", ONLY_ONE, "scaled embeddings are not supported in this family"},
    {"residual_multiplier", ONLY_ONE, "scaled residuals are not supported in this family"},
    {"logits_scaling", ONLY_ONE, "scaled logits are not supported in this family"},
    {"logit_scale", ONLY_ONE, "scaled logits are not supported in this family"},
    {"scale_emb", ONLY_ONE, "scaled embeddings are not supported in this family"},
    {"scale_depth", ONLY_NULL, "scaled residuals are not supported in this family"},
    {"use_qk_norm", ONLY_FALSE, "norms of q and k are not supported in this family"},
    {"qk_layernorm", ONLY_FALSE, "norms of q and k are not supported in this family"},
    {"use_parallel_residual", ONLY_FALSE, "parallel blocks are not supported"},
    {"parallel_attn", ONLY_FALSE, "parallel blocks are not supported"},
    {"rope_local_base_freq", ONLY_NULL, "a second rope base is not supported in this family"},
    {"sliding_window_pattern", ONLY_NULL, "windows by layer are not supported in this family"},
    {"use_bidirectional_attention", ONLY_FALSE, "attention to later positions is not supported"},
    {"scale_attn_weights", ONLY_TRUE, "attention without scale is not supported"},
    {"scale_attn_by_inverse_layer_idx", ONLY_FALSE, "scores scaled by layer are not supported"},
    {"clip_qkv", ONLY_NULL, "clipped q, k and v are not supported"},
    {"alibi", ONLY_FALSE, "attention biased by distance is not supported"},
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
    case ONLY_TRUE: return json_is_true(value);
    case ONLY_ZERO: return json_is_number(value) && json_number_value(value) == 0;
    case ONLY_ONE: return json_is_number(value) && json_number_value(value) == 1;
    case ONLY_NULL: break;
    }
    return false;
}

static bool family_reads(const hf_family *family, const char *key)
{
    for (int i = 0; i < HF_N_KEYS; i++) {
        if (family->keys[i] && strcmp(family->keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static bool known(const hf_family *family, const char *key)
{
    if (family_reads(family, key)) {
        return true;
    }
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

/* Keys whose one known text is what this project computes. */
static int check_texts(reading *r)
{
    static const char *const texts[][2] = {{"norm_type", "layer_norm"}, {"mlp_type", "default"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *value = texts[i][1];
        int code = json_in_string(r->name, r->root, texts[i][0], &value, NULL, r->f);
        if (code != EXIT_OK) {
            return code;
        }
        if (strcmp(value, texts[i][1]) != 0) {
            return fail(r->f, EXIT_INPUT, "%s: %s \"%.60s\" is not supported (supported: %s)",
                        r->name, texts[i][0], value, texts[i][1]);
        }
    }
    return EXIT_OK;
}

int hf_config_check_keys(reading *r)
{
    const hf_family *family = r->hf->family;
    const char *name = r->name;
    json_t *root = r->root;
    notes *w = r->w;
    for (size_t i = 0; i < sizeof SWITCHED / sizeof SWITCHED[0]; i++) {
        json_t *value = json_object_get(root, SWITCHED[i].key);
        if (!family_reads(family, SWITCHED[i].key) && !is_off(value, SWITCHED[i].off)) {
            char *shown = json_in_text(value);
            int code = fail(r->f, EXIT_INPUT, "%s: %s is %.60s: %s", name, SWITCHED[i].key,
                            shown ? shown : "set", SWITCHED[i].why);
            free(shown);
            return code;
        }
    }
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        if (!json_is_null(value) && !known(family, key)) {
            note(w, "%s: key \"%.64s\" is not known and has been ignored", name, key);
        }
    }
    if (json_object_get(root, "auto_map")) {
        note(w, "%s: auto_map names code of the model's own, which is never run", name);
    }
    return check_texts(r);
}
