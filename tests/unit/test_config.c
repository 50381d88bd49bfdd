/* The CONF section: ranges, malformed fields, the list of tensors. */
#include "format/config.h"

#include "base/bytes.h"
#include "base/half.h"
#include "lib/check.h"

static slm_config small(void)
{
    slm_config c = slm_config_default();
    c.n_vocab = 100;
    c.n_context = 64;
    c.d_model = 32;
    c.n_layers = 2;
    c.n_heads = 4;
    c.n_kv_heads = 2;
    c.head_dim = 8;
    c.d_ff = 96;
    c.norm_eps = 1e-6f;
    c.rope_theta = 1e4f;
    return c;
}

static slm_status reread(const slm_config *c, slm_config *out, slm_error *error)
{
    uint8_t bytes[SLM_CONFIG_MAX_BYTES];
    size_t n = slm_config_write(c, bytes, sizeof bytes);
    return slm_config_read(out, bytes, n, error);
}

static void survives_a_round_trip(void)
{
    slm_config c = small(), back;
    slm_error error;
    CHECK_U64(reread(&c, &back, &error), SLM_OK);
    CHECK(memcmp(&c, &back, sizeof c) == 0);
    c.rope_scaling = SLM_ROPE_SCALING_LLAMA3;
    c.rope_factor = 32;
    c.rope_original_context = 8192;
    c.qkv_bias = c.qk_norm = c.tied_output = 1;
    c.bos_id = 0;
    for (int i = 0; i < SLM_MAX_STOP_IDS; i++) {
        c.stop_ids[i] = 99 - i;
    }
    c.n_stop_ids = SLM_MAX_STOP_IDS;
    c.temperature = 0.6f;
    c.top_p = 0.9f;
    c.min_p = 0.05f;
    c.top_k = 20;
    c.norm_kind = SLM_NORM_LAYER;
    c.post_norm = c.output_bias = c.ffn_bias = c.learned_positions = 1;
    c.activation = SLM_ACTIVATION_GELU_TANH;
    c.gated = 0;
    c.rope_dim = 2;
    c.window = 17;
    c.rope_local_theta = 1e4f;
    c.embedding_scale = 16;
    c.residual_scale = 0.22f;
    c.attention_scale = 0.0625f;
    c.logit_scale = 0.125f;
    c.attention_softcap = 50;
    c.logit_softcap = 30;
    c.n_layer_flags = c.n_layers;
    c.layer_flags[1] = SLM_LAYER_ALL_FLAGS;
    CHECK_U64(reread(&c, &back, &error), SLM_OK);
    CHECK(memcmp(&c, &back, sizeof c) == 0);
    c.rope_dim = 0;
    c.rope_scaling = SLM_ROPE_SCALING_DIVISORS;
    c.n_rope_divisors = 4;
    for (int i = 0; i < 4; i++) {
        c.rope_divisors[i] = 1 + 0.25f * (float)i;
    }
    c.rope_magnitude = 1.25f;
    CHECK_U64(reread(&c, &back, &error), SLM_OK);
    CHECK(memcmp(&c, &back, sizeof c) == 0);
    uint8_t bytes[16] = {7};
    CHECK(slm_config_write(&c, bytes, sizeof bytes) > sizeof bytes);
    CHECK(bytes[0] == 7); /* nothing was written */
}

/* The bytes as schemas/slm-format.md gives them. */
static void has_the_documented_bytes(void)
{
    slm_config c = small();
    uint8_t bytes[SLM_CONFIG_MAX_BYTES];
    size_t n = slm_config_write(&c, bytes, sizeof bytes);
    CHECK_U64(n, 120); /* ten fields of 12 bytes: all others are at their defaults */
    static const uint8_t first[12] = {1, 0, 1, 0, 1, 0, 0, 0, 100, 0, 0, 0};
    CHECK(memcmp(bytes, first, 12) == 0);
    CHECK_U64(load_u16(bytes + 108), 16);
    CHECK_U64(load_u16(bytes + 110), 3);
    CHECK_U64(load_u32(bytes + 116), 0x461c4000);
}

/* ---- Ranges ---------------------------------------------------------------------------------- */

typedef void (*spoil)(slm_config *c);
#define SPOIL(name, statement)                                                                     \
    static void name(slm_config *c)                                                                \
    {                                                                                              \
        statement;                                                                                 \
    }
