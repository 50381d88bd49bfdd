/* matmul_q.h - the product of T16 weights and quantized activations, written once over vectors of
 * rows; each variant includes it after its isa_*.h.
 *
 * Lanes are rows: a 64-byte line of T16 is the same word of 16 rows, so no sum ever crosses lanes.
 * Few tokens: codes go from the line through registers into dot steps. More tokens: a super-block
 * of a strip of rows is unpacked into scratch once and reused by all tokens, a tile of them at a
 * time.
 */
#ifndef SLM_KERNELS_MATMUL_Q_H
#define SLM_KERNELS_MATMUL_Q_H

#include "kernels/vectors.h"

/* Tokens of the smaller tiles: SMALL_TILE, and one. 0: tokens that fill no tile are multiplied one
 * by one, straight from the lines. */
#ifdef SMALL_CODE
#define SMALL_TILE 0
#else
#define SMALL_TILE (TILE_TOKENS / 2)
#endif

/* 2: tiles take codes of Q8_0 as two of 4 bits each, 16 times the upper one too large by 128. */
#ifndef NIBBLE_STEPS
#define NIBBLE_STEPS 1
#endif

#ifndef CAN_PREFETCH /* wasm_vectors.h */
#define CAN_PREFETCH 1
#endif

#ifndef KEEP_SUMS /* wasm_vectors.h */
#define KEEP_SUMS(a, b) ((void)0)
#endif

/* The activations of one token and super-block. Records of one super-block lie side by side for all
 * tokens. Sums stand in fours as 0 2 1 3, the order in which pairs of bytes come out of scale
 * lines. */
typedef struct act_block {
    uint8_t q[256 * CODE_STEPS]; /* int8; or int16, each four elements in the order 0 2 1 3 */
#ifdef SPLIT_SIGNED
    uint8_t positive[256], negative[256]; /* max(q, 0) and max(-q, 0) */
#endif
#if CENTRED_Q6
    uint32_t q6_start[16]; /* -32 times the sums of 16 elements; in 16 bits those of each pair */
#endif
    int32_t negative_sum[8]; /* - sum of 32 elements, in natural order */
    int16_t sum32[8];
    int16_t sum16[16];
    float d;
} act_block;

enum {
    WORD_LINES = 64 * CODE_STEPS,
    PANEL_TOKENS = 128, /* tokens whose sums are kept in scratch at a time */
    STRIP = STRIP_VECTORS,
    FETCH_AHEAD = 9216 /* bytes; 4608 to 16384 are within a tenth of each other */
};

/* A super-block of a strip of rows, unpacked. */
typedef struct strip {
    vu code[WORD_LINES * NIBBLE_STEPS][STRIP];
    vu scale[16][STRIP]; /* of each sub-block, for run_finish; of Q8_0 and Q4_0 the f32 scales */
    vu pair[8][STRIP];   /* 16-bit pairs: mins (Q4_K, Q5_K) or scales (Q6_K) */
    vf d[STRIP], dmin[STRIP];
} strip;
static_assert(sizeof(strip) + PANEL_TOKENS * STRIP * VB <= SLM_MATMUL_SCRATCH, "scratch");

/* ---- Activations ----------------------------------------------------------------------------- */

static size_t act_bytes(uint32_t n_tokens, uint32_t n_cols)
{
    return (size_t)n_tokens * slm_n_super_blocks(n_cols) * sizeof(act_block);
}

static const uint8_t PAIR_ORDER[4] = {0, 2, 1, 3};

/* Sums of 16 codes each, eight bytes at a time: made unsigned by 128, added in pairs, in fours, in
 * eights. */
static void sums_of_16(const int8_t q[256], int32_t sum[16])
{
    const uint64_t even = 0x00ff00ff00ff00ffu;
    uint64_t eight[32];
    memcpy(eight, q, 256);
    for (uint32_t i = 0; i < 32; i++) {
        uint64_t x = eight[i] ^ 0x8080808080808080u;
        x = (x & even) + (x >> 8 & even);
        x += x >> 32;
        eight[i] = (x + (x >> 16)) & 0xffff;
    }
    for (uint32_t i = 0; i < 16; i++) {
        sum[i] = (int32_t)(eight[2 * i] + eight[2 * i + 1]) - 16 * 128;
    }
}

