/* gguf_config.c - the metadata of a GGUF file -> slm_config. Sizes are never assumed; what the
 * runtime cannot compute is refused by the name of its key.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/gguf_model.h"
#include "lib/rope_scaling.h"

enum { MAX_COUNT = 1 << 24 };

typedef struct reading {
    gguf_model *m;
    const gguf *g;
    notes *w;
    failure *f;
    char key[128];
} reading;

/* "llama.attention.head_count"; valid until the next call. */
static const char *key_of(reading *r, const char *ending)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->m->family->name, ending);
    return r->key;
}

static int get_u32(reading *r, const char *ending, uint32_t min, uint32_t max, uint32_t *value,
                   bool *found)
{
    return gguf_get_u32(r->g, key_of(r, ending), min, max, value, found, r->f);
}

static int need_u32(reading *r, const char *ending, uint32_t max, uint32_t *value)
{
    bool found;
    int code = get_u32(r, ending, 1, max, value, &found);
    return code || found ? code : fail(r->f, EXIT_INPUT, "%s: %s is missing", r->g->name, r->key);
}

static int get_f32(reading *r, const char *ending, float min, float max, float *value, bool *found)
{
    bool there;
    float x = 0;
    int code = gguf_get_f32(r->g, key_of(r, ending), &x, &there, r->f);
    if (code == EXIT_OK && there && !(x >= min && x <= max)) {
        return fail(r->f, EXIT_INPUT, "%s: %s is %g; it must be from %g to %g", r->g->name, r->key,
                    (double)x, (double)min, (double)max);
    }
    if (code == EXIT_OK && there) {
        *value = x;
    }
    if (found) {
        *found = there;
    }
    return code;
}

static bool has_tensor(const reading *r, const char *name)
{
    return gguf_model_find(r->m, name) != NULL;
}

/* ---- What the file is ------------------------------------------------------------------------ */

static bool is_text(gguf_string s, const char *text)
{
    return s.n_bytes == strlen(text) && memcmp(s.text, text, s.n_bytes) == 0;
}

static int read_family(reading *r)
{
    gguf_string name = {0}, type = {"model", 5};
    bool found, typed;
    char known[256];
    int code = gguf_get_string(r->g, "general.architecture", &name, &found, r->f);
    code = code ? code : gguf_get_string(r->g, "general.type", &type, &typed, r->f);
    if (code != EXIT_OK) {
        return code;
    }
    if (!found && !typed) {
        return fail(r->f, EXIT_INPUT, "%s: general.architecture is missing", r->g->name);
    }
    if (!is_text(type, "model")) {
        const char *advice =
            is_text(type, "adapter")   ? "; give the base model's file and keep the adapter apart"
            : is_text(type, "mmproj")  ? "; it encodes images: give the language model's file"
            : is_text(type, "imatrix") ? "; it steers a quantization: give the model's file"
                                       : "";
        return fail(r->f, EXIT_INPUT, "%s: general.type is \"%.*s\", not a model%s", r->g->name,
                    (int)(type.n_bytes < 40 ? type.n_bytes : 40), type.text, advice);
    }
    r->m->family = found ? gguf_family_find(name.text, name.n_bytes) : NULL;
    gguf_family_names(known);
    return r->m->family ? EXIT_OK
                        : fail(r->f, EXIT_INPUT,
                               "%s: general.architecture \"%.*s\" is not supported (supported: %s)",
                               r->g->name, (int)(name.n_bytes < 40 ? name.n_bytes : 40),
                               found ? name.text : "", known);
}

