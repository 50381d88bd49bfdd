/* ref.c - the scalar reference: what every other variant must equal, bit for bit. Written for
 * reading, one operation after the other as kernels.h states them.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/half.h"
#include "base/mathf.h"
#include "kernels/variants.h"

/* Quantized activations: one record per token and super-block, tokens outermost. */
typedef struct act_block {
    float d;
    int8_t q[256];
} act_block;

static size_t act_bytes(uint32_t n_tokens, uint32_t n_cols)
{
    return (size_t)n_tokens * slm_n_super_blocks(n_cols) * sizeof(act_block);
}

static void quantize_block(const float *x, uint32_t n, act_block *out)
{
    uint32_t max = 0;
    memset(out, 0, sizeof *out);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7fffffffu;
        max = bits > max ? bits : max;
    }
    float a = f32_from_bits(max);
    if (a < 0x1p-100f) {
        return;
    }
    float inverse = 127.0f / a;
    out->d = a / 127.0f;
    for (uint32_t i = 0; i < n; i++) {
        float v = x[i] * inverse + 12582912.0f;
        out->q[i] = (int8_t)((int32_t)(f32_bits(v) & 0x7fffff) - 0x400000);
    }
}

static void act_quantize(const float *x, size_t ldx, uint32_t t0, uint32_t t1, uint32_t n_tokens,
                         uint32_t n_cols, void *act)
{
    uint32_t nb = slm_n_super_blocks(n_cols);
    (void)n_tokens;
    for (uint32_t t = t0; t < t1; t++) {
        for (uint32_t b = 0; b < nb; b++) {
            uint32_t n = 32 * slm_sub_blocks(n_cols, b);
            quantize_block(x + t * ldx + (size_t)b * 256, n, (act_block *)act + (size_t)t * nb + b);
        }
    }
}

/* ---- Quantized weights ----------------------------------------------------------------------- */

static float dot_affine(const slm_super_block *w, const act_block *a, uint32_t s)
{
    int32_t i1 = 0, i2 = 0;
    for (uint32_t j = 0; j < s; j++) {
        int32_t sum = 0, sum_a = 0;
        for (uint32_t i = 32 * j; i < 32 * j + 32; i++) {
            sum += w->codes[i] * a->q[i];
            sum_a += a->q[i];
        }
        i1 += w->scales[j] * sum;
        i2 += w->mins[j] * sum_a;
    }
    float scaled = f32_from_half(w->d) * (float)i1;
    float offset = f32_from_half(w->dmin) * (float)i2;
    return scaled - offset;
}

static float dot_q6(const slm_super_block *w, const act_block *a, uint32_t s)
{
    int32_t total = 0;
    for (uint32_t j = 0; j < 2 * s; j++) {
        int32_t sum = 0;
        for (uint32_t i = 16 * j; i < 16 * j + 16; i++) {
            sum += (w->codes[i] - 32) * a->q[i];
        }
        total += w->scales[j] * sum;
    }
    return f32_from_half(w->d) * (float)total;
}

static float dot_32(const slm_super_block *w, const act_block *a, uint32_t s, int32_t centre)
{
    float total = 0.0f;
    for (uint32_t j = 0; j < s; j++) {
        int32_t sum = 0;
        for (uint32_t i = 32 * j; i < 32 * j + 32; i++) {
            sum += (w->codes[i] - centre) * a->q[i];
        }
        float scaled = f32_from_half(w->block_d[j]) * (float)sum;
        total = total + scaled;
    }
    return total;
}

static float dot_block(slm_type type, const slm_super_block *w, const act_block *a, uint32_t s)
{
    switch (type) {
    case SLM_TYPE_Q6_K: return dot_q6(w, a, s);
    case SLM_TYPE_Q8_0: return dot_32(w, a, s, 0);
    case SLM_TYPE_Q4_0: return dot_32(w, a, s, 8);
    default: return dot_affine(w, a, s);
    }
}

