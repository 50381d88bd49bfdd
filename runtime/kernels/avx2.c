/* avx2.c - the kernels for AVX2 and F16C. */
#include "kernels/isa_avx2.h" /* first: the templates are made for it */

#include "kernels/variant_table.h"

const slm_kernels slm_kernels_avx2 = VARIANT_TABLE("avx2");