/* Keys of features that the runtime does not have; each must be absent or zero. */
static int refuse_features(reading *r)
{
    static const char *const endings[] = {"expert_count", "attention.clamp_kqv",
                                          "attention.max_alibi_bias", "ssm.state_size",
                                          "nextn_predict_layers"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        const gguf_pair *pair = gguf_find(r->g, key_of(r, endings[i]));
        float number = 1;
        uint32_t count = 1;
        failure ignored = {0};
        if (!pair) {
            continue;
        }
        bool zero =
            pair->type == GGUF_F32
                ? gguf_get_f32(r->g, r->key, &number, NULL, &ignored) == 0 && fabsf(number) <= 0
                : gguf_get_u32(r->g, r->key, 0, 0, &count, NULL, &ignored) == 0;
        if (!zero) {
            return fail(r->f, EXIT_INPUT, "%s: %s is set: such models are not supported",
                        r->g->name, r->key);
        }
    }
    bool causal = true, parallel = false;
    int code = gguf_get_bool(r->g, key_of(r, "attention.causal"), &causal, NULL, r->f);
    if (code == EXIT_OK && !causal) {
        return fail(r->f, EXIT_INPUT, "%s: %s is false: the model does not generate text",
                    r->g->name, r->key);
    }
    code = code ? code
                : gguf_get_bool(r->g, key_of(r, "use_parallel_residual"), &parallel, NULL, r->f);
    /* Files of StableLM say true whatever the model does; a parallel one has no ffn_norm. */
    if (code == EXIT_OK && parallel && !has_tensor(r, "blk.0.ffn_norm.weight")) {
        return fail(r->f, EXIT_INPUT, "%s: %s is true: parallel blocks are not supported",
                    r->g->name, r->key);
    }
    return code;
}

/* ---- Sizes ----------------------------------------------------------------------------------- */

/* The number that follows "blk." in the tensors' names, plus one. */
static uint32_t count_layers(const gguf_model *m)
{
    uint32_t n = 0;
    for (uint64_t i = 0; i < m->n_found; i++) {
        gguf_string s = m->found[i].tensor->name;
        uint32_t layer = 0;
        if (s.n_bytes < 6 || memcmp(s.text, "blk.", 4) != 0) {
            continue;
        }
        for (uint64_t k = 4; k < s.n_bytes && s.text[k] >= '0' && s.text[k] <= '9' && layer < 1e8;
             k++) {
            layer = 10 * layer + (uint32_t)(s.text[k] - '0');
        }
        n = layer + 1 > n ? layer + 1 : n;
    }
    return n;
}

static int read_vocabulary(reading *r)
{
    slm_config *c = &r->m->config;
    const gguf_found *embedding = gguf_model_find(r->m, "token_embd.weight");
    if (!embedding) {
        return fail(r->f, EXIT_INPUT, "%s: tensor token_embd.weight is missing%s", r->g->name,
                    r->m->n_found == 0
                        ? "; the file holds a vocabulary and no weights: --vocab-only converts it"
                        : "");
    }
    const uint64_t *dims = embedding->tensor->dims;
    if (embedding->tensor->rank != 2 || dims[1] > MAX_COUNT || dims[0] != c->d_model) {
        return fail(r->f, EXIT_INPUT,
                    "%s: tensor token_embd.weight has rows of %llu elements; %s.embedding_length "
                    "is %u",
                    r->g->name, (unsigned long long)dims[0], r->m->family->name, c->d_model);
    }
    c->n_vocab = (uint32_t)dims[1];
    uint32_t said = c->n_vocab;
    int code = get_u32(r, "vocab_size", 1, MAX_COUNT, &said, NULL);
    if (code == EXIT_OK && said != c->n_vocab) {
        return fail(r->f, EXIT_INPUT, "%s: %s is %u, but token_embd.weight has %u rows", r->g->name,
                    r->key, said, c->n_vocab);
    }
    const gguf_pair *tokens = gguf_find(r->g, "tokenizer.ggml.tokens");
    if (code == EXIT_OK && tokens && tokens->n_elements != c->n_vocab) {
        return fail(r->f, EXIT_INPUT,
                    "%s: tokenizer.ggml.tokens has %llu entries, but token_embd.weight has %u rows",
                    r->g->name, (unsigned long long)tokens->n_elements, c->n_vocab);
    }
    return code;
}

