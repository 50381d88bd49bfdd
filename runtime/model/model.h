/* model.h - a validated file -> named weights that the forward pass can use.
 *
 * Memory of a model, one block drawn from an arena:
 *
 *     | slm_model | tensor directory | name index | tokenizer indices | layers | padded vectors |
 *
 * Weight matrices stay where they are in the file. Vectors whose length is not a multiple of 16 are
 * copied and padded, so that kernels may read whole lines.
 */
#ifndef SLM_MODEL_MODEL_H
#define SLM_MODEL_MODEL_H

#include "base/arena.h"
#include "format/config.h"
#include "kernels/kernels.h"
#include "text/chat.h"
#include "text/tokenizer.h"

/* Weight and bias of a norm, d_model each; weight NULL: there is no norm; bias NULL: RMSNorm. */
typedef struct slm_norm {
    const float *weight, *bias;
} slm_norm;

/* Vectors that a configuration does not call for are NULL, and so is the data of such matrices. */
typedef struct slm_layer {
    slm_norm attn_norm, attn_post_norm, ffn_norm, ffn_post_norm;
    const float *q_norm, *k_norm;          /* head_dim, or the width of all heads */
    const float *q_bias, *k_bias, *v_bias; /* n_heads * head_dim, n_kv_heads * head_dim */
    const float *o_bias;                   /* d_model */
    const float *gate_bias, *up_bias;      /* d_ff */
    const float *down_bias;                /* d_model */
    slm_matrix q, k, v, o;
    slm_matrix gate, up, down;
    uint32_t flags; /* SLM_LAYER_* */
} slm_layer;

struct slm_model {
    slm_file file;
    slm_config config;
    const slm_kernels *kernels;
    slm_tokenizer *tokenizer; /* NULL if the file has none */
    const slm_chat *chat;     /* NULL if the file has none */
    slm_matrix token_embd, position_embd, output;
    slm_norm output_norm;
    slm_layer *layers;       /* n_layers */
    uint32_t rope_dim;       /* rotated elements of a head */
    double *rope_frequency;  /* rope_dim / 2: radians per position */
    double *local_frequency; /* the same for layers with local rope, or NULL */
    uint64_t memory_bytes;
    bool data_later;    /* and not there yet */
    uint32_t n_checked; /* tensors, as the data arrives */
    slm_arena vectors;  /* where padded copies of vectors are to go */
};

/* Radians per position of each rotated pair, f64: theta^(-2i / n), n the rotated elements, then the
 * scaling of the configuration (linear: divided by the factor; llama3: by wavelength, as its model
 * card says; divisors: each by its own). local: with rope_local_theta and without scaling.
 * frequency: n / 2 doubles. */
void slm_rope_frequencies(const slm_config *config, bool local, double *frequency);

#endif
