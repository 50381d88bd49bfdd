/* t16.c - super-blocks in and out of T16 row groups and GGML blocks; see blocks.h for the layouts.
 */
#include <string.h>

#include "base/bytes.h"
#include "quant/blocks.h"

static bool has_plane(slm_type type)
{
    return type == SLM_TYPE_Q6_K || type == SLM_TYPE_Q8_0 || type == SLM_TYPE_Q4_0;
}

uint32_t slm_t16_plane_bytes(slm_type type, uint32_t n_cols)
{
    uint32_t scales = type == SLM_TYPE_Q6_K ? slm_n_super_blocks(n_cols) : n_cols / SLM_SUB_BLOCK;
    return has_plane(type) ? round_up_u32(scales * 32, SLM_LINE_BYTES) : 0;
}

/* Lines of a super-block of s sub-blocks, c chunks of 64. */
static uint32_t block_lines(slm_type type, uint32_t s)
{
    uint32_t c = (s + 1) / 2;
    switch (type) {
    case SLM_TYPE_Q4_K: return 4 + 8 * c;
    case SLM_TYPE_Q5_K: return 4 + 10 * c;
    case SLM_TYPE_Q6_K: return c + 12 * c;
    case SLM_TYPE_Q8_0: return 8 * s;
    case SLM_TYPE_Q4_0: return 4 * s;
    default: return 0;
    }
}

uint32_t slm_t16_block_bytes(slm_type type, uint32_t s)
{
    return block_lines(type, s) * SLM_LINE_BYTES;
}

uint64_t slm_t16_group_bytes(slm_type type, uint32_t n_cols)
{
    uint64_t full = n_cols / SLM_SUPER_BLOCK;
    uint32_t rest = n_cols % SLM_SUPER_BLOCK / SLM_SUB_BLOCK;
    return slm_t16_plane_bytes(type, n_cols) + full * slm_t16_block_bytes(type, 8) +
           (rest ? slm_t16_block_bytes(type, rest) : 0);
}

/* Byte b of word `line` of row r. */
static size_t at(uint32_t line, uint32_t r, uint32_t b)
{
    return (size_t)line * SLM_LINE_BYTES + 4 * r + b;
}

static size_t block_offset(slm_type type, uint32_t n_cols, uint32_t b)
{
    return slm_t16_plane_bytes(type, n_cols) + (size_t)b * slm_t16_block_bytes(type, 8);
}

/* ---- The 6-bit scales and mins of Q4_K and Q5_K ---------------------------------------------- */

