/* gemv_narrow.h - the product of T16 weights and one token's activations where a line is four
 * vectors, as in WebAssembly. Part of matmul_q.h.
 *
 * The four vectors of a chunk are taken one after another by the same few instructions: lines are
 * read once and in order, at an even pace, as the processor's own prefetching likes them (there is
 * no instruction to ask for it), and a module stays small.
 */
#ifndef SLM_KERNELS_GEMV_NARROW_H
#define SLM_KERNELS_GEMV_NARROW_H

/* What is summed for 16 rows of one super-block: total_j sum_i scale_j code_i a_i, and what is
 * taken off it. */
typedef struct row_sums {
    vu total[GROUP_VECTORS], minus[GROUP_VECTORS];
} row_sums;

/* Adds up four words of two vectors, both halves of a chunk of 64 elements. words: the first of the
 * four lines; q: the activations; l, h: the upper bits of the codes, of Q5_K and Q6_K. */
INLINE void four_words(slm_type type, const uint8_t *words, const vu l[2], const vu h[2],
                       const uint8_t *q, vu low[2], vu high[2])
{
    UNROLL for (uint32_t w = 0; w < 4; w++)
    {
        vu x[2], y[2];
        UNROLL for (uint32_t v = 0; v < 2; v++)
        {
            vu word = vu_load(words + w * SLM_LINE_BYTES + v * VB);
            x[v] = word & vu_splat(0x0f0f0f0fu);
            y[v] = word >> 4 & vu_splat(0x0f0f0f0fu);
            if (type != SLM_TYPE_Q4_K) {
                int32_t shift = 4 - (type == SLM_TYPE_Q6_K ? 2 : 1) * (int32_t)w;
                vu mask = vu_splat(type == SLM_TYPE_Q6_K ? 0x30303030u : 0x10101010u);
                x[v] |= shift_left(l[v], shift) & mask;
                y[v] |= shift_left(h[v], shift) & mask;
            }
        }
        UNROLL for (uint32_t p = 0; p < CODE_STEPS; p++)
        {
            uint32_t step = CODE_STEPS * w + p;
            vu a = vu_splat_load(q + 4 * step), b = vu_splat_load(q + 4 * (8 * CODE_STEPS + step));
            UNROLL for (uint32_t v = 0; v < 2; v++)
            {
                low[v] = dot_step(type, low[v], code_step(type, x[v], p), a, a);
                high[v] = dot_step(type, high[v], code_step(type, y[v], p), b, b);
            }
        }
        KEEP_SUMS(low[0], low[1]);
        KEEP_SUMS(high[0], high[1]);
    }
}

/* Adds the sub-blocks of chunk c to the totals of two vectors. scales: of Q6_K four bytes, else
 * two. */
INLINE void chunk_dot(slm_type type, const uint8_t *chunk, const act_block *a, uint32_t c,
                      const vu scales[2], vu total[2])
{
    const uint8_t *q = a->q + (size_t)64 * CODE_STEPS * c;
    bool twice = 4 * CODE_STEPS % run_steps(type) == 0; /* a run is half a chunk */
    vu low[2] = {{0}}, high[2] = {{0}}, scale[2] = {scales[0], scales[1]};
    UNROLL for (uint32_t m = 0; m < 2; m++)
    {
        const uint8_t *words = chunk + 4 * m * SLM_LINE_BYTES;
        const uint8_t *acts = q + 16 * CODE_STEPS * m;
        vu l[2] = {{0}}, h[2] = {{0}};
        KEEP_ORDER(words, acts);
        UNROLL for (uint32_t v = 0; v < 2; v++)
        {
            const uint8_t *bits = chunk + 8 * SLM_LINE_BYTES + v * VB;
            if (type == SLM_TYPE_Q5_K) {
                l[v] = vu_load(bits) >> 4 * m;
                h[v] = vu_load(bits + SLM_LINE_BYTES) >> 4 * m;
            } else if (type == SLM_TYPE_Q6_K) {
                l[v] = vu_load(bits + m * SLM_LINE_BYTES);
                h[v] = vu_load(bits + (2 + m) * SLM_LINE_BYTES);
                low[v] = vu_splat_load(&a->q6_start[4 * c + m]);
                high[v] = vu_splat_load(&a->q6_start[4 * c + 2 + m]);
            }
        }
        four_words(type, words, l, h, acts, low, high);
        if (twice || m == 1) {
            UNROLL for (uint32_t v = 0; v < 2; v++)
            {
                uint32_t second = type == SLM_TYPE_Q6_K ? 2 : 1;
                total[v] = run_finish(total[v], low[v], byte_scale(type, scale[v], 0));
                total[v] = run_finish(total[v], high[v], byte_scale(type, scale[v], second));
                low[v] = vu_splat(0);
                high[v] = vu_splat(0);
                if (type == SLM_TYPE_Q6_K) {
                    scale[v] >>= 8;
                }
            }
        }
    }
}

