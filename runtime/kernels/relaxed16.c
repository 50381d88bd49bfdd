/* relaxed16.c - the kernels for WebAssembly relaxed SIMD, sums of two products in 16 bits. */
#define RELAXED_BITS 16
#include "kernels/isa_relaxed.h" /* first: the templates are made for it */

#include "kernels/variant_table.h"

const slm_kernels slm_kernels_relaxed16 = VARIANT_TABLE("relaxed16");
