/* bench_synthetic.c - shapes, types and random numbers -> a .slm file. */
#include "lib/bench_synthetic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "lib/quantize_plan.h"
#include "lib/slm_writer.h"
#include "quant/blocks.h"

/* ---- Shapes ---------------------------------------------------------------------------------- */

typedef struct shape {
    const char *name, *architecture;
    uint32_t n_vocab, n_context, d_model, n_layers, n_heads, n_kv_heads, head_dim, d_ff;
    float norm_eps, rope_theta;
    bool qkv_bias, llama3_rope;
} shape;

static const shape SHAPES[] = {
    {"smollm2-135m", "llama", 49152, 8192, 576, 30, 9, 3, 64, 1536, 1e-5f, 1e5f, false, false},
    {"qwen2.5-0.5b", "qwen2", 151936, 32768, 896, 24, 14, 2, 64, 4864, 1e-6f, 1e6f, true, false},
    {"llama-3.2-1b", "llama", 128256, 131072, 2048, 16, 32, 8, 64, 8192, 1e-5f, 5e5f, false, true},
    /* Not a published model: for tests, which cannot wait. */
    {"tiny", "llama", 512, 512, 96, 2, 3, 1, 32, 160, 1e-5f, 1e4f, false, false},
};

const char *synthetic_shapes(void)
{
    return "smollm2-135m, qwen2.5-0.5b, llama-3.2-1b, tiny";
}

static slm_config shape_config(const shape *s)
{
    slm_config c = slm_config_default();
    c.n_vocab = s->n_vocab;
    c.n_context = s->n_context;
    c.d_model = s->d_model;
    c.n_layers = s->n_layers;
    c.n_heads = s->n_heads;
    c.n_kv_heads = s->n_kv_heads;
    c.head_dim = s->head_dim;
    c.d_ff = s->d_ff;
    c.norm_eps = s->norm_eps;
    c.rope_theta = s->rope_theta;
    c.qkv_bias = s->qkv_bias;
    c.tied_output = 1;
    if (s->llama3_rope) {
        c.rope_scaling = SLM_ROPE_SCALING_LLAMA3;
        c.rope_factor = 32.0f;
        c.rope_low_freq_factor = 1.0f;
        c.rope_high_freq_factor = 4.0f;
        c.rope_original_context = 8192;
    }
    return c;
}

/* ---- Types ----------------------------------------------------------------------------------- */

static const slm_type PLAIN[] = {SLM_TYPE_F32, SLM_TYPE_F16, SLM_TYPE_BF16};

const char *synthetic_types(void)
{
    return "F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M";
}

/* The types of all tensors, as slm-quantize would choose them for an F16 model of this shape. */
static int plan_types(const slm_config *c, const char *type, slm_type *types, failure *f)
{
    uint32_t n = slm_config_n_tensors(c);
    slm_tensor_spec *specs = (slm_tensor_spec *)calloc(n, sizeof *specs);
    slm_tensor *tensors = (slm_tensor *)calloc(n, sizeof *tensors);
    tensor_plan *plan = (tensor_plan *)calloc(n, sizeof *plan);
    int code = specs && tensors && plan
                   ? EXIT_OK
                   : fail(f, EXIT_RESOURCE, "no memory for the plan of %u tensors", n);
    for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
        slm_config_tensor(c, i, &specs[i]);
        tensors[i] = (slm_tensor){.name = specs[i].name,
                                  .name_bytes = (uint32_t)strlen(specs[i].name),
                                  .type = specs[i].rank == 1 ? SLM_TYPE_F32 : SLM_TYPE_F16,
                                  .rank = specs[i].rank,
                                  .dims = {specs[i].dims[0], specs[i].dims[1], 1, 1}};
        tensors[i].dims[1] += tensors[i].dims[1] == 0;
        types[i] = tensors[i].type;
    }
    const quantize_mix *mix = quantize_mix_find(type);
    if (code == EXIT_OK && mix) {
        slm_file file = {.tensors = tensors, .n_tensors = n};
        code = quantize_plan_make("synthetic", &file, c, mix, plan, f);
    }
    for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
        for (size_t k = 0; k < sizeof PLAIN / sizeof PLAIN[0]; k++) {
            bool named = strcmp(type, slm_type_name(PLAIN[k])) == 0;
            types[i] = named && specs[i].rank == 2 ? PLAIN[k] : types[i];
        }
        types[i] = mix ? plan[i].to : types[i];
    }
    free(specs);
    free(tensors);
    free(plan);
    return code;
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state) /* xorshift64 */
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Nearly Gaussian with deviation 1: the sum of twelve uniform numbers, less their mean. */
static float next_normal(uint64_t *state)
{
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        uint64_t r = next_random(state);
        sum += (r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48);
    }
    return (float)sum / 65536.0f - 6.0f;
}

