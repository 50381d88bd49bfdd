/* convert.c - streams tensors between 16- and 32-bit float types; see convert.h. */
#include "lib/convert.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/half.h"

static size_t element_bytes(slm_type type)
{
    return type == SLM_TYPE_F32 ? 4 : 2;
}

/* The bit pattern of an element that is NaN or infinite has all of these bits set. */
static uint32_t exponent_mask(slm_type type)
{
    return type == SLM_TYPE_F32 ? 0x7f800000u : type == SLM_TYPE_F16 ? 0x7c00u : 0x7f80u;
}

static uint32_t load_bits(const uint8_t *p, slm_type type, size_t i)
{
    return type == SLM_TYPE_F32 ? load_u32(p + 4 * i) : load_u16(p + 2 * i);
}

/* Index of the first element that is not finite, or n. Blocks are scanned without an early exit,
 * which the compiler can vectorize; only a block with a hit is searched. */
static size_t first_not_finite(const uint8_t *p, slm_type type, size_t n)
{
    uint32_t mask = exponent_mask(type);
    for (size_t start = 0; start < n; start += 4096) {
        size_t end = n - start < 4096 ? n : start + 4096;
        uint32_t hit = 0;
        if (type == SLM_TYPE_F32) {
            for (size_t i = start; i < end; i++) {
                hit |= (load_u32(p + 4 * i) & mask) == mask;
            }
        } else {
            for (size_t i = start; i < end; i++) {
                hit |= (load_u16(p + 2 * i) & mask) == mask;
            }
        }
        for (size_t i = start; hit && i < end; i++) {
            if ((load_bits(p, type, i) & mask) == mask) {
                return i;
            }
        }
    }
    return n;
}

static float load_f32(const uint8_t *p, slm_type type, size_t i)
{
    uint32_t bits = load_bits(p, type, i);
    return type == SLM_TYPE_F32   ? f32_from_bits(bits)
           : type == SLM_TYPE_F16 ? f32_from_half((uint16_t)bits)
                                  : f32_from_bf16((uint16_t)bits);
}

convert_result convert_elements(const uint8_t *source, slm_type from, uint8_t *target, slm_type to,
                                size_t n, size_t *bad)
{
    *bad = first_not_finite(source, from, n);
    if (*bad < n) {
        return CONVERT_NOT_FINITE;
    }
    if (from == to) {
        memcpy(target, source, n * element_bytes(from));
        return CONVERT_OK;
    }
    if (to == SLM_TYPE_F32) {
        for (size_t i = 0; i < n; i++) {
            store_u32(target + 4 * i, f32_bits(load_f32(source, from, i)));
        }
        return CONVERT_OK;
    }
    for (size_t i = 0; i < n; i++) {
        float x = load_f32(source, from, i);
        store_u16(target + 2 * i, to == SLM_TYPE_F16 ? half_from_f32(x) : bf16_from_f32(x));
    }
    *bad = first_not_finite(target, to, n);
    return *bad < n ? CONVERT_OVERFLOW : CONVERT_OK;
}

static int refuse_element(const convert_tensor *t, convert_result result, uint64_t index,
                          const uint8_t *at, failure *f)
{
    char place[64];
    if (t->rank == 2) {
        snprintf(place, sizeof place, "[%llu, %llu]", (unsigned long long)(index / t->dims[1]),
                 (unsigned long long)(index % t->dims[1]));
    } else {
        snprintf(place, sizeof place, "[%llu]", (unsigned long long)index);
    }
    if (result == CONVERT_OVERFLOW) {
        return fail(f, EXIT_INPUT,
                    "%s: tensor %s: element %s is %g, too large for %s; use --dtype keep or f32",
                    t->in->path, t->name, place, (double)load_f32(at, t->from, 0),
                    slm_type_name(t->to));
    }
    uint32_t bits = load_bits(at, t->from, 0);
    uint32_t fraction = bits & (t->from == SLM_TYPE_F32   ? 0x7fffffu
                                : t->from == SLM_TYPE_F16 ? 0x3ffu
                                                          : 0x7fu);
    return fail(f, EXIT_INPUT,
                "%s: tensor %s: element %s is %s; a .slm file holds finite numbers only",
                t->in->path, t->name, place, fraction ? "NaN" : "infinite");
}

/* Elements of a row that are stored after it, all zero. */
static size_t row_padding(const convert_tensor *t)
{
    return t->rank == 2 ? (size_t)((16 - t->dims[1] % 16) % 16) : 0;
}

