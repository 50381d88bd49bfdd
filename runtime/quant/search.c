/* search.c - f32 values to codes and scales: for each type the scales with the least squared error
 * that a small search finds. Only + - * / and comparisons in a fixed order, so that every build
 * makes the same file.
 *
 * Four sub-blocks are searched side by side, one in each lane of a 128-bit vector, which every
 * target has. The K types go two ways through the data: first the best real scale (and min) of each
 * sub-block over a grid, then, in rounds, the best 6- or 8-bit scales near them for the
 * super-block's half-precision d, and the best d for those.
 */
#include <string.h>

#include "base/half.h"
#include "quant/blocks.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

enum {
    LANES = 4,
    AFFINE_STEPS = 9, /* candidates of a grid */
    SYMMETRIC_STEPS = 19,
    ROUNDS = 2,        /* of choosing integer scales for d, then d for them */
    AFFINE_SPREAD = 1, /* integer scales and mins tried on either side of the nearest */
    SYMMETRIC_SPREAD = 2
};

/* No half-precision d reaches values beyond this: larger ones are cut, so that no sum overflows. */
static const float LIMIT = 134217728.0f;

typedef float f4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));

static inline f4 splat(float v)
{
    return (f4){v, v, v, v};
}

static inline f4 choose(i4 mask, f4 yes, f4 no)
{
    return (f4)(((i4)yes & mask) | ((i4)no & ~mask));
}

static inline f4 f4_min(f4 a, f4 b) /* a < b ? a : b */
{
#if defined(__x86_64__)
    return (f4)_mm_min_ps((__m128)a, (__m128)b);
#else
    return choose((i4)(a < b), a, b);
#endif
}

static inline f4 f4_max(f4 a, f4 b) /* a > b ? a : b */
{
#if defined(__x86_64__)
    return (f4)_mm_max_ps((__m128)a, (__m128)b);
#else
    return choose((i4)(a > b), a, b);
#endif
}

/* Nearest integer, ties to even, for |v| < 2^22. */
static inline f4 f4_nearest(f4 v)
{
    return v + splat(12582912.0f) - splat(12582912.0f);
}

static inline f4 f4_clamp(f4 v, float low, float high)
{
    return f4_max(f4_min(v, splat(high)), splat(low));
}

