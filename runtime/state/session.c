/* session.c - a model at work: sequences of tokens with their cached keys and values.
 *
 * One block of memory:   | slm_session | forward buffers | KV pool |
 *
 * A saved state (slm_session_save), little-endian:
 *
 *     8 magic | 4 KV type | 4 layers | 4 bytes of a cache row | 4 tokens | 8 content checksum |
 *     8 bytes in all | 8 checksum of all that follows and of the 40 bytes before |
 *     4 each: ids, zeros to a multiple of 8 | for each layer and whole block: keys, then values
 */
#include <string.h>

#include "base/bytes.h"
#include "base/status.h"
#include "port/port.h"
#include "state/kv_pool.h"

enum {
    DEFAULT_CHUNK = 128,
    DEFAULT_CONTEXT_LIMIT = 4096,
    MAX_CONTEXT = 1 << 24,
    MAX_CHUNK = 4096,
    MAX_SEQUENCES = 64,
    MAX_THREADS = 256,
    STATE_AT_CHECKSUM = 40,
    STATE_HEADER_BYTES = 48
};

static const uint8_t STATE_MAGIC[8] = {'S', 'L', 'M', 's', 't', 'a', 't', 1};

/* Tokens on their way through the model. */
typedef struct evaluation {
    slm_eval_options options;
    const int32_t *ids;
    size_t n_ids, done;
    bool is_prompt;
    double started;
    uint32_t n_chunk; /* tokens after `done` that are between layers; 0: none are */
    uint32_t pos0;    /* position of the first of them */
    uint32_t layer;   /* that they go through next */
} evaluation;

struct slm_session {
    slm_forward forward;
    slm_kv_pool pool;
    uint32_t n_context;
    uint32_t last_row; /* of forward.logits: where the last evaluated token's logits are */
    uint64_t memory_bytes;
    uint64_t prompt_tokens, generated_tokens;
    double prompt_seconds, generate_seconds;
    evaluation evaluation;
};

static slm_status resolve(const slm_model *model, const slm_session_options *given,
                          slm_session_options *o, slm_error *error)
{
    memset(o, 0, sizeof *o);
    if (given) {
        *o = *given;
    }
    if (o->n_context == 0) {
        uint32_t trained = model->config.n_context;
        o->n_context = trained < DEFAULT_CONTEXT_LIMIT ? trained : DEFAULT_CONTEXT_LIMIT;
    }
    o->n_chunk = o->n_chunk ? o->n_chunk : DEFAULT_CHUNK;
    o->n_sequences = o->n_sequences ? o->n_sequences : 1;
    o->n_threads = o->n_threads ? o->n_threads : 1;
    if (o->n_context > MAX_CONTEXT || o->n_chunk > MAX_CHUNK || o->n_sequences > MAX_SEQUENCES ||
        o->n_threads > MAX_THREADS || (uint32_t)o->kv_type > SLM_KV_Q8_0) {
        return slm_fail(
            error, SLM_ERR_ARGUMENT, 0,
            "session of context %u, chunk %u, %u sequences, %u threads, KV type %u: out "
            "of range",
            o->n_context, o->n_chunk, o->n_sequences, o->n_threads, (uint32_t)o->kv_type);
    }
    if (model->layers != NULL && model->config.learned_positions &&
        o->n_context > model->config.n_context) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 0,
                        "a context of %u, but the model has learned positions for %u only",
                        o->n_context, model->config.n_context);
    }
    if (model->layers == NULL) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 0, "the model was opened for its tokenizer alone");
    }
    return SLM_OK;
}

/* Runs twice: measuring, and on the caller's memory. */
static void layout(slm_session *s, slm_arena *arena, const slm_model *model,
                   const slm_session_options *o)
{
    s->n_context = o->n_context;
    s->forward.model = model;
    s->forward.n_threads = o->n_threads;
    s->forward.n_chunk = o->n_chunk;
    s->forward.kv_type = o->kv_type;
    slm_forward_layout(&s->forward, arena);
    kv_pool_layout(&s->pool, arena, model->config.n_layers, o->n_sequences, o->n_context,
                   s->forward.kv_row_bytes);
}

/* Row buffers are indexed with size_t, which a 32-bit machine could overflow before the arena is
 * asked. */
static bool rows_fit(const slm_model *model, const slm_session_options *o)
{
    const slm_config *c = &model->config;
    uint64_t widest = (uint64_t)c->n_heads * c->head_dim;
    widest = widest > c->d_ff ? widest : c->d_ff;
    widest = widest > c->d_model ? widest : c->d_model;
    widest = widest > c->n_vocab ? widest : c->n_vocab;
    return (widest + 64) * 8 <= SIZE_MAX / (o->n_chunk + (uint64_t)SLM_LOGITS_TILE);
}