INLINE void affine_rows(slm_type type, const uint8_t *block, uint32_t s, const act_block *a,
                        float *y)
{
    row_sums r;
    vu scale[2][GROUP_VECTORS];
    NO_UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v++)
    {
        vu scales[2], min[2], sum = {0};
        affine_scales(block + v * VB, scales, min);
        UNROLL for (uint32_t h = 0; h < 2; h++)
        {
            scale[h][v] = scales[h];
            sum += madd16(even_pair(min[h]), vu_splat_load(&a->sum32[4 * h]));
            sum += madd16(even_pair(min[h] >> 8), vu_splat_load(&a->sum32[4 * h + 2]));
        }
        r.total[v] = vu_splat(0);
        r.minus[v] = sum;
    }
    NO_UNROLL for (uint32_t c = 0; c < (s + 1) / 2; c++)
    {
        const uint8_t *chunk = block + (4 + c * chunk_lines(type)) * SLM_LINE_BYTES;
        if (type == SLM_TYPE_Q5_K) {
            read_lines(chunk, chunk_lines(type));
        }
        NO_UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v += 2)
        {
            vu scales[2] = {scale[c / 2][v] >> c % 2 * 16, scale[c / 2][v + 1] >> c % 2 * 16};
            chunk_dot(type, chunk + v * VB, a, c, scales, &r.total[v]);
        }
    }
    NO_UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v++)
    {
        vu both = vu_load(block + v * VB);
        vf scaled = vf_from_halves(both & vu_splat(0xffffu)) * vf_from_ints(r.total[v]);
        vf offset = vf_from_halves(both >> 16) * vf_from_ints(r.minus[v]);
        vf part = vf_splat(a->d) * (scaled - offset);
        vf_store(y + v * VL, vf_load(y + v * VL) + part);
    }
}

INLINE void q6_rows(const uint8_t *block, const uint8_t *plane, uint32_t s, const act_block *a,
                    float *y)
{
    uint32_t chunks = (s + 1) / 2;
    vu total[GROUP_VECTORS] = {{0}};
    NO_UNROLL for (uint32_t c = 0; c < chunks; c++)
    {
        const uint8_t *chunk = block + (chunks + c * 12) * SLM_LINE_BYTES;
        const uint8_t *scale = block + c * SLM_LINE_BYTES;
        read_lines(chunk, chunk_lines(SLM_TYPE_Q6_K));
        NO_UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v += 2)
        {
            vu scales[2] = {vu_load(scale + v * VB), vu_load(scale + v * VB + VB)};
            chunk_dot(SLM_TYPE_Q6_K, chunk + v * VB, a, c, scales, &total[v]);
        }
    }
    NO_UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v++)
    {
        vf part = vf_load_halves(plane + v * VL * 2) * vf_from_ints(total[v]);
        part = vf_splat(a->d) * part;
        vf_store(y + v * VL, vf_load(y + v * VL) + part);
    }
}

