/* search.h - 16 rows of F32, F16 or BF16 to a T16 row group: the codes and scales with the least
 * squared error that a small search finds (Q8_0 and Q4_0: GGML's rule).
 *
 * Each row is one lane and nothing is computed across lanes; only + - * /, comparisons and integer
 * operations in a fixed order are used. So every instruction set, whatever the number of its lanes,
 * makes the same bytes, and a row's do not depend on its neighbours. A file that includes this has
 * included lanes.h and defined vf_min, vf_max, vi_max, vu_load_u16 and vf_load_halves before.
 *
 * The K types go two ways through a super-block: first the best real scale (and min) of each
 * sub-block over a grid, then the best 6- or 8-bit scales near them for the super-block's half
 * precision d, and the best d for those. A candidate is judged by the sums over its codes, from
 * which the squared error follows without a second look at the values.
 */
#ifndef SLM_QUANT_SEARCH_H
#define SLM_QUANT_SEARCH_H

#include "base/bytes.h"
#include "quant/quantizer.h"

enum {
    GRID = 9,   /* candidates of both grids, a multiple of WIDE */
    WIDE = 3,   /* candidates in one sweep over the values */
    ROUNDS = 2, /* Q4_K, Q5_K: of choosing integer scales for d, then d for them */
    CODES = SLM_SUPER_BLOCK
};

INLINE vf vf_clamp(vf v, float low, float high)
{
    return vf_max(vf_min(v, vf_splat(high)), vf_splat(low));
}

/* A half at most 65504: scales never become infinite. */
INLINE vu half_scale(vf v)
{
    return vu_half_from(vf_clamp(v, -65504.0f, 65504.0f));
}

/* Sums over the codes of a sub-block, less a constant that makes them small, and the values. */
typedef struct sums {
    vf q, qq, qx;
} sums;

INLINE sums sums_choose(vi mask, sums yes, sums no)
{
    sums r = {vf_choose(mask, yes.q, no.q), vf_choose(mask, yes.qq, no.qq),
              vf_choose(mask, yes.qx, no.qx)};
    return r;
}

INLINE vf scaled(float f, vf v)
{
    return vf_splat(f) * v;
}

/* ---- Q4_K, Q5_K ------------------------------------------------------------------------------ */

/* x = scale * code - min, scale and min >= 0; sc and m: their 6-bit forms. */
typedef struct affine {
    vf scale, min, sc, m;
    vf sum_x;
    sums s; /* of codes less MIDDLE */
} affine;

/* The sums for the codes nearest to (x + offset) * inverse: n <= WIDE candidates side by side. On
 * the grid no code leaves 0..top, and all offsets are equal. */
INLINE void affine_sums(const vf *x, int n, bool grid, float top, const vf *offset,
                        const vf *inverse, sums *out)
{
    float middle = (top + 1.0f) / 2.0f;
    vf to_middle = vf_splat(MAGIC + middle), zero = vf_splat(0.0f);
    sums s[WIDE] = {{zero, zero, zero}, {zero, zero, zero}, {zero, zero, zero}};
    vu bits[WIDE] = {{0}}; /* of v + MAGIC, which hold the code: integers add up on idle units */
    for (int i = 0; i < 32; i++) {
        UNROLL for (int k = 0; k < n; k++)
        {
            vf v = (x[i] + offset[grid ? 0 : k]) * inverse[k];
            v = (grid ? v : vf_clamp(v, 0.0f, top)) + vf_splat(MAGIC);
            bits[k] += (vu)v;
            vf q = v - to_middle;
            s[k].qq += q * q;
            s[k].qx += q * x[i];
        }
    }
    for (int k = 0; k < n; k++) {
        vi sum = (vi)(bits[k] - vu_splat(32u * (MAGIC_BITS + (uint32_t)middle)));
        s[k].q = __builtin_convertvector(sum, vf);
    }
    memcpy(out, s, (size_t)n * sizeof *s);
}

/* Takes the candidate if its codes allow a smaller error with the best scale and min for them than
 * *best; the measure is what they save of the sum of x^2. */
