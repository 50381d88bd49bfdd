/* convert.h - one tensor of a source file -> one tensor of a .slm file, in small pieces.
 *
 * Knows nothing of where the source's tensors come from: a reader of some format says where a
 * tensor's elements lie, row after row, little-endian.
 */
#ifndef SLM_TOOLS_CONVERT_H
#define SLM_TOOLS_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cli.h"
#include "lib/input.h"
#include "lib/slm_writer.h"

enum { CONVERT_CHUNK = 1 << 18 }; /* elements at a time */

/* Memory of a conversion, reused for every tensor. */
typedef struct convert_buffers {
    uint8_t source[CONVERT_CHUNK * 4];
    uint8_t target[CONVERT_CHUNK * 4 + 64]; /* and the padding of one row */
} convert_buffers;

typedef struct convert_tensor {
    const char *name;  /* in the source, for messages */
    slm_type from, to; /* F32, F16 or BF16 */
    uint32_t rank;     /* 1 or 2; rows of rank 2 are padded to 16 elements */
    uint64_t dims[2];
    const input *in;
    uint64_t offset; /* of the first element in the file */
    uint64_t
        turned_width; /* not 0: stored columns first, that many elements from one to the next */
    bool less_one;    /* stored less one; to is F32 */
} convert_tensor;

typedef struct convert_progress {
    progress *shown;
    uint64_t done, total; /* source bytes */
} convert_progress;

typedef enum convert_result {
    CONVERT_OK,
    CONVERT_NOT_FINITE, /* an element is NaN or infinite */
    CONVERT_OVERFLOW    /* a finite element does not fit the target type */
} convert_result;

/* Converts n elements; buffers of any alignment, not overlapping. On failure *bad is the index of
 * the first offending element. */
convert_result convert_elements(const uint8_t *source, slm_type from, uint8_t *target, slm_type to,
                                size_t n, size_t *bad);

/* Streams a tensor into the writer, which expects it next. Errors: EXIT_INPUT naming tensor and
 * element; what reading and writing give. */
int convert_write(slm_writer *writer, const convert_tensor *t, convert_buffers *buffers,
                  convert_progress *p, failure *f);

#endif
