/* search_ref.c - the scale search one row at a time: what the other variants are held against. */
#define LANES 1
#include "quant/lanes.h"

INLINE vf vf_min(vf a, vf b) /* a < b ? a : b */
{
    return vf_choose((vi)(a < b), a, b);
}

INLINE vf vf_max(vf a, vf b) /* a > b ? a : b */
{
    return vf_choose((vi)(a > b), a, b);
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

const slm_quantizer slm_quantizer_ref = {.name = "ref", .group = quantize_group};