INLINE void affine_fit(affine *t, float top, sums s, vi usable, vf *best)
{
    vf zero = vf_splat(0.0f), middle = vf_splat((top + 1.0f) / 2.0f), n = vf_splat(32.0f);
    vf whole_q = s.q + n * middle; /* sums for whole codes */
    vf whole_qq = s.qq + middle * (s.q + whole_q);
    vf whole_qx = vf_max(s.qx + middle * t->sum_x, zero);
    vf a = n * s.qx - s.q * t->sum_x, determinant = n * s.qq - s.q * s.q;
    /* A min below 0 cannot be stored: then min = 0, and the scale alone is fitted. */
    vi free = (vi)(a * whole_q >= t->sum_x * determinant) & (vi)(determinant > zero);
    vf scale = vf_ratio(vf_choose(free, a, whole_qx), vf_choose(free, determinant, whole_qq));
    vf min = scaled(1.0f / 32.0f, scale * whole_q - t->sum_x);
    vf gain =
        vf_choose(free, scaled(1.0f / 32.0f, scale * a + t->sum_x * t->sum_x), scale * whole_qx);
    vi better = (vi)(gain > *best) & usable;
    t->scale = vf_choose(better, scale, t->scale);
    t->min = vf_choose(better, vf_choose(free, min, zero), t->min);
    *best = vf_choose(better, gain, *best);
}

INLINE void search_affine(const vf *x, float top, affine *t)
{
    vf low = vf_splat(0.0f), high = x[0], one = vf_splat(1.0f), best = vf_splat(-1.0f);
    t->sum_x = low;
    for (int i = 0; i < 32; i++) {
        low = vf_min(x[i], low);
        high = vf_max(x[i], high);
        t->sum_x += x[i];
    }
    vf range = high - low, offset = vf_splat(0.0f) - low;
    vi wide = (vi)(range > vf_splat(1e-30f));
    vf inverse_range = one / vf_choose(wide, range, one);
    t->scale = vf_splat(0.0f);
    t->min = offset;
    for (int step = 0; step < GRID; step += WIDE) {
        vf inverse[WIDE];
        sums s[WIDE];
        for (int k = 0; k < WIDE; k++) {
            float below =
                (top + 1.0f) / 8.0f; /* of top; at most 0.42 above it, which rounds to it */
            float level = top - below + (below + 0.42f) / (float)(GRID - 1) * (float)(step + k);
            inverse[k] = scaled(level, inverse_range);
        }
        affine_sums(x, WIDE, true, top, &offset, inverse, s);
        for (int k = 0; k < WIDE; k++) {
            affine_fit(t, top, s[k], wide, &best);
        }
    }
}

/* A super-block's d and dmin, and what is computed from them once. */
typedef struct steps {
    vu d, m;
    vf step_d, step_m, inverse_d, inverse_m;
} steps;

INLINE void steps_set(steps *p, vu d, vu m)
{
    p->d = d;
    p->m = m;
    p->step_d = vf_from_half(d);
    p->step_m = vf_from_half(m);
    p->inverse_d = vf_ratio(vf_splat(1.0f), p->step_d);
    p->inverse_m = vf_ratio(vf_splat(1.0f), p->step_m);
}

/* v / step to the nearest of 0..63. */
INLINE vf six_bits(vf v, vf inverse)
{
    return vf_nearest(vf_clamp(v * inverse, 0.0f, 63.0f));
}

/* The squared error, less the sum of x^2, of codes with these sums under sc and m. */
INLINE vf affine_error(const affine *t, const steps *p, float top, sums s, vf sc, vf m)
{
    vf scale = p->step_d * sc;
    vf h = scale * vf_splat((top + 1.0f) / 2.0f) - p->step_m * m; /* x ~ scale * (q - middle) + h */
    vf by_scale = scale * (scale * s.qq - scaled(2.0f, s.qx));
    vf by_min = h * (scaled(32.0f, h) + scaled(2.0f, scale * s.q - t->sum_x));
    return by_scale + by_min;
}

/* Judges n candidates by the codes that they give; with `move`, each may take another m that suits
 * those codes better. */
