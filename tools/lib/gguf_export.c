/* gguf_export.c - stub */
#include "lib/gguf_convert.h"
int slm_to_gguf(const gguf_job *job, convert_summary *r, progress *p, notes *w, failure *f)
{
    (void)r, (void)p, (void)w;
    return fail(f, EXIT_INPUT, "%s: cannot be written as GGUF yet", job->in);
}
