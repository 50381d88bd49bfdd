/* steps.h - runs of dot steps: a number of steps whose sum one scale multiplies. An isa_*.h defines
 * STEP_BITS, the width in which its dot_step adds up 4-, 5- and 6-bit codes, and perhaps
 * BIASED_SIGNED (its dot_step takes codes as unsigned) and FUSED_MADD16 (it has madd16_add), and
 * includes this.
 *
 * With 16 bits, a step adds two pairs of products to two sums, and a run is as long as those fit:
 * 8 * 2*15*127, 4 * 2*31*127 and 2 * 2*63*127 are below 2^15. Q8_0 adds up in 32 bits at once.
 * CENTRED_Q6 1: sums of Q6_K start from -32 times those of the activations, end at 4 * 2*32*127 at
 * most, and nothing has to be taken off them.
 */
#ifndef SLM_KERNELS_STEPS_H
#define SLM_KERNELS_STEPS_H

#include "kernels/vectors.h"

#ifndef CENTRED_Q6
#define CENTRED_Q6 0
#endif

#ifndef FUSED_MADD16
INLINE vu madd16_add(vu sum, vu a, vu b) /* sum + both products of each lane's 16-bit pairs */
{
    return sum + madd16(a, b);
}
#endif

INLINE uint32_t run_steps(slm_type type)
{
#if STEP_BITS == 16
    return type == SLM_TYPE_Q5_K || (type == SLM_TYPE_Q6_K && CENTRED_Q6) ? 4
           : type == SLM_TYPE_Q6_K                                        ? 2
                                                                          : 8;
#else
    return (type == SLM_TYPE_Q6_K ? 4 : 8) * CODE_STEPS;
#endif
}

/* A scale in the form that run_finish takes. */
INLINE vu run_scale(vu scale)
{
#if STEP_BITS == 16
    return (scale & vu_splat(0xffffu)) | scale << 16;
#else
    return scale;
#endif
}

/* total + sum of the run * scale */
INLINE vu run_finish(vu total, vu sum, vu scale)
{
#if STEP_BITS == 16
    return madd16_add(total, sum, scale);
#else
    return total + sum * scale;
#endif
}

/* The sum of a run in 32 bits. */
INLINE vu run_widen(slm_type type, vu sum)
{
#if STEP_BITS == 16
    return type == SLM_TYPE_Q8_0 ? sum : madd16(sum, vu_splat(0x00010001u));
#else
    (void)type;
    return sum;
#endif
}

/* Codes of Q8_0 as dot_step takes them. Unsigned ones are too large by 128, which sum_start takes
 * off again. */
INLINE vu prepare_signed(vu w)
{
#ifdef BIASED_SIGNED
    return w ^ vu_splat(0x80808080u);
#else
    return w;
#endif
}

INLINE uint32_t signed_bias_shift(void)
{
#ifdef BIASED_SIGNED
    return 7;
#else
    return 32; /* none */
#endif
}

#endif
