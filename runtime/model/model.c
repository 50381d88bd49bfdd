/* model.c - opens a .slm file as a model: checks that it is one, finds its weights by name. */
#include "model/model.h"

#include <string.h>

#include "base/bytes.h"
#include "base/status.h"

/* Finds prefix + suffix. slm_config_check_tensors has proved that all tensors are there that the
 * configuration calls for, so a tensor that is absent is one that it does not. */
static const slm_tensor *find(const slm_file *file, const char *prefix, const char *suffix)
{
    char name[SLM_MAX_NAME];
    size_t a = strlen(prefix), b = strlen(suffix);
    memcpy(name, prefix, a);
    memcpy(name + a, suffix, b);
    return slm_file_tensor(file, name, a + b);
}

static slm_matrix matrix(const slm_file *file, const char *prefix, const char *suffix)
{
    slm_matrix m = {NULL, SLM_TYPE_F32, 0, 0};
    const slm_tensor *t = find(file, prefix, suffix);
    if (t) {
        m.data = slm_tensor_data(file, t);
        m.type = t->type;
        m.n_rows = (uint32_t)t->dims[0];
        m.n_cols = (uint32_t)t->dims[1];
    }
    return m;
}

/* A vector that can be read to a multiple of 16 elements: in place where its length allows. */
static const float *vector(slm_arena *arena, const slm_model *m, const char *prefix,
                           const char *suffix)
{
    const slm_tensor *t = find(&m->file, prefix, suffix);
    if (!t) {
        return NULL;
    }
    uint32_t n = (uint32_t)t->dims[0];
    if (n % 16 == 0) {
        return (const float *)(const void *)slm_tensor_data(&m->file, t);
    }
    float *copy = (float *)arena_take(arena, round_up_u32(n, 16), sizeof(float));
    if (copy && !m->data_later) {
        memset(copy, 0, round_up_u32(n, 16) * sizeof(float));
        memcpy(copy, slm_tensor_data(&m->file, t), n * sizeof(float));
    }
    return copy;
}

static slm_norm norm(slm_arena *arena, const slm_model *m, const char *prefix, const char *weight,
                     const char *bias)
{
    slm_norm n = {vector(arena, m, prefix, weight), vector(arena, m, prefix, bias)};
    return n;
}

/* Room for every vector that might be copied, for measuring: the directory is not read then. */
static void take_vectors(slm_arena *arena, const slm_config *c)
{
    slm_tensor_spec spec;
    for (uint32_t i = 0; i < slm_config_n_tensors(c); i++) {
        slm_config_tensor(c, i, &spec);
        if (spec.rank == 1 && spec.dims[0] % 16 != 0) {
            arena_take(arena, round_up_u32((uint32_t)spec.dims[0], 16), sizeof(float));
        }
    }
}

static void layer_prefix(uint32_t layer, char prefix[20])
{
    char digits[12];
    int n = 0;
    do {
        digits[n++] = (char)('0' + layer % 10);
        layer /= 10;
    } while (layer != 0);
    memcpy(prefix, "blk.", 4);
    int at = 4;
    while (n > 0) {
        prefix[at++] = digits[--n];
    }
    prefix[at++] = '.';
    prefix[at] = 0;
}

static void bind_layer(slm_model *m, slm_arena *arena, uint32_t index)
{
    const slm_file *f = &m->file;
    slm_layer *layer = &m->layers[index];
    char p[20];
    layer_prefix(index, p);
    memset(layer, 0, sizeof *layer);
    layer->flags = m->config.n_layer_flags ? m->config.layer_flags[index] : 0;
    layer->attn_norm = norm(arena, m, p, "attn_norm.weight", "attn_norm.bias");
    layer->attn_post_norm = norm(arena, m, p, "attn_post_norm.weight", "attn_post_norm.bias");
    layer->ffn_norm = norm(arena, m, p, "ffn_norm.weight", "ffn_norm.bias");
    layer->ffn_post_norm = norm(arena, m, p, "ffn_post_norm.weight", "ffn_post_norm.bias");
    layer->q_norm = vector(arena, m, p, "attn_q_norm.weight");
    layer->k_norm = vector(arena, m, p, "attn_k_norm.weight");
    layer->q_bias = vector(arena, m, p, "attn_q.bias");
    layer->k_bias = vector(arena, m, p, "attn_k.bias");
    layer->v_bias = vector(arena, m, p, "attn_v.bias");
    layer->o_bias = vector(arena, m, p, "attn_output.bias");
    layer->gate_bias = vector(arena, m, p, "ffn_gate.bias");
    layer->up_bias = vector(arena, m, p, "ffn_up.bias");
    layer->down_bias = vector(arena, m, p, "ffn_down.bias");
    layer->q = matrix(f, p, "attn_q.weight");
    layer->k = matrix(f, p, "attn_k.weight");
    layer->v = matrix(f, p, "attn_v.weight");
    layer->o = matrix(f, p, "attn_output.weight");
    layer->gate = matrix(f, p, "ffn_gate.weight");
    layer->up = matrix(f, p, "ffn_up.weight");
    layer->down = matrix(f, p, "ffn_down.weight");
}

