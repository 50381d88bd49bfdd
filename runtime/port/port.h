/* port.h - what the runtime needs of an operating system: a clock and a way to share out work.
 * posix.c and wasm.c implement it; they are the only files that know which system they run on.
 */
#ifndef SLM_PORT_PORT_H
#define SLM_PORT_PORT_H

#include "slm.h"

/* Seconds from some fixed moment, for statistics alone; 0 where there is no clock. */
double slm_clock_seconds(void);

/* One item of a job. `thread` is 0..slm_team_size()-1 and tells calls that run at the same time
 * apart, for scratch memory; which thread gets which item must not change any result. */
typedef void (*slm_job)(void *context, uint32_t item, uint32_t thread);

/* Runs job(context, i, thread) once for each i in 0..n_items-1 and returns when all are done. Items
 * are claimed one at a time by whoever is free, the caller (thread 0) included; a thread that the
 * system keeps from running is not waited for unless it holds an item. team may be NULL. */
void slm_team_run(slm_team *team, slm_job job, void *context, uint32_t n_items);

/* Bracket the jobs of a piece of work on n_tokens tokens, so that the team can measure with how
 * many of its threads such pieces are made fastest. Where the clock stood still in between, the end
 * may be told again. */
void slm_team_begin(slm_team *team, uint32_t n_tokens);
void slm_team_end(slm_team *team);

#endif