#if CENTRED_Q6
static uint32_t q6_start(const int8_t *q, int32_t sum)
{
    int32_t first = 0;
    if (STEP_BITS == 32) {
        return (uint32_t)(-32 * sum);
    }
    for (uint32_t i = 0; i < 16; i += 4) {
        first += q[i] + q[i + 1];
    }
    return ((uint32_t)(-32 * first) & 0xffffu) | (uint32_t)(-32 * (sum - first)) << 16;
}
#endif

static void store_codes(const int8_t q[256], act_block *out)
{
    for (uint32_t i = 0; i < 256; i++) {
        if (CODE_STEPS == 1) {
            out->q[i] = (uint8_t)q[i];
        } else {
            int16_t wide = q[(i & ~3u) + PAIR_ORDER[i & 3]];
            memcpy(out->q + (size_t)i * (CODE_STEPS == 1 ? 1 : 2), &wide, 2);
        }
    }
#ifdef SPLIT_SIGNED
    for (uint32_t i = 0; i < 256; i++) {
        out->positive[i] = (uint8_t)(q[i] > 0 ? q[i] : 0);
        out->negative[i] = (uint8_t)(q[i] < 0 ? -q[i] : 0);
    }
#endif
    int32_t sum[16];
    sums_of_16(q, sum);
    for (uint32_t j = 0; j < 8; j++) {
        int32_t both = sum[2 * j] + sum[2 * j + 1];
        out->negative_sum[j] = -both;
        out->sum32[(j & ~3u) + PAIR_ORDER[j & 3]] = (int16_t)both;
    }
    for (uint32_t i = 0; i < 16; i++) {
        out->sum16[(i & ~3u) + PAIR_ORDER[i & 3]] = (int16_t)sum[i];
#if CENTRED_Q6
        out->q6_start[i] = q6_start(q + 16 * i, sum[i]);
#endif
    }
}

COLD static void act_quantize_block(const float *x, uint32_t n, act_block *out)
{
    int8_t q[256];
    uint32_t max = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits = f32_bits(x[i]) & 0x7fffffffu;
        max = bits > max ? bits : max;
    }
    float a = f32_from_bits(max);
    if (a < 0x1p-100f) {
        memset(out, 0, sizeof *out);
        return;
    }
    float inverse = 127.0f / a;
    out->d = a / 127.0f;
    memset(q + n, 0, 256 - n);
    for (uint32_t i = 0; i < n; i++) {
        q[i] = (int8_t)(f32_bits(x[i] * inverse + 12582912.0f) & 0xff);
    }
    store_codes(q, out);
}

static void act_quantize(const float *x, size_t ldx, uint32_t t0, uint32_t t1, uint32_t n_tokens,
                         uint32_t n_cols, void *act)
{
    act_block *out = (act_block *)act;
    for (uint32_t t = t0; t < t1; t++) {
        for (uint32_t b = 0; b < slm_n_super_blocks(n_cols); b++) {
            act_quantize_block(x + t * ldx + (size_t)b * 256, 32 * slm_sub_blocks(n_cols, b),
                               out + (size_t)b * n_tokens + t);
        }
    }
}

/* ---- Codes and scales out of lines ----------------------------------------------------------- */

INLINE bool is_affine(slm_type type)
{
    return type == SLM_TYPE_Q4_K || type == SLM_TYPE_Q5_K;
}

INLINE bool is_plain(slm_type type) /* an f32 scale for each 32 elements, no 6-bit scales */
{
    return type == SLM_TYPE_Q8_0 || type == SLM_TYPE_Q4_0;
}

INLINE vu shift_left(vu x, int32_t n) /* n < 0: to the right */
{
    return n > 0 ? x << n : x >> -n;
}

