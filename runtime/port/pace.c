/* pace.c - chooses a number of threads by trying. */
#include "port/pace.h"

#include <string.h>

/* Seconds: a measurement must span several of a scheduler's time slices; trials become rarer as
 * they fail, and are rare enough for what they take. */
static const double MEASURE = 0.06, SHORTEST_INTERVAL = 0.25, LONGEST_INTERVAL = 2.0;
static const double LEAST_DUTY = 20;
static const double LOST_SHARE = 0.05; /* of the time: less does not show */
static const double CLEAR_GAIN = 0.95; /* of the cost: what more threads must reach */

void slm_pace_init(slm_pace *pace, uint32_t n_threads)
{
    memset(pace, 0, sizeof *pace);
    pace->most = pace->best = n_threads;
    pace->interval = SHORTEST_INTERVAL;
}

uint32_t slm_pace_threads(const slm_pace *pace)
{
    return pace->trying ? pace->trying : pace->best;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static void end_trial(slm_pace *pace, double now, double seconds, double cost)
{
    bool won =
        pace->trying < pace->best ? cost < pace->best_cost : cost < pace->best_cost * CLEAR_GAIN;
    if (won) {
        pace->best = pace->trying;
        pace->best_cost = cost;
    }
    pace->interval = won ? SHORTEST_INTERVAL : smaller(2 * pace->interval, LONGEST_INTERVAL);
    pace->next_trial = now + larger(pace->interval, LEAST_DUTY * seconds);
    pace->trying = 0;
}

/* What to compare with: fewer if threads get in each other's way, else more if there are. */
static uint32_t candidate(const slm_pace *pace, bool disturbed)
{
    if (disturbed && pace->best > 1) {
        return pace->best - (pace->best + 3) / 4;
    }
    return pace->best < pace->most ? pace->best + 1 : 0;
}

void slm_pace_note(slm_pace *pace, double now, double seconds, double n_units, double lost)
{
    pace->seconds += seconds;
    pace->units += n_units;
    pace->lost += lost;
    if (pace->seconds < MEASURE) {
        return;
    }
    double cost = pace->seconds / pace->units;
    bool disturbed = pace->lost > LOST_SHARE * pace->seconds;
    double measured = pace->seconds;
    pace->seconds = pace->units = pace->lost = 0;
    if (pace->trying) {
        end_trial(pace, now, measured, cost);
        return;
    }
    pace->best_cost = pace->best_cost > 0 ? (pace->best_cost + cost) / 2 : cost;
    if (now >= pace->next_trial) {
        pace->trying = candidate(pace, disturbed);
    }
}
