/* wasm_vectors.h - the operations on vectors that both WebAssembly variants take from SIMD128. */
#ifndef SLM_KERNELS_WASM_VECTORS_H
#define SLM_KERNELS_WASM_VECTORS_H

#include <wasm_simd128.h>

#include "kernels/vectors.h"

INLINE vu madd16(vu a, vu b)
{
    return (vu)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)b);
}

INLINE vf vf_max(vf a, vf b) /* a > b ? a : b */
{
    return (vf)wasm_f32x4_pmax((v128_t)b, (v128_t)a);
}

INLINE vf vf_min(vf a, vf b) /* a < b ? a : b */
{
    return (vf)wasm_f32x4_pmin((v128_t)b, (v128_t)a);
}

INLINE vf vf_load_halves(const uint8_t *p)
{
    return vf_from_halves((vu)wasm_u32x4_load16x4(p));
}

INLINE vf vf_load_codes(const uint8_t *p) /* int8 */
{
    v128_t codes = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p));
    return (vf)wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(codes));
}

#endif
