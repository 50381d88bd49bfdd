/* attention.h - attention over the paged KV cache, written once over vectors; each variant includes
 * it after float_ops.h. The order of operations is that of ref.c.
 *
 * Both of its products, queries times keys and probabilities times values, are sums of a scalar
 * times a row: rows of 32 positions for keys (which the cache holds transposed) and rows of the
 * head's dimensions for values. So one tile of up to four queries and a few vectors does both, and
 * no sum crosses lanes. Queries of one kv head are handled together: all its heads, several tokens.
 * Many queries share rows that are turned into f32 once; few take them from the cache directly.
 */
#ifndef SLM_KERNELS_ATTENTION_H
#define SLM_KERNELS_ATTENTION_H

#include "kernels/float_ops.h"

#ifdef SMALL_CODE
#define STEPS_TOGETHER 1
#else
#define STEPS_TOGETHER 2 /* steps of a tile between two looks at what to fetch */
#endif

enum {
    ATTEND_QUERIES = 64, /* at most so many together */
    ATTEND_PIECE = 64,   /* dimensions turned into f32 at a time */
    ATTEND_FEW = 4,      /* up to so many queries, F16 rows are converted as they are used */
    ATTEND_CHUNKS = 4,   /* and so many chunks go through each step together */
    MAX_HEAD_DIM = 1024,
    QUERY_FLOATS = (ATTEND_CHUNKS + 1) * SLM_KV_BLOCK /* of a query's scratch, beside its output */
};
static_assert((ATTEND_PIECE * SLM_KV_BLOCK + 8 * (MAX_HEAD_DIM + QUERY_FLOATS)) * sizeof(float) <=
                  SLM_MATMUL_SCRATCH,
              "scratch");

typedef struct query {
    const float *q;
    float *o;            /* padded to 16 */
    float *score;        /* of the chunks' positions, then their probabilities */
    float *sum;          /* 16 lanes */
    uint32_t begin, end; /* positions that it sees */
} query;

/* A piece of rows: n_steps rows of n_vectors vectors, f32 or halves, row_bytes apart; and how much
 * of what comes next (NULL: nothing) to fetch meanwhile at each step. */
typedef struct rows {
    const uint8_t *data;
    size_t row_bytes;
    uint32_t n_steps, n_vectors;
    const uint8_t *next;
    size_t next_bytes;
} rows;

/* ---- The tile: out[q] += sum over steps of scalar[q][step] * row[step] -------------------------
 */

INLINE vf row_vector(bool halves, const rows *r, uint32_t step, uint32_t v)
{
    const uint8_t *row = r->data + step * r->row_bytes;
    return halves ? vf_load_halves(row + (size_t)v * VL * 2) : vf_load(row + (size_t)v * VB);
}

INLINE void fetch(const uint8_t *p, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i += SLM_LINE_BYTES) {
        __builtin_prefetch(p + i, 0, 2);
    }
}

INLINE void tile_step(bool halves, uint32_t n_queries, uint32_t n_vectors, const rows *r,
                      uint32_t first, uint32_t step, const float *const scalar[4], vf sum[4][4])
{
    vf row[4];
    UNROLL for (uint32_t v = 0; v < n_vectors; v++)
    {
        row[v] = row_vector(halves, r, step, first + v);
    }
    UNROLL for (uint32_t q = 0; q < n_queries; q++)
    {
        vf x = vf_splat(scalar[q][step]);
        UNROLL for (uint32_t v = 0; v < n_vectors; v++)
        {
            vf product = x * row[v];
            sum[q][v] = sum[q][v] + product;
        }
    }
}

