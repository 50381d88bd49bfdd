/* quantize.c - F32, F16 and BF16 rows -> blocks, 16 rows at a time, in batches shared by a team of
 * threads. A batch is written when all of it is done, so that the file does not depend on who did
 * what.
 */
#include "lib/quantize.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "port/port.h"
#include "quant/blocks.h"

/* Beyond this no block type reaches: 65504 (largest half) * 128 * 32 (largest Q6_K scale and code).
 */
#define LARGEST_VALUE 268304384.0f

enum { BATCH_BYTES = 4 << 20 };

typedef enum defect { FINE, NOT_FINITE, TOO_LARGE } defect;

typedef struct group_result {
    double error, power;
    defect what;
    uint32_t row; /* of the group */
} group_result;

typedef struct batch {
    const uint8_t *source; /* the tensor's first byte */
    slm_type from, to;
    uint64_t n_rows;
    uint32_t n_cols;
    uint64_t first; /* group */
    uint64_t group_bytes;
    uint8_t *out;
    float *rows; /* 16 rows for each thread */
    group_result *results;
} batch;

/* ---- One group ------------------------------------------------------------------------------- */

static defect look(const float *x, uint32_t n_cols, float largest)
{
    for (uint32_t i = 0; i < n_cols; i++) {
        if (!f32_is_finite(x[i])) {
            return NOT_FINITE;
        }
        if (fabsf(x[i]) > largest) {
            return TOO_LARGE;
        }
    }
    return FINE;
}

/* The encoder clamps scales to the largest half: a block that holds it could not hold its values.
 */
static bool is_saturated(slm_type type, const slm_super_block *block, uint32_t s)
{
    if (type == SLM_TYPE_Q8_0 || type == SLM_TYPE_Q4_0) {
        for (uint32_t j = 0; j < s; j++) {
            if ((block->block_d[j] & 0x7fff) >= 0x7bff) {
                return true;
            }
        }
        return false;
    }
    bool has_min = type != SLM_TYPE_Q6_K;
    return (block->d & 0x7fff) >= 0x7bff || (has_min && (block->dmin & 0x7fff) >= 0x7bff);
}

static void measure(const float *x, const float *y, uint32_t n, group_result *result)
{
    double error = 0, power = 0;
    for (uint32_t i = 0; i < n; i++) {
        double e = (double)x[i] - (double)y[i];
        error += e * e;
        power += (double)x[i] * (double)x[i];
    }
    result->error += error;
    result->power += power;
}

/* Decodes a row of a finished group and compares it with what it was. */
static void verify_row(const batch *b, const uint8_t *group, const float *x, uint32_t r,
                       group_result *result)
{
    float y[SLM_SUPER_BLOCK];
    for (uint32_t i = 0; i < slm_n_super_blocks(b->n_cols); i++) {
        slm_super_block block;
        uint32_t s = slm_sub_blocks(b->n_cols, i);
        slm_t16_load(b->to, group, b->n_cols, i, r, &block);
        if (is_saturated(b->to, &block, s)) {
            result->what = TOO_LARGE;
            return;
        }
        slm_super_block_decode(b->to, &block, s, y);
        measure(x + (size_t)i * SLM_SUPER_BLOCK, y, s * SLM_SUB_BLOCK, result);
    }
}

static void convert_row(const batch *b, const float *x, uint8_t *out, group_result *result)
{
    for (uint32_t i = 0; i < b->n_cols; i++) {
        uint16_t half = half_from_f32(x[i]);
        if (!half_is_finite(half)) {
            result->what = TOO_LARGE;
            return;
        }
        float y = f32_from_half(half);
        measure(x + i, &y, 1, result);
        memcpy(out + 2 * (size_t)i, &half, 2);
    }
}

static void quantize_group_job(void *context, uint32_t item, uint32_t thread)
{
    const batch *b = (const batch *)context;
    uint64_t first_row = (b->first + item) * SLM_GROUP_ROWS, left = b->n_rows - first_row;
    uint32_t n = left < SLM_GROUP_ROWS ? (uint32_t)left : SLM_GROUP_ROWS;
    size_t ldx = ((size_t)b->n_cols + 15) / 16 * 16;
    float *x = b->rows + (size_t)thread * SLM_GROUP_ROWS * ldx;
    uint8_t *out = b->out + (size_t)(item * b->group_bytes);
    group_result result = {0, 0, FINE, 0};
    for (uint32_t r = 0; r < n && result.what == FINE; r++) {
        slm_dequantize_row(b->from, b->source, b->n_cols, first_row + r, x + r * ldx);
        result.what = look(x + r * ldx, b->n_cols, LARGEST_VALUE);
        result.row = r;
    }
    if (result.what == FINE && slm_type_is_block(b->to)) {
        slm_quantize_group(b->to, x, ldx, n, b->n_cols, out);
    } else if (result.what == FINE) {
        memset(out, 0, (size_t)b->group_bytes);
    }
    for (uint32_t r = 0; r < n && result.what == FINE; r++) {
        result.row = r;
        if (slm_type_is_block(b->to)) {
            verify_row(b, out, x + r * ldx, r, &result);
        } else {
            convert_row(b, x + r * ldx, out + r * slm_row_bytes(b->to, b->n_cols), &result);
        }
    }
    b->results[item] = result;
}