/* head_dim and rope_dim. */
static int read_head(reading *r)
{
    slm_config *c = &r->m->config;
    uint32_t key = c->d_model / c->n_heads, value = key, rotated;
    bool found;
    int code = get_u32(r, "attention.key_length", 1, 1024, &key, &found);
    if (code == EXIT_OK && !found && c->d_model % c->n_heads != 0) {
        return fail(r->f, EXIT_INPUT,
                    "%s: %s.embedding_length %u is not a multiple of "
                    "attention.head_count %u, and attention.key_length is missing",
                    r->g->name, r->m->family->name, c->d_model, c->n_heads);
    }
    code = code ? code : get_u32(r, "attention.value_length", 1, 1024, &value, &found);
    if (code == EXIT_OK && value != key) {
        return fail(r->f, EXIT_INPUT,
                    "%s: %s is %u and attention.key_length %u: unequal lengths "
                    "are not supported",
                    r->g->name, r->key, value, key);
    }
    if (code == EXIT_OK && key % 2 != 0) {
        return fail(r->f, EXIT_INPUT, "%s: %s.attention.key_length is %u; it must be even",
                    r->g->name, r->m->family->name, key);
    }
    rotated = key;
    code = code ? code : get_u32(r, "rope.dimension_count", 1, key, &rotated, &found);
    if (code == EXIT_OK && rotated % 2 != 0) {
        return fail(r->f, EXIT_INPUT, "%s: %s is %u; rope turns pairs", r->g->name, r->key,
                    rotated);
    }
    if (code == EXIT_OK && rotated != key && r->m->family->interleaved) {
        return fail(r->f, EXIT_INPUT,
                    "%s: %s is %u, heads have %u elements: partial rope is not "
                    "supported for %s",
                    r->g->name, r->key, rotated, key, r->m->family->name);
    }
    c->head_dim = key;
    c->rope_dim = rotated == key || r->m->family->learned_positions ? 0 : rotated;
    return code;
}

static int read_sizes(reading *r)
{
    slm_config *c = &r->m->config;
    bool found;
    int code = need_u32(r, "context_length", MAX_COUNT, &c->n_context);
    code = code ? code : need_u32(r, "embedding_length", 1 << 20, &c->d_model);
    code = code ? code : need_u32(r, "block_count", SLM_MAX_LAYERS, &c->n_layers);
    code = code ? code : need_u32(r, "feed_forward_length", 1 << 20, &c->d_ff);
    code = code ? code : need_u32(r, "attention.head_count", 4096, &c->n_heads);
    c->n_kv_heads = c->n_heads;
    code = code ? code : get_u32(r, "attention.head_count_kv", 1, 4096, &c->n_kv_heads, &found);
    code = code ? code : read_vocabulary(r);
    if (code != EXIT_OK) {
        return code;
    }
    uint32_t n_layers = count_layers(r->m);
    if (n_layers != c->n_layers) {
        return fail(r->f, EXIT_INPUT, "%s: %s is %u, but there are tensors of %u layers",
                    r->g->name, key_of(r, "block_count"), c->n_layers, n_layers);
    }
    if (c->n_heads % c->n_kv_heads != 0) {
        return fail(r->f, EXIT_INPUT, "%s: %s %u does not divide attention.head_count %u",
                    r->g->name, key_of(r, "attention.head_count_kv"), c->n_kv_heads, c->n_heads);
    }
    return read_head(r);
}

/* ---- Numbers --------------------------------------------------------------------------------- */

static int read_layers(reading *r)
{
    slm_config *c = &r->m->config;
    const gguf_family *family = r->m->family;
    bool layer_norm = family->norm_kind == SLM_NORM_LAYER, found;
    c->norm_kind = family->norm_kind;
    c->qk_norm = family->qk_norm;
    c->activation = family->activation;
    c->pre_norm = !family->only_post_norm;
    c->post_norm = family->post_norm || family->only_post_norm;
    c->gated = !family->ungated;
    c->learned_positions = family->learned_positions;
    c->qkv_bias = has_tensor(r, "blk.0.attn_q.bias") || has_tensor(r, "blk.0.attn_qkv.bias");
    c->output_bias = has_tensor(r, "blk.0.attn_output.bias");
    c->ffn_bias = has_tensor(r, "blk.0.ffn_up.bias");
    c->tied_output = !has_tensor(r, "output.weight");
    const char *ending =
        layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon";
    int code = get_f32(r, ending, 1e-20f, 1, &c->norm_eps, &found);
    if (code == EXIT_OK && !found) {
        return fail(r->f, EXIT_INPUT, "%s: %s is missing", r->g->name, r->key);
    }
    return code;
}

