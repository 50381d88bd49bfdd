/* gemv.h - the product of T16 weights and the activations of one token, or of a few. Part of
 * matmul_q.h.
 *
 * One token: GEMV_VECTORS vectors of a row group go through a super-block together and share what
 * is loaded of the activations. More: one vector, whose codes the tokens share; without that, a
 * draft of two or three tokens would take longer to verify than to make.
 *
 * `lead`: whether nobody has read the super-block before, so that it comes from memory.
 */
#ifndef SLM_KERNELS_GEMV_H
#define SLM_KERNELS_GEMV_H

/* How many vectors and tokens go together: constants, once inlined. */
typedef struct extent {
    uint32_t vectors, tokens;
} extent;

/* Sums of each token and vector. */
typedef struct run_sums {
    vu v[FEW_TOKENS][GEMV_VECTORS];
} run_sums;

INLINE void sums_clear(extent n, run_sums *s)
{
    UNROLL for (uint32_t t = 0; t < n.tokens; t++)
    {
        UNROLL for (uint32_t v = 0; v < n.vectors; v++)
        {
            s->v[t][v] = vu_splat(0);
        }
    }
}

/* Has the n lines of a chunk, all of which it needs for a while, come in their order. */
INLINE void fetch_in_order(const uint8_t *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        __builtin_prefetch(p + (size_t)i * SLM_LINE_BYTES, 0, 3);
    }
}

/* Has one in eight of n lines fetched into the second-level cache that lie as far ahead as carries
 * the processor's prefetching over the ends of pages, where it stops. */
INLINE void fetch_ahead(const uint8_t *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 8) {
        __builtin_prefetch(
            (const void *)((uintptr_t)p + FETCH_AHEAD + i * (uint32_t)SLM_LINE_BYTES), 0, 2);
    }
}

/* Moves the sums of a run, times the scale of their sub-block, to total. */
INLINE void finish_runs(slm_type type, extent n, const vu scale_line[GEMV_VECTORS], uint32_t byte,
                        run_sums *run, run_sums *total)
{
    UNROLL for (uint32_t v = 0; v < n.vectors; v++)
    {
        vu scale = type == SLM_TYPE_Q6_K ? signed_scale(scale_line[v], byte)
                                         : unsigned_scale(scale_line[v], byte);
        UNROLL for (uint32_t t = 0; t < n.tokens; t++)
        {
            total->v[t][v] = run_finish(total->v[t][v], run->v[t][v], run_scale(scale));
            run->v[t][v] = vu_splat(0);
        }
    }
}

/* Adds the sub-blocks of one chunk: sum_j scale_j sum_i code_i a_i. */
INLINE void chunk_dot(slm_type type, extent n, const uint8_t *chunk, const act_block *a, uint32_t c,
                      const vu scale_line[GEMV_VECTORS], run_sums *total)
{
    uint32_t first = 16 * CODE_STEPS * c, steps = 8 * CODE_STEPS, run = run_steps(type);
    run_sums low, high;
    sums_clear(n, &low);
    sums_clear(n, &high);
    UNROLL for (uint32_t q = 0; q < 8; q++)
    {
        vu x[GEMV_VECTORS], y[GEMV_VECTORS];
        UNROLL for (uint32_t v = 0; v < n.vectors; v++)
        {
            chunk_codes(type, chunk + v * VB, q, &x[v], &y[v]);
        }
        UNROLL for (uint32_t p = 0; p < CODE_STEPS; p++)
        {
            uint32_t step = CODE_STEPS * q + p;
            UNROLL for (uint32_t t = 0; t < n.tokens; t++)
            {
                act_word ax = act_step(type, a + t, first + step);
                act_word ay = act_step(type, a + t, first + steps + step);
                UNROLL for (uint32_t v = 0; v < n.vectors; v++)
                {
                    low.v[t][v] = dot_word(type, low.v[t][v], code_step(type, x[v], p), ax);
                    high.v[t][v] = dot_word(type, high.v[t][v], code_step(type, y[v], p), ay);
                }
            }
            if ((step + 1) % run == 0) {
                uint32_t byte = type == SLM_TYPE_Q6_K ? q / 4 : c % 2 * 2;
                uint32_t next = type == SLM_TYPE_Q6_K ? 2 : 1;
                finish_runs(type, n, scale_line, byte, &low, total);
                finish_runs(type, n, scale_line, byte + next, &high, total);
            }
        }
    }
}

/* What the activations' scale multiplies, of each token and vector. */
typedef struct parts {
    vf v[FEW_TOKENS][GEMV_VECTORS];
} parts;