/* ---- One tensor ------------------------------------------------------------------------------ */

static int refuse(const char *path, const slm_tensor *t, slm_type to, const group_result *r,
                  uint64_t first_row, failure *f)
{
    return fail(f, EXIT_INPUT, "%s: tensor '%.*s', row %" PRIu64 ": %s %s", path,
                (int)t->name_bytes, t->name, first_row + r->row,
                r->what == NOT_FINITE ? "NaN or infinity; the weights are broken, not fit for"
                                      : "a value is too large for the half-precision scales of",
                slm_type_name(to));
}

/* Writes a finished batch of n groups; the last group of a plain type may be short. */
static int collect(const char *path, const slm_tensor *t, const batch *b, uint32_t n,
                   tensor_plan *plan, slm_writer *writer, failure *f)
{
    for (uint32_t i = 0; i < n; i++) {
        const group_result *r = &b->results[i];
        if (r->what != FINE) {
            return refuse(path, t, b->to, r, (b->first + i) * SLM_GROUP_ROWS, f);
        }
        plan->error += r->error;
        plan->power += r->power;
    }
    uint64_t n_bytes = n * b->group_bytes, left = t->dims[0] - b->first * SLM_GROUP_ROWS;
    if (!slm_type_is_block(b->to) && left < (uint64_t)n * SLM_GROUP_ROWS) {
        n_bytes = left * slm_row_bytes(b->to, b->n_cols);
    }
    return slm_writer_data(writer, b->out, n_bytes, f);
}

static int run_batches(const char *path, const slm_tensor *t, batch *b, uint32_t per_batch,
                       tensor_plan *plan, slm_team *team, slm_writer *writer, failure *f)
{
    uint64_t n_groups = (b->n_rows + SLM_GROUP_ROWS - 1) / SLM_GROUP_ROWS;
    int code = EXIT_OK;
    for (b->first = 0; b->first < n_groups && code == EXIT_OK; b->first += per_batch) {
        uint64_t left = n_groups - b->first;
        uint32_t n = left < per_batch ? (uint32_t)left : per_batch;
        slm_team_run(team, quantize_group_job, b, n);
        code = collect(path, t, b, n, plan, writer, f);
    }
    return code;
}

static int quantize_tensor(const char *path, const slm_file *file, const slm_tensor *t,
                           tensor_plan *plan, slm_team *team, slm_writer *writer, failure *f)
{
    uint32_t n_threads = slm_team_size(team), n_cols = (uint32_t)t->dims[1];
    batch b = {.source = slm_tensor_data(file, t),
               .from = t->type,
               .to = plan->to,
               .n_rows = t->dims[0],
               .n_cols = n_cols};
    b.group_bytes = slm_type_is_block(b.to) ? slm_t16_group_bytes(b.to, n_cols)
                                            : SLM_GROUP_ROWS * slm_row_bytes(b.to, n_cols);
    uint64_t fit = BATCH_BYTES / b.group_bytes, least = 2 * (uint64_t)n_threads;
    uint32_t per_batch = (uint32_t)(fit > least ? fit : least);
    size_t row_floats = ((size_t)n_cols + 15) / 16 * 16;
    b.out = (uint8_t *)malloc(per_batch * (size_t)b.group_bytes);
    b.rows = (float *)malloc(n_threads * SLM_GROUP_ROWS * row_floats * sizeof(float));
    b.results = (group_result *)malloc(per_batch * sizeof *b.results);
    int code = b.out && b.rows && b.results
                   ? run_batches(path, t, &b, per_batch, plan, team, writer, f)
                   : fail(f, EXIT_RESOURCE, "%s: out of memory for tensor '%.*s'", path,
                          (int)t->name_bytes, t->name);
    free(b.out);
    free(b.rows);
    free(b.results);
    return code;
}

/* A tensor that stays as it is. */
static int copy_tensor(const char *path, const slm_file *file, uint32_t index, slm_writer *writer,
                       failure *f)
{
    const slm_tensor *t = &file->tensors[index];
    slm_error error;
    if (slm_file_check_values(file, index, &error) != SLM_OK) {
        return fail_status(f, path, &error);
    }
    return slm_writer_data(writer, slm_tensor_data(file, t), t->length, f);
}

int quantize_run(const char *path, const slm_file *file, tensor_plan *plan, slm_team *team,
                 slm_writer *writer, progress *p, failure *f)
{
    int code = EXIT_OK;
    for (uint32_t i = 0; i < file->n_tensors && code == EXIT_OK; i++) {
        const slm_tensor *t = &file->tensors[i];
        slm_error error;
        progress_update(p, "quantizing", t->offset, file->n_bytes);
        if (slm_file_check_tensor(file, i, &error) != SLM_OK) {
            return fail_status(f, path, &error);
        }
        code = plan[i].to == plan[i].from
                   ? copy_tensor(path, file, i, writer, f)
                   : quantize_tensor(path, file, t, &plan[i], team, writer, f);
    }
    progress_end(p);
    return code;
}
