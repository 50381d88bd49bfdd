/* posix.c - clock and thread team on POSIX systems.
 *
 * One atomic word holds the current job's number (high half) and its next unclaimed item (low
 * half). A thread claims an item by a compare-exchange on that word, so that a claim succeeds only
 * while the job whose description it has read is still the current one. The caller publishes a job,
 * claims items like everybody else, and waits until every item is done: never for a thread that
 * holds none. Idle threads spin briefly (a forward pass publishes hundreds of jobs a millisecond
 * apart), then sleep, so that a busy neighbour gets the core.
 */
#include "port/port.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/status.h"

enum {
    MAX_THREADS = 256,
    SPINS_BEFORE_SLEEP = 4000, /* some 20 to 100 microseconds */
    SPINS_BEFORE_YIELD = 200
};

#define NO_ITEMS 0xffffffffu /* an item number that no job has */

typedef struct worker {
    slm_team *team;
    pthread_t handle;
    uint32_t index;
} worker;

struct slm_team {
    /* The words that all threads contend for have cache lines of their own. */
    _Alignas(64) _Atomic uint64_t claim;
    _Alignas(64) _Atomic uint32_t n_done;
    _Alignas(64) _Atomic(slm_job) job;
    _Atomic(void *) context;
    _Atomic uint32_t n_items;
    _Atomic uint32_t n_sleeping;
    _Atomic uint32_t stopping;
    uint32_t n_threads;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    worker workers[]; /* n_threads - 1 of them run */
};

double slm_clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void pause_core(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Claims and runs items of the current job until none is left. */
static void work(slm_team *team, uint32_t thread)
{
    uint64_t seen = atomic_load(&team->claim);
    for (;;) {
        slm_job job = atomic_load_explicit(&team->job, memory_order_relaxed);
        void *context = atomic_load_explicit(&team->context, memory_order_relaxed);
        if ((uint32_t)seen >= atomic_load(&team->n_items)) {
            return;
        }
        if (atomic_compare_exchange_weak(&team->claim, &seen, seen + 1)) {
            job(context, (uint32_t)seen, thread);
            atomic_fetch_add(&team->n_done, 1);
            seen = atomic_load(&team->claim);
        }
    }
}

static int has_work(slm_team *team)
{
    return (uint32_t)atomic_load(&team->claim) < atomic_load(&team->n_items);
}

static int is_stopping(slm_team *team)
{
    return atomic_load(&team->stopping) != 0;
}

static void sleep_until_work(slm_team *team)
{
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->n_sleeping, 1);
    while (!has_work(team) && !is_stopping(team)) {
        pthread_cond_wait(&team->wake, &team->mutex);
    }
    atomic_fetch_sub(&team->n_sleeping, 1);
    pthread_mutex_unlock(&team->mutex);
}

static void *thread_main(void *argument)
{
    worker *self = (worker *)argument;
    slm_team *team = self->team;
    while (!is_stopping(team)) {
        uint32_t spins = 0;
        while (!has_work(team) && !is_stopping(team)) {
            if (++spins < SPINS_BEFORE_SLEEP) {
                pause_core();
            } else {
                sleep_until_work(team);
                spins = 0;
            }
        }
        work(team, self->index);
    }
    return NULL;
}

/* Replaces the description of the job. The previous job is exhausted; while fields change, the
 * claim word names no item, and a thread that read some of them before has an outdated word to
 * claim with. */
static void publish(slm_team *team, slm_job job, void *context, uint32_t n_items)
{
    uint64_t number = (atomic_load(&team->claim) >> 32) + 1;
    atomic_store(&team->claim, number << 32 | NO_ITEMS);
    atomic_store(&team->n_done, 0);
    atomic_store(&team->job, job);
    atomic_store(&team->context, context);
    atomic_store(&team->n_items, n_items);
    atomic_store(&team->claim, number << 32);
    if (atomic_load(&team->n_sleeping) != 0) {
        pthread_mutex_lock(&team->mutex);
        pthread_cond_broadcast(&team->wake);
        pthread_mutex_unlock(&team->mutex);
    }
}

void slm_team_run(slm_team *team, slm_job job, void *context, uint32_t n_items)
{
    if (!team || team->n_threads == 1 || n_items < 2) {
        for (uint32_t i = 0; i < n_items; i++) {
            job(context, i, 0);
        }
        return;
    }
    publish(team, job, context, n_items);
    work(team, 0);
    uint32_t spins = 0;
    while (atomic_load(&team->n_done) != n_items) {
        if (++spins < SPINS_BEFORE_YIELD) {
            pause_core();
        } else {
            sched_yield();
        }
    }
}

size_t slm_team_bytes(uint32_t n_threads)
{
    return sizeof(slm_team) + (size_t)n_threads * sizeof(worker);
}

slm_status slm_team_start(void *memory, size_t memory_bytes, uint32_t n_threads, slm_team **out,
                          slm_error *error)
{
    if (n_threads < 1 || n_threads > MAX_THREADS) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 0, "a team has 1 to %u threads, not %u",
                        (uint32_t)MAX_THREADS, n_threads);
    }
    if (!memory || memory_bytes < slm_team_bytes(n_threads) || (uintptr_t)memory % 64 != 0) {
        return slm_fail(error, SLM_ERR_MEMORY, 0, "a team of %u threads needs %l aligned bytes",
                        n_threads, (uint64_t)slm_team_bytes(n_threads));
    }
    slm_team *team = (slm_team *)memory;
    memset(team, 0, slm_team_bytes(n_threads));
    team->n_threads = 1;
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->wake, NULL);
    for (uint32_t i = 1; i < n_threads; i++) {
        worker *w = &team->workers[i - 1];
        w->team = team;
        w->index = i;
        if (pthread_create(&w->handle, NULL, thread_main, w) != 0) {
            break; /* go on with those that started */
        }
        team->n_threads = i + 1;
    }
    *out = team;
    return SLM_OK;
}

uint32_t slm_team_size(const slm_team *team)
{
    return team ? team->n_threads : 1;
}

void slm_team_stop(slm_team **team_pointer)
{
    slm_team *team = *team_pointer;
    if (!team) {
        return;
    }
    pthread_mutex_lock(&team->mutex);
    atomic_store(&team->stopping, 1);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
    for (uint32_t i = 1; i < team->n_threads; i++) {
        pthread_join(team->workers[i - 1].handle, NULL);
    }
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->mutex);
    *team_pointer = NULL;
}
