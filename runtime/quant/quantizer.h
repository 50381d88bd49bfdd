/* quantizer.h - 16 rows of F32, F16 or BF16 -> one T16 row group of a block type, by the best
 * vector instructions of this machine. All variants make the same bytes (search.h says why).
 */
#ifndef SLM_QUANT_QUANTIZER_H
#define SLM_QUANT_QUANTIZER_H

#include "quant/blocks.h"

/* Up to 16 rows, row_bytes apart, no alignment. n_cols a multiple of 32. */
typedef struct slm_source_rows {
    const uint8_t *rows;
    size_t row_bytes;
    slm_type type; /* F32, F16 or BF16 */
    uint32_t n_rows, n_cols;
} slm_source_rows;

/* What a caller may want to know of each row. Values that are not finite, and for the K types those
 * beyond SLM_LARGEST_WEIGHT, give finite but useless blocks: `largest` tells. */
typedef struct slm_row_check {
    double error, power; /* sums of squares: of decoded less original values, and of these */
    uint32_t largest;    /* bits of the largest |x|; at least 0x7f800000: infinity or NaN */
    uint32_t scale;      /* the largest |d| or |dmin|, a half; 0x7bff: scales were cut, too */
} slm_row_check;

/* 65504 (the largest half) * 128 * 32 (the largest scale and code of Q6_K): no type reaches beyond.
 */
#define SLM_LARGEST_WEIGHT 268304384.0f

typedef struct slm_quantizer {
    const char *name; /* "ref", "128", "avx2", "avx512" */

    /* Overwrites the group (slm_t16_group_bytes); absent rows become zero bytes, and their checks
     * zeros. check: 16 of them. */
    void (*group)(slm_type to, const slm_source_rows *in, uint8_t *group, slm_row_check *check);
} slm_quantizer;

/* The variants of this build that this machine can run, best last; [0] has one lane. Returns their
 * number; table[] is static storage. */
uint32_t slm_quantizers_available(const slm_quantizer *const **table);

#endif
