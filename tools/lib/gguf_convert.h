/* gguf_convert.h - GGUF -> .slm and back. Blocks keep their bits: the same tensors come out again.
 */
#ifndef SLM_TOOLS_GGUF_CONVERT_H
#define SLM_TOOLS_GGUF_CONVERT_H

#include "lib/cli.h"
#include "lib/convert_report.h"
#include "lib/gguf_model.h"

typedef struct gguf_job {
    const char *in, *out;
    const char *dtype; /* keep, f32, f16, bf16: of matrices; blocks: keep or f32 */
    bool force, want_tokenizer;
} gguf_job;

/* .gguf -> .slm. m: opened and filled for the report, the caller's to free, also on failure. */
int gguf_to_slm(const gguf_job *job, gguf_model *m, convert_summary *r, progress *p, notes *w,
                failure *f);

/* .slm -> .gguf (version 3); m: filled for the report alone. Refuses what GGUF or llama.cpp has no
 * place for. */
int slm_to_gguf(const gguf_job *job, gguf_model *m, convert_summary *r, progress *p, notes *w,
                failure *f);

/* What the report needs of m. */
void gguf_summary(const gguf_model *m, convert_summary *r);

#endif
