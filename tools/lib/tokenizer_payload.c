/* tokenizer_payload.c - a tokenizer_build -> the bytes of a BPE1 payload, proved by reading them
 * back. schemas/slm-tokenizer.md describes the layout.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/tokenizer_build.h"
#include "text/tokenizer_state.h" /* which words are one token can only the merging itself tell */

/* ---- Layout ---------------------------------------------------------------------------------- */

static uint64_t padded(uint64_t n)
{
    return (n + 7) & ~(uint64_t)7;
}

typedef struct sizes {
    uint32_t n_raw, n_normalized;
    uint64_t blob, patterns, ties;
    uint32_t id_bytes;
    uint64_t kinds_at, total;
} sizes;

static sizes measure(const tokenizer_build *b)
{
    sizes s = {.id_bytes = b->n_tokens <= 65536 ? 2 : 3};
    for (uint32_t i = 0; i < b->n_tokens; i++) {
        s.blob += b->tokens[i].n_bytes;
    }
    for (uint32_t i = 0; i < b->n_added; i++) {
        s.patterns += b->added[i].n_bytes;
        s.n_normalized += b->added[i].normalized;
    }
    s.n_raw = b->n_added - s.n_normalized;
    s.ties = b->ties ? ((uint64_t)b->n_merges + 7) / 8 : 0;
    s.kinds_at =
        BPE1_HEADER_BYTES + padded(4 * (uint64_t)b->n_stops) + padded(2 * (uint64_t)b->n_tokens);
    s.total = s.kinds_at + padded(b->n_tokens) + padded(s.blob) +
              padded((uint64_t)2 * s.id_bytes * b->n_merges) + padded(8 * (uint64_t)b->n_added) +
              padded(s.patterns) + padded(s.ties) + padded(b->n_program);
    return s;
}

static void write_header(const tokenizer_build *b, const sizes *s, uint8_t *p)
{
    const uint32_t words[16] = {BPE1_MAGIC,
                                BPE1_VERSION,
                                b->flags | (b->ties ? TOK_TIES : 0u),
                                b->pre,
                                b->prefix,
                                b->n_tokens,
                                b->n_merges,
                                s->n_raw,
                                s->n_normalized,
                                (uint32_t)b->unk_id,
                                (uint32_t)b->bos_id,
                                (uint32_t)b->eos_id,
                                b->n_stops,
                                (uint32_t)s->blob,
                                (uint32_t)s->patterns,
                                (uint32_t)b->n_program};
    for (size_t i = 0; i < 16; i++) {
        store_u32(p + 4 * i, words[i]);
    }
}

static void store_id(uint8_t *p, uint32_t id, uint32_t id_bytes)
{
    store_u16(p, (uint16_t)id);
    if (id_bytes == 3) {
        p[2] = (uint8_t)(id >> 16);
    }
}

static uint8_t *write_tokens(const tokenizer_build *b, const sizes *s, uint8_t *p)
{
    for (uint32_t i = 0; i < b->n_stops; i++) {
        store_u32(p + 4 * (size_t)i, (uint32_t)b->stops[i]);
    }
    p += padded(4 * (uint64_t)b->n_stops);
    uint8_t *kinds = p + padded(2 * (uint64_t)b->n_tokens);
    uint8_t *blob = kinds + padded(b->n_tokens);
    for (uint32_t i = 0; i < b->n_tokens; i++) {
        const build_token *t = &b->tokens[i];
        store_u16(p + 2 * (size_t)i, (uint16_t)t->n_bytes);
        kinds[i] = t->kind;
        if (t->n_bytes != 0) {
            memcpy(blob, t->bytes, t->n_bytes);
        }
        blob += t->n_bytes;
    }
    return kinds + padded(b->n_tokens) + padded(s->blob);
}

