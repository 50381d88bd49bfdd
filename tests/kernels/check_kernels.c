/* check_kernels.c - every slot of every kernel variant against the scalar reference, bit for bit,
 * on random and extreme inputs, with guard bytes around outputs; and the reference against plain
 * computations written here. `--seed N` repeats a run; `--bench [TYPE]` times the same calls.
 */
#include <math.h>
#include <time.h>

#include "base/bytes.h"
#include "base/half.h"
#include "base/mathf.h"
#include "kernels/kernels.h"
#include "lib/check.h"

enum { GUARD = 64, FILL = 0xA5 };

enum { MAX_VARIANTS = 8 };

static const slm_kernels *variants[MAX_VARIANTS];
static uint32_t n_variants;
static uint64_t seed = 20260101, state;

static const char *const TYPE_NAMES[SLM_TYPE_COUNT] = {"F32",  "F16",  "BF16", "Q8_0",
                                                       "Q4_0", "Q4_K", "Q5_K", "Q6_K"};

static uint32_t random_u32(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static float random_unit(void) /* -1..1 */
{
    return (float)(int32_t)random_u32() * 0x1p-31f;
}

/* 64-byte aligned memory; a test program may leak on the way out of a failed allocation. */
static void *take(size_t n)
{
    void *p = aligned_alloc(64, (n + 63) / 64 * 64 + 64);
    if (!p) {
        fprintf(stderr, "check_kernels: no memory\n");
        exit(5);
    }
    memset(p, 0, (n + 63) / 64 * 64 + 64);
    return p;
}

/* An output buffer with guards before and behind it. */
typedef struct guarded {
    uint8_t *all;
    float *y;
    size_t n;
} guarded;

static guarded guarded_take(size_t n_floats)
{
    guarded g = {NULL, NULL, n_floats * sizeof(float)};
    g.all = (uint8_t *)take(g.n + 2 * GUARD);
    memset(g.all, FILL, g.n + 2 * GUARD);
    g.y = (float *)(void *)(g.all + GUARD);
    return g;
}

static bool guards_intact(const guarded *g)
{
    for (size_t i = 0; i < GUARD; i++) {
        if (g->all[i] != FILL || g->all[GUARD + g->n + i] != FILL) {
            return false;
        }
    }
    return true;
}

static void expect_same(const guarded *got, const guarded *want, const char *variant,
                        const char *what)
{
    bool same = memcmp(got->y, want->y, want->n) == 0;
    if (!same || !guards_intact(got) || !guards_intact(want)) {
        printf("# %s: %s %s (--seed %" PRIu64 ")\n", variant, what,
               same ? "wrote outside its output" : "differs from ref", seed);
        test_failed_here = 1;
    }
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

typedef enum fill { RANDOM, ALL_MIN, ALL_MAX, TINY, HUGE_VALUES, SPARSE, N_FILLS } fill;

static float activation(fill how, uint32_t i)
{
    switch (how) {
    case ALL_MIN: return -1.0f;
    case ALL_MAX: return 1.0f;
    case TINY: return random_unit() * 0x1p-130f;
    case HUGE_VALUES: return random_unit() * 0x1p100f;
    case SPARSE: return i % 37 == 5 ? random_unit() : 0.0f;
    default: return random_unit() * random_unit() * 4.0f;
    }
}

static float *activations(fill how, uint32_t rows, uint32_t n_cols, uint32_t ld)
{
    float *x = (float *)take((size_t)rows * ld * sizeof(float));
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t i = 0; i < n_cols; i++) {
            x[(size_t)r * ld + i] = activation(how, i + r);
        }
    }
    return x;
}

static uint16_t random_scale(fill how)
{
    if (how == TINY) {
        return (uint16_t)(random_u32() & 0x83ff); /* subnormal halves of both signs */
    }
    return (uint16_t)((random_u32() & 0x83ff) | (how == HUGE_VALUES ? 0x7800 : 0x2000));
}

static int32_t between(int32_t low, int32_t high)
{
    return low + (int32_t)(random_u32() % (uint32_t)(high - low + 1));
}

static int32_t pick(fill how, int32_t low, int32_t high)
{
    return how == ALL_MIN ? low : how == ALL_MAX ? high : between(low, high);
}