INLINE void outer_tile(bool halves, uint32_t n_queries, uint32_t n_vectors, const rows *r,
                       uint32_t first, const float *const scalar[4], float *const out[4])
{
    vf sum[4][4];
    size_t next_bytes = r->next && first == 0 ? r->next_bytes : 0;
    uint32_t i = 0;
    UNROLL for (uint32_t q = 0; q < n_queries; q++)
    {
        UNROLL for (uint32_t v = 0; v < n_vectors; v++)
        {
            sum[q][v] = vf_load(out[q] + (first + v) * VL);
        }
    }
    NO_UNROLL for (; i + STEPS_TOGETHER <= r->n_steps; i += STEPS_TOGETHER)
    {
        fetch(r->next + i * next_bytes, STEPS_TOGETHER * next_bytes);
        UNROLL for (uint32_t k = 0; k < STEPS_TOGETHER; k++)
        {
            tile_step(halves, n_queries, n_vectors, r, first, i + k, scalar, sum);
        }
    }
    NO_UNROLL for (; i < r->n_steps; i++)
    {
        fetch(r->next + i * next_bytes, next_bytes);
        tile_step(halves, n_queries, n_vectors, r, first, i, scalar, sum);
    }
    UNROLL for (uint32_t q = 0; q < n_queries; q++)
    {
        UNROLL for (uint32_t v = 0; v < n_vectors; v++)
        {
            vf_store(out[q] + (first + v) * VL, sum[q][v]);
        }
    }
}

/* Many queries: two vectors a query, or four with as many registers as that takes; one query: four,
 * so that enough sums are under way. */
INLINE void outer_queries(bool halves, uint32_t n_queries, const rows *r,
                          const float *const scalar[4], float *const out[4])
{
    uint32_t v = 0;
    for (; (n_queries == 1 || VL == 16) && v + 4 <= r->n_vectors; v += 4) {
        outer_tile(halves, n_queries, 4, r, v, scalar, out);
    }
    for (; v + 2 <= r->n_vectors; v += 2) {
        outer_tile(halves, n_queries, 2, r, v, scalar, out);
    }
    if (GROUP_VECTORS == 1 && v < r->n_vectors) {
        outer_tile(halves, n_queries, 1, r, v, scalar, out);
    }
}

INLINE void outer_any(bool halves, uint32_t n_queries, const rows *r, const float *const scalar[4],
                      float *const out[4])
{
    switch (n_queries) {
    case 4: outer_queries(halves, 4, r, scalar, out); break;
    case 3: outer_queries(halves, 3, r, scalar, out); break;
    case 2: outer_queries(halves, 2, r, scalar, out); break;
    default: outer_queries(halves, 1, r, scalar, out); break;
    }
}

static void outer_halves(uint32_t n_queries, const rows *r, const float *const scalar[4],
                         float *const out[4])
{
    outer_any(true, n_queries, r, scalar, out);
}

static void outer_floats(uint32_t n_queries, const rows *r, const float *const scalar[4],
                         float *const out[4])
{
    outer_any(false, n_queries, r, scalar, out);
}

/* ---- Rows of the cache as f32 -----------------------------------------------------------------
 */

INLINE void floats_from_halves(const uint8_t *p, uint32_t n, float *out)
{
    uint32_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf_store(out + i, vf_load_halves(p + 2 * (size_t)i));
    }
    for (; i < n; i++) {
        out[i] = f32_from_half(load_u16(p + 2 * (size_t)i));
    }
}

/* Dimensions d0..d0+n-1 (d0 a multiple of 32) of a head's keys: n rows of 32 positions. */
static void key_rows(uint32_t kv_type, const uint8_t *head, uint32_t head_dim, uint32_t d0,
                     uint32_t n, float *out)
{
    if (kv_type == SLM_KV_F16) {
        floats_from_halves(head + (size_t)d0 * SLM_KV_BLOCK * 2, n * SLM_KV_BLOCK, out);
        return;
    }
    head += (size_t)(d0 / 32) * (32 + 2) * SLM_KV_BLOCK;
    for (uint32_t d = 0; d < n; d += 32) {
        uint32_t here = head_dim - d0 - d < 32 ? head_dim - d0 - d : 32;
        float scale[SLM_KV_BLOCK];
        floats_from_halves(head, SLM_KV_BLOCK, scale);
        head += 2 * SLM_KV_BLOCK;
        for (uint32_t i = 0; i < here * SLM_KV_BLOCK; i += VL, head += VL, out += VL) {
            vf_store(out, vf_load(scale + i % SLM_KV_BLOCK) * vf_load_codes(head));
        }
    }
}