static int read_scales(reading *r)
{
    slm_config *c = &r->m->config;
    const gguf_family *family = r->m->family;
    float divisor = 1;
    int code = get_f32(r, "attention.scale", 1e-6f, 1e6f, &c->attention_scale, NULL);
    code = code ? code : get_f32(r, "embedding_scale", 1e-6f, 1e6f, &c->embedding_scale, NULL);
    code = code ? code : get_f32(r, "residual_scale", 1e-6f, 1e6f, &c->residual_scale, NULL);
    code = code ? code : get_f32(r, "logit_scale", 1e-6f, 1e6f, &divisor, NULL);
    code = code ? code : get_f32(r, "attn_logit_softcapping", 0, 1e6f, &c->attention_softcap, NULL);
    code = code ? code : get_f32(r, "final_logit_softcapping", 0, 1e6f, &c->logit_softcap, NULL);
    c->logit_scale = 1 / divisor; /* the architectures that have the key divide by it */
    if (family->root_embedding) {
        c->embedding_scale = sqrtf((float)c->d_model);
    }
    if (family->wide_layers != 0 && family->wide_layers == c->n_layers) {
        c->attention_scale = 1 / sqrtf((float)(c->d_model / c->n_heads));
    }
    return code;
}

/* The period in which a layer without window comes, from the key or the architecture. */
static int flag_windows(reading *r)
{
    slm_config *c = &r->m->config;
    uint32_t period = r->m->family->full_period;
    const gguf_pair *pair = gguf_find(r->g, key_of(r, "attention.sliding_window_pattern"));
    bool listed = pair && pair->type == GGUF_ARRAY;
    if (listed && (pair->element != GGUF_BOOL || pair->n_elements != c->n_layers)) {
        return fail(r->f, EXIT_INPUT, "%s: %s must be an array of one bool for each layer",
                    r->g->name, r->key);
    }
    if (pair && !listed &&
        gguf_get_u32(r->g, r->key, 0, SLM_MAX_LAYERS, &period, NULL, r->f) != EXIT_OK) {
        return r->f->exit_code;
    }
    for (uint32_t i = 0; i < c->n_layers; i++) {
        bool full = listed ? pair->value[i] == 0 : period != 0 && i % period == period - 1;
        if (!full) {
            c->layer_flags[i] |= SLM_LAYER_WINDOW;
            c->layer_flags[i] |= c->rope_local_theta > 0 ? (uint32_t)SLM_LAYER_LOCAL_ROPE : 0;
        }
    }
    return EXIT_OK;
}

static int read_windows(reading *r)
{
    slm_config *c = &r->m->config;
    const gguf_family *family = r->m->family;
    uint32_t window = 0;
    int code = get_u32(r, "attention.sliding_window", 0, INT32_MAX, &window, NULL);
    if (code != EXIT_OK) {
        return code;
    }
    bool local = family->local_theta > 0; /* those layers differ even if the window is long */
    if (window >= c->n_context && !local) {
        window = 0;
    }
    if (window != 0 && family->no_window) {
        return fail(r->f, EXIT_INPUT, "%s: %s is %u: not supported for %s", r->g->name, r->key,
                    window, family->name);
    }
    if (window == 0 && family->full_period != 0 && !gguf_find(r->g, r->key)) {
        return fail(r->f, EXIT_INPUT, "%s: %s is missing", r->g->name, r->key);
    }
    if (local) {
        c->rope_local_theta = family->local_theta;
        code = get_f32(r, "rope.freq_base_swa", 1, 1e12f, &c->rope_local_theta, NULL);
    }
    c->window = window < MAX_COUNT ? window : MAX_COUNT;
    code = code == EXIT_OK && window != 0 ? flag_windows(r) : code;
    uint32_t all = 0;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        if (family->no_rope_period != 0 && (i + 1) % family->no_rope_period == 0) {
            c->layer_flags[i] |= SLM_LAYER_NO_ROPE;
        }
        all |= c->layer_flags[i];
    }
    c->n_layer_flags = all ? c->n_layers : 0;
    return code;
}

/* ---- Rope ------------------------------------------------------------------------------------ */

