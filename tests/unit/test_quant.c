/* test_quant.c - block layouts, the way through T16 and back, and the scale search. Positions,
 * GGML's formulas and error bounds are written here anew, from blocks.h and published layouts.
 */
#include <math.h>

#include "base/half.h"
#include "lib/check.h"
#include "quant/blocks.h"

enum { COLS = 800, BLOCKS = 4 }; /* three super-blocks and one sub-block */

static uint64_t state = 88172645463325252u;

static uint32_t random_u32(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static double random_unit(void) /* 0..1, neither end */
{
    return (random_u32() + 0.5) / 4294967296.0;
}

static float gaussian(void)
{
    return (float)(sqrt(-2.0 * log(random_unit())) * cos(6.283185307179586 * random_unit()));
}

static uint32_t ggml_bytes(slm_type type, uint32_t n_sub)
{
    static const uint32_t FULL[] = {0, 0, 0, 0, 0, 144, 176, 210};
    return type == SLM_TYPE_Q8_0 ? 34 * n_sub : type == SLM_TYPE_Q4_0 ? 18 * n_sub : FULL[type];
}

static void *take(size_t n)
{
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    if (!p) {
        exit(5);
    }
    memset(p, 0, n);
    return p;
}

/* ---- Layouts --------------------------------------------------------------------------------- */

static void ggml_and_t16_hold_the_same_bits(void)
{
    for (slm_type type = SLM_TYPE_Q8_0; type < SLM_TYPE_COUNT; type++) {
        uint8_t *group = (uint8_t *)take((size_t)slm_t16_group_bytes(type, 512));
        uint8_t bytes[16][2][272];
        for (uint32_t r = 0; r < 16; r++) {
            for (uint32_t b = 0; b < 2; b++) {
                slm_super_block block;
                for (uint32_t i = 0; i < sizeof bytes[r][b]; i++) {
                    bytes[r][b][i] = (uint8_t)random_u32();
                }
                slm_ggml_load(type, bytes[r][b], 8, &block);
                slm_t16_store(type, group, 512, b, r, &block);
            }
        }
        for (uint32_t r = 0; r < 16; r++) {
            for (uint32_t b = 0; b < 2; b++) {
                slm_super_block block;
                uint8_t back[272];
                slm_t16_load(type, group, 512, b, r, &block);
                slm_ggml_store(type, &block, 8, back);
                CHECK(memcmp(back, bytes[r][b], ggml_bytes(type, 8)) == 0);
            }
        }
        /* Nothing lost and nothing spare: both layouts have the same size. */
        CHECK_U64(slm_t16_group_bytes(type, 512), 16 * 2 * ggml_bytes(type, 8));
        free(group);
    }
}

static void short_super_blocks_round_trip(void)
{
    for (slm_type type = SLM_TYPE_Q8_0; type < SLM_TYPE_COUNT; type++) {
        for (uint32_t s = 1; s <= 8; s++) {
            uint32_t n_cols = 256 + 32 * s;
            uint8_t *group = (uint8_t *)take((size_t)slm_t16_group_bytes(type, n_cols));
            float x[256], y[256], z[256];
            slm_super_block block, back;
            for (uint32_t i = 0; i < 256; i++) {
                x[i] = gaussian();
            }
            slm_super_block_encode(type, x, s, &block);
            slm_t16_store(type, group, n_cols, 1, 3, &block);
            slm_t16_load(type, group, n_cols, 1, 3, &back);
            slm_super_block_decode(type, &block, s, y);
            slm_super_block_decode(type, &back, s, z);
            CHECK(memcmp(y, z, 32 * s * sizeof(float)) == 0);
            slm_t16_load(type, group, n_cols, 0, 3, &back); /* its neighbour is untouched */
            slm_super_block_decode(type, &back, 8, z);
            for (uint32_t i = 0; i < 256; i++) {
                CHECK(z[i] == 0.0f);
            }
            free(group);
        }
    }
}

/* The byte of T16 that holds the low bits of element i of super-block b of row r, as blocks.h says,
 * for 800 columns. */
static size_t low_byte(slm_type type, uint32_t b, uint32_t i, uint32_t r)
{
    uint32_t chunks = b < 3 ? 4 : 1, j = i / 32;
    size_t plane, line;
    switch (type) {
    case SLM_TYPE_Q4_K: plane = 0, line = b * 36u + 4 + 8 * (i / 64) + i % 32 / 4; break;
    case SLM_TYPE_Q5_K: plane = 0, line = b * 44u + 4 + 10 * (i / 64) + i % 32 / 4; break;
    case SLM_TYPE_Q6_K: plane = 128, line = b * 52u + chunks + 12 * (i / 64) + i % 32 / 4; break;
    case SLM_TYPE_Q8_0: plane = 832, line = (b * 8u + j) * 8 + i % 32 / 4; break;
    default: plane = 832, line = (b * 8u + j) * 4 + i % 16 / 4; break;
    }
    return plane + line * 64 + r * 4 + i % 4;
}

static void elements_lie_where_the_header_says(void)
{
    for (slm_type type = SLM_TYPE_Q8_0; type < SLM_TYPE_COUNT; type++) {
        size_t bytes = (size_t)slm_t16_group_bytes(type, COLS);
        uint8_t *group = (uint8_t *)take(bytes);
        for (uint32_t k = 0; k < 400; k++) {
            uint32_t b = random_u32() % BLOCKS, r = random_u32() % 16;
            uint32_t i = random_u32() % (b < 3 ? 256 : 32);
            slm_super_block block = {0};
            block.codes[i] = type == SLM_TYPE_Q8_0 ? -87 : 11;
            memset(group, 0, bytes);
            slm_t16_store(type, group, COLS, b, r, &block);
            bool high = type == SLM_TYPE_Q4_0 ? i % 32 >= 16 : i / 32 % 2 == 1;
            uint8_t want = type == SLM_TYPE_Q8_0 ? 0xa9 : high ? 0xb0 : 0x0b;
            CHECK_U64(group[low_byte(type, b, i, r)], want);
            size_t other = 0;
            for (size_t n = 0; n < bytes; n++) {
                other += group[n] != 0;
            }
            CHECK_U64(other, 1);
        }
        free(group);
    }
}

/* ---- Values ---------------------------------------------------------------------------------- */

/* A Q4_K block written by hand: d 0.5, dmin 0.25; sub-block 0 has scale 2 and min 3, sub-block 5
 * scale 33 = 2*16 + 1 and min 18 = 1*16 + 2. */
static void q4_k_by_hand(void)
{
    uint8_t bytes[144] = {0};
    slm_super_block block;
    float x[256];
    bytes[1] = 0x38; /* 0.5 */
    bytes[3] = 0x34; /* 0.25 */
    bytes[4] = 2;
    bytes[8] = 3;
    bytes[5] = 2 << 6;         /* upper bits of scale 5 */
    bytes[9] = 1 << 6;         /* upper bits of min 5 */
    bytes[13] = 1 | 2 << 4;    /* lower bits of both */
    bytes[16] = 7;             /* element 0 */
    bytes[16 + 64 + 9] = 0xc0; /* element 128 + 32 + 9: sub-block 5 */
    slm_ggml_load(SLM_TYPE_Q4_K, bytes, 8, &block);
    slm_super_block_decode(SLM_TYPE_Q4_K, &block, 8, x);
    CHECK(x[0] == 0.5f * 2 * 7 - 0.25f * 3);
    CHECK(x[1] == -0.25f * 3);
    CHECK(x[169] == 0.5f * 33 * 12 - 0.25f * 18);
    CHECK(x[64] == 0.0f);
}

static void q6_k_by_hand(void)
{
    uint8_t bytes[210] = {0};
    slm_super_block block;
    float x[256];
    bytes[209] = 0x3c;                /* d = 1 */
    bytes[64 + 5] = 0x9 << 4;         /* half 1, l = 5, high nibble: element 128 + 64 + 5 */
    bytes[128 + 32 + 5] = 2 << 4;     /* its upper bits: 2 * 16 */
    bytes[192 + 8 + 4] = (uint8_t)-3; /* scale of elements 192..207 */
    slm_ggml_load(SLM_TYPE_Q6_K, bytes, 8, &block);
    slm_super_block_decode(SLM_TYPE_Q6_K, &block, 8, x);
    CHECK(x[197] == -3.0f * (32 + 9 - 32));
    CHECK(x[198] == -3.0f * -32);
    CHECK(x[0] == 0.0f);
}

/* GGML: d = max|x| / 127 as half; codes by the unrounded d, halves away from zero. */
static void q8_0_rounds_as_ggml(void)
{
    float x[32] = {127.0f, 0.5f, -0.5f, 1.5f, -2.5f, 0.49999997f, 63.5f, -127.0f, 126.49999f};
    static const int16_t WANT[9] = {127, 1, -1, 2, -3, 0, 64, -127, 126};
    slm_super_block block;
    slm_super_block_encode(SLM_TYPE_Q8_0, x, 1, &block);
    CHECK_U64(block.block_d[0], 0x3c00);
    for (int i = 0; i < 9; i++) {
        CHECK(block.codes[i] == WANT[i]);
    }
}

static void q4_0_rounds_as_ggml(void)
{
    float x[32] = {-8.0f, 7.0f, 0.0f, 0.49f, 0.5f, -0.51f, 8.0f, -7.6f};
    static const int16_t WANT[8] = {0, 15, 8, 8, 9, 7, 15, 0};
    slm_super_block block;
    slm_super_block_encode(SLM_TYPE_Q4_0, x, 1, &block);
    CHECK_U64(block.block_d[0], 0x3c00); /* the first extreme, -8, over -8 */
    for (int i = 0; i < 8; i++) {
        CHECK(block.codes[i] == WANT[i]);
    }
}

static double relative_rmse(slm_type type, const float *x, size_t n, uint32_t n_sub)
{
    double error = 0.0, power = 0.0;
    for (size_t at = 0; at + 32 * n_sub <= n; at += 32 * n_sub) {
        slm_super_block block;
        float y[256];
        slm_super_block_encode(type, x + at, n_sub, &block);
        slm_super_block_decode(type, &block, n_sub, y);
        for (uint32_t i = 0; i < 32 * n_sub; i++) {
            double e = (double)x[at + i] - (double)y[i];
            error += e * e;
            power += (double)x[at + i] * (double)x[at + i];
        }
    }
    return sqrt(error / power);
}

/* Bounds that the project set itself, from what others reach on Gaussian values. */
static void errors_are_small(void)
{
    static const double BOUND[SLM_TYPE_COUNT] = {0, 0, 0, 0.0054, 0.0862, 0.0702, 0.0345, 0.0166};
    enum { N = 262144 };
    float *x = (float *)take(N * sizeof(float));
    for (size_t i = 0; i < N; i++) {
        x[i] = gaussian() * 0.02f;
    }
    for (slm_type type = SLM_TYPE_Q8_0; type < SLM_TYPE_COUNT; type++) {
        double whole = relative_rmse(type, x, N, 8);
        printf("# type %d: relative RMSE %.5f\n", (int)type, whole);
        CHECK(whole <= BOUND[type]);
        for (uint32_t s = 1; s < 8; s++) { /* a d for fewer sub-blocks fits at least as well */
            CHECK(relative_rmse(type, x, 65536, s) <= BOUND[type] * 1.01);
        }
    }
    free(x);
}

/* ---- Corner cases ---------------------------------------------------------------------------- */

static void expect_usable(slm_type type, const float *x, double tolerance)
{
    slm_super_block block;
    float y[256];
    slm_super_block_encode(type, x, 8, &block);
    CHECK(half_is_finite(block.d) && half_is_finite(block.dmin));
    for (int j = 0; j < 8; j++) {
        CHECK(half_is_finite(block.block_d[j]) && block.mins[j] < 64);
    }
    slm_super_block_decode(type, &block, 8, y);
    for (int i = 0; i < 256; i++) {
        int16_t top = type == SLM_TYPE_Q4_K || type == SLM_TYPE_Q4_0 ? 15
                      : type == SLM_TYPE_Q5_K                        ? 31
                      : type == SLM_TYPE_Q6_K                        ? 63
                                                                     : 127;
        CHECK(block.codes[i] <= top && block.codes[i] >= (type == SLM_TYPE_Q8_0 ? -128 : 0));
        CHECK(isfinite(y[i]));
        CHECK(fabs((double)y[i] - (double)x[i]) <= tolerance);
    }
}

static void odd_inputs_give_finite_blocks(void)
{
    for (slm_type type = SLM_TYPE_Q8_0; type < SLM_TYPE_COUNT; type++) {
        float x[256] = {0};
        expect_usable(type, x, 0.0);
        for (int i = 0; i < 256; i++) {
            x[i] = -0.75f;
        }
        expect_usable(type, x, 0.75 * 0.004);
        for (int i = 0; i < 256; i++) {
            x[i] = 0.75f;
        }
        expect_usable(type, x, 0.75 * 0.008);
        memset(x, 0, sizeof x);
        x[77] = 3.0f;
        expect_usable(type, x, 3.0 * 0.01);
        x[77] = -3.0f;
        expect_usable(type, x, 3.0 * 0.01);
        for (int i = 0; i < 256; i++) {
            x[i] = (i % 2 ? 1e-40f : -1e-44f) * (float)i;
        }
        expect_usable(type, x, 1e-37);
        for (int i = 0; i < 256; i++) {
            x[i] = i % 3 ? 3.4e38f : -3.4e38f;
        }
        expect_usable(type, x, INFINITY); /* cut, but finite */
        for (int i = 0; i < 256; i++) {
            x[i] = gaussian() * 1e-7f; /* halves of the scales are subnormal or 0 */
        }
        expect_usable(type, x, 5e-7);
    }
}

static void groups_are_rows_encoded_one_by_one(void)
{
    float *x = (float *)take(16 * COLS * sizeof(float));
    for (int i = 0; i < 16 * COLS; i++) {
        x[i] = gaussian();
    }
    for (slm_type type = SLM_TYPE_Q8_0; type < SLM_TYPE_COUNT; type++) {
        uint8_t *group = (uint8_t *)take((size_t)slm_t16_group_bytes(type, COLS));
        memset(group, 0xee, (size_t)slm_t16_group_bytes(type, COLS));
        slm_quantize_group(type, x, COLS, 11, COLS, group);
        for (uint32_t r = 0; r < 16; r++) {
            float got[COLS], want[BLOCKS * 256] = {0};
            slm_dequantize_row(type, group, COLS, r, got);
            for (uint32_t b = 0; b < BLOCKS && r < 11; b++) {
                slm_super_block block;
                uint32_t s = slm_sub_blocks(COLS, b);
                slm_super_block_encode(type, x + r * COLS + 256 * b, s, &block);
                slm_super_block_decode(type, &block, s, want + 256 * b);
            }
            for (uint32_t i = 0; i < COLS; i++) {
                CHECK(got[i] == want[i]);
            }
        }
        free(group);
    }
    free(x);
}

static void float_rows_are_padded_to_sixteen(void)
{
    static const slm_type TYPES[] = {SLM_TYPE_F32, SLM_TYPE_F16, SLM_TYPE_BF16};
    for (int t = 0; t < 3; t++) {
        uint8_t *data = (uint8_t *)take(2 * 32 * 4);
        float out[17];
        for (uint32_t i = 0; i < 17; i++) { /* row 1 begins after 32 elements */
            float f = (float)i - 4.0f;
            uint16_t h = t == 1 ? half_from_f32(f) : bf16_from_f32(f);
            memcpy(data + (t == 0 ? 4 : 2) * (32 + i), t == 0 ? (void *)&f : (void *)&h,
                   t == 0 ? 4 : 2);
        }
        slm_dequantize_row(TYPES[t], data, 17, 1, out);
        for (uint32_t i = 0; i < 17; i++) {
            CHECK(out[i] == (float)i - 4.0f);
        }
        free(data);
    }
}

int main(void)
{
    RUN(ggml_and_t16_hold_the_same_bits);
    RUN(short_super_blocks_round_trip);
    RUN(elements_lie_where_the_header_says);
    RUN(q4_k_by_hand);
    RUN(q6_k_by_hand);
    RUN(q8_0_rounds_as_ggml);
    RUN(q4_0_rounds_as_ggml);
    RUN(errors_are_small);
    RUN(odd_inputs_give_finite_blocks);
    RUN(groups_are_rows_encoded_one_by_one);
    RUN(float_rows_are_padded_to_sixteen);
    return test_finish();
}