/* n codes of Q8_0 in blocks of a half scale and 32 codes. */
static void floats_from_q8(const uint8_t *p, uint32_t n, float *out)
{
    for (; n >= 32; n -= 32, p += 34, out += 32) {
        vf scale = vf_splat(f32_from_half(load_u16(p)));
        for (uint32_t i = 0; i < 32; i += VL) {
            vf_store(out + i, scale * vf_load_codes(p + 2 + i));
        }
    }
    if (n != 0) {
        slm_kv_decode(SLM_KV_Q8_0, p, n, out);
    }
}

/* Dimensions d0.. (n of them, d0 a multiple of 32) of the values of positions first..last-1: rows
 * of ATTEND_PIECE floats, position 0 at out; those behind the head become zero. */
static void value_rows(uint32_t kv_type, const uint8_t *head, uint32_t head_dim, uint32_t d0,
                       uint32_t n, uint32_t first, uint32_t last, float *out)
{
    size_t head_bytes = slm_kv_head_bytes(kv_type, head_dim);
    size_t at = slm_kv_head_bytes(kv_type, d0);
    for (uint32_t i = first; i < last; i++) {
        const uint8_t *p = head + i * head_bytes + at;
        float *row = out + (size_t)i * ATTEND_PIECE;
        if (n % 16 != 0) {
            memset(row + n, 0, (round_up_u32(n, 16) - n) * sizeof(float));
        }
        if (kv_type == SLM_KV_F32) {
            memcpy(row, p, n * sizeof(float));
        } else if (kv_type == SLM_KV_F16) {
            floats_from_halves(p, n, row);
        } else {
            floats_from_q8(p, n, row);
        }
    }
}

/* ---- One chunk of positions -------------------------------------------------------------------
 */

/* Calls for tiles of up to four queries: n queries from s on, scalars and sums of piece d0. at: the
 * scores of the first position, for values, or of the chunk. */
INLINE void outer_all(bool keys, bool halves, const query *s, uint32_t n, rows *r, uint32_t d0,
                      uint32_t at)
{
    for (uint32_t k = 0; k < n; k += 4, r->next = NULL) {
        uint32_t here = n - k < 4 ? n - k : 4;
        const float *scalar[4] = {NULL};
        float *out[4] = {NULL};
        for (uint32_t i = 0; i < here; i++) {
            scalar[i] = keys ? s[k + i].q + d0 : s[k + i].score + at;
            out[i] = keys ? s[k + i].score + at : s[k + i].o + d0;
        }
        if (halves) {
            outer_halves(here, r, scalar, out);
        } else {
            outer_floats(here, r, scalar, out);
        }
    }
}

/* score_i = sum over d of q_d k_id, for the chunk's positions below hi and perhaps more. at: the
 * chunk's place among the scores. */
static void scores(const slm_attention_args *a, const query *s, uint32_t n, const uint8_t *head,
                   const uint8_t *next, uint32_t hi, uint32_t at, float *buffer)
{
    rows r = {head, SLM_KV_BLOCK * sizeof(float), a->head_dim, round_up_u32(hi, 16) / VL, next, 0};
    r.next_bytes = slm_kv_head_bytes(a->kv_type, a->head_dim) * SLM_KV_BLOCK / a->head_dim;
    for (uint32_t k = 0; k < n; k++) {
        memset(s[k].score + at, 0, SLM_KV_BLOCK * sizeof(float));
    }
    if (a->kv_type == SLM_KV_F32) {
        outer_all(true, false, s, n, &r, 0, at);
        return;
    }
    if (a->kv_type == SLM_KV_F16 && n <= ATTEND_FEW) {
        r.row_bytes = SLM_KV_BLOCK * 2;
        outer_all(true, true, s, n, &r, 0, at);
        return;
    }
    for (uint32_t d = 0; d < a->head_dim; d += ATTEND_PIECE) {
        r.n_steps = a->head_dim - d < ATTEND_PIECE ? a->head_dim - d : ATTEND_PIECE;
        r.data = (const uint8_t *)buffer;
        key_rows(a->kv_type, head, a->head_dim, d, r.n_steps, buffer);
        outer_all(true, false, s, n, &r, d, at);
    }
}