/* The divisor of Llama 3.1's scaling for pair i. */
static double llama3_divisor(const slm_config *c, uint32_t i)
{
    uint32_t n = c->rope_dim ? c->rope_dim : c->head_dim;
    double frequency = pow((double)c->rope_theta, -2.0 * i / n);
    double wavelength = 2 * 3.14159265358979323846 / frequency;
    double ratio = c->rope_original_context / wavelength;
    double low = (double)c->rope_low_freq_factor, high = (double)c->rope_high_freq_factor;
    double smooth = (ratio - low) / (high - low), factor = (double)c->rope_factor;
    return smooth <= 0 ? factor : smooth >= 1 ? 1 : 1 / ((1 - smooth) / factor + smooth);
}

/* A tensor with one divisor for each pair, into the configuration. */
static int read_divisors(reading *r, const gguf_found *found)
{
    slm_config *c = &r->m->config;
    gguf_string name = found->tensor->name;
    uint32_t n = rope_pairs(c);
    if (found->tensor->type != 0 || found->tensor->rank != 1 || found->tensor->dims[0] != n) {
        return fail(r->f, EXIT_INPUT, "%s: tensor %.*s must be F32 with %u elements", r->g->name,
                    (int)name.n_bytes, name.text, n);
    }
    const uint8_t *data = gguf_tensor_data(r->m, found);
    for (uint32_t i = 0; i < n; i++) {
        float x;
        memcpy(&x, data + 4 * (size_t)i, 4);
        if (!(x >= 1e-3f && x <= 1e6f)) {
            return fail(r->f, EXIT_INPUT,
                        "%s: tensor %.*s: element %u is %g; it must be from 0.001 to 1e6",
                        r->g->name, (int)name.n_bytes, name.text, i, (double)x);
        }
        c->rope_divisors[i] = x;
    }
    c->rope_scaling = SLM_ROPE_SCALING_DIVISORS;
    c->n_rope_divisors = n;
    return EXIT_OK;
}

/* rope_freqs.weight holds the divisors alone; those of Llama 3.1's scaling are known again by the
 * parameters in use, proved on every element, so that the file is that of the original checkpoint.
 */
static int read_rope_freqs(reading *r, const gguf_found *freqs)
{
    static const uint32_t contexts[] = {8192,  4096, 2048, 1024, 512,   256,
                                        16384, 128,  64,   32,   32768, 65536};
    slm_config *c = &r->m->config;
    int code = read_divisors(r, freqs);
    if (code != EXIT_OK) {
        return code;
    }
    float largest = 0;
    for (uint32_t i = 0; i < c->n_rope_divisors; i++) {
        largest = c->rope_divisors[i] > largest ? c->rope_divisors[i] : largest;
    }
    c->rope_factor = largest;
    for (size_t k = 0; k < sizeof contexts / sizeof contexts[0]; k++) {
        bool same = true;
        c->rope_original_context = contexts[k];
        for (uint32_t i = 0; i < c->n_rope_divisors && same; i++) {
            double want = llama3_divisor(c, i);
            same = fabs((double)c->rope_divisors[i] - want) <= 2e-6 * want;
        }
        if (same) {
            c->rope_scaling = SLM_ROPE_SCALING_LLAMA3;
            memset(c->rope_divisors, 0, sizeof c->rope_divisors);
            c->n_rope_divisors = 0;
            return EXIT_OK;
        }
    }
    slm_config usual = slm_config_default();
    c->rope_factor = usual.rope_factor;
    c->rope_original_context = usual.rope_original_context;
    return EXIT_OK;
}

/* LongRoPE: one list up to the original context, another beyond it, where all positions, those
 * already cached too, would turn otherwise. The model keeps to the first. */
static int read_longrope(reading *r)
{
    slm_config *c = &r->m->config;
    gguf_found *near = gguf_model_find(r->m, "rope_factors_short.weight");
    gguf_found *far = gguf_model_find(r->m, "rope_factors_long.weight");
    uint32_t original = 0;
    bool found;
    if (!near || !far) {
        return fail(r->f, EXIT_INPUT,
                    "%s: of the tensors rope_factors_short.weight and "
                    "rope_factors_long.weight one is missing",
                    r->g->name);
    }
    near->used = far->used = true;
    int code = read_divisors(r, near);
    code =
        code ? code
             : get_u32(r, "rope.scaling.original_context_length", 1, MAX_COUNT, &original, &found);
    if (code == EXIT_OK && !found) {
        return fail(r->f, EXIT_INPUT, "%s: %s is missing", r->g->name, r->key);
    }
    if (code == EXIT_OK && c->n_context > original) {
        note(r->w,
             "the context is %u positions, where rope_factors_short.weight holds; the %u of "
             "rope_factors_long.weight are left out",
             original, c->n_context);
        c->n_context = original;
    }
    return code;
}

