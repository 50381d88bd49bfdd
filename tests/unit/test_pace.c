/* test_pace.c - the choice of a number of threads on machines that are made up here: what a unit
 * costs with each number, and how much of that is lost to others. */
#include "lib/check.h"
#include "port/pace.h"

typedef struct machine {
    double cost[5]; /* seconds of a unit with 1 to 4 threads */
    double lost;    /* share of the time, with more than one */
} machine;

static const machine QUIET = {{0, 0.008, 0.004, 0.003, 0.002}, 0.01};
static const machine BUSY = {{0, 0.012, 0.016, 0.017, 0.018}, 0.5};
static const machine HALF_BUSY = {{0, 0.012, 0.007, 0.009, 0.010}, 0.2};

/* Seconds of one second's work that a perfect choice would have taken, over those it took. */
static double efficiency(slm_pace *pace, const machine *m, double *now, double seconds)
{
    double end = *now + seconds, best = m->cost[1], ideal = 0;
    for (uint32_t n = 2; n <= pace->most; n++) {
        best = m->cost[n] < best ? m->cost[n] : best;
    }
    while (*now < end) {
        uint32_t n = slm_pace_threads(pace);
        CHECK(n >= 1 && n <= pace->most);
        *now += m->cost[n];
        ideal += best;
        slm_pace_note(pace, *now, m->cost[n], 1, n == 1 ? 0 : m->lost * m->cost[n]);
    }
    return ideal / seconds;
}

static void undisturbed_it_uses_all_and_tries_nothing(void)
{
    slm_pace pace;
    double now = 100;
    slm_pace_init(&pace, 4);
    CHECK_U64(slm_pace_threads(&pace), 4);
    CHECK(efficiency(&pace, &QUIET, &now, 10) > 0.999);
}

static void two_threads_are_not_slower_than_one(void)
{
    slm_pace pace;
    double now = 0;
    slm_pace_init(&pace, 2);
    efficiency(&pace, &BUSY, &now, 2); /* it needs some trials */
    CHECK(efficiency(&pace, &BUSY, &now, 20) > 0.97);
}

static void it_comes_back_when_others_have_gone(void)
{
    slm_pace pace;
    double now = 0;
    slm_pace_init(&pace, 4);
    efficiency(&pace, &BUSY, &now, 30);
    CHECK_U64(slm_pace_threads(&pace), 1);
    efficiency(&pace, &QUIET, &now, 6);
    CHECK_U64(slm_pace_threads(&pace), 4);
    CHECK(efficiency(&pace, &QUIET, &now, 10) > 0.999);
}

static void it_finds_a_number_in_between(void)
{
    slm_pace pace;
    double now = 0;
    slm_pace_init(&pace, 4);
    efficiency(&pace, &HALF_BUSY, &now, 6);
    CHECK(efficiency(&pace, &HALF_BUSY, &now, 20) > 0.95);
}

static void one_thread_stays_one(void)
{
    slm_pace pace;
    double now = 0;
    slm_pace_init(&pace, 1);
    CHECK(efficiency(&pace, &BUSY, &now, 5) > 0.999);
}

int main(void)
{
    RUN(undisturbed_it_uses_all_and_tries_nothing);
    RUN(two_threads_are_not_slower_than_one);
    RUN(it_comes_back_when_others_have_gone);
    RUN(it_finds_a_number_in_between);
    RUN(one_thread_stays_one);
    return test_finish();
}
