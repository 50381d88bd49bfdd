/* search_avx512.c - the scale search for AVX-512. */
#define LANES 16
#include "quant/lanes.h"

#include <immintrin.h>

INLINE vf vf_min(vf a, vf b) /* a < b ? a : b */
{
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}

INLINE vf vf_max(vf a, vf b) /* a > b ? a : b */
{
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}

INLINE vi vi_max(vi a, vi b)
{
    return (vi)_mm512_max_epi32((__m512i)a, (__m512i)b);
}

INLINE vu vu_load_u16(const void *p)
{
    return (vu)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
}

INLINE vf vf_load_halves(const void *p)
{
    return (vf)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

#include "quant/search.h"

const slm_quantizer slm_quantizer_avx512 = {.name = "avx512", .group = quantize_group};
