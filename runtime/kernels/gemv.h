/* gemv.h - the product of T16 weights and one token's activations. Part of matmul_q.h.
 */
#ifndef SLM_KERNELS_GEMV_H
#define SLM_KERNELS_GEMV_H

/* GEMV_VECTORS vectors of a row group go through a super-block together and share what is loaded of
 * the activations. `place` is where the super-block would lie if the planes were dealt out among
 * the super-blocks: how far reading has come; NULL for the vectors that follow in its tracks. */

/* Has n lines fetched into the second-level cache that are used a few super-blocks later: weights
 * are read once, in order, but the processor's own prefetching ends with each page. */
INLINE void fetch_ahead(const uint8_t *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        __builtin_prefetch(
            (const void *)((uintptr_t)p + FETCH_AHEAD + i * (uint32_t)SLM_LINE_BYTES), 0, 2);
    }
}

/* Moves the sums of a run, times the scale of their sub-block, to total. */
INLINE void finish_runs(slm_type type, const vu scale_line[GEMV_VECTORS], uint32_t byte,
                        vu sum[GEMV_VECTORS], vu total[GEMV_VECTORS])
{
    UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
    {
        vu scale = type == SLM_TYPE_Q6_K ? signed_scale(scale_line[v], byte)
                                         : unsigned_scale(scale_line[v], byte);
        total[v] = run_finish(total[v], sum[v], run_scale(scale));
        sum[v] = vu_splat(0);
    }
}

/* Adds the sub-blocks of one chunk: sum_j scale_j sum_i code_i a_i. */
INLINE void chunk_dot(slm_type type, const uint8_t *chunk, const act_block *a, uint32_t c,
                      const vu scale_line[GEMV_VECTORS], vu total[GEMV_VECTORS])
{
    uint32_t first = 16 * CODE_STEPS * c, steps = 8 * CODE_STEPS, run = run_steps(type);
    vu low[GEMV_VECTORS] = {{0}}, high[GEMV_VECTORS] = {{0}};
    UNROLL for (uint32_t q = 0; q < 8; q++)
    {
        vu x[GEMV_VECTORS], y[GEMV_VECTORS];
        UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
        {
            chunk_codes(type, chunk + v * VB, q, &x[v], &y[v]);
        }
        UNROLL for (uint32_t p = 0; p < CODE_STEPS; p++)
        {
            uint32_t step = CODE_STEPS * q + p;
            act_word ax = act_step(type, a, first + step);
            act_word ay = act_step(type, a, first + steps + step);
            UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
            {
                low[v] = dot_word(type, low[v], code_step(type, x[v], p), ax);
                high[v] = dot_word(type, high[v], code_step(type, y[v], p), ay);
            }
            if ((step + 1) % run == 0) {
                uint32_t byte = type == SLM_TYPE_Q6_K ? q / 4 : c % 2 * 2;
                uint32_t next = type == SLM_TYPE_Q6_K ? 2 : 1;
                finish_runs(type, scale_line, byte, low, total);
                finish_runs(type, scale_line, byte + next, high, total);
            }
        }
    }
}

INLINE void affine_dot(slm_type type, const uint8_t *block, uint32_t s, const act_block *a,
                       const uint8_t *place, vf out[GEMV_VECTORS])
{
    vu scale[2][GEMV_VECTORS], i1[GEMV_VECTORS] = {{0}}, i2[GEMV_VECTORS] = {{0}};
    if (place) {
        fetch_ahead(place, 4);
    }
    UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
    {
        vu scales[2], min[2];
        affine_scales(block + v * VB, scales, min);
        UNROLL for (uint32_t h = 0; h < 2; h++)
        {
            scale[h][v] = scales[h];
            i2[v] += madd16(even_pair(min[h]), vu_splat_load(&a->sum32[4 * h]));
            i2[v] += madd16(even_pair(min[h] >> 8), vu_splat_load(&a->sum32[4 * h + 2]));
        }
    }
    NO_UNROLL for (uint32_t c = 0; c < (s + 1) / 2; c++)
    {
        uint32_t at = (4 + c * chunk_lines(type)) * SLM_LINE_BYTES;
        if (place) {
            fetch_ahead(place + at, chunk_lines(type));
        }
        chunk_dot(type, block + at, a, c, scale[c / 2], i1);
    }
    UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
    {
        vu both = vu_load(block + v * VB);
        vf scaled = vf_from_halves(both & vu_splat(0xffffu)) * vf_from_ints(i1[v]);
        vf offset = vf_from_halves(both >> 16) * vf_from_ints(i2[v]);
        out[v] = scaled - offset;
    }
}

