/* rope_scaling.h - long-context scalings that come down to one divisor for each frequency and one
 * factor for cosines and sines -> slm_config. The same numbers on every machine.
 */
#ifndef SLM_TOOLS_ROPE_SCALING_H
#define SLM_TOOLS_ROPE_SCALING_H

#include <stdbool.h>

#include "format/config.h"

/* YaRN (Peng et al. 2023, arXiv 2309.00071). */
typedef struct rope_yarn {
    double factor;               /* at least 1 */
    double original;             /* positions trained for before scaling, at least 1 */
    double beta_fast, beta_slow; /* turns over `original` where blending begins and ends, above 0 */
    bool truncate;               /* the pairs where it does are rounded outwards */
} rope_yarn;

/* Elements of a head that are rotated, halved. */
uint32_t rope_pairs(const slm_config *c);

/* Sets rope_scaling and the divisors; reads head_dim, rope_dim and rope_theta (above 1). */
void rope_scale_yarn(slm_config *c, const rope_yarn *y);

/* What YaRN multiplies cosines and sines with: 1 + 0.1 mscale ln(factor). */
double rope_yarn_magnitude(double factor, double mscale);

/* The same for LongRoPE (Ding et al. 2024, arXiv 2402.13753): sqrt(1 + ln(factor) / ln(original)).
 * original above 1. */
double rope_longrope_magnitude(double factor, double original);

#endif
