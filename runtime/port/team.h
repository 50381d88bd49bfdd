/* team.h - the inside of a thread team (team.c), and what it asks of a system: a way to sleep and
 * threads (posix.c, wasm_threads.c).
 */
#ifndef SLM_PORT_TEAM_H
#define SLM_PORT_TEAM_H

#include <stdatomic.h>
#include <stdbool.h>

#include "port/pace.h"
#include "port/port.h"

#if !defined(__wasm__)
#include <pthread.h>
#endif

enum { TEAM_N_PACES = 8 };

/* A place to sleep. WebAssembly sleeps on an address and needs nothing here. */
typedef struct team_gate {
#if defined(__wasm__)
    uint32_t unused;
#else
    pthread_mutex_t mutex;
    pthread_cond_t changed;
#endif
} team_gate;

/* Words on which threads sleep, on a cache line of their own. */
typedef struct team_word {
    _Alignas(64) _Atomic uint32_t value;
    _Atomic uint32_t n_sleeping;
    team_gate gate;
} team_word;

struct slm_team {
    /* What all threads contend for: the number of items of the job in the high half, the next one
     * to be claimed in the low half. */
    _Alignas(64) _Atomic uint64_t claim;

    team_word number;   /* of the job; active threads without work sleep on it */
    team_word n_done;   /* items; the caller sleeps on it */
    team_word n_active; /* threads 0..n_active-1 take part; the others sleep on it */

    /* Written by the caller alone, while no item is claimed. */
    _Alignas(64) slm_job job;
    void *context;
    _Atomic uint32_t stopping;
    uint32_t n_threads;
    uint32_t spins;               /* looks at a word before sleeping on it */
    slm_pace paces[TEAM_N_PACES]; /* of pieces of work of different sizes */
    slm_pace *pace;               /* of the current piece */
    uint32_t n_tokens;            /* in it; 0: none is under way */
    double begun;                 /* when it was */
    double lost;                  /* seconds that the caller has spent on others since then */
    _Atomic uint32_t n_begun;     /* threads that have asked for their number, where they ask */
    void *threads;                /* the system's own, room for n_threads of thread_bytes */
};

/* The life of a thread: works as number `index` of the team until slm_team_stop. */
void team_serve(slm_team *team, uint32_t index);

/* ---- Asked of a system ----------------------------------------------------------------------- */

void team_gate_init(team_gate *gate);
void team_gate_destroy(team_gate *gate);

/* Sleeps while word->value is `value`; it may also return early. */
void team_sleep(team_word *word, uint32_t value);
void team_wake(team_word *word);

/* One look's delay in a loop that waits for a word, and as many of them as some 20 microseconds
 * take. */
void team_pause(void);
uint32_t team_spins(void);

/* Whether the clock runs while a piece of work is made. */
bool team_clock_runs(void);

/* Starts threads 1..n-1, which call team_serve; returns the size of the team that came about.
 * team->threads has room for n times team_thread_bytes. */
size_t team_thread_bytes(void);
uint32_t team_start_threads(slm_team *team, uint32_t n);
void team_join_threads(slm_team *team);

#endif
