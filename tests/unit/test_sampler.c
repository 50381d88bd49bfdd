/* test_sampler.c - choices by hand, the seed rule against figures from a separate script (Python,
 * arbitrary-precision integers), the distribution against chi-square. */
#include <math.h>

#include "lib/check.h"
#include "slm.h"

static slm_sampler make(float temperature, uint32_t top_k, float top_p, float min_p, uint64_t seed)
{
    slm_sampler s = {0};
    slm_error error = {0};
    CHECK_U64(slm_sampler_init(&s, temperature, top_k, top_p, min_p, seed, &error), SLM_OK);
    return s;
}

/* With 1024 equal logits the token is floor(1024 u), so the sequence itself is visible. */
static void seed_rule(void)
{
    static float flat[1024];
    static const struct {
        uint64_t seed, state;
        int32_t ids[4];
        uint64_t after;
    } cases[] = {
        {0, 0xe220a8397b1dcdafu, {409, 187, 78, 965}, 0xf16dfbd56f8ef944u},
        {1, 0x910a2dec89025cc1u, {457, 842, 284, 942}, 0xeba4223654ed0b4eu},
        {42, 0xbdd732262feb6e95u, {1005, 379, 417, 532}, 0x85145493980466a1u},
    };
    for (size_t c = 0; c < 3; c++) {
        slm_sampler s = make(1, 0, 1, 0, cases[c].seed);
        CHECK_U64(s.state, cases[c].state);
        for (int i = 0; i < 4; i++) {
            CHECK_U64(slm_sample(&s, flat, 1024), cases[c].ids[i]);
        }
        CHECK_U64(s.state, cases[c].after);
    }
}

static void greedy_takes_lowest_of_ties(void)
{
    const float logits[6] = {-3, 2, 5, 5, 1, 5};
    slm_sampler s = make(0, 1, 0.5f, 0, 7);
    uint64_t state = s.state;
    CHECK_U64(slm_sample(&s, logits, 6), 2);
    CHECK_U64(s.state, state); /* draws nothing */
    const float all_low[3] = {-INFINITY, -INFINITY, -INFINITY};
    CHECK_U64(slm_sample(&s, all_low, 3), 0);
    const float with_nan[4] = {NAN, -2, NAN, -1};
    CHECK_U64(slm_sample(&s, with_nan, 4), 3);
    CHECK_U64(slm_sample(&s, with_nan, 1), 0);
}

/* Weights 8, 4, 2, 1, 1 (sum 16) for the ids 3, 1, 4, 0, 2. */
static const float BY_HAND[5] = {0.0f, 1.38629436f, 0.0f, 2.07944154f, 0.693147181f};

/* Bit i is set if id i came up in 4000 draws (the rarest one is missed with p < 1e-100). */
static uint32_t seen(float temperature, uint32_t top_k, float top_p, float min_p)
{
    slm_sampler s = make(temperature, top_k, top_p, min_p, 11);
    uint32_t bits = 0;
    for (int i = 0; i < 4000; i++) {
        int32_t id = slm_sample(&s, BY_HAND, 5);
        CHECK(id >= 0 && id < 5);
        bits |= 1u << id;
    }
    return bits;
}

static void cuts_by_hand(void)
{
    CHECK_U64(seen(1, 0, 1, 0), 0x1f);
    CHECK_U64(seen(1, 1, 1, 0), 1u << 3);
    CHECK_U64(seen(1, 3, 1, 0), 1u << 3 | 1u << 1 | 1u << 4);
    CHECK_U64(seen(1, 4, 1, 0), 1u << 3 | 1u << 1 | 1u << 4 | 1u << 0); /* the tie: id 0, not 2 */
    CHECK_U64(seen(1, 0, 0, 0), 1u << 3);
    CHECK_U64(seen(1, 0, 0.49f, 0), 1u << 3);                    /* 7.84 of 16: 8 do */
    CHECK_U64(seen(1, 0, 0.7f, 0), 1u << 3 | 1u << 1);           /* 11.2: 8 + 4 */
    CHECK_U64(seen(1, 0, 0.8f, 0), 1u << 3 | 1u << 1 | 1u << 4); /* 12.8: 8 + 4 + 2 */
    CHECK_U64(seen(1, 0, 1, 0.3f), 1u << 3 | 1u << 1);           /* 2.4 and more */
    CHECK_U64(seen(1, 0, 1, 0.2f), 1u << 3 | 1u << 1 | 1u << 4); /* 1.6 and more */
    CHECK_U64(seen(1, 0, 1, 1), 1u << 3);
    CHECK_U64(seen(1, 2, 0.9f, 0), 1u << 3 | 1u << 1); /* of the two: 10.8 */
    /* temperature comes first: at 0.5 the weights are 64, 16, 4, 1, 1, and 0.9 of 86 is 77.4 */
    CHECK_U64(seen(0.5f, 0, 0.9f, 0), 1u << 3 | 1u << 1);
    CHECK_U64(seen(0.5f, 0, 1, 0.2f), 1u << 3 | 1u << 1);
}

/* 40000 draws against the expected counts; 18.47 is the 0.999 quantile for 4 degrees of freedom. */
static void check_distribution(float temperature, const double weights[5], double sum)
{
    slm_sampler s = make(temperature, 0, 1, 0, 2024);
    double counts[5] = {0}, chi = 0;
    for (int i = 0; i < 40000; i++) {
        counts[slm_sample(&s, BY_HAND, 5)]++;
    }
    for (int i = 0; i < 5; i++) {
        double want = 40000 * weights[i] / sum;
        chi += (counts[i] - want) * (counts[i] - want) / want;
    }
    printf("# temperature %g: chi-square %.2f\n", (double)temperature, chi);
    CHECK(chi < 18.47);
    CHECK(chi > 0);
}

