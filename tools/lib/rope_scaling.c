/* rope_scaling.c - see rope_scaling.h. */
#include "lib/rope_scaling.h"

#include <math.h>

#include "base/mathf.h"

uint32_t rope_pairs(const slm_config *c)
{
    return (c->rope_dim ? c->rope_dim : c->head_dim) / 2;
}

/* The pair that turns so many times within the original context. */
static double pair_of_turns(const slm_config *c, const rope_yarn *y, double turns)
{
    const double two_pi = 6.283185307179586476925;
    return rope_pairs(c) * slm_log(y->original / (turns * two_pi)) / slm_log((double)c->rope_theta);
}

void rope_scale_yarn(slm_config *c, const rope_yarn *y)
{
    uint32_t n = rope_pairs(c);
    double low = pair_of_turns(c, y, y->beta_fast), high = pair_of_turns(c, y, y->beta_slow);
    if (y->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = low > 0 ? low : 0;
    high = high < 2.0 * n - 1 ? high : 2.0 * n - 1;
    if (!(high > low) && !(high < low)) {
        high = low + 0.001; /* no pair is blended; nothing is divided by 0 */
    }
    c->rope_scaling = SLM_ROPE_SCALING_DIVISORS;
    c->n_rope_divisors = n;
    for (uint32_t i = 0; i < n; i++) {
        double slowed = (i - low) / (high - low);
        slowed = slowed > 0 ? (slowed < 1 ? slowed : 1) : 0;
        c->rope_divisors[i] = (float)(1 / (slowed / y->factor + (1 - slowed)));
    }
}

double rope_yarn_magnitude(double factor, double mscale)
{
    return factor > 1 ? 1 + 0.1 * mscale * slm_log(factor) : 1;
}

double rope_longrope_magnitude(double factor, double original)
{
    return factor > 1 ? sqrt(1 + slm_log(factor) / slm_log(original)) : 1;
}