SPOIL(no_vocab, c->n_vocab = 0)
SPOIL(big_vocab, c->n_vocab = (1 << 24) + 1)
SPOIL(no_context, c->n_context = 0)
SPOIL(no_layers, c->n_layers = 0)
SPOIL(many_layers, c->n_layers = 1025)
SPOIL(no_heads, c->n_heads = 0)
SPOIL(no_kv_heads, c->n_kv_heads = 0)
SPOIL(odd_groups, c->n_kv_heads = 3)
SPOIL(more_kv_heads, c->n_kv_heads = 8)
SPOIL(odd_head, c->head_dim = 7)
SPOIL(no_head, c->head_dim = 0)
SPOIL(wide, (c->n_heads = 2048, c->head_dim = 1024))
SPOIL(no_ff, c->d_ff = 0)
SPOIL(no_model, c->d_model = 0)
SPOIL(big_model, c->d_model = UINT32_MAX)
SPOIL(zero_eps, c->norm_eps = 0)
SPOIL(negative_eps, c->norm_eps = -1e-5f)
SPOIL(nan_eps, c->norm_eps = f32_from_bits(0x7fc00000))
SPOIL(infinite_theta, c->rope_theta = f32_from_bits(0x7f800000))
SPOIL(zero_theta, c->rope_theta = 0)
SPOIL(unknown_scaling, c->rope_scaling = 4)
SPOIL(zero_factor, c->rope_factor = 0)
SPOIL(llama3_without_context, c->rope_scaling = SLM_ROPE_SCALING_LLAMA3)
SPOIL(llama3_factors, (c->rope_scaling = SLM_ROPE_SCALING_LLAMA3, c->rope_original_context = 8192,
                       c->rope_low_freq_factor = 4))
SPOIL(no_divisors, c->rope_scaling = SLM_ROPE_SCALING_DIVISORS)
SPOIL(divisors_short, (c->rope_scaling = SLM_ROPE_SCALING_DIVISORS, c->n_rope_divisors = 3,
                       c->rope_divisors[0] = c->rope_divisors[1] = c->rope_divisors[2] = 1))
SPOIL(divisor_zero, (c->rope_scaling = SLM_ROPE_SCALING_DIVISORS, c->n_rope_divisors = 4))
SPOIL(divisors_unused, (c->n_rope_divisors = 1, c->rope_divisors[0] = 1))
SPOIL(many_divisors, c->n_rope_divisors = SLM_MAX_ROPE_PAIRS + 1)
SPOIL(magnitude_unused, c->rope_magnitude = 2)
SPOIL(magnitude_nan, c->rope_magnitude = f32_from_bits(0x7fc00000))
SPOIL(two_biases, c->qkv_bias = 2)
SPOIL(unknown_qk_norm, c->qk_norm = 3)
SPOIL(two_ties, c->tied_output = 2)
SPOIL(unknown_norm, c->norm_kind = 2)
SPOIL(no_norm, c->pre_norm = 0)
SPOIL(unknown_activation, c->activation = 2)
SPOIL(silu_without_gate, c->gated = 0)
SPOIL(odd_rope_dim, c->rope_dim = 3)
SPOIL(wide_rope_dim, c->rope_dim = 10)
SPOIL(zero_scale, c->residual_scale = 0)
SPOIL(nan_cap, c->logit_softcap = f32_from_bits(0x7fc00000))
SPOIL(flags_for_one, (c->n_layer_flags = 1, c->layer_flags[0] = SLM_LAYER_NO_ROPE))
SPOIL(unknown_flag, (c->n_layer_flags = 2, c->layer_flags[1] = 8))
SPOIL(no_window, (c->n_layer_flags = 2, c->layer_flags[1] = SLM_LAYER_WINDOW))
SPOIL(no_local_theta, (c->n_layer_flags = 2, c->layer_flags[0] = SLM_LAYER_LOCAL_ROPE))
SPOIL(bos_at_vocab, c->bos_id = 100)
SPOIL(bos_negative, c->bos_id = -2)
SPOIL(stop_at_vocab, (c->n_stop_ids = 1, c->stop_ids[0] = 100))
SPOIL(stop_negative, (c->n_stop_ids = 1, c->stop_ids[0] = -1))
SPOIL(stop_twice, (c->n_stop_ids = 2, c->stop_ids[0] = c->stop_ids[1] = 5))
SPOIL(nine_stops, c->n_stop_ids = 9)
SPOIL(temperature_half, c->temperature = -0.5f)
SPOIL(temperature_nan, c->temperature = f32_from_bits(0xffc00000))
SPOIL(top_p_above, c->top_p = 1.5f)
SPOIL(min_p_below, c->min_p = -0.1f)

