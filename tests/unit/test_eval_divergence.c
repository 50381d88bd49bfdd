/* The divergence of two rows of logits, and the scale that makes probabilities of a row, against
 * distributions whose figures are worked out by hand. */
#include <math.h>

#include "lib/check.h"
#include "lib/eval_engine_parts.h"

static double divergence(const float *p, const float *q, uint32_t n)
{
    return row_divergence(row_scale_of(p, n), p, row_scale_of(q, n), q, n);
}

static const double LN2 = 0.69314718055994530942;

static void of_two_distributions_by_hand(void)
{
    /* p = (1/2, 1/4, 1/4), q = (1/4, 1/4, 1/2): 1/2 ln 2 + 0 - 1/4 ln 2. Logits may be shifted. */
    const float p[] = {3, 3 - 0.69314718f, 3 - 0.69314718f};
    const float q[] = {-5 - 0.69314718f, -5 - 0.69314718f, -5};
    CHECK(fabs(divergence(p, q, 3) - LN2 / 4) < 1e-6);
    CHECK(fabs(divergence(q, p, 3) - LN2 / 4) < 1e-6);
    /* p = (0.9, 0.1), q = (0.5, 0.5): 0.9 ln 1.8 + 0.1 ln 0.2 = 0.9 x 0.5877866649
     * - 0.1 x 1.6094379124; the other way 0.5 ln (5/9) + 0.5 ln 5 = 0.5108256238 */
    const float a[] = {2.19722458f, 0}, b[] = {1, 1}; /* ln 9 */
    CHECK(fabs(divergence(a, b, 2) - 0.3680642072) < 1e-6);
    CHECK(fabs(divergence(b, a, 2) - 0.5108256238) < 1e-6);
}

static void of_a_distribution_from_itself_is_nothing_EV61(void)
{
    const float p[] = {0.1f, -7.5f, 3.25f, 88, -1000};
    double same = divergence(p, p, 5);
    CHECK(same >= 0 && same <= 0);
}

static void probabilities_that_vanish(void)
{
    /* p puts everything on the first, q nothing: its log probability is -2000, not infinite */
    const float p[] = {0, -2000}, q[] = {-2000, 0};
    CHECK(fabs(divergence(p, q, 2) - 2000) < 1e-9);
}

static void rows_that_are_not_numbers_show_EV58(void)
{
    const float with_nan[] = {1, NAN, 2}, first_nan[] = {NAN, 1, 2}, infinite[] = {1, INFINITY, 2};
    const float lowest[] = {1, -INFINITY, 2}, good[] = {1, 0, 2};
    CHECK(isnan(row_scale_of(with_nan, 3).log_sum) || isnan(row_scale_of(with_nan, 3).top));
    CHECK(!isfinite(token_nll(with_nan, 3, 0)));
    CHECK(!isfinite(token_nll(first_nan, 3, 2)));
    CHECK(!isfinite(token_nll(infinite, 3, 0)));
    CHECK(!isfinite(token_nll(lowest, 3, 1)));
    CHECK(!isfinite(divergence(with_nan, good, 3)));
    /* -log(e^2 / (e + 1 + e^2)) */
    CHECK(fabs(token_nll(good, 3, 2) - log(1 + exp(-1) + exp(-2))) < 1e-15);
}

int main(void)
{
    RUN(of_two_distributions_by_hand);
    RUN(of_a_distribution_from_itself_is_nothing_EV61);
    RUN(probabilities_that_vanish);
    RUN(rows_that_are_not_numbers_show_EV58);
    return test_finish();
}
