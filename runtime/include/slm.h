/* slm.h - the whole public face of the slm runtime.
 *
 * The runtime turns the bytes of a .slm file and a sequence of token ids into logits, and logits
 * into tokens. It has no dependency: it opens no file, prints nothing, reads no environment, never
 * exits, and allocates nothing. Every object lives in one block of memory that the caller hands
 * over; a *_bytes() function says how large that block must be.
 *
 * The life of a program:
 *
 *     file bytes --slm_model_init--> model --slm_session_init--> session --slm_session_eval-->
 *     logits --slm_sample--> token id --slm_decoder_push--> text
 *
 * Ownership words used below: "borrows" (the object keeps a pointer; the memory must stay valid and
 * unchanged for as long as the object is used), "owns", "transfers".
 * Threads: a model and its tokenizer are immutable after initialisation and may be shared by any
 * number of threads. A session, sampler, decoder or team is used by one thread at a time.
 */
#ifndef SLM_H
#define SLM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLM_VERSION_MAJOR 0
#define SLM_VERSION_MINOR 1
#define SLM_VERSION_PATCH 0
#define SLM_VERSION "0.1.0"

/* ---- Status ---------------------------------------------------------------------------------- */

/* Values are pinned: they appear in JSON output and across the wasm boundary. */
typedef enum slm_status {
    SLM_OK = 0,

    SLM_ERR_TRUNCATED = 10, /* the bytes end before the structure that they announce does */

    SLM_ERR_MAGIC = 20,     /* not a .slm file */
    SLM_ERR_VERSION = 21,   /* a .slm file of a version that this build does not read */
    SLM_ERR_CHECKSUM = 22,  /* a stored checksum differs from the computed one */
    SLM_ERR_LAYOUT = 23,    /* sections or tensors overlap, leave holes, or are out of order */
    SLM_ERR_SECTION = 24,   /* a required section is missing, duplicate or unknown */
    SLM_ERR_DIRECTORY = 25, /* a tensor directory entry is malformed */
    SLM_ERR_CONFIG = 26,    /* a configuration field is malformed or out of range */
    SLM_ERR_TOKENIZER = 27, /* the tokenizer section is malformed */
    SLM_ERR_CHAT = 28,      /* the chat section is malformed */

    SLM_ERR_ARCHITECTURE = 30,   /* architecture unknown to this build */
    SLM_ERR_TENSOR_MISSING = 31, /* the architecture needs a tensor that is absent */
    SLM_ERR_TENSOR_EXTRA = 32,   /* a tensor that the architecture does not use */
    SLM_ERR_TENSOR_SHAPE = 33,   /* a tensor's shape disagrees with the configuration */
    SLM_ERR_TENSOR_TYPE = 34,    /* a tensor's type cannot serve in its place */
    SLM_ERR_NOT_FINITE = 35,     /* NaN or infinity in a weight or a block scale */

    SLM_ERR_ARGUMENT = 40,     /* an argument out of its documented range */
    SLM_ERR_TOKEN_ID = 41,     /* a token id outside the vocabulary */
    SLM_ERR_CONTEXT_FULL = 42, /* the session's context has no room for the tokens */
    SLM_ERR_KERNELS = 43,      /* the kernel variant asked for is not available here */
    SLM_ERR_NO_TOKENIZER = 44, /* the model carries no tokenizer */
    SLM_ERR_BUFFER = 45,       /* an output buffer is too small; the needed size is reported */

    SLM_ERR_MEMORY = 50,   /* the memory block handed over is too small */
    SLM_ERR_TOO_LARGE = 51 /* a size does not fit this machine's address space */
} slm_status;

/* What went wrong, in words. Owned by the caller; may be NULL wherever it is a parameter. Written
 * only when a function fails. text is NUL-terminated UTF-8 that names the place and, for a file,
 * offset is the byte position it speaks of (0 if none). */
typedef struct slm_error {
    slm_status code;
    uint64_t offset;
    char text[224];
} slm_error;

/* The pinned name of a status, such as "SLM_ERR_CHECKSUM". Never NULL; static storage. */
const char *slm_status_name(slm_status status);

/* ---- Types ----------------------------------------------------------------------------------- */