/* Word q (0..7) of both halves of a chunk of 64 elements: four codes in the bytes of each lane. */
INLINE void chunk_codes(slm_type type, const uint8_t *chunk, uint32_t q, vu *low, vu *high)
{
    vu x = vu_load(chunk + (size_t)q * SLM_LINE_BYTES);
    *low = x & vu_splat(0x0f0f0f0fu);
    *high = x >> 4 & vu_splat(0x0f0f0f0fu);
    if (type == SLM_TYPE_Q5_K) {
        vu l = vu_load(chunk + 8 * SLM_LINE_BYTES), h = vu_load(chunk + 9 * SLM_LINE_BYTES);
        *low |= shift_left(l, 4 - (int32_t)q) & vu_splat(0x10101010u);
        *high |= shift_left(h, 4 - (int32_t)q) & vu_splat(0x10101010u);
    } else if (type == SLM_TYPE_Q6_K) {
        const uint8_t *bits = chunk + (8 + q / 4) * SLM_LINE_BYTES;
        vu l = vu_load(bits), h = vu_load(bits + 2 * SLM_LINE_BYTES);
        *low |= shift_left(l, 4 - 2 * (int32_t)(q % 4)) & vu_splat(0x30303030u);
        *high |= shift_left(h, 4 - 2 * (int32_t)(q % 4)) & vu_splat(0x30303030u);
    }
}

INLINE uint32_t chunk_lines(slm_type type)
{
    return type == SLM_TYPE_Q4_K ? 8 : type == SLM_TYPE_Q5_K ? 10 : 12;
}

/* Step p of a word: all four codes, or two of them widened to 16 bits. */
INLINE vu code_step(slm_type type, vu word, uint32_t p)
{
    if (CODE_STEPS == 1) {
        return word;
    }
    if (type == SLM_TYPE_Q8_0) {
        return p == 0 ? (vu)((vh)(word << 8) >> 8) : (vu)((vh)word >> 8);
    }
    return (p == 0 ? word : word >> 8) & vu_splat(0x00ff00ffu);
}

/* Four activations in each lane; of Q8_0 perhaps their positive and negative parts. */
typedef struct act_word {
    vu x, negative;
} act_word;

/* of: the activations of the block that steps are counted from, as the first of q. */
INLINE act_word act_at(slm_type type, const uint8_t *of, uint32_t step)
{
    act_word word = {{0}, {0}};
    (void)type;
    of += 4 * (size_t)step;
#ifdef SPLIT_SIGNED
    if (type == SLM_TYPE_Q8_0) {
        word.x = vu_splat_load(of + offsetof(act_block, positive));
        word.negative = vu_splat_load(of + offsetof(act_block, negative));
        return word;
    }
#endif
    word.x = vu_splat_load(of + offsetof(act_block, q));
    return word;
}

INLINE act_word act_step(slm_type type, const act_block *a, uint32_t step)
{
    return act_at(type, (const uint8_t *)a, step);
}

/* sum + codes times activations: four products in each lane, perhaps as two 16-bit sums. */
INLINE vu dot_word(slm_type type, vu sum, vu codes, act_word a)
{
    return dot_step(type, sum, codes, a.x, a.negative);
}

INLINE vu unsigned_scale(vu line, uint32_t byte)
{
    return line >> 8 * byte & vu_splat(0xffu);
}

INLINE vu signed_scale(vu line, uint32_t byte)
{
    return (vu)((vi)(line << (24 - 8 * byte)) >> 24);
}

/* The 6-bit scales and mins of Q4_K and Q5_K: byte j % 4 of line j / 4 belongs to sub-block j. */
INLINE void affine_scales(const uint8_t *block, vu scale[2], vu min[2])
{
    vu a = vu_load(block + 64), b = vu_load(block + 128), c = vu_load(block + 192);
    vu low6 = vu_splat(0x3f3f3f3fu), low4 = vu_splat(0x0f0f0f0fu), high2 = vu_splat(0x30303030u);
    scale[0] = a & low6;
    min[0] = b & low6;
    scale[1] = (c & low4) | (a >> 2 & high2);
    min[1] = (c >> 4 & low4) | (b >> 2 & high2);
}

INLINE vu even_pair(vu line) /* unsigned bytes 0 and 2; shift the line by 8 for 1 and 3 */
{
    return line & vu_splat(0x00ff00ffu);
}

INLINE vu signed_pair(vu line, uint32_t odd) /* signed bytes 0 and 2, or 1 and 3 */
{
    return (vu)((vh)(line << (odd ? 0 : 8)) >> 8);
}

