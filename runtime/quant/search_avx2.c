/* search_avx2.c - the scale search for AVX2. */
#define LANES 8
#include "quant/lanes.h"

#include <immintrin.h>

INLINE vf vf_min(vf a, vf b) /* a < b ? a : b */
{
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}

INLINE vf vf_max(vf a, vf b) /* a > b ? a : b */
{
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}

INLINE vi vi_max(vi a, vi b)
{
    return (vi)_mm256_max_epi32((__m256i)a, (__m256i)b);
}

INLINE vu vu_load_u16(const void *p)
{
    return (vu)_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
}

INLINE vf vf_load_halves(const void *p)
{
    return vf_from_any_half(vu_load_u16(p));
}

#include "quant/search.h"

const slm_quantizer slm_quantizer_avx2 = {.name = "avx2", .group = quantize_group};
