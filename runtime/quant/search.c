/* search.c - f32 values to codes and scales: for each type the scales with the least squared error
 * that a small search finds. Only + - * / and comparisons in a fixed order, so that every build
 * makes the same file.
 */
#include <string.h>

#include "base/half.h"
#include "quant/blocks.h"

enum { GRID_STEPS = 20 };

/* Nearest integer, ties to even, for |v| < 2^22. */
static int32_t nearest(float v)
{
    return (int32_t)(f32_bits(v + 12582912.0f) & 0x7fffff) - 0x400000;
}

static int32_t clamp(int32_t v, int32_t low, int32_t high)
{
    return v < low ? low : v > high ? high : v;
}

static float magnitude(float v)
{
    return v < 0.0f ? -v : v;
}

/* A half at most 65504: scales never become infinite. */
static uint16_t half_scale(float v)
{
    v = v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v;
    return half_from_f32(v);
}

/* ---- Q8_0, Q4_0: as GGML ------------------------------------------------------------------------ */

static int32_t nearest_away(float v) /* ties away from zero */
{
    float floor_like = (float)(int32_t)magnitude(v);
    int32_t n = (int32_t)floor_like + (magnitude(v) - floor_like >= 0.5f);
    return v < 0.0f ? -n : n;
}

static void encode_q8(const float *x, uint16_t *d, int16_t *codes)
{
    float max = 0.0f;
    for (int i = 0; i < 32; i++) {
        max = magnitude(x[i]) > max ? magnitude(x[i]) : max;
    }
    float scale = max / 127.0f;
    float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    *d = half_scale(scale);
    for (int i = 0; i < 32; i++) {
        codes[i] = (int16_t)nearest_away(x[i] * inverse);
    }
}

static void encode_q4(const float *x, uint16_t *d, int16_t *codes)
{
    float extreme = 0.0f;
    for (int i = 0; i < 32; i++) {
        extreme = magnitude(x[i]) > magnitude(extreme) ? x[i] : extreme;
    }
    float scale = extreme / -8.0f;
    float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    *d = half_scale(scale);
    for (int i = 0; i < 32; i++) {
        codes[i] = (int16_t)clamp((int32_t)(x[i] * inverse + 8.5f), 0, 15);
    }
}

/* ---- Q4_K, Q5_K: scale and min of a sub-block --------------------------------------------------- */

typedef struct affine {
    float scale, min; /* x = scale * code - min, both >= 0 */
    float error;
} affine;

/* The least-squares scale and min for codes made with one inverse scale. */
static affine fit_affine(const float *x, float low, float inverse, int32_t top)
{
    float sum_q = 0, sum_q2 = 0, sum_x = 0, sum_qx = 0, sum_x2 = 0;
    for (int i = 0; i < 32; i++) {
        float q = (float)clamp(nearest((x[i] - low) * inverse), 0, top);
        sum_q += q;
        sum_q2 += q * q;
        sum_x += x[i];
        sum_qx += q * x[i];
        sum_x2 += x[i] * x[i];
    }
    affine a = {0, 0, sum_x2};
    float determinant = 32.0f * sum_q2 - sum_q * sum_q;
    if (determinant > 0.0f) {
        a.scale = (32.0f * sum_qx - sum_q * sum_x) / determinant;
        a.min = (sum_q * sum_qx - sum_q2 * sum_x) / determinant;
    }
    if (a.min < 0.0f || determinant <= 0.0f) {
        a.min = 0.0f;
        a.scale = sum_q2 > 0.0f ? sum_qx / sum_q2 : 0.0f;
    }
    if (a.scale < 0.0f) {
        a.scale = 0.0f;
    }
    a.error = 0.0f;
    for (int i = 0; i < 32; i++) {
        float q = (float)clamp(nearest((x[i] - low) * inverse), 0, top);
        float e = x[i] - (a.scale * q - a.min);
        a.error += e * e;
    }
    return a;
}