/* Converts elements [done, done + n) that lie in buffers->source and appends them, with the padding
 * of each row that they end. Rows are gathered in buffers->target, so that short ones do not cost a
 * write each. */
static int write_elements(slm_writer *writer, const convert_tensor *t, convert_buffers *buffers,
                          uint64_t done, size_t n, failure *f)
{
    size_t from_bytes = element_bytes(t->from), to_bytes = element_bytes(t->to);
    size_t padding = row_padding(t), used = 0;
    for (size_t i = 0; i < n;) {
        size_t room = (sizeof buffers->target - used) / to_bytes;
        uint64_t row_left = padding ? t->dims[1] - (done + i) % t->dims[1] : n - i;
        size_t run = row_left < n - i ? (size_t)row_left : n - i;
        run = run < room ? run : room;
        size_t n_zero = padding && run == row_left ? padding : 0, bad;
        if (run == 0 || run + n_zero > room) {
            int code = slm_writer_data(writer, buffers->target, used, f);
            if (code != EXIT_OK) {
                return code;
            }
            used = 0;
            continue;
        }
        uint8_t *target = buffers->target + used;
        const uint8_t *source = buffers->source + i * from_bytes;
        convert_result result = convert_elements(source, t->from, target, t->to, run, &bad);
        if (result != CONVERT_OK) {
            return refuse_element(t, result, done + i + bad, source + bad * from_bytes, f);
        }
        for (size_t k = 0; t->less_one && k < run; k++) {
            store_u32(target + 4 * k, f32_bits(load_f32(target, SLM_TYPE_F32, k) + 1.0f));
        }
        memset(target + run * to_bytes, 0, n_zero * to_bytes);
        used += (run + n_zero) * to_bytes;
        i += run;
    }
    return slm_writer_data(writer, buffers->target, used, f);
}

/* How many elements from `done` on are read at once: whole rows of a tensor that is stored columns
 * first, as many as fit, or of a row too long for that a part. */
static size_t piece_size(const convert_tensor *t, uint64_t done, uint64_t n)
{
    uint64_t take = CONVERT_CHUNK, n_cols = t->dims[1];
    if (t->turned_width != 0) {
        uint64_t row_left = n_cols - done % n_cols;
        take = n_cols <= CONVERT_CHUNK    ? CONVERT_CHUNK / n_cols * n_cols
               : row_left < CONVERT_CHUNK ? row_left
                                          : CONVERT_CHUNK;
    }
    return (size_t)(n - done < take ? n - done : take);
}

/* Elements [done, done + n) of a tensor that is stored columns first into buffers->source, through
 * buffers->target. They are whole rows, or part of one. */
static int read_turned(const convert_tensor *t, convert_buffers *buffers, uint64_t done, size_t n,
                       failure *f)
{
    size_t size = element_bytes(t->from);
    uint64_t first_row = done / t->dims[1], first_col = done % t->dims[1];
    size_t n_cols = n < t->dims[1] ? n : (size_t)t->dims[1], n_rows = n / n_cols;
    for (size_t col = 0; col < n_cols; col++) {
        uint64_t at = (first_col + col) * t->turned_width + first_row;
        int code = input_read_at(t->in, t->offset + at * size, buffers->target, n_rows * size, f);
        if (code != EXIT_OK) {
            return code;
        }
        for (size_t row = 0; row < n_rows; row++) {
            memcpy(buffers->source + (row * n_cols + col) * size, buffers->target + row * size,
                   size);
        }
    }
    return EXIT_OK;
}

int convert_write(slm_writer *writer, const convert_tensor *t, convert_buffers *buffers,
                  convert_progress *p, failure *f)
{
    uint64_t n = t->dims[0] * (t->rank == 2 ? t->dims[1] : 1); /* the source's reader checked it */
    size_t from_bytes = element_bytes(t->from);
    for (uint64_t done = 0; done < n;) {
        size_t take = piece_size(t, done, n);
        int code = t->turned_width ? read_turned(t, buffers, done, take, f)
                                   : input_read_at(t->in, t->offset + done * from_bytes,
                                                   buffers->source, take * from_bytes, f);
        code = code == EXIT_OK ? write_elements(writer, t, buffers, done, take, f) : code;
        if (code != EXIT_OK) {
            return code;
        }
        done += take;
        p->done += take * from_bytes;
        progress_update(p->shown, "converting", p->done, p->total);
    }
    return EXIT_OK;
}
