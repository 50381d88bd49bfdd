/* evex.c - the kernels for AVX-VNNI in the encoding of AVX-512 VL and VNNI: the same code with the
 * same instruction, for processors that have only the other.
 */
#include "kernels/isa_avxvnni.h" /* first: the templates are made for it */

#include "kernels/variant_table.h"

extern const slm_kernels check_kernels_evex;
const slm_kernels check_kernels_evex = VARIANT_TABLE("avxvnni as evex");