INLINE void try_six_bits(const vf *x, float top, const steps *p, int n, bool move, const vf *sc,
                         const vf *m, affine *t, vf *best)
{
    vf offset[WIDE], inverse[WIDE];
    sums s[WIDE];
    for (int k = 0; k < n; k++) {
        offset[k] = p->step_m * m[k];
        inverse[k] = vf_ratio(vf_splat(1.0f), p->step_d * sc[k]);
    }
    affine_sums(x, n, false, top, offset, inverse, s);
    for (int k = 0; k < n; k++) {
        vf moved = m[k];
        if (move) {
            vf whole_q = s[k].q + vf_splat(16.0f * (top + 1.0f));
            vf min = scaled(1.0f / 32.0f, p->step_d * sc[k] * whole_q - t->sum_x);
            moved = six_bits(min, p->inverse_m);
        }
        vf error = affine_error(t, p, top, s[k], sc[k], moved);
        vi better = (vi)(error < *best);
        t->sc = vf_choose(better, sc[k], t->sc);
        t->m = vf_choose(better, moved, t->m);
        t->s = sums_choose(better, s[k], t->s);
        *best = vf_choose(better, error, *best);
    }
}

/* Chooses sc and m near scale / d and min / dmin. */
INLINE void search_six_bits(const vf *x, float top, const steps *p, bool last, affine *t)
{
    vf best = vf_splat(3e38f), near = six_bits(t->scale, p->inverse_d);
    vf mean_x = scaled(1.0f / 32.0f, t->sum_x);
    vf mean_code = vf_ratio(t->min + mean_x, t->scale), sc[WIDE], m[WIDE];
    for (int k = 0; k < WIDE; k++) {
        sc[k] = vf_clamp(near + vf_splat((float)(k - 1)), 0.0f, 63.0f);
        m[k] = six_bits(p->step_d * sc[k] * mean_code - mean_x, p->inverse_m);
    }
    try_six_bits(x, top, p, WIDE, true, sc, m, t, &best);
    if (last) {
        m[0] = vf_clamp(t->m - vf_splat(1.0f), 0.0f, 63.0f);
        m[1] = vf_clamp(t->m + vf_splat(1.0f), 0.0f, 63.0f);
        sc[0] = sc[1] = t->sc;
        try_six_bits(x, top, p, 2, false, sc, m, t, &best);
    }
    t->scale = p->step_d * t->sc;
    t->min = p->step_m * t->m;
}

/* The least-squares d and dmin for the codes and 6-bit scales as they are. */
INLINE void refit_affine(const affine *t, uint32_t n, float top, steps *p)
{
    vf zero = vf_splat(0.0f), aa = zero, ab = zero, bb = zero, ax = zero, bx = zero;
    vf middle = vf_splat((top + 1.0f) / 2.0f);
    for (uint32_t j = 0; j < n; j++) {
        const affine *u = &t[j];
        vf q = u->s.q + scaled(32.0f, middle), qq = u->s.qq + middle * (u->s.q + q);
        aa += u->sc * u->sc * qq;
        ab += u->sc * u->m * q;
        bb += scaled(32.0f, u->m * u->m);
        ax += u->sc * (u->s.qx + middle * u->sum_x);
        bx += u->m * u->sum_x;
    }
    vf determinant = aa * bb - ab * ab;
    vi both = (vi)(determinant > scaled(1e-6f, aa * bb));
    vf d = vf_ratio(vf_choose(both, ax * bb - ab * bx, ax), vf_choose(both, determinant, aa));
    vf m = vf_choose(both, vf_ratio(ab * ax - aa * bx, determinant), zero);
    vi good = (vi)(d > zero) & ((vi)(m > zero) | (vi)(bb <= zero));
    steps_set(p, (vu)vf_choose(good, (vf)half_scale(d), (vf)p->d),
              (vu)vf_choose(good, (vf)half_scale(m), (vf)p->m));
}