/* Element types of tensors. Values are stored in files. */
typedef enum slm_type {
    SLM_TYPE_F32 = 0,
    SLM_TYPE_F16 = 1,
    SLM_TYPE_BF16 = 2,
    SLM_TYPE_Q8_0 = 3,
    SLM_TYPE_Q4_0 = 4,
    SLM_TYPE_Q4_K = 5,
    SLM_TYPE_Q5_K = 6,
    SLM_TYPE_Q6_K = 7,
    SLM_TYPE_COUNT = 8
} slm_type;

/* Element types of the KV cache. */
typedef enum slm_kv_type {
    SLM_KV_F16 = 0, /* the default */
    SLM_KV_F32 = 1,
    SLM_KV_Q8_0 = 2
} slm_kv_type;

/* "F32", "Q4_K", ...; "?" for a value out of range. Static storage. */
const char *slm_type_name(slm_type type);

/* ---- Model ----------------------------------------------------------------------------------- */

typedef struct slm_model slm_model;
typedef struct slm_tokenizer slm_tokenizer;

enum {
    SLM_MODEL_CHECK_DATA = 1,     /* verify every tensor's checksum (reads the whole file) */
    SLM_MODEL_CHECK_VALUES = 2,   /* refuse NaN and infinity in weights and scales (reads it all) */
    SLM_MODEL_TOKENIZER_ONLY = 4, /* set up the tokenizer alone; weights need not be present */
    SLM_MODEL_DATA_LATER = 8      /* read none of the weights, whose bytes are still to come:
                                     slm_model_arrived; excludes the two checks above */
};

/* Bytes of memory that slm_model_init needs for this file.
 * file: borrows, only for the call; 8-byte aligned; file_bytes long. *bytes is written on success.
 * Errors: everything that is wrong with the header, section table, directory or configuration. */
slm_status slm_model_bytes(const void *file, size_t file_bytes, uint32_t flags, size_t *bytes,
                           slm_error *error);

/* Sets a model up in caller memory.
 * memory: borrows, 64-byte aligned, memory_bytes >= slm_model_bytes(); file: borrows, 64-byte
 * aligned, never written. kernels: NULL for the best variant of this machine, or a name
 * ("ref", "avx2", "avx512", "simd128", ...); SLM_ERR_KERNELS if it is not available.
 * *model is written on success and points into memory; there is nothing to destroy. */
slm_status slm_model_init(void *memory, size_t memory_bytes, const void *file, size_t file_bytes,
                          uint32_t flags, const char *kernels, slm_model **model, slm_error *error);

/* For a model initialised with SLM_MODEL_DATA_LATER: the first n_bytes of the file are there now.
 * Checks the tensors that are whole, each once, as flags (SLM_MODEL_CHECK_*) say; sessions may
 * evaluate once this has returned SLM_OK for the whole length. *n_good: the length of the part of
 * the file that has been checked, also on failure; after one, bytes from there on may be written
 * anew and told again. Errors: CHECKSUM, LAYOUT, NOT_FINITE. */
slm_status slm_model_arrived(slm_model *model, uint64_t n_bytes, uint32_t flags, uint64_t *n_good,
                             slm_error *error);

/* Name of the index-th kernel variant that this machine can run, best last ("ref" is index 0); NULL
 * past the end. Static storage. */
const char *slm_kernels_variant(uint32_t index);

/* What a model is, for display and for sizing. All strings are borrowed from the model. */
typedef struct slm_model_info {
    const char *architecture; /* "llama", "qwen3", ... */
    const char *kernels;      /* the kernel variant in use */
    uint64_t n_parameters;
    uint64_t content_checksum;
    uint64_t layout_checksum;
    uint64_t tokenizer_checksum;
    uint32_t n_vocab;   /* rows of logits */
    uint32_t n_context; /* positions the model was trained for */
    uint32_t n_layers;
    uint32_t d_model;
    int32_t bos_id, eos_id; /* -1 if none */
    /* Sampling defaults that came with the weights; temperature < 0 means "not given". */
    float temperature, top_p, min_p;
    uint32_t top_k;
} slm_model_info;

void slm_model_describe(const slm_model *model, slm_model_info *info);

/* The model's tokenizer, borrowed from the model; NULL if the file carries none. */
const slm_tokenizer *slm_model_tokenizer(const slm_model *model);

/* ---- Tokenizer ------------------------------------------------------------------------------- */