static void bind_weights(slm_model *m, slm_arena *arena)
{
    m->token_embd = matrix(&m->file, "token_embd.weight", "");
    m->position_embd = matrix(&m->file, "position_embd.weight", "");
    m->output = m->config.tied_output ? m->token_embd : matrix(&m->file, "output.weight", "");
    m->output_norm = norm(arena, m, "output_norm.", "weight", "bias");
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        bind_layer(m, arena, i);
    }
    slm_rope_frequencies(&m->config, false, m->rope_frequency);
    if (m->local_frequency) {
        slm_rope_frequencies(&m->config, true, m->local_frequency);
    }
}

static slm_status read_config(slm_model *m, slm_error *error)
{
    const slm_section *s = slm_file_section(&m->file, SLM_SECTION_CONFIG);
    if (!s) {
        return slm_fail(error, SLM_ERR_SECTION, 0, "section CONF (configuration) is missing");
    }
    return slm_config_read(&m->config, m->file.bytes + s->offset, (size_t)s->length, error);
}

/* The vocabulary may be smaller than the embedding (padded rows are common), never larger. */
static slm_status check_tokenizer(const slm_model *m, uint64_t offset, slm_error *error)
{
    uint32_t n = slm_token_count(m->tokenizer);
    if (m->config.n_vocab != 0 && n > m->config.n_vocab) {
        return slm_fail(error, SLM_ERR_TOKENIZER, offset,
                        "the tokenizer has %u tokens but the model only %u embedding rows", n,
                        m->config.n_vocab);
    }
    return SLM_OK;
}

static slm_status open_text(slm_model *m, slm_arena *arena, slm_error *error)
{
    const slm_section *s = slm_file_section(&m->file, SLM_SECTION_TOKENIZER);
    if (!s) {
        return SLM_OK;
    }
    slm_status status =
        slm_tokenizer_open(&m->tokenizer, arena, m->file.bytes + s->offset, s->length, error);
    if (status != SLM_OK || !arena->base) {
        return status;
    }
    status = check_tokenizer(m, s->offset, error);
    const slm_section *chat = slm_file_section(&m->file, SLM_SECTION_CHAT);
    if (status == SLM_OK && chat) {
        status = slm_chat_open(&m->chat, m->file.bytes + chat->offset, chat->length, m->tokenizer,
                               error);
    }
    return status;
}

static slm_status check_tensor(const slm_model *m, uint32_t index, uint32_t flags, slm_error *error)
{
    slm_status status = SLM_OK;
    if (flags & SLM_MODEL_CHECK_DATA) {
        status = slm_file_check_tensor(&m->file, index, error);
    }
    if (status == SLM_OK && (flags & SLM_MODEL_CHECK_VALUES)) {
        status = slm_file_check_values(&m->file, index, error);
    }
    return status;
}

static slm_status check_contents(const slm_model *m, uint32_t flags, slm_error *error)
{
    slm_status status = SLM_OK;
    for (uint32_t i = 0; i < m->file.n_tensors && status == SLM_OK; i++) {
        status = check_tensor(m, i, flags, error);
    }
    return status;
}

/* Where tensor i begins, and with it the padding ends that belongs to the one before. */
static uint64_t tensor_start(const slm_file *f, uint32_t i)
{
    return i < f->n_tensors ? f->tensors[i].offset : f->n_bytes;
}

slm_status slm_model_arrived(slm_model *m, uint64_t n_bytes, uint32_t flags, uint64_t *n_good,
                             slm_error *error)
{
    slm_status status = SLM_OK;
    while (m->n_checked < m->file.n_tensors &&
           n_bytes >= tensor_start(&m->file, m->n_checked + 1) && status == SLM_OK) {
        status = check_tensor(m, m->n_checked, flags, error);
        m->n_checked += status == SLM_OK;
    }
    *n_good = tensor_start(&m->file, m->n_checked);
    if (m->n_checked == m->file.n_tensors && m->data_later) {
        slm_arena arena = m->vectors;
        m->data_later = false;
        bind_weights(m, &arena);
    }
    return status;
}