/* Scales, mins, d and dmin of s sub-blocks. */
INLINE void choose_affine(const vf *x, uint32_t s, float top, affine *t, steps *p)
{
    vf max_scale = vf_splat(0.0f), max_min = max_scale;
    for (uint32_t j = 0; j < s; j++) {
        search_affine(x + 32 * j, top, &t[j]);
        max_scale = vf_max(t[j].scale, max_scale);
        max_min = vf_max(t[j].min, max_min);
    }
    steps_set(p, half_scale(scaled(1.0f / 63.0f, max_scale)),
              half_scale(scaled(1.0f / 63.0f, max_min)));
    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t j = 0; j < s; j++) {
            search_six_bits(x + 32 * j, top, p, round == ROUNDS - 1, &t[j]);
        }
        refit_affine(t, s, top, p);
    }
}

/* ---- Q6_K: one signed scale for 16 elements -------------------------------------------------- */

/* x = scale * code, code -32..31; sc: the scale's 8-bit form. */
typedef struct symmetric {
    vf scale, sc;
    sums s; /* q is not used */
} symmetric;

/* a / b where b is not 0, else 0. */
INLINE vf ratio_signed(vf a, vf b)
{
    vi zero = (vi)(b == vf_splat(0.0f));
    return vf_choose(zero, vf_splat(0.0f), a / vf_choose(zero, vf_splat(1.0f), b));
}

/* The sums for the codes nearest to x * inverse; on the grid none is below -32. */
INLINE void symmetric_sums(const vf *x, bool grid, const vf *inverse, sums *out)
{
    vf zero = vf_splat(0.0f);
    sums s[WIDE] = {{zero, zero, zero}, {zero, zero, zero}, {zero, zero, zero}};
    for (int i = 0; i < 16; i++) {
        UNROLL for (int k = 0; k < WIDE; k++)
        {
            vf v = vf_min(x[i] * inverse[k], vf_splat(31.0f));
            vf q = vf_nearest(grid ? v : vf_max(v, vf_splat(-32.0f)));
            s[k].qq += q * q;
            s[k].qx += q * x[i];
        }
    }
    memcpy(out, s, sizeof s);
}

INLINE void search_symmetric(const vf *x, symmetric *t)
{
    vf zero = vf_splat(0.0f), low = zero, high = zero, best = zero; /* qx^2 / qq = best / t->s.qq */
    for (int i = 0; i < 16; i++) {
        low = vf_min(x[i], low);
        high = vf_max(x[i], high);
    }
    vf extreme = vf_choose((vi)(high > zero - low), high, low);
    vi wide = (vi)(high - low > vf_splat(1e-30f));
    vf inverse_extreme = ratio_signed(vf_splat(1.0f), vf_choose(wide, extreme, zero));
    t->s = (sums){zero, vf_splat(1.0f), zero};
    for (int step = 0; step < GRID; step += WIDE) {
        vf inverse[WIDE];
        sums s[WIDE];
        for (int k = 0; k < WIDE; k++) {
            /* where the extreme comes to lie: -32.4 is -32; above -27 little is gained */
            inverse[k] = scaled(-32.4f + 0.7f * (float)(step + k), inverse_extreme);
        }
        symmetric_sums(x, true, inverse, s);
        for (int k = 0; k < WIDE; k++) {
            vf square = s[k].qx * s[k].qx;
            vi better = (vi)(square * t->s.qq > best * s[k].qq) & wide;
            t->s = sums_choose(better, s[k], t->s);
            best = vf_choose(better, square, best);
        }
    }
    t->scale = t->s.qx / t->s.qq;
}

/* Chooses sc near scale / d. */
INLINE void search_eight_bits(const vf *x, vf d, vf inverse_d, symmetric *t)
{
    vf near = vf_nearest(vf_clamp(t->scale * inverse_d, -128.0f, 127.0f)), best = vf_splat(3e38f);
    vf one = vf_splat(1.0f), sc[WIDE], inverse[WIDE];
    sums s[WIDE];
    sc[0] = near;
    sc[1] = vf_max(near - one, vf_splat(-128.0f));
    sc[2] = vf_min(near + one, vf_splat(127.0f));
    for (int k = 0; k < WIDE; k++) {
        inverse[k] = ratio_signed(one, d * sc[k]);
    }
    symmetric_sums(x, false, inverse, s);
    for (int k = 0; k < WIDE; k++) {
        vf scale = d * sc[k], error = scale * (scale * s[k].qq - scaled(2.0f, s[k].qx));
        vi better = (vi)(error < best);
        t->sc = vf_choose(better, sc[k], t->sc);
        t->s = sums_choose(better, s[k], t->s);
        best = vf_choose(better, error, best);
    }
}