/* The sum that a block of 32 of Q8_0 or Q4_0 starts from: what its codes are too large by. */
INLINE vu sum_start(slm_type type, const act_block *a, uint32_t j)
{
    if (type == SLM_TYPE_Q8_0 && signed_bias_shift() == 32) {
        return vu_splat(0);
    }
    uint32_t shift = type == SLM_TYPE_Q8_0 ? signed_bias_shift() : 3;
    return vu_splat_load(&a->negative_sum[j]) << shift;
}

/* Word q of a block of 32 of Q8_0 or Q4_0. */
INLINE vu plain_word(slm_type type, const uint8_t *block, uint32_t q)
{
    if (type == SLM_TYPE_Q8_0) {
        return prepare_signed(vu_load(block + q * SLM_LINE_BYTES));
    }
    vu x = vu_load(block + q % 4 * SLM_LINE_BYTES);
    return (q < 4 ? x : x >> 4) & vu_splat(0x0f0f0f0fu);
}

INLINE uint32_t plain_bytes(slm_type type) /* of a block of 32 in 16 rows */
{
    return (type == SLM_TYPE_Q8_0 ? 8 : 4) * SLM_LINE_BYTES;
}

/* ---- One token ------------------------------------------------------------------------------- */

/* Bytes of plane that one super-block uses. */
INLINE uint32_t plane_step(slm_type type)
{
    return is_affine(type) ? 0 : type == SLM_TYPE_Q6_K ? 32 : 256;
}

/* The scales of row group g, which go with all the codes behind them: reading does it better here
 * than prefetching. */
INLINE void read_plane(slm_type type, const slm_matrix *w, uint32_t g)
{
    read_lines(w->data + g * (size_t)slm_t16_group_bytes(type, w->n_cols),
               slm_t16_plane_bytes(type, w->n_cols) / SLM_LINE_BYTES);
}

#ifdef GEMV_NARROW
#define FEW_TOKENS 1
#include "kernels/gemv_narrow.h"
#else
#define FEW_TOKENS 4 /* most that take codes from the lines together */
#include "kernels/gemv.h"
#endif

/* ---- More tokens ----------------------------------------------------------------------------- */

INLINE void unpack_chunk(slm_type type, const uint8_t *chunk, uint32_t c, strip *out, uint32_t r)
{
    UNROLL for (uint32_t q = 0; q < 8; q++)
    {
        vu low, high;
        uint32_t step = CODE_STEPS * (16 * c + q);
        chunk_codes(type, chunk, q, &low, &high);
        UNROLL for (uint32_t p = 0; p < CODE_STEPS; p++)
        {
            out->code[step + p][r] = code_step(type, low, p);
            out->code[step + 8 * CODE_STEPS + p][r] = code_step(type, high, p);
        }
    }
}

INLINE void unpack_affine(slm_type type, const uint8_t *block, uint32_t s, strip *out, uint32_t r)
{
    vu scale[2], min[2], both = vu_load(block);
    affine_scales(block, scale, min);
    out->d[r] = vf_from_halves(both & vu_splat(0xffffu));
    out->dmin[r] = vf_from_halves(both >> 16);
    NO_UNROLL for (uint32_t j = 0; j < 8; j++)
    {
        out->scale[j][r] = run_scale(unsigned_scale(scale[j / 4], j % 4));
    }
    UNROLL for (uint32_t h = 0; h < 2; h++)
    {
        out->pair[2 * h][r] = even_pair(min[h]);
        out->pair[2 * h + 1][r] = even_pair(min[h] >> 8);
    }
    NO_UNROLL for (uint32_t c = 0; c < (s + 1) / 2; c++)
    {
        unpack_chunk(type, block + (4 + c * chunk_lines(type)) * SLM_LINE_BYTES, c, out, r);
    }
}

