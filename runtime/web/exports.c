/* exports.c - the functions that the wasm module exports: slm.h for a caller that can pass only
 * numbers. slm-worker.js is that caller.
 *
 * The module is one engine: one model, one session of several sequences. Its linear memory is the
 * arena:
 *
 *     | stack | constants | file | model | team | session | chunk | input, ids, scratch of a call |
 *                                                                 ^ engine.mark: calls start here
 *
 * The file is written by JavaScript straight to where web_reserve says; memory grows by memory.grow
 * and never shrinks: unloading is dropping the instance. Functions that can fail return an
 * slm_status; web_error_* then tell more.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"
#include "port/port.h"
#include "port/wasm.h"
#include "slm.h"

#define EXPORT(name) __attribute__((export_name(#name), used)) name

enum { PAGE_BYTES = 65536, OUT_BYTES = 1024, MAX_STREAMS = 17, MAX_CHUNK = 4096 };

extern unsigned char __heap_base; /* where wasm-ld ends the constants */

/* What belongs to one text in the making; as many as sequences, and one for calls in between. */
typedef struct stream {
    slm_sampler sampler;
    slm_decoder decoder;
    slm_hash digest;
} stream;

static struct engine {
    uintptr_t top, mark; /* first free byte; the same once the session is made */
    slm_model *model;
    slm_model_info info;
    const slm_tokenizer *tokenizer;
    slm_team *team;
    slm_session *session;
    slm_session_options options;
    size_t model_bytes, team_bytes, session_bytes;
    int32_t *chunk;  /* ids on their way through the model, which calls in between leave alone */
    uint64_t n_good; /* bytes of the file that have been checked */
    const int32_t *ids;
    size_t n_ids;
    size_t n_out; /* bytes in `out` */
    stream streams[MAX_STREAMS];
    char out[OUT_BYTES];
    slm_error error;
} engine;

/* ---- Memory ---------------------------------------------------------------------------------- */

static void *reserve(uint64_t n_bytes)
{
    uint64_t start = engine.top ? engine.top : (uintptr_t)&__heap_base;
    start = (start + 63) & ~(uint64_t)63;
    uint64_t end = start + n_bytes;
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * PAGE_BYTES;
    if (n_bytes > UINT32_MAX || end > UINT32_MAX - PAGE_BYTES) {
        return NULL;
    }
    if (end > have) {
        size_t pages = (size_t)((end - have + PAGE_BYTES - 1) / PAGE_BYTES);
        if (__builtin_wasm_memory_grow(0, pages) == SIZE_MAX) {
            return NULL;
        }
    }
    engine.top = (uintptr_t)end;
    return (void *)(uintptr_t)start;
}

static slm_status no_memory(uint64_t n_bytes)
{
    return slm_fail(&engine.error, SLM_ERR_MEMORY, 0, "the page grants no further %l bytes",
                    n_bytes);
}

/* Room for n_bytes, 64-byte aligned; 0 if there is none. Before web_load: the file. */
uint32_t EXPORT(web_reserve)(uint32_t n_bytes)
{
    return (uint32_t)(uintptr_t)reserve(n_bytes);
}

/* Forgets the last call's input and makes room for the next one's; 0 if there is none. */
uint32_t EXPORT(web_input)(uint32_t n_bytes)
{
    engine.top = engine.mark;
    return (uint32_t)(uintptr_t)reserve(n_bytes);
}

/* ---- Setting up ------------------------------------------------------------------------------ */

/* Sets the model up over a file of n_bytes of which all but the tensor data is there. */
uint32_t EXPORT(web_model)(const void *file, uint32_t n_bytes)
{
    uint32_t flags = SLM_MODEL_DATA_LATER;
    slm_status status = slm_model_bytes(file, n_bytes, flags, &engine.model_bytes, &engine.error);
    if (status != SLM_OK) {
        return status;
    }
    void *memory = reserve(engine.model_bytes);
    if (!memory) {
        return no_memory(engine.model_bytes);
    }
    status = slm_model_init(memory, engine.model_bytes, file, n_bytes, flags, NULL, &engine.model,
                            &engine.error);
    if (status == SLM_OK) {
        slm_model_describe(engine.model, &engine.info);
        engine.tokenizer = slm_model_tokenizer(engine.model);
    }
    return status;
}

