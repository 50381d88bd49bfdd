/* isa_avx2.h - what vectors.h and the templates need of AVX2 and F16C. */
#ifndef SLM_KERNELS_ISA_AVX2_H
#define SLM_KERNELS_ISA_AVX2_H

#include <immintrin.h>

#define VECTOR_LANES 8
#define STRIP_VECTORS 2 /* vectors of rows in a tile of the matrix product: one row group */
#define TILE_TOKENS 4
#define FLOAT_TILE_ROWS 2
#define FLOAT_TILE_TOKENS 2
#define CODE_STEPS 1 /* dot steps per word of four codes */

#include "kernels/vectors.h"

INLINE vu madd16(vu a, vu b)
{
    return (vu)_mm256_madd_epi16((__m256i)a, (__m256i)b);
}

INLINE vf vf_max(vf a, vf b) /* a > b ? a : b */
{
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}

INLINE vf vf_min(vf a, vf b) /* a < b ? a : b */
{
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}

INLINE vf vf_load_halves(const uint8_t *p)
{
    return (vf)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE vf vf_load_codes(const uint8_t *p) /* int8 */
{
    __m128i codes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
}

/* A run is a number of dot steps whose sum one scale multiplies; here also what fits 16 bits, for
 * vpmaddubsw adds pairs: 8 * 2*15*127, 4 * 2*31*127 and 2 * 2*63*127 are below 2^15. Q8_0 sums in
 * 32 bits at once. */
INLINE uint32_t run_steps(slm_type type)
{
    return type == SLM_TYPE_Q5_K ? 4 : type == SLM_TYPE_Q6_K ? 2 : 8;
}

INLINE vu prepare_signed(vu w)
{
    return w;
}

INLINE uint32_t signed_bias_shift(void)
{
    return 32; /* none */
}

INLINE vu dot_step(slm_type type, vu sum, vu w, vu a)
{
    __m256i wi = (__m256i)w, ai = (__m256i)a;
    if (type == SLM_TYPE_Q8_0) {
        /* |w| * (a with w's sign): |w| may be 128, a is at least -127, a pair at most 32512. */
        __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(wi), _mm256_sign_epi8(ai, wi));
        return sum + (vu)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    }
    return (vu)_mm256_add_epi16((__m256i)sum, _mm256_maddubs_epi16(wi, ai));
}

INLINE vu run_scale(vu scale)
{
    return (scale & vu_splat(0xffffu)) | scale << 16;
}

INLINE vu run_finish(vu total, vu sum, vu scale)
{
    return total + madd16(sum, scale);
}

INLINE vu run_widen(slm_type type, vu sum)
{
    return type == SLM_TYPE_Q8_0 ? sum : madd16(sum, vu_splat(0x00010001u));
}

#endif