static int read_yarn(reading *r)
{
    slm_config *c = &r->m->config;
    float factor = 1, fast = 32, slow = 1;
    uint32_t original = c->n_context;
    bool found;
    int code = get_f32(r, "rope.scaling.factor", 1, 1e6f, &factor, &found);
    if (code == EXIT_OK && !found) {
        return fail(r->f, EXIT_INPUT, "%s: %s is missing", r->g->name, r->key);
    }
    code = code ? code
                : get_u32(r, "rope.scaling.original_context_length", 1, MAX_COUNT, &original, NULL);
    code = code ? code : get_f32(r, "rope.scaling.yarn_beta_slow", 1e-3f, 1e6f, &slow, NULL);
    code = code ? code : get_f32(r, "rope.scaling.yarn_beta_fast", 1e-3f, 1e6f, &fast, NULL);
    if (code != EXIT_OK) {
        return code;
    }
    if (!(fast > slow) || !(c->rope_theta > 1)) {
        return fail(r->f, EXIT_INPUT,
                    "%s: %s must be above yarn_beta_slow, and rope.freq_base "
                    "above 1",
                    r->g->name, r->key);
    }
    rope_scale_yarn(c, &(rope_yarn){(double)factor, original, (double)fast, (double)slow, true});
    c->rope_magnitude = (float)rope_yarn_magnitude((double)factor, 1);
    return EXIT_OK;
}

/* What rope.scaling.type and its numbers say. */
static int read_scaling(reading *r)
{
    slm_config *c = &r->m->config;
    gguf_string type = {"", 0};
    float factor = 1;
    bool found;
    int code = get_f32(r, "rope.scale_linear", 1e-3f, 1e6f, &factor, &found);
    bool linear = code == EXIT_OK && found && fabsf(factor - 1) > 0;
    code = code ? code : gguf_get_string(r->g, key_of(r, "rope.scaling.type"), &type, &found, r->f);
    if (code == EXIT_OK && found && is_text(type, "yarn")) {
        return read_yarn(r);
    }
    if (code == EXIT_OK && found && is_text(type, "linear")) {
        linear = true;
        code = get_f32(r, "rope.scaling.factor", 1e-3f, 1e6f, &factor, &found);
        if (code == EXIT_OK && !found) {
            return fail(r->f, EXIT_INPUT, "%s: %s is missing", r->g->name, r->key);
        }
    } else if (code == EXIT_OK && found && !is_text(type, "none") && !is_text(type, "longrope")) {
        return fail(r->f, EXIT_INPUT,
                    "%s: %s \"%.*s\" is not supported (supported: none, linear, yarn, longrope)",
                    r->g->name, r->key, (int)(type.n_bytes < 40 ? type.n_bytes : 40), type.text);
    }
    if (code == EXIT_OK && linear) {
        c->rope_scaling = SLM_ROPE_SCALING_LINEAR;
        c->rope_factor = factor;
    }
    return code;
}

/* Numbers that multiply cosines and sines, and those of yarn that have one usual value. */
static int read_magnitude(reading *r)
{
    static const char *const ones[] = {"rope.scaling.yarn_ext_factor",
                                       "rope.scaling.yarn_attn_factor"};
    slm_config *c = &r->m->config;
    float magnitude = 1, number = 0;
    int code = get_f32(r, "rope.scaling.yarn_log_multiplier", 0, 0, &number, NULL);
    for (size_t i = 0; i < sizeof ones / sizeof ones[0] && code == EXIT_OK; i++) {
        code = get_f32(r, ones[i], 1, 1, &number, NULL);
    }
    code = code ? code : get_f32(r, "rope.scaling.attn_factor", 1e-3f, 1e3f, &magnitude, NULL);
    if (code != EXIT_OK || !(fabsf(magnitude - 1) > 0)) {
        return code;
    }
    if (c->rope_scaling != SLM_ROPE_SCALING_DIVISORS) {
        return fail(r->f, EXIT_INPUT, "%s: %s is %g: it is supported with yarn and longrope alone",
                    r->g->name, r->key, (double)magnitude);
    }
    c->rope_magnitude = c->rope_magnitude * magnitude;
    return EXIT_OK;
}