/* Says what team and session shall be, and how much they take: NUMBERS. Zeros stand for the
 * defaults of slm_session_options. */
uint32_t EXPORT(web_measure)(uint32_t n_context, uint32_t n_chunk, uint32_t kv_type,
                             uint32_t n_threads, uint32_t n_sequences)
{
    slm_session_options options = {.n_context = n_context,
                                   .n_chunk = n_chunk,
                                   .n_sequences = n_sequences,
                                   .kv_type = (slm_kv_type)kv_type,
                                   .n_threads = n_threads};
    engine.options = options;
    engine.team_bytes = slm_team_bytes(n_threads);
    return slm_session_bytes(engine.model, &options, &engine.session_bytes, &engine.error);
}

/* Makes the team and the session that were measured. The other threads join as wasm_threads.c
 * says. */
uint32_t EXPORT(web_open)(void)
{
    uintptr_t top = engine.top;
    void *team = reserve(engine.team_bytes), *memory = team ? reserve(engine.session_bytes) : NULL;
    engine.chunk = memory ? (int32_t *)reserve(MAX_CHUNK * sizeof *engine.chunk) : NULL;
    if (!engine.chunk) {
        engine.top = top; /* for another try with less */
        return no_memory((uint64_t)engine.team_bytes + engine.session_bytes);
    }
    slm_status status = slm_team_start(team, engine.team_bytes, engine.options.n_threads,
                                       &engine.team, &engine.error);
    if (status == SLM_OK) {
        status = slm_session_init(memory, engine.session_bytes, engine.model, &engine.options,
                                  engine.team, &engine.session, &engine.error);
    }
    engine.mark = engine.top;
    return status;
}

/* The first n_bytes of the file are there. check: SLM_MODEL_CHECK_*. */
uint32_t EXPORT(web_arrived)(uint32_t n_bytes, uint32_t check)
{
    return slm_model_arrived(engine.model, n_bytes, check, &engine.n_good, &engine.error);
}