/* ---- Weights --------------------------------------------------------------------------------- */

enum { POOL_GROUPS = 16, MAX_POOLS = 32 };

/* Row groups of one type and width. */
typedef struct pool {
    slm_type type;
    uint32_t n_cols;
    uint64_t group_bytes;
    uint8_t *groups;
} pool;

typedef struct synthesis {
    slm_writer *writer;
    uint64_t random;
    pool pools[MAX_POOLS];
    uint32_t n_pools;
    float *rows; /* of one group */
    failure *f;
} synthesis;

/* y = W x keeps the size of x when the weights have deviation 1 / sqrt(columns). */
static void fill_rows(synthesis *s, uint32_t n_cols, size_t ld)
{
    float scale = 1.0f / sqrtf((float)n_cols);
    memset(s->rows, 0, SLM_GROUP_ROWS * ld * sizeof(float));
    for (uint32_t r = 0; r < SLM_GROUP_ROWS; r++) {
        for (uint32_t i = 0; i < n_cols; i++) {
            s->rows[r * ld + i] = next_normal(&s->random) * scale;
        }
    }
}

static void store_plain(slm_type type, const float *rows, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        if (type == SLM_TYPE_F32) {
            memcpy(out + 4 * i, &rows[i], 4);
        } else {
            uint16_t half = type == SLM_TYPE_F16 ? half_from_f32(rows[i]) : bf16_from_f32(rows[i]);
            memcpy(out + 2 * i, &half, 2);
        }
    }
}

static const pool *find_pool(synthesis *s, slm_type type, uint32_t n_cols)
{
    for (uint32_t i = 0; i < s->n_pools; i++) {
        if (s->pools[i].type == type && s->pools[i].n_cols == n_cols) {
            return &s->pools[i];
        }
    }
    if (s->n_pools == MAX_POOLS) {
        return NULL;
    }
    pool *p = &s->pools[s->n_pools];
    size_t ld = ((size_t)n_cols + 15) / 16 * 16;
    p->type = type;
    p->n_cols = n_cols;
    p->group_bytes = slm_type_is_block(type) ? slm_t16_group_bytes(type, n_cols)
                                             : SLM_GROUP_ROWS * slm_row_bytes(type, n_cols);
    p->groups = (uint8_t *)aligned_alloc(64, POOL_GROUPS * (size_t)p->group_bytes);
    float *rows = (float *)realloc(s->rows, SLM_GROUP_ROWS * ld * sizeof(float));
    s->rows = rows ? rows : s->rows;
    if (!p->groups || !rows) {
        free(p->groups);
        return NULL;
    }
    s->n_pools++;
    for (uint32_t i = 0; i < POOL_GROUPS; i++) {
        uint8_t *group = p->groups + i * p->group_bytes;
        fill_rows(s, n_cols, ld);
        if (slm_type_is_block(type)) {
            slm_quantize_group(type, s->rows, ld, SLM_GROUP_ROWS, n_cols, group);
        } else {
            store_plain(type, s->rows, SLM_GROUP_ROWS * ld, group);
        }
    }
    return p;
}

