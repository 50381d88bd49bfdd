/* blocks.h - block layouts: GGML's, which sources and peers use, and T16, which .slm files and the
 * kernels use. Both hold the same bits; t16.c turns one into the other without loss.
 *
 * T16 stores 16 rows side by side, transposed by 32-bit words, so that one 64-byte line holds the
 * same word of 16 rows: one AVX-512, two AVX2 or four 128-bit vectors. Rows are padded with zero
 * rows to a multiple of 16. A row group (16 rows) is one contiguous range; groups follow each
 * other.
 *
 * Let K be the columns, a multiple of 32; nb = ceil(K / 256) super-blocks; the last one may be
 * short: it holds s = 1..8 sub-blocks of 32 and c = ceil(s / 2) chunks of 64 (half a chunk if s is
 * odd; the absent half is zero). "Line" means 64 bytes: word for word, row r at byte 4 r.
 *
 *   Q4_K, per super-block of a group:
 *       1 line   d (low 16 bits, half) and dmin (high 16 bits)
 *       3 lines  GGML's 12 bytes of 6-bit scales and mins (sub-blocks >= s: zero)
 *       8 lines  per chunk: byte b of word q = element 64c+4q+b in the low nibble and
 *                element 64c+32+4q+b in the high nibble   (the order of GGML's qs)
 *   Q5_K, per super-block: as Q4_K, but each chunk is 8 lines of nibbles, then 2 lines of fifth
 *       bits: in line h (0: elements 64c..64c+31, 1: elements 64c+32..64c+63) bit q of byte b is
 * the fifth bit of element 64c+32h+4q+b Q6_K, per group: a plane of halves d[nb][16], zero-padded
 * to 64 bytes; then per super-block c lines  int8 scales: byte i of line j = scale of elements
 * 64j+16i .. 64j+16i+15 per chunk 8 lines of low nibbles as in Q4_K, then 4 lines of upper bit
 * pairs: line 2h+p (h: 0 low, 1 high half of the chunk), bits 2m..2m+1 of byte b = bits 4..5 of
 * element 64c+32h+4(4p+m)+b Q8_0, per group: a plane of halves d[K/32][16], zero-padded to 64
 * bytes; then per block of 32 8 lines  byte b of word q = int8 element 4q+b Q4_0, per group: a
 * plane of halves d[K/32][16], zero-padded to 64 bytes; then per block of 32 4 lines  byte b of
 * word q = element 4q+b (low nibble), 16+4q+b (high nibble)
 *
 * F32, F16 and BF16 are not blocks: rows follow each other, each padded with zeros to 16 elements
 * when the tensor has rank 2.
 */
#ifndef SLM_QUANT_BLOCKS_H
#define SLM_QUANT_BLOCKS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slm.h"

enum {
    SLM_SUPER_BLOCK = 256, /* elements */
    SLM_SUB_BLOCK = 32,    /* elements; also the block of Q8_0 and Q4_0 */
    SLM_GROUP_ROWS = 16,   /* rows side by side in T16 */
    SLM_LINE_BYTES = 64
};

/* GGML blocks, byte for byte (peers' files; tests). */
typedef struct ggml_q8_0 {
    uint16_t d;
    int8_t qs[32];
} ggml_q8_0;
typedef struct ggml_q4_0 {
    uint16_t d;
    uint8_t qs[16];
} ggml_q4_0;
typedef struct ggml_q4_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qs[128];
} ggml_q4_k;
typedef struct ggml_q5_k {
    uint16_t d, dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
} ggml_q5_k;
typedef struct ggml_q6_k {
    uint8_t ql[128], qh[64];
    int8_t scales[16];
    uint16_t d;
} ggml_q6_k;
static_assert(sizeof(ggml_q8_0) == 34, "Q8_0 block");
static_assert(sizeof(ggml_q4_0) == 18, "Q4_0 block");
static_assert(sizeof(ggml_q4_k) == 144, "Q4_K block");
static_assert(sizeof(ggml_q5_k) == 176, "Q5_K block");
static_assert(sizeof(ggml_q6_k) == 210, "Q6_K block");

/* One row of a block type, unpacked: the form between encoder, decoder and T16. Scales are the
 * stored ones. A super-block of s sub-blocks uses the first 32 s codes. */
