/* float_ops.h - the floating-point slots over 16 virtual lanes, written once; each variant includes
 * it after its isa_*.h. Operations and their order are those of ref.c.
 */
#ifndef SLM_KERNELS_FLOAT_OPS_H
#define SLM_KERNELS_FLOAT_OPS_H

#include "base/bytes.h"
#include "base/mathf.h"
#include "kernels/vectors.h"

/* ---- Weights in F32, F16, BF16 --------------------------------------------------------------- */

enum { FLOAT_FEW_TOKENS = 4 };

INLINE lanes lanes_load_as(slm_type type, const uint8_t *p)
{
    lanes r;
    UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
    {
        if (type == SLM_TYPE_F32) {
            r.v[i] = vf_load(p + i * VB);
        } else if (type == SLM_TYPE_F16) {
            r.v[i] = vf_load_halves(p + i * VL * 2);
        } else {
            typedef uint16_t half_vector __attribute__((vector_size(VECTOR_LANES * 2)));
            half_vector h;
            memcpy(&h, p + i * VL * 2, sizeof h);
            r.v[i] = (vf)(__builtin_convertvector(h, vu) << 16);
        }
    }
    return r;
}

/* n_rows x n_tokens sums at once, so that each load is used several times. */
INLINE void float_tile(slm_type type, const uint8_t *w, size_t row_bytes, uint32_t n_cols,
                       uint32_t n_rows, const float *x, size_t ldx, uint32_t n_tokens, float *y,
                       size_t ldy)
{
    lanes sum[FLOAT_TILE_TOKENS][FLOAT_TILE_ROWS];
    UNROLL for (uint32_t t = 0; t < n_tokens; t++)
    {
        UNROLL for (uint32_t r = 0; r < n_rows; r++)
        {
            sum[t][r] = lanes_zero();
        }
    }
    for (uint32_t i = 0; i < n_cols; i += 16) {
        lanes row[FLOAT_TILE_ROWS];
        UNROLL for (uint32_t r = 0; r < n_rows; r++)
        {
            row[r] =
                lanes_load_as(type, w + r * row_bytes + i * (type == SLM_TYPE_F32 ? 4ul : 2ul));
        }
        UNROLL for (uint32_t t = 0; t < n_tokens; t++)
        {
            lanes a = lanes_load(x + t * ldx + i);
            UNROLL for (uint32_t r = 0; r < n_rows; r++)
            {
                sum[t][r] = lanes_add_product(sum[t][r], row[r], a);
            }
        }
    }
    UNROLL for (uint32_t t = 0; t < n_tokens; t++)
    {
        UNROLL for (uint32_t r = 0; r < n_rows; r++)
        {
            y[t * ldy + r] = lanes_sum(sum[t][r]);
        }
    }
}

INLINE void float_rows(slm_type type, const slm_matrix *w, uint32_t row, uint32_t n_rows,
                       const float *x, size_t ldx, uint32_t n_tokens, float *y, size_t ldy)
{
    size_t row_bytes = (size_t)slm_row_bytes(type, w->n_cols);
    const uint8_t *data = w->data + row * row_bytes;
    uint32_t t = 0;
    for (; t + FLOAT_TILE_TOKENS <= n_tokens; t += FLOAT_TILE_TOKENS) {
        float_tile(type, data, row_bytes, w->n_cols, n_rows, x + t * ldx, ldx, FLOAT_TILE_TOKENS,
                   y + t * ldy + row, ldy);
    }
    for (; t < n_tokens; t++) {
        float_tile(type, data, row_bytes, w->n_cols, n_rows, x + t * ldx, ldx, 1, y + t * ldy + row,
                   ldy);
    }
}

/* A few tokens wait for memory, and take one row at a time: of several, lines would be missed in
 * turn, and come at a third of the speed. Many tokens share several rows, which come first. */
