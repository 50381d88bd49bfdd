/* isa_relaxed.h - what vectors.h and the templates need of WebAssembly relaxed SIMD.
 *
 * A relaxed dot product is the same everywhere only while its second operand is 0..127. Codes of 4,
 * 5 and 6 bits stand there, with the activations first. For one token codes of Q8_0 stand first,
 * and the activations are split into their positive and their negative parts, each 0..127; tiles of
 * tokens take each code as two of 4 bits. The relaxed multiply-add is not used.
 *
 * RELAXED_BITS 16: i16x8.relaxed_dot, pairs added up in 16 bits (x86 without AVX-VNNI: vpmaddubsw);
 * RELAXED_BITS 32: i32x4.relaxed_dot_add (AVX-VNNI: vpdpbusd; ARM: sdot). Node 20, which has
 * relaxed SIMD behind a flag only, compiles the latter wrongly; Node 24 is right.
 */
#ifndef SLM_KERNELS_ISA_RELAXED_H
#define SLM_KERNELS_ISA_RELAXED_H

#include <wasm_simd128.h>

#define VECTOR_LANES 4
#define STRIP_VECTORS 2 /* vectors of rows in a tile of the matrix product: eight rows */
#define TILE_TOKENS 4
#define SMALL_CODE 1  /* a module is downloaded */
#define GEMV_NARROW 1 /* gemv_narrow.h */
#define CENTRED_Q6 1
#define NIBBLE_STEPS 2
#define FLOAT_TILE_ROWS 1
#define FLOAT_TILE_TOKENS 2
#define CODE_STEPS 1 /* dot steps per word of four codes */
#define SPLIT_SIGNED 1
#define STEP_BITS RELAXED_BITS

#include "kernels/wasm_vectors.h" /* first: it has madd16 */

#include "kernels/steps.h"

#if RELAXED_BITS == 16

INLINE vu dot_step(slm_type type, vu sum, vu w, vu a, vu negative)
{
    v128_t wi = (v128_t)w, ai = (v128_t)a;
    if (type == SLM_TYPE_Q8_0) { /* a pair is at most 2*128*127: of each code one part is zero */
        v128_t plus = wasm_i16x8_relaxed_dot_i8x16_i7x16(wi, ai);
        v128_t minus = wasm_i16x8_relaxed_dot_i8x16_i7x16(wi, (v128_t)negative);
        return sum + (vu)wasm_i32x4_extadd_pairwise_i16x8(wasm_i16x8_sub(plus, minus));
    }
    return (vu)wasm_i16x8_add((v128_t)sum, wasm_i16x8_relaxed_dot_i8x16_i7x16(ai, wi));
}

#else

INLINE vu dot_step(slm_type type, vu sum, vu w, vu a, vu negative)
{
    v128_t wi = (v128_t)w, ai = (v128_t)a;
    if (type == SLM_TYPE_Q8_0) {
        v128_t minus =
            wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wi, (v128_t)negative, wasm_i32x4_splat(0));
        return (vu)wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wi, ai, (v128_t)sum) - (vu)minus;
    }
    return (vu)wasm_i32x4_relaxed_dot_i8x16_i7x16_add(ai, wi, (v128_t)sum);
}

#endif

#endif
