/* check_quantize.c - every variant of the scale search against the one of a single lane, byte for
 * byte, on random and extreme weights, with guard bytes around the group; what a group says of its
 * rows against the decoded rows; Q8_0 and Q4_0 against GGML's rule written here.
 * `--seed N` repeats a run; `--bench` times all variants; `--digest` prints a checksum of groups of
 * weights that every machine makes alike, for quantize_aarch64.sh to compare.
 */
#include <math.h>
#include <time.h>

#include "base/half.h"
#include "lib/check.h"
#include "quant/quantizer.h"

enum { GUARD = 64, FILL = 0xA5, MAX_COLS = 800 };

static const char *const TYPE_NAMES[SLM_TYPE_COUNT] = {"F32",  "F16",  "BF16", "Q8_0",
                                                       "Q4_0", "Q4_K", "Q5_K", "Q6_K"};

static const slm_quantizer *const *variants;
static uint32_t n_variants;
static uint64_t seed = 20261123, state;

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

static void *take(size_t n)
{
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    if (!p) {
        fprintf(stderr, "check_quantize: no memory\n");
        exit(5);
    }
    return p;
}

/* ---- Weights --------------------------------------------------------------------------------- */

enum kind {
    GAUSSIAN,
    HEAVY_TAILS,
    POSITIVE,
    NEGATIVE,
    ALL_EQUAL,
    ZEROS,
    SIGNED_ZEROS,
    ONE_SPIKE,
    DENORMAL,
    HUGE_VALUES,
    ANY_BITS, /* finite */
    TIES,
    N_KINDS
};

static float any_finite(void)
{
    uint32_t u;
    do {
        u = random_u32();
    } while ((u & 0x7f800000u) == 0x7f800000u);
    return f32_from_bits(u);
}

static float weight(enum kind kind, size_t i)
{
    switch (kind) {
    case GAUSSIAN: return gaussian() * 0.02f;
    case HEAVY_TAILS: return gaussian() * (random_u32() % 32 ? 0.02f : 0.4f);
    case POSITIVE: return fabsf(gaussian()) + 0.01f;
    case NEGATIVE: return -fabsf(gaussian()) - 3.0f;
    case ALL_EQUAL: return -0.375f;
    case ZEROS: return 0.0f;
    case SIGNED_ZEROS: return random_u32() % 2 ? 0.0f : -0.0f;
    case ONE_SPIKE: return i % 97 == 5 ? -7.0f : 0.0f;
    case DENORMAL: return f32_from_bits(random_u32() & 0x800003ffu);
    case HUGE_VALUES: return (float)((random_unit() - 0.5) * 6e38);
    case ANY_BITS: return any_finite();
    default: return (float)((int)(random_u32() % 31) - 15) * 0.5f;
    }
}

/* A group of weights stored as `type`; MAX_COLS columns. Overflow in F16 is cut to 65504. */
static uint8_t *make_rows(slm_type type, enum kind kind)
{
    size_t n = (size_t)SLM_GROUP_ROWS * MAX_COLS;
    uint8_t *rows = (uint8_t *)take(n * 4);
    for (size_t i = 0; i < n; i++) {
        float x = weight(kind, i);
        uint16_t h = half_from_f32(x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x);
        uint16_t b = (uint16_t)(f32_bits(x) >> 16); /* towards 0: stays finite */
        if (type == SLM_TYPE_F32) {
            memcpy(rows + 4 * i, &x, 4);
        } else {
            memcpy(rows + 2 * i, type == SLM_TYPE_F16 ? &h : &b, 2);
        }
    }
    return rows;
}

static float source_value(const slm_source_rows *in, uint32_t r, uint32_t i)
{
    const uint8_t *p = in->rows + r * in->row_bytes;
    float x;
    uint16_t h;
    memcpy(&h, p + 2 * (size_t)i, 2);
    memcpy(&x, p + 2 * (size_t)(in->type == SLM_TYPE_F32 ? 2 * i : i), in->type ? 2 : 4);
    return in->type == SLM_TYPE_F32   ? x
           : in->type == SLM_TYPE_F16 ? f32_from_half(h)
                                      : f32_from_bf16(h);
}

/* ---- Comparisons ----------------------------------------------------------------------------- */

typedef struct outcome {
    uint8_t *all, *group;
    size_t n_bytes;
    slm_row_check check[SLM_GROUP_ROWS];
} outcome;