slm_status slm_session_bytes(const slm_model *model, const slm_session_options *options,
                             size_t *bytes, slm_error *error)
{
    slm_session_options o;
    slm_status status = resolve(model, options, &o, error);
    if (status != SLM_OK) {
        return status;
    }
    slm_session s;
    memset(&s, 0, sizeof s);
    slm_arena arena = arena_measure();
    arena_take(&arena, 1, sizeof(slm_session));
    if (rows_fit(model, &o)) {
        layout(&s, &arena, model, &o);
    } else {
        arena.failed = true;
    }
    if (arena.failed || arena.used > SIZE_MAX - 64) {
        return slm_fail(error, SLM_ERR_TOO_LARGE, 0,
                        "a session of %u positions does not fit this address space", o.n_context);
    }
    *bytes = (size_t)arena.used;
    return SLM_OK;
}

slm_status slm_session_init(void *memory, size_t memory_bytes, const slm_model *model,
                            const slm_session_options *options, slm_team *team,
                            slm_session **session, slm_error *error)
{
    size_t need;
    slm_session_options o;
    slm_status status = slm_session_bytes(model, options, &need, error);
    if (status == SLM_OK) {
        status = resolve(model, options, &o, error);
    }
    if (status != SLM_OK) {
        return status;
    }
    if (!memory || memory_bytes < need || (uintptr_t)memory % 64 != 0) {
        return slm_fail(error, SLM_ERR_MEMORY, 0,
                        "the session needs %l bytes at a 64-byte boundary", (uint64_t)need);
    }
    if (slm_team_size(team) > o.n_threads) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 0,
                        "a team of %u threads but scratch for %u: raise n_threads",
                        slm_team_size(team), o.n_threads);
    }
    slm_arena arena = arena_over(memory, memory_bytes);
    slm_session *s = (slm_session *)arena_take(&arena, 1, sizeof(slm_session));
    memset(s, 0, sizeof *s);
    layout(s, &arena, model, &o);
    s->forward.team = team;
    s->memory_bytes = need;
    *session = s;
    return SLM_OK;
}

static slm_status check_ids(const slm_session *s, uint32_t sequence, const int32_t *ids,
                            size_t n_ids, slm_error *error)
{
    if (sequence >= s->pool.n_sequences) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 0, "sequence %u of %u", sequence,
                        s->pool.n_sequences);
    }
    uint32_t length = s->pool.sequences[sequence].length;
    if (n_ids > s->n_context - length) {
        return slm_fail(error, SLM_ERR_CONTEXT_FULL, 0,
                        "%l tokens after %u do not fit a context of %u", (uint64_t)n_ids, length,
                        s->n_context);
    }
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= s->forward.model->config.n_vocab) {
            return slm_fail(error, SLM_ERR_TOKEN_ID, i, "token id %i is not in a vocabulary of %u",
                            ids[i], s->forward.model->config.n_vocab);
        }
    }
    return SLM_OK;
}

/* Logits of tokens of the chunk: all of them for a sink, else the last one of the prompt. */
static void emit_logits(slm_session *s, const slm_eval_options *o, size_t first, uint32_t n,
                        bool is_last)
{
    slm_forward *f = &s->forward;
    if (!o->every_position) {
        if (is_last) {
            slm_forward_logits(f, n - 1, 1);
            s->last_row = 0;
        }
        return;
    }
    for (uint32_t t = 0; t < n; t += SLM_LOGITS_TILE) {
        uint32_t tile = n - t < SLM_LOGITS_TILE ? n - t : SLM_LOGITS_TILE;
        slm_forward_logits(f, t, tile);
        for (uint32_t i = 0; i < tile; i++) {
            o->every_position(o->user, first + t + i, f->logits + i * f->ld_vocab,
                              f->model->config.n_vocab);
        }
        s->last_row = tile - 1;
    }
}

slm_status slm_session_begin(slm_session *s, const int32_t *ids, size_t n_ids,
                             const slm_eval_options *options, slm_error *error)
{
    slm_session_stop(s);
    slm_eval_options o;
    memset(&o, 0, sizeof o);
    if (options) {
        o = *options;
    }
    slm_status status = check_ids(s, o.sequence, ids, n_ids, error);
    if (status == SLM_OK) {
        evaluation e = {.options = o,
                        .ids = ids,
                        .n_ids = n_ids,
                        .is_prompt = n_ids > 1 || s->pool.sequences[o.sequence].length == 0,
                        .started = slm_clock_seconds()};
        s->evaluation = e;
    }
    return status;
}

/* Takes room for the next tokens that go through the layers together. */
static void begin_chunk(slm_session *s, evaluation *e)
{
    size_t left = e->n_ids - e->done;
    e->n_chunk = left < s->forward.n_chunk ? (uint32_t)left : s->forward.n_chunk;
    e->pos0 = s->pool.sequences[e->options.sequence].length;
    e->layer = 0;
    kv_pool_extend(&s->pool, e->options.sequence, e->n_chunk);
    slm_team_begin(s->forward.team, e->n_chunk);
}

