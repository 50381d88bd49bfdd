/* tensor_values.c - how many bytes a tensor takes, and whether those bytes hold numbers: no NaN or
 * infinity in elements or block scales, and zeros wherever the layout has padding.
 *
 * Every other bit pattern is a legal weight: negative scales occur in peers' files, and the codes
 * and sub-scales of block types use all of their bits.
 */
#include "base/bytes.h"
#include "base/half.h"
#include "base/status.h"
#include "format/slm_file.h"
#include "quant/blocks.h"

enum { MAX_COLS = 1 << 24 };

bool slm_tensor_stored_bytes(slm_type type, uint32_t rank, const uint64_t dims[SLM_MAX_DIMS],
                             uint64_t *bytes)
{
    uint64_t n = 1;
    if (rank == 0 || rank > SLM_MAX_DIMS || (unsigned)type >= SLM_TYPE_COUNT) {
        return false;
    }
    for (uint32_t i = 0; i < rank; i++) {
        if (dims[i] == 0) {
            return false;
        }
    }
    if (slm_type_is_block(type)) {
        return rank == 2 && dims[1] % SLM_SUB_BLOCK == 0 && dims[1] < MAX_COLS &&
               dims[0] <= UINT64_MAX - (SLM_GROUP_ROWS - 1) &&
               checked_mul_u64((dims[0] + SLM_GROUP_ROWS - 1) / SLM_GROUP_ROWS,
                               slm_t16_group_bytes(type, (uint32_t)dims[1]), bytes);
    }
    if (rank == 2) {
        return dims[1] < MAX_COLS &&
               checked_mul_u64(dims[0], slm_row_bytes(type, (uint32_t)dims[1]), bytes);
    }
    for (uint32_t i = 0; i < rank; i++) {
        if (!checked_mul_u64(n, dims[i], &n)) {
            return false;
        }
    }
    return checked_mul_u64(n, type == SLM_TYPE_F32 ? 4 : 2, bytes);
}

/* ---- Plain rows ------------------------------------------------------------------------------ */

/* Whether n elements have an exponent field that is not all ones. No early exit: it vectorizes. */
static bool all_finite(slm_type type, const uint8_t *p, uint64_t n)
{
    uint32_t bad = 0;
    if (type == SLM_TYPE_F32) {
        for (uint64_t i = 0; i < n; i++) {
            bad |= (load_u32(p + 4 * i) & 0x7f800000u) == 0x7f800000u;
        }
        return !bad;
    }
    uint32_t exponent = type == SLM_TYPE_F16 ? 0x7c00u : 0x7f80u;
    for (uint64_t i = 0; i < n; i++) {
        bad |= (load_u16(p + 2 * i) & exponent) == exponent;
    }
    return !bad;
}

static bool all_zero(const uint8_t *p, uint64_t n)
{
    uint8_t any = 0;
    for (uint64_t i = 0; i < n; i++) {
        any |= p[i];
    }
    return any == 0;
}

static slm_status not_finite(slm_error *error, const slm_tensor *t, uint64_t row, uint64_t offset,
                             const char *what)
{
    return slm_fail(error, SLM_ERR_NOT_FINITE, offset,
                    "tensor '%n', row %l: NaN or infinity in %s; the model was made from broken "
                    "weights",
                    t->name, (size_t)t->name_bytes, row, what);
}

static slm_status bad_padding(slm_error *error, const slm_tensor *t, uint64_t row, uint64_t offset)
{
    return slm_fail(error, SLM_ERR_LAYOUT, offset, "tensor '%n', row %l: padding is not zero",
                    t->name, (size_t)t->name_bytes, row);
}

static slm_status check_rows(const slm_file *file, const slm_tensor *t, slm_error *error)
{
    uint64_t size = t->type == SLM_TYPE_F32 ? 4 : 2;
    uint64_t n_rows = t->rank == 1 ? 1 : t->dims[0];
    uint64_t stride = t->length / n_rows; /* rank 2: the padded row; else exact */
    uint64_t n_cols = t->rank == 2 ? t->dims[1] : stride / size;
    for (uint64_t row = 0; row < n_rows; row++) {
        uint64_t at = t->offset + row * stride;
        if (!all_finite(t->type, file->bytes + at, n_cols)) {
            return not_finite(error, t, row, at, "its elements");
        }
        if (!all_zero(file->bytes + at + n_cols * size, stride - n_cols * size)) {
            return bad_padding(error, t, row, at + n_cols * size);
        }
    }
    return SLM_OK;
}