static void random_block(slm_type type, fill how, uint32_t s, slm_super_block *w)
{
    static const int32_t LOW[] = {0, 0, 0, -128, 0, 0, 0, 0};
    static const int32_t HIGH[] = {0, 0, 0, 127, 15, 15, 31, 63};
    memset(w, 0, sizeof *w);
    w->d = random_scale(how);
    w->dmin = random_scale(how);
    for (uint32_t i = 0; i < 32 * s; i++) {
        w->codes[i] = (int16_t)pick(how, LOW[type], HIGH[type]);
    }
    for (uint32_t j = 0; j < s; j++) {
        w->block_d[j] = random_scale(how);
        w->mins[j] = (uint8_t)pick(how, 0, 63);
    }
    for (uint32_t j = 0; j < (type == SLM_TYPE_Q6_K ? 2 * s : s); j++) {
        w->scales[j] = (int8_t)(type == SLM_TYPE_Q6_K ? pick(how, -128, 127) : pick(how, 0, 63));
    }
}

static slm_matrix block_matrix(slm_type type, fill how, uint32_t n_rows, uint32_t n_cols)
{
    uint64_t group = slm_t16_group_bytes(type, n_cols);
    uint8_t *data = (uint8_t *)take((size_t)((n_rows + 15) / 16 * group));
    for (uint32_t r = 0; r < n_rows; r++) {
        for (uint32_t b = 0; b < slm_n_super_blocks(n_cols); b++) {
            slm_super_block w;
            random_block(type, how, slm_sub_blocks(n_cols, b), &w);
            slm_t16_store(type, data + r / 16 * group, n_cols, b, r % 16, &w);
        }
    }
    return (slm_matrix){data, type, n_rows, n_cols};
}

static slm_matrix float_matrix(slm_type type, fill how, uint32_t n_rows, uint32_t n_cols)
{
    size_t row = (size_t)slm_row_bytes(type, n_cols);
    uint8_t *data = (uint8_t *)take(n_rows * row);
    for (uint32_t r = 0; r < n_rows; r++) {
        for (uint32_t i = 0; i < n_cols; i++) {
            float w = activation(how, i + r);
            if (type == SLM_TYPE_F32) {
                memcpy(data + r * row + 4 * (size_t)i, &w, 4);
                continue;
            }
            w = w > 60000.0f ? 60000.0f : w < -60000.0f ? -60000.0f : w;
            uint16_t h = type == SLM_TYPE_F16 ? half_from_f32(w) : bf16_from_f32(w);
            memcpy(data + r * row + 2 * (size_t)i, &h, 2);
        }
    }
    return (slm_matrix){data, type, n_rows, n_cols};
}

/* ---- Matrix products ------------------------------------------------------------------------- */

static void run_matmul(const slm_kernels *k, const slm_matrix *w, uint32_t first, uint32_t last,
                       const float *x, uint32_t ldx, uint32_t n_tokens, float *y, size_t ldy)
{
    if (!slm_type_is_block(w->type)) {
        k->matmul_f(w, first, last, x, ldx, n_tokens, y, ldy);
        return;
    }
    size_t bytes = k->act_bytes(n_tokens, w->n_cols);
    uint8_t *act = (uint8_t *)take(bytes + GUARD), *scratch = (uint8_t *)take(SLM_MATMUL_SCRATCH);
    memset(act, FILL, bytes + GUARD);
    k->act_quantize(x, ldx, n_tokens / 2, n_tokens, n_tokens, w->n_cols, act);
    k->act_quantize(x, ldx, 0, n_tokens / 2, n_tokens, w->n_cols, act);
    for (size_t i = 0; i < GUARD; i++) {
        CHECK(act[bytes + i] == FILL);
    }
    k->matmul_q(w, first / 16, (last + 15) / 16, act, n_tokens, y, ldy, scratch);
    free(act);
    free(scratch);
}

static void compare_matmul(slm_type type, fill how, uint32_t n_rows, uint32_t n_cols,
                           uint32_t n_tokens, uint32_t first, uint32_t last)
{
    uint32_t ldx = (n_cols + 15) / 16 * 16 + 16, ldy = (n_rows + 15) / 16 * 16 + 16;
    slm_matrix w = slm_type_is_block(type) ? block_matrix(type, how, n_rows, n_cols)
                                           : float_matrix(type, how, n_rows, n_cols);
    float *x = activations(how, n_tokens, n_cols, ldx);
    guarded want = guarded_take((size_t)n_tokens * ldy);
    run_matmul(variants[0], &w, first, last, x, ldx, n_tokens, want.y, ldy);
    for (uint32_t v = 1; v < n_variants; v++) {
        guarded got = guarded_take((size_t)n_tokens * ldy);
        char what[128];
        snprintf(what, sizeof what, "%s %ux%u, %u tokens, rows %u..%u, fill %d", TYPE_NAMES[type],
                 n_rows, n_cols, n_tokens, first, last, (int)how);
        run_matmul(variants[v], &w, first, last, x, ldx, n_tokens, got.y, ldy);
        expect_same(&got, &want, variants[v]->name, what);
        free(got.all);
    }
    free(want.all);
    free(x);
    free((void *)(uintptr_t)w.data);
}

