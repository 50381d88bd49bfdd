/* quantize.h - carries a plan out: tensors of one .slm file -> tensors of another. */
#ifndef SLM_TOOLS_QUANTIZE_H
#define SLM_TOOLS_QUANTIZE_H

#include "lib/cli.h"
#include "lib/input.h"
#include "lib/quantize_plan.h"
#include "lib/slm_writer.h"

/* Streams every tensor into a writer on which the plan's tensors have been declared and that has
 * begun. in: mapped, the bytes of file. Each source tensor's checksum is verified on the way; what
 * was written before a tensor turned out to be damaged is not to be committed. Memory: three
 * batches of row groups, about 2 MiB of the source each, however large the tensors are. The bytes
 * do not depend on the team.
 * EXIT_INPUT, naming tensor and row, for a value that is not finite or too large for the type.
 * plan[].error and .power are filled. */
int quantize_run(const input *in, const slm_file *file, tensor_plan *plan, slm_team *team,
                 slm_writer *writer, progress *bar, failure *f);

#endif
