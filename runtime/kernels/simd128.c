/* simd128.c - the kernels for WebAssembly SIMD128. */
#include "kernels/isa_simd128.h" /* first: the templates are made for it */

#include "kernels/variant_table.h"

const slm_kernels slm_kernels_simd128 = VARIANT_TABLE("simd128");