INLINE void q6_dot(const uint8_t *block, const uint8_t *plane, uint32_t s, const act_block *a,
                   const uint8_t *place, vf out[GEMV_VECTORS])
{
    uint32_t chunks = (s + 1) / 2;
    vu total[GEMV_VECTORS] = {{0}}, bias[GEMV_VECTORS] = {{0}};
    if (place) {
        fetch_ahead(place, 1);
    }
    NO_UNROLL for (uint32_t c = 0; c < chunks; c++)
    {
        vu scale[GEMV_VECTORS];
        if (place) {
            fetch_ahead(place + 32 + c * 13 * SLM_LINE_BYTES, 13);
        }
        UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
        {
            scale[v] = vu_load(block + c * SLM_LINE_BYTES + v * VB);
            bias[v] += madd16(signed_pair(scale[v], 0), vu_splat_load(&a->sum16[4 * c]));
            bias[v] += madd16(signed_pair(scale[v], 1), vu_splat_load(&a->sum16[4 * c + 2]));
        }
        chunk_dot(SLM_TYPE_Q6_K, block + (chunks + c * 12) * SLM_LINE_BYTES, a, c, scale, total);
    }
    UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
    {
        out[v] = vf_load_halves(plane + v * VL * 2) * vf_from_ints(total[v] - (bias[v] << 5));
    }
}

INLINE void plain_dot(slm_type type, const uint8_t *block, const uint8_t *plane, uint32_t s,
                      const act_block *a, const uint8_t *place, vf out[GEMV_VECTORS])
{
    uint32_t lines = plain_bytes(type) / SLM_LINE_BYTES;
    UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
    {
        out[v] = vf_splat(0.0f);
    }
    NO_UNROLL for (uint32_t j = 0; j < s; j++, block += plain_bytes(type), plane += 32)
    {
        vu even[GEMV_VECTORS], odd[GEMV_VECTORS] = {{0}};
        vu start = sum_start(type, a, j);
        if (place) {
            fetch_ahead(place + j * (plain_bytes(type) + 32), lines + 1);
        }
        UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
        {
            even[v] = type == SLM_TYPE_Q4_0 ? vu_splat(0) : start;
        }
        UNROLL for (uint32_t step = 0; step < 8 * CODE_STEPS; step++)
        {
            uint32_t q = step / CODE_STEPS;
            act_word x = act_step(type, a, 8 * CODE_STEPS * j + step);
            UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
            {
                vu *sum = q % 2 == 0 ? &even[v] : &odd[v];
                vu word = plain_word(type, block + v * VB, q);
                *sum = dot_word(type, *sum, code_step(type, word, step % CODE_STEPS), x);
            }
        }
        UNROLL for (uint32_t v = 0; v < GEMV_VECTORS; v++)
        {
            vu sum = run_widen(type, even[v]) + run_widen(type, odd[v]);
            sum += type == SLM_TYPE_Q4_0 ? start : vu_splat(0);
            vf scaled = vf_load_halves(plane + v * VL * 2) * vf_from_ints(sum);
            out[v] = out[v] + scaled;
        }
    }
}

/* GEMV_VECTORS vectors of the rows of one super-block: what the activations' scale multiplies. */
INLINE void block_dot(slm_type type, const uint8_t *block, const uint8_t *plane, uint32_t s,
                      const act_block *a, const uint8_t *place, vf out[GEMV_VECTORS])
{
    if (is_affine(type)) {
        affine_dot(type, block, s, a, place, out);
    } else if (type == SLM_TYPE_Q6_K) {
        q6_dot(block, plane, s, a, place, out);
    } else {
        plain_dot(type, block, plane, s, a, place, out);
    }
}

/* Bytes of plane that one super-block uses. */
INLINE uint32_t plane_step(slm_type type)
{
    return is_affine(type) ? 0 : type == SLM_TYPE_Q6_K ? 32 : 256;
}

/* act: super-block 0 of the token, the next ones act_tokens further on each. */
INLINE void gemv(slm_type type, const slm_matrix *w, uint32_t g0, uint32_t g1, const act_block *act,
                 uint32_t act_tokens, float *y)
{
    uint32_t nb = slm_n_super_blocks(w->n_cols), full = slm_t16_block_bytes(type, 8);
    size_t group_bytes = (size_t)slm_t16_group_bytes(type, w->n_cols);
    uint32_t plane_bytes = slm_t16_plane_bytes(type, w->n_cols), step = plane_step(type);
    for (uint32_t g = g0; g < g1; g++) {
        const uint8_t *group = w->data + g * group_bytes, *block = group + plane_bytes;
        const act_block *a = act;
        vf sum[GROUP_VECTORS] = {{0}};
        for (uint32_t b = 0; b < nb; b++, block += full) {
            uint32_t s = slm_sub_blocks(w->n_cols, b);
            vf d = vf_splat(a->d);
            UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v += GEMV_VECTORS)
            {
                vf out[GEMV_VECTORS];
                block_dot(type, block + v * VB, group + b * step + v * VL * 2, s, a,
                          v == 0 ? group + b * (size_t)(full + step) : NULL, out);
                UNROLL for (uint32_t k = 0; k < GEMV_VECTORS; k++)
                {
                    vf part = d * out[k];
                    sum[v + k] = sum[v + k] + part;
                }
            }
            a += act_tokens;
        }
        UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v++)
        {
            vf_store(y + 16 * g + v * VL, sum[v]);
        }
    }
}

#endif