static void check_matmul(slm_type type)
{
    static const uint32_t COLS[] = {32, 64, 96, 256, 288, 320, 576, 640, 896, 2048, 2080};
    static const uint32_t TOKENS[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 64};
    for (size_t c = 0; c < sizeof COLS / sizeof COLS[0]; c++) {
        for (size_t t = 0; t < sizeof TOKENS / sizeof TOKENS[0]; t++) {
            if (COLS[c] <= 320 || t % 4 == 0) {
                compare_matmul(type, RANDOM, 40, COLS[c], TOKENS[t], 0, 40);
            }
        }
        compare_matmul(type, RANDOM, 80, COLS[c], 5, 16, 64);
        compare_matmul(type, RANDOM, 80, COLS[c], 1, 32, 48);
    }
    for (fill how = ALL_MIN; how < N_FILLS; how++) {
        compare_matmul(type, how, 32, 2048, 1, 0, 32);
        compare_matmul(type, how, 32, 544, 13, 0, 32);
    }
    compare_matmul(type, RANDOM, 32, 256, 131, 0, 32); /* more than a panel */
}

static void q8_0(void)
{
    check_matmul(SLM_TYPE_Q8_0);
}

static void q4_0(void)
{
    check_matmul(SLM_TYPE_Q4_0);
}

static void q4_k(void)
{
    check_matmul(SLM_TYPE_Q4_K);
}

static void q5_k(void)
{
    check_matmul(SLM_TYPE_Q5_K);
}

static void q6_k(void)
{
    check_matmul(SLM_TYPE_Q6_K);
}

static void float_weights(void)
{
    static const uint32_t COLS[] = {1, 15, 16, 33, 64, 288, 576, 1001};
    static const uint32_t TOKENS[] = {1, 2, 3, 4, 5, 9, 17};
    for (slm_type type = SLM_TYPE_F32; type <= SLM_TYPE_BF16; type++) {
        for (size_t c = 0; c < sizeof COLS / sizeof COLS[0]; c++) {
            for (size_t t = 0; t < sizeof TOKENS / sizeof TOKENS[0]; t++) {
                compare_matmul(type, RANDOM, 21, COLS[c], TOKENS[t], 0, 21);
            }
            compare_matmul(type, RANDOM, 21, COLS[c], 3, 5, 18);
        }
        for (fill how = ALL_MIN; how < N_FILLS; how++) {
            compare_matmul(type, how == HUGE_VALUES ? RANDOM : how, 7, 640, 5, 0, 7);
        }
    }
}

/* ---- The reference against plain computations ------------------------------------------------ */

/* The integer formula on GGML's own bytes, n_sub = 8 (Q8_0, Q4_0: 8 blocks). */
static float ggml_q45_part(slm_type type, const uint8_t *w, const int8_t *a)
{
    const uint8_t *sc = w + 4, *high = w + 16, *low = w + (type == SLM_TYPE_Q5_K ? 48 : 16);
    int32_t i1 = 0, i2 = 0;
    for (int j = 0; j < 8; j++) {
        int scale = j < 4 ? sc[j] & 63 : (sc[j + 4] & 15) | (sc[j - 4] >> 6) << 4;
        int min = j < 4 ? sc[j + 4] & 63 : (sc[j + 4] >> 4) | (sc[j] >> 6) << 4;
        for (int l = 0; l < 32; l++) {
            int q = j % 2 ? low[32 * (j / 2) + l] >> 4 : low[32 * (j / 2) + l] & 15;
            if (type == SLM_TYPE_Q5_K) {
                q += high[l] >> j & 1 ? 16 : 0;
            }
            i1 += scale * q * a[32 * j + l];
            i2 += min * a[32 * j + l];
        }
    }
    float p1 = f32_from_half(load_u16(w)) * (float)i1;
    float p2 = f32_from_half(load_u16(w + 2)) * (float)i2;
    return p1 - p2;
}

