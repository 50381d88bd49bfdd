/* wasm_vectors.h - the operations on vectors that both WebAssembly variants take from SIMD128. */
#ifndef SLM_KERNELS_WASM_VECTORS_H
#define SLM_KERNELS_WASM_VECTORS_H

#include <wasm_simd128.h>

#include "kernels/vectors.h"

/* Pointers that the compiler knows nothing of: what is added to them stays an offset in the
 * instruction, and what is read through them is read here and not kept from before. */
#define KEEP_ORDER(p, q) __asm__ volatile("" : "+r"(p), "+r"(q)::"memory")
/* Has two sums added up to here before what follows is read; else the compiler reads all that a
 * loop needs first and adds last, and the browser's 16 registers do not hold that. A lane of each,
 * which nobody uses, is an instruction in the module and none in the browser's code. */
#define KEEP_SUMS(a, b) __asm__ volatile("" ::"r"((a)[0]), "r"((b)[0]) : "memory")

#define CAN_PREFETCH 0 /* there is no such instruction */

INLINE vu madd16(vu a, vu b)
{
    return (vu)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)b);
}

/* Bytes 4 i + byte to lane i of 32 bits, or to both of its halves; those of Q6_K have a sign.
 * Indices of no byte give 0, and a swizzle by a constant is one instruction. */
INLINE vu byte_scale(slm_type type, vu line, uint32_t byte)
{
    bool sign = type == SLM_TYPE_Q6_K;
    uint32_t none = 0x80808080u, first = STEP_BITS == 16 ? (sign ? 0xff00ff00u : 0x00ff00ffu)
                                         : sign          ? 0xff000000u
                                                         : 0x000000ffu;
    uint32_t at = (0x01010101u * byte & first) | (none & ~first);
    uint32_t next = 0x04040404u & first;
    v128_t picked =
        wasm_i8x16_swizzle((v128_t)line, (v128_t)(vu){at, at + next, at + 2 * next, at + 3 * next});
    return !sign             ? (vu)picked
           : STEP_BITS == 16 ? (vu)wasm_i16x8_shr(picked, 8)
                             : (vu)wasm_i32x4_shr(picked, 24);
}

INLINE vf vf_max(vf a, vf b) /* a > b ? a : b */
{
    return (vf)wasm_f32x4_pmax((v128_t)b, (v128_t)a);
}

INLINE vf vf_min(vf a, vf b) /* a < b ? a : b */
{
    return (vf)wasm_f32x4_pmin((v128_t)b, (v128_t)a);
}

/* As vf_from_halves; the sign is there four times, in bits 28 to 31, and stays once. */
INLINE vf vf_load_halves(const uint8_t *p)
{
    vu wide = (vu)wasm_i32x4_load16x4(p);
    return (vf)(wide << 13 & vu_splat(0x8fffe000u)) * (vf)vu_splat(0x77800000u);
}

INLINE vf vf_load_codes(const uint8_t *p) /* int8 */
{
    v128_t codes = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p));
    return (vf)wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(codes));
}

#endif