static affine search_affine(const float *x, int32_t top)
{
    float low = 0.0f, high = x[0];
    for (int i = 0; i < 32; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    affine best = {0.0f, -low, 0.0f};
    if (!(high - low > 1e-30f)) {
        return best;
    }
    best.error = 3.4e38f;
    for (int step = 0; step <= GRID_STEPS; step++) {
        float levels = (float)top - 1.0f + 0.1f * (float)step;
        affine a = fit_affine(x, low, levels / (high - low), top);
        best = a.error < best.error ? a : best;
    }
    return best;
}

static void encode_affine(const float *x, uint32_t n_sub, int32_t top, slm_super_block *out)
{
    affine found[8];
    float max_scale = 0.0f, max_min = 0.0f;
    for (uint32_t j = 0; j < n_sub; j++) {
        found[j] = search_affine(x + 32 * j, top);
        max_scale = found[j].scale > max_scale ? found[j].scale : max_scale;
        max_min = found[j].min > max_min ? found[j].min : max_min;
    }
    out->d = half_scale(max_scale / 63.0f);
    out->dmin = half_scale(max_min / 63.0f);
    float d = f32_from_half(out->d), dmin = f32_from_half(out->dmin);
    for (uint32_t j = 0; j < n_sub; j++) {
        int32_t sc = d > 0.0f ? clamp(nearest(found[j].scale / d), 0, 63) : 0;
        int32_t m = dmin > 0.0f ? clamp(nearest(found[j].min / dmin), 0, 63) : 0;
        out->scales[j] = (int8_t)sc;
        out->mins[j] = (uint8_t)m;
        float scale = d * (float)sc, min = dmin * (float)m;
        for (uint32_t i = 32 * j; i < 32 * j + 32; i++) {
            float v = scale > 0.0f ? (x[i] + min) / scale : 0.0f;
            v = v > 100.0f ? 100.0f : v;
            out->codes[i] = (int16_t)clamp(nearest(v), 0, top);
        }
    }
}

/* ---- Q6_K: one signed scale for 16 elements ----------------------------------------------------- */

static float search_scale(const float *x)
{
    float extreme = 0.0f;
    for (int i = 0; i < 16; i++) {
        extreme = magnitude(x[i]) > magnitude(extreme) ? x[i] : extreme;
    }
    if (magnitude(extreme) < 1e-15f) {
        return 0.0f;
    }
    float best = 0.0f, best_gain = -1.0f;
    for (int k = -9; k <= 9; k++) {
        float inverse = -(32.0f + 0.1f * (float)k) / extreme;
        float sum_xq = 0, sum_q2 = 0;
        for (int i = 0; i < 16; i++) {
            float q = (float)clamp(nearest(x[i] * inverse), -32, 31);
            sum_xq += x[i] * q;
            sum_q2 += q * q;
        }
        if (sum_q2 > 0.0f && sum_xq * sum_xq > best_gain * sum_q2) {
            best_gain = sum_xq * sum_xq / sum_q2;
            best = sum_xq / sum_q2;
        }
    }
    return best;
}

static void encode_q6(const float *x, uint32_t n_sub, slm_super_block *out)
{
    float found[16], extreme = 0.0f;
    for (uint32_t j = 0; j < 2 * n_sub; j++) {
        found[j] = search_scale(x + 16 * j);
        extreme = magnitude(found[j]) > magnitude(extreme) ? found[j] : extreme;
    }
    out->d = half_scale(extreme / -128.0f);
    float d = f32_from_half(out->d);
    for (uint32_t j = 0; j < 2 * n_sub; j++) {
        int32_t sc = d != 0.0f ? clamp(nearest(found[j] / d), -128, 127) : 0;
        out->scales[j] = (int8_t)sc;
        float scale = d * (float)sc;
        for (uint32_t i = 16 * j; i < 16 * j + 16; i++) {
            float v = scale != 0.0f ? x[i] / scale : 0.0f;
            v = v > 100.0f ? 100.0f : v < -100.0f ? -100.0f : v;
            out->codes[i] = (int16_t)(clamp(nearest(v), -32, 31) + 32);
        }
    }
}

void slm_super_block_encode(slm_type type, const float *x, uint32_t n_sub, slm_super_block *out)
{
    memset(out, 0, sizeof *out);
    switch (type) {
    case SLM_TYPE_Q4_K: encode_affine(x, n_sub, 15, out); break;
    case SLM_TYPE_Q5_K: encode_affine(x, n_sub, 31, out); break;
    case SLM_TYPE_Q6_K: encode_q6(x, n_sub, out); break;
    case SLM_TYPE_Q8_0:
    case SLM_TYPE_Q4_0:
        for (uint32_t j = 0; j < n_sub; j++) {
            if (type == SLM_TYPE_Q8_0) {
                encode_q8(x + 32 * j, &out->block_d[j], out->codes + 32 * j);
            } else {
                encode_q4(x + 32 * j, &out->block_d[j], out->codes + 32 * j);
            }
        }
        break;
    default: break;
    }
}