static outcome quantize(const slm_quantizer *q, slm_type to, const slm_source_rows *in)
{
    outcome o = {.n_bytes = (size_t)slm_t16_group_bytes(to, in->n_cols)};
    o.all = (uint8_t *)take(o.n_bytes + 2 * GUARD);
    o.group = o.all + GUARD;
    memset(o.all, FILL, o.n_bytes + 2 * GUARD);
    memset(o.check, FILL, sizeof o.check);
    q->group(to, in, o.group, o.check);
    for (size_t i = 0; i < GUARD; i++) {
        CHECK(o.all[i] == FILL && o.group[o.n_bytes + i] == FILL);
    }
    return o;
}

/* Absent rows: no bit anywhere. */
static void expect_absent_rows_zero(slm_type to, const slm_source_rows *in, const outcome *o)
{
    size_t plane = slm_t16_plane_bytes(to, in->n_cols);
    bool clean = true;
    for (size_t i = 0; i < o->n_bytes; i++) {
        size_t row = i < plane ? i % 32 / 2 : (i - plane) % 64 / 4;
        clean = clean && (row < in->n_rows || o->group[i] == 0);
    }
    CHECK(clean);
    for (uint32_t r = in->n_rows; r < SLM_GROUP_ROWS; r++) {
        CHECK(o->check[r].largest == 0 && o->check[r].scale == 0 && o->check[r].power == 0.0);
    }
}

/* What the group says of its rows, by decoding them. */
static void expect_true_checks(slm_type to, const slm_source_rows *in, const outcome *o)
{
    for (uint32_t r = 0; r < in->n_rows; r++) {
        float y[MAX_COLS], largest = 0.0f;
        double error = 0.0, power = 0.0;
        slm_dequantize_row(to, o->group, in->n_cols, r, y);
        for (uint32_t i = 0; i < in->n_cols; i++) {
            float x = source_value(in, r, i);
            error += ((double)x - (double)y[i]) * ((double)x - (double)y[i]);
            power += (double)x * (double)x;
            largest = fabsf(x) > largest ? fabsf(x) : largest;
        }
        CHECK_U64(o->check[r].largest, f32_bits(largest));
        if (largest > 1e-15f && largest < 1e8f) { /* squares neither vanish nor overflow in f32 */
            CHECK(fabs(o->check[r].power - power) <= 1e-5 * power);
            CHECK(fabs(o->check[r].error - error) <= 1e-4 * error + 1e-13 * power);
            CHECK(power > 0.0 && error < 0.1 * power); /* Q4_0 of heavy tails */
        }
    }
}

static void compare(slm_type to, const slm_source_rows *in, enum kind kind)
{
    outcome want = quantize(variants[0], to, in);
    expect_absent_rows_zero(to, in, &want);
    expect_true_checks(to, in, &want);
    for (uint32_t v = 1; v < n_variants; v++) {
        outcome got = quantize(variants[v], to, in);
        bool same = memcmp(got.group, want.group, want.n_bytes) == 0 &&
                    memcmp(got.check, want.check, sizeof want.check) == 0;
        if (!same) {
            printf("# %s differs: %s -> %s, kind %d, %u x %u\n", variants[v]->name,
                   TYPE_NAMES[in->type], TYPE_NAMES[to], (int)kind, in->n_rows, in->n_cols);
        }
        CHECK(same);
        free(got.all);
    }
    free(want.all);
}

static void compare_all(slm_type to)
{
    static const uint32_t COLS[] = {32, 64, 96, 128, 160, 192, 224, 256, 288, 544, 800};
    static const uint32_t ROWS[] = {16, 1, 5, 11};
    for (slm_type from = SLM_TYPE_F32; from <= SLM_TYPE_BF16; from++) {
        for (int kind = 0; kind < N_KINDS; kind++) {
            uint8_t *rows = make_rows(from, (enum kind)kind);
            for (uint32_t c = 0; c < sizeof COLS / sizeof COLS[0]; c++) {
                uint32_t n_rows = ROWS[(c + (uint32_t)kind) % 4];
                slm_source_rows in = {rows, MAX_COLS * (from == SLM_TYPE_F32 ? 4u : 2u), from,
                                      n_rows, COLS[c]};
                compare(to, &in, (enum kind)kind);
            }
            free(rows);
        }
    }
}

static void q8_0(void)
{
    compare_all(SLM_TYPE_Q8_0);
}
static void q4_0(void)
{
    compare_all(SLM_TYPE_Q4_0);
}
static void q4_k(void)
{
    compare_all(SLM_TYPE_Q4_K);
}
static void q5_k(void)
{
    compare_all(SLM_TYPE_Q5_K);
}
static void q6_k(void)
{
    compare_all(SLM_TYPE_Q6_K);
}