static void end_chunk(slm_session *s, evaluation *e)
{
    uint32_t n = e->n_chunk;
    emit_logits(s, &e->options, e->done, n, e->done + n == e->n_ids);
    slm_team_end(s->forward.team);
    e->n_chunk = 0;
    e->done += n;
    *(e->is_prompt ? &s->prompt_tokens : &s->generated_tokens) += n;
    if (e->options.progress && e->options.progress(e->options.user, e->done, e->n_ids) != 0) {
        e->n_ids = e->done;
    }
    if (e->done == e->n_ids) {
        double seconds = slm_clock_seconds() - e->started;
        *(e->is_prompt ? &s->prompt_seconds : &s->generate_seconds) += seconds;
    }
}

int slm_session_step(slm_session *s, uint32_t n_layers)
{
    evaluation *e = &s->evaluation;
    if (e->done == e->n_ids) {
        return 0;
    }
    if (e->n_chunk == 0) {
        begin_chunk(s, e);
    }
    uint32_t left = s->forward.model->config.n_layers - e->layer;
    uint32_t end = e->layer + (n_layers < left ? n_layers : left);
    slm_kv_view view = kv_pool_view(&s->pool, e->options.sequence);
    slm_forward_layers(&s->forward, &view, e->ids + e->done, e->n_chunk, e->pos0, e->layer, end);
    e->layer = end;
    if (n_layers >= left) {
        end_chunk(s, e);
    }
    return e->done != e->n_ids;
}

void slm_session_stop(slm_session *s)
{
    if (s->evaluation.n_chunk != 0) {
        kv_pool_truncate(&s->pool, s->evaluation.options.sequence, s->evaluation.pos0);
    }
    memset(&s->evaluation, 0, sizeof s->evaluation);
}

slm_status slm_session_eval(slm_session *s, const int32_t *ids, size_t n_ids,
                            const slm_eval_options *options, slm_error *error)
{
    slm_status status = slm_session_begin(s, ids, n_ids, options, error);
    while (status == SLM_OK && slm_session_step(s, UINT32_MAX)) {
    }
    return status;
}

float *slm_session_logits(slm_session *s)
{
    return s->forward.logits + s->last_row * s->forward.ld_vocab;
}

uint32_t slm_session_length(const slm_session *s, uint32_t sequence)
{
    return sequence < s->pool.n_sequences ? s->pool.sequences[sequence].length : 0;
}

uint32_t slm_session_context(const slm_session *s)
{
    return s->n_context;
}

slm_status slm_session_truncate(slm_session *s, uint32_t sequence, uint32_t n_tokens)
{
    if (sequence >= s->pool.n_sequences) {
        return SLM_ERR_ARGUMENT;
    }
    slm_session_stop(s);
    if (n_tokens < s->pool.sequences[sequence].length) {
        kv_pool_truncate(&s->pool, sequence, n_tokens);
    }
    return SLM_OK;
}

/* ---- Saved states ---------------------------------------------------------------------------- */

static uint64_t state_ids_bytes(uint64_t n_ids)
{
    return (4 * n_ids + 7) & ~(uint64_t)7;
}

static uint64_t state_bytes(const slm_session *s, uint64_t n_ids)
{
    return STATE_HEADER_BYTES + state_ids_bytes(n_ids) +
           n_ids / SLM_KV_BLOCK * s->pool.block_bytes * 2 * s->pool.n_layers;
}

static void state_header(const slm_session *s, uint32_t n_ids, uint8_t *header)
{
    memcpy(header, STATE_MAGIC, 8);
    store_u32(header + 8, s->forward.kv_type);
    store_u32(header + 12, s->pool.n_layers);
    store_u32(header + 16, (uint32_t)s->forward.kv_row_bytes);
    store_u32(header + 20, n_ids);
    store_u64(header + 24, s->forward.model->file.content_checksum);
    store_u64(header + 32, state_bytes(s, n_ids));
}

static uint64_t state_checksum(const uint8_t *state, size_t n_bytes)
{
    slm_hash hash;
    slm_hash_init(&hash, 0);
    slm_hash_update(&hash, state, STATE_AT_CHECKSUM);
    slm_hash_update(&hash, state + STATE_HEADER_BYTES, n_bytes - STATE_HEADER_BYTES);
    return slm_hash_final(&hash);
}

size_t slm_session_state_bytes(const slm_session *s, uint32_t sequence)
{
    return (size_t)state_bytes(s, slm_session_length(s, sequence));
}

