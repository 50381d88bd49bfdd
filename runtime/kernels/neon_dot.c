/* neon_dot.c - the kernels for 64-bit ARM with the dot product instructions of ARMv8.2. */
#define NEON_DOT 1
#include "kernels/isa_neon.h" /* first: the templates are made for it */

#include "kernels/variant_table.h"

const slm_kernels slm_kernels_neon_dot = VARIANT_TABLE("neon_dot");