/* a / b where b > 0, else 0. */
static inline f4 f4_ratio(f4 a, f4 b)
{
    i4 good = (i4)(b > splat(0.0f));
    return choose(good, a / choose(good, b, splat(1.0f)), splat(0.0f));
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

/* Element i of four sub-blocks of n elements, from sub-block `first` on; absent ones are zero. */
static void load_columns(const float *x, uint32_t first, uint32_t n_sub, uint32_t n, f4 *columns)
{
    for (uint32_t i = 0; i < n; i++) {
        f4 v = splat(0.0f);
        for (uint32_t k = 0; k < LANES && first + k < n_sub; k++) {
            v[k] = x[(first + k) * n + i];
        }
        columns[i] = f4_clamp(v, -LIMIT, LIMIT);
    }
}

/* ---- Q8_0, Q4_0: as GGML --------------------------------------------------------------------- */

/* 1 / scale, 0 for scales whose inverse might overflow (their half is 0 anyway). */
static float inverse_of(float scale)
{
    return magnitude(scale) >= 0x1p-120f ? 1.0f / scale : 0.0f;
}

static void encode_q8(const float *x, uint16_t *d, int16_t *codes)
{
    uint32_t max = 0;
    for (int i = 0; i < 32; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7fffffffu;
        max = bits > max ? bits : max;
    }
    float scale = f32_from_bits(max) / 127.0f;
    f4 inverse = splat(inverse_of(scale));
    *d = half_scale(scale);
    for (int i = 0; i < 32; i += LANES) {
        f4 v, one = splat(1.0f);
        memcpy(&v, x + i, sizeof v);
        v *= inverse;
        f4 size = f4_max(v, -v), n = f4_nearest(size);
        n += choose((i4)(size - n >= splat(0.5f)), one, splat(0.0f)); /* ties away from zero */
        n *= choose((i4)(v < splat(0.0f)), -one, one);
        for (int k = 0; k < LANES; k++) {
            codes[i + k] = (int16_t)n[k];
        }
    }
}

static void encode_q4(const float *x, uint16_t *d, int16_t *codes)
{
    float extreme = 0.0f;
    for (int i = 0; i < 32; i++) {
        extreme = magnitude(x[i]) > magnitude(extreme) ? x[i] : extreme;
    }
    float scale = extreme / -8.0f, inverse = inverse_of(scale);
    *d = half_scale(scale);
    for (int i = 0; i < 32; i++) {
        int32_t q = (int32_t)(x[i] * inverse + 8.5f); /* -8..8.5 + 8.5: cut towards 0 */
        codes[i] = (int16_t)(q > 15 ? 15 : q);
    }
}

/* ---- Q4_K, Q5_K: scale and min of each sub-block --------------------------------------------- */

/* Four sub-blocks: x = scale * code - min, scale and min >= 0; sc and m their 6-bit forms. */
typedef struct affine {
    f4 x[32];
    f4 scale, min;
    f4 sc, m;
} affine;

typedef struct sums {
    f4 q, qq, qx;
} sums;

/* The least-squares scale and min for codes with these sums, and how much of the squared error of
 * coding everything as `low` they save. y = x - low; sum_y, sum_yy belong to it, s.qx too. */
static void fit(sums s, f4 low, f4 sum_y, f4 sum_yy, f4 *scale, f4 *min, f4 *gain)
{
    f4 n = splat(32.0f), zero = splat(0.0f);
    f4 determinant = n * s.qq - s.q * s.q;
    f4 a = f4_ratio(n * s.qx - s.q * sum_y, determinant);
    f4 b = f4_ratio(s.qq * sum_y - s.q * s.qx, determinant);
    /* A min below 0 cannot be stored: then min = 0 and the scale alone is fitted. */
    f4 sum_qx = s.qx + low * s.q;
    f4 sum_xx = sum_yy + (low + low) * sum_y + n * low * low;
    f4 alone = f4_max(f4_ratio(sum_qx, s.qq), zero);
    i4 free = (i4)(b + low <= zero) & (i4)(determinant > zero);
    *scale = choose(free, a, alone);
    *min = choose(free, zero - (b + low), zero);
    *gain = choose(free, a * s.qx + b * sum_y, sum_yy - (sum_xx - alone * sum_qx));
}

static void search_affine(affine *t, float top)
{
    f4 low = splat(0.0f), high = t->x[0], sum_y = low, sum_yy = low, y[32];
    for (int i = 0; i < 32; i++) {
        low = f4_min(t->x[i], low);
        high = f4_max(t->x[i], high);
    }
    for (int i = 0; i < 32; i++) {
        y[i] = t->x[i] - low;
        sum_y += y[i];
        sum_yy += y[i] * y[i];
    }
    f4 range = high - low, best = splat(-1.0f);
    i4 flat = (i4)(range < splat(1e-30f));
    t->scale = splat(0.0f);
    t->min = splat(0.0f) - low;
    for (int step = 0; step < AFFINE_STEPS; step++) {
        f4 inverse = splat(top - 1.0f + 0.2f * (float)step) / choose(flat, splat(1.0f), range);
        sums s = {splat(0.0f), splat(0.0f), splat(0.0f)};
        for (int i = 0; i < 32; i++) {
            f4 q = f4_min(f4_nearest(y[i] * inverse), splat(top));
            s.q += q;
            s.qq += q * q;
            s.qx += q * y[i];
        }
        f4 scale, min, gain;
        fit(s, low, sum_y, sum_yy, &scale, &min, &gain);
        i4 better = (i4)(gain > best) & ~flat;
        t->scale = choose(better, scale, t->scale);
        t->min = choose(better, min, t->min);
        best = choose(better, gain, best);
    }
}

/* The squared error with these scales and mins. */
static f4 affine_error(const affine *t, f4 scale, f4 min, float top)
{
    f4 inverse = f4_ratio(splat(1.0f), scale), error = splat(0.0f);
    for (int i = 0; i < 32; i++) {
        f4 v = t->x[i] + min;
        f4 e = v - scale * f4_nearest(f4_clamp(v * inverse, 0.0f, top));
        error += e * e;
    }
    return error;
}

/* The least-squares min for the codes that these scales and mins give. */
static f4 affine_best_min(const affine *t, f4 scale, f4 min, float top)
{
    f4 inverse = f4_ratio(splat(1.0f), scale), rest = splat(0.0f);
    for (int i = 0; i < 32; i++) {
        rest += scale * f4_nearest(f4_clamp((t->x[i] + min) * inverse, 0.0f, top)) - t->x[i];
    }
    return rest * splat(1.0f / 32.0f);
}

/* Chooses sc and m near scale / d and min / dmin. */
static void search_six_bits(affine *t, float d, float dmin, float top)
{
    f4 best = splat(3e38f), near = f4_nearest(f4_clamp(f4_ratio(t->scale, splat(d)), 0.0f, 63.0f));
    for (int k = -AFFINE_SPREAD; k <= AFFINE_SPREAD; k++) {
        f4 sc = f4_clamp(near + splat((float)k), 0.0f, 63.0f);
        f4 min = affine_best_min(t, splat(d) * sc, t->min, top);
        f4 m0 = f4_nearest(f4_clamp(f4_ratio(min, splat(dmin)), 0.0f, 63.0f));
        for (int l = -AFFINE_SPREAD; l <= AFFINE_SPREAD; l++) {
            f4 m = f4_clamp(m0 + splat((float)l), 0.0f, 63.0f);
            f4 error = affine_error(t, splat(d) * sc, splat(dmin) * m, top);
            i4 better = (i4)(error < best);
            t->sc = choose(better, sc, t->sc);
            t->m = choose(better, m, t->m);
            best = choose(better, error, best);
        }
    }
    t->scale = splat(d) * t->sc;
    t->min = splat(dmin) * t->m;
}

static float sum_of(f4 v)
{
    return (v[0] + v[1]) + (v[2] + v[3]);
}

/* The least-squares d and dmin for the codes and 6-bit scales as they are. */
static void refit_affine(const affine *t, uint32_t n, float top, uint16_t *d, uint16_t *dmin)
{
    f4 aa = splat(0.0f), ab = aa, bb = aa, ax = aa, bx = aa;
    for (uint32_t k = 0; k < n; k++) {
        f4 inverse = f4_ratio(splat(1.0f), t[k].scale);
        f4 q1 = splat(0.0f), q2 = q1, qx = q1, x1 = q1;
        for (int i = 0; i < 32; i++) {
            f4 q = f4_nearest(f4_clamp((t[k].x[i] + t[k].min) * inverse, 0.0f, top));
            q1 += q;
            q2 += q * q;
            qx += q * t[k].x[i];
            x1 += t[k].x[i];
        }
        aa += t[k].sc * t[k].sc * q2;
        ab += t[k].sc * t[k].m * q1;
        bb += t[k].m * t[k].m * splat(32.0f);
        ax += t[k].sc * qx;
        bx += t[k].m * x1;
    }
    double saa = sum_of(aa), sab = sum_of(ab), sbb = sum_of(bb), sax = sum_of(ax), sbx = sum_of(bx);
    double determinant = saa * sbb - sab * sab;
    double new_d = saa > 0.0 ? sax / saa : 0.0, new_dmin = 0.0;
    if (determinant > 1e-6 * saa * sbb) {
        new_d = (sax * sbb - sab * sbx) / determinant;
        new_dmin = (sab * sax - saa * sbx) / determinant;
    }
    if (new_d > 0.0 && (new_dmin > 0.0 || sbb <= 0.0)) {
        *d = half_scale((float)new_d);
        *dmin = half_scale((float)new_dmin);
    }
}

static void store_affine(const affine *t, uint32_t first, uint32_t n_sub, float top,
                         slm_super_block *out)
{
    f4 inverse = f4_ratio(splat(1.0f), t->scale);
    for (uint32_t i = 0; i < 32; i++) {
        f4 q = f4_nearest(f4_clamp((t->x[i] + t->min) * inverse, 0.0f, top));
        for (uint32_t k = 0; k < LANES && first + k < n_sub; k++) {
            out->codes[(first + k) * 32 + i] = (int16_t)q[k];
        }
    }
    for (uint32_t k = 0; k < LANES && first + k < n_sub; k++) {
        out->scales[first + k] = (int8_t)t->sc[k];
        out->mins[first + k] = (uint8_t)t->m[k];
    }
}

static void encode_affine(const float *x, uint32_t n_sub, float top, slm_super_block *out)
{
    affine t[2];
    uint32_t n = (n_sub + LANES - 1) / LANES;
    float max_scale = 0.0f, max_min = 0.0f;
    for (uint32_t k = 0; k < n; k++) {
        load_columns(x, k * LANES, n_sub, 32, t[k].x);
        search_affine(&t[k], top);
        for (int l = 0; l < LANES; l++) {
            max_scale = t[k].scale[l] > max_scale ? t[k].scale[l] : max_scale;
            max_min = t[k].min[l] > max_min ? t[k].min[l] : max_min;
        }
    }
    out->d = half_scale(max_scale / 63.0f);
    out->dmin = half_scale(max_min / 63.0f);
    for (int round = 0; round < ROUNDS; round++) {
        float d = f32_from_half(out->d), dmin = f32_from_half(out->dmin);
        for (uint32_t k = 0; k < n; k++) {
            search_six_bits(&t[k], d, dmin, top);
        }
        refit_affine(t, n, top, &out->d, &out->dmin);
    }
    for (uint32_t k = 0; k < n; k++) {
        t[k].scale = splat(f32_from_half(out->d)) * t[k].sc;
        t[k].min = splat(f32_from_half(out->dmin)) * t[k].m;
        store_affine(&t[k], k * LANES, n_sub, top, out);
    }
}

/* ---- Q6_K: one signed scale for 16 elements -------------------------------------------------- */

typedef struct symmetric {
    f4 x[16];
    f4 scale; /* x = scale * code, code -32..31 */
    f4 sc;    /* its 8-bit form */
} symmetric;

static f4 signed_codes(f4 v)
{
    return f4_nearest(f4_clamp(v, -32.0f, 31.0f));
}

static f4 inverse_signed(f4 v) /* 1 / v, 0 for 0 */
{
    i4 zero = (i4)(v == splat(0.0f));
    return choose(zero, splat(0.0f), splat(1.0f) / choose(zero, splat(1.0f), v));
}

static void search_symmetric(symmetric *t)
{
    f4 low = splat(0.0f), high = low, best = splat(0.0f);
    for (int i = 0; i < 16; i++) {
        low = f4_min(t->x[i], low);
        high = f4_max(t->x[i], high);
    }
    f4 extreme = choose((i4)(high > splat(0.0f) - low), high, low);
    i4 flat = (i4)(high - low < splat(1e-30f));
    t->scale = splat(0.0f);
    for (int step = 0; step < SYMMETRIC_STEPS; step++) {
        float levels = -32.0f + 0.1f * (float)(step - SYMMETRIC_STEPS / 2);
        f4 inverse = splat(levels) / choose(flat, splat(1.0f), extreme);
        f4 xq = splat(0.0f), qq = splat(0.0f);
        for (int i = 0; i < 16; i++) {
            f4 q = signed_codes(t->x[i] * inverse);
            xq += t->x[i] * q;
            qq += q * q;
        }
        f4 scale = f4_ratio(xq, qq);
        i4 better = (i4)(scale * xq > best) & ~flat;
        t->scale = choose(better, scale, t->scale);
        best = choose(better, scale * xq, best);
    }
}

/* Chooses sc near scale / d. */
static void search_eight_bits(symmetric *t, float d)
{
    f4 best = splat(3e38f),
       near = f4_nearest(f4_clamp(t->scale * inverse_signed(splat(d)), -128.0f, 127.0f));
    for (int k = -SYMMETRIC_SPREAD; k <= SYMMETRIC_SPREAD; k++) {
        f4 sc = f4_clamp(near + splat((float)k), -128.0f, 127.0f);
        f4 scale = splat(d) * sc, inverse = inverse_signed(scale), error = splat(0.0f);
        for (int i = 0; i < 16; i++) {
            f4 e = t->x[i] - scale * signed_codes(t->x[i] * inverse);
            error += e * e;
        }
        i4 better = (i4)(error < best);
        t->sc = choose(better, sc, t->sc);
        best = choose(better, error, best);
    }
    t->scale = splat(d) * t->sc;
}

static uint16_t refit_symmetric(const symmetric *t, uint32_t n, uint16_t d)
{
    f4 aa = splat(0.0f), ax = aa;
    for (uint32_t k = 0; k < n; k++) {
        f4 inverse = inverse_signed(t[k].scale);
        for (int i = 0; i < 16; i++) {
            f4 q = t[k].sc * signed_codes(t[k].x[i] * inverse);
            aa += q * q;
            ax += q * t[k].x[i];
        }
    }
    float saa = sum_of(aa);
    return saa > 0.0f ? half_scale(sum_of(ax) / saa) : d;
}

static void encode_q6(const float *x, uint32_t n_sub, slm_super_block *out)
{
    symmetric t[4];
    uint32_t n16 = 2 * n_sub, n = (n16 + LANES - 1) / LANES;
    float extreme = 0.0f;
    for (uint32_t k = 0; k < n; k++) {
        load_columns(x, k * LANES, n16, 16, t[k].x);
        search_symmetric(&t[k]);
        for (int l = 0; l < LANES; l++) {
            float v = t[k].scale[l];
            extreme = magnitude(v) > magnitude(extreme) ? v : extreme;
        }
    }
    out->d = half_scale(extreme / -128.0f);
    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t k = 0; k < n; k++) {
            search_eight_bits(&t[k], f32_from_half(out->d));
        }
        out->d = refit_symmetric(t, n, out->d);
    }
    for (uint32_t k = 0; k < n; k++) {
        f4 inverse = inverse_signed(splat(f32_from_half(out->d)) * t[k].sc);
        for (uint32_t l = 0; l < LANES && k * LANES + l < n16; l++) {
            out->scales[k * LANES + l] = (int8_t)t[k].sc[l];
        }
        for (uint32_t i = 0; i < 16; i++) {
            f4 q = signed_codes(t[k].x[i] * inverse);
            for (uint32_t l = 0; l < LANES && k * LANES + l < n16; l++) {
                out->codes[(k * LANES + l) * 16 + i] = (int16_t)(q[l] + 32.0f);
            }
        }
    }
}

void slm_super_block_encode(slm_type type, const float *x, uint32_t n_sub, slm_super_block *out)
{
    memset(out, 0, sizeof *out);
    switch (type) {
    case SLM_TYPE_Q4_K: encode_affine(x, n_sub, 15.0f, out); break;
    case SLM_TYPE_Q5_K: encode_affine(x, n_sub, 31.0f, out); break;
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
