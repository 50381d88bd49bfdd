/* quantize_plan.h - which type each tensor of a model gets. */
#ifndef SLM_TOOLS_QUANTIZE_PLAN_H
#define SLM_TOOLS_QUANTIZE_PLAN_H

#include "format/config.h"
#include "lib/failure.h"

/* A named target: one block type for every matrix, or a mix that gives the sensitive ones more. */
typedef struct quantize_mix {
    const char *name;
    slm_type base;
    bool is_mix;
    bool is_medium; /* the _M mixes: more bits for about half of attn_v and ffn_down */
} quantize_mix;

/* NULL if there is no mix of that name. */
const quantize_mix *quantize_mix_find(const char *name);

/* "Q8_0, Q4_0, ..." for messages. */
const char *quantize_mix_names(void);

typedef struct tensor_plan {
    slm_type from, to;
    bool kept; /* a matrix whose rows are not a multiple of 32: stays in 16 bits */
    uint64_t n_parameters, from_bytes, to_bytes;
    double error,
        power; /* sums of squares of the error and of the values; filled by quantize_run */
} tensor_plan;

/* Plans every tensor of a file, in directory order. plan: file->n_tensors entries.
 * EXIT_INPUT for a tensor that is quantized already, naming it. */
int quantize_plan_make(const char *path, const slm_file *file, const slm_config *config,
                       const quantize_mix *mix, tensor_plan *plan, failure *f);

#endif