/* Sets the clock, which stands still between calls: before and after each call that takes long. */
void EXPORT(web_time)(double seconds)
{
    wasm_set_clock(seconds);
    slm_team_end(engine.team);
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* Room for the ids of n_bytes of text and for making them. */
static void *reserve_ids(uint64_t n_bytes, int32_t **ids, size_t *capacity, size_t *n_scratch)
{
    uint64_t n = 3 * n_bytes + 8;
    *n_scratch = slm_encode_scratch_bytes(engine.tokenizer, (size_t)n_bytes);
    *capacity = (size_t)n;
    *ids = n < SIZE_MAX / sizeof **ids ? (int32_t *)reserve(n * sizeof **ids) : NULL;
    engine.ids = *ids;
    engine.n_ids = 0;
    return *ids && *n_scratch < SIZE_MAX ? reserve(*n_scratch) : NULL;
}

static slm_status no_tokenizer(void)
{
    return slm_fail(&engine.error, SLM_ERR_NO_TOKENIZER, 0, "the model carries no tokenizer");
}

/* The n_bytes of text at web_input() to ids: AT_IDS, AT_N_IDS. */
uint32_t EXPORT(web_encode)(const char *text, uint32_t n_bytes, uint32_t flags)
{
    if (!engine.tokenizer) {
        return no_tokenizer();
    }
    int32_t *ids;
    size_t capacity, n_scratch;
    void *scratch = reserve_ids(n_bytes, &ids, &capacity, &n_scratch);
    if (!scratch) {
        return no_memory(n_bytes);
    }
    return slm_encode(engine.tokenizer, text, n_bytes, flags, ids, capacity, &engine.n_ids, scratch,
                      n_scratch, &engine.error);
}

/* Messages at web_input() to ids, as web_encode. */
uint32_t EXPORT(web_chat)(const slm_message *messages, uint32_t n_messages, uint32_t flags)
{
    if (!slm_model_has_chat(engine.model)) {
        return slm_fail(&engine.error, SLM_ERR_CHAT, 0, "the model carries no chat turns");
    }
    uint64_t n_bytes = 4096; /* and 512 a message, which slm_chat_encode asks for */
    for (uint32_t i = 0; i < n_messages; i++) {
        n_bytes += (uint64_t)messages[i].n_bytes + 512;
    }
    int32_t *ids;
    size_t capacity, n_scratch;
    void *scratch = reserve_ids(n_bytes, &ids, &capacity, &n_scratch);
    if (!scratch) {
        return no_memory(n_bytes);
    }
    return slm_chat_encode(engine.model, messages, n_messages, flags, ids, capacity, &engine.n_ids,
                           scratch, n_scratch, &engine.error);
}

void EXPORT(web_decoder_reset)(uint32_t stream, uint32_t flags)
{
    slm_decoder_init(&engine.streams[stream].decoder, flags);
}

/* The text that id completes: AT_OUT, AT_N_OUT. */
uint32_t EXPORT(web_decode)(uint32_t stream, int32_t id)
{
    engine.n_out = 0;
    return engine.tokenizer
               ? slm_decoder_push(&engine.streams[stream].decoder, engine.tokenizer, id, engine.out,
                                  OUT_BYTES, &engine.n_out, &engine.error)
               : no_tokenizer();
}

void EXPORT(web_decoder_flush)(uint32_t stream)
{
    engine.n_out = slm_decoder_flush(&engine.streams[stream].decoder, engine.out);
}

uint32_t EXPORT(web_is_end)(int32_t id)
{
    return engine.tokenizer ? (uint32_t)slm_token_is_end(engine.tokenizer, id) : 0;
}

/* ---- Evaluation ------------------------------------------------------------------------------ */

static void add_to_digest(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    (void)index;
    slm_hash_update((slm_hash *)user, logits, (size_t)n_vocab * sizeof *logits);
}

/* Begins to append the n_ids (up to 4096) at AT_CHUNK, which web_step goes on with; with_digest:
 * logits of every position enter the digest. */
uint32_t EXPORT(web_begin)(uint32_t sequence, uint32_t n_ids, uint32_t with_digest)
{
    slm_eval_options options = {.sequence = sequence,
                                .every_position = with_digest ? add_to_digest : NULL,
                                .user = &engine.streams[sequence].digest};
    return slm_session_begin(engine.session, engine.chunk, n_ids, &options, &engine.error);
}

uint32_t EXPORT(web_step)(uint32_t n_layers)
{
    return (uint32_t)slm_session_step(engine.session, n_layers);
}

/* Also ends what web_begin began. */
void EXPORT(web_truncate)(uint32_t sequence, uint32_t n_tokens)
{
    slm_session_truncate(engine.session, sequence, n_tokens);
}

void EXPORT(web_fork)(uint32_t from, uint32_t to)
{
    slm_session_fork(engine.session, from, to);
}

/* The state of a sequence that holds these ids (at web_input): AT_IDS, AT_N_IDS bytes. */
uint32_t EXPORT(web_save)(uint32_t sequence, const int32_t *ids)
{
    engine.n_ids = slm_session_state_bytes(engine.session, sequence);
    void *state = reserve(engine.n_ids);
    if (!state) {
        return no_memory(engine.n_ids);
    }
    slm_session_save(engine.session, sequence, ids, state);
    engine.ids = (const int32_t *)state;
    return SLM_OK;
}

/* A state at web_input(). Its ids are then AT_IDS; AT_LENGTH of them are in place. */
uint32_t EXPORT(web_restore)(uint32_t sequence, const void *state, uint32_t n_bytes)
{
    uint32_t n_ids = 0, n_kept = 0;
    slm_status status = slm_session_restore(engine.session, sequence, state, n_bytes, &engine.ids,
                                            &n_ids, &n_kept, &engine.error);
    engine.n_ids = n_ids;
    return status;
}

void EXPORT(web_digest_reset)(uint32_t stream)
{
    slm_hash_init(&engine.streams[stream].digest, 0);
}

uint64_t EXPORT(web_digest)(uint32_t stream)
{
    return slm_hash_final(&engine.streams[stream].digest);
}

uint32_t EXPORT(web_sampler)(uint32_t stream, float temperature, uint32_t top_k, float top_p,
                             float min_p, uint64_t seed)
{
    return slm_sampler_init(&engine.streams[stream].sampler, temperature, top_k, top_p, min_p, seed,
                            &engine.error);
}

int32_t EXPORT(web_sample)(uint32_t stream)
{
    return slm_sample(&engine.streams[stream].sampler, slm_session_logits(engine.session),
                      engine.info.n_vocab);
}

/* ---- What there is to know ------------------------------------------------------------------- */

/* Addresses, and the numbers that belong to them; the order is the list AT in slm-worker.js. */
uint32_t EXPORT(web_at)(uint32_t which)
{
    switch (which) {
    case 0: return (uint32_t)(uintptr_t)engine.ids;
    case 1: return (uint32_t)engine.n_ids; /* or bytes of a state */
    case 2: return (uint32_t)(uintptr_t)engine.out;
    case 3: return (uint32_t)engine.n_out;
    case 4: return (uint32_t)(uintptr_t)slm_session_logits(engine.session);
    case 5: return (uint32_t)(uintptr_t)engine.chunk;
    default: return (uint32_t)engine.n_good;
    }
}

uint32_t EXPORT(web_length)(uint32_t sequence)
{
    return slm_session_length(engine.session, sequence);
}

/* Numbers that slm-worker.js asks for; the order is the list NUMBERS there. */
double EXPORT(web_number)(uint32_t which)
{
    const slm_model_info *i = &engine.info;
    slm_stats s = {0};
    if (engine.session) {
        slm_session_stats(engine.session, &s);
    }
    const double numbers[] = {
        (double)i->n_parameters,
        i->n_vocab,
        i->n_context,
        i->n_layers,
        i->d_model,
        i->bos_id,
        i->eos_id,
        (double)i->temperature,
        i->top_k,
        (double)i->top_p,
        (double)i->min_p,
        engine.session ? slm_session_context(engine.session) : 0,
        engine.options.n_sequences,
        engine.tokenizer != NULL,
        engine.model && slm_model_has_chat(engine.model),
        (double)s.prompt_tokens,
        (double)s.generated_tokens,
        (double)s.file_bytes,
        engine.model_bytes,
        engine.session_bytes,
        s.kv_blocks_total,
        s.kv_blocks_used,
        (double)s.copies_on_write,
        slm_team_size(engine.team),
        engine.team_bytes,
    };
    return which < sizeof numbers / sizeof numbers[0] ? numbers[which] : 0;
}

/* NUL-terminated text: 0 architecture, 1 kernel variant, 2 the version of the runtime. */
const char *EXPORT(web_text)(uint32_t which)
{
    const char *texts[] = {engine.info.architecture, engine.info.kernels, SLM_VERSION};
    const char *text = which < sizeof texts / sizeof texts[0] ? texts[which] : NULL;
    return text ? text : "";
}

/* 0: content, 1: layout, 2: tokenizer checksum. */
uint64_t EXPORT(web_checksum)(uint32_t which)
{
    const uint64_t sums[] = {engine.info.content_checksum, engine.info.layout_checksum,
                             engine.info.tokenizer_checksum};
    return which < sizeof sums / sizeof sums[0] ? sums[which] : 0;
}

const char *EXPORT(web_status_name)(uint32_t status)
{
    return slm_status_name((slm_status)status);
}

const char *EXPORT(web_error_text)(void)
{
    return engine.error.text;
}

double EXPORT(web_error_offset)(void)
{
    return (double)engine.error.offset;
}
