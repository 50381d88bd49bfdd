/* avx_vectors.h - the operations on vectors that both 256-bit variants take from AVX2 and F16C. */
#ifndef SLM_KERNELS_AVX_VECTORS_H
#define SLM_KERNELS_AVX_VECTORS_H

#include <immintrin.h>

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

#endif
