/* config.c - the CONF section <-> slm_config, by one table of fields; ranges; and the list of
 * tensors that a configuration calls for.
 */
#include "format/config.h"

#include "base/bytes.h"
#include "base/half.h"
#include "base/status.h"

typedef enum field_type { FIELD_U32 = 1, FIELD_I32 = 2, FIELD_F32 = 3 } field_type;

typedef struct field {
    uint16_t key, type;
    bool required;
    uint16_t offset; /* in slm_config */
    float min, max;  /* inclusive */
    const char *name;
} field;

#define AT(member) (uint16_t) offsetof(slm_config, member)

/* Keys are pinned and ascend. Limits keep every product of two shapes far from overflow; they are
 * wide of any model that fits this runtime. */
enum {
    KEY_ROPE_DIVISORS = 22,
    KEY_STOP_IDS = 33,
    KEY_LAYER_FLAGS = 80,
    KEY_SKIPPABLE = 0x8000,
    MAX_WIDTH = 1 << 20
};
static const field FIELDS[] = {
    {1, FIELD_U32, true, AT(n_vocab), 1, 1 << 24, NAMED("n_vocab")},
    {2, FIELD_U32, true, AT(n_context), 1, 1 << 24, NAMED("n_context")},
    {3, FIELD_U32, true, AT(d_model), 1, MAX_WIDTH, NAMED("d_model")},
    {4, FIELD_U32, true, AT(n_layers), 1, SLM_MAX_LAYERS, NAMED("n_layers")},
    {5, FIELD_U32, true, AT(n_heads), 1, 4096, NAMED("n_heads")},
    {6, FIELD_U32, true, AT(n_kv_heads), 1, 4096, NAMED("n_kv_heads")},
    {7, FIELD_U32, true, AT(head_dim), 2, 1024, NAMED("head_dim")},
    {8, FIELD_U32, true, AT(d_ff), 1, MAX_WIDTH, NAMED("d_ff")},
    {9, FIELD_F32, true, AT(norm_eps), 1e-20f, 1, NAMED("norm_eps")},
    {16, FIELD_F32, true, AT(rope_theta), 1, 1e12f, NAMED("rope_theta")},
    {17, FIELD_U32, false, AT(rope_scaling), 0, SLM_ROPE_SCALING_DIVISORS, NAMED("rope_scaling")},
    {18, FIELD_F32, false, AT(rope_factor), 1e-3f, 1e6f, NAMED("rope_factor")},
    {19, FIELD_F32, false, AT(rope_low_freq_factor), 1e-3f, 1e6f, NAMED("rope_low_freq_factor")},
    {20, FIELD_F32, false, AT(rope_high_freq_factor), 1e-3f, 1e6f, NAMED("rope_high_freq_factor")},
    {21, FIELD_U32, false, AT(rope_original_context), 0, 1 << 24, NAMED("rope_original_context")},
    {KEY_ROPE_DIVISORS, FIELD_F32, false, AT(rope_divisors), 1e-3f, 1e6f, NAMED("rope_divisors")},
    {23, FIELD_F32, false, AT(rope_magnitude), 1e-3f, 1e3f, NAMED("rope_magnitude")},
    {24, FIELD_U32, false, AT(qkv_bias), 0, 1, NAMED("qkv_bias")},
    {25, FIELD_U32, false, AT(qk_norm), 0, SLM_QK_NORM_ROW, NAMED("qk_norm")},
    {26, FIELD_U32, false, AT(tied_output), 0, 1, NAMED("tied_output")},
    {32, FIELD_I32, false, AT(bos_id), -1, (1 << 24) - 1, NAMED("bos_id")},
    {KEY_STOP_IDS, FIELD_I32, false, AT(stop_ids), 0, (1 << 24) - 1, NAMED("stop_ids")},
    {40, FIELD_F32, false, AT(temperature), -1, 100, NAMED("temperature")},
    {41, FIELD_F32, false, AT(top_p), 0, 1, NAMED("top_p")},
    {42, FIELD_F32, false, AT(min_p), 0, 1, NAMED("min_p")},
    {43, FIELD_U32, false, AT(top_k), 0, 1 << 24, NAMED("top_k")},
    {48, FIELD_U32, false, AT(norm_kind), 0, SLM_NORM_LAYER, NAMED("norm_kind")},
    {49, FIELD_U32, false, AT(pre_norm), 0, 1, NAMED("pre_norm")},
    {50, FIELD_U32, false, AT(post_norm), 0, 1, NAMED("post_norm")},
    {51, FIELD_U32, false, AT(output_bias), 0, 1, NAMED("output_bias")},
    {52, FIELD_U32, false, AT(ffn_bias), 0, 1, NAMED("ffn_bias")},
    {53, FIELD_U32, false, AT(activation), 0, SLM_ACTIVATION_GELU_TANH, NAMED("activation")},
    {54, FIELD_U32, false, AT(gated), 0, 1, NAMED("gated")},
    {55, FIELD_U32, false, AT(rope_dim), 0, 1024, NAMED("rope_dim")},
    {56, FIELD_U32, false, AT(learned_positions), 0, 1, NAMED("learned_positions")},
    {57, FIELD_U32, false, AT(window), 0, 1 << 24, NAMED("window")},
    {64, FIELD_F32, false, AT(rope_local_theta), 0, 1e12f, NAMED("rope_local_theta")},
    {65, FIELD_F32, false, AT(embedding_scale), 1e-6f, 1e6f, NAMED("embedding_scale")},
    {66, FIELD_F32, false, AT(residual_scale), 1e-6f, 1e6f, NAMED("residual_scale")},
    {67, FIELD_F32, false, AT(attention_scale), 0, 1e6f, NAMED("attention_scale")},
    {68, FIELD_F32, false, AT(logit_scale), 1e-6f, 1e6f, NAMED("logit_scale")},
    {69, FIELD_F32, false, AT(attention_softcap), 0, 1e6f, NAMED("attention_softcap")},
    {70, FIELD_F32, false, AT(logit_softcap), 0, 1e6f, NAMED("logit_softcap")},
    {KEY_LAYER_FLAGS, FIELD_U32, false, AT(layer_flags), 0, SLM_LAYER_ALL_FLAGS,
     NAMED("layer_flags")},
};
enum { N_FIELDS = sizeof FIELDS / sizeof FIELDS[0] };

