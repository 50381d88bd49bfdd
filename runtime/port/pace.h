/* pace.h - how long pieces of work took with so many threads -> how many threads to use next.
 *
 * More threads are slower than fewer where processors are short: one that is stopped with work in
 * its hands holds up all. A pace compares instead of guessing. It does so only while the caller
 * loses time to others; undisturbed, all threads are used and nothing is tried.
 */
#ifndef SLM_PORT_PACE_H
#define SLM_PORT_PACE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct slm_pace {
    uint32_t most;     /* threads that there are */
    uint32_t best;     /* what has done best so far */
    uint32_t trying;   /* another number on trial, or 0 */
    double best_cost;  /* seconds per unit with `best`, lately; 0: not known */
    double next_trial; /* when */
    double interval;   /* seconds between trials */
    /* Of the measurement under way: */
    double seconds, units, lost;
} slm_pace;

void slm_pace_init(slm_pace *pace, uint32_t n_threads);

/* The number of threads for the next piece. */
uint32_t slm_pace_threads(const slm_pace *pace);

/* A piece of n_units, made with that number, ended at `now` after `seconds`, of which the caller
 * lost `lost` to waking others and waiting for them. Units cost about the same each. */
void slm_pace_note(slm_pace *pace, double now, double seconds, double n_units, double lost);

#endif
