/* relaxed32.c - the kernels for WebAssembly relaxed SIMD, sums of four products in 32 bits. */
#define RELAXED_BITS 32
#include "kernels/isa_relaxed.h" /* first: the templates are made for it */

#include "kernels/variant_table.h"

const slm_kernels slm_kernels_relaxed32 = VARIANT_TABLE("relaxed32");
