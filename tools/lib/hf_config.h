/* hf_config.h - config.json and generation_config.json of a Hugging Face folder -> slm_config, and
 * the table of model families that says which keys and tensor names mean what.
 *
 * A key that is absent (or null) has the value that the transformers library's configuration class
 * gives it, except sizes and token ids, which are never assumed: hidden_size, intermediate_size,
 * num_hidden_layers, num_attention_heads and vocab_size must be there. What a family's table does
 * not cover is refused by the name of its key.
 */
#ifndef SLM_TOOLS_HF_CONFIG_H
#define SLM_TOOLS_HF_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/config.h"
#include "lib/convert_notes.h"
#include "lib/failure.h"

/* Which layers have a sliding window when layer_types does not say so. */
typedef enum hf_window {
    HF_WINDOW_NONE,      /* sliding_window means nothing to this family */
    HF_WINDOW_ALL,       /* all layers, unless it is null */
    HF_WINDOW_FROM,      /* with use_sliding_window: from layer max_window_layers on */
    HF_WINDOW_NO_ROPE,   /* with use_sliding_window: the layers without rope */
    HF_WINDOW_ALTERNATE, /* the first layer and every second after it */
    HF_WINDOW_ALL_BUT    /* all but the last of every sliding_window_pattern */
} hf_window;

/* Which rows of their tensor are ours. */
typedef enum hf_part { HF_WHOLE, HF_Q, HF_K, HF_V, HF_GATE, HF_UP } hf_part;

/* A tensor: our name and theirs. '#' stands for the layer's number. */
typedef struct hf_name {
    const char *ours, *theirs;
    hf_part part;
    bool turned;   /* stored inputs x outputs */
    bool less_one; /* stored less one */
} hf_name;

/* Keys of config.json whose names or whose use differ between families. */
enum {
    HF_VOCAB,
    HF_WIDTH,
    HF_LAYERS,
    HF_HEADS,
    HF_KV_HEADS,
    HF_HEAD_DIM,
    HF_FF,
    HF_CONTEXT,
    HF_NORM_EPS,
    HF_ACTIVATION,
    HF_QKV_BIAS,
    HF_OUTPUT_BIAS,
    HF_FFN_BIAS,
    HF_ROTARY_FACTOR,   /* part of a head that is rotated */
    HF_LOCAL_THETA,     /* rope base of layers with a window */
    HF_QUERY_SCALAR,    /* scores are divided by its root */
    HF_ATTENTION_SCALE, /* multiplies scores */
    HF_EMBEDDING_SCALE,
    HF_RESIDUAL_SCALE,
    HF_LOGIT_DIVISOR,
    HF_ATTENTION_CAP,
    HF_LOGIT_CAP,
    HF_GLOBAL_EVERY,   /* layers to one without window */
    HF_NO_ROPE_LAYERS, /* list: 0 for layers without rope */
    HF_NO_ROPE_EVERY,  /* layers to one without rope */
    HF_N_KEYS
};

/* What the configuration class assumes of keys that are absent. 0, false: none. */
typedef struct hf_defaults {
    uint32_t context, head_dim, window; /* head_dim 0: width / heads */
    uint32_t kv_heads;                  /* 0: as many as heads */
    uint32_t ff_widths;                 /* feed-forward width in widths of the model */
    float norm_eps, theta, local_theta, rotary_factor, query_scalar, attention_cap, logit_cap;
    const char *activation;
    bool tied, biases;
} hf_defaults;

/* One model family. A new one that needs no new mathematics is one more entry. */
typedef struct hf_family {
    const char *architecture; /* in the .slm file */
    const char *model_type;   /* in config.json */
    const char *classes[3];   /* "architectures" in config.json; NULL ends */
    const char *const *keys;  /* HF_N_KEYS names; NULL: has no such key */
    const hf_name *names[5];  /* lists that end with an empty entry; NULL ends */
    const char *prefix;       /* of their names, absent from exports of the bare decoder */
    hf_defaults absent;
    /* What the layers have. */
    bool always_qkv_bias, always_output_bias, always_ffn_bias; /* without a key */
    bool layer_norm, no_pre_norm, post_norm, no_gate, learned_positions;
    bool embedding_root; /* embeddings are multiplied by the root of the width */
    slm_qk_norm qk_norm;
    hf_window window;
} hf_family;

/* The table; *n entries. Static. */
const hf_family *hf_families(uint32_t *n);

typedef struct hf_config {
    const hf_family *family;
    slm_config config; /* n_vocab as the key says: the embedding may have more rows */
    char dtype[32];    /* "torch_dtype" or "dtype"; "" if neither */
} hf_config;

/* Parses config.json. name: for messages. Errors: EXIT_INPUT naming the key. */
int hf_config_read(const char *name, const char *text, size_t n_bytes, hf_config *hf, notes *w,
                   failure *f);

/* Adds what generation_config.json says: sampling defaults, more ids that end a text. */
int hf_config_generation(const char *name, const char *text, size_t n_bytes, hf_config *hf,
                         notes *w, failure *f);

/* Their name of one of our tensors into out (SLM_MAX_NAME bytes), with or without the family's
 * prefix. NULL if the family has no such tensor. */
const hf_name *hf_tensor_name(const hf_family *family, const char *ours, bool with_prefix,
                              char *out);

/* The first of our rows in a tensor that has *total rows, for a part of n_rows. */
uint64_t hf_part_rows(const slm_config *c, hf_part part, uint64_t n_rows, uint64_t *total);

/* True for tensors that hold nothing that a model needs: caches of values that follow from the
 * configuration. */
bool hf_tensor_ignorable(const char *theirs);

#endif