static const struct {
    spoil spoil;
    const char *name; /* in the message */
} RANGES[] = {{no_vocab, "n_vocab"},
              {big_vocab, "n_vocab"},
              {no_context, "n_context"},
              {no_layers, "n_layers"},
              {many_layers, "n_layers"},
              {no_heads, "n_heads"},
              {no_kv_heads, "n_kv_heads"},
              {odd_groups, "n_kv_heads"},
              {more_kv_heads, "n_kv_heads"},
              {odd_head, "head_dim"},
              {no_head, "head_dim"},
              {wide, "head_dim"},
              {no_ff, "d_ff"},
              {no_model, "d_model"},
              {big_model, "d_model"},
              {zero_eps, "norm_eps"},
              {negative_eps, "norm_eps"},
              {nan_eps, "norm_eps"},
              {infinite_theta, "rope_theta"},
              {zero_theta, "rope_theta"},
              {unknown_scaling, "rope_scaling"},
              {zero_factor, "rope_factor"},
              {llama3_without_context, "rope_original_context"},
              {llama3_factors, "rope_high_freq_factor"},
              {no_divisors, "rope_divisors"},
              {divisors_short, "rope_divisors"},
              {divisor_zero, "rope_divisors"},
              {divisors_unused, "rope_divisors"},
              {many_divisors, "rope_divisors"},
              {magnitude_unused, "rope_magnitude"},
              {magnitude_nan, "rope_magnitude"},
              {two_biases, "qkv_bias"},
              {unknown_qk_norm, "qk_norm"},
              {two_ties, "tied_output"},
              {unknown_norm, "norm_kind"},
              {no_norm, "a norm"},
              {unknown_activation, "activation"},
              {silu_without_gate, "gate"},
              {odd_rope_dim, "rope_dim"},
              {wide_rope_dim, "rope_dim"},
              {zero_scale, "residual_scale"},
              {nan_cap, "logit_softcap"},
              {flags_for_one, "layer_flags"},
              {unknown_flag, "layer_flags"},
              {no_window, "window"},
              {no_local_theta, "rope_local_theta"},
              {bos_at_vocab, "bos_id"},
              {bos_negative, "bos_id"},
              {stop_at_vocab, "stop id"},
              {stop_negative, "stop_ids"},
              {stop_twice, "stop_ids"},
              {nine_stops, "stop_ids"},
              {temperature_half, "temperature"},
              {temperature_nan, "temperature"},
              {top_p_above, "top_p"},
              {min_p_below, "min_p"}};

static void ranges(void) /* SL18 */
{
    for (size_t i = 0; i < sizeof RANGES / sizeof RANGES[0]; i++) {
        slm_config c = small(), untouched = small();
        slm_error error = {0};
        RANGES[i].spoil(&c);
        CHECK_STRING(slm_status_name(slm_config_check(&c, &error)), "SLM_ERR_CONFIG");
        if (!strstr(error.text, RANGES[i].name)) {
            printf("# case %zu: %s\n", i, error.text);
            CHECK(false);
        }
        if (c.n_stop_ids <= SLM_MAX_STOP_IDS && c.n_rope_divisors <= SLM_MAX_ROPE_PAIRS) {
            CHECK_U64(reread(&c, &untouched, &error), SLM_ERR_CONFIG);
            CHECK(untouched.n_vocab == 100); /* written on success alone */
        }
    }
}

/* ---- Malformed payloads ---------------------------------------------------------------------- */

static size_t with_field(uint8_t *bytes, uint16_t key, uint16_t type, uint32_t count)
{
    slm_config c = small();
    size_t n = slm_config_write(&c, bytes, 1024);
    store_u16(bytes + n, key);
    store_u16(bytes + n + 2, type);
    store_u32(bytes + n + 4, count);
    store_u32(bytes + n + 8, 1);
    return n + 12;
}