INLINE void unpack_q6(const uint8_t *block, const uint8_t *plane, uint32_t s, strip *out,
                      uint32_t r)
{
    uint32_t chunks = (s + 1) / 2;
    out->d[r] = vf_load_halves(plane);
    NO_UNROLL for (uint32_t c = 0; c < chunks; c++)
    {
        vu line = vu_load(block + c * SLM_LINE_BYTES);
        UNROLL for (uint32_t j = 0; j < 4; j++)
        {
            out->scale[4 * c + j][r] = run_scale(signed_scale(line, j));
        }
        if (!CENTRED_Q6) {
            out->pair[2 * c][r] = signed_pair(line, 0);
            out->pair[2 * c + 1][r] = signed_pair(line, 1);
        }
        unpack_chunk(SLM_TYPE_Q6_K, block + (chunks + c * 12) * SLM_LINE_BYTES, c, out, r);
    }
}

INLINE void unpack_plain(slm_type type, const uint8_t *block, const uint8_t *plane, uint32_t s,
                         strip *out, uint32_t r)
{
    NO_UNROLL for (uint32_t j = 0; j < s; j++, block += plain_bytes(type), plane += 32)
    {
        out->scale[j][r] = (vu)vf_load_halves(plane);
        UNROLL for (uint32_t q = 0; q < 8; q++)
        {
            if (type == SLM_TYPE_Q8_0 && NIBBLE_STEPS == 2) {
                vu word = vu_load(block + q * SLM_LINE_BYTES) ^ vu_splat(0x80808080u);
                out->code[16 * j + q][r] = word & vu_splat(0x0f0f0f0fu);
                out->code[16 * j + 8 + q][r] = word >> 4 & vu_splat(0x0f0f0f0fu);
                continue;
            }
            UNROLL for (uint32_t p = 0; p < CODE_STEPS; p++)
            {
                out->code[CODE_STEPS * (8 * j + q) + p][r] =
                    code_step(type, plain_word(type, block, q), p);
            }
        }
    }
}

/* Adds n dot steps of a tile, the codes at code times the activations from step `first` on, to
 * sums. */
INLINE void tile_steps(slm_type type, const vu code_at[][STRIP], uint32_t n_vectors,
                       const act_block *a, uint32_t n_tokens, uint32_t first, uint32_t n,
                       vu sum[TILE_TOKENS][STRIP])
{
    UNROLL_STEPS for (uint32_t k = 0; k < n; k++)
    {
        vu code[STRIP];
        UNROLL for (uint32_t r = 0; r < n_vectors; r++)
        {
            code[r] = code_at[k][r];
        }
        UNROLL for (uint32_t t = 0; t < n_tokens; t++)
        {
            act_word x = act_step(type, a + t, first + k);
            UNROLL for (uint32_t r = 0; r < n_vectors; r++)
            {
                sum[t][r] = dot_word(type, sum[t][r], code[r], x);
            }
            KEEP_SUMS(sum[t][0], sum[t][n_vectors - 1]);
        }
    }
}

/* sum_p pairs_p . sums_p for one token: mins times sums of 32, or scales times sums of 16. */
INLINE vu pair_dot(slm_type type, const strip *w, uint32_t r, const act_block *a, uint32_t s)
{
    const int16_t *sums = type == SLM_TYPE_Q6_K ? a->sum16 : a->sum32;
    uint32_t n = type == SLM_TYPE_Q6_K ? (s + 1) / 2 * 2 : 4;
    vu total = {0};
    for (uint32_t p = 0; p < n; p++) {
        total = madd16_add(total, w->pair[p][r], vu_splat_load(sums + 2 * (size_t)p));
    }
    return total;
}

/* What run number `run` of a super-block starts from. */
INLINE vu run_start(slm_type type, const act_block *a, uint32_t run)
{
#if CENTRED_Q6
    if (type == SLM_TYPE_Q6_K) {
        return vu_splat_load(&a->q6_start[run]);
    }
#endif
    (void)type;
    (void)a;
    (void)run;
    return vu_splat(0);
}