static void unpack_scales(const uint8_t packed[12], slm_super_block *out)
{
    for (int j = 0; j < 4; j++) {
        out->scales[j] = (int8_t)(packed[j] & 63);
        out->mins[j] = packed[j + 4] & 63;
        out->scales[j + 4] = (int8_t)((packed[j + 8] & 15) | packed[j] >> 6 << 4);
        out->mins[j + 4] = (uint8_t)(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
    }
}

static void pack_scales(const slm_super_block *in, uint8_t packed[12])
{
    for (int j = 0; j < 4; j++) {
        uint32_t s0 = (uint32_t)in->scales[j], s4 = (uint32_t)in->scales[j + 4];
        uint32_t m0 = in->mins[j], m4 = in->mins[j + 4];
        packed[j] = (uint8_t)(s0 | s4 >> 4 << 6);
        packed[j + 4] = (uint8_t)(m0 | m4 >> 4 << 6);
        packed[j + 8] = (uint8_t)((s4 & 15) | (m4 & 15) << 4);
    }
}

/* ---- T16 ------------------------------------------------------------------------------------- */

/* Where the parts of element i of a chunked type lie, in lines from the super-block's start. */
typedef struct place {
    uint32_t nibble_line, high_line;
    uint32_t byte, nibble_shift, high_shift;
} place;

static place place_of(slm_type type, uint32_t s, uint32_t i)
{
    uint32_t chunk = i / 64, half = i / 32 % 2, q = i / 4 % 8;
    uint32_t per_chunk = type == SLM_TYPE_Q4_K ? 8 : type == SLM_TYPE_Q5_K ? 10 : 12;
    uint32_t first = (type == SLM_TYPE_Q6_K ? (s + 1) / 2 : 4) + chunk * per_chunk;
    place p = {first + q, first + 8, i % 4, 4 * half, 0};
    if (type == SLM_TYPE_Q5_K) {
        p.high_line += half;
        p.high_shift = q;
    } else if (type == SLM_TYPE_Q6_K) {
        p.high_line += 2 * half + q / 4;
        p.high_shift = 2 * (q % 4);
    }
    return p;
}

static uint32_t high_mask(slm_type type)
{
    return type == SLM_TYPE_Q5_K ? 1 : type == SLM_TYPE_Q6_K ? 3 : 0;
}

static void load_k(slm_type type, const uint8_t *block, uint32_t s, uint32_t r,
                   slm_super_block *out)
{
    if (type == SLM_TYPE_Q6_K) {
        for (uint32_t j = 0; j < 4 * ((s + 1) / 2); j++) {
            out->scales[j] = (int8_t)block[at(j / 4, r, j % 4)];
        }
    } else {
        uint8_t packed[12];
        for (uint32_t j = 0; j < 12; j++) {
            packed[j] = block[at(1 + j / 4, r, j % 4)];
        }
        unpack_scales(packed, out);
        out->d = load_u16(block + at(0, r, 0));
        out->dmin = load_u16(block + at(0, r, 2));
    }
    for (uint32_t i = 0; i < 32 * s; i++) {
        place p = place_of(type, s, i);
        uint32_t low = block[at(p.nibble_line, r, p.byte)] >> p.nibble_shift & 15;
        uint32_t mask = high_mask(type), high = 0;
        if (mask != 0) {
            high = (uint32_t)block[at(p.high_line, r, p.byte)] >> p.high_shift & mask;
        }
        out->codes[i] = (int16_t)(low | high << 4);
    }
}

static void store_k(slm_type type, uint8_t *block, uint32_t s, uint32_t r,
                    const slm_super_block *in)
{
    if (type == SLM_TYPE_Q6_K) {
        for (uint32_t j = 0; j < 4 * ((s + 1) / 2); j++) {
            block[at(j / 4, r, j % 4)] = (uint8_t)in->scales[j];
        }
    } else {
        uint8_t packed[12];
        pack_scales(in, packed);
        for (uint32_t j = 0; j < 12; j++) {
            block[at(1 + j / 4, r, j % 4)] = packed[j];
        }
        store_u16(block + at(0, r, 0), in->d);
        store_u16(block + at(0, r, 2), in->dmin);
    }
    for (uint32_t i = 0; i < 32 * s; i++) {
        place p = place_of(type, s, i);
        uint32_t code = (uint32_t)in->codes[i];
        uint8_t *low = &block[at(p.nibble_line, r, p.byte)];
        *low = (uint8_t)(*low | (code & 15) << p.nibble_shift);
        if (high_mask(type)) {
            uint8_t *high = &block[at(p.high_line, r, p.byte)];
            *high = (uint8_t)(*high | code >> 4 << p.high_shift);
        }
    }
}

/* Q8_0 and Q4_0: blocks of 32 elements of 8 or 4 lines. */
static void load_32(slm_type type, const uint8_t *block, uint32_t s, uint32_t r,
                    slm_super_block *out)
{
    for (uint32_t i = 0; i < 32 * s; i++) {
        uint32_t j = i / 32, e = i % 32;
        if (type == SLM_TYPE_Q8_0) {
            out->codes[i] = (int8_t)block[at(8 * j + e / 4, r, e % 4)];
        } else {
            uint8_t pair = block[at(4 * j + e % 16 / 4, r, e % 4)];
            out->codes[i] = (int16_t)(e < 16 ? pair & 15 : pair >> 4);
        }
    }
}

static void store_32(slm_type type, uint8_t *block, uint32_t s, uint32_t r,
                     const slm_super_block *in)
{
    for (uint32_t i = 0; i < 32 * s; i++) {
        uint32_t j = i / 32, e = i % 32;
        uint32_t code = (uint32_t)in->codes[i];
        if (type == SLM_TYPE_Q8_0) {
            block[at(8 * j + e / 4, r, e % 4)] = (uint8_t)code;
        } else {
            uint8_t *pair = &block[at(4 * j + e % 16 / 4, r, e % 4)];
            *pair = (uint8_t)(*pair | (code & 15) << (e < 16 ? 0 : 4));
        }
    }
}

void slm_t16_load(slm_type type, const uint8_t *group, uint32_t n_cols, uint32_t b, uint32_t r,
                  slm_super_block *out)
{
    uint32_t s = slm_sub_blocks(n_cols, b);
    const uint8_t *block = group + block_offset(type, n_cols, b);
    memset(out, 0, sizeof *out);
    if (type == SLM_TYPE_Q8_0 || type == SLM_TYPE_Q4_0) {
        for (uint32_t j = 0; j < s; j++) {
            out->block_d[j] = load_u16(group + (size_t)(8 * b + j) * 32 + 2 * r);
        }
        load_32(type, block, s, r, out);
        return;
    }
    load_k(type, block, s, r, out);
    if (type == SLM_TYPE_Q6_K) {
        out->d = load_u16(group + (size_t)b * 32 + 2 * r);
    }
}

void slm_t16_store(slm_type type, uint8_t *group, uint32_t n_cols, uint32_t b, uint32_t r,
                   const slm_super_block *in)
{
    uint32_t s = slm_sub_blocks(n_cols, b);
    uint8_t *block = group + block_offset(type, n_cols, b);
    if (type == SLM_TYPE_Q8_0 || type == SLM_TYPE_Q4_0) {
        for (uint32_t j = 0; j < s; j++) {
            store_u16(group + (size_t)(8 * b + j) * 32 + 2 * r, in->block_d[j]);
        }
        store_32(type, block, s, r, in);
        return;
    }
    store_k(type, block, s, r, in);
    if (type == SLM_TYPE_Q6_K) {
        store_u16(group + (size_t)b * 32 + 2 * r, in->d);
    }
}
