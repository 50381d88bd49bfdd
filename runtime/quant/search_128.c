/* search_128.c - the scale search with 128-bit vectors, which every target has: SSE2, NEON and
 * WebAssembly SIMD128.
 */
#define LANES 4
#include "quant/lanes.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

INLINE vf vf_min(vf a, vf b) /* a < b ? a : b */
{
#if defined(__x86_64__)
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
    return vf_choose((vi)(a < b), a, b);
#endif
}

INLINE vf vf_max(vf a, vf b) /* a > b ? a : b */
{
#if defined(__x86_64__)
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
    return vf_choose((vi)(a > b), a, b);
#endif
}

INLINE vi vi_max(vi a, vi b)
{
    return (vi)vf_choose((vi)(a > b), (vf)a, (vf)b);
}

INLINE vu vu_load_u16(const void *p)
{
    return vu_widened(p);
}

INLINE vf vf_load_halves(const void *p)
{
    return vf_from_any_half(vu_load_u16(p));
}

#include "quant/search.h"

const slm_quantizer slm_quantizer_128 = {.name = "128", .group = quantize_group};