INLINE void tile_k(slm_type type, const strip *w, uint32_t n_vectors, const act_block *a,
                   uint32_t n_tokens, uint32_t s, vf out[TILE_TOKENS][STRIP])
{
    vu total[TILE_TOKENS][STRIP];
    uint32_t run = run_steps(type), steps = (s + 1) / 2 * 16 * CODE_STEPS;
    uint32_t runs_per_scale = (type == SLM_TYPE_Q6_K ? 4u : 8u) * CODE_STEPS / run;
    UNROLL for (uint32_t t = 0; t < n_tokens; t++)
    {
        UNROLL for (uint32_t r = 0; r < n_vectors; r++)
        {
            total[t][r] = vu_splat(0);
        }
    }
    NO_UNROLL for (uint32_t k = 0; k < steps; k += run)
    {
        vu sum[TILE_TOKENS][STRIP];
        UNROLL for (uint32_t t = 0; t < n_tokens; t++)
        {
            UNROLL for (uint32_t r = 0; r < n_vectors; r++)
            {
                sum[t][r] = run_start(type, a + t, k / run);
            }
        }
        tile_steps(type, w->code + k, n_vectors, a, n_tokens, k, run, sum);
        const vu *scale = w->scale[k / run / runs_per_scale];
        UNROLL for (uint32_t t = 0; t < n_tokens; t++)
        {
            UNROLL for (uint32_t r = 0; r < n_vectors; r++)
            {
                total[t][r] = run_finish(total[t][r], sum[t][r], scale[r]);
            }
        }
    }
    UNROLL for (uint32_t t = 0; t < n_tokens; t++)
    {
        UNROLL for (uint32_t r = 0; r < n_vectors; r++)
        {
            if (type == SLM_TYPE_Q6_K && CENTRED_Q6) {
                out[t][r] = w->d[r] * vf_from_ints(total[t][r]);
                continue;
            }
            vu pairs = pair_dot(type, w, r, a + t, s);
            if (type == SLM_TYPE_Q6_K) {
                out[t][r] = w->d[r] * vf_from_ints(total[t][r] - (pairs << 5));
            } else {
                vf scaled = w->d[r] * vf_from_ints(total[t][r]);
                vf offset = w->dmin[r] * vf_from_ints(pairs);
                out[t][r] = scaled - offset;
            }
        }
    }
}

/* Block j of Q8_0 by codes of 4 bits, which add up as those of Q4_0 do. */
INLINE void tile_nibbles(const vu code[][STRIP], uint32_t n_vectors, const act_block *a,
                         uint32_t n_tokens, uint32_t j, vu out[TILE_TOKENS][STRIP])
{
    NO_UNROLL for (uint32_t half = 0; half < 2; half++)
    {
        vu sum[TILE_TOKENS][STRIP] = {{{0}}};
        tile_steps(SLM_TYPE_Q4_0, code + 8 * half, n_vectors, a, n_tokens, 8 * j, 8, sum);
        UNROLL for (uint32_t t = 0; t < n_tokens; t++)
        {
            UNROLL for (uint32_t r = 0; r < n_vectors; r++)
            {
                vu start = half == 0 ? vu_splat_load(&a[t].negative_sum[j]) << 7 : out[t][r];
                out[t][r] = start + (run_widen(SLM_TYPE_Q4_0, sum[t][r]) << 4 * half);
            }
        }
    }
}

INLINE void tile_plain(slm_type type, const strip *w, uint32_t n_vectors, const act_block *a,
                       uint32_t n_tokens, uint32_t s, vf out[TILE_TOKENS][STRIP])
{
    UNROLL for (uint32_t t = 0; t < n_tokens; t++)
    {
        UNROLL for (uint32_t r = 0; r < n_vectors; r++)
        {
            out[t][r] = vf_splat(0.0f);
        }
    }
    NO_UNROLL for (uint32_t j = 0; j < s; j++)
    {
        vu sum[TILE_TOKENS][STRIP];
        UNROLL for (uint32_t t = 0; t < n_tokens; t++)
        {
            UNROLL for (uint32_t r = 0; r < n_vectors; r++)
            {
                sum[t][r] = type == SLM_TYPE_Q4_0 ? vu_splat(0) : sum_start(type, a + t, j);
            }
        }
        if (type == SLM_TYPE_Q8_0 && NIBBLE_STEPS == 2) {
            tile_nibbles(w->code + 16 * j, n_vectors, a, n_tokens, j, sum);
        } else {
            tile_steps(type, w->code + 8 * CODE_STEPS * j, n_vectors, a, n_tokens,
                       8 * CODE_STEPS * j, 8 * CODE_STEPS, sum);
        }
        UNROLL for (uint32_t t = 0; t < n_tokens; t++)
        {
            UNROLL for (uint32_t r = 0; r < n_vectors; r++)
            {
                vu whole = run_widen(type, sum[t][r]);
                if (type == SLM_TYPE_Q4_0) { /* its sums may be 16-bit pairs until here */
                    whole += sum_start(type, a + t, j);
                }
                vf scaled = (vf)w->scale[j][r] * vf_from_ints(whole);
                out[t][r] = out[t][r] + scaled;
            }
        }
    }
}