slm_config slm_config_default(void)
{
    slm_config c;
    memset(&c, 0, sizeof c);
    c.rope_factor = 1;
    c.rope_low_freq_factor = 1;
    c.rope_high_freq_factor = 4;
    c.rope_magnitude = 1;
    c.bos_id = -1;
    c.temperature = -1;
    c.pre_norm = 1;
    c.gated = 1;
    c.embedding_scale = 1;
    c.residual_scale = 1;
    c.logit_scale = 1;
    c.top_p = 1;
    return c;
}

/* ---- Ranges ---------------------------------------------------------------------------------- */

static bool in_range(const field *f, uint32_t word)
{
    if (f->type == FIELD_F32) {
        float number = f32_from_bits(word);
        return f32_is_finite(number) && number >= f->min && number <= f->max;
    }
    double value = word; /* holds every word; the limits are whole numbers up to 2^24 */
    if (f->type == FIELD_I32) {
        int32_t number;
        memcpy(&number, &word, 4);
        value = number;
    }
    return value >= (double)f->min && value <= (double)f->max;
}

static uint32_t value_of(const slm_config *c, const field *f, uint32_t index)
{
    uint32_t word;
    memcpy(&word, (const uint8_t *)c + f->offset + 4 * (size_t)index, 4);
    return word;
}

/* Where the number of values of a list stands, or NULL. */
static const uint32_t *list_count(const slm_config *c, const field *f)
{
    switch (f->key) {
    case KEY_ROPE_DIVISORS: return &c->n_rope_divisors;
    case KEY_STOP_IDS: return &c->n_stop_ids;
    case KEY_LAYER_FLAGS: return &c->n_layer_flags;
    default: return NULL;
    }
}

static bool is_list(const field *f)
{
    return f->key == KEY_ROPE_DIVISORS || f->key == KEY_STOP_IDS || f->key == KEY_LAYER_FLAGS;
}

static uint32_t count_of(const slm_config *c, const field *f)
{
    const uint32_t *count = list_count(c, f);
    return count ? *count : 1;
}

static uint32_t max_count_of(const field *f)
{
    return f->key == KEY_ROPE_DIVISORS ? SLM_MAX_ROPE_PAIRS
           : f->key == KEY_STOP_IDS    ? SLM_MAX_STOP_IDS
           : is_list(f)                ? SLM_MAX_LAYERS
                                       : 1;
}

static slm_status conflict(slm_error *error, const char *text)
{
    return slm_fail(error, SLM_ERR_CONFIG, 0, "configuration: %s", text);
}

