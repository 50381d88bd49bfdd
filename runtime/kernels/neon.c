/* neon.c - the kernels for 64-bit ARM. */
#include "kernels/isa_neon.h" /* first: the templates are made for it */

#include "kernels/variant_table.h"

const slm_kernels slm_kernels_neon = VARIANT_TABLE("neon");
