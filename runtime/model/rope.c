/* rope.c - rotary position embedding: the frequency of each pair (Su et al. 2021, arXiv 2104.09864)
 * and its long-context scalings.
 */
#include "base/mathf.h"
#include "model/model.h"

/* Llama 3.1: long wavelengths are slowed by the factor, short ones kept, those between blended. */
static double scale_llama3(const slm_config *c, double frequency)
{
    const double two_pi = 6.283185307179586476925;
    double wavelength = two_pi / frequency;
    double original = (double)c->rope_original_context;
    double low = (double)c->rope_low_freq_factor;
    double high = (double)c->rope_high_freq_factor;
    double slowed = frequency / (double)c->rope_factor;
    if (wavelength > original / low) {
        return slowed;
    }
    if (wavelength < original / high) {
        return frequency;
    }
    double kept = (original / wavelength - low) / (high - low);
    return (1.0 - kept) * slowed + kept * frequency;
}

void slm_rope_frequencies(const slm_config *c, bool local, double *frequency)
{
    double log_theta = slm_log((double)(local ? c->rope_local_theta : c->rope_theta));
    uint32_t n = c->rope_dim ? c->rope_dim : c->head_dim;
    for (uint32_t i = 0; i < n / 2; i++) {
        double f = slm_exp64(-(2.0 * (double)i / (double)n) * log_theta);
        if (local) {
            frequency[i] = f;
            continue;
        }
        if (c->rope_scaling == SLM_ROPE_SCALING_LINEAR) {
            f = f / (double)c->rope_factor;
        } else if (c->rope_scaling == SLM_ROPE_SCALING_LLAMA3) {
            f = scale_llama3(c, f);
        } else if (c->rope_scaling == SLM_ROPE_SCALING_DIVISORS) {
            f = f / (double)c->rope_divisors[i];
        }
        frequency[i] = f;
    }
}