enum {
    SLM_ENCODE_SPECIAL = 1, /* add BOS/EOS as the tokenizer's own flags say */
    SLM_ENCODE_CONTROL = 2  /* recognise control tokens written out in the text */
};

/* Bytes of scratch that encoding n_bytes of text needs; SIZE_MAX if it does not fit. */
size_t slm_encode_scratch_bytes(const slm_tokenizer *tokenizer, size_t n_bytes);

/* Text to token ids.
 * text: n_bytes of any bytes (invalid UTF-8 is encoded as the reference tokenizer would, and never
 * fails); ids: room for `capacity` ids; *n_ids: ids written or, with SLM_ERR_BUFFER, needed.
 * scratch: 16-byte aligned, scratch_bytes >= slm_encode_scratch_bytes().
 * 3 * n_bytes + 8 ids always suffice (normalization can make text longer), n_bytes + 3 nearly
 * always. */
slm_status slm_encode(const slm_tokenizer *tokenizer, const char *text, size_t n_bytes,
                      uint32_t flags, int32_t *ids, size_t capacity, size_t *n_ids, void *scratch,
                      size_t scratch_bytes, slm_error *error);

/* The raw bytes of one token as stored (a byte-fallback token is its byte; a control token is its
 * name). Borrowed from the model. *n_bytes is its length; NULL for an id outside the vocabulary. */
const char *slm_token_bytes(const slm_tokenizer *tokenizer, int32_t id, size_t *n_bytes);

/* Number of ids: valid ids are 0 .. n-1. */
uint32_t slm_token_count(const slm_tokenizer *tokenizer);

/* The id of the token with exactly these bytes, control tokens included, or -1. */
int32_t slm_token_find(const slm_tokenizer *tokenizer, const char *text, size_t n_bytes);

/* 1 if the id ends a generation (EOS, end of turn), else 0. */
int slm_token_is_end(const slm_tokenizer *tokenizer, int32_t id);

/* Streaming decode: turns ids into text without ever emitting half a UTF-8 character. */
typedef struct slm_decoder {
    uint8_t pending[8]; /* the bytes of an unfinished UTF-8 character */
    uint32_t n_pending;
    uint32_t n_seen; /* ids that gave text so far; the first one may lose its leading space */
    uint32_t flags;
} slm_decoder;

enum { SLM_DECODE_CONTROL = 1 }; /* write control tokens out by name instead of dropping them */

void slm_decoder_init(slm_decoder *decoder, uint32_t flags);

/* Appends the text that id completes. out: room for `capacity` bytes; *n_bytes: bytes written or,
 * with SLM_ERR_BUFFER (state unchanged), needed. Errors: SLM_ERR_TOKEN_ID, SLM_ERR_BUFFER. */
slm_status slm_decoder_push(slm_decoder *decoder, const slm_tokenizer *tokenizer, int32_t id,
                            char *out, size_t capacity, size_t *n_bytes, slm_error *error);

/* Ends the stream: bytes of a character that never became complete come out as they are.
 * out: room for 8 bytes. Returns the number of bytes written. */
size_t slm_decoder_flush(slm_decoder *decoder, char *out);

/* ---- Chat ------------------------------------------------------------------------------------ */

typedef enum slm_role { SLM_ROLE_SYSTEM = 0, SLM_ROLE_USER = 1, SLM_ROLE_ASSISTANT = 2 } slm_role;

typedef struct slm_message {
    slm_role role;
    const char *text; /* n_bytes, not NUL-terminated */
    size_t n_bytes;
} slm_message;

/* 1 if the model's file carries chat turns. */
int slm_model_has_chat(const slm_model *model);

enum {
    SLM_CHAT_ANSWER = 1, /* end with the beginning of an assistant's turn, for its answer */
    SLM_CHAT_CONTROL = 2 /* recognise control tokens in message text, which else stay plain text */
};

/* Messages to token ids in the model's own turn format. flags: SLM_CHAT_*. Buffers as for
 * slm_encode, where n_bytes is 4096 plus, for each message, its n_bytes and 512.
 * Errors: SLM_ERR_CHAT if the model has no chat turns, SLM_ERR_ARGUMENT if they have no place for a
 * system message and there is one, else as slm_encode. */