/* Scales and d of n sub-blocks of 16. */
INLINE vu choose_symmetric(const vf *x, uint32_t n, symmetric *t)
{
    vf zero = vf_splat(0.0f), extreme = zero, aa = zero, ax = zero;
    for (uint32_t j = 0; j < n; j++) {
        search_symmetric(x + 16 * j, &t[j]);
        vi larger = (vi)(vf_magnitude(t[j].scale) > vf_magnitude(extreme));
        extreme = vf_choose(larger, t[j].scale, extreme);
    }
    vu d = half_scale(scaled(-1.0f / 128.0f, extreme));
    vf step = vf_from_half(d), inverse = ratio_signed(vf_splat(1.0f), step);
    for (uint32_t j = 0; j < n; j++) {
        search_eight_bits(x + 16 * j, step, inverse, &t[j]);
        aa += t[j].sc * t[j].sc * t[j].s.qq;
        ax += t[j].sc * t[j].s.qx;
    }
    return (vu)vf_choose((vi)(aa > zero), (vf)half_scale(vf_ratio(ax, aa)), (vf)d);
}

/* ---- Codes into lines ------------------------------------------------------------------------ */

/* A super-block of LANES rows on its way. */
typedef struct lane_block {
    vf x[CODES];
    uint32_t s;     /* sub-blocks of 32 */
    vu present;     /* all bits set in the lanes of rows that exist */
    uint8_t *out;   /* line 0 of the super-block, at the first of these rows */
    uint8_t *plane; /* its first scale there, where the type has a plane */
    vf error[4];    /* sums of squares: four, since one would wait for its own additions */
    vi scale;       /* largest |d| or |dmin| */
} lane_block;

INLINE void store_line(const lane_block *b, uint32_t line, vu words)
{
    vu_store(b->out + (size_t)line * SLM_LINE_BYTES, words & b->present);
}

/* Stores halves (in the low 16 bits) in row `block` of the plane. */
INLINE void store_scale(lane_block *b, uint32_t block, vu d)
{
    vh narrow = __builtin_convertvector(d & b->present, vh);
    memcpy(b->plane + (size_t)block * 32, &narrow, sizeof narrow);
    b->scale = vi_max((vi)(d & vu_splat(0x7fffu)), b->scale);
}

INLINE void add_square(vf *sum, vf v)
{
    *sum += v * v;
}

/* Four codes of 8 bits, less if they are narrower. */
INLINE vu word_of(const vu *codes)
{
    return codes[0] | codes[1] << 8 | codes[2] << 16 | codes[3] << 24;
}

/* The 8 lines of low nibbles of a chunk of 64 codes. */
INLINE void store_nibbles(const lane_block *b, uint32_t line, const vu *codes)
{
    for (uint32_t q = 0; q < 8; q++) {
        vu low = word_of(codes + 4 * q) & vu_splat(0x0f0f0f0fu);
        vu high = word_of(codes + 32 + 4 * q) & vu_splat(0x0f0f0f0fu);
        store_line(b, line + q, low | high << 4);
    }
}

INLINE void store_six_bits(const lane_block *b, const affine *t)
{
    vu s[8], m[8], first[4], second[4], third[4];
    for (uint32_t j = 0; j < 8; j++) {
        s[j] = j < b->s ? vu_from_nearest(t[j].sc) : vu_splat(0);
        m[j] = j < b->s ? vu_from_nearest(t[j].m) : vu_splat(0);
    }
    for (uint32_t j = 0; j < 4; j++) {
        first[j] = s[j] | s[j + 4] >> 4 << 6;
        second[j] = m[j] | m[j + 4] >> 4 << 6;
        third[j] = (s[j + 4] & vu_splat(15u)) | (m[j + 4] & vu_splat(15u)) << 4;
    }
    store_line(b, 1, word_of(first));
    store_line(b, 2, word_of(second));
    store_line(b, 3, word_of(third));
}