/* Runs twice: on a measuring arena, and on the caller's memory with *m inside it. */
static slm_status layout(slm_model *m, slm_arena *arena, const void *bytes, size_t n_bytes,
                         uint32_t flags, slm_error *error)
{
    slm_status status = slm_file_open(&m->file, arena, bytes, n_bytes, n_bytes, error);
    if (status == SLM_OK) {
        status = read_config(m, error);
    }
    if (status == SLM_OK) {
        status = open_text(m, arena, error);
    }
    if (status != SLM_OK || (flags & SLM_MODEL_TOKENIZER_ONLY)) {
        return status;
    }
    if (arena->base) {
        status = slm_config_check_tensors(&m->config, &m->file, error);
    }
    m->layers = (slm_layer *)arena_take(arena, m->config.n_layers, sizeof(slm_layer));
    m->rope_dim = m->config.rope_dim ? m->config.rope_dim : m->config.head_dim;
    m->rope_frequency = (double *)arena_take(arena, m->rope_dim / 2, sizeof(double));
    if (m->config.rope_local_theta > 0) {
        m->local_frequency = (double *)arena_take(arena, m->rope_dim / 2, sizeof(double));
    }
    if (status != SLM_OK || arena->failed) {
        return status;
    }
    if (!arena->base) {
        take_vectors(arena, &m->config);
        return SLM_OK;
    }
    m->data_later = (flags & SLM_MODEL_DATA_LATER) != 0;
    m->vectors = *arena;
    bind_weights(m, arena);
    return m->data_later ? SLM_OK : check_contents(m, flags, error);
}

slm_status slm_model_bytes(const void *file, size_t file_bytes, uint32_t flags, size_t *bytes,
                           slm_error *error)
{
    slm_model m;
    memset(&m, 0, sizeof m);
    slm_arena arena = arena_measure();
    arena_take(&arena, 1, sizeof(slm_model));
    slm_status status = layout(&m, &arena, file, file_bytes, flags, error);
    if (status != SLM_OK) {
        return status;
    }
    if (arena.failed || arena.used > SIZE_MAX - 64) {
        return slm_fail(error, SLM_ERR_TOO_LARGE, 0, "the model does not fit this address space");
    }
    *bytes = (size_t)arena.used;
    return SLM_OK;
}

slm_status slm_model_init(void *memory, size_t memory_bytes, const void *file, size_t file_bytes,
                          uint32_t flags, const char *kernels, slm_model **model, slm_error *error)
{
    slm_arena arena = arena_over(memory, memory_bytes);
    slm_model *m = (slm_model *)arena_take(&arena, 1, sizeof(slm_model));
    if (!m || (uintptr_t)memory % 64 != 0 || (uintptr_t)file % 64 != 0) {
        return slm_fail(error, m ? SLM_ERR_ARGUMENT : SLM_ERR_MEMORY, 0,
                        "a model needs memory and file bytes at 64-byte boundaries");
    }
    memset(m, 0, sizeof *m);
    m->kernels = slm_kernels_select(kernels);
    if (!m->kernels) {
        return slm_fail(error, SLM_ERR_KERNELS, 0, "kernels '%s' are not available on this machine",
                        kernels);
    }
    slm_status status = layout(m, &arena, file, file_bytes, flags, error);
    if (status == SLM_OK && arena.failed) {
        status = slm_fail(error, SLM_ERR_MEMORY, 0, "the model needs more than %l bytes of memory",
                          (uint64_t)memory_bytes);
    }
    if (status == SLM_OK) {
        m->memory_bytes = memory_bytes;
        *model = m;
    }
    return status;
}

void slm_model_describe(const slm_model *m, slm_model_info *info)
{
    const slm_config *c = &m->config;
    slm_model_info described = {.architecture = m->file.architecture,
                                .kernels = m->kernels->name,
                                .n_parameters = m->file.n_parameters,
                                .content_checksum = m->file.content_checksum,
                                .layout_checksum = m->file.layout_checksum,
                                .tokenizer_checksum = m->file.tokenizer_checksum,
                                .n_vocab = c->n_vocab,
                                .n_context = c->n_context,
                                .n_layers = c->n_layers,
                                .d_model = c->d_model,
                                .bos_id = c->bos_id,
                                .eos_id = c->n_stop_ids ? c->stop_ids[0] : -1,
                                .temperature = c->temperature,
                                .top_p = c->top_p,
                                .min_p = c->min_p,
                                .top_k = c->top_k};
    *info = described;
}

const slm_tokenizer *slm_model_tokenizer(const slm_model *m)
{
    return m->tokenizer;
}

int slm_model_has_chat(const slm_model *m)
{
    return m->chat != NULL;
}

slm_status slm_chat_encode(const slm_model *m, const slm_message *messages, size_t n_messages,
                           uint32_t flags, int32_t *ids, size_t capacity, size_t *n_ids,
                           void *scratch, size_t scratch_bytes, slm_error *error)
{
    if (!m->chat) {
        return slm_fail(error, SLM_ERR_CHAT, 0, "the model carries no chat turns");
    }
    return slm_chat_write(m->chat, m->tokenizer, messages, n_messages, flags, ids, capacity, n_ids,
                          scratch, scratch_bytes, error);
}