/* ---- GGML's rules ---------------------------------------------------------------------------- */

/* d of a block and its code for x, as GGML's reference quantizers compute them. */
static uint16_t rule_q8_0(const float *x, int16_t *codes)
{
    float max = 0.0f;
    for (int i = 0; i < 32; i++) {
        max = fmaxf(max, fabsf(x[i]));
    }
    float d = max / 127.0f, inverse = d != 0.0f ? 1.0f / d : 0.0f;
    for (int i = 0; i < 32; i++) {
        codes[i] = (int16_t)roundf(x[i] * inverse);
    }
    return half_from_f32(d);
}

static uint16_t rule_q4_0(const float *x, int16_t *codes)
{
    float max = 0.0f, extreme = 0.0f;
    for (int i = 0; i < 32; i++) {
        if (fabsf(x[i]) > max) {
            max = fabsf(x[i]);
            extreme = x[i];
        }
    }
    float d = extreme / -8.0f, inverse = d != 0.0f ? 1.0f / d : 0.0f;
    for (int i = 0; i < 32; i++) {
        int code = (int)(x[i] * inverse + 8.5f);
        codes[i] = (int16_t)(code < 15 ? code : 15);
    }
    return half_from_f32(d);
}

static void q8_0_and_q4_0_follow_ggml(void)
{
    static const enum kind KINDS[] = {GAUSSIAN, HEAVY_TAILS, POSITIVE, ONE_SPIKE, ZEROS, TIES};
    for (uint32_t k = 0; k < 2 * sizeof KINDS / sizeof KINDS[0]; k++) {
        slm_type to = k % 2 ? SLM_TYPE_Q8_0 : SLM_TYPE_Q4_0;
        slm_source_rows in = {make_rows(SLM_TYPE_F32, KINDS[k / 2]), 4 * MAX_COLS, SLM_TYPE_F32, 16,
                              MAX_COLS};
        outcome o = quantize(variants[n_variants - 1], to, &in);
        for (uint32_t block = 0; block < 16 * MAX_COLS / 32; block++) {
            uint32_t r = block / (MAX_COLS / 32), j = block % (MAX_COLS / 32);
            float x[32];
            int16_t codes[32];
            slm_super_block got;
            memcpy(x, in.rows + 4 * ((size_t)r * MAX_COLS + 32 * j), sizeof x);
            uint16_t d = to == SLM_TYPE_Q8_0 ? rule_q8_0(x, codes) : rule_q4_0(x, codes);
            slm_t16_load(to, o.group, MAX_COLS, j / 8, r, &got);
            CHECK_U64(got.block_d[j % 8], d);
            CHECK(memcmp(got.codes + j % 8 * 32, codes, sizeof codes) == 0);
        }
        free(o.all);
        free((void *)(uintptr_t)in.rows);
    }
}

/* ---- Refusals are the caller's: it must be able to see them ---------------------------------- */

static void infinities_and_nan_show(void)
{
    static const uint32_t BAD[3][2] = {{0x7f800000u, 0xffc00001u}, /* F32 */
                                       {0x7c00u, 0xfe01u},
                                       {0xff80u, 0x7fc1u}};
    for (uint32_t v = 0; v < n_variants; v++) {
        for (uint32_t k = 0; k < 6 * SLM_TYPE_COUNT; k++) {
            slm_type from = (slm_type)(k % 3), to = (slm_type)(k / 6);
            uint8_t *rows = make_rows(from, GAUSSIAN);
            slm_source_rows in = {rows, MAX_COLS * (from == SLM_TYPE_F32 ? 4u : 2u), from, 7, 288};
            if (to < SLM_TYPE_Q8_0) {
                free(rows);
                continue;
            }
            memcpy(rows + 3 * in.row_bytes + 270 * (from ? 2 : 4), &BAD[from][k / 3 % 2],
                   from ? 2 : 4);
            outcome o = quantize(variants[v], to, &in);
            for (uint32_t r = 0; r < 7; r++) {
                CHECK((o.check[r].largest >= 0x7f800000u) == (r == 3));
            }
            free(o.all);
            free(rows);
        }
    }
}

