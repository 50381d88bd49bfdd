/* isa_avxvnni.h - what vectors.h and the templates need of AVX2, F16C and AVX-VNNI.
 *
 * With AVX-512 VL and VNNI the same instructions have another encoding; a test compiles them so,
 * since processors with the one are not always at hand.
 */
#ifndef SLM_KERNELS_ISA_AVXVNNI_H
#define SLM_KERNELS_ISA_AVXVNNI_H

#include <immintrin.h>

#define VECTOR_LANES 8
#define STRIP_VECTORS 2 /* vectors of rows in a tile of the matrix product: one row group */
#define TILE_TOKENS 4
#define FLOAT_TILE_ROWS 2
#define FLOAT_TILE_TOKENS 2
#define GEMV_VECTORS 2 /* vectors of rows that one token is multiplied by at a time */
#define CODE_STEPS 1   /* dot steps per word of four codes */
#define STEP_BITS 32
#define BIASED_SIGNED 1
#define CENTRED_Q6 1
#define FUSED_MADD16 1

#include "kernels/avx_vectors.h"

INLINE vu madd16_add(vu sum, vu a, vu b)
{
#if defined(__AVXVNNI__)
    return (vu)_mm256_dpwssd_avx_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
#else
    return (vu)_mm256_dpwssd_epi32((__m256i)sum, (__m256i)a, (__m256i)b);
#endif
}

#include "kernels/steps.h"

INLINE vu dot_step(slm_type type, vu sum, vu w, vu a, vu negative)
{
    (void)type;
    (void)negative;
#if defined(__AVXVNNI__)
    return (vu)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)w, (__m256i)a);
#else
    return (vu)_mm256_dpbusd_epi32((__m256i)sum, (__m256i)w, (__m256i)a);
#endif
}

#endif
