/* test_team.c - every item runs exactly once, whoever runs it. */
#include <stdatomic.h>

#include "lib/check.h"
#include "port/port.h"

enum { MAX_ITEMS = 1000 };

typedef struct tally {
    _Atomic uint32_t runs[MAX_ITEMS];
    _Atomic uint32_t threads_out_of_range;
    uint32_t n_threads;
} tally;

static void count_item(void *context, uint32_t item, uint32_t thread)
{
    tally *t = (tally *)context;
    atomic_fetch_add(&t->runs[item], 1);
    if (thread >= t->n_threads) {
        atomic_fetch_add(&t->threads_out_of_range, 1);
    }
}

static void *aligned(size_t n_bytes)
{
    return aligned_alloc(64, (n_bytes + 63) / 64 * 64);
}

static void hammer(uint32_t n_threads)
{
    static tally t;
    void *memory = aligned(slm_team_bytes(n_threads));
    slm_team *team = NULL;
    slm_error error;
    CHECK(slm_team_start(memory, slm_team_bytes(n_threads), n_threads, &team, &error) == SLM_OK);
    memset(&t, 0, sizeof t);
    t.n_threads = slm_team_size(team);
    uint32_t want[MAX_ITEMS] = {0};
    for (uint32_t round = 0; round < 4000; round++) {
        uint32_t n_items = round % 7 == 0 ? MAX_ITEMS : round % 13;
        slm_team_run(team, count_item, &t, n_items);
        for (uint32_t i = 0; i < n_items; i++) {
            want[i]++;
        }
    }
    for (uint32_t i = 0; i < MAX_ITEMS; i++) {
        CHECK_U64(t.runs[i], want[i]);
    }
    CHECK_U64(t.threads_out_of_range, 0);
    slm_team_stop(&team);
    CHECK(team == NULL);
    free(memory);
}

static void one_thread(void)
{
    hammer(1);
}

static void two_threads(void)
{
    hammer(2);
}

static void more_threads_than_cores(void)
{
    hammer(9);
}

/* Pieces of work measured by the team: it may change its number of threads between them. */
static void pieces_of_work(void)
{
    static tally t;
    void *memory = aligned(slm_team_bytes(4));
    slm_team *team = NULL;
    slm_error error;
    CHECK(slm_team_start(memory, slm_team_bytes(4), 4, &team, &error) == SLM_OK);
    memset(&t, 0, sizeof t);
    t.n_threads = slm_team_size(team);
    double end = slm_clock_seconds() + 0.4;
    uint32_t n_rounds = 0;
    for (; slm_clock_seconds() < end; n_rounds++) {
        slm_team_begin(team, n_rounds % 3 == 0 ? 1 : n_rounds % 100);
        slm_team_run(team, count_item, &t, 20);
        slm_team_run(team, count_item, &t, 1);
        slm_team_end(team);
    }
    CHECK_U64(t.runs[0], 2 * n_rounds);
    CHECK_U64(t.runs[19], n_rounds);
    CHECK_U64(t.threads_out_of_range, 0);
    slm_team_stop(&team);
    slm_team_begin(NULL, 1);
    slm_team_end(NULL);
    free(memory);
}

static void no_team_is_a_team_of_one(void)
{
    static tally t;
    t.n_threads = 1;
    slm_team_run(NULL, count_item, &t, 3);
    CHECK_U64(t.runs[0] + t.runs[1] + t.runs[2], 3);
    CHECK_U64(slm_team_size(NULL), 1);
    slm_team *none = NULL;
    slm_team_stop(&none);
}

static void refuses_bad_arguments(void)
{
    slm_team *team = NULL;
    slm_error error;
    void *memory = aligned(slm_team_bytes(2));
    CHECK(slm_team_start(memory, slm_team_bytes(2), 0, &team, &error) == SLM_ERR_ARGUMENT);
    CHECK(slm_team_start(memory, slm_team_bytes(2), 257, &team, &error) == SLM_ERR_ARGUMENT);
    CHECK(slm_team_start(memory, slm_team_bytes(2) - 1, 2, &team, &error) == SLM_ERR_MEMORY);
    CHECK(slm_team_start((char *)memory + 8, slm_team_bytes(2), 2, &team, &error) ==
          SLM_ERR_MEMORY);
    CHECK(team == NULL);
    free(memory);
}

int main(void)
{
    RUN(one_thread);
    RUN(two_threads);
    RUN(more_threads_than_cores);
    RUN(pieces_of_work);
    RUN(no_team_is_a_team_of_one);
    RUN(refuses_bad_arguments);
    return test_finish();
}
