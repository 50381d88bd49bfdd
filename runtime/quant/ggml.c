/* ggml.c - GGML's blocks <-> the unpacked form; layouts as GGML's files have them. */
#include <string.h>

#include "base/bytes.h"
#include "quant/blocks.h"

static void load_packed_scales(const uint8_t p[12], slm_super_block *out)
{
    for (int j = 0; j < 4; j++) {
        out->scales[j] = (int8_t)(p[j] & 63);
        out->mins[j] = p[j + 4] & 63;
        out->scales[j + 4] = (int8_t)((p[j + 8] & 15) | p[j] >> 6 << 4);
        out->mins[j + 4] = (uint8_t)(p[j + 8] >> 4 | p[j + 4] >> 6 << 4);
    }
}

static void store_packed_scales(const slm_super_block *in, uint8_t p[12])
{
    for (int j = 0; j < 4; j++) {
        uint32_t s4 = (uint32_t)in->scales[j + 4], m4 = in->mins[j + 4];
        p[j] = (uint8_t)((uint32_t)in->scales[j] | s4 >> 4 << 6);
        p[j + 4] = (uint8_t)(in->mins[j] | m4 >> 4 << 6);
        p[j + 8] = (uint8_t)((s4 & 15) | (m4 & 15) << 4);
    }
}

static void load_q4_q5(slm_type type, const uint8_t *bytes, slm_super_block *out)
{
    const uint8_t *high = bytes + 16, *low = bytes + (type == SLM_TYPE_Q5_K ? 48 : 16);
    out->d = load_u16(bytes);
    out->dmin = load_u16(bytes + 2);
    load_packed_scales(bytes + 4, out);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t g = i / 64, half = i / 32 % 2, l = i % 32;
        uint32_t code = low[32 * g + l] >> (4 * half) & 15;
        if (type == SLM_TYPE_Q5_K) {
            code |= (high[l] >> (2 * g + half) & 1u) << 4;
        }
        out->codes[i] = (int16_t)code;
    }
}

static void store_q4_q5(slm_type type, const slm_super_block *in, uint8_t *bytes)
{
    uint8_t *high = bytes + 16, *low = bytes + (type == SLM_TYPE_Q5_K ? 48 : 16);
    memset(bytes, 0, type == SLM_TYPE_Q5_K ? 176 : 144);
    store_u16(bytes, in->d);
    store_u16(bytes + 2, in->dmin);
    store_packed_scales(in, bytes + 4);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t g = i / 64, half = i / 32 % 2, l = i % 32, code = (uint32_t)in->codes[i];
        low[32 * g + l] = (uint8_t)(low[32 * g + l] | (code & 15) << (4 * half));
        if (type == SLM_TYPE_Q5_K) {
            high[l] = (uint8_t)(high[l] | code >> 4 << (2 * g + half));
        }
    }
}

/* Element i of half h = i / 128: quarter k = i / 32 % 4 picks nibble and bit pair. */
static void load_q6(const uint8_t *bytes, slm_super_block *out)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t h = i / 128, k = i / 32 % 4, l = i % 32;
        uint32_t low = bytes[64 * h + 32 * (k % 2) + l] >> (4 * (k / 2)) & 15;
        uint32_t high = bytes[128 + 32 * h + l] >> (2 * k) & 3u;
        out->codes[i] = (int16_t)(low | high << 4);
    }
    memcpy(out->scales, bytes + 192, 16);
    out->d = load_u16(bytes + 208);
}

static void store_q6(const slm_super_block *in, uint8_t *bytes)
{
    memset(bytes, 0, 210);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t h = i / 128, k = i / 32 % 4, l = i % 32, code = (uint32_t)in->codes[i];
        uint8_t *low = &bytes[64 * h + 32 * (k % 2) + l], *high = &bytes[128 + 32 * h + l];
        *low = (uint8_t)(*low | (code & 15) << (4 * (k / 2)));
        *high = (uint8_t)(*high | code >> 4 << (2 * k));
    }
    memcpy(bytes + 192, in->scales, 16);
    store_u16(bytes + 208, in->d);
}

static void load_32(slm_type type, const uint8_t *bytes, uint32_t n_sub, slm_super_block *out)
{
    for (uint32_t j = 0; j < n_sub; j++, bytes += type == SLM_TYPE_Q8_0 ? 34 : 18) {
        out->block_d[j] = load_u16(bytes);
        for (uint32_t e = 0; e < 32; e++) {
            int code = type == SLM_TYPE_Q8_0 ? (int8_t)bytes[2 + e]
                                             : bytes[2 + e % 16] >> (e < 16 ? 0 : 4) & 15;
            out->codes[32 * j + e] = (int16_t)code;
        }
    }
}

static void store_32(slm_type type, const slm_super_block *in, uint32_t n_sub, uint8_t *bytes)
{
    for (uint32_t j = 0; j < n_sub; j++, bytes += type == SLM_TYPE_Q8_0 ? 34 : 18) {
        store_u16(bytes, in->block_d[j]);
        for (uint32_t e = 0; e < (type == SLM_TYPE_Q8_0 ? 32u : 16u); e++) {
            uint32_t code = (uint32_t)in->codes[32 * j + e];
            uint32_t upper = type == SLM_TYPE_Q8_0 ? 0 : (uint32_t)in->codes[32 * j + e + 16] << 4;
            bytes[2 + e] = (uint8_t)(code | upper);
        }
    }
}

void slm_ggml_load(slm_type type, const uint8_t *bytes, uint32_t n_sub, slm_super_block *out)
{
    memset(out, 0, sizeof *out);
    if (type == SLM_TYPE_Q6_K) {
        load_q6(bytes, out);
    } else if (type == SLM_TYPE_Q4_K || type == SLM_TYPE_Q5_K) {
        load_q4_q5(type, bytes, out);
    } else {
        load_32(type, bytes, n_sub, out);
    }
}

void slm_ggml_store(slm_type type, const slm_super_block *in, uint32_t n_sub, uint8_t *bytes)
{
    if (type == SLM_TYPE_Q6_K) {
        store_q6(in, bytes);
    } else if (type == SLM_TYPE_Q4_K || type == SLM_TYPE_Q5_K) {
        store_q4_q5(type, in, bytes);
    } else {
        store_32(type, in, n_sub, bytes);
    }
}