slm_status slm_chat_encode(const slm_model *model, const slm_message *messages, size_t n_messages,
                           uint32_t flags, int32_t *ids, size_t capacity, size_t *n_ids,
                           void *scratch, size_t scratch_bytes, slm_error *error);

/* ---- Thread team ----------------------------------------------------------------------------- */

/* A team of threads that runs one job at a time. NULL is the team of one: the caller. */
typedef struct slm_team slm_team;

/* Bytes for a team of n_threads (1..256), the calling thread included. */
size_t slm_team_bytes(uint32_t n_threads);

/* Starts n_threads - 1 threads. memory: borrows, 64-byte aligned, until slm_team_stop. Fewer
 * threads than asked may start (slm_team_size tells); that is not an error. */
slm_status slm_team_start(void *memory, size_t memory_bytes, uint32_t n_threads, slm_team **team,
                          slm_error *error);
uint32_t slm_team_size(const slm_team *team); /* 1 for NULL */
void slm_team_stop(slm_team **team);          /* joins the threads; accepts NULL; clears */

/* ---- Session --------------------------------------------------------------------------------- */

typedef struct slm_session slm_session;

typedef struct slm_session_options {
    uint32_t n_context;   /* positions of KV cache, 1..; 0: the model's own, at most 4096 */
    uint32_t n_chunk;     /* tokens of one prefill step, 1..4096; 0: 128 */
    uint32_t n_sequences; /* 1..64; 0: 1 */
    slm_kv_type kv_type;
    uint32_t n_threads; /* scratch for this many threads, 1..256; 0: 1 */
} slm_session_options;

/* Bytes of memory that slm_session_init needs. Errors: SLM_ERR_ARGUMENT, SLM_ERR_TOO_LARGE. */
slm_status slm_session_bytes(const slm_model *model, const slm_session_options *options,
                             size_t *bytes, slm_error *error);

/* Makes a session in caller memory (borrows memory, model and team; 64-byte aligned). The team may
 * be NULL and must not have more threads than options->n_threads. */
slm_status slm_session_init(void *memory, size_t memory_bytes, const slm_model *model,
                            const slm_session_options *options, slm_team *team,
                            slm_session **session, slm_error *error);

/* Called once per prefill step with the number of prompt tokens done; returns 0 to go on, anything
 * else to stop early (slm_session_eval then returns SLM_OK with the tokens done so far). */
typedef int (*slm_progress)(void *user, size_t n_done, size_t n_total);

/* Receives the logits of one position: n_vocab f32, valid only during the call. */
typedef void (*slm_logits_sink)(void *user, size_t index, const float *logits, uint32_t n_vocab);

typedef struct slm_eval_options {
    uint32_t sequence;
    slm_logits_sink every_position; /* NULL: only the last position's logits are computed */
    slm_progress progress;          /* may be NULL */
    void *user;                     /* passed to both */
} slm_eval_options;

/* A single token that follows others counts as generated in slm_stats, all else as prompt. */

/* Appends n_ids tokens to a sequence and computes logits.
 * ids: n_ids int32, each in 0..n_vocab-1; options: may be NULL (sequence 0, last position only).
 * Errors: SLM_ERR_TOKEN_ID, SLM_ERR_CONTEXT_FULL, SLM_ERR_ARGUMENT: nothing is appended. */
slm_status slm_session_eval(slm_session *session, const int32_t *ids, size_t n_ids,
                            const slm_eval_options *options, slm_error *error);

/* The same in steps, for a caller that must look up in between: begin checks and appends nothing
 * yet; each step does at most n_layers layers of one prefill step and returns 1 while there is more
 * to do. ids are borrowed until then. slm_session_stop takes back a prefill step that is half done
 * and drops the rest; so does another begin or eval. */
slm_status slm_session_begin(slm_session *session, const int32_t *ids, size_t n_ids,
                             const slm_eval_options *options, slm_error *error);
int slm_session_step(slm_session *session, uint32_t n_layers);
void slm_session_stop(slm_session *session);

/* The logits of the last token evaluated: n_vocab f32, owned by the session until the next eval.
 * They do not depend on kernel variant, threads or chunking (docs/numerics.md). */
float *slm_session_logits(slm_session *session);

uint32_t slm_session_length(const slm_session *session, uint32_t sequence);
uint32_t slm_session_context(const slm_session *session);

