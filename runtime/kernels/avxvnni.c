/* avxvnni.c - the kernels for AVX2 with the VEX-encoded dot product of AVX-VNNI. */
#include "kernels/isa_avxvnni.h" /* first: the templates are made for it */

#include "kernels/variant_table.h"

const slm_kernels slm_kernels_avxvnni = VARIANT_TABLE("avxvnni");
