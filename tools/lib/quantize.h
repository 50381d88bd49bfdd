/* quantize.h - carries a plan out: tensors of one .slm file -> tensors of another. */
#ifndef SLM_TOOLS_QUANTIZE_H
#define SLM_TOOLS_QUANTIZE_H

#include "lib/cli.h"
#include "lib/quantize_plan.h"
#include "lib/slm_writer.h"

/* Streams every tensor into a writer on which the plan's tensors have been declared and that has
 * begun. Each source tensor's checksum is verified before it is read. Memory: row groups of the
 * widest tensor, a few MiB besides. The bytes do not depend on the team.
 * EXIT_INPUT, naming tensor and row, for a value that is not finite or too large for the type.
 * plan[].error and .power are filled. */
int quantize_run(const char *path, const slm_file *file, tensor_plan *plan, slm_team *team,
                 slm_writer *writer, progress *p, failure *f);

#endif