static void cut_scales_show(void)
{
    for (slm_type to = SLM_TYPE_Q8_0; to < SLM_TYPE_COUNT; to++) {
        float x[32] = {0};
        slm_source_rows in = {(const uint8_t *)x, 0, SLM_TYPE_F32, 1, 32};
        /* the least and the largest code times the largest integer scale and half */
        float most = 65504.0f * (to == SLM_TYPE_Q8_0   ? 127.0f
                                 : to == SLM_TYPE_Q4_0 ? 8.0f
                                 : to == SLM_TYPE_Q6_K ? 4096.0f
                                 : to == SLM_TYPE_Q4_K ? 63.0f * 15.0f
                                                       : 63.0f * 31.0f);
        for (int i = 0; i < 2; i++) {
            x[7] = i ? most * 0.75f : most * 1.1f;
            outcome o = quantize(variants[n_variants - 1], to, &in);
            CHECK((o.check[0].scale >= 0x7bff) == (i == 0));
            free(o.all);
        }
    }
}

/* ---- Speed ----------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Best of several runs, one thread: million weights per second, source F16 in cache. */
static int bench(void)
{
    slm_row_check check[SLM_GROUP_ROWS];
    slm_source_rows in = {make_rows(SLM_TYPE_F16, GAUSSIAN), 2 * MAX_COLS, SLM_TYPE_F16, 16, 768};
    uint8_t *group = (uint8_t *)take((size_t)slm_t16_group_bytes(SLM_TYPE_Q8_0, MAX_COLS));
    printf("%-8s", "Mel/s");
    for (slm_type to = SLM_TYPE_Q8_0; to < SLM_TYPE_COUNT; to++) {
        printf("%8s", TYPE_NAMES[to]);
    }
    for (uint32_t v = 0; v < n_variants; v++) {
        printf("\n%-8s", variants[v]->name);
        for (slm_type to = SLM_TYPE_Q8_0; to < SLM_TYPE_COUNT; to++) {
            double best = 1e9, start = now();
            while (now() - start < 0.3) {
                double t = now();
                for (int i = 0; i < 4; i++) {
                    variants[v]->group(to, &in, group, check);
                }
                t = now() - t;
                best = t < best ? t : best;
            }
            printf("%8.0f", 4 * 16 * 768 / best * 1e-6);
            fflush(stdout);
        }
    }
    printf("\n");
    free(group);
    free((void *)(uintptr_t)in.rows);
    return 0;
}

/* ---- One digest on every machine ------------------------------------------------------------- */

static void print_digest(void)
{
    static uint16_t weights[SLM_GROUP_ROWS * MAX_COLS];
    slm_source_rows in = {(const uint8_t *)weights, 2 * MAX_COLS, SLM_TYPE_BF16, 13, MAX_COLS};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        double sum = 0.0; /* exact: no mathematical library */
        for (int k = 0; k < 4; k++) {
            sum += (double)(random_u32() >> 8) - 8388607.5;
        }
        weights[i] = bf16_from_f32((float)(sum * (random_u32() % 32 ? 0x1p-28 : 0x1p-25)));
    }
    for (uint32_t v = 0; v < n_variants; v++) {
        slm_hash hash;
        slm_hash_init(&hash, 0);
        for (slm_type to = SLM_TYPE_Q8_0; to < SLM_TYPE_COUNT; to++) {
            outcome o = quantize(variants[v], to, &in);
            slm_hash_update(&hash, o.group, o.n_bytes);
            slm_hash_update(&hash, o.check, sizeof o.check);
            free(o.all);
        }
        printf("%016" PRIx64 "\n", slm_hash_final(&hash));
    }
}

int main(int argc, char **argv)
{
    n_variants = slm_quantizers_available(&variants);
    if (argc > 2 && strcmp(argv[1], "--seed") == 0) {
        seed = strtoull(argv[2], NULL, 10);
    }
    state = seed * 0x9E3779B97F4A7C15u | 1;
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        return bench();
    }
    if (argc > 1 && strcmp(argv[1], "--digest") == 0) {
        print_digest();
        return test_failed_here;
    }
    printf("# seed %" PRIu64 "; variants:", seed);
    for (uint32_t v = 0; v < n_variants; v++) {
        printf(" %s", variants[v]->name);
    }
    printf("\n");
    RUN(q8_0);
    RUN(q4_0);
    RUN(q4_k);
    RUN(q5_k);
    RUN(q6_k);
    RUN(q8_0_and_q4_0_follow_ggml);
    RUN(infinities_and_nan_show);
    RUN(cut_scales_show);
    return test_finish();
}