static int read_rope(reading *r)
{
    slm_config *c = &r->m->config;
    gguf_found *freqs = gguf_model_find(r->m, "rope_freqs.weight");
    bool factors = gguf_model_find(r->m, "rope_factors_short.weight") ||
                   gguf_model_find(r->m, "rope_factors_long.weight");
    c->rope_theta = 10000;
    int code = get_f32(r, "rope.freq_base", 1, 1e12f, &c->rope_theta, NULL);
    code = code ? code : read_scaling(r);
    if (code == EXIT_OK && c->rope_scaling != SLM_ROPE_SCALING_NONE && (freqs || factors)) {
        return fail(r->f, EXIT_INPUT, "%s: %s beside another rope scaling", r->g->name,
                    freqs ? "rope_freqs.weight" : "rope_factors_short.weight");
    }
    if (code == EXIT_OK && freqs) {
        freqs->used = true;
        code = read_rope_freqs(r, freqs);
    } else if (code == EXIT_OK && factors) {
        code = read_longrope(r);
    }
    return code ? code : read_magnitude(r);
}

/* ---- Token ids ------------------------------------------------------------------------------- */

/* 2^32 - 1 is how some files say "none". missing: the id of a file that does not say. */
static int read_id(reading *r, const char *key, uint32_t missing, int32_t *id)
{
    uint32_t value = missing < r->m->config.n_vocab ? missing : UINT32_MAX;
    *id = -1;
    int code = gguf_get_u32(r->g, key, 0, UINT32_MAX, &value, NULL, r->f);
    if (code == EXIT_OK && value != UINT32_MAX) {
        if (value >= r->m->config.n_vocab) {
            return fail(r->f, EXIT_INPUT, "%s: %s is %u, but the vocabulary has %u tokens",
                        r->g->name, key, value, r->m->config.n_vocab);
        }
        *id = (int32_t)value;
    }
    return code;
}

static int read_ids(reading *r)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    slm_config *c = &r->m->config;
    gguf_string model = {"", 0};
    int code = gguf_get_string(r->g, "tokenizer.ggml.model", &model, NULL, r->f);
    /* SentencePiece's own numbers */
    bool spm = model.n_bytes == 5 && memcmp(model.text, "llama", 5) == 0;
    uint32_t bos = spm ? 1 : UINT32_MAX, eos = spm ? 2 : UINT32_MAX;
    code = code ? code : read_id(r, "tokenizer.ggml.bos_token_id", bos, &c->bos_id);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0] && code == EXIT_OK; i++) {
        int32_t id;
        code = read_id(r, ends[i], i == 0 ? eos : UINT32_MAX, &id);
        bool had = id < 0;
        for (uint32_t k = 0; k < c->n_stop_ids; k++) {
            had = had || c->stop_ids[k] == id;
        }
        if (code == EXIT_OK && !had) {
            c->stop_ids[c->n_stop_ids++] = id;
        }
    }
    return code;
}

int gguf_config_read_ids(gguf_model *m, failure *f)
{
    reading r = {.m = m, .g = &m->parts[0].g, .f = f};
    const gguf_pair *tokens;
    int code = gguf_get_array(r.g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, f);
    m->config = slm_config_default();
    m->config.n_vocab = 0;
    if (code == EXIT_OK && tokens) {
        m->config.n_vocab = tokens->n_elements < UINT32_MAX ? (uint32_t)tokens->n_elements : 0;
    }
    return code ? code : read_ids(&r);
}

int gguf_config_read(gguf_model *m, notes *w, failure *f)
{
    static int (*const steps[])(reading *) = {read_family, refuse_features, read_sizes, read_layers,
                                              read_scales, read_windows,    read_rope,  read_ids};
    reading r = {.m = m, .g = &m->parts[0].g, .w = w, .f = f};
    m->config = slm_config_default();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int code = steps[i](&r);
        if (code != EXIT_OK) {
            return code;
        }
    }
    slm_error error;
    return slm_config_check(&m->config, &error) == SLM_OK ? EXIT_OK
                                                          : fail_status(f, r.g->name, &error);
}