INLINE void affine_codes(lane_block *b, uint32_t j, float top, const affine *t, const steps *p,
                         vu *codes)
{
    vf scale = p->step_d * t->sc, min = p->step_m * t->m;
    vf inverse = vf_ratio(vf_splat(1.0f), scale);
    for (uint32_t i = 0; i < 32; i += 4) {
        UNROLL for (uint32_t k = 0; k < 4; k++)
        {
            vf x = b->x[32 * j + i + k], v = vf_clamp((x + min) * inverse, 0.0f, top);
            add_square(&b->error[k], x - (scale * vf_nearest(v) - min));
            codes[i + k] = vu_from_nearest(v);
        }
    }
}

/* The two lines of fifth bits: bit q of byte b belongs to element 4 q + b. */
INLINE void store_fifth_bits(const lane_block *b, uint32_t line, const vu *codes)
{
    for (uint32_t h = 0; h < 2; h++) {
        vu bits = vu_splat(0);
        for (uint32_t q = 0; q < 8; q++) {
            bits |= (word_of(codes + 32 * h + 4 * q) >> 4 & vu_splat(0x01010101u)) << q;
        }
        store_line(b, line + h, bits);
    }
}

static void encode_affine(lane_block *b, float top)
{
    affine t[8];
    steps p;
    uint32_t per_chunk = top > 15.0f ? 10 : 8;
    choose_affine(b->x, b->s, top, t, &p);
    store_line(b, 0, p.d | p.m << 16);
    store_six_bits(b, t);
    b->scale = vi_max((vi)(p.d & vu_splat(0x7fffu)), b->scale);
    b->scale = vi_max((vi)(p.m & vu_splat(0x7fffu)), b->scale);
    for (uint32_t c = 0; c < (b->s + 1) / 2; c++) {
        vu codes[64];
        affine_codes(b, 2 * c, top, &t[2 * c], &p, codes);
        if (2 * c + 1 < b->s) {
            affine_codes(b, 2 * c + 1, top, &t[2 * c + 1], &p, codes + 32);
        } else {
            memset(codes + 32, 0, 32 * sizeof *codes);
        }
        store_nibbles(b, 4 + c * per_chunk, codes);
        if (top > 15.0f) {
            store_fifth_bits(b, 4 + c * per_chunk + 8, codes);
        }
    }
}

INLINE void symmetric_codes(lane_block *b, uint32_t j, vf scale, vu *codes)
{
    vf inverse = ratio_signed(vf_splat(1.0f), scale);
    for (uint32_t i = 0; i < 16; i += 4) {
        UNROLL for (uint32_t k = 0; k < 4; k++)
        {
            vf x = b->x[16 * j + i + k], v = vf_clamp(x * inverse, -32.0f, 31.0f);
            add_square(&b->error[k], x - scale * vf_nearest(v));
            codes[i + k] = vu_from_nearest(v) + vu_splat(32u);
        }
    }
}

/* Four lines of the upper two bits: pair m of byte b of line 2 h + p is element 32h + 4(4p + m) +
 * b.
 */
INLINE void store_upper_pairs(const lane_block *b, uint32_t line, const vu *codes)
{
    for (uint32_t k = 0; k < 4; k++) {
        vu bits = vu_splat(0);
        for (uint32_t m = 0; m < 4; m++) {
            bits |= (word_of(codes + 16 * k + 4 * m) >> 4 & vu_splat(0x03030303u)) << 2 * m;
        }
        store_line(b, line + k, bits);
    }
}

