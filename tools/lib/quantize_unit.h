/* quantize_unit.h - the smallest piece of a tensor that is quantized, converted or copied by
 * itself: 16 rows of a matrix, or a run of elements of a vector.
 */
#ifndef SLM_TOOLS_QUANTIZE_UNIT_H
#define SLM_TOOLS_QUANTIZE_UNIT_H

#include "lib/quantize_plan.h"
#include "quant/quantizer.h"

/* How a tensor falls into units. All but the last have unit_in stored bytes in the source, and
 * unit_out in the output. */
typedef struct unit_source {
    const slm_tensor *tensor;
    const uint8_t *bytes; /* of the source */
    slm_type to;
    const slm_quantizer *quantizer;
    uint64_t n_units, unit_in, unit_out, to_bytes;
} unit_source;

typedef enum unit_defect { UNIT_FINE, UNIT_NOT_FINITE, UNIT_TOO_LARGE, UNIT_PADDING } unit_defect;

typedef struct unit_result {
    double error, power; /* sums of squares of the error and of the values */
    unit_defect defect;
    uint64_t row; /* of the tensor, where the defect is */
} unit_result;

unit_source unit_source_of(const slm_file *file, const slm_tensor *tensor, const tensor_plan *plan,
                           const slm_quantizer *quantizer);

/* Bytes of units first..first+n-1 in the source and in the output. */
uint64_t unit_bytes_in(const unit_source *s, uint64_t first, uint64_t n);
uint64_t unit_bytes_out(const unit_source *s, uint64_t first, uint64_t n);

/* Makes the output of one unit. out: unit_bytes_out(s, unit, 1), 64-byte aligned for block types.
 */
unit_result unit_run(const unit_source *s, uint64_t unit, uint8_t *out);

#endif