INLINE void affine_dot(slm_type type, extent n, const uint8_t *block, uint32_t s,
                       const act_block *a, bool lead, parts *out)
{
    vu scale[2][GEMV_VECTORS];
    run_sums i1, i2;
    sums_clear(n, &i1);
    sums_clear(n, &i2);
    if (lead) {
        fetch_ahead(block, 4);
    }
    UNROLL for (uint32_t v = 0; v < n.vectors; v++)
    {
        vu scales[2], min[2];
        affine_scales(block + v * VB, scales, min);
        UNROLL for (uint32_t h = 0; h < 2; h++)
        {
            scale[h][v] = scales[h];
            UNROLL for (uint32_t t = 0; t < n.tokens; t++)
            {
                const int16_t *of_mins = a[t].sum32 + (size_t)4 * h;
                vu even = vu_splat_load(of_mins), odd = vu_splat_load(of_mins + 2);
                i2.v[t][v] = madd16_add(i2.v[t][v], even_pair(min[h]), even);
                i2.v[t][v] = madd16_add(i2.v[t][v], even_pair(min[h] >> 8), odd);
            }
        }
    }
    NO_UNROLL for (uint32_t c = 0; c < (s + 1) / 2; c++)
    {
        uint32_t at = (4 + c * chunk_lines(type)) * SLM_LINE_BYTES;
        if (lead) {
            fetch_in_order(block + at, type == SLM_TYPE_Q4_K ? 0 : chunk_lines(type));
            fetch_ahead(block + at, chunk_lines(type));
        }
        chunk_dot(type, n, block + at, a, c, scale[c / 2], &i1);
    }
    UNROLL for (uint32_t v = 0; v < n.vectors; v++)
    {
        vu both = vu_load(block + v * VB);
        UNROLL for (uint32_t t = 0; t < n.tokens; t++)
        {
            vf scaled = vf_from_halves(both & vu_splat(0xffffu)) * vf_from_ints(i1.v[t][v]);
            vf offset = vf_from_halves(both >> 16) * vf_from_ints(i2.v[t][v]);
            out->v[t][v] = scaled - offset;
        }
    }
}

INLINE void q6_dot(extent n, const uint8_t *block, const uint8_t *plane, uint32_t s,
                   const act_block *a, bool lead, parts *out)
{
    uint32_t chunks = (s + 1) / 2;
    run_sums total, bias;
    sums_clear(n, &total);
    sums_clear(n, &bias);
    if (lead) {
        fetch_in_order(block, chunks);
    }
    NO_UNROLL for (uint32_t c = 0; c < chunks; c++)
    {
        vu scale[GEMV_VECTORS];
        const uint8_t *chunk = block + (chunks + c * 12) * SLM_LINE_BYTES;
        if (lead) {
            fetch_in_order(chunk, 12);
            fetch_ahead(chunk, 12);
        }
        UNROLL for (uint32_t v = 0; v < n.vectors; v++)
        {
            scale[v] = vu_load(block + c * SLM_LINE_BYTES + v * VB);
            UNROLL for (uint32_t t = 0; t < n.tokens; t++)
            {
                const int16_t *of_codes = a[t].sum16 + (size_t)4 * c;
                vu even = vu_splat_load(of_codes), odd = vu_splat_load(of_codes + 2);
                bias.v[t][v] = madd16_add(bias.v[t][v], signed_pair(scale[v], 0), even);
                bias.v[t][v] = madd16_add(bias.v[t][v], signed_pair(scale[v], 1), odd);
            }
        }
        chunk_dot(SLM_TYPE_Q6_K, n, chunk, a, c, scale, &total);
    }
    UNROLL for (uint32_t v = 0; v < n.vectors; v++)
    {
        vf d = vf_load_halves(plane + v * VL * 2);
        UNROLL for (uint32_t t = 0; t < n.tokens; t++)
        {
            out->v[t][v] = d * vf_from_ints(total.v[t][v] - (bias.v[t][v] << 5));
        }
    }
}

/* Word by word, the even ones and the odd ones in sums of their own. */
INLINE void plain_block(slm_type type, extent n, const uint8_t *block, const uint8_t *plane,
                        uint32_t j, const act_block *a, parts *out)
{
    run_sums part[2];
    sums_clear(n, &part[1]);
    UNROLL for (uint32_t t = 0; t < n.tokens; t++)
    {
        UNROLL for (uint32_t v = 0; v < n.vectors; v++)
        {
            part[0].v[t][v] = type == SLM_TYPE_Q4_0 ? vu_splat(0) : sum_start(type, a + t, j);
        }
    }
    UNROLL for (uint32_t step = 0; step < 8 * CODE_STEPS; step++)
    {
        uint32_t q = step / CODE_STEPS;
        UNROLL for (uint32_t v = 0; v < n.vectors; v++)
        {
            vu word = code_step(type, plain_word(type, block + v * VB, q), step % CODE_STEPS);
            UNROLL for (uint32_t t = 0; t < n.tokens; t++)
            {
                act_word x = act_step(type, a + t, 8 * CODE_STEPS * j + step);
                part[q % 2].v[t][v] = dot_word(type, part[q % 2].v[t][v], word, x);
            }
        }
    }
    UNROLL for (uint32_t v = 0; v < n.vectors; v++)
    {
        vf d = vf_load_halves(plane + v * VL * 2);
        UNROLL for (uint32_t t = 0; t < n.tokens; t++)
        {
            vu sum = run_widen(type, part[0].v[t][v]) + run_widen(type, part[1].v[t][v]);
            sum += type == SLM_TYPE_Q4_0 ? sum_start(type, a + t, j) : vu_splat(0);
            vf scaled = d * vf_from_ints(sum);
            out->v[t][v] = out->v[t][v] + scaled;
        }
    }
}