static void write_payload(const tokenizer_build *b, const sizes *s, uint8_t *p)
{
    write_header(b, s, p);
    p = write_tokens(b, s, p + BPE1_HEADER_BYTES);
    for (size_t i = 0; i < 2 * (size_t)b->n_merges; i++) {
        store_id(p + i * s->id_bytes, b->merges[i], s->id_bytes);
    }
    p += padded((uint64_t)2 * s->id_bytes * b->n_merges);
    uint8_t *patterns = p + padded(8 * (uint64_t)b->n_added);
    for (uint32_t i = 0; i < b->n_added; i++, p += 8) {
        const build_added *a = &b->added[i];
        store_u32(p, a->id);
        store_u16(p + 4, (uint16_t)a->n_bytes);
        store_u16(p + 6, a->flags);
        memcpy(patterns, a->pattern, a->n_bytes);
        patterns += a->n_bytes;
    }
    p += padded(s->patterns);
    if (b->ties) {
        memcpy(p, b->ties, s->ties);
    }
    if (b->program) {
        memcpy(p + padded(s->ties), b->program, b->n_program);
    }
}

/* ---- Proof ----------------------------------------------------------------------------------- */

typedef struct opened {
    void *memory;
    slm_tokenizer *t;
} opened;

static int open_payload(const tokenizer_build *b, const uint8_t *payload, uint64_t n, opened *o,
                        failure *f)
{
    slm_error error = {0};
    slm_arena arena = arena_measure();
    slm_status status = slm_tokenizer_open(&o->t, &arena, payload, n, &error);
    if (status == SLM_OK) {
        if (posix_memalign(&o->memory, 64, arena.used) != 0) {
            o->memory = NULL;
            return fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
        }
        arena = arena_over(o->memory, arena.used);
        status = slm_tokenizer_open(&o->t, &arena, payload, n, &error);
    }
    return status == SLM_OK ? EXIT_OK : fail_status(f, b->name, &error);
}

/* Marks the tokens that their own bytes, as a word, merge to. The reader then finds such words with
 * one look-up; and with ignore_merges every token that a word equals is taken at once. */
static int mark_direct(const tokenizer_build *b, const slm_tokenizer *t, uint8_t *kinds, failure *f)
{
    encode_scratch scratch;
    void *memory = NULL;
    if (!slm_scratch_carve(t, UINT16_MAX, NULL, &scratch) ||
        posix_memalign(&memory, 64, (size_t)scratch.n_bytes) != 0 ||
        !slm_scratch_carve(t, UINT16_MAX, memory, &scratch)) {
        free(memory);
        return fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
    }
    slm_scratch_clear(&scratch);
    for (uint32_t id = 0; id < b->n_tokens; id++) {
        int32_t first = -1;
        id_sink sink = {&first, 1, 0};
        if (!(kinds[id] & TOKEN_MERGES)) {
            continue;
        }
        if (!b->ignore_merges) {
            slm_encode_word(t, b->tokens[id].bytes, b->tokens[id].n_bytes, &scratch, &sink);
        }
        if (b->ignore_merges || (sink.n == 1 && first == (int32_t)id)) {
            b->tokens[id].kind |= TOKEN_DIRECT;
        }
    }
    free(memory);
    for (uint32_t id = 0; id < b->n_tokens; id++) {
        kinds[id] = b->tokens[id].kind; /* only now: the merging above must not see the marks */
    }
    return EXIT_OK;
}

int build_payload(tokenizer_build *b, uint8_t **payload, uint64_t *n_payload, failure *f)
{
    sizes s = measure(b);
    opened o = {0};
    if (s.blob > UINT32_MAX || s.patterns > UINT32_MAX) {
        return fail(f, EXIT_INPUT, "%s: the tokens' texts are too long", b->name);
    }
    uint8_t *p = (uint8_t *)calloc(1, s.total);
    if (!p) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
    }
    write_payload(b, &s, p);
    int code = open_payload(b, p, s.total, &o, f);
    /* Without words there is nothing to find at once, unless merges are to be ignored. */
    if (code == EXIT_OK && (b->pre != PRE_NONE || b->ignore_merges)) {
        code = mark_direct(b, o.t, p + s.kinds_at, f);
    }
    free(o.memory);
    if (code != EXIT_OK) {
        free(p);
        return code;
    }
    *payload = p;
    *n_payload = s.total;
    return EXIT_OK;
}