INLINE void matmul_f_type(slm_type type, const slm_matrix *w, uint32_t r0, uint32_t r1,
                          const float *x, size_t ldx, uint32_t n_tokens, float *y, size_t ldy)
{
    uint32_t row = r0, row_bytes = (uint32_t)slm_row_bytes(type, w->n_cols);
    bool few = n_tokens <= FLOAT_FEW_TOKENS;
    for (; FLOAT_TILE_ROWS > 1 && !few && row + FLOAT_TILE_ROWS <= r1; row += FLOAT_TILE_ROWS) {
        read_lines(w->data + row * (size_t)row_bytes, FLOAT_TILE_ROWS * row_bytes / SLM_LINE_BYTES);
        float_rows(type, w, row, FLOAT_TILE_ROWS, x, ldx, n_tokens, y, ldy);
    }
    for (; row < r1; row++) {
        float_rows(type, w, row, 1, x, ldx, n_tokens, y, ldy);
    }
}

static void matmul_f(const slm_matrix *w, uint32_t r0, uint32_t r1, const float *x, size_t ldx,
                     uint32_t n_tokens, float *y, size_t ldy)
{
    switch (w->type) {
    case SLM_TYPE_F32: matmul_f_type(SLM_TYPE_F32, w, r0, r1, x, ldx, n_tokens, y, ldy); break;
    case SLM_TYPE_F16: matmul_f_type(SLM_TYPE_F16, w, r0, r1, x, ldx, n_tokens, y, ldy); break;
    case SLM_TYPE_BF16: matmul_f_type(SLM_TYPE_BF16, w, r0, r1, x, ldx, n_tokens, y, ldy); break;
    default: break;
    }
}

/* ---- Norm, rope, activation ------------------------------------------------------------------ */

/* The n < 16 floats at p, the rest +0. */
INLINE lanes lanes_load_part(const float *p, uint32_t n)
{
    float part[16] = {0};
    memcpy(part, p, n * sizeof(float));
    return lanes_load(part);
}

COLD static void rms_norm(const float *x, const float *w, uint32_t n, float eps, float *out)
{
    uint32_t whole = n & ~15u;
    lanes sum = lanes_zero();
    for (uint32_t i = 0; i < whole; i += 16) {
        lanes a = lanes_load(x + i);
        sum = lanes_add_product(sum, a, a);
    }
    if (whole < n) {
        lanes a = lanes_load_part(x + whole, n - whole);
        sum = lanes_add_product(sum, a, a);
    }
    float s = 1.0f / __builtin_sqrtf(lanes_sum(sum) / (float)n + eps);
    for (uint32_t i = 0; i < whole; i++) {
        out[i] = x[i] * s * w[i];
    }
    for (uint32_t i = whole; i < round_up_u32(n, 16); i++) {
        out[i] = i < n ? x[i] * s * w[i] : 0.0f;
    }
}

/* x - mean of the n <= 16 floats at p, the rest +0. */
INLINE lanes lanes_load_centred(const float *p, uint32_t n, float mean)
{
    float part[16] = {0};
    for (uint32_t i = 0; i < n; i++) {
        part[i] = p[i] - mean;
    }
    return lanes_load(part);
}

COLD static void layer_norm(const float *x, const float *w, const float *b, uint32_t n, float eps,
                            float *out)
{
    lanes sum = lanes_zero(), squares = lanes_zero();
    for (uint32_t i = 0; i < n; i += 16) {
        lanes a = n - i >= 16 ? lanes_load(x + i) : lanes_load_part(x + i, n - i);
        UNROLL for (int k = 0; k < GROUP_VECTORS; k++)
        {
            sum.v[k] = sum.v[k] + a.v[k];
        }
    }
    float mean = lanes_sum(sum) / (float)n;
    for (uint32_t i = 0; i < n; i += 16) {
        lanes a = lanes_load_centred(x + i, n - i < 16 ? n - i : 16, mean);
        squares = lanes_add_product(squares, a, a);
    }
    float s = 1.0f / __builtin_sqrtf(lanes_sum(squares) / (float)n + eps);
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (x[i] - mean) * s * w[i] + b[i];
    }
    for (uint32_t i = n; i < round_up_u32(n, 16); i++) {
        out[i] = 0.0f;
    }
}