/* o_d += sum over positions first..last-1 of p_i v_id. */
static void add_values(const slm_attention_args *a, const query *s, uint32_t n, const uint8_t *head,
                       const uint8_t *next, uint32_t first, uint32_t last, uint32_t at,
                       float *buffer)
{
    size_t head_bytes = slm_kv_head_bytes(a->kv_type, a->head_dim);
    rows r = {head + first * head_bytes, head_bytes, last - first,
              a->head_dim / VL,          next,       head_bytes};
    bool whole = a->head_dim % 16 == 0;
    if (whole && a->kv_type == SLM_KV_F32) {
        outer_all(false, false, s, n, &r, 0, at + first);
        return;
    }
    if (whole && a->kv_type == SLM_KV_F16 && n <= ATTEND_FEW) {
        outer_all(false, true, s, n, &r, 0, at + first);
        return;
    }
    r.row_bytes = ATTEND_PIECE * sizeof(float);
    r.data = (const uint8_t *)(buffer + first * ATTEND_PIECE);
    for (uint32_t d = 0; d < a->head_dim; d += ATTEND_PIECE) {
        uint32_t here = a->head_dim - d < ATTEND_PIECE ? a->head_dim - d : ATTEND_PIECE;
        value_rows(a->kv_type, head, a->head_dim, d, here, first, last, buffer);
        r.n_vectors = round_up_u32(here, 16) / VL;
        outer_all(false, false, s, n, &r, d, at + first);
    }
}

/* All ones in the lanes whose position in the chunk, i + lane, is within first..last-1. */
INLINE vu visible_lanes(uint32_t i, uint32_t first, uint32_t last)
{
    static const uint32_t LANE[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vu position = vu_load(LANE) + vu_splat(i - first); /* wraps below first */
    return (vu)(position < vu_splat(last - first));
}

/* A chunk's scores become scaled, capped and -inf where masked; returns the largest. */
INLINE float finish_scores(const slm_attention_args *a, float *score, uint32_t first, uint32_t last)
{
    vf max = vf_splat(-__builtin_inff());
    for (uint32_t i = 0; i < SLM_KV_BLOCK; i += VL) {
        vf x = vf_load(score + i) * vf_splat(a->scale);
        if (a->softcap != 0.0f) {
            x = vf_splat(a->softcap) * vf_tanh(x / vf_splat(a->softcap));
        }
        vu mask = visible_lanes(i, first, last);
        x = (vf)(((vu)x & mask) | (vu_splat(0xff800000u) & ~mask));
        vf_store(score + i, x);
        max = vf_max(x, max);
    }
    return vf_largest(max);
}

/* A chunk's scores become probabilities relative to the new maximum, added to those before, which
 * are scaled by c. */
INLINE void finish_query(const query *s, float *score, uint32_t first, uint32_t last, float max,
                         float c)
{
    lanes sum = lanes_load(s->sum);
    UNROLL for (int v = 0; v < GROUP_VECTORS; v++)
    {
        sum.v[v] = sum.v[v] * vf_splat(c);
    }
    for (uint32_t i = 0; i < SLM_KV_BLOCK; i += 16) {
        UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v++)
        {
            uint32_t at = i + v * VL;
            vf p = vf_exp(vf_load(score + at) - vf_splat(max));
            p = (vf)((vu)p & visible_lanes(at, first, last));
            vf_store(score + at, p);
            sum.v[v] = sum.v[v] + p;
        }
    }
    lanes_store(s->sum, sum);
}

/* What was summed before is scaled by c. o is never -0, so that 1 changes nothing. */
INLINE void scale_output(const query *s, float c, uint32_t ld)
{
    for (uint32_t d = 0; c != 1.0f && d < ld; d += VL) {
        vf scaled = vf_load(s->o + d) * vf_splat(c);
        vf_store(s->o + d, scaled + vf_splat(0.0f));
    }
}

/* The keys or values of a kv head in block number `chunk` of the table. */
INLINE const uint8_t *head_of(const slm_attention_args *a, const uint8_t *pool, uint32_t kv_head,
                              uint32_t chunk)
{
    return pool + SLM_KV_BLOCK * (a->blocks[chunk] * a->kv_row_bytes +
                                  kv_head * slm_kv_head_bytes(a->kv_type, a->head_dim));
}

