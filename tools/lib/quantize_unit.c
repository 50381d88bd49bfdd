/* quantize_unit.c - 16 rows of F32, F16 or BF16 -> a row group of blocks, rows of another 16-bit
 * type, or the same rows after a look at them.
 */
#include "lib/quantize_unit.h"

#include <string.h>

#include "base/half.h"
#include "quant/blocks.h"

enum { RUN_BYTES = 1 << 16, LARGEST_HALF = 0x7bff };

unit_source unit_source_of(const slm_file *file, const slm_tensor *t, const tensor_plan *plan,
                           const slm_quantizer *quantizer)
{
    unit_source s = {.tensor = t,
                     .bytes = slm_tensor_data(file, t),
                     .to = plan->to,
                     .quantizer = quantizer,
                     .to_bytes = plan->to_bytes};
    s.unit_in = s.unit_out = RUN_BYTES;
    if (t->rank == 2) {
        uint32_t n_cols = (uint32_t)t->dims[1];
        s.unit_in = SLM_GROUP_ROWS * slm_row_bytes(t->type, n_cols);
        s.unit_out = slm_type_is_block(s.to) ? slm_t16_group_bytes(s.to, n_cols)
                                             : SLM_GROUP_ROWS * slm_row_bytes(s.to, n_cols);
    }
    s.n_units = (t->length + s.unit_in - 1) / s.unit_in;
    return s;
}

static uint64_t range_bytes(uint64_t unit_bytes, uint64_t total, uint64_t first, uint64_t n)
{
    uint64_t from = first * unit_bytes, to = (first + n) * unit_bytes;
    return (to < total ? to : total) - from;
}

uint64_t unit_bytes_in(const unit_source *s, uint64_t first, uint64_t n)
{
    return range_bytes(s->unit_in, s->tensor->length, first, n);
}

uint64_t unit_bytes_out(const unit_source *s, uint64_t first, uint64_t n)
{
    return range_bytes(s->unit_out, s->to_bytes, first, n);
}

/* ---- Kinds of work --------------------------------------------------------------------------- */

/* A group that holds the largest half as a scale could not hold its values. */
static unit_defect defect_of(const slm_row_check *check)
{
    if (check->largest >= 0x7f800000u) {
        return UNIT_NOT_FINITE;
    }
    bool fits = f32_from_bits(check->largest) <= SLM_LARGEST_WEIGHT && check->scale < LARGEST_HALF;
    return fits ? UNIT_FINE : UNIT_TOO_LARGE;
}

static void quantize_rows(const unit_source *s, const slm_source_rows *in, uint8_t *out,
                          unit_result *result)
{
    slm_row_check check[SLM_GROUP_ROWS];
    s->quantizer->group(s->to, in, out, check);
    for (uint32_t r = 0; r < in->n_rows && result->defect == UNIT_FINE; r++) {
        result->error += check[r].error;
        result->power += check[r].power;
        result->defect = defect_of(&check[r]);
        result->row += result->defect == UNIT_FINE;
    }
}

/* F32 to F16, the one conversion between plain types. */
static unit_defect convert_row(const slm_source_rows *in, uint32_t r, uint8_t *out,
                               unit_result *result)
{
    const uint8_t *row = in->rows + r * in->row_bytes;
    for (uint32_t i = 0; i < in->n_cols; i++) {
        float x;
        memcpy(&x, row + 4 * (size_t)i, 4);
        uint16_t half = half_from_f32(x);
        if (!half_is_finite(half)) {
            return f32_is_finite(x) ? UNIT_TOO_LARGE : UNIT_NOT_FINITE;
        }
        double error = (double)x - (double)f32_from_half(half);
        result->error += error * error;
        result->power += (double)x * (double)x;
        memcpy(out + 2 * (size_t)i, &half, 2);
    }
    return UNIT_FINE;
}

static void convert_rows(const unit_source *s, const slm_source_rows *in, uint8_t *out,
                         unit_result *result)
{
    size_t row_bytes = (size_t)slm_row_bytes(s->to, in->n_cols);
    memset(out, 0, in->n_rows * row_bytes);
    for (uint32_t r = 0; r < in->n_rows && result->defect == UNIT_FINE; r++) {
        result->defect = convert_row(in, r, out + r * row_bytes, result);
        result->row += result->defect == UNIT_FINE;
    }
}

/* Whether elements are finite numbers. No early exit: it vectorizes. */
static bool all_finite(slm_type type, const uint8_t *p, size_t n_bytes)
{
    uint32_t bad = 0;
    if (type == SLM_TYPE_F32) {
        for (size_t i = 0; i < n_bytes; i += 4) {
            uint32_t u;
            memcpy(&u, p + i, 4);
            bad |= (u & 0x7f800000u) == 0x7f800000u;
        }
        return !bad;
    }
    uint16_t exponent = type == SLM_TYPE_F16 ? 0x7c00 : 0x7f80;
    for (size_t i = 0; i < n_bytes; i += 2) {
        uint16_t u;
        memcpy(&u, p + i, 2);
        bad |= (u & exponent) == exponent;
    }
    return !bad;
}

static bool all_zero(const uint8_t *p, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++) {
        any |= p[i];
    }
    return any == 0;
}

/* Copies rows of n_bytes, the last row_padding of them zero. */
static void copy_rows(const unit_source *s, const slm_source_rows *in, size_t row_padding,
                      uint8_t *out, unit_result *result)
{
    size_t used = in->row_bytes - row_padding;
    for (uint32_t r = 0; r < in->n_rows && result->defect == UNIT_FINE; r++) {
        const uint8_t *row = in->rows + r * in->row_bytes;
        memcpy(out + r * in->row_bytes, row, in->row_bytes);
        result->defect = !all_finite(s->to, row, used)        ? UNIT_NOT_FINITE
                         : !all_zero(row + used, row_padding) ? UNIT_PADDING
                                                              : UNIT_FINE;
        result->row += result->defect == UNIT_FINE;
    }
}

unit_result unit_run(const unit_source *s, uint64_t unit, uint8_t *out)
{
    const slm_tensor *t = s->tensor;
    unit_result result = {.row = unit * SLM_GROUP_ROWS};
    slm_source_rows in = {.rows = s->bytes + (size_t)(unit * s->unit_in), .type = t->type};
    size_t n_bytes = (size_t)unit_bytes_in(s, unit, 1), padding = 0;
    if (t->rank == 2) {
        in.n_cols = (uint32_t)t->dims[1];
        in.row_bytes = (size_t)slm_row_bytes(t->type, in.n_cols);
        in.n_rows = (uint32_t)(n_bytes / in.row_bytes);
        padding = in.row_bytes - (size_t)in.n_cols * (t->type == SLM_TYPE_F32 ? 4 : 2);
    } else {
        in.row_bytes = n_bytes;
        in.n_rows = 1;
        result.row = 0;
    }
    if (slm_type_is_block(s->to)) {
        quantize_rows(s, &in, out, &result);
    } else if (s->to != t->type) {
        convert_rows(s, &in, out, &result);
    } else {
        copy_rows(s, &in, padding, out, &result);
    }
    return result;
}
