/* kernels.h - the table of kernels and the numeric contract of each slot.
 *
 * Every variant gives the same bits as ref.c for every slot (tests/kernels/check_kernels.c). Rules
 * for all floating point: round to nearest, each operation rounded on its own (-ffp-contract=off),
 * no reordering. "Lanes" means 16 virtual accumulators: element i goes to lane i mod 16, in
 * ascending i; then lane l += lane l+8 (l < 8), l += l+4 (l < 4), l += l+2 (l < 2), 0 += 1; that
 * is the sum. Missing elements count as +0.
 *
 * Buffers: activations, outputs and scratch are 64-byte aligned with row strides that are multiples
 * of 16 elements; rows of f32 inputs are padded with zeros to 16 elements.
 */
#ifndef SLM_KERNELS_KERNELS_H
#define SLM_KERNELS_KERNELS_H

#include "quant/blocks.h"
#include "slm.h"

enum {
    SLM_KV_BLOCK = 32, /* positions in a block of the KV cache and in a chunk of attention */
    SLM_MATMUL_SCRATCH = 98304 /* bytes of scratch each thread offers to matmul */
};

/* A weight matrix: n_rows x n_cols, stored as quant/blocks.h says. */
typedef struct slm_matrix {
    const uint8_t *data; /* 64-byte aligned */
    slm_type type;
    uint32_t n_rows, n_cols;
} slm_matrix;

typedef struct slm_attention_args {
    const float *q; /* [n_tokens][n_heads][head_dim], rope applied; rows q_stride floats apart */
    float *out;     /* same shape and stride */
    size_t q_stride;
    const uint8_t *k, *v;   /* this layer's pools of blocks, see "KV cache" below */
    const uint32_t *blocks; /* block table: position p is number p % 32 of block blocks[p / 32] */
    uint32_t kv_type;       /* slm_kv_type */
    size_t kv_row_bytes;    /* n_kv_heads * slm_kv_head_bytes(kv_type, head_dim) */
    uint32_t n_heads, n_kv_heads, head_dim;
    float scale;     /* multiplies q.k */
    uint32_t pos0;   /* position of token 0 */
    uint32_t window; /* 0: all earlier positions; else only the last `window` of them */
    float softcap;   /* 0: none; else scores become softcap * tanh(score / softcap) */
} slm_attention_args;

