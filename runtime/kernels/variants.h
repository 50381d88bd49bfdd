/* variants.h - the tables that the variant files export: one each, and nothing else. */
#ifndef SLM_KERNELS_VARIANTS_H
#define SLM_KERNELS_VARIANTS_H

#include "kernels/kernels.h"

extern const slm_kernels slm_kernels_ref;
extern const slm_kernels slm_kernels_avx2;
extern const slm_kernels slm_kernels_avxvnni;
extern const slm_kernels slm_kernels_avx512;
extern const slm_kernels slm_kernels_neon;
extern const slm_kernels slm_kernels_neon_dot;
extern const slm_kernels slm_kernels_simd128;
extern const slm_kernels slm_kernels_relaxed16;
extern const slm_kernels slm_kernels_relaxed32;

#endif