void slm_session_save(const slm_session *s, uint32_t sequence, const int32_t *ids, void *state)
{
    uint8_t *out = (uint8_t *)state, *at = out + STATE_HEADER_BYTES;
    uint32_t n = slm_session_length(s, sequence);
    state_header(s, n, out);
    memset(at, 0, (size_t)state_ids_bytes(n));
    for (uint32_t i = 0; i < n; i++) {
        store_u32(at + 4 * (size_t)i, (uint32_t)ids[i]);
    }
    kv_pool_save(&s->pool, sequence, at + state_ids_bytes(n));
    store_u64(out + STATE_AT_CHECKSUM, state_checksum(out, (size_t)state_bytes(s, n)));
}

/* That it is a whole, undamaged state of this model; *n_ids: its tokens. */
static slm_status check_state(const slm_session *s, const uint8_t *state, size_t n_bytes,
                              uint32_t *n_ids, slm_error *error)
{
    uint8_t want[STATE_HEADER_BYTES];
    if (n_bytes < STATE_HEADER_BYTES) {
        return slm_fail(error, SLM_ERR_TRUNCATED, n_bytes, "a saved state ends in its header");
    }
    if (memcmp(state, STATE_MAGIC, 8) != 0) {
        return slm_fail(error, SLM_ERR_MAGIC, 0, "not a saved state");
    }
    *n_ids = load_u32(state + 20);
    state_header(s, *n_ids, want);
    if (memcmp(state + 8, want + 8, 12) != 0 || memcmp(state + 24, want + 24, 8) != 0) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 8,
                        "the saved state is of another model or KV type");
    }
    if (load_u64(state + 32) != n_bytes || n_bytes != state_bytes(s, *n_ids)) {
        return slm_fail(error, SLM_ERR_TRUNCATED, n_bytes, "the saved state has %l of %l bytes",
                        (uint64_t)n_bytes, load_u64(state + 32));
    }
    if (load_u64(state + STATE_AT_CHECKSUM) != state_checksum(state, n_bytes)) {
        return slm_fail(error, SLM_ERR_CHECKSUM, STATE_AT_CHECKSUM, "the saved state is damaged");
    }
    return SLM_OK;
}

slm_status slm_session_restore(slm_session *s, uint32_t sequence, const void *state, size_t n_bytes,
                               const int32_t **ids, uint32_t *n_ids, uint32_t *n_kept,
                               slm_error *error)
{
    const uint8_t *at = (const uint8_t *)state + STATE_HEADER_BYTES;
    uint32_t n = 0;
    slm_status status = check_state(s, (const uint8_t *)state, n_bytes, &n, error);
    if (status != SLM_OK) {
        return status;
    }
    slm_session_stop(s);
    const int32_t *held = (const int32_t *)(const void *)at;
    if (sequence >= s->pool.n_sequences) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 0, "sequence %u of %u", sequence,
                        s->pool.n_sequences);
    }
    if (n > s->n_context) {
        return slm_fail(error, SLM_ERR_CONTEXT_FULL, 0,
                        "a saved state of %u tokens does not fit a context of %u", n, s->n_context);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (held[i] < 0 || (uint32_t)held[i] >= s->forward.model->config.n_vocab) {
            return slm_fail(error, SLM_ERR_TOKEN_ID, i, "a saved state with token id %i", held[i]);
        }
    }
    *ids = held;
    *n_ids = n;
    *n_kept = n / SLM_KV_BLOCK * SLM_KV_BLOCK;
    kv_pool_truncate(&s->pool, sequence, 0);
    kv_pool_extend(&s->pool, sequence, *n_kept);
    kv_pool_restore(&s->pool, sequence, at + state_ids_bytes(n));
    return SLM_OK;
}

slm_status slm_session_fork(slm_session *s, uint32_t from, uint32_t to)
{
    slm_session_stop(s);
    if (from >= s->pool.n_sequences || to >= s->pool.n_sequences) {
        return SLM_ERR_ARGUMENT;
    }
    kv_pool_fork(&s->pool, from, to);
    return SLM_OK;
}

void slm_session_stats(const slm_session *s, slm_stats *stats)
{
    slm_stats filled = {.prompt_tokens = s->prompt_tokens,
                        .generated_tokens = s->generated_tokens,
                        .prompt_seconds = s->prompt_seconds,
                        .generate_seconds = s->generate_seconds,
                        .session_bytes = s->memory_bytes,
                        .model_bytes = s->forward.model->memory_bytes,
                        .file_bytes = s->forward.model->file.n_bytes,
                        .kv_blocks_total = s->pool.n_blocks,
                        .kv_blocks_used = s->pool.n_blocks - s->pool.n_free,
                        .copies_on_write = s->pool.copies_on_write,
                        .n_threads = slm_team_size(s->forward.team),
                        .kernels = s->forward.model->kernels->name};
    *stats = filled;
}