static float ggml_q6_part(const uint8_t *w, const int8_t *a)
{
    int32_t total = 0;
    for (int i = 0; i < 256; i++) {
        int h = i / 128, quarter = i % 128 / 32, l = i % 32;
        int low = w[64 * h + 32 * (quarter & 1) + l];
        low = quarter < 2 ? low & 15 : low >> 4;
        int high = w[128 + 32 * h + l] >> 2 * quarter & 3;
        total += (int8_t)w[192 + 8 * h + l / 16 + 2 * quarter] * (low + 16 * high - 32) * a[i];
    }
    return f32_from_half(load_u16(w + 208)) * (float)total;
}

static float ggml_plain_part(slm_type type, const uint8_t *w, const int8_t *a)
{
    float total = 0.0f;
    for (int j = 0; j < 8; j++, w += type == SLM_TYPE_Q8_0 ? 34 : 18) {
        int32_t sum = 0;
        for (int e = 0; e < 32; e++) {
            int q = type == SLM_TYPE_Q8_0 ? (int8_t)w[2 + e]
                    : e < 16              ? (w[2 + e] & 15) - 8
                                          : (w[2 + e - 16] >> 4) - 8;
            sum += q * a[32 * j + e];
        }
        float part = f32_from_half(load_u16(w)) * (float)sum;
        total += part;
    }
    return total;
}

static float ggml_part(slm_type type, const uint8_t *w, const int8_t *a)
{
    if (type == SLM_TYPE_Q6_K) {
        return ggml_q6_part(w, a);
    }
    return type == SLM_TYPE_Q4_K || type == SLM_TYPE_Q5_K ? ggml_q45_part(type, w, a)
                                                          : ggml_plain_part(type, w, a);
}

static float plain_activation_scale(const float *x, int8_t q[256])
{
    float max = 0.0f;
    for (int i = 0; i < 256; i++) {
        max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    }
    for (int i = 0; i < 256; i++) {
        q[i] = max > 0.0f ? (int8_t)rintf(x[i] * (127.0f / max)) : 0;
    }
    return max / 127.0f;
}

static void ref_equals_the_formula_on_ggml_blocks(void)
{
    enum { COLS = 768, ROWS = 16 };
    for (slm_type type = SLM_TYPE_Q8_0; type < SLM_TYPE_COUNT; type++) {
        slm_matrix w = block_matrix(type, RANDOM, ROWS, COLS);
        float *x = activations(RANDOM, 1, COLS, COLS), y[ROWS];
        run_matmul(variants[0], &w, 0, ROWS, x, COLS, 1, y, ROWS);
        for (uint32_t r = 0; r < ROWS; r++) {
            float want = 0.0f;
            for (uint32_t b = 0; b < COLS / 256; b++) {
                slm_super_block block;
                uint8_t bytes[8 * 34] = {0};
                int8_t q[256];
                slm_t16_load(type, w.data, COLS, b, r, &block);
                slm_ggml_store(type, &block, 8, bytes);
                float d = plain_activation_scale(x + b * 256, q);
                float part = d * ggml_part(type, bytes, q);
                want += part;
            }
            CHECK(f32_bits(y[r]) == f32_bits(want));
        }
        free(x);
        free((void *)(uintptr_t)w.data);
    }
}

/* Quantized activations are off by at most half a step each, which bounds the error of a sum. */
static void ref_is_near_the_exact_product(void)
{
    enum { COLS = 832, ROWS = 16 };
    for (slm_type type = SLM_TYPE_F32; type < SLM_TYPE_COUNT; type++) {
        slm_matrix w = slm_type_is_block(type) ? block_matrix(type, RANDOM, ROWS, COLS)
                                               : float_matrix(type, RANDOM, ROWS, COLS);
        float *x = activations(RANDOM, 1, COLS, COLS), y[ROWS], row[COLS];
        run_matmul(variants[0], &w, 0, ROWS, x, COLS, 1, y, ROWS);
        for (uint32_t r = 0; r < ROWS; r++) {
            double exact = 0.0, bound = 0.0, max = 0.0, sum = 0.0;
            slm_dequantize_row(type, w.data, COLS, r, row);
            for (uint32_t i = 0; i < COLS; i++) {
                exact += (double)row[i] * (double)x[i];
                sum += fabs((double)row[i] * (double)x[i]);
                max = fabs((double)x[i]) > max ? fabs((double)x[i]) : max;
                bound += fabs((double)row[i]);
            }
            bound = slm_type_is_block(type) ? bound * max / 254.0 : 0.0;
            /* Sums of min terms cancel: their rounding is relative to d * I1, here below 1e4. */
            CHECK(fabs((double)y[r] - exact) <= bound * 1.001 + sum * 1e-4 + 1e-3);
        }
        free(x);
        free((void *)(uintptr_t)w.data);
    }
}

