/* isa_avx512.h - what vectors.h and the templates need of AVX-512 F, BW, DQ, VL and VNNI. */
#ifndef SLM_KERNELS_ISA_AVX512_H
#define SLM_KERNELS_ISA_AVX512_H

#include <immintrin.h>

#define VECTOR_LANES 16
#define STRIP_VECTORS 2 /* vectors of rows in a tile of the matrix product: two row groups */
#define TILE_TOKENS 8
#define FLOAT_TILE_ROWS 4
#define FLOAT_TILE_TOKENS 4
#define GEMV_VECTORS 1 /* vectors of rows that one token is multiplied by at a time */
#define CODE_STEPS 1   /* dot steps per word of four codes */
#define STEP_BITS 32
#define BIASED_SIGNED 1
#define CENTRED_Q6 1
#define FUSED_MADD16 1

#include "kernels/vectors.h"

INLINE vu madd16(vu a, vu b)
{
    return (vu)_mm512_madd_epi16((__m512i)a, (__m512i)b);
}

INLINE vu madd16_add(vu sum, vu a, vu b)
{
    return (vu)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
}

INLINE vf vf_max(vf a, vf b) /* a > b ? a : b */
{
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}

INLINE vf vf_min(vf a, vf b) /* a < b ? a : b */
{
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}

INLINE vf vf_load_halves(const uint8_t *p)
{
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

INLINE vf vf_load_codes(const uint8_t *p) /* int8 */
{
    __m128i codes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes));
}

#include "kernels/steps.h"

INLINE vu dot_step(slm_type type, vu sum, vu w, vu a, vu negative)
{
    (void)type;
    (void)negative;
    return (vu)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)a);
}

#endif