static slm_status check_ids(const slm_config *c, slm_error *error)
{
    if (c->bos_id >= 0 && (uint32_t)c->bos_id >= c->n_vocab) {
        return conflict(error, "bos_id is not below n_vocab");
    }
    for (uint32_t i = 0; i < c->n_stop_ids; i++) {
        if ((uint32_t)c->stop_ids[i] >= c->n_vocab) {
            return conflict(error, "a stop id is not below n_vocab");
        }
        for (uint32_t j = 0; j < i; j++) {
            if (c->stop_ids[j] == c->stop_ids[i]) {
                return conflict(error, "a stop id stands in stop_ids twice");
            }
        }
    }
    return SLM_OK;
}

/* The numbers of a rope scaling must be there, and those of another must not. */
static slm_status check_rope(const slm_config *c, slm_error *error)
{
    if (c->rope_scaling == SLM_ROPE_SCALING_LLAMA3 &&
        (c->rope_original_context == 0 || c->rope_high_freq_factor <= c->rope_low_freq_factor)) {
        return conflict(error, "llama3 rope scaling needs rope_original_context and "
                               "rope_high_freq_factor > rope_low_freq_factor");
    }
    bool divided = c->rope_scaling == SLM_ROPE_SCALING_DIVISORS;
    if (c->n_rope_divisors != (divided ? (c->rope_dim ? c->rope_dim : c->head_dim) / 2 : 0)) {
        return conflict(error, "rope_divisors must have one number for each pair where "
                               "rope_scaling is 3, and be absent elsewhere");
    }
    if (!divided && f32_bits(c->rope_magnitude) != f32_bits(1.0f)) {
        return conflict(error, "rope_magnitude needs rope_scaling 3");
    }
    return SLM_OK;
}

/* What layers are made of must fit together. */
static slm_status check_layers(const slm_config *c, slm_error *error)
{
    if (c->rope_dim % 2 != 0 || c->rope_dim > c->head_dim) {
        return conflict(error, "rope_dim must be even and at most head_dim");
    }
    if (!c->gated && c->activation != SLM_ACTIVATION_GELU_TANH) {
        return conflict(error, "a feed-forward network without gate needs activation GELU");
    }
    if (!c->pre_norm && !c->post_norm) {
        return conflict(error, "a layer needs a norm before or after its blocks");
    }
    for (uint32_t i = 0; i < c->n_layer_flags; i++) {
        if ((c->layer_flags[i] & SLM_LAYER_WINDOW) && c->window == 0) {
            return conflict(error, "a layer has a window but window is 0");
        }
        if ((c->layer_flags[i] & SLM_LAYER_LOCAL_ROPE) && c->rope_local_theta < 1) {
            return conflict(error, "a layer has local rope but rope_local_theta is not given");
        }
    }
    return SLM_OK;
}

slm_status slm_config_check(const slm_config *c, slm_error *error)
{
    if (c->n_stop_ids > SLM_MAX_STOP_IDS) {
        return conflict(error, "more than 8 stop_ids");
    }
    if (c->n_rope_divisors > SLM_MAX_ROPE_PAIRS) {
        return conflict(error, "more than 512 rope_divisors");
    }
    if (c->n_layer_flags != 0 && c->n_layer_flags != c->n_layers) {
        return conflict(error, "layer_flags must have one entry for each layer");
    }
    for (uint32_t i = 0; i < N_FIELDS; i++) {
        for (uint32_t k = 0; k < count_of(c, &FIELDS[i]); k++) {
            uint32_t word = value_of(c, &FIELDS[i], k);
            if (!in_range(&FIELDS[i], word)) {
                return slm_fail(error, SLM_ERR_CONFIG, 0,
                                "configuration: %s is out of range (stored word %u)",
                                FIELDS[i].name, word);
            }
        }
    }
    if (c->head_dim % 2 != 0) {
        return conflict(error, "head_dim must be even");
    }
    if (c->n_heads % c->n_kv_heads != 0) {
        return conflict(error, "n_heads must be a multiple of n_kv_heads");
    }
    if ((uint64_t)c->n_heads * c->head_dim > MAX_WIDTH) {
        return conflict(error, "n_heads * head_dim exceeds 2^20");
    }
    if (c->temperature < 0 && f32_bits(c->temperature) != f32_bits(-1.0f)) {
        return conflict(error, "temperature must be -1 (not given) or 0 and up");
    }
    slm_status status = check_rope(c, error);
    status = status == SLM_OK ? check_layers(c, error) : status;
    return status == SLM_OK ? check_ids(c, error) : status;
}

