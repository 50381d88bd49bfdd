/* test_mathf.c - the elementary functions against the C library's in higher precision. */
#include <float.h>
#include <math.h>

#include "base/half.h"
#include "base/mathf.h"
#include "lib/check.h"

/* |got - want| in units of the last place of an f32 near want. */
static double ulps32(float got, double want)
{
    int e;
    frexp(want, &e);
    return fabs((double)got - want) / ldexp(1.0, e - FLT_MANT_DIG);
}

static double ulps64(double got, long double want)
{
    int e;
    frexpl(want, &e);
    return (double)(fabsl((long double)got - want) / ldexpl(1.0L, e - DBL_MANT_DIG));
}

static void exp_is_within_1_5_ulp(void)
{
    double worst = 0.0;
    for (uint32_t u = 0; u < 0x42ae0000u; u += 997) { /* up to 87 */
        for (uint32_t sign = 0; sign < 2; sign++) {
            float x = f32_from_bits(u | sign << 31);
            double e = ulps32(slm_exp(x), exp((double)x));
            worst = e > worst ? e : worst;
        }
    }
    printf("# exp: %.3f ulp\n", worst);
    CHECK(worst <= 1.5);
}

static void exp_is_clamped(void)
{
    CHECK(slm_exp(0.0f) == 1.0f);
    CHECK(slm_exp(-0.0f) == 1.0f);
    CHECK(slm_exp(1e30f) == slm_exp(88.37f));
    CHECK(slm_exp(INFINITY) == slm_exp(88.37f));
    CHECK(slm_exp(-INFINITY) == slm_exp(-87.33f));
    CHECK(slm_exp(-1e30f) > 0.0f);
    CHECK(isfinite(slm_exp(NAN)));
}

static void exp64_is_within_2_ulp(void)
{
    double worst = 0.0;
    for (int i = -70000; i <= 70000; i++) {
        double x = i * 0.00999983;
        double e = ulps64(slm_exp64(x), expl((long double)x));
        worst = e > worst ? e : worst;
    }
    printf("# exp64: %.3f ulp\n", worst);
    CHECK(worst <= 2.0);
    CHECK(slm_exp64(0.0) == 1.0);
}

static void log_is_within_2_ulp(void)
{
    double worst = 0.0;
    for (int e = -1070; e < 1024; e += 3) {
        for (int i = 0; i < 64; i++) {
            double x = ldexp(1.0 + i / 64.0 + i * 1e-9, e);
            double u = ulps64(slm_log(x), logl((long double)x));
            worst = u > worst ? u : worst;
        }
    }
    for (int i = 1; i < 20000; i++) { /* around 1, where the result is small */
        double x = 1.0 + (i - 10000) * 3.1e-5;
        double u = x == 1.0 ? 0.0 : ulps64(slm_log(x), logl((long double)x));
        worst = u > worst ? u : worst;
    }
    printf("# log: %.3f ulp\n", worst);
    CHECK(worst <= 2.0);
    CHECK(slm_log(1.0) == 0.0);
}

static void sincos_is_rounded_right(void)
{
    double worst = 0.0;
    for (int i = -100000; i <= 400000; i++) {
        double x = i * 0.3711; /* to 148 thousand radians */
        float s, c;
        slm_sincos(x, &s, &c);
        double a = ulps32(s, sin(x)), b = ulps32(c, cos(x));
        worst = a > worst ? a : b > worst ? b : worst;
    }
    printf("# sincos: %.4f ulp\n", worst);
    CHECK(worst <= 0.5001);
    float s, c;
    slm_sincos(0.0, &s, &c);
    CHECK(s == 0.0f && c == 1.0f);
}

static void tanh_is_within_1_5_ulp(void)
{
    double worst = 0.0;
    for (uint32_t u = 0x20000000u; u < 0x41800000u; u += 997) { /* 1e-19 to 16 */
        float x = f32_from_bits(u);
        double e = ulps32(slm_tanh(x), tanh((double)x));
        worst = e > worst ? e : worst;
        CHECK(slm_tanh(-x) == -slm_tanh(x));
    }
    printf("# tanh: %.3f ulp\n", worst);
    CHECK(worst <= 1.5);
    CHECK(slm_tanh(100.0f) == 1.0f && slm_tanh(-100.0f) == -1.0f &&
          f32_bits(slm_tanh(-0.0f)) == 0x80000000u);
}

/* ---- Half floats: values from IEEE 754's definition ------------------------------------------ */

static double half_value(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double v = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25);
    return h & 0x8000 ? -v : v;
}

static void every_half_round_trips(void)
{
    for (uint32_t h = 0; h < 65536; h++) {
        if (!half_is_finite((uint16_t)h)) {
            CHECK((h & 0x7c00) == 0x7c00);
            continue;
        }
        float f = f32_from_half((uint16_t)h);
        CHECK((double)f == half_value((uint16_t)h));
        CHECK_U64(half_from_f32(f), h);
    }
}

static void halves_round_to_nearest_even(void)
{
    static const struct {
        float f;
        uint16_t half;
    } CASES[] = {{1.0f, 0x3c00},
                 {-2.0f, 0xc000},
                 {65504.0f, 0x7bff},
                 {65519.996f, 0x7bff},
                 {65520.0f, 0x7c00}, /* halfway to 65536: ties to even, that is infinity */
                 {1e30f, 0x7c00},
                 {-1e30f, 0xfc00},
                 {0x1p-24f, 0x0001},
                 {0x1p-25f, 0x0000}, /* halfway between 0 and the smallest: to even */
                 {0x1.000002p-25f, 0x0001},
                 {0x1.8p-24f, 0x0002}, /* 1.5 units: to even, 2 */
                 {0x1p-14f, 0x0400},
                 {0x1.ff8p-15f, 0x03ff}, /* the largest subnormal half */
                 {0x1.ffcp-15f, 0x0400}, /* halfway: up to even, into the normal numbers */
                 {1.0f + 0x1p-11f, 0x3c00},
                 {1.0f + 0x3p-11f, 0x3c02},
                 {1.0f + 0x1.004p-11f, 0x3c01},
                 {-0.0f, 0x8000},
                 {1e-30f, 0x0000}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        CHECK_U64(half_from_f32(CASES[i].f), CASES[i].half);
    }
    CHECK((half_from_f32(NAN) & 0x7e00) == 0x7e00);
}

static void brain_floats_round_to_nearest_even(void)
{
    CHECK_U64(bf16_from_f32(1.0f), 0x3f80);
    CHECK_U64(bf16_from_f32(1.0f + 0x1p-8f), 0x3f80);
    CHECK_U64(bf16_from_f32(1.0f + 0x3p-8f), 0x3f82);
    CHECK_U64(bf16_from_f32(-3.0e38f), 0xff62);
    CHECK_U64(bf16_from_f32(FLT_MAX), 0x7f80);
    CHECK((bf16_from_f32(NAN) & 0x7fff) > 0x7f80);
    for (uint32_t h = 0; h < 0x7f80; h++) {
        CHECK_U64(bf16_from_f32(f32_from_bf16((uint16_t)h)), h);
    }
}

int main(void)
{
    RUN(exp_is_within_1_5_ulp);
    RUN(exp_is_clamped);
    RUN(exp64_is_within_2_ulp);
    RUN(log_is_within_2_ulp);
    RUN(sincos_is_rounded_right);
    RUN(tanh_is_within_1_5_ulp);
    RUN(every_half_round_trips);
    RUN(halves_round_to_nearest_even);
    RUN(brain_floats_round_to_nearest_even);
    return test_finish();
}
