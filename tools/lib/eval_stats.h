/* eval_stats.h - figures of many cases -> means, intervals, paired comparisons.
 *
 * Pure functions on arrays; the same bits on every platform (only + - * / sqrt and base/mathf.h).
 * Probabilities are two-sided. Intervals are of 95 %. Nothing here returns NaN for n >= 1 and
 * finite input unless it says so.
 */
#ifndef SLM_TOOLS_EVAL_STATS_H
#define SLM_TOOLS_EVAL_STATS_H

#include <stddef.h>
#include <stdint.h>

typedef struct estimate {
    uint64_t n;
    double value;
    double stderr_; /* NAN for n = 1 */
    double low, high;
} estimate;

/* Mean; standard error from the sample's deviation; interval value -+ 1.96 stderr (value itself for
 * n = 1). n >= 1. */
estimate stats_mean(const double *values, size_t n);

/* Share of n cases that passed: standard error sqrt(p (1 - p) / n), Wilson's interval. n >= 1. */
estimate stats_proportion(uint64_t n_passed, uint64_t n);

/* The same cases before and after. */
typedef struct paired_outcomes {
    uint64_t n;
    uint64_t lost;             /* passed before, fails after */
    uint64_t gained;           /* failed before, passes after */
    double difference;         /* (gained - lost) / n */
    double stderr_, low, high; /* of the difference; normal */
    double p;          /* McNemar's test, exact (binomial) at any count; 1 if nothing flipped */
    double detectable; /* no smaller difference can be told from chance with these n cases */
} paired_outcomes;

/* before, after: n of 0 or 1. n >= 1. detectable: 2.8 standard errors of the difference (power 80 %
 * at 5 %), and at least 6 / n, since 6 flips one way are the fewest that the exact test notices. */
paired_outcomes stats_paired_outcomes(const uint8_t *before, const uint8_t *after, size_t n);

typedef struct paired_means {
    uint64_t n;
    double before, after, difference; /* after - before */
    double stderr_;                   /* of the difference */
    double low, high;  /* paired bootstrap: percentiles 2.5 and 97.5 of the resampled difference */
    double p;          /* twice the smaller share of resamples on either side of 0, at most 1 */
    double detectable; /* 2.8 standard errors */
} paired_means;

enum { BOOTSTRAP_RESAMPLES = 10000 };

/* before, after: n finite values of the same cases. seed: fixes the resampling (0 in every
 * command). resamples: 1 or more. Returns 0, or 1 if there is no memory (*result untouched). n
 * >= 1. */
int stats_paired_means(const double *before, const double *after, size_t n, uint64_t seed,
                       uint32_t resamples, paired_means *result);

/* With n cases and a share p passing, a difference from another run of n cases smaller than this is
 * not told from chance (power 80 % at 5 %): 2.8 sqrt(2 p (1 - p) / n), p taken as 1/2 if 0 or 1
 * cases decide it. */
double stats_detectable(double p, uint64_t n);

/* The same for two means with this standard error each: 2.8 sqrt(2) stderr. */
double stats_detectable_mean(double stderr_);

/* The value below which a share q of the n sorted ascending values lie, between neighbours in
 * proportion (as numpy.quantile does). n >= 1, 0 <= q <= 1. */
double stats_quantile(const double *sorted, size_t n, double q);

void stats_sort(double *values, size_t n); /* ascending; no NaN among them */

#endif
