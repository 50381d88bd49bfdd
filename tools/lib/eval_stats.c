/* eval_stats.c - means, intervals and paired comparisons; see eval_stats.h. */
#include "lib/eval_stats.h"

#include <math.h>
#include <stdlib.h>

#include "base/mathf.h"

static const double Z95 = 1.959963984540054;     /* the normal quantile of 0.975 */
static const double Z_POWER = 2.801585218112968; /* that, and the quantile of 0.8: power 80 % */

static double mean_of(const double *values, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += values[i];
    }
    return sum / (double)n;
}

/* Standard error of the mean of values, whose mean is known; NAN for one. */
static double error_of(const double *values, size_t n, double mean)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (values[i] - mean) * (values[i] - mean);
    }
    return n > 1 ? sqrt(squares / (double)(n - 1) / (double)n) : (double)NAN;
}

estimate stats_mean(const double *values, size_t n)
{
    estimate e = {.n = n, .value = mean_of(values, n)};
    e.stderr_ = error_of(values, n, e.value);
    double half = n > 1 ? Z95 * e.stderr_ : 0;
    e.low = e.value - half;
    e.high = e.value + half;
    return e;
}

estimate stats_proportion(uint64_t n_passed, uint64_t n)
{
    double count = (double)n, p = (double)n_passed / count, z2 = Z95 * Z95;
    double centre = (p + z2 / (2 * count)) / (1 + z2 / count);
    double half = Z95 / (1 + z2 / count) * sqrt(p * (1 - p) / count + z2 / (4 * count * count));
    estimate e = {.n = n,
                  .value = p,
                  .stderr_ = sqrt(p * (1 - p) / count),
                  /* exact at the ends, where centre and half differ by rounding only */
                  .low = n_passed == 0 ? 0 : centre - half,
                  .high = n_passed == n ? 1 : centre + half};
    return e;
}

/* P(X <= k) of a fair coin thrown n times, from logarithms of factorials summed term by term. */
static double binomial_tail(uint64_t k, uint64_t n)
{
    double log_term = -(double)n * 0.69314718055994530942, sum = 0;
    for (uint64_t i = 0;; i++) { /* C(n, i) / 2^n */
        sum += log_term > -700 ? slm_exp64(log_term) : 0;
        if (i == k) {
            return sum;
        }
        log_term += slm_log((double)(n - i)) - slm_log((double)(i + 1));
    }
}

static double mcnemar(uint64_t lost, uint64_t gained)
{
    if (lost == gained) {
        return 1; /* the two tails overlap */
    }
    double p = 2 * binomial_tail(lost < gained ? lost : gained, lost + gained);
    return p < 1 ? p : 1;
}

paired_outcomes stats_paired_outcomes(const uint8_t *before, const uint8_t *after, size_t n)
{
    paired_outcomes r = {.n = n};
    for (size_t i = 0; i < n; i++) {
        r.lost += before[i] != 0 && after[i] == 0;
        r.gained += before[i] == 0 && after[i] != 0;
    }
    double count = (double)n, lost = (double)r.lost, gained = (double)r.gained;
    r.difference = (gained - lost) / count;
    /* rounding could leave a variance a hair below 0 when every case flips the same way */
    double variance = lost + gained - (gained - lost) * (gained - lost) / count;
    r.stderr_ = sqrt(variance > 0 ? variance : 0) / count;
    r.low = r.difference - Z95 * r.stderr_;
    r.high = r.difference + Z95 * r.stderr_;
    r.p = mcnemar(r.lost, r.gained);
    double by_error = Z_POWER * r.stderr_, by_count = 6 / count;
    r.detectable = by_error > by_count ? by_error : by_count;
    return r;
}

static uint64_t split_mix(uint64_t *state)
{
    uint64_t x = (*state += 0x9e3779b97f4a7c15u);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void stats_sort(double *values, size_t n)
{
    if (n != 0) { /* none may be at NULL, which qsort must not be given */
        qsort(values, n, sizeof *values, ascending);
    }
}

double stats_quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    double part = at - (double)i;
    return i + 1 < n && part > 0 ? sorted[i] + part * (sorted[i + 1] - sorted[i]) : sorted[i];
}

/* means[i]: the mean of n differences drawn with replacement. */
static void resample(const double *differences, size_t n, uint64_t seed, uint32_t resamples,
                     double *means)
{
    uint64_t state = seed;
    for (uint32_t r = 0; r < resamples; r++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            /* the upper 32 bits times n: no division, and n is far below 2^32 */
            sum += differences[(split_mix(&state) >> 32) * n >> 32];
        }
        means[r] = sum / (double)n;
    }
}

int stats_paired_means(const double *before, const double *after, size_t n, uint64_t seed,
                       uint32_t resamples, paired_means *result)
{
    double *differences = (double *)malloc((n + resamples) * sizeof *differences);
    if (!differences) {
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        differences[i] = after[i] - before[i];
    }
    double *means = differences + n, difference = mean_of(differences, n);
    paired_means r = {.n = n,
                      .before = mean_of(before, n),
                      .after = mean_of(after, n),
                      .difference = difference,
                      .stderr_ = error_of(differences, n, difference)};
    resample(differences, n, seed, resamples, means);
    stats_sort(means, resamples);
    r.low = stats_quantile(means, resamples, 0.025);
    r.high = stats_quantile(means, resamples, 0.975);
    uint32_t below = 0, above = 0;
    for (uint32_t i = 0; i < resamples; i++) {
        below += means[i] <= 0;
        above += means[i] >= 0;
    }
    double p = 2 * (double)(below < above ? below : above) / (double)resamples;
    r.p = p < 1 ? p : 1;
    r.detectable = Z_POWER * r.stderr_;
    free(differences);
    *result = r;
    return 0;
}

double stats_detectable(double p, uint64_t n)
{
    double spread = p > 0 && p < 1 ? p * (1 - p) : 0.25;
    return Z_POWER * sqrt(2 * spread / (double)n);
}

double stats_detectable_mean(double stderr_)
{
    return Z_POWER * sqrt(2.0) * stderr_;
}
