/* isa_neon.h - what vectors.h and the templates need of 64-bit ARM; NEON_DOT: with the dot product
 * instructions of ARMv8.2.
 */
#ifndef SLM_KERNELS_ISA_NEON_H
#define SLM_KERNELS_ISA_NEON_H

#include <arm_neon.h>

#define VECTOR_LANES 4
#define STRIP_VECTORS 4 /* vectors of rows in a tile of the matrix product: one row group */
#define TILE_TOKENS 4
#define FLOAT_TILE_ROWS 2
#define FLOAT_TILE_TOKENS 2
#define GEMV_VECTORS 2 /* vectors of rows that one token is multiplied by at a time */
#define CODE_STEPS 1   /* dot steps per word of four codes */
#ifdef NEON_DOT
#define STEP_BITS 32
#else
#define STEP_BITS 16
#endif

#include "kernels/vectors.h"

INLINE vu madd16(vu a, vu b)
{
    int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
    int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    return (vu)vpaddq_s32(low, vmull_high_s16(x, y));
}

INLINE vf vf_max(vf a, vf b) /* a > b ? a : b */
{
    float32x4_t x = (float32x4_t)a, y = (float32x4_t)b;
    return (vf)vbslq_f32(vcgtq_f32(x, y), x, y);
}

INLINE vf vf_min(vf a, vf b) /* a < b ? a : b */
{
    float32x4_t x = (float32x4_t)a, y = (float32x4_t)b;
    return (vf)vbslq_f32(vcltq_f32(x, y), x, y);
}

INLINE vf vf_load_halves(const uint8_t *p)
{
    return (vf)vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

INLINE vf vf_load_codes(const uint8_t *p) /* int8 */
{
    uint32_t four;
    memcpy(&four, p, 4);
    int16x8_t codes = vmovl_s8(vcreate_s8(four));
    return (vf)vcvtq_f32_s32(vmovl_s16(vget_low_s16(codes)));
}

#include "kernels/steps.h"

INLINE vu dot_step(slm_type type, vu sum, vu w, vu a, vu negative)
{
    int8x16_t x = (int8x16_t)w, y = (int8x16_t)a;
    (void)negative;
#ifdef NEON_DOT
    (void)type;
    return (vu)vdotq_s32((int32x4_t)sum, x, y);
#else
    /* A pair of Q8_0 is at most 2*128*127 = 32512. */
    int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(y));
    int16x8_t pairs = vpaddq_s16(low, vmull_high_s8(x, y));
    return type == SLM_TYPE_Q8_0 ? (vu)vpadalq_s16((int32x4_t)sum, pairs)
                                 : (vu)vaddq_s16((int16x8_t)sum, pairs);
#endif
}

#endif
