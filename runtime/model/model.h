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

typedef struct slm_layer {
    const float *attn_norm, *ffn_norm;     /* d_model */
    const float *q_norm, *k_norm;          /* head_dim, or NULL */
    const float *q_bias, *k_bias, *v_bias; /* n_heads * head_dim, n_kv_heads * head_dim, or NULL */
    slm_matrix q, k, v, o;
    slm_matrix gate, up, down;
} slm_layer;

struct slm_model {
    slm_file file;
    slm_config config;
    const slm_kernels *kernels;
    slm_tokenizer *tokenizer; /* NULL if the file has none */
    const slm_chat *chat;     /* NULL if the file has none */
    slm_matrix token_embd, output;
    const float *output_norm; /* d_model */
    slm_layer *layers;        /* n_layers */
    double *rope_frequency;   /* head_dim / 2: radians per position */
    uint64_t memory_bytes;
};

/* Radians per position of each rotated pair, f64: theta^(-2i / head_dim), then the scaling of the
 * configuration (linear: divided by the factor; llama3: by wavelength, as its model card says).
 * frequency: head_dim / 2 doubles. */
void slm_rope_frequencies(const slm_config *config, double *frequency);

#endif
