/* bench_synthetic.h - the name of a shape and of a type -> a .slm model of random weights.
 *
 * The shapes are those of published models, the types those that slm-quantize would choose, so that
 * speed can be measured without a download. Rows are quantized Gaussian values: a pool of row
 * groups for each type and width, drawn in random order.
 */
#ifndef SLM_TOOLS_BENCH_SYNTHETIC_H
#define SLM_TOOLS_BENCH_SYNTHETIC_H

#include "lib/output.h"

/* "smollm2-135m, ..." and "Q8_0, ..." for messages. */
const char *synthetic_shapes(void);
const char *synthetic_types(void);

/* Writes such a model; the same calls give the same bytes. EXIT_USAGE for unknown names.
 * *n_bytes: of the whole file. */
int synthetic_write(const char *shape, const char *type, output *out, uint64_t *n_bytes,
                    failure *f);

#endif
