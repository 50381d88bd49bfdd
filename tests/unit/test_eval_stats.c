/* Statistics: expectations by hand, or from a separate script that solves the same definitions
 * another way (Wilson's interval as the roots of its quadratic, McNemar's p with whole numbers). */
#include <math.h>

#include "lib/check.h"
#include "lib/eval_stats.h"

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * (1 + fabs(b));
}

static void mean_and_its_error(void)
{
    const double x[] = {2, 4, 4, 4, 5, 5, 7, 9}; /* mean 5, squares sum to 32: variance 32 / 7 */
    estimate e = stats_mean(x, 8);
    CHECK_U64(e.n, 8);
    CHECK(near(e.value, 5));
    CHECK(near(e.stderr_, sqrt(32.0 / 7 / 8)));
    CHECK(near(e.high - e.value, 1.959963984540054 * sqrt(32.0 / 7 / 8)));
    CHECK(near(e.value - e.low, e.high - e.value));
    e = stats_mean(x, 1);
    CHECK(e.n == 1 && near(e.value, 2) && isnan(e.stderr_) && near(e.low, 2) && near(e.high, 2));
}

static void proportions_have_wilson_intervals(void)
{
    static const struct {
        uint64_t k, n;
        double low, high;
    } cases[] = {{8, 10, 0.4901624715366418, 0.9433178485456247},
                 {1, 3, 0.061491944720396215, 0.7923403991979523},
                 {50, 100, 0.4038315303659957, 0.5961684696340043},
                 {1319, 2000, 0.6384436851122538, 0.6799447768050264}};
    for (size_t i = 0; i < 4; i++) {
        estimate e = stats_proportion(cases[i].k, cases[i].n);
        CHECK(near(e.low, cases[i].low) && near(e.high, cases[i].high));
    }
    estimate none = stats_proportion(0, 10), all = stats_proportion(10, 10);
    CHECK(none.low >= 0 && none.low <= 0 && all.high >= 1 && all.high <= 1);
    CHECK(near(none.high, 1 - all.low) && none.high > 0.27 && none.high < 0.28); /* z2/(n+z2) */
    /* the figures that evaluation practice quotes: n = 100 at 50 %: 5 points; n = 1319: 1.4 */
    CHECK(near(stats_proportion(50, 100).stderr_, 0.05));
    CHECK(fabs(stats_proportion(660, 1319).stderr_ - 0.0138) < 5e-5);
}

static paired_outcomes flips(size_t lost, size_t gained, size_t n)
{
    static uint8_t before[4000], after[4000];
    memset(before, 0, sizeof before);
    memset(after, 0, sizeof after);
    memset(before, 1, lost);
    memset(after + lost, 1, gained);
    for (size_t i = lost + gained; i < n; i += 2) { /* the others agree */
        before[i] = after[i] = 1;
    }
    return stats_paired_outcomes(before, after, n);
}

static void mcnemar_is_exact(void)
{
    static const struct {
        size_t lost, gained;
        double p;
    } cases[] = {{10, 2, 158.0 / 4096}, /* 2 (1 + 12 + 66) / 2^12 */
                 {6, 0, 2.0 / 64},
                 {0, 5, 2.0 / 32},
                 {3, 3, 1},
                 {0, 0, 1},
                 {40, 20, 0.01348929373119186},
                 {600, 500, 0.0028195449914364275}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        paired_outcomes r = flips(cases[i].lost, cases[i].gained, 2000);
        CHECK_U64(r.lost, cases[i].lost);
        CHECK_U64(r.gained, cases[i].gained);
        CHECK(fabs(r.p - cases[i].p) < 1e-9 * cases[i].p);
    }
}

static void paired_outcomes_have_errors(void)
{
    paired_outcomes r = flips(30, 10, 1000);
    CHECK(near(r.difference, -0.02));
    /* variance of the mean of n differences, 40 of them +-1: (40 - 20^2 / 1000) / 1000^2 */
    CHECK(near(r.stderr_, sqrt(39.6) / 1000));
    CHECK(near(r.detectable, 2.801585218112968 * sqrt(39.6) / 1000));
    CHECK(near(r.high - r.low, 2 * 1.959963984540054 * r.stderr_));
    r = flips(0, 0, 100); /* no flip at all: still nothing below 6 cases can be told */
    CHECK(near(r.detectable, 0.06) && near(r.stderr_, 0));
    r = flips(10, 0, 10); /* all flipped one way: the variance is 0, not a hair below */
    CHECK(near(r.difference, -1) && near(r.stderr_, 0));
}

static void bootstrap_is_fixed_and_plausible(void)
{
    enum { N = 400 };
    static double before[N], after[N];
    uint32_t x = 1;
    for (int i = 0; i < N; i++) {
        x = x * 1664525u + 1013904223u;
        before[i] = i;
        after[i] = i + 0.1 + ((double)(x >> 8) / (1 << 24) - 0.5); /* difference about 0.1 */
    }
    paired_means a, b, other;
    CHECK(stats_paired_means(before, after, N, 0, 4000, &a) == 0);
    CHECK(stats_paired_means(before, after, N, 0, 4000, &b) == 0);
    CHECK(stats_paired_means(before, after, N, 1, 4000, &other) == 0);
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    CHECK(memcmp(&a, &other, sizeof a) != 0);
    /* uniform over a width of 1: deviation 1 / sqrt 12; the percentiles lie near the normal ones */
    CHECK(fabs(a.stderr_ - 1 / sqrt(12.0 * N)) < 0.001);
    CHECK(fabs(a.low - (a.difference - 1.96 * a.stderr_)) < 0.1 * a.stderr_);
    CHECK(fabs(a.high - (a.difference + 1.96 * a.stderr_)) < 0.1 * a.stderr_);
    CHECK(a.p < 0.01 && near(a.after - a.before, a.difference));
    CHECK(near(a.detectable, 2.801585218112968 * a.stderr_));
    CHECK(stats_paired_means(before, before, N, 0, 100, &a) == 0);
    CHECK(near(a.p, 1) && near(a.low, 0) && near(a.high, 0));
}

static void quantiles_lie_between_neighbours(void)
{
    double x[] = {4, 1, 3, 2};
    stats_sort(x, 4);
    CHECK(near(x[0], 1) && near(x[3], 4));
    CHECK(near(stats_quantile(x, 4, 0), 1) && near(stats_quantile(x, 4, 1), 4));
    CHECK(near(stats_quantile(x, 4, 0.25), 1.75)); /* place 0.75 of 0..3 */
    CHECK(near(stats_quantile(x, 4, 0.5), 2.5));
    CHECK(near(stats_quantile(x, 1, 0.99), 1));
}

static void detectable_differences(void)
{
    /* 2.8016 sqrt(2 / 4 / 100): two runs of 100 cases at 50 % */
    CHECK(near(stats_detectable(0.5, 100), 2.801585218112968 * sqrt(0.005)));
    CHECK(near(stats_detectable(1, 100), stats_detectable(0.5, 100)));
    CHECK(near(stats_detectable_mean(0.1), 2.801585218112968 * sqrt(0.02)));
}

int main(void)
{
    RUN(mean_and_its_error);
    RUN(proportions_have_wilson_intervals);
    RUN(mcnemar_is_exact);
    RUN(paired_outcomes_have_errors);
    RUN(bootstrap_is_fixed_and_plausible);
    RUN(quantiles_lie_between_neighbours);
    RUN(detectable_differences);
    return test_finish();
}
