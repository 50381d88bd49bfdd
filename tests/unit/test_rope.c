/* test_rope.c - rotary frequencies against the formulas in the C library's pow, and against values
 * worked out by hand for the llama3 scaling. */
#include <math.h>

#include "lib/check.h"
#include "model/model.h"

static bool close_to(double got, double want)
{
    if (fabs(got - want) <= 1e-13 * fabs(want)) {
        return true;
    }
    printf("# got %.17g, want %.17g\n", got, want);
    return false;
}

static slm_config config(uint32_t head_dim, float theta)
{
    slm_config c = slm_config_default();
    c.head_dim = head_dim;
    c.rope_theta = theta;
    return c;
}

static void plain(void)
{
    slm_config c = config(128, 10000.0f);
    double f[64];
    slm_rope_frequencies(&c, false, f);
    CHECK(f[0] == 1.0);
    for (int i = 0; i < 64; i++) {
        CHECK(close_to(f[i], pow(10000.0, -2.0 * i / 128.0)));
    }
}

static void linear_divides(void)
{
    slm_config c = config(16, 500000.0f);
    c.rope_scaling = SLM_ROPE_SCALING_LINEAR;
    c.rope_factor = 4.0f;
    double f[8];
    slm_rope_frequencies(&c, false, f);
    for (int i = 0; i < 8; i++) {
        CHECK(close_to(f[i], pow(500000.0, -2.0 * i / 16.0) / 4.0));
    }
}

/* factor 8, low 1, high 4, original 512: wavelengths below 128 stay, above 512 slow by 8. With
 * theta 10^4 and head_dim 8 the frequencies are 1, 0.1, 0.01, 0.001; wavelengths 6.28, 62.8, 628,
 * 6283: the first two stay, the last two slow. With theta 1296 (6^4) they are 1, 1/6, 1/36, 1/216;
 * wavelengths 6.28, 37.7, 226.2, 1357: the third blends with (512/226.19467 - 1) / 3 = 0.42117...
 */
static void llama3_by_wavelength(void)
{
    slm_config c = config(8, 10000.0f);
    c.rope_scaling = SLM_ROPE_SCALING_LLAMA3;
    c.rope_factor = 8.0f;
    c.rope_low_freq_factor = 1.0f;
    c.rope_high_freq_factor = 4.0f;
    c.rope_original_context = 512;
    double f[4];
    slm_rope_frequencies(&c, false, f);
    CHECK(close_to(f[0], 1.0) && close_to(f[1], 0.1));
    CHECK(close_to(f[2], 0.01 / 8) && close_to(f[3], 0.001 / 8));
    c.rope_theta = 1296.0f;
    slm_rope_frequencies(&c, false, f);
    double kept = (512.0 / (72.0 * acos(-1.0)) - 1.0) / 3.0;
    CHECK(kept > 0.4211 && kept < 0.4213);
    CHECK(close_to(f[2], (1.0 - kept) / 288.0 + kept / 36.0));
    CHECK(close_to(f[3], 1.0 / 1728.0));
}

/* With theta 10^4 and head_dim 8 the frequencies are 1, 0.1, 0.01, 0.001. */
static void divisors_divide(void)
{
    slm_config c = config(8, 10000.0f);
    c.rope_scaling = SLM_ROPE_SCALING_DIVISORS;
    c.n_rope_divisors = 4;
    c.rope_local_theta = 10000.0f;
    c.rope_divisors[0] = 1;
    c.rope_divisors[1] = 2;
    c.rope_divisors[2] = 4;
    c.rope_divisors[3] = 0.5f;
    double f[4];
    slm_rope_frequencies(&c, false, f);
    CHECK(close_to(f[0], 1.0) && close_to(f[1], 0.05));
    CHECK(close_to(f[2], 0.0025) && close_to(f[3], 0.002));
    slm_rope_frequencies(&c, true, f);
    CHECK(close_to(f[1], 0.1));
}

int main(void)
{
    RUN(plain);
    RUN(linear_divides);
    RUN(llama3_by_wavelength);
    RUN(divisors_divide);
    return test_finish();
}
