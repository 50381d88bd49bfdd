/* bench_memory.h - the name of a shape and of a type -> such a model in memory, in large pages. */
#ifndef SLM_TOOLS_BENCH_MEMORY_H
#define SLM_TOOLS_BENCH_MEMORY_H

#include <stdint.h>

#include "lib/failure.h"

typedef struct bench_memory {
    const uint8_t *bytes; /* of the model */
    uint64_t n_bytes;
    void *mapping; /* what they lie in, or NULL */
    uint64_t mapping_bytes;
} bench_memory;

/* The model of synthetic_write (bench_synthetic.h). m: zeroed before; release it on failure, too.
 */
int bench_memory_make(bench_memory *m, const char *shape, const char *type, failure *f);
void bench_memory_release(bench_memory *m);

#endif
