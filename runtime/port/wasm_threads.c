/* wasm_threads.c - sleep and threads of WebAssembly modules that share a memory.
 *
 * A thread is a Worker with an instance of the module of its own. It asks web_thread_stack for a
 * stack, puts that into its instance's __stack_pointer, and calls web_thread_serve, which returns
 * when the team is stopped. Threads may come late or never: nobody waits for them.
 */
#include "port/team.h"

#define EXPORT(name) __attribute__((export_name(#name), used)) name

enum {
    STACK_BYTES = 65536,
    SPINS = 4000 /* looks at a word: some microseconds */
};

static slm_team *_Atomic current;

void team_gate_init(team_gate *gate)
{
    (void)gate;
}

void team_gate_destroy(team_gate *gate)
{
    (void)gate;
}

void team_sleep(team_word *word, uint32_t value)
{
    int *address = (int *)(void *)&word->value;
    __builtin_wasm_memory_atomic_wait32(address, (int)value, -1);
}

void team_wake(team_word *word)
{
    int *address = (int *)(void *)&word->value;
    __builtin_wasm_memory_atomic_notify(address, UINT32_MAX);
}

void team_pause(void)
{
}

uint32_t team_spins(void)
{
    return SPINS;
}

bool team_clock_runs(void)
{
    return false;
}

size_t team_thread_bytes(void)
{
    return STACK_BYTES;
}

/* JavaScript starts them. */
uint32_t team_start_threads(slm_team *team, uint32_t n)
{
    atomic_store(&current, team);
    return n;
}

void team_join_threads(slm_team *team)
{
    (void)team; /* JavaScript ends them, with the memory that they work in */
}

/* The top of the next thread's stack; 0 if the team has all its threads. Runs on no stack. */
uint32_t EXPORT(web_thread_stack)(void)
{
    slm_team *team = atomic_load(&current);
    uint32_t index = atomic_fetch_add(&team->n_begun, 1) + 1;
    return index < team->n_threads ? (uint32_t)(uintptr_t)team->threads + (index + 1) * STACK_BYTES
                                   : 0;
}

void EXPORT(web_thread_serve)(uint32_t stack)
{
    slm_team *team = atomic_load(&current);
    team_serve(team, (stack - (uint32_t)(uintptr_t)team->threads) / STACK_BYTES - 1);
}
