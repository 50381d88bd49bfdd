/* isa_simd128.h - what vectors.h and the templates need of WebAssembly SIMD128. */
#ifndef SLM_KERNELS_ISA_SIMD128_H
#define SLM_KERNELS_ISA_SIMD128_H

#include <wasm_simd128.h>

#define VECTOR_LANES 4
#define STRIP_VECTORS 1 /* vectors of rows in a tile of the matrix product: four rows */
#define TILE_TOKENS 4
#define FLOAT_TILE_ROWS 1
#define FLOAT_TILE_TOKENS 2
#define CODE_STEPS                                                                                 \
    2 /* dot steps per word of four codes: bytes 0 and 2, bytes 1 and 3, 16 bits each */

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

/* A run is a number of dot steps whose sum one scale multiplies. */
INLINE uint32_t run_steps(slm_type type)
{
    return type == SLM_TYPE_Q6_K ? 8 : 16;
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
    (void)type;
    return sum + madd16(w, a);
}

INLINE vu run_scale(vu scale)
{
    return scale;
}

INLINE vu run_finish(vu total, vu sum, vu scale)
{
    return total + sum * scale;
}

INLINE vu run_widen(slm_type type, vu sum)
{
    (void)type;
    return sum;
}

#endif
