/* isa_simd128.h - what vectors.h and the templates need of WebAssembly SIMD128. */
#ifndef SLM_KERNELS_ISA_SIMD128_H
#define SLM_KERNELS_ISA_SIMD128_H

#include <wasm_simd128.h>

#define VECTOR_LANES 4
#define STRIP_VECTORS 1 /* vectors of rows in a tile of the matrix product: four rows */
#define TILE_TOKENS 4
#define SMALL_CODE 1  /* a module is downloaded */
#define GEMV_NARROW 1 /* gemv_narrow.h */
#define CENTRED_Q6 1
#define FLOAT_TILE_ROWS 1
#define FLOAT_TILE_TOKENS 2
#define CODE_STEPS                                                                                 \
    2 /* dot steps per word of four codes: bytes 0 and 2, bytes 1 and 3, 16 bits each */

#define STEP_BITS 32

#include "kernels/wasm_vectors.h" /* first: it has madd16 */

#include "kernels/steps.h"

INLINE vu dot_step(slm_type type, vu sum, vu w, vu a, vu negative)
{
    (void)type;
    (void)negative;
    return sum + madd16(w, a);
}

#endif