/* y += dA * part for a tile of tokens. y: STRIP vectors a token. */
INLINE void tile(slm_type type, const strip *w, uint32_t n_vectors, const act_block *a,
                 uint32_t n_tokens, uint32_t s, float *y)
{
    vf out[TILE_TOKENS][STRIP];
    if (is_plain(type)) {
        tile_plain(type, w, n_vectors, a, n_tokens, s, out);
    } else {
        tile_k(type, w, n_vectors, a, n_tokens, s, out);
    }
    UNROLL for (uint32_t t = 0; t < n_tokens; t++)
    {
        vf d = vf_splat(a[t].d);
        UNROLL for (uint32_t r = 0; r < n_vectors; r++)
        {
            float *at = y + (t * STRIP + r) * VL;
            vf part = d * out[t][r];
            vf_store(at, vf_load(at) + part);
        }
    }
}

/* Where a panel of the product lies: vectors first.. of rows, counted over all groups. */
typedef struct panel {
    const slm_matrix *w;
    const act_block *act; /* of the panel's first token, super-block 0 */
    uint32_t first, n_tokens, act_tokens;
} panel;

/* Has n lines from *at on fetched into the second-level cache, and moves *at behind them. */
INLINE void fetch_lines(uintptr_t *at, uint32_t n)
{
    for (uint32_t i = 0; CAN_PREFETCH && i < n; i++, *at += SLM_LINE_BYTES) {
        __builtin_prefetch((const void *)*at, 0, 2);
    }
}

/* Has the lines fetched that the sums of a tile go to. */
INLINE void fetch_outputs(const float *y, size_t ldy, uint32_t n_vectors)
{
    for (uint32_t t = 0; CAN_PREFETCH && t < TILE_TOKENS; t++) {
        for (uint32_t r = 0; r < n_vectors; r++) {
            __builtin_prefetch(y + t * ldy + (size_t)r * VL, 1, 2);
        }
    }
}

/* The product of one strip of rows and one panel of tokens, into sums, which go to y later. While a
 * super-block is multiplied, a share of the next one is fetched with each tile, and with the last
 * one what storing will need: little else comes from memory, and all would wait for it. */
INLINE void strip_product(slm_type type, const panel *p, uint32_t n_vectors, strip *buffer,
                          float *sums, const float *y, size_t ldy)
{
    uint32_t n_cols = p->w->n_cols, full = slm_t16_block_bytes(type, 8);
    size_t group_bytes = (size_t)slm_t16_group_bytes(type, n_cols);
    uint32_t plane_bytes = slm_t16_plane_bytes(type, n_cols);
    uint32_t share = full / SLM_LINE_BYTES / (p->n_tokens / TILE_TOKENS + 1) + 1;
    memset(sums, 0, (size_t)p->n_tokens * STRIP * VB);
    for (uint32_t b = 0; b < slm_n_super_blocks(n_cols); b++) {
        uint32_t s = slm_sub_blocks(n_cols, b), t = 0;
        const act_block *a = p->act + (size_t)b * p->act_tokens;
        uintptr_t next[STRIP];
        for (uint32_t r = 0; r < n_vectors; r++) {
            uint32_t n = p->first + r, v = n % GROUP_VECTORS;
            const uint8_t *group = p->w->data + n / GROUP_VECTORS * group_bytes;
            const uint8_t *plane = group + b * plane_step(type) + v * VL * 2;
            const uint8_t *block = group + plane_bytes + (size_t)b * full + v * VB;
            next[r] = (uintptr_t)block + full;
            if (is_affine(type)) {
                unpack_affine(type, block, s, buffer, r);
            } else if (type == SLM_TYPE_Q6_K) {
                unpack_q6(block, plane, s, buffer, r);
            } else {
                unpack_plain(type, block, plane, s, buffer, r);
            }
        }
        for (; t + TILE_TOKENS <= p->n_tokens; t += TILE_TOKENS) {
            for (uint32_t r = 0; r < n_vectors; r++) {
                fetch_lines(&next[r], share);
            }
            if (CAN_PREFETCH && b + 1 == slm_n_super_blocks(n_cols)) {
                fetch_outputs(y + t * ldy, ldy, n_vectors);
            }
            tile(type, buffer, n_vectors, a + t, TILE_TOKENS, s, sums + t * STRIP * VL);
        }
        for (; SMALL_TILE > 1 && t + SMALL_TILE <= p->n_tokens; t += SMALL_TILE) {
            tile(type, buffer, n_vectors, a + t, SMALL_TILE, s, sums + t * STRIP * VL);
        }
        for (; SMALL_TILE > 0 && t < p->n_tokens; t++) {
            tile(type, buffer, n_vectors, a + t, 1, s, sums + t * STRIP * VL);
        }
    }
}