typedef struct slm_super_block {
    uint16_t d, dmin;    /* halves; dmin only Q4_K, Q5_K; unused by Q8_0, Q4_0 */
    uint16_t block_d[8]; /* Q8_0, Q4_0: the scale of each block of 32 */
    int8_t scales[16];   /* Q4_K, Q5_K: 8 of 0..63; Q6_K: 16 of -128..127 */
    uint8_t mins[8];     /* Q4_K, Q5_K: 0..63 */
    int16_t codes[256];  /* Q4_K 0..15, Q5_K 0..31, Q6_K 0..63, Q8_0 -128..127, Q4_0 0..15 */
} slm_super_block;

static inline bool slm_type_is_block(slm_type type)
{
    return type >= SLM_TYPE_Q8_0 && type < SLM_TYPE_COUNT;
}

/* Sub-blocks of 32 in super-block b of a row of n_cols columns (n_cols a multiple of 32). */
static inline uint32_t slm_sub_blocks(uint32_t n_cols, uint32_t b)
{
    uint32_t left = n_cols / SLM_SUB_BLOCK - 8 * b;
    return left < 8 ? left : 8;
}

static inline uint32_t slm_n_super_blocks(uint32_t n_cols)
{
    return (n_cols + SLM_SUPER_BLOCK - 1) / SLM_SUPER_BLOCK;
}

/* Bytes of the scale plane at the start of a row group (0 for Q4_K, Q5_K). */
uint32_t slm_t16_plane_bytes(slm_type type, uint32_t n_cols);

/* Bytes of a super-block of s sub-blocks in T16, 16 rows, plane not included. */
uint32_t slm_t16_block_bytes(slm_type type, uint32_t s);

/* Bytes of a row group of 16 rows: what lies between the starts of two groups. n_cols < 2^24. */
uint64_t slm_t16_group_bytes(slm_type type, uint32_t n_cols);

/* Bytes of one row of F32, F16, BF16 in a rank-2 tensor. */
static inline uint64_t slm_row_bytes(slm_type type, uint32_t n_cols)
{
    return ((uint64_t)n_cols + 15) / 16 * 16 * (type == SLM_TYPE_F32 ? 4 : 2);
}

/* Reads or writes super-block b of row r (0..15) of a T16 group. n_cols a multiple of 32. Writing
 * ORs into zeroed memory: the caller clears the group first. */
void slm_t16_load(slm_type type, const uint8_t *group, uint32_t n_cols, uint32_t b, uint32_t r,
                  slm_super_block *out);
void slm_t16_store(slm_type type, uint8_t *group, uint32_t n_cols, uint32_t b, uint32_t r,
                   const slm_super_block *in);

/* GGML bytes of one full super-block (8 blocks of 32 for Q8_0 and Q4_0) <-> unpacked form.
 * n_sub < 8 is allowed for Q8_0 and Q4_0 alone. */
void slm_ggml_load(slm_type type, const uint8_t *bytes, uint32_t n_sub, slm_super_block *out);
void slm_ggml_store(slm_type type, const slm_super_block *in, uint32_t n_sub, uint8_t *bytes);

/* The values of a super-block: out[32 n_sub] f32. Arithmetic as GGML's, each operation rounded. */
void slm_super_block_decode(slm_type type, const slm_super_block *in, uint32_t n_sub, float *out);

/* Dequantizes row `row` of a tensor of any type and n_cols columns to f32.
 * data: the tensor's first byte, 64-byte aligned; out: n_cols f32. */
void slm_dequantize_row(slm_type type, const uint8_t *data, uint32_t n_cols, uint64_t row,
                        float *out);

/* Quantizes x[32 n_sub] (finite) into the unpacked form, with the best scale search of this
 * project (search.h): least squared error. Deterministic on every platform. Scales and codes are
 * always in range and finite: values that a half-precision scale cannot reach (beyond 65504 times
 * the largest code and integer scale) are cut, so a caller who minds checks before. */
void slm_super_block_encode(slm_type type, const float *x, uint32_t n_sub, slm_super_block *out);

/* Quantizes up to 16 rows into one T16 group. x: n_rows rows of n_cols f32, ldx apart; group:
 * slm_t16_group_bytes(), 64-byte aligned, overwritten; rows n_rows..15 become zero rows. */
void slm_quantize_group(slm_type type, const float *x, size_t ldx, uint32_t n_rows, uint32_t n_cols,
                        uint8_t *group);

#endif