/* Here two vectors go through the whole super-block before the next ones start: one block has too
 * little to do to hide what comes between blocks. */
INLINE void plain_rows(slm_type type, const uint8_t *block, const uint8_t *plane, uint32_t s,
                       const act_block *a, float *y)
{
    NO_UNROLL for (uint32_t v = 0; v < GROUP_VECTORS; v += 2)
    {
        vf part[2] = {{0}};
        const uint8_t *words = block + v * VB, *d = plane + v * VL * 2;
        const uint8_t *acts = (const uint8_t *)a;
        NO_UNROLL for (uint32_t j = 0; j < s; j++, words += plain_bytes(type), d += 32)
        {
            vu sum[2] = {{0}};
            KEEP_ORDER(words, acts);
            UNROLL for (uint32_t i = 0; i < 8; i++)
            {
                uint32_t q = type == SLM_TYPE_Q4_0 ? i / 2 + i % 2 * 4 : i; /* as lines come */
                UNROLL for (uint32_t p = 0; p < CODE_STEPS; p++)
                {
                    act_word x = act_at(type, acts, CODE_STEPS * q + p);
                    UNROLL for (uint32_t k = 0; k < 2; k++)
                    {
                        vu word = plain_word(type, words + k * VB, q);
                        sum[k] = dot_word(type, sum[k], code_step(type, word, p), x);
                    }
                }
                if (i % 2 == 1) {
                    KEEP_SUMS(sum[0], sum[1]);
                }
            }
            UNROLL for (uint32_t k = 0; k < 2; k++)
            {
                vu whole = run_widen(type, sum[k]) + sum_start(type, a, j);
                vf scaled = vf_load_halves(d + k * VL * 2) * vf_from_ints(whole);
                part[k] = part[k] + scaled;
            }
            acts += (size_t)32 * CODE_STEPS;
        }
        UNROLL for (uint32_t k = 0; k < 2; k++)
        {
            float *to = y + (v + k) * VL;
            part[k] = vf_splat(a->d) * part[k];
            vf_store(to, vf_load(to) + part[k]);
        }
    }
}

/* act: super-block 0 of the token, the next ones act_tokens further on each. */
INLINE void gemv(slm_type type, const slm_matrix *w, uint32_t g0, uint32_t g1, const act_block *act,
                 uint32_t act_tokens, float *y)
{
    uint32_t nb = slm_n_super_blocks(w->n_cols), full = slm_t16_block_bytes(type, 8);
    size_t group_bytes = (size_t)slm_t16_group_bytes(type, w->n_cols);
    uint32_t plane_bytes = slm_t16_plane_bytes(type, w->n_cols);
    for (uint32_t g = g0; g < g1; g++) {
        const uint8_t *plane = w->data + g * group_bytes, *block = plane + plane_bytes;
        const act_block *a = act;
        float *out = y + (size_t)16 * g;
        read_plane(type, w, g);
        memset(out, 0, 16 * sizeof(float));
        for (uint32_t b = 0; b < nb; b++, block += full, plane += plane_step(type)) {
            uint32_t s = slm_sub_blocks(w->n_cols, b);
            if (is_affine(type)) {
                affine_rows(type, block, s, a, out);
            } else if (type == SLM_TYPE_Q6_K) {
                q6_rows(block, plane, s, a, out);
            } else {
                plain_rows(type, block, plane, s, a, out);
            }
            a += act_tokens;
        }
    }
}

INLINE void few_tokens(slm_type type, const slm_matrix *w, uint32_t g0, uint32_t g1,
                       const act_block *act, uint32_t t0, uint32_t t1, float *y, size_t ldy)
{
    for (uint32_t t = t0; t < t1; t++) {
        gemv(type, w, g0, g1, act + t, t1, y + t * ldy);
    }
}

#endif
