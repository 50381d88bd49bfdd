/* logits_out.h - rows of logits -> a digest and a file of little-endian f32, as they come. */
#ifndef SLM_TOOLS_LOGITS_OUT_H
#define SLM_TOOLS_LOGITS_OUT_H

#include "lib/output.h"

typedef struct logits_out {
    slm_hash hash;   /* over the same bytes that the file would get; seed 0 */
    output *file;    /* borrowed; NULL: only the digest */
    uint64_t n_rows; /* received */
    failure failure; /* of the first write that failed */
} logits_out;

void logits_out_init(logits_out *l, output *file);

/* An slm_logits_sink; user is the logits_out. */
void logits_out_row(void *user, size_t index, const float *logits, uint32_t n_vocab);

#endif