/* ---- Reading and writing --------------------------------------------------------------------- */

static const field *find_field(uint32_t key)
{
    for (uint32_t i = 0; i < N_FIELDS; i++) {
        if (FIELDS[i].key == key) {
            return &FIELDS[i];
        }
    }
    return NULL;
}

static slm_status store_field(slm_config *c, const field *f, uint32_t type, uint32_t count,
                              const uint8_t *values, uint64_t at, slm_error *error)
{
    uint32_t max_count = max_count_of(f);
    if (type != f->type || count == 0 || count > max_count) {
        return slm_fail(
            error, SLM_ERR_CONFIG, at,
            "configuration: %s has type %u and %u values; type %u and 1 to %u are legal", f->name,
            type, count, (uint32_t)f->type, max_count);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t word = load_u32(values + 4 * (size_t)i);
        memcpy((uint8_t *)c + f->offset + 4 * (size_t)i, &word, 4);
    }
    if (f->key == KEY_ROPE_DIVISORS) {
        c->n_rope_divisors = count;
    } else if (f->key == KEY_STOP_IDS) {
        c->n_stop_ids = count;
    } else if (f->key == KEY_LAYER_FLAGS) {
        c->n_layer_flags = count;
    }
    return SLM_OK;
}

/* One field; *previous: the key before it, then its own. Sets its bit in *seen. */
static slm_status read_field(slm_config *c, byte_reader *r, uint32_t *previous, uint64_t *seen,
                             slm_error *error)
{
    uint64_t at = r->pos;
    uint32_t key = read_u16(r), type = read_u16(r), count = read_u32(r);
    const uint8_t *values = read_bytes(r, 4 * (uint64_t)count);
    if (!values) {
        return slm_fail(error, SLM_ERR_CONFIG, at,
                        "configuration: a field reaches past the end of section CONF");
    }
    if (key <= *previous) {
        return slm_fail(error, SLM_ERR_CONFIG, at,
                        "configuration: key %u follows key %u; keys must ascend", key, *previous);
    }
    *previous = key;
    const field *f = find_field(key);
    if (!f) {
        return key >= KEY_SKIPPABLE
                   ? SLM_OK
                   : slm_fail(error, SLM_ERR_CONFIG, at,
                              "configuration: key %u is unknown to this build; update slm", key);
    }
    *seen |= (uint64_t)1 << (f - FIELDS);
    return store_field(c, f, type, count, values, at, error);
}

slm_status slm_config_read(slm_config *config, const void *payload, size_t n_bytes,
                           slm_error *error)
{
    _Static_assert(N_FIELDS <= 64, "a bit each");
    slm_config c = slm_config_default();
    byte_reader r = byte_reader_view(payload, n_bytes);
    uint32_t previous = 0;
    uint64_t seen = 0;
    while (r.pos < r.n_bytes) {
        slm_status status = read_field(&c, &r, &previous, &seen, error);
        if (status != SLM_OK) {
            return status;
        }
    }
    for (uint32_t i = 0; i < N_FIELDS; i++) {
        if (FIELDS[i].required && !(seen >> i & 1)) {
            return slm_fail(error, SLM_ERR_CONFIG, 0, "configuration: %s is missing",
                            FIELDS[i].name);
        }
    }
    slm_status status = slm_config_check(&c, error);
    if (status == SLM_OK) {
        *config = c;
    }
    return status;
}

size_t slm_config_write(const slm_config *config, uint8_t *out, size_t capacity)
{
    const slm_config defaults = slm_config_default();
    size_t used = 0;
    for (int writing = 0; writing < 2; writing++) {
        if (writing && used > capacity) {
            break;
        }
        used = 0;
        for (uint32_t i = 0; i < N_FIELDS; i++) {
            const field *f = &FIELDS[i];
            uint32_t count = count_of(config, f);
            if (!f->required && !is_list(f) &&
                value_of(config, f, 0) == value_of(&defaults, f, 0)) {
                continue;
            }
            if (count == 0 || count > max_count_of(f)) {
                continue;
            }
            if (writing) {
                store_u16(out + used, f->key);
                store_u16(out + used + 2, f->type);
                store_u32(out + used + 4, count);
                for (uint32_t k = 0; k < count; k++) {
                    store_u32(out + used + 8 + 4 * (size_t)k, value_of(config, f, k));
                }
            }
            used += 8 + 4 * (size_t)count;
        }
    }
    return used;
}