COLD static void rope(float *x, const float *cosines, const float *sines, uint32_t n)
{
    float *y = x + n / 2;
    uint32_t i = 0;
    for (; i + VL <= n / 2; i += VL) {
        vf a = vf_load(x + i), b = vf_load(y + i), c = vf_load(cosines + i), s = vf_load(sines + i);
        vf ac = a * c, bs = b * s, bc = b * c, as = a * s;
        vf_store(x + i, ac - bs);
        vf_store(y + i, bc + as);
    }
    for (; i < n / 2; i++) {
        float a = x[i], b = y[i], c = cosines[i], s = sines[i];
        float ac = a * c, bs = b * s, bc = b * c, as = a * s;
        x[i] = ac - bs;
        y[i] = bc + as;
    }
}

/* slm_exp in each lane. */
INLINE vf vf_exp(vf x)
{
    x = vf_max(x, vf_splat(-87.33f));
    x = vf_min(x, vf_splat(88.37f));
    vf t = x * vf_splat(1.44269504f) + vf_splat(12582912.0f);
    vf n = t - vf_splat(12582912.0f);
    vf r = x - n * vf_splat(0.693359375f);
    r = r - n * vf_splat(-2.12194440e-4f);
    vf p = vf_splat(1.9875691500e-4f);
    p = p * r + vf_splat(1.3981999507e-3f);
    p = p * r + vf_splat(8.3334519073e-3f);
    p = p * r + vf_splat(4.1665795894e-2f);
    p = p * r + vf_splat(1.6666665459e-1f);
    p = p * r + vf_splat(5.0000001201e-1f);
    vf y = r * r * p + r;
    y = y + vf_splat(1.0f);
    return y * (vf)(((vu)t + vu_splat(127)) << 23);
}

COLD static void silu_mul(float *gate, const float *up, uint32_t n)
{
    uint32_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf g = vf_load(gate + i);
        vf sum = vf_splat(1.0f) + vf_exp(-g);
        vf_store(gate + i, g / sum * vf_load(up + i));
    }
    for (; i < n; i++) {
        gate[i] = gate[i] / (1.0f + slm_exp(-gate[i])) * up[i];
    }
}

COLD static void gelu_mul(float *gate, const float *up, uint32_t n)
{
    uint32_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf z = vf_load(gate + i);
        vf u = vf_splat(0.7978845608f) * (z + vf_splat(0.044715f) * z * z * z);
        vf y = z / (vf_splat(1.0f) + vf_exp(vf_splat(-2.0f) * u));
        vf_store(gate + i, up ? y * vf_load(up + i) : y);
    }
    for (; i < n; i++) {
        float z = gate[i];
        float u = 0.7978845608f * (z + 0.044715f * z * z * z);
        float y = z / (1.0f + slm_exp(-2.0f * u));
        gate[i] = up ? y * up[i] : y;
    }
}

/* slm_tanh in each lane. */
INLINE vf vf_tanh(vf x)
{
    vu sign = (vu)x & vu_splat(0x80000000u);
    vf a = (vf)((vu)x & vu_splat(0x7fffffffu));
    vf z = a * a;
    vf p = z * vf_splat(-5.70498872745e-3f) + vf_splat(2.06390887954e-2f);
    p = p * z - vf_splat(5.37397155531e-2f);
    p = p * z + vf_splat(1.33314422036e-1f);
    p = p * z - vf_splat(3.33332819422e-1f);
    vf small = a + a * z * p;
    vf large = vf_splat(1.0f) - vf_splat(2.0f) / (vf_exp(a + a) + vf_splat(1.0f));
    vu is_small = (vu)(a < vf_splat(0.625f));
    return (vf)((((vu)small & is_small) | ((vu)large & ~is_small)) | sign);
}

COLD static void softcap(float *x, uint32_t n, float cap)
{
    uint32_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf_store(x + i, vf_splat(cap) * vf_tanh(vf_load(x + i) / vf_splat(cap)));
    }
    for (; i < n; i++) {
        x[i] = cap * slm_tanh(x[i] / cap);
    }
}

COLD static void add(float *x, const float *y, uint32_t n)
{
    uint32_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf_store(x + i, vf_load(x + i) + vf_load(y + i));
    }
    for (; i < n; i++) {
        x[i] = x[i] + y[i];
    }
}

#endif