static void matmul_q(const slm_matrix *w, uint32_t g0, uint32_t g1, const void *act,
                     uint32_t n_tokens, float *y, size_t ldy, void *scratch)
{
    uint32_t nb = slm_n_super_blocks(w->n_cols);
    size_t group_bytes = (size_t)slm_t16_group_bytes(w->type, w->n_cols);
    (void)scratch;
    for (uint32_t row = 16 * g0; row < 16 * g1; row++) {
        for (uint32_t t = 0; t < n_tokens; t++) {
            y[t * ldy + row] = 0.0f;
        }
        for (uint32_t b = 0; b < nb; b++) {
            slm_super_block block;
            slm_t16_load(w->type, w->data + row / 16 * group_bytes, w->n_cols, b, row % 16, &block);
            for (uint32_t t = 0; t < n_tokens; t++) {
                const act_block *a = (const act_block *)act + (size_t)t * nb + b;
                float part = dot_block(w->type, &block, a, slm_sub_blocks(w->n_cols, b));
                float scaled = a->d * part;
                y[t * ldy + row] = y[t * ldy + row] + scaled;
            }
        }
    }
}

/* ---- Sums in 16 lanes ------------------------------------------------------------------------ */

static float sum_lanes(float lane[16])
{
    for (uint32_t width = 8; width != 0; width /= 2) {
        for (uint32_t l = 0; l < width; l++) {
            lane[l] = lane[l] + lane[l + width];
        }
    }
    return lane[0];
}

static float dot_lanes(const float *a, const float *b, uint32_t n)
{
    float lane[16] = {0};
    for (uint32_t i = 0; i < n; i++) {
        float product = a[i] * b[i];
        lane[i % 16] = lane[i % 16] + product;
    }
    return sum_lanes(lane);
}

static float element(slm_type type, const uint8_t *row, uint32_t i)
{
    switch (type) {
    case SLM_TYPE_F16: return f32_from_half(load_u16(row + 2 * (size_t)i));
    case SLM_TYPE_BF16: return f32_from_bf16(load_u16(row + 2 * (size_t)i));
    default: return f32_from_bits(load_u32(row + 4 * (size_t)i));
    }
}

static void matmul_f(const slm_matrix *w, uint32_t r0, uint32_t r1, const float *x, size_t ldx,
                     uint32_t n_tokens, float *y, size_t ldy)
{
    size_t row_bytes = (size_t)slm_row_bytes(w->type, w->n_cols);
    for (uint32_t row = r0; row < r1; row++) {
        for (uint32_t t = 0; t < n_tokens; t++) {
            float lane[16] = {0};
            for (uint32_t i = 0; i < w->n_cols; i++) {
                float product = element(w->type, w->data + row * row_bytes, i) * x[t * ldx + i];
                lane[i % 16] = lane[i % 16] + product;
            }
            y[t * ldy + row] = sum_lanes(lane);
        }
    }
}

/* ---- Norm, rope, activation ------------------------------------------------------------------ */

static void rms_norm(const float *x, const float *w, uint32_t n, float eps, float *out)
{
    float mean = dot_lanes(x, x, n) / (float)n;
    float s = 1.0f / __builtin_sqrtf(mean + eps);
    for (uint32_t i = 0; i < round_up_u32(n, 16); i++) {
        out[i] = i < n ? x[i] * s * w[i] : 0.0f;
    }
}

static void layer_norm(const float *x, const float *w, const float *b, uint32_t n, float eps,
                       float *out)
{
    float lane[16] = {0}, squares[16] = {0};
    for (uint32_t i = 0; i < n; i++) {
        lane[i % 16] = lane[i % 16] + x[i];
    }
    float mean = sum_lanes(lane) / (float)n;
    for (uint32_t i = 0; i < n; i++) {
        float centred = x[i] - mean;
        squares[i % 16] = squares[i % 16] + centred * centred;
    }
    float s = 1.0f / __builtin_sqrtf(sum_lanes(squares) / (float)n + eps);
    for (uint32_t i = 0; i < round_up_u32(n, 16); i++) {
        out[i] = i < n ? (x[i] - mean) * s * w[i] + b[i] : 0.0f;
    }
}

static void rope(float *x, const float *cosines, const float *sines, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        float a = x[i], b = x[i + n / 2];
        float ac = a * cosines[i], bs = b * sines[i], bc = b * cosines[i], as = a * sines[i];
        x[i] = ac - bs;
        x[i + n / 2] = bc + as;
    }
}

static void silu_mul(float *gate, const float *up, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        gate[i] = gate[i] / (1.0f + slm_exp(-gate[i])) * up[i];
    }
}

static void gelu_mul(float *gate, const float *up, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        float z = gate[i];
        float u = 0.7978845608f * (z + 0.044715f * z * z * z);
        float y = z / (1.0f + slm_exp(-2.0f * u));
        gate[i] = up ? y * up[i] : y;
    }
}