INLINE void plain_dot(slm_type type, extent n, const uint8_t *block, const uint8_t *plane,
                      uint32_t s, const act_block *a, bool lead, parts *out)
{
    uint32_t n_bytes = plain_bytes(type);
    UNROLL for (uint32_t t = 0; t < n.tokens; t++)
    {
        UNROLL for (uint32_t v = 0; v < n.vectors; v++)
        {
            out->v[t][v] = vf_splat(0.0f);
        }
    }
    NO_UNROLL for (uint32_t j = 0; j < s; j++, block += n_bytes, plane += 32)
    {
        if (lead) {
            fetch_ahead(block, n_bytes / SLM_LINE_BYTES);
        }
        plain_block(type, n, block, plane, j, a, out);
    }
}

INLINE void block_dot(slm_type type, extent n, const uint8_t *block, const uint8_t *plane,
                      uint32_t s, const act_block *a, bool lead, parts *out)
{
    if (is_affine(type)) {
        affine_dot(type, n, block, s, a, lead, out);
    } else if (type == SLM_TYPE_Q6_K) {
        q6_dot(n, block, plane, s, a, lead, out);
    } else {
        plain_dot(type, n, block, plane, s, a, lead, out);
    }
}

/* One row group times n.tokens tokens. act: super-block 0 of the first, the next super-blocks
 * act_tokens further on each. */
INLINE void group_product(slm_type type, extent n, const slm_matrix *w, uint32_t g,
                          const act_block *act, uint32_t act_tokens, bool lead, float *y,
                          size_t ldy)
{
    uint32_t full = slm_t16_block_bytes(type, 8), step = plane_step(type);
    const uint8_t *group = w->data + g * (size_t)slm_t16_group_bytes(type, w->n_cols);
    const uint8_t *block = group + slm_t16_plane_bytes(type, w->n_cols);
    vf sum[FEW_TOKENS][GROUP_VECTORS] = {{{0}}};
    if (lead) {
        read_plane(type, w, g);
    }
    for (uint32_t b = 0; b < slm_n_super_blocks(w->n_cols); b++, block += full, act += act_tokens) {
        uint32_t s = slm_sub_blocks(w->n_cols, b);
        UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v += n.vectors)
        {
            parts out;
            block_dot(type, n, block + v * VB, group + b * step + v * VL * 2, s, act,
                      lead && v == 0, &out);
            UNROLL for (uint32_t t = 0; t < n.tokens; t++)
            {
                UNROLL for (uint32_t k = 0; k < n.vectors; k++)
                {
                    vf part = vf_splat(act[t].d) * out.v[t][k];
                    sum[t][v + k] = sum[t][v + k] + part;
                }
            }
        }
    }
    UNROLL for (uint32_t t = 0; t < n.tokens; t++)
    {
        UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v++)
        {
            vf_store(y + t * ldy + 16 * g + v * VL, sum[t][v]);
        }
    }
}

/* Tokens t0..t1-1 of row groups g0..g1-1; of more than a few, the later ones find a group's lines
 * in the cache. */
INLINE void few_tokens(slm_type type, const slm_matrix *w, uint32_t g0, uint32_t g1,
                       const act_block *act, uint32_t t0, uint32_t t1, float *y, size_t ldy)
{
    const extent one = {GEMV_VECTORS, 1}, two = {1, 2}, four = {1, 4};
    for (uint32_t g = g0; g < g1; g++) {
        uint32_t t = t0;
        for (; t + 4 <= t1; t += 4) {
            group_product(type, four, w, g, act + t, t1, t == t0, y + t * ldy, ldy);
        }
        for (; t + 2 <= t1; t += 2) {
            group_product(type, two, w, g, act + t, t1, t == t0, y + t * ldy, ldy);
        }
        for (; t < t1; t++) {
            group_product(type, one, w, g, act + t, t1, t == t0, y + t * ldy, ldy);
        }
    }
}

#endif
