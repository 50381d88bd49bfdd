/* arena.h - hands out pieces of one block of memory. The same layout code runs twice: once on a
 * measuring arena, which only counts, and once on the caller's memory.
 */
#ifndef SLM_BASE_ARENA_H
#define SLM_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct slm_arena {
    uint8_t *base; /* NULL: measuring */
    uint64_t size;
    uint64_t used;
    bool failed; /* a request did not fit or overflowed */
} slm_arena;

static inline slm_arena arena_over(void *base, uint64_t size)
{
    slm_arena a = {(uint8_t *)base, size, 0, false};
    return a;
}

static inline slm_arena arena_measure(void)
{
    return arena_over(NULL, UINT64_MAX);
}

/* count elements of `size` bytes each, 64-byte aligned, contents undefined. NULL when measuring, or
 * when it does not fit (failed is then set). */
static inline void *arena_take(slm_arena *a, uint64_t count, uint64_t size)
{
    uint64_t start = (a->used + 63) & ~(uint64_t)63;
    if (a->failed || start < a->used || (size != 0 && count > UINT64_MAX / size) ||
        start > a->size || count * size > a->size - start) {
        a->failed = true;
        return NULL;
    }
    a->used = start + count * size;
    return a->base ? a->base + start : NULL;
}

#endif
