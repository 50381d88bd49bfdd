/* isa_avx2.h - what vectors.h and the templates need of AVX2 and F16C. */
#ifndef SLM_KERNELS_ISA_AVX2_H
#define SLM_KERNELS_ISA_AVX2_H

#include <immintrin.h>

#define VECTOR_LANES 8
#define STRIP_VECTORS 2 /* vectors of rows in a tile of the matrix product: one row group */
#define TILE_TOKENS 4
#define FLOAT_TILE_ROWS 2
#define FLOAT_TILE_TOKENS 2
#define GEMV_VECTORS 2 /* vectors of rows that one token is multiplied by at a time */
#define CODE_STEPS 1   /* dot steps per word of four codes */
#define STEP_BITS 16

#include "kernels/avx_vectors.h"
#include "kernels/steps.h"

INLINE vu dot_step(slm_type type, vu sum, vu w, vu a, vu negative)
{
    __m256i wi = (__m256i)w, ai = (__m256i)a;
    (void)negative;
    if (type == SLM_TYPE_Q8_0) {
        /* |w| * (a with w's sign): |w| may be 128, a is at least -127, a pair at most 32512. */
        __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(wi), _mm256_sign_epi8(ai, wi));
        return sum + (vu)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    }
    return (vu)_mm256_add_epi16((__m256i)sum, _mm256_maddubs_epi16(wi, ai));
}

#endif
