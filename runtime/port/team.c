/* team.c - shares the items of a job out among threads.
 *
 * One atomic word holds a job's number of items and the next one to be claimed; adding one to it
 * claims an item. The caller publishes a job, claims items like everybody else, and then waits for
 * those that others have claimed: never for a thread that holds none. A claimed item keeps its job
 * current, so who has claimed one may read what the job is.
 *
 * Threads without work look at a word for some microseconds (a forward pass publishes jobs that far
 * apart), then sleep, so that a busy neighbour gets the processor.
 *
 * Where processors are short, a thread may be stopped for milliseconds with an item in its hands,
 * and two threads are slower than one. Between slm_team_begin and slm_team_end the team takes the
 * time of recurring work and uses as many threads as serve it best (pace.h).
 */
#include "port/team.h"

#include <string.h>

#include "base/status.h"

enum { MAX_THREADS = 256, MAX_ITEMS = 1 << 24 };

static bool look_for_change(const slm_team *team, const team_word *word, uint32_t value)
{
    for (uint32_t i = 0; i < team->spins; i++) {
        if (atomic_load_explicit(&word->value, memory_order_acquire) != value) {
            return true;
        }
        team_pause();
    }
    return false;
}

/* Who changes a word looks for sleepers after that, who wants to sleep looks at the word after
 * counting himself: one of them sees the other. */
static void sleep_on(team_word *word, uint32_t value)
{
    atomic_fetch_add(&word->n_sleeping, 1);
    if (atomic_load(&word->value) == value) {
        team_sleep(word, value);
    }
    atomic_fetch_sub(&word->n_sleeping, 1);
}

static void wake_sleepers(team_word *word)
{
    if (atomic_load(&word->n_sleeping) != 0) {
        team_wake(word);
    }
}

/* Claims and runs items until none is left; returns how many. */
static uint32_t work(slm_team *team, uint32_t thread)
{
    uint32_t n = 0;
    for (;;) {
        uint64_t ticket = atomic_fetch_add(&team->claim, 1);
        uint32_t item = (uint32_t)ticket, n_items = (uint32_t)(ticket >> 32);
        if (item >= n_items) {
            return n;
        }
        team->job(team->context, item, thread);
        n++;
    }
}

void team_serve(slm_team *team, uint32_t index)
{
    while (!atomic_load(&team->stopping)) {
        uint32_t number = atomic_load(&team->number.value);
        uint32_t n_active = atomic_load(&team->n_active.value);
        if (index >= n_active) {
            if (!atomic_load(&team->stopping)) {
                sleep_on(&team->n_active, n_active);
            }
            continue;
        }
        uint32_t n = work(team, index);
        if (n != 0) {
            atomic_fetch_add(&team->n_done.value, n);
            wake_sleepers(&team->n_done);
        }
        if (!look_for_change(team, &team->number, number) && !atomic_load(&team->stopping)) {
            sleep_on(&team->number, number);
        }
    }
}

/* ---- The caller ------------------------------------------------------------------------------ */

static void set_active(slm_team *team, uint32_t n)
{
    atomic_store(&team->n_active.value, n);
    wake_sleepers(&team->n_active);
}

/* Returns once all items are done, those included that the caller did since `started`. */
static void wait_for_items(slm_team *team, uint32_t n_items, uint32_t n_own, double started)
{
    uint32_t done = atomic_fetch_add(&team->n_done.value, n_own) + n_own;
    if (done == n_items) {
        return;
    }
    double begun = slm_clock_seconds();
    while (done != n_items) {
        if (!look_for_change(team, &team->n_done, done)) {
            sleep_on(&team->n_done, done);
        }
        done = atomic_load(&team->n_done.value);
    }
    /* To wait for an item that is being worked on is no loss. */
    double item = n_own ? (begun - started) / n_own : 0;
    double lost = slm_clock_seconds() - begun - item;
    team->lost += lost > 0 ? lost : 0;
}

static void share_out(slm_team *team, slm_job job, void *context, uint32_t n_items)
{
    team->job = job;
    team->context = context;
    atomic_store_explicit(&team->n_done.value, 0, memory_order_relaxed);
    atomic_store(&team->claim, (uint64_t)n_items << 32);
    atomic_fetch_add(&team->number.value, 1);
    double started = slm_clock_seconds();
    if (atomic_load(&team->number.n_sleeping) != 0) {
        team_wake(&team->number);
        double woken = slm_clock_seconds();
        team->lost += woken - started;
        started = woken;
    }
    uint32_t n_own = work(team, 0);
    wait_for_items(team, n_items, n_own, started);
}

void slm_team_run(slm_team *team, slm_job job, void *context, uint32_t n_items)
{
    if (team && n_items > 1 && n_items <= MAX_ITEMS &&
        atomic_load_explicit(&team->n_active.value, memory_order_relaxed) > 1) {
        share_out(team, job, context, n_items);
        return;
    }
    for (uint32_t i = 0; i < n_items; i++) {
        job(context, i, 0);
    }
}

/* ---- How many threads -------------------------------------------------------------------------
 */

/* Pieces of 1, 2, 3, 4, to 8, to 16, to 32 and more tokens have paces of their own. */
static uint32_t pace_index(uint32_t n_tokens)
{
    uint32_t index = n_tokens < 4 ? n_tokens : 4;
    for (uint32_t limit = 5; limit <= 33 && n_tokens >= limit; limit = 2 * limit - 1) {
        index++;
    }
    return index - 1;
}

void slm_team_begin(slm_team *team, uint32_t n_tokens)
{
    if (!team || n_tokens == 0) {
        return;
    }
    team->pace = &team->paces[team_clock_runs() ? pace_index(n_tokens) : 0];
    team->n_tokens = n_tokens;
    team->lost = 0;
    team->begun = slm_clock_seconds();
    uint32_t n = slm_pace_threads(team->pace);
    if (n != atomic_load(&team->n_active.value)) {
        set_active(team, n);
    }
}

void slm_team_end(slm_team *team)
{
    double now = slm_clock_seconds();
    if (!team || team->n_tokens == 0 || now <= team->begun) {
        return;
    }
    /* Without a running clock, loss cannot be told from work: single tokens are compared now and
     * then, and longer pieces, whose trials would cost more, follow them. */
    double seconds = now - team->begun, lost = team_clock_runs() ? team->lost : seconds;
    if (team_clock_runs() || team->n_tokens == 1) {
        slm_pace_note(team->pace, now, seconds, team->n_tokens, lost);
    }
    team->n_tokens = 0;
}

/* ---- Life ------------------------------------------------------------------------------------ */

size_t slm_team_bytes(uint32_t n_threads)
{
    return sizeof(slm_team) + (size_t)n_threads * team_thread_bytes();
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
    team->threads = team + 1;
    team_gate_init(&team->number.gate);
    team_gate_init(&team->n_done.gate);
    team_gate_init(&team->n_active.gate);
    team->spins = team_spins();
    atomic_store(&team->n_active.value, n_threads);
    team->n_threads = team_start_threads(team, n_threads);
    set_active(team, team->n_threads);
    for (uint32_t i = 0; i < TEAM_N_PACES; i++) {
        slm_pace_init(&team->paces[i], team->n_threads);
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
    atomic_store(&team->stopping, 1);
    set_active(team, 0);
    atomic_fetch_add(&team->number.value, 1);
    wake_sleepers(&team->number);
    team_join_threads(team);
    team_gate_destroy(&team->number.gate);
    team_gate_destroy(&team->n_done.gate);
    team_gate_destroy(&team->n_active.gate);
    *team_pointer = NULL;
}