INLINE void gemm(slm_type type, panel p, uint32_t last, float *y, size_t ldy, void *scratch)
{
    strip *buffer = (strip *)scratch;
    float *sums = (float *)(void *)(buffer + 1);
    for (uint32_t n_vectors = STRIP; p.first < last; p.first += n_vectors) {
        float *first = y + p.first * VL;
        if (last - p.first >= STRIP || GROUP_VECTORS % STRIP == 0) {
            strip_product(type, &p, STRIP, buffer, sums, first, ldy);
        } else {
            n_vectors = 1;
            strip_product(type, &p, 1, buffer, sums, first, ldy);
        }
        for (uint32_t t = 0; t < p.n_tokens; t++) {
            for (uint32_t r = 0; r < n_vectors; r++) {
                vf_store(first + t * ldy + r * VL, vf_load(sums + (t * STRIP + r) * VL));
            }
        }
    }
}

INLINE void matmul_type(slm_type type, const slm_matrix *w, uint32_t g0, uint32_t g1,
                        const act_block *act, uint32_t n_tokens, float *y, size_t ldy,
                        void *scratch)
{
    uint32_t tiled = n_tokens <= FEW_TOKENS || n_tokens < TILE_TOKENS ? 0
                     : SMALL_TILE == 0 ? n_tokens / TILE_TOKENS * TILE_TOKENS
                                       : n_tokens;
    for (uint32_t t = 0; t < tiled; t += PANEL_TOKENS) {
        uint32_t n = tiled - t < PANEL_TOKENS ? tiled - t : PANEL_TOKENS;
        panel p = {w, act + t, g0 * (uint32_t)GROUP_VECTORS, n, n_tokens};
        gemm(type, p, g1 * (uint32_t)GROUP_VECTORS, y + t * ldy, ldy, scratch);
    }
    if (tiled < n_tokens) {
        few_tokens(type, w, g0, g1, act, tiled, n_tokens, y, ldy);
    }
}

static void matmul_q(const slm_matrix *w, uint32_t g0, uint32_t g1, const void *act,
                     uint32_t n_tokens, float *y, size_t ldy, void *scratch)
{
    const act_block *a = (const act_block *)act;
    switch (w->type) {
    case SLM_TYPE_Q4_K: matmul_type(SLM_TYPE_Q4_K, w, g0, g1, a, n_tokens, y, ldy, scratch); break;
    case SLM_TYPE_Q5_K: matmul_type(SLM_TYPE_Q5_K, w, g0, g1, a, n_tokens, y, ldy, scratch); break;
    case SLM_TYPE_Q6_K: matmul_type(SLM_TYPE_Q6_K, w, g0, g1, a, n_tokens, y, ldy, scratch); break;
    case SLM_TYPE_Q8_0: matmul_type(SLM_TYPE_Q8_0, w, g0, g1, a, n_tokens, y, ldy, scratch); break;
    case SLM_TYPE_Q4_0: matmul_type(SLM_TYPE_Q4_0, w, g0, g1, a, n_tokens, y, ldy, scratch); break;
    default: break;
    }
}

#endif
