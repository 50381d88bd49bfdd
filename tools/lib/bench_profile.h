/* bench_profile.h - a model's kernel table -> the time that each part of a forward pass takes.
 *
 * The runtime reads no clocks for this: the model is handed a copy of its kernel table whose slots
 * read the clock around the real ones. What no slot covers (storing keys and values, embedding,
 * angles, handing out work, waiting for it) is what is left of the threads' time.
 */
#ifndef SLM_TOOLS_BENCH_PROFILE_H
#define SLM_TOOLS_BENCH_PROFILE_H

#include "lib/model_file.h"

typedef enum profile_part {
    PROFILE_MATRIX, /* one for each slm_type */
    PROFILE_ATTENTION = PROFILE_MATRIX + SLM_TYPE_COUNT,
    PROFILE_QUANTIZE, /* activations */
    PROFILE_NORM,
    PROFILE_ROPE,
    PROFILE_ACTIVATION,
    PROFILE_ADD,
    PROFILE_SAMPLING,
    PROFILE_REST,
    PROFILE_N_PARTS
} profile_part;

typedef struct profile {
    double seconds[PROFILE_N_PARTS]; /* summed over the threads */
    uint64_t calls[PROFILE_N_PARTS];
    double wall;
    uint32_t n_threads;
} profile;

/* "Q4_K matrices", "attention", ... */
const char *profile_part_name(profile_part part);

/* From now on the model's kernels are timed; one model of a process at a time. */
void profile_attach(model_file *m);
void profile_detach(model_file *m);

/* profile_begin clears the counters; profile_end reads them. p->seconds[PROFILE_SAMPLING] is the
 * caller's to add before profile_end, which computes PROFILE_REST. */
void profile_begin(profile *p, const model_file *m);
void profile_end(profile *p);

/* Share of the threads' time that is not spent in matrices. */
double profile_outside(const profile *p);

#endif