static void fields(void)
{
    uint8_t bytes[1100] = {0};
    slm_config c;
    slm_error error;
    static const struct {
        uint16_t key, type;
        uint32_t count;
        slm_status want;
    } cases[] = {
        {43, 1, 1, SLM_OK},         /* top_k */
        {43, 3, 1, SLM_ERR_CONFIG}, /* of the wrong type */
        {43, 0, 1, SLM_ERR_CONFIG},
        {43, 1, 0, SLM_ERR_CONFIG},
        {43, 1, 2, SLM_ERR_CONFIG}, /* past the end */
        {43, 1, UINT32_MAX, SLM_ERR_CONFIG},
        {43, 1, 1u << 30, SLM_ERR_CONFIG},
        {16, 3, 1, SLM_ERR_CONFIG}, /* repeats rope_theta */
        {3, 1, 1, SLM_ERR_CONFIG},  /* descends */
        {0, 1, 1, SLM_ERR_CONFIG},
        {44, 1, 1, SLM_ERR_CONFIG}, /* unknown */
        {0x7fff, 1, 1, SLM_ERR_CONFIG},
        {0x8000, 1, 1, SLM_OK}, /* skippable */
        {0xffff, 9, 1, SLM_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = with_field(bytes, cases[i].key, cases[i].type, cases[i].count);
        slm_status got = slm_config_read(&c, bytes, n, &error);
        if (got != cases[i].want) {
            printf("# case %zu: %s\n", i, error.text);
        }
        CHECK_U64(got, cases[i].want);
    }
    size_t n = with_field(bytes, 43, 1, 1);
    for (size_t cut = 0; cut < n; cut++) { /* whole fields cut off: one is missing or all is well */
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, bytes, cut);
        CHECK(slm_config_read(&c, exact, cut, &error) == (cut == n - 12 ? SLM_OK : SLM_ERR_CONFIG));
        free(exact);
    }
}

/* ---- Tensors --------------------------------------------------------------------------------- */

static void expect(const slm_config *c, uint32_t i, const char *name, uint64_t rows, uint64_t cols)
{
    slm_tensor_spec spec;
    slm_config_tensor(c, i, &spec);
    CHECK_STRING(spec.name, name);
    CHECK_U64(spec.rank, cols ? 2 : 1);
    CHECK_U64(spec.dims[0], rows);
    CHECK_U64(spec.dims[1], cols ? cols : 1);
}

static void lists_tensors(void)
{
    slm_config c = small();
    CHECK_U64(slm_config_n_tensors(&c), 2 * 9 + 3);
    expect(&c, 0, "token_embd.weight", 100, 32);
    expect(&c, 1, "blk.0.attn_norm.weight", 32, 0);
    expect(&c, 2, "blk.0.attn_q.weight", 32, 32);
    expect(&c, 3, "blk.0.attn_k.weight", 16, 32);
    expect(&c, 9, "blk.0.ffn_down.weight", 32, 96);
    expect(&c, 10, "blk.1.attn_norm.weight", 32, 0);
    expect(&c, 19, "output_norm.weight", 32, 0);
    expect(&c, 20, "output.weight", 100, 32);
    c.qkv_bias = c.qk_norm = c.tied_output = 1;
    c.n_layers = 1024;
    CHECK_U64(slm_config_n_tensors(&c), 1024 * 14 + 2);
    expect(&c, 3, "blk.0.attn_q.bias", 32, 0);
    expect(&c, 8, "blk.0.attn_q_norm.weight", 8, 0);
    expect(&c, 9, "blk.0.attn_k_norm.weight", 8, 0);
    expect(&c, 1024 * 14, "blk.1023.ffn_down.weight", 32, 96);
    expect(&c, 1024 * 14 + 1, "output_norm.weight", 32, 0);
}

/* GPT-2's layers: LayerNorm, biases everywhere, no gate, learned positions. */
static void lists_tensors_with_biases(void)
{
    slm_config c = small();
    c.norm_kind = SLM_NORM_LAYER;
    c.qkv_bias = c.output_bias = c.ffn_bias = c.learned_positions = c.tied_output = 1;
    c.gated = 0;
    c.activation = SLM_ACTIVATION_GELU_TANH;
    CHECK_U64(slm_config_n_tensors(&c), 2 + 2 * 16 + 2);
    expect(&c, 1, "position_embd.weight", c.n_context, 32);
    expect(&c, 3, "blk.0.attn_norm.bias", 32, 0);
    expect(&c, 9, "blk.0.attn_v.bias", 16, 0);
    expect(&c, 11, "blk.0.attn_output.bias", 32, 0);
    expect(&c, 14, "blk.0.ffn_up.weight", 96, 32);
    expect(&c, 15, "blk.0.ffn_up.bias", 96, 0);
    expect(&c, 17, "blk.0.ffn_down.bias", 32, 0);
    expect(&c, 18, "blk.1.attn_norm.weight", 32, 0);
    expect(&c, 35, "output_norm.bias", 32, 0);
}

