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

#include "quant/search.h"

const slm_quantizer slm_quantizer_avx2 = {.name = "avx2", .group = quantize_group};
