/* codec.c - super-blocks to f32, rows of any type to f32. */
#include <string.h>

#include "base/bytes.h"
#include "base/half.h"
#include "quant/blocks.h"

static void decode_q4_q5(const slm_super_block *in, uint32_t n_sub, float *out)
{
    float d = f32_from_half(in->d), dmin = f32_from_half(in->dmin);
    for (uint32_t j = 0; j < n_sub; j++) {
        float scale = d * (float)in->scales[j], min = dmin * (float)in->mins[j];
        for (uint32_t i = 32 * j; i < 32 * j + 32; i++) {
            out[i] = scale * (float)in->codes[i] - min;
        }
    }
}

void slm_super_block_decode(slm_type type, const slm_super_block *in, uint32_t n_sub, float *out)
{
    if (type == SLM_TYPE_Q4_K || type == SLM_TYPE_Q5_K) {
        decode_q4_q5(in, n_sub, out);
        return;
    }
    for (uint32_t i = 0; i < 32 * n_sub; i++) {
        if (type == SLM_TYPE_Q6_K) {
            out[i] = f32_from_half(in->d) * (float)in->scales[i / 16] * (float)(in->codes[i] - 32);
        } else {
            int code = in->codes[i] - (type == SLM_TYPE_Q4_0 ? 8 : 0);
            out[i] = f32_from_half(in->block_d[i / 32]) * (float)code;
        }
    }
}

static void dequantize_blocks(slm_type type, const uint8_t *data, uint32_t n_cols, uint64_t row,
                              float *out)
{
    const uint8_t *group =
        data + (size_t)(row / SLM_GROUP_ROWS * slm_t16_group_bytes(type, n_cols));
    for (uint32_t b = 0; b < slm_n_super_blocks(n_cols); b++) {
        slm_super_block block;
        slm_t16_load(type, group, n_cols, b, (uint32_t)(row % SLM_GROUP_ROWS), &block);
        slm_super_block_decode(type, &block, slm_sub_blocks(n_cols, b), out + (size_t)b * 256);
    }
}

void slm_dequantize_row(slm_type type, const uint8_t *data, uint32_t n_cols, uint64_t row,
                        float *out)
{
    if (slm_type_is_block(type)) {
        dequantize_blocks(type, data, n_cols, row, out);
        return;
    }
    const uint8_t *x = data + (size_t)(row * slm_row_bytes(type, n_cols));
    for (uint32_t i = 0; i < n_cols; i++) {
        if (type == SLM_TYPE_F32) {
            out[i] = f32_from_bits(load_u32(x + 4 * (size_t)i));
        } else if (type == SLM_TYPE_F16) {
            out[i] = f32_from_half(load_u16(x + 2 * (size_t)i));
        } else {
            out[i] = f32_from_bf16(load_u16(x + 2 * (size_t)i));
        }
    }
}