static void distribution(void)
{
    const double plain[5] = {1, 4, 1, 8, 2};
    check_distribution(1, plain, 16);
    const double squared[5] = {1, 16, 1, 64, 4};
    check_distribution(0.5f, squared, 86);
    const double root[5] = {1, 2, 1, 2.8284271247461903, 1.4142135623730951};
    check_distribution(2, root, 8.2426406871192857);
}

enum { LARGE = 5000 };
static float large[LARGE];

static int by_rank(const void *a, const void *b)
{
    int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    if (large[i] != large[j]) {
        return large[i] > large[j] ? -1 : 1;
    }
    return i < j ? -1 : 1;
}

/* The candidates of a large vocabulary with many ties are those that sorting all of it gives, in
 * that order: at temperature 100 they weigh nearly the same, so index and u give each away. */
static void candidates_equal_a_full_sort(void)
{
    static int32_t order[LARGE];
    uint32_t x = 12345;
    for (int i = 0; i < LARGE; i++) {
        x = x * 1664525u + 1013904223u;
        large[i] = (float)(x >> 24) / 4096.0f; /* 256 values */
        order[i] = i;
    }
    qsort(order, LARGE, sizeof order[0], by_rank);
    static const uint32_t ks[] = {1, 2, 3, 64, 1000, 1024, 0};
    for (size_t c = 0; c < sizeof ks / sizeof ks[0]; c++) {
        uint32_t k = ks[c] ? ks[c] : SLM_MAX_CANDIDATES;
        slm_sampler s = make(100, ks[c], 1, 0, c);
        for (int i = 0; i < 2000; i++) {
            slm_sampler before = s;
            int32_t id = slm_sample(&s, large, LARGE);
            CHECK(s.state != before.state);
            double u = (double)(s.state >> 11) * 0x1p-53, sum = 0, passed = 0;
            for (uint32_t n = 0; n < k; n++) {
                sum += exp(((double)large[order[n]] - (double)large[order[0]]) / 100);
            }
            uint32_t n = 0;
            for (; n < k && passed <= u * sum * (1 - 1e-6); n++) {
                passed += exp(((double)large[order[n]] - (double)large[order[0]]) / 100);
            }
            /* rounding may move the boundary by one place */
            CHECK(id == order[n ? n - 1 : 0] || (n < k && id == order[n]));
        }
    }
}

static void extremes(void)
{
    const float one[1] = {-5};
    slm_sampler s = make(0.7f, 40, 0.9f, 0.05f, 3);
    CHECK_U64(slm_sample(&s, one, 1), 0);
    const float masked[4] = {-INFINITY, 1, -INFINITY, NAN};
    s = make(1, 0, 1, 0, 3);
    for (int i = 0; i < 100; i++) {
        CHECK_U64(slm_sample(&s, masked, 4), 1);
    }
    const float huge[3] = {-3e38f, 3e38f, 3e38f};
    s = make(1e-30f, 0, 1, 0, 3);
    for (int i = 0; i < 100; i++) {
        int32_t id = slm_sample(&s, huge, 3);
        CHECK(id == 1 || id == 2);
    }
    const float low[2] = {-INFINITY, -INFINITY};
    CHECK(slm_sample(&s, low, 2) >= 0);
}

static void refuses(void)
{
    slm_sampler s = {5, 5, 0.5f, 0.5f, 5};
    slm_error error = {0};
    CHECK_U64(slm_sampler_init(&s, -1, 0, 1, 0, 1, &error), SLM_ERR_ARGUMENT);
    CHECK(strstr(error.text, "temperature") != NULL);
    CHECK_U64(slm_sampler_init(&s, NAN, 0, 1, 0, 1, &error), SLM_ERR_ARGUMENT);
    CHECK_U64(slm_sampler_init(&s, INFINITY, 0, 1, 0, 1, &error), SLM_ERR_ARGUMENT);
    CHECK_U64(slm_sampler_init(&s, 1, 1025, 1, 0, 1, &error), SLM_ERR_ARGUMENT);
    CHECK(strstr(error.text, "top_k") != NULL);
    CHECK_U64(slm_sampler_init(&s, 1, 0, 1.01f, 0, 1, &error), SLM_ERR_ARGUMENT);
    CHECK(strstr(error.text, "top_p") != NULL);
    CHECK_U64(slm_sampler_init(&s, 1, 0, NAN, 0, 1, &error), SLM_ERR_ARGUMENT);
    CHECK_U64(slm_sampler_init(&s, 1, 0, 1, -0.1f, 1, &error), SLM_ERR_ARGUMENT);
    CHECK(strstr(error.text, "min_p") != NULL);
    CHECK_U64(slm_sampler_init(&s, 1, 0, 1, NAN, 1, NULL), SLM_ERR_ARGUMENT);
    CHECK_U64(s.top_k, 5);
    CHECK_U64(s.state, 5);
}

int main(void)
{
    RUN(seed_rule);
    RUN(greedy_takes_lowest_of_ties);
    RUN(cuts_by_hand);
    RUN(distribution);
    RUN(candidates_equal_a_full_sort);
    RUN(extremes);
    RUN(refuses);
    return test_finish();
}