static int write_matrix(synthesis *s, const slm_tensor_spec *spec, slm_type type)
{
    const pool *p = find_pool(s, type, (uint32_t)spec->dims[1]);
    if (!p) {
        return fail(s->f, EXIT_RESOURCE, "no memory for rows of tensor '%s'", spec->name);
    }
    uint64_t row = p->group_bytes / SLM_GROUP_ROWS, n_rows = spec->dims[0];
    int code = EXIT_OK;
    for (uint64_t r = 0; r < n_rows && code == EXIT_OK; r += SLM_GROUP_ROWS) {
        uint64_t n = p->group_bytes;
        if (!slm_type_is_block(type) && n_rows - r < SLM_GROUP_ROWS) {
            n = (n_rows - r) * row;
        }
        uint64_t pick = next_random(&s->random) >> 32 & (POOL_GROUPS - 1);
        code = slm_writer_data(s->writer, p->groups + pick * p->group_bytes, n, s->f);
    }
    return code;
}

/* Weights of norms around 1, biases around 0. */
static int write_vector(synthesis *s, const slm_tensor_spec *spec)
{
    bool is_bias = strstr(spec->name, ".bias") != NULL;
    int code = EXIT_OK;
    for (uint64_t i = 0; i < spec->dims[0] && code == EXIT_OK; i++) {
        float value = (is_bias ? 0.0f : 1.0f) + 0.1f * next_normal(&s->random);
        code = slm_writer_data(s->writer, &value, sizeof value, s->f);
    }
    return code;
}

static int write_all(synthesis *s, const slm_config *c, const slm_type *types, uint64_t *n_bytes)
{
    slm_tensor_spec spec;
    uint32_t n = slm_config_n_tensors(c);
    int code = EXIT_OK;
    for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
        slm_config_tensor(c, i, &spec);
        code = slm_writer_tensor(s->writer, spec.name, types[i], spec.rank, spec.dims, s->f);
    }
    code = code ? code : slm_writer_begin(s->writer, n_bytes, s->f);
    for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
        slm_config_tensor(c, i, &spec);
        code = spec.rank == 1 ? write_vector(s, &spec) : write_matrix(s, &spec, types[i]);
    }
    return code ? code : slm_writer_finish(s->writer, s->f);
}

static int check_type(const char *type, failure *f)
{
    for (size_t i = 0; i < sizeof PLAIN / sizeof PLAIN[0]; i++) {
        if (strcmp(type, slm_type_name(PLAIN[i])) == 0) {
            return EXIT_OK;
        }
    }
    return quantize_mix_find(type)
               ? EXIT_OK
               : fail(f, EXIT_USAGE, "--type: '%s' is not one of %s", type, synthetic_types());
}

int synthetic_write(const char *name, const char *type, output *out, uint64_t *n_bytes, failure *f)
{
    const shape *found = NULL;
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++) {
        found = strcmp(name, SHAPES[i].name) == 0 ? &SHAPES[i] : found;
    }
    if (!found) {
        return fail(f, EXIT_USAGE, "--synthetic: '%s' is not one of %s", name, synthetic_shapes());
    }
    slm_config config = shape_config(found);
    synthesis s = {.random = 0x9e3779b97f4a7c15u, .f = f};
    slm_type *types = (slm_type *)calloc(slm_config_n_tensors(&config), sizeof *types);
    int code = check_type(type, f);
    if (code == EXIT_OK && !types) {
        code = fail(f, EXIT_RESOURCE, "no memory for the plan of a synthetic model");
    }
    code = code ? code : plan_types(&config, type, types, f);
    code = code ? code : slm_writer_create(out, found->architecture, &config, &s.writer, f);
    code = code ? code : write_all(&s, &config, types, n_bytes);
    for (uint32_t i = 0; i < s.n_pools; i++) {
        free(s.pools[i].groups);
    }
    slm_writer_destroy(&s.writer);
    free(s.rows);
    free(types);
    return code;
}
