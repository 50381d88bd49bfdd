/* variants.h - the tables that the variant files export: one each, and nothing else. */
#ifndef SLM_KERNELS_VARIANTS_H
#define SLM_KERNELS_VARIANTS_H

#include "kernels/kernels.h"

extern const slm_kernels slm_kernels_ref;
extern const slm_kernels slm_kernels_avx2;
extern const slm_kernels slm_kernels_avx512;
extern const slm_kernels slm_kernels_simd128;

#endif
