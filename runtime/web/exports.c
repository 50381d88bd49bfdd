/* exports.c - the functions that the wasm module exports: slm.h for a caller that can pass only
 * numbers. slm.js is that caller.
 *
 * The module is one engine: one model, one session. Its linear memory is the arena:
 *
 *     | stack | constants | file | model | team | session | input, ids, scratch of a call |
 *                                                         ^ engine.mark: each call starts here
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

enum { PAGE_BYTES = 65536, OUT_BYTES = 1024 };

extern unsigned char __heap_base; /* where wasm-ld ends the constants */

static struct engine {
    uintptr_t top, mark; /* first free byte; the same once the session is made */
    slm_model *model;
    slm_model_info info;
    const slm_tokenizer *tokenizer;
    slm_team *team;
    slm_session *session;
    slm_sampler sampler;
    slm_decoder decoder;
    slm_hash digest;
    const int32_t *ids;
    size_t n_ids;
    size_t n_out; /* bytes in `out` */
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

/* Sets the model up over a file that web_reserve made room for. */
uint32_t EXPORT(web_load)(const void *file, uint32_t n_bytes, uint32_t flags)
{
    size_t need = 0;
    slm_status status = slm_model_bytes(file, n_bytes, flags, &need, &engine.error);
    if (status != SLM_OK) {
        return status;
    }
    void *memory = reserve(need);
    if (!memory) {
        return no_memory(need);
    }
    status = slm_model_init(memory, need, file, n_bytes, flags, NULL, &engine.model, &engine.error);
    if (status == SLM_OK) {
        slm_model_describe(engine.model, &engine.info);
        engine.tokenizer = slm_model_tokenizer(engine.model);
        engine.mark = engine.top;
    }
    return status;
}

static slm_status start_team(uint32_t n_threads)
{
    size_t need = slm_team_bytes(n_threads);
    void *memory = reserve(need);
    if (!memory) {
        return no_memory(need);
    }
    return slm_team_start(memory, need, n_threads, &engine.team, &engine.error);
}

/* Makes the team and the session. Zeros stand for the defaults of slm_session_options. The other
 * threads join as wasm_threads.c says. */
uint32_t EXPORT(web_open)(uint32_t n_context, uint32_t n_chunk, uint32_t kv_type,
                          uint32_t n_threads)
{
    slm_session_options options = {.n_context = n_context,
                                   .n_chunk = n_chunk,
                                   .kv_type = (slm_kv_type)kv_type,
                                   .n_threads = n_threads};
    size_t need = 0;
    slm_status status = start_team(n_threads ? n_threads : 1);
    if (status == SLM_OK) {
        status = slm_session_bytes(engine.model, &options, &need, &engine.error);
    }
    if (status != SLM_OK) {
        return status;
    }
    void *memory = reserve(need);
    if (!memory) {
        return no_memory(need);
    }
    status = slm_session_init(memory, need, engine.model, &options, engine.team, &engine.session,
                              &engine.error);
    engine.mark = engine.top;
    return status;
}

/* Sets the clock, which stands still between calls: before and after each call that takes long. */
void EXPORT(web_time)(double seconds)
{
    wasm_set_clock(seconds);
    slm_team_end(engine.team);
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* The n_bytes of text at web_input() to ids: web_ids(), web_ids_count(). */
uint32_t EXPORT(web_encode)(const char *text, uint32_t n_bytes, uint32_t flags)
{
    if (!engine.tokenizer) {
        return slm_fail(&engine.error, SLM_ERR_NO_TOKENIZER, 0, "the model carries no tokenizer");
    }
    uint64_t capacity = 3 * (uint64_t)n_bytes + 8;
    uint64_t need = slm_encode_scratch_bytes(engine.tokenizer, n_bytes);
    int32_t *ids = (int32_t *)reserve(capacity * sizeof *ids);
    void *scratch = ids && need < SIZE_MAX ? reserve(need) : NULL;
    if (!scratch) {
        return no_memory(need + capacity * sizeof *ids);
    }
    engine.ids = ids;
    engine.n_ids = 0;
    return slm_encode(engine.tokenizer, text, n_bytes, flags, ids, (size_t)capacity, &engine.n_ids,
                      scratch, (size_t)need, &engine.error);
}

const int32_t *EXPORT(web_ids)(void)
{
    return engine.ids;
}

uint32_t EXPORT(web_ids_count)(void)
{
    return (uint32_t)engine.n_ids;
}

void EXPORT(web_decoder_reset)(uint32_t flags)
{
    slm_decoder_init(&engine.decoder, flags);
}

/* The text that id completes: web_out(), web_out_bytes(). */
uint32_t EXPORT(web_decode)(int32_t id)
{
    engine.n_out = 0;
    if (!engine.tokenizer) {
        return slm_fail(&engine.error, SLM_ERR_NO_TOKENIZER, 0, "the model carries no tokenizer");
    }
    return slm_decoder_push(&engine.decoder, engine.tokenizer, id, engine.out, OUT_BYTES,
                            &engine.n_out, &engine.error);
}

void EXPORT(web_decoder_flush)(void)
{
    engine.n_out = slm_decoder_flush(&engine.decoder, engine.out);
}

const char *EXPORT(web_out)(void)
{
    return engine.out;
}

uint32_t EXPORT(web_out_bytes)(void)
{
    return (uint32_t)engine.n_out;
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

/* Appends ids; with_digest: logits of every position enter the digest. */
uint32_t EXPORT(web_eval)(const int32_t *ids, uint32_t n_ids, uint32_t with_digest)
{
    slm_eval_options options = {.every_position = with_digest ? add_to_digest : NULL,
                                .user = &engine.digest};
    return slm_session_eval(engine.session, ids, n_ids, &options, &engine.error);
}

const float *EXPORT(web_logits)(void)
{
    return slm_session_logits(engine.session);
}

void EXPORT(web_digest_reset)(void)
{
    slm_hash_init(&engine.digest, 0);
}

uint64_t EXPORT(web_digest)(void)
{
    return slm_hash_final(&engine.digest);
}

uint32_t EXPORT(web_truncate)(uint32_t n_tokens)
{
    return slm_session_truncate(engine.session, 0, n_tokens);
}

uint32_t EXPORT(web_sampler)(float temperature, uint32_t top_k, float top_p, float min_p,
                             uint64_t seed)
{
    return slm_sampler_init(&engine.sampler, temperature, top_k, top_p, min_p, seed, &engine.error);
}

int32_t EXPORT(web_sample)(void)
{
    return slm_sample(&engine.sampler, slm_session_logits(engine.session), engine.info.n_vocab);
}

/* ---- What there is to know ------------------------------------------------------------------- */

/* Numbers that slm.js asks for; the order is the list NUMBERS there. */
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
        engine.session ? slm_session_length(engine.session, 0) : 0,
        (double)s.prompt_tokens,
        (double)s.generated_tokens,
        (double)s.file_bytes,
        (double)s.model_bytes,
        (double)s.session_bytes,
        s.kv_blocks_total,
        s.kv_blocks_used,
        engine.tokenizer != NULL,
        slm_team_size(engine.team),
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