/* The positions first..last-1 of the chunk from p0 on that lie within begin..end-1. */
typedef struct span {
    uint32_t first, last;
} span;

INLINE span visible_part(uint32_t begin, uint32_t end, uint32_t p0)
{
    uint32_t last = end <= p0 ? 0 : end - p0 < SLM_KV_BLOCK ? end - p0 : SLM_KV_BLOCK;
    uint32_t first = begin > p0 ? begin - p0 : 0;
    return (span){first < last ? first : last, last};
}

/* Scores of n_chunks chunks become probabilities. max: the queries' running maxima. change: becomes
 * what each chunk scales the output before it by; with room for a vector behind it. */
static void finish_chunks(const slm_attention_args *a, uint32_t chunk, uint32_t n_chunks,
                          const query *s, uint32_t n, float *max, float *change)
{
    float maxima[ATTEND_QUERIES];
    uint32_t p0 = chunk * SLM_KV_BLOCK, all = n_chunks * n;
    for (uint32_t i = 0, at = 0; i < all; at += SLM_KV_BLOCK) {
        for (uint32_t k = 0; k < n; k++, i++) {
            span seen = visible_part(s[k].begin, s[k].end, p0 + at);
            float here = finish_scores(a, s[k].score + at, seen.first, seen.last), before = max[k];
            max[k] = maxima[i] = here > before ? here : before;
            change[i] = before - maxima[i];
        }
    }
    for (uint32_t i = 0; i < all; i += VL) {
        vf_store(change + i, vf_exp(vf_load(change + i)));
    }
    for (uint32_t i = 0, at = 0; i < all; at += SLM_KV_BLOCK) {
        for (uint32_t k = 0; k < n; k++, i++) {
            span seen = visible_part(s[k].begin, s[k].end, p0 + at);
            finish_query(&s[k], s[k].score + at, seen.first, seen.last, maxima[i], change[i]);
        }
    }
}

/* Chunks chunk.. for n queries that all see some of each. */
static void attend_chunks(const slm_attention_args *a, uint32_t kv_head, uint32_t chunk,
                          uint32_t n_chunks, const query *s, uint32_t n, float *max, float *change,
                          float *buffer)
{
    uint32_t ld = round_up_u32(a->head_dim, 16), end = s[n - 1].end;
    for (uint32_t i = 0; i < n_chunks; i++) {
        uint32_t p0 = (chunk + i) * SLM_KV_BLOCK;
        bool more = end > p0 + SLM_KV_BLOCK;
        const uint8_t *next = more ? head_of(a, a->k, kv_head, chunk + i + 1) : NULL;
        scores(a, s, n, head_of(a, a->k, kv_head, chunk + i), next, visible_part(0, end, p0).last,
               i * SLM_KV_BLOCK, buffer);
    }
    finish_chunks(a, chunk, n_chunks, s, n, max, change);
    for (uint32_t i = 0; i < n_chunks; i++) {
        uint32_t p0 = (chunk + i) * SLM_KV_BLOCK;
        bool more = end > p0 + SLM_KV_BLOCK;
        const uint8_t *next = more ? head_of(a, a->v, kv_head, chunk + i + 1) : NULL;
        span seen = visible_part(s[0].begin, end, p0);
        for (uint32_t k = 0; k < n; k++) {
            scale_output(&s[k], change[i * n + k], ld);
        }
        add_values(a, s, n, head_of(a, a->v, kv_head, chunk + i), next, seen.first, seen.last,
                   i * SLM_KV_BLOCK, buffer);
    }
}

/* ---- All chunks -------------------------------------------------------------------------------
 */

INLINE uint32_t end_of(const slm_attention_args *a, uint32_t t)
{
    return a->pos0 + t + 1;
}

INLINE uint32_t begin_of(const slm_attention_args *a, uint32_t t)
{
    return a->window != 0 && end_of(a, t) > a->window ? end_of(a, t) - a->window : 0;
}