static void encode_symmetric(lane_block *b, uint32_t index)
{
    symmetric t[16];
    uint32_t n = 2 * b->s, n_chunks = (b->s + 1) / 2;
    vu d = choose_symmetric(b->x, n, t);
    vf step = vf_from_half(d);
    store_scale(b, index, d);
    for (uint32_t c = 0; c < n_chunks; c++) {
        vu codes[64], scales[4];
        for (uint32_t j = 0; j < 4; j++) {
            uint32_t k = 4 * c + j;
            if (k < n) {
                scales[j] = vu_from_nearest(t[k].sc) & vu_splat(0xffu);
                symmetric_codes(b, k, step * t[k].sc, codes + 16 * j);
            } else {
                scales[j] = vu_splat(0);
                memset(codes + 16 * j, 0, 16 * sizeof *codes);
            }
        }
        store_line(b, c, word_of(scales));
        store_nibbles(b, n_chunks + 12 * c, codes);
        store_upper_pairs(b, n_chunks + 12 * c + 8, codes);
    }
}

/* ---- Q8_0, Q4_0: as GGML --------------------------------------------------------------------- */

/* 1 / scale, 0 for scales whose inverse might overflow (their half is 0 anyway). */
INLINE vf inverse_of(vf scale)
{
    vi good = (vi)(vf_magnitude(scale) >= vf_splat(0x1p-120f));
    return vf_choose(good, vf_splat(1.0f) / vf_choose(good, scale, vf_splat(1.0f)), vf_splat(0.0f));
}

/* The code for v = x / scale: nearest, ties away from zero. */
INLINE vi q8_code(vf v)
{
    vf size = vf_magnitude(v);
    vi up = (vi)(size - vf_nearest(size) >= vf_splat(0.5f)), sign = (vi)v >> 31;
    return (((vi)vu_from_nearest(size) - up) ^ sign) - sign;
}

static void encode_q8(lane_block *b, uint32_t index)
{
    for (uint32_t j = 0; j < b->s; j++) {
        const vf *x = b->x + 32 * j;
        vi max = {0};
        for (uint32_t i = 0; i < 32; i++) {
            max = vi_max((vi)vf_magnitude(x[i]), max);
        }
        vf scale = (vf)max / vf_splat(127.0f), inverse = inverse_of(scale);
        vu d = half_scale(scale);
        vf step = vf_from_half(d);
        store_scale(b, 8 * index + j, d);
        for (uint32_t q = 0; q < 8; q++) {
            vu codes[4];
            UNROLL for (uint32_t k = 0; k < 4; k++)
            {
                vi code = q8_code(x[4 * q + k] * inverse);
                vf back = step * __builtin_convertvector(code, vf);
                add_square(&b->error[k], x[4 * q + k] - back);
                codes[k] = (vu)code & vu_splat(0xffu);
            }
            store_line(b, 8 * j + q, word_of(codes));
        }
    }
}

static void encode_q4(lane_block *b, uint32_t index)
{
    for (uint32_t j = 0; j < b->s; j++) {
        const vf *x = b->x + 32 * j;
        vf extreme = vf_splat(0.0f);
        for (uint32_t i = 0; i < 32; i++) {
            vi larger = (vi)(vf_magnitude(x[i]) > vf_magnitude(extreme));
            extreme = vf_choose(larger, x[i], extreme);
        }
        vf scale = scaled(-0.125f, extreme), inverse = inverse_of(scale);
        vu d = half_scale(scale), codes[32];
        vf step = vf_from_half(d);
        store_scale(b, 8 * index + j, d);
        for (uint32_t i = 0; i < 32; i += 4) {
            UNROLL for (uint32_t k = 0; k < 4; k++)
            {
                vf v = x[i + k] * inverse + vf_splat(8.5f);
                vi code = __builtin_convertvector(vf_clamp(v, 0.0f, 15.0f), vi); /* towards 0 */
                vf back = step * (__builtin_convertvector(code, vf) - vf_splat(8.0f));
                add_square(&b->error[k], x[i + k] - back);
                codes[i + k] = (vu)code;
            }
        }
        for (uint32_t q = 0; q < 4; q++) {
            store_line(b, 4 * j + q, word_of(codes + 4 * q) | word_of(codes + 16 + 4 * q) << 4);
        }
    }
}

/* ---- Row groups ------------------------------------------------------------------------------ */

