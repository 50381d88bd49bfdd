/* posix.c - clock, sleep and threads on POSIX systems. */
#include <pthread.h>
#include <time.h>

#include "port/team.h"

enum { SPIN_NS = 20000, PAUSES = 200, TRIALS = 5 };

typedef struct thread {
    slm_team *team;
    pthread_t handle;
    uint32_t index;
} thread;

double slm_clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Sleep ----------------------------------------------------------------------------------- */

void team_gate_init(team_gate *gate)
{
    pthread_mutex_init(&gate->mutex, NULL);
    pthread_cond_init(&gate->changed, NULL);
}

void team_gate_destroy(team_gate *gate)
{
    pthread_cond_destroy(&gate->changed);
    pthread_mutex_destroy(&gate->mutex);
}

void team_sleep(team_word *word, uint32_t value)
{
    pthread_mutex_lock(&word->gate.mutex);
    while (atomic_load(&word->value) == value) {
        pthread_cond_wait(&word->gate.changed, &word->gate.mutex);
    }
    pthread_mutex_unlock(&word->gate.mutex);
}

void team_wake(team_word *word)
{
    pthread_mutex_lock(&word->gate.mutex);
    pthread_cond_broadcast(&word->gate.changed);
    pthread_mutex_unlock(&word->gate.mutex);
}

void team_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* A pause takes 3 to 50 ns, by processor. The quickest trial is one that nobody interrupted. */
uint32_t team_spins(void)
{
    double best = 1.0;
    for (int trial = 0; trial < TRIALS; trial++) {
        double start = slm_clock_seconds();
        for (int i = 0; i < PAUSES; i++) {
            team_pause();
        }
        double seconds = slm_clock_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    double spins = 1e-9 * (double)(SPIN_NS * PAUSES) / (best > 1e-7 ? best : 1e-7);
    return (uint32_t)spins + 1;
}

bool team_clock_runs(void)
{
    return true;
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void *thread_main(void *argument)
{
    thread *self = (thread *)argument;
    team_serve(self->team, self->index);
    return NULL;
}

size_t team_thread_bytes(void)
{
    return sizeof(thread);
}

/* Where one cannot start, the team goes on with those that did. */
uint32_t team_start_threads(slm_team *team, uint32_t n)
{
    thread *threads = (thread *)team->threads;
    for (uint32_t i = 1; i < n; i++) {
        threads[i].team = team;
        threads[i].index = i;
        if (pthread_create(&threads[i].handle, NULL, thread_main, &threads[i]) != 0) {
            return i;
        }
    }
    return n;
}

void team_join_threads(slm_team *team)
{
    thread *threads = (thread *)team->threads;
    for (uint32_t i = 1; i < team->n_threads; i++) {
        pthread_join(threads[i].handle, NULL);
    }
}
