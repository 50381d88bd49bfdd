/* avx512.c - the kernels for AVX-512 with VNNI. */
#include "kernels/isa_avx512.h" /* first: the templates are made for it */

#include "kernels/variant_table.h"

const slm_kernels slm_kernels_avx512 = VARIANT_TABLE("avx512");