static void softcap(float *x, uint32_t n, float cap)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = cap * slm_tanh(x[i] / cap);
    }
}

static void add(float *x, const float *y, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = x[i] + y[i];
    }
}

/* ---- Attention ------------------------------------------------------------------------------- */

typedef struct softmax {
    float max, sum[16];
} softmax;

/* The score of one position: q times its key, scaled and capped. */
static float score_of(const slm_attention_args *a, const float *q, const float *key)
{
    float sum = 0.0f;
    for (uint32_t d = 0; d < a->head_dim; d++) {
        float product = q[d] * key[d];
        sum = sum + product;
    }
    sum = sum * a->scale;
    if (a->softcap != 0.0f) {
        softcap(&sum, 1, a->softcap);
    }
    return sum;
}

/* Adds the positions first..last-1 of one chunk of 32 to a query head's running result. */
static void attend_chunk(const slm_attention_args *a, uint32_t kv_head, const float *q, float *o,
                         uint32_t chunk, uint32_t first, uint32_t last, softmax *state,
                         float *vector)
{
    size_t block = SLM_KV_BLOCK * (size_t)a->blocks[chunk] * a->kv_row_bytes;
    float p[SLM_KV_BLOCK], max = state->max;
    for (uint32_t i = first; i < last; i++) {
        slm_kv_load_key(a->kv_type, a->k + block, kv_head, a->head_dim, i, vector);
        p[i] = score_of(a, q, vector);
        max = p[i] > max ? p[i] : max;
    }
    float c = slm_exp(state->max - max);
    for (uint32_t j = 0; j < 16; j++) {
        state->sum[j] = state->sum[j] * c;
    }
    for (uint32_t i = first; i < last; i++) {
        p[i] = slm_exp(p[i] - max);
        state->sum[i % 16] = state->sum[i % 16] + p[i];
    }
    for (uint32_t d = 0; d < a->head_dim; d++) {
        o[d] = o[d] * c;
        o[d] = o[d] + 0.0f;
    }
    for (uint32_t i = first; i < last; i++) {
        slm_kv_load_value(a->kv_type, a->v + block, kv_head, a->head_dim, i, vector);
        for (uint32_t d = 0; d < a->head_dim; d++) {
            float product = p[i] * vector[d];
            o[d] = o[d] + product;
        }
    }
    state->max = max;
}

static void attention(const slm_attention_args *a, uint32_t kv_head, uint32_t t0, uint32_t t1,
                      void *scratch)
{
    uint32_t n_queries = a->n_heads / a->n_kv_heads;
    for (uint32_t t = t0; t < t1; t++) {
        uint32_t end = a->pos0 + t + 1;
        uint32_t begin = a->window != 0 && end > a->window ? end - a->window : 0;
        for (uint32_t h = kv_head * n_queries; h < (kv_head + 1) * n_queries; h++) {
            const float *q = a->q + t * a->q_stride + (size_t)h * a->head_dim;
            float *o = a->out + t * a->q_stride + (size_t)h * a->head_dim;
            softmax state = {-__builtin_inff(), {0}};
            memset(o, 0, a->head_dim * sizeof(float));
            for (uint32_t chunk = begin / SLM_KV_BLOCK; chunk * SLM_KV_BLOCK < end; chunk++) {
                uint32_t p0 = chunk * SLM_KV_BLOCK;
                uint32_t first = begin > p0 ? begin - p0 : 0;
                uint32_t last = end - p0 < SLM_KV_BLOCK ? end - p0 : SLM_KV_BLOCK;
                attend_chunk(a, kv_head, q, o, chunk, first, last, &state, (float *)scratch);
            }
            float sum = sum_lanes(state.sum);
            for (uint32_t d = 0; d < a->head_dim; d++) {
                o[d] = o[d] / sum;
            }
        }
    }
}

const slm_kernels slm_kernels_ref = {.name = "ref",
                                     .act_bytes = act_bytes,
                                     .act_quantize = act_quantize,
                                     .matmul_q = matmul_q,
                                     .matmul_f = matmul_f,
                                     .rms_norm = rms_norm,
                                     .layer_norm = layer_norm,
                                     .rope = rope,
                                     .silu_mul = silu_mul,
                                     .gelu_mul = gelu_mul,
                                     .softcap = softcap,
                                     .add = add,
                                     .attention = attention};