typedef struct slm_kernels {
    const char *name; /* "ref", "avx2", "avx512", "simd128", ... */

    /* Bytes of the quantized activations of n_tokens rows of n_cols (multiple of 32) columns.
     * The form is the variant's own; only its own matmul reads it. */
    size_t (*act_bytes)(uint32_t n_tokens, uint32_t n_cols);

    /* Quantizes rows t0..t1-1 of x[n_tokens][n_cols] (rows ldx apart) into act, per super-block of
     * 256 (the last one short, absent elements 0): a = max |x| taken on bit patterns; if a < 2^-100
     * d = 0 and all q = 0; else d = a / 127, q = the integer nearest (ties to even) to
     * x * (127 / a). Distinct token ranges may run in parallel. */
    void (*act_quantize)(const float *x, size_t ldx, uint32_t t0, uint32_t t1, uint32_t n_tokens,
                         uint32_t n_cols, void *act);

    /* Rows 16 g0 .. 16 g1 - 1 of y = W a for all tokens, W of a block type.
     * y[t * ldy + row]; rows of the last group beyond n_rows are written too (ldy covers them).
     * Per super-block b in ascending order, with exact integers I:
     *   Q4_K, Q5_K:  y += dA * (d * (f32)I1 - dmin * (f32)I2), I1 = sum_j sc_j sum_i q_i a_i,
     *                I2 = sum_j m_j sum_i a_i over sub-blocks j of 32
     *   Q6_K:        y += dA * (d * (f32)I), I = sum_j sc_j sum_i (q_i - 32) a_i, j of 16 elements
     *   Q8_0, Q4_0:  t = 0; for each block j of 32: t += d_j * (f32)I_j; then y += dA * t
     *                (Q4_0: codes minus 8)
     * starting from y = +0. dA is the activations' d of the super-block. */
    void (*matmul_q)(const slm_matrix *w, uint32_t g0, uint32_t g1, const void *act,
                     uint32_t n_tokens, float *y, size_t ldy, void *scratch);

    /* The same for F32, F16 and BF16 weights: y = sum over lanes of (f32)w_i * x_i. Rows r0..r1-1
     * exactly. x[n_tokens] rows of n_cols, ldx apart, zero-padded to 16. */
    void (*matmul_f)(const slm_matrix *w, uint32_t r0, uint32_t r1, const float *x, size_t ldx,
                     uint32_t n_tokens, float *y, size_t ldy);

    /* out_i = (x_i * s) * w_i, s = 1 / sqrt(lanes(x_i * x_i) / n + eps). out may be x; out is
     * zero-padded to 16. w: n f32, padded to 16 readable elements. */
    void (*rms_norm)(const float *x, const float *w, uint32_t n, float eps, float *out);

    /* out_i = ((x_i - mean) * s) * w_i + b_i, mean = lanes(x_i) / n,
     * s = 1 / sqrt(lanes((x_i - mean)^2) / n + eps). Buffers as for rms_norm; b: as w. */
    void (*layer_norm)(const float *x, const float *w, const float *b, uint32_t n, float eps,
                       float *out);

    /* Rotates one head in place: (x_i, x_{i+n/2}) -> (x_i c_i - x_{i+n/2} s_i,
     * x_{i+n/2} c_i + x_i s_i), i < n/2. No alignment or padding. */
    void (*rope)(float *x, const float *cosines, const float *sines, uint32_t n);

    /* gate_i = silu(gate_i) * up_i, silu(z) = z / (1 + exp(-z)) with slm_exp of base/mathf.h. */
    void (*silu_mul)(float *gate, const float *up, uint32_t n);

    /* gate_i = gelu(gate_i), times up_i unless up is NULL; gelu(z) = z / (1 + exp(-2u)),
     * u = 0.7978845608f * (z + 0.044715f * z * z * z): 0.5 z (1 + tanh u), products left to right.
     */
    void (*gelu_mul)(float *gate, const float *up, uint32_t n);

    /* x_i = cap * tanh(x_i / cap) with slm_tanh. */
    void (*softcap)(float *x, uint32_t n, float cap);

    /* x_i += y_i. */
    void (*add)(float *x, const float *y, uint32_t n);

    /* Attention of tokens t0..t1-1 (position pos0 + t sees positions 0..pos0 + t) for the query
     * heads of one kv head. Per query head, over chunks of SLM_KV_BLOCK absolute positions in
     * ascending order, with m = -inf, o = 0 and 16 sums l = 0 at first:
     *   s_i = (sum of q_d * k_id from +0 on, in ascending d) * scale, soft-capped if there is a cap
     *   m' = max(m, max s_i);  c = exp(m - m');  p_i = exp(s_i - m')
     *   l_j = l_j * c, then l_j += p_i for the i with i mod 16 = j in ascending i
     *   o_d = o_d * c + 0 (so that no -0 is left), then o_d += p_i * v_id in ascending i;  m = m'
     * and out_d = o_d / (sum of the l_j as of lanes). Masked positions take no part; as no o_d or
     * l_j is -0, leaving them out and adding p_i = +0 are the same.
     * scratch: SLM_MATMUL_SCRATCH bytes. */
    void (*attention)(const slm_attention_args *a, uint32_t kv_head, uint32_t t0, uint32_t t1,
                      void *scratch);
} slm_kernels;

/* ---- KV cache ----------------------------------------------------------------------------------
 * A block holds SLM_KV_BLOCK positions of one layer's keys or values, head after head.
 *   values of a head: [position][d]
 *   keys of a head:   [d][position], so that a vector holds the same d of neighbouring positions
 * Elements are F32, F16 (nearest even) or Q8_0: blocks of 32 dimensions (the last may be short)
 * with a half scale d = max/127 (cut to 65504) and int8 codes, nearest even of x / (f32)d within
 * -127..127, 0 if d is 0. The scale comes before its codes, in keys: [position] scales, then
 * [d][position] codes. */

/* Bytes of one head (head_dim elements) of one position. */
size_t slm_kv_head_bytes(uint32_t kv_type, uint32_t head_dim);

/* Stores n_heads heads of f32, one after the other at x, as number `position` of a block. */
void slm_kv_store_keys(uint32_t kv_type, const float *x, uint32_t n_heads, uint32_t head_dim,
                       uint8_t *block, uint32_t position);
void slm_kv_store_values(uint32_t kv_type, const float *x, uint32_t n_heads, uint32_t head_dim,
                         uint8_t *block, uint32_t position);

/* Reads one head back to f32 exactly as attention does. */
void slm_kv_load_key(uint32_t kv_type, const uint8_t *block, uint32_t head, uint32_t head_dim,
                     uint32_t position, float *x);
void slm_kv_load_value(uint32_t kv_type, const uint8_t *block, uint32_t head, uint32_t head_dim,
                       uint32_t position, float *x);

/* The same from a head whose elements follow each other, as values do. */
void slm_kv_decode(uint32_t kv_type, const uint8_t *head, uint32_t n, float *x);

/* The variants compiled into this build that this machine can run, best last; ref is first, but
 * in WebAssembly. Returns their number; table[] is static storage. */
uint32_t slm_kernels_available(const slm_kernels *const **table);

/* The variant of that name, or the best one for NULL; NULL if it is not available. */
const slm_kernels *slm_kernels_select(const char *name);

#endif