/* ---- T16 row groups -------------------------------------------------------------------------- */

typedef struct group_view {
    const uint8_t *bytes;
    uint64_t offset;    /* in the file */
    uint64_t first_row; /* of the tensor */
    uint32_t n_rows;    /* real rows, 1..16; the others are padding */
} group_view;

/* A run of scales, `stride` bytes from one block to the next, row r at 4r or 2r bytes. */
static slm_status check_halves(const slm_tensor *t, const group_view *g, uint64_t at,
                               uint32_t row_bytes, slm_error *error)
{
    for (uint32_t r = 0; r < g->n_rows; r++) {
        for (uint32_t i = 0; i < row_bytes; i += 2) {
            if (!half_is_finite(load_u16(g->bytes + at + r * row_bytes + i))) {
                return not_finite(error, t, g->first_row + r, g->offset + at, "a block scale");
            }
        }
    }
    uint32_t used = g->n_rows * row_bytes;
    return all_zero(g->bytes + at + used, SLM_GROUP_ROWS * row_bytes - used)
               ? SLM_OK
               : bad_padding(error, t, g->first_row + g->n_rows, g->offset + at + used);
}

/* Lines of 16 words from `at` to `end`: the words of padding rows must be zero, and so must the
 * bits of `mask` in every word. */
static slm_status check_lines(const slm_tensor *t, const group_view *g, uint64_t at, uint64_t end,
                              uint32_t mask, slm_error *error)
{
    for (; at < end; at += SLM_LINE_BYTES) {
        for (uint32_t r = 0; r < SLM_GROUP_ROWS; r++) {
            uint32_t word = load_u32(g->bytes + at + 4 * r);
            if (word & (r < g->n_rows ? mask : UINT32_MAX)) {
                return bad_padding(error, t, g->first_row + r, g->offset + at + 4 * r);
            }
        }
    }
    return SLM_OK;
}

/* The half chunk that a super-block of an odd number of sub-blocks lacks. at: its first line. */
static slm_status check_odd_tail(const slm_tensor *t, const group_view *g, uint64_t at, uint32_t s,
                                 slm_error *error)
{
    uint32_t chunk_lines = t->type == SLM_TYPE_Q4_K ? 8 : t->type == SLM_TYPE_Q5_K ? 10 : 12;
    uint32_t full = s / 2;
    uint64_t codes = at + SLM_LINE_BYTES * (uint64_t)(t->type == SLM_TYPE_Q6_K ? full + 1 : 4) +
                     SLM_LINE_BYTES * (uint64_t)(chunk_lines * full);
    slm_status status = check_lines(t, g, codes, codes + 8 * SLM_LINE_BYTES, 0xf0f0f0f0u, error);
    if (status == SLM_OK && t->type == SLM_TYPE_Q5_K) {
        status = check_lines(t, g, codes + 9 * SLM_LINE_BYTES, codes + 10 * SLM_LINE_BYTES,
                             UINT32_MAX, error);
    }
    if (status == SLM_OK && t->type == SLM_TYPE_Q6_K) {
        status = check_lines(t, g, codes + 10 * SLM_LINE_BYTES, codes + 12 * SLM_LINE_BYTES,
                             UINT32_MAX, error);
        uint64_t scales = at + SLM_LINE_BYTES * (uint64_t)full;
        if (status == SLM_OK) {
            status = check_lines(t, g, scales, scales + SLM_LINE_BYTES, 0xffff0000u, error);
        }
    }
    return status;
}

/* 6-bit scales and mins of sub-blocks that a short Q4_K or Q5_K super-block lacks. GGML's packing:
 * bytes 0-3 and 4-7 hold the low 6 bits of scales and mins 0-3 and, above them, the upper 2 bits of
 * 4-7; bytes 8-11 hold the low 4 bits of scales (low) and mins (high) 4-7. */