/* ---- Elementwise slots ----------------------------------------------------------------------- */

static void rms_norms(void)
{
    static const uint32_t N[] = {1, 7, 16, 31, 64, 288, 576, 1001, 2048};
    for (size_t c = 0; c < sizeof N / sizeof N[0]; c++) {
        for (fill how = RANDOM; how < N_FILLS; how++) {
            uint32_t ld = (N[c] + 15) / 16 * 16;
            float *x = activations(how == HUGE_VALUES ? RANDOM : how, 1, N[c], ld);
            float *w = activations(RANDOM, 1, N[c], ld);
            guarded want = guarded_take(ld);
            variants[0]->rms_norm(x, w, N[c], 1e-5f, want.y);
            for (uint32_t v = 1; v < n_variants; v++) {
                guarded got = guarded_take(ld);
                variants[v]->rms_norm(x, w, N[c], 1e-5f, got.y);
                expect_same(&got, &want, variants[v]->name, "rms_norm");
                memcpy(got.y, x, ld * sizeof(float));
                variants[v]->rms_norm(got.y, w, N[c], 1e-5f, got.y);
                expect_same(&got, &want, variants[v]->name, "rms_norm in place");
                free(got.all);
            }
            free(want.all);
            free(x);
            free(w);
        }
    }
}

static void layer_norms(void)
{
    for (uint32_t n = 1; n <= 600; n += n < 40 ? 1 : 37) {
        uint32_t ld = round_up_u32(n, 16);
        float *x = activations(RANDOM, 1, n, ld), *w = activations(RANDOM, 1, n, ld);
        float *b = activations(RANDOM, 1, n, ld);
        guarded want = guarded_take(ld);
        variants[0]->layer_norm(x, w, b, n, 1e-5f, want.y);
        for (uint32_t v = 1; v < n_variants; v++) {
            guarded got = guarded_take(ld);
            variants[v]->layer_norm(x, w, b, n, 1e-5f, got.y);
            expect_same(&got, &want, variants[v]->name, "layer_norm");
            free(got.all);
        }
        free(want.all);
        free(x);
        free(w);
        free(b);
    }
}

typedef enum slot { ROPE, SILU_MUL, GELU_MUL, GELU, SOFTCAP, ADD } slot;

static void run_in_place(const slm_kernels *k, slot what, float *x, const float *a, const float *b,
                         uint32_t n)
{
    switch (what) {
    case ROPE: k->rope(x, a, b, n); break;
    case SILU_MUL: k->silu_mul(x, a, n); break;
    case GELU_MUL: k->gelu_mul(x, a, n); break;
    case GELU: k->gelu_mul(x, NULL, n); break;
    case SOFTCAP: k->softcap(x, n, 3.0f); break;
    case ADD: k->add(x, a, n); break;
    }
}

static void check_in_place(slot what, const char *name)
{
    for (uint32_t n = 2; n <= 200; n += 2) {
        for (uint32_t offset = 0; offset < 2; offset++) { /* rope promises no alignment */
            uint32_t shift = what == ROPE ? offset : 0;
            float *x = activations(RANDOM, 1, n, n), *a = activations(RANDOM, 1, n, n + 1);
            float *b = activations(RANDOM, 1, n, n + 1);
            guarded want = guarded_take(n + 1);
            for (uint32_t i = 0; what != ROPE && what != ADD && i < n; i++) {
                x[i] *= i % 5 == 0 ? 200.0f : 4.0f; /* beyond the clamp of exp too */
            }
            memcpy(want.y + shift, x, n * sizeof(float));
            run_in_place(variants[0], what, want.y + shift, a + shift, b + shift, n);
            for (uint32_t v = 1; v < n_variants; v++) {
                guarded got = guarded_take(n + 1);
                memcpy(got.y + shift, x, n * sizeof(float));
                run_in_place(variants[v], what, got.y + shift, a + shift, b + shift, n);
                expect_same(&got, &want, variants[v]->name, name);
                free(got.all);
            }
            free(want.all);
            free(x);
            free(a);
            free(b);
        }
    }
}