/* Query number k of the kv head, counted token by token, head by head. */
INLINE size_t query_place(const slm_attention_args *a, uint32_t kv_head, uint32_t t0, uint32_t k)
{
    uint32_t per_token = a->n_heads / a->n_kv_heads;
    return (t0 + k / per_token) * a->q_stride +
           (size_t)(kv_head * per_token + k % per_token) * a->head_dim;
}

static void finish(const slm_attention_args *a, const query *s, float *out)
{
    float sum = lanes_sum(lanes_load(s->sum));
    uint32_t d = 0;
    for (; d + VL <= a->head_dim; d += VL) {
        vf_store(out + d, vf_load(s->o + d) / vf_splat(sum));
    }
    for (; d < a->head_dim; d++) {
        out[d] = s->o[d] / sum;
    }
}

/* Queries number k0..k0+n-1. Their ranges ascend, so those that see a chunk are neighbours. */
static void attend(const slm_attention_args *a, uint32_t kv_head, uint32_t t0, uint32_t k0,
                   uint32_t n, float *scratch)
{
    uint32_t ld = round_up_u32(a->head_dim, 16), per_token = a->n_heads / a->n_kv_heads;
    size_t head_bytes = slm_kv_head_bytes(a->kv_type, a->head_dim);
    float *buffer = scratch, *space = scratch + ATTEND_PIECE * SLM_KV_BLOCK;
    float max[ATTEND_QUERIES], change[ATTEND_QUERIES + VL] = {0};
    query s[ATTEND_QUERIES];
    for (uint32_t k = 0; k < n; k++, space += ld + QUERY_FLOATS) {
        uint32_t t = t0 + (k0 + k) / per_token;
        s[k] = (query){.q = a->q + query_place(a, kv_head, t0, k0 + k),
                       .score = space,
                       .sum = space + ATTEND_CHUNKS * SLM_KV_BLOCK,
                       .o = space + QUERY_FLOATS,
                       .begin = begin_of(a, t),
                       .end = end_of(a, t)};
        memset(s[k].sum, 0, 16 * sizeof(float));
        memset(s[k].o, 0, ld * sizeof(float));
        max[k] = -__builtin_inff();
    }
    uint32_t lo = 0, hi = 0, p0 = begin_of(a, t0 + k0 / per_token) / SLM_KV_BLOCK * SLM_KV_BLOCK;
    fetch(head_of(a, a->k, kv_head, p0 / SLM_KV_BLOCK), head_bytes * SLM_KV_BLOCK);
    fetch(head_of(a, a->v, kv_head, p0 / SLM_KV_BLOCK), head_bytes * SLM_KV_BLOCK);
    while (p0 < s[n - 1].end) {
        while (s[lo].end <= p0) {
            lo++;
        }
        while (hi < n && s[hi].begin < p0 + SLM_KV_BLOCK) {
            hi++;
        }
        uint32_t n_chunks = 1;
        while (n_chunks < ATTEND_CHUNKS && hi - lo <= ATTEND_FEW && hi == n &&
               s[lo].end > p0 + n_chunks * SLM_KV_BLOCK) {
            n_chunks++;
        }
        attend_chunks(a, kv_head, p0 / SLM_KV_BLOCK, n_chunks, s + lo, hi - lo, max + lo, change,
                      buffer);
        p0 += n_chunks * SLM_KV_BLOCK;
    }
    for (uint32_t k = 0; k < n; k++) {
        finish(a, &s[k], a->out + query_place(a, kv_head, t0, k0 + k));
    }
}

static void attention(const slm_attention_args *a, uint32_t kv_head, uint32_t t0, uint32_t t1,
                      void *scratch)
{
    uint32_t n = (t1 - t0) * (a->n_heads / a->n_kv_heads), ld = round_up_u32(a->head_dim, 16);
    uint32_t room = SLM_MATMUL_SCRATCH / sizeof(float) - ATTEND_PIECE * SLM_KV_BLOCK;
    uint32_t most = room / (ld + QUERY_FLOATS);
    most = most < ATTEND_QUERIES ? most : ATTEND_QUERIES;
    for (uint32_t k = 0; k < n; k += most) {
        attend(a, kv_head, t0, k, n - k < most ? n - k : most, (float *)scratch);
    }
}

#endif