INLINE vf load_source(slm_type type, const uint8_t *row, size_t column)
{
    if (type == SLM_TYPE_F32) {
        return vf_load(row + 4 * column);
    }
    if (type == SLM_TYPE_F16) {
        return vf_load_halves(row + 2 * column);
    }
    return (vf)(vu_load_u16(row + 2 * column) << 16);
}

/* Columns 256 index... of the rows from `first` on, one row in each lane. */
INLINE void load_block(const slm_source_rows *in, uint32_t first, uint32_t index, lane_block *b)
{
    for (uint32_t i = 0; i < 32 * b->s; i += LANES) {
        vf v[LANES];
        for (uint32_t l = 0; l < LANES; l++) {
            const uint8_t *row = in->rows + (first + l) * in->row_bytes;
            v[l] = first + l < in->n_rows
                       ? load_source(in->type, row, (size_t)index * SLM_SUPER_BLOCK + i)
                       : vf_splat(0.0f);
        }
        transpose(v);
        memcpy(b->x + i, v, sizeof v);
    }
}

/* Power and largest magnitude of the values; cuts those for the K types. */
INLINE void look(lane_block *b, bool cut, vf *power, vi *largest)
{
    vf zero = vf_splat(0.0f), sum[4] = {zero, zero, zero, zero};
    for (uint32_t i = 0; i < 32 * b->s; i += 4) {
        UNROLL for (uint32_t k = 0; k < 4; k++)
        {
            vf x = b->x[i + k];
            *largest = vi_max((vi)vf_magnitude(x), *largest);
            sum[k] += x * x;
            b->x[i + k] = cut ? vf_clamp(x, -SLM_LARGEST_WEIGHT, SLM_LARGEST_WEIGHT) : x;
        }
    }
    *power = (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void add_checks(slm_row_check *check, uint32_t n, vf error, vf power, vi largest, vi scale)
{
    for (uint32_t l = 0; l < LANES && l < n; l++) {
        check[l].error += (double)error[l];
        check[l].power += (double)power[l];
        check[l].largest = (uint32_t)largest[l];
        check[l].scale = (uint32_t)scale[l];
    }
}

static void quantize_rows(slm_type to, const slm_source_rows *in, uint32_t first, uint8_t *group,
                          slm_row_check *check)
{
    lane_block b = {.plane = group + 2 * first};
    vi largest = {0};
    vf power;
    uint32_t present[LANES];
    for (uint32_t l = 0; l < LANES; l++) {
        present[l] = first + l < in->n_rows ? UINT32_MAX : 0;
    }
    b.present = vu_load(present);
    uint8_t *lines = group + slm_t16_plane_bytes(to, in->n_cols) + 4 * first;
    for (uint32_t i = 0; i < slm_n_super_blocks(in->n_cols); i++) {
        b.s = slm_sub_blocks(in->n_cols, i);
        b.out = lines + (size_t)i * slm_t16_block_bytes(to, 8);
        b.error[0] = b.error[1] = b.error[2] = b.error[3] = vf_splat(0.0f);
        load_block(in, first, i, &b);
        look(&b, to >= SLM_TYPE_Q4_K, &power, &largest);
        switch (to) {
        case SLM_TYPE_Q4_K: encode_affine(&b, 15.0f); break;
        case SLM_TYPE_Q5_K: encode_affine(&b, 31.0f); break;
        case SLM_TYPE_Q6_K: encode_symmetric(&b, i); break;
        case SLM_TYPE_Q8_0: encode_q8(&b, i); break;
        default: encode_q4(&b, i); break;
        }
        vf error = (b.error[0] + b.error[1]) + (b.error[2] + b.error[3]);
        add_checks(check + first, in->n_rows - first, error, power, largest, b.scale);
    }
}

static void quantize_group(slm_type to, const slm_source_rows *in, uint8_t *group,
                           slm_row_check *check)
{
    memset(check, 0, SLM_GROUP_ROWS * sizeof *check);
    memset(group, 0, (size_t)slm_t16_group_bytes(to, in->n_cols));
    for (uint32_t first = 0; first < in->n_rows; first += LANES) {
        quantize_rows(to, in, first, group, check);
    }
}

#endif
