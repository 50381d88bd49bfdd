/* wasm_one.c - the team of one, for a WebAssembly module without shared memory. */
#include "base/status.h"
#include "port/port.h"

enum { MAX_THREADS = 256 };

size_t slm_team_bytes(uint32_t n_threads)
{
    (void)n_threads;
    return 64;
}

slm_status slm_team_start(void *memory, size_t memory_bytes, uint32_t n_threads, slm_team **team,
                          slm_error *error)
{
    (void)memory;
    (void)memory_bytes;
    if (n_threads < 1 || n_threads > MAX_THREADS) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 0, "%u threads; allowed are 1 to 256", n_threads);
    }
    *team = NULL; /* the team of one */
    return SLM_OK;
}

uint32_t slm_team_size(const slm_team *team)
{
    (void)team;
    return 1;
}

void slm_team_stop(slm_team **team)
{
    *team = NULL;
}

void slm_team_run(slm_team *team, slm_job job, void *context, uint32_t n_items)
{
    (void)team;
    for (uint32_t i = 0; i < n_items; i++) {
        job(context, i, 0);
    }
}

void slm_team_begin(slm_team *team, uint32_t n_tokens)
{
    (void)team;
    (void)n_tokens;
}

void slm_team_end(slm_team *team)
{
    (void)team;
}