static void ropes(void)
{
    check_in_place(ROPE, "rope");
}

static void silu_muls(void)
{
    check_in_place(SILU_MUL, "silu_mul");
}

static void gelu_muls(void)
{
    check_in_place(GELU_MUL, "gelu_mul");
    check_in_place(GELU, "gelu");
}

static void softcaps(void)
{
    check_in_place(SOFTCAP, "softcap");
}

static void adds(void)
{
    check_in_place(ADD, "add");
}

/* ---- Attention ------------------------------------------------------------------------------- */

typedef struct scene {
    slm_attention_args args;
    float *q;
    uint8_t *k, *v;
    uint32_t *blocks;
    size_t n_out;
    uint32_t n_tokens;
} scene;

static scene make_scene(uint32_t kv_type, uint32_t head_dim, uint32_t n_heads, uint32_t n_kv_heads,
                        uint32_t pos0, uint32_t n_tokens, uint32_t window)
{
    scene s = {.n_tokens = n_tokens};
    uint32_t n_blocks = (pos0 + n_tokens + SLM_KV_BLOCK - 1) / SLM_KV_BLOCK;
    uint32_t stride = (n_heads * head_dim + 15) / 16 * 16;
    size_t row = n_kv_heads * slm_kv_head_bytes(kv_type, head_dim);
    size_t bytes = (size_t)(n_blocks + 1) * SLM_KV_BLOCK * row;
    s.q = activations(RANDOM, n_tokens, n_heads * head_dim, stride);
    s.k = (uint8_t *)take(bytes);
    s.v = (uint8_t *)take(bytes);
    s.blocks = (uint32_t *)take(n_blocks * sizeof(uint32_t));
    memset(s.k, 0x7f, bytes); /* positions that were never written must not be read as numbers */
    memset(s.v, 0x7f, bytes);
    for (uint32_t b = 0; b < n_blocks; b++) {
        s.blocks[b] = n_blocks - b; /* not in order; block 0 belongs to nobody */
    }
    for (uint32_t p = 0; p < pos0 + n_tokens; p++) {
        float *x = activations(RANDOM, 2, n_kv_heads * head_dim, stride);
        size_t at = s.blocks[p / SLM_KV_BLOCK] * SLM_KV_BLOCK * row;
        slm_kv_store_keys(kv_type, x, n_kv_heads, head_dim, s.k + at, p % SLM_KV_BLOCK);
        slm_kv_store_values(kv_type, x + stride, n_kv_heads, head_dim, s.v + at, p % SLM_KV_BLOCK);
        free(x);
    }
    s.n_out = (size_t)n_tokens * stride;
    s.args = (slm_attention_args){.q = s.q,
                                  .q_stride = stride,
                                  .k = s.k,
                                  .v = s.v,
                                  .blocks = s.blocks,
                                  .kv_type = kv_type,
                                  .kv_row_bytes = row,
                                  .n_heads = n_heads,
                                  .n_kv_heads = n_kv_heads,
                                  .head_dim = head_dim,
                                  .scale = 1.0f / sqrtf((float)head_dim),
                                  .pos0 = pos0,
                                  .window = window,
                                  .softcap = window != 0 ? 2.0f : 0.0f};
    return s;
}

static void free_scene(scene *s)
{
    free(s->q);
    free(s->k);
    free(s->v);
    free(s->blocks);
}

static guarded run_attention(const slm_kernels *k, scene *s, uint32_t split)
{
    guarded g = guarded_take(s->n_out);
    uint8_t *scratch = (uint8_t *)take(SLM_MATMUL_SCRATCH + GUARD);
    memset(scratch, FILL, SLM_MATMUL_SCRATCH + GUARD);
    s->args.out = g.y;
    for (uint32_t h = 0; h < s->args.n_kv_heads; h++) {
        for (uint32_t t = 0; t < s->n_tokens; t += split) {
            k->attention(&s->args, h, t, t + split < s->n_tokens ? t + split : s->n_tokens,
                         scratch);
        }
    }
    for (size_t i = 0; i < GUARD; i++) {
        CHECK(scratch[SLM_MATMUL_SCRATCH + i] == FILL);
    }
    free(scratch);
    return g;
}

