/* variant_table.h - the table of a variant whose isa_*.h has been included: all slots from the
 * templates.
 */
#ifndef SLM_KERNELS_VARIANT_TABLE_H
#define SLM_KERNELS_VARIANT_TABLE_H

#include "kernels/attention.h"
#include "kernels/float_ops.h"
#include "kernels/matmul_q.h"
#include "kernels/variants.h"

#define VARIANT_TABLE(NAME)                                                                        \
    {                                                                                              \
        .name = (NAME), .act_bytes = act_bytes, .act_quantize = act_quantize,                      \
        .matmul_q = matmul_q, .matmul_f = matmul_f, .rms_norm = rms_norm,                          \
        .layer_norm = layer_norm, .rope = rope, .silu_mul = silu_mul, .gelu_mul = gelu_mul,        \
        .softcap = softcap, .add = add, .attention = attention                                     \
    }

#endif