static slm_status check_short_scales(const slm_tensor *t, const group_view *g, uint64_t at,
                                     uint32_t s, slm_error *error)
{
    uint32_t mask[3] = {0, 0, 0};
    for (uint32_t j = s; j < 8; j++) {
        uint32_t shift = 8 * (j % 4);
        mask[0] |= (j < 4 ? 0x3fu : 0xc0u) << shift;
        mask[1] |= (j < 4 ? 0x3fu : 0xc0u) << shift;
        mask[2] |= (j < 4 ? 0u : 0xffu) << shift;
    }
    slm_status status = SLM_OK;
    for (uint32_t i = 0; i < 3 && status == SLM_OK; i++) {
        uint64_t line = at + SLM_LINE_BYTES * (uint64_t)(i + 1);
        status = check_lines(t, g, line, line + SLM_LINE_BYTES, mask[i], error);
    }
    return status;
}

/* Q4_K and Q5_K: scales stand in the first line of each super-block. */
static slm_status check_k_blocks(const slm_tensor *t, const group_view *g, slm_error *error)
{
    uint32_t n_cols = (uint32_t)t->dims[1];
    uint64_t at = 0;
    for (uint32_t b = 0; b < slm_n_super_blocks(n_cols); b++) {
        uint32_t s = slm_sub_blocks(n_cols, b);
        uint64_t end = at + slm_t16_block_bytes(t->type, s);
        slm_status status = check_halves(t, g, at, 4, error);
        if (status == SLM_OK && g->n_rows < SLM_GROUP_ROWS) {
            status = check_lines(t, g, at, end, 0, error);
        }
        if (status == SLM_OK && s < 8) {
            status = check_short_scales(t, g, at, s, error);
        }
        if (status == SLM_OK && s % 2 != 0) {
            status = check_odd_tail(t, g, at, s, error);
        }
        if (status != SLM_OK) {
            return status;
        }
        at = end;
    }
    return SLM_OK;
}

/* Q6_K, Q8_0 and Q4_0: a plane of scales before the lines. */
static slm_status check_plane_blocks(const slm_tensor *t, const group_view *g, slm_error *error)
{
    uint32_t n_cols = (uint32_t)t->dims[1];
    uint32_t n_blocks =
        t->type == SLM_TYPE_Q6_K ? slm_n_super_blocks(n_cols) : n_cols / SLM_SUB_BLOCK;
    uint32_t plane = slm_t16_plane_bytes(t->type, n_cols), used = 2 * SLM_GROUP_ROWS * n_blocks;
    for (uint32_t b = 0; b < n_blocks; b++) {
        slm_status status = check_halves(t, g, 2 * SLM_GROUP_ROWS * (uint64_t)b, 2, error);
        if (status != SLM_OK) {
            return status;
        }
    }
    if (!all_zero(g->bytes + used, plane - used)) {
        return bad_padding(error, t, g->first_row, g->offset + used);
    }
    slm_status status = SLM_OK;
    if (g->n_rows < SLM_GROUP_ROWS) {
        status = check_lines(t, g, plane, slm_t16_group_bytes(t->type, n_cols), 0, error);
    }
    uint32_t s = slm_sub_blocks(n_cols, slm_n_super_blocks(n_cols) - 1);
    if (status == SLM_OK && t->type == SLM_TYPE_Q6_K && s % 2 != 0) {
        uint64_t last = slm_t16_group_bytes(t->type, n_cols) - slm_t16_block_bytes(t->type, s);
        status = check_odd_tail(t, g, last, s, error);
    }
    return status;
}

static slm_status check_groups(const slm_file *file, const slm_tensor *t, slm_error *error)
{
    uint64_t group_bytes = slm_t16_group_bytes(t->type, (uint32_t)t->dims[1]);
    for (uint64_t row = 0; row < t->dims[0]; row += SLM_GROUP_ROWS) {
        uint64_t at = t->offset + row / SLM_GROUP_ROWS * group_bytes, left = t->dims[0] - row;
        group_view g = {file->bytes + at, at, row,
                        left < SLM_GROUP_ROWS ? (uint32_t)left : SLM_GROUP_ROWS};
        slm_status status = t->type == SLM_TYPE_Q4_K || t->type == SLM_TYPE_Q5_K
                                ? check_k_blocks(t, &g, error)
                                : check_plane_blocks(t, &g, error);
        if (status != SLM_OK) {
            return status;
        }
    }
    return SLM_OK;
}

slm_status slm_file_check_values(const slm_file *file, uint32_t index, slm_error *error)
{
    const slm_tensor *t = &file->tensors[index];
    return t->layout == SLM_LAYOUT_T16 ? check_groups(file, t, error) : check_rows(file, t, error);
}