/* The softmax-weighted mean in f64, two passes, as any textbook has it. */
static void expect_textbook(const scene *s, const float *out)
{
    const slm_attention_args *a = &s->args;
    for (uint32_t t = 0; t < s->n_tokens; t++) {
        for (uint32_t h = 0; h < a->n_heads; h++) {
            double sum = 0.0, o[1024] = {0};
            float row[1024];
            uint32_t end = a->pos0 + t + 1, at = h / (a->n_heads / a->n_kv_heads);
            const float *q = a->q + t * a->q_stride + (size_t)h * a->head_dim;
            for (uint32_t p = a->window && end > a->window ? end - a->window : 0; p < end; p++) {
                size_t block = a->blocks[p / 32] * 32 * a->kv_row_bytes;
                double score = 0.0;
                slm_kv_load_key(a->kv_type, a->k + block, at, a->head_dim, p % 32, row);
                for (uint32_t d = 0; d < a->head_dim; d++) {
                    score += (double)q[d] * (double)row[d];
                }
                score *= (double)a->scale;
                if (a->softcap > 0.0f) {
                    score = (double)a->softcap * tanh(score / (double)a->softcap);
                }
                double w = exp(score);
                sum += w;
                slm_kv_load_value(a->kv_type, a->v + block, at, a->head_dim, p % 32, row);
                for (uint32_t d = 0; d < a->head_dim; d++) {
                    o[d] += w * (double)row[d];
                }
            }
            for (uint32_t d = 0; d < a->head_dim; d++) {
                double got = (double)out[t * a->q_stride + (size_t)h * a->head_dim + d];
                CHECK(fabs(got - o[d] / sum) < 2e-5);
            }
        }
    }
}

static void compare_attention(scene s)
{
    guarded want = run_attention(variants[0], &s, s.n_tokens);
    expect_textbook(&s, want.y);
    for (uint32_t v = 0; v < n_variants; v++) {
        for (uint32_t split = 1; split <= s.n_tokens; split = split * 3 + 1) {
            guarded got = run_attention(variants[v], &s, split);
            /* Padding behind the heads is nobody's to write. */
            expect_same(&got, &want, variants[v]->name, "attention");
            free(got.all);
        }
    }
    free(want.all);
    free_scene(&s);
}

static void attentions(void)
{
    for (uint32_t kv = 0; kv < 3; kv++) {
        compare_attention(make_scene(kv, 64, 4, 2, 0, 9, 0));
        compare_attention(make_scene(kv, 64, 9, 3, 61, 5, 0));
        compare_attention(make_scene(kv, 48, 6, 6, 30, 40, 0));
        compare_attention(make_scene(kv, 20, 2, 1, 95, 3, 0));
        compare_attention(make_scene(kv, 2, 3, 1, 31, 2, 0));
        compare_attention(make_scene(kv, 128, 4, 1, 70, 35, 17));
        compare_attention(make_scene(kv, 32, 2, 2, 100, 34, 33));
        compare_attention(make_scene(kv, 1024, 2, 1, 33, 4, 0));
    }
}

#include "bench.h"

#if defined(__x86_64__)
extern const slm_kernels check_kernels_evex;

static void add_variants_of_the_test(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni")) {
        variants[n_variants++] = &check_kernels_evex;
    }
}
#else
static void add_variants_of_the_test(void)
{
}
#endif

int main(int argc, char **argv)
{
    const slm_kernels *const *table;
    n_variants = slm_kernels_available(&table);
    memcpy(variants, table, n_variants * sizeof(table[0]));
    add_variants_of_the_test();
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[i + 1], NULL, 10);
        }
    }
    state = seed * 0x9E3779B97F4A7C15u | 1;
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        return bench(argc > 2 ? argv[2] : NULL);
    }
    printf("# seed %" PRIu64 "; variants:", seed);
    for (uint32_t v = 0; v < n_variants; v++) {
        printf(" %s", variants[v]->name);
    }
    printf("\n");
    RUN(ref_equals_the_formula_on_ggml_blocks);
    RUN(ref_is_near_the_exact_product);
    RUN(q8_0);
    RUN(q4_0);
    RUN(q4_k);
    RUN(q5_k);
    RUN(q6_k);
    RUN(float_weights);
    RUN(rms_norms);
    RUN(ropes);
    RUN(silu_muls);
    RUN(gelu_muls);
    RUN(softcaps);
    RUN(layer_norms);
    RUN(adds);
    RUN(attentions);
    return test_finish();
}