/* OLMo 2's: norms after the blocks alone, and over whole rows of q and k. */
static void lists_tensors_with_post_norms(void)
{
    slm_config c = small();
    c.pre_norm = 0;
    c.post_norm = 1;
    c.qk_norm = SLM_QK_NORM_ROW;
    CHECK_U64(slm_config_n_tensors(&c), 1 + 2 * 11 + 2);
    expect(&c, 1, "blk.0.attn_q.weight", 32, 32);
    expect(&c, 4, "blk.0.attn_q_norm.weight", 32, 0);
    expect(&c, 5, "blk.0.attn_k_norm.weight", 16, 0);
    expect(&c, 7, "blk.0.attn_post_norm.weight", 32, 0);
    expect(&c, 11, "blk.0.ffn_post_norm.weight", 32, 0);
}

/* A file that holds exactly the tensors of a configuration, then one thing changed. */
static slm_tensor tensors[64];
static char names[64][64];
static uint32_t by_name[64];
static slm_file file;

static int compare(const void *a, const void *b)
{
    return strcmp(names[*(const uint32_t *)a], names[*(const uint32_t *)b]);
}

static void index_file(void)
{
    for (uint32_t i = 0; i < file.n_tensors; i++) {
        tensors[i].name = names[i];
        tensors[i].name_bytes = (uint32_t)strlen(names[i]);
        by_name[i] = i;
    }
    qsort(by_name, file.n_tensors, sizeof by_name[0], compare);
}

static void fill_file(const slm_config *c)
{
    memset(&file, 0, sizeof file);
    strcpy(file.architecture, "qwen3");
    file.n_tensors = slm_config_n_tensors(c);
    file.tensors = tensors;
    file.by_name = by_name;
    for (uint32_t i = 0; i < file.n_tensors; i++) {
        slm_tensor_spec spec;
        slm_config_tensor(c, i, &spec);
        strcpy(names[i], spec.name);
        tensors[i] = (slm_tensor){.type = spec.rank == 1 ? SLM_TYPE_F32 : SLM_TYPE_BF16,
                                  .rank = spec.rank,
                                  .dims = {spec.dims[0], spec.dims[1], 1, 1}};
    }
    index_file();
}

static void compare_file(const slm_config *c, slm_status want, const char *name)
{
    slm_error error = {0};
    index_file();
    CHECK_STRING(slm_status_name(slm_config_check_tensors(c, &file, &error)),
                 slm_status_name(want));
    if (!strstr(error.text, name)) {
        printf("# \"%s\" lacks \"%s\"\n", error.text, name);
        CHECK(false);
    }
}

static void compares_files(void) /* SL18, SL19, SL22 */
{
    slm_config c = small(), tied = small();
    tied.tied_output = 1;
    fill_file(&c);
    compare_file(&c, SLM_OK, "");
    compare_file(&tied, SLM_ERR_TENSOR_EXTRA, "'output.weight'");
    fill_file(&tied);
    compare_file(&c, SLM_ERR_TENSOR_MISSING, "'output.weight'");
    fill_file(&c);
    strcpy(file.architecture, "qwen4");
    compare_file(&c, SLM_ERR_ARCHITECTURE, "qwen4");
    fill_file(&c);
    tensors[20].dims[0] = 99; /* output rows are not the vocabulary */
    compare_file(&c, SLM_ERR_TENSOR_SHAPE, "output.weight");
    fill_file(&c);
    tensors[1].type = SLM_TYPE_F16;
    compare_file(&c, SLM_ERR_TENSOR_TYPE, "blk.0.attn_norm.weight");
    fill_file(&c);
    strcpy(names[5], "blk.0.attn_w.weight");
    compare_file(&c, SLM_ERR_TENSOR_MISSING, "blk.0.attn_output.weight");
    static const char *const extras[] = {"blk.2.attn_q.weight",
                                         "blk.00.attn_q.weight",
                                         "blk..attn_q.weight",
                                         "blk.99999999999.attn_q.weight",
                                         "blk.1.attn_q.weights",
                                         "blk.1.attn_q.bias",
                                         "z"};
    for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
        fill_file(&c);
        strcpy(names[file.n_tensors], extras[i]);
        tensors[file.n_tensors++] = (slm_tensor){.rank = 1, .dims = {1, 1, 1, 1}};
        compare_file(&c, SLM_ERR_TENSOR_EXTRA, extras[i]);
    }
    fill_file(&c);
    strcpy(names[2], "blk.1.attn_q.weight");
    strcpy(names[11], "blk.0.attn_q.weight");
    compare_file(&c, SLM_ERR_LAYOUT, "order");
}

int main(void)
{
    RUN(survives_a_round_trip);
    RUN(has_the_documented_bytes);
    RUN(ranges);
    RUN(fields);
    RUN(lists_tensors);
    RUN(lists_tensors_with_biases);
    RUN(lists_tensors_with_post_norms);
    RUN(compares_files);
    return test_finish();
}
