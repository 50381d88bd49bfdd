/* hf_config.h - config.json and generation_config.json of a Hugging Face folder -> slm_config, and
 * the table of model families that says which keys and tensor names mean what.
 *
 * A key that is absent (or null) has the value that the transformers library's configuration class
 * gives it, except sizes and token ids, which are never assumed: hidden_size, intermediate_size,
 * num_hidden_layers, num_attention_heads and vocab_size must be there; num_key_value_heads absent
 * means as many as heads. What a family's table does not cover is refused by the name of its key.
 */
#ifndef SLM_TOOLS_HF_CONFIG_H
#define SLM_TOOLS_HF_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format/config.h"
#include "lib/convert_notes.h"
#include "lib/failure.h"

typedef enum hf_switch { HF_NO, HF_YES, HF_BY_KEY } hf_switch;

typedef enum hf_window {
    HF_WINDOW_NONE,   /* sliding_window means nothing to this family */
    HF_WINDOW_ALWAYS, /* every layer has it unless it is null */
    HF_WINDOW_FLAG    /* only with use_sliding_window */
} hf_window;

/* A tensor: our name and theirs. '#' stands for the layer's number. */
typedef struct hf_name {
    const char *ours, *theirs;
} hf_name;

/* The names under which a family's config.json keeps its sizes; NULL: has no such key. */
typedef struct hf_keys {
    const char *vocab, *width, *layers, *heads, *kv_heads, *head_dim, *ff, *context, *norm_eps,
        *activation;
} hf_keys;

/* One model family. A new one that needs no new mathematics is one more entry. */
typedef struct hf_family {
    const char *architecture; /* in the .slm file */
    const char *model_type;   /* in config.json */
    const char *classes[3];   /* "architectures" in config.json; NULL ends */
    const hf_keys *keys;
    const hf_name *names;  /* ends with {NULL, NULL} */
    const char *prefix;    /* of their names, absent from exports of the bare decoder */
    const char *embedding; /* their names of the two tensors that may be tied */
    const char *output;
    const char *zero_bias; /* ending of biases that must be zero: there is no place for them */
    /* What the configuration class assumes. */
    uint32_t default_context;
    uint32_t default_head_dim; /* 0: width / heads */
    uint32_t default_window;   /* HF_WINDOW_ALWAYS only; 0: none */
    /* What the layers have. */
    hf_switch qkv_bias; /* HF_BY_KEY: attention_bias */
    bool qk_norm;
    hf_window window;
} hf_family;

/* The table; *n entries. Static. */
const hf_family *hf_families(uint32_t *n);

typedef struct hf_config {
    const hf_family *family;
    slm_config config; /* n_vocab as the key says: the embedding may have more rows */
    bool attention_bias;
    char dtype[32]; /* "torch_dtype" or "dtype"; "" if neither */
} hf_config;

/* Parses config.json. name: for messages. Errors: EXIT_INPUT naming the key. */
int hf_config_read(const char *name, const char *text, size_t n_bytes, hf_config *hf, notes *w,
                   failure *f);

/* Adds what generation_config.json says: sampling defaults, more ids that end a text. */
int hf_config_generation(const char *name, const char *text, size_t n_bytes, hf_config *hf,
                         notes *w, failure *f);

/* Their name of one of our tensors into out (SLM_MAX_NAME bytes), with or without the family's
 * prefix. False if the family has no such tensor. */
bool hf_tensor_name(const hf_family *family, const char *ours, bool with_prefix, char *out);

/* True for tensors that hold nothing that a model needs: caches of values that follow from the
 * configuration. */
bool hf_tensor_ignorable(const char *theirs);

#endif
