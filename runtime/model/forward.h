/* forward.h - token ids -> logits: one pass of a chunk of tokens through all layers.
 *
 * Buffers of a forward pass, drawn from one arena; T = n_chunk rows each, rows padded to 16 floats:
 *
 *     | x, h, y: d_model | q, att: n_heads head_dim | k, v: n_kv_heads head_dim | gate, up: d_ff |
 *     | cosines, sines: head_dim / 2 | act: quantized activations | logits: LOGITS_TILE x n_vocab |
 *     | scratch: SLM_MATMUL_SCRATCH for each thread |
 */
#ifndef SLM_MODEL_FORWARD_H
#define SLM_MODEL_FORWARD_H

#include "model/model.h"

enum { SLM_LOGITS_TILE = 8 }; /* positions whose logits are computed together */

typedef struct slm_forward {
    const slm_model *model;
    slm_team *team;
    uint32_t n_threads; /* scratch is there for this many */
    uint32_t n_chunk;   /* tokens that fit the buffers */
    uint32_t kv_type;
    size_t kv_row_bytes;
    size_t ld_model, ld_q, ld_kv, ld_ff, ld_vocab, ld_rope; /* row strides in floats */
    float *x;                                               /* residual stream */
    float *h;                                               /* normalised */
    float *y; /* what the last block adds to x; pending until the next norm */
    float *q, *att, *k, *v, *gate, *up;
    float *cosines, *sines;             /* ld_rope apart, a row for each token */
    float *local_cosines, *local_sines; /* of layers with local rope, or NULL */
    float *logits;
    void *act;
    uint8_t *scratch;
} slm_forward;

/* Where the keys and values of one sequence live. Layer i's pools begin layer_bytes * i further. */
typedef struct slm_kv_view {
    uint8_t *k, *v;
    size_t layer_bytes;
    const uint32_t *blocks; /* block table of the sequence */
} slm_kv_view;

/* Draws the buffers; model, team, n_threads, n_chunk and kv_type are set by the caller. Clears them
 * (their padding must be zero) unless the arena is measuring. */
void slm_forward_layout(slm_forward *f, slm_arena *arena);

/* Runs n tokens (1..n_chunk, ids valid) at positions pos0.. through layers first..end-1: stores
 * their keys and values and leaves the residual stream in x, y, where the next layers find it. */
void slm_forward_layers(slm_forward *f, const slm_kv_view *kv, const int32_t *ids, uint32_t n,
                        uint32_t pos0, uint32_t first, uint32_t end);

/* Logits of tokens t0..t0+n-1 of the last chunk, n <= SLM_LOGITS_TILE, into f->logits, ld_vocab
 * apart. Once per token and chunk. */
void slm_forward_logits(slm_forward *f, uint32_t t0, uint32_t n);

#endif
