/* float_ops.h - the floating-point slots over 16 virtual lanes, written once; each variant includes
 * it after its isa_*.h. Operations and their order are those of ref.c.
 */
#ifndef SLM_KERNELS_FLOAT_OPS_H
#define SLM_KERNELS_FLOAT_OPS_H

#include "base/bytes.h"
#include "base/mathf.h"
#include "kernels/vectors.h"

/* ---- Weights in F32, F16, BF16 --------------------------------------------------------------- */

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

INLINE void matmul_f_type(slm_type type, const slm_matrix *w, uint32_t r0, uint32_t r1,
                          const float *x, size_t ldx, uint32_t n_tokens, float *y, size_t ldy)
{
    uint32_t row = r0;
    for (; FLOAT_TILE_ROWS > 1 && row + FLOAT_TILE_ROWS <= r1; row += FLOAT_TILE_ROWS) {
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

static void rms_norm(const float *x, const float *w, uint32_t n, float eps, float *out)
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

static void layer_norm(const float *x, const float *w, const float *b, uint32_t n, float eps,
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

static void rope(float *x, const float *cosines, const float *sines, uint32_t n)
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

static void silu_mul(float *gate, const float *up, uint32_t n)
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

static void gelu_mul(float *gate, const float *up, uint32_t n)
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

static void softcap(float *x, uint32_t n, float cap)
{
    uint32_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf_store(x + i, vf_splat(cap) * vf_tanh(vf_load(x + i) / vf_splat(cap)));
    }
    for (; i < n; i++) {
        x[i] = cap * slm_tanh(x[i] / cap);
    }
}

static void add(float *x, const float *y, uint32_t n)
{
    uint32_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf_store(x + i, vf_load(x + i) + vf_load(y + i));
    }
    for (; i < n; i++) {
        x[i] = x[i] + y[i];
    }
}

/* ---- Attention ------------------------------------------------------------------------------- */

enum {
    ATTEND_QUERIES = 8, /* queries (token and head) that share the rows read from the cache */
    ATTEND_ROWS = 8,    /* rows of the cache held as f32 at a time */
    MAX_HEAD_DIM = 1024
};
static_assert((ATTEND_ROWS + 2 * ATTEND_QUERIES) * MAX_HEAD_DIM * 4 <= SLM_MATMUL_SCRATCH,
              "scratch");

typedef struct query {
    const float *q; /* padded with zeros to 16 */
    float *o;
    uint32_t begin, end; /* positions that it sees */
    float max, sum;
    float score[SLM_KV_BLOCK];
} query;

/* Rows first..last-1 of a chunk as f32, ld floats each, zeros behind the head. */
INLINE void load_rows(const slm_attention_args *a, const uint8_t *heads, uint32_t first,
                      uint32_t last, uint32_t ld, float *rows)
{
    for (uint32_t i = first; i < last; i++, rows += ld) {
        const uint8_t *head = heads + i * a->kv_row_bytes;
        uint32_t d = 0;
        if (a->kv_type == SLM_KV_F16) {
            for (; d + VL <= a->head_dim; d += VL) {
                vf_store(rows + d, vf_load_halves(head + 2 * (size_t)d));
            }
            for (; d < a->head_dim; d++) {
                rows[d] = f32_from_half(load_u16(head + 2 * (size_t)d));
            }
        } else {
            slm_kv_load(a->kv_type, head, a->head_dim, rows);
        }
        memset(rows + a->head_dim, 0, (ld - a->head_dim) * sizeof(float));
    }
}

/* Four scores: the sums of q times four rows. */
INLINE f4 dot4(const float *q, const float *rows, uint32_t ld)
{
    lanes a = lanes_zero(), b = a, c = a, d = a;
    for (uint32_t i = 0; i < ld; i += 16) {
        lanes x = lanes_load(q + i);
        a = lanes_add_product(a, x, lanes_load(rows + i));
        b = lanes_add_product(b, x, lanes_load(rows + ld + i));
        c = lanes_add_product(c, x, lanes_load(rows + 2 * (size_t)ld + i));
        d = lanes_add_product(d, x, lanes_load(rows + 3 * (size_t)ld + i));
    }
    return lanes_sum4(a, b, c, d);
}

/* The part of chunk p0.. that a query sees: positions *first..*last-1 of it. */
INLINE bool visible(const query *s, uint32_t p0, uint32_t *first, uint32_t *last)
{
    *first = s->begin > p0 ? s->begin - p0 : 0;
    *last = s->end <= p0 ? 0 : s->end - p0 < SLM_KV_BLOCK ? s->end - p0 : SLM_KV_BLOCK;
    return *first < *last;
}

/* Scores become probabilities relative to the new maximum; what was summed before is scaled down.
 */
static void rescale(query *s, uint32_t first, uint32_t last, bool started, uint32_t ld)
{
    float max = started ? s->max : s->score[first];
    for (uint32_t i = first; i < last; i++) {
        max = s->score[i] > max ? s->score[i] : max;
    }
    float c = started ? slm_exp(s->max - max) : 1.0f;
    for (uint32_t i = 0; i < SLM_KV_BLOCK; i += VL) {
        vf_store(s->score + i, vf_exp(vf_load(s->score + i) - vf_splat(max)));
    }
    memset(s->score, 0, first * sizeof(float));
    memset(s->score + last, 0, (SLM_KV_BLOCK - last) * sizeof(float));
    lanes p = lanes_load(s->score), high = lanes_load(s->score + 16);
    for (int i = 0; i < GROUP_VECTORS; i++) {
        p.v[i] = p.v[i] + high.v[i];
    }
    s->sum = s->sum * c + lanes_sum(p);
    s->max = max;
    for (uint32_t d = 0; d < ld; d += VL) {
        vf_store(s->o + d, vf_load(s->o + d) * vf_splat(c));
    }
}

/* o += p_i * row i for the n rows, in ascending i. */
INLINE void add_rows(float *o, const float *p, uint32_t n, const float *rows, uint32_t ld)
{
    if (n == ATTEND_ROWS) {
        for (uint32_t d = 0; d < ld; d += VL) {
            vf sum = vf_load(o + d);
            UNROLL for (uint32_t i = 0; i < ATTEND_ROWS; i++)
            {
                vf product = vf_splat(p[i]) * vf_load(rows + i * (size_t)ld + d);
                sum = sum + product;
            }
            vf_store(o + d, sum);
        }
        return;
    }
    for (uint32_t i = 0; i < n; i++, rows += ld) {
        for (uint32_t d = 0; d < ld; d += VL) {
            vf product = vf_splat(p[i]) * vf_load(rows + d);
            vf_store(o + d, vf_load(o + d) + product);
        }
    }
}

/* One chunk of positions for all queries; lo..hi-1 is the union of what they see of it. */
static void attend_chunk(const slm_attention_args *a, uint32_t kv_head, uint32_t chunk,
                         query *queries, uint32_t n, uint32_t lo, uint32_t hi, float *rows)
{
    uint32_t ld = round_up_u32(a->head_dim, 16), p0 = chunk * SLM_KV_BLOCK, first, last;
    size_t at = (size_t)a->blocks[chunk] * SLM_KV_BLOCK * a->kv_row_bytes +
                kv_head * slm_kv_head_bytes(a->kv_type, a->head_dim);
    for (uint32_t i = lo / ATTEND_ROWS * ATTEND_ROWS; i < hi; i += ATTEND_ROWS) {
        uint32_t from = i > lo ? i : lo, to = i + ATTEND_ROWS < hi ? i + ATTEND_ROWS : hi;
        memset(rows, 0, ATTEND_ROWS * (size_t)ld * sizeof(float));
        load_rows(a, a->k + at, from, to, ld, rows + (from - i) * (size_t)ld);
        for (uint32_t k = 0; k < n; k++) {
            f4 s0 = dot4(queries[k].q, rows, ld) * a->scale;
            f4 s1 = dot4(queries[k].q, rows + 4 * (size_t)ld, ld) * a->scale;
            memcpy(queries[k].score + i, &s0, sizeof s0);
            memcpy(queries[k].score + i + 4, &s1, sizeof s1);
            if (a->softcap != 0.0f) {
                softcap(queries[k].score + i, ATTEND_ROWS, a->softcap);
            }
        }
    }
    for (uint32_t k = 0; k < n; k++) {
        if (visible(&queries[k], p0, &first, &last)) {
            rescale(&queries[k], first, last, p0 > queries[k].begin, ld);
        }
    }
    for (uint32_t i = lo / ATTEND_ROWS * ATTEND_ROWS; i < hi; i += ATTEND_ROWS) {
        uint32_t from = i > lo ? i : lo, to = i + ATTEND_ROWS < hi ? i + ATTEND_ROWS : hi;
        load_rows(a, a->v + at, from, to, ld, rows + (from - i) * (size_t)ld);
        for (uint32_t k = 0; k < n; k++) {
            visible(&queries[k], p0, &first, &last);
            uint32_t f = first > i ? first : i, e = last < to ? last : to;
            if (f < e) {
                add_rows(queries[k].o, queries[k].score + f, e - f, rows + (f - i) * (size_t)ld,
                         ld);
            }
        }
    }
}

/* Queries number first..first+n-1 of the kv head, counted token by token, head by head. */
static void attend(const slm_attention_args *a, uint32_t kv_head, uint32_t t0, uint32_t first,
                   uint32_t n, float *scratch)
{
    uint32_t ld = round_up_u32(a->head_dim, 16), per_token = a->n_heads / a->n_kv_heads;
    uint32_t lo = UINT32_MAX, hi = 0;
    float *rows = scratch, *space = scratch + ATTEND_ROWS * (size_t)ld;
    query queries[ATTEND_QUERIES];
    memset(space, 0, 2 * (size_t)n * ld * sizeof(float));
    memset(queries, 0, sizeof queries);
    for (uint32_t k = 0; k < n; k++, space += 2 * (size_t)ld) {
        query *s = &queries[k];
        uint32_t t = t0 + (first + k) / per_token;
        uint32_t head = kv_head * per_token + (first + k) % per_token;
        memcpy(space, a->q + t * a->q_stride + (size_t)head * a->head_dim,
               a->head_dim * sizeof(float));
        s->q = space;
        s->o = space + ld;
        s->end = a->pos0 + t + 1;
        s->begin = a->window != 0 && s->end > a->window ? s->end - a->window : 0;
        lo = s->begin < lo ? s->begin : lo;
        hi = s->end > hi ? s->end : hi;
    }
    for (uint32_t chunk = lo / SLM_KV_BLOCK; chunk * SLM_KV_BLOCK < hi; chunk++) {
        uint32_t p0 = chunk * SLM_KV_BLOCK;
        uint32_t from = lo > p0 ? lo - p0 : 0;
        uint32_t to = hi - p0 < SLM_KV_BLOCK ? hi - p0 : SLM_KV_BLOCK;
        attend_chunk(a, kv_head, chunk, queries, n, from, to, rows);
    }
    for (uint32_t k = 0; k < n; k++) {
        uint32_t t = t0 + (first + k) / per_token;
        uint32_t head = kv_head * per_token + (first + k) % per_token;
        float *out = a->out + t * a->q_stride + (size_t)head * a->head_dim;
        for (uint32_t d = 0; d < a->head_dim; d++) {
            out[d] = queries[k].o[d] / queries[k].sum;
        }
    }
}

static void attention(const slm_attention_args *a, uint32_t kv_head, uint32_t t0, uint32_t t1,
                      void *scratch)
{
    uint32_t n = (t1 - t0) * (a->n_heads / a->n_kv_heads);
    for (uint32_t first = 0; first < n; first += ATTEND_QUERIES) {
        uint32_t here = n - first < ATTEND_QUERIES ? n - first : ATTEND_QUERIES;
        attend(a, kv_head, t0, first, here, (float *)scratch);
    }
}

#endif
