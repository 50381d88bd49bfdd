/* avx2.c - the kernels for AVX2 with F16C. */
#include "kernels/isa_avx2.h" /* first: the templates below are made for it */

#include "kernels/attention.h"
#include "kernels/float_ops.h"
#include "kernels/matmul_q.h"
#include "kernels/variants.h"

const slm_kernels slm_kernels_avx2 = {.name = "avx2",
                                      .act_bytes = act_bytes,
                                      .act_quantize = act_quantize,
                                      .matmul_q = matmul_q,
                                      .matmul_f = matmul_f,
                                      .rms_norm = rms_norm,
                                      .layer_norm = layer_norm,
                                      .rope = rope,
                                      .silu_mul = silu_mul,
                                      .gelu_mul = gelu_mul,
                                      .softcap = softcap,
                                      .add = add,
                                      .attention = attention};