/* Shortens a sequence to n_tokens (>= its length: nothing happens). */
slm_status slm_session_truncate(slm_session *session, uint32_t sequence, uint32_t n_tokens);

/* Makes `to` share all tokens of `from`; blocks are copied only when one of them writes. */
slm_status slm_session_fork(slm_session *session, uint32_t from, uint32_t to);

/* The state of a sequence as bytes, for the same model (by content checksum) and KV type, wherever
 * it runs: its ids and the keys and values of its first *n_kept tokens, those in whole cache
 * blocks; the others are to be evaluated again. ids: what has been evaluated, slm_session_length of
 * them. slm_session_state_bytes says how much `state` (8-byte aligned) must hold. Restoring
 * replaces what the sequence held: *ids points into state, *n_kept tokens are in place. Errors:
 * TRUNCATED, MAGIC, CHECKSUM: damaged; ARGUMENT: of another model or KV type; CONTEXT_FULL: longer
 * than this session's context; TOKEN_ID. The sequence is then untouched. */
size_t slm_session_state_bytes(const slm_session *session, uint32_t sequence);
void slm_session_save(const slm_session *session, uint32_t sequence, const int32_t *ids,
                      void *state);
slm_status slm_session_restore(slm_session *session, uint32_t sequence, const void *state,
                               size_t state_bytes, const int32_t **ids, uint32_t *n_ids,
                               uint32_t *n_kept, slm_error *error);

/* Counters since the session was made; seconds come from port/ and are for people only. */
typedef struct slm_stats {
    uint64_t prompt_tokens, generated_tokens;
    double prompt_seconds, generate_seconds;
    uint64_t session_bytes, model_bytes, file_bytes;
    uint32_t kv_blocks_total, kv_blocks_used;
    uint64_t copies_on_write;
    uint32_t n_threads;
    const char *kernels;
} slm_stats;

void slm_session_stats(const slm_session *session, slm_stats *stats);

/* ---- Sampling -------------------------------------------------------------------------------- */

enum { SLM_MAX_CANDIDATES = 1024 };

/* How a token is drawn, in this order: the top_k best logits are candidates, best first, the lower
 * id first among equals; each weighs exp((logit - best logit) / temperature); the candidates are
 * cut after the first whose running sum of weights reaches top_p of the sum of all, and before the
 * first whose weight is below min_p of the best one's; the first whose running sum exceeds
 * u * (sum of what is left) is the token.
 * Seed rule: state = the first output of SplitMix64 from seed, or 1 if that is 0; each draw steps
 * XorShift64 (x ^= x << 13, x ^= x >> 7, x ^= x << 17) once, and u is x >> 11 times 2^-53. Greedy
 * choice draws nothing. */
typedef struct slm_sampler {
    float temperature; /* 0..100; 0: greedy, the lowest id wins a tie */
    uint32_t top_k;    /* 1..SLM_MAX_CANDIDATES; 0: SLM_MAX_CANDIDATES */
    float top_p;       /* 0..1; 1: off */
    float min_p;       /* 0..1; 0: off */
    uint64_t state;
} slm_sampler;

/* Errors: SLM_ERR_ARGUMENT for a NaN or a value out of range; *sampler is then untouched. */
slm_status slm_sampler_init(slm_sampler *sampler, float temperature, uint32_t top_k, float top_p,
                            float min_p, uint64_t seed, slm_error *error);

/* Chooses a token. logits: n_vocab f32 (1 or more), unchanged; a NaN is taken for minus infinity.
 * Uses no memory but 12 KiB of stack. */
int32_t slm_sample(slm_sampler *sampler, const float *logits, uint32_t n_vocab);

/* ---- Digests --------------------------------------------------------------------------------- */

/* A running 64-bit digest (schemas/slm-format.md, "Checksum") of any bytes, in any pieces. */
typedef struct slm_hash {
    uint64_t lane[4];
    uint8_t pending[32];
    uint64_t n_bytes;
} slm_hash;

void slm_hash_init(slm_hash *hash, uint64_t seed);
void slm_hash_update(slm_hash *hash, const void *bytes, size_t n_bytes);
uint64_t slm_hash_final(const slm_hash *hash);
uint64_t slm_hash_bytes(uint64_t seed, const void *bytes, size_t n_bytes);

#ifdef __cplusplus
}
#endif
#endif
