/* small_tokenizer.h - a tokenizer.json small enough to encode with by hand, and changes to it. */
#ifndef SLM_TESTS_SMALL_TOKENIZER_H
#define SLM_TESTS_SMALL_TOKENIZER_H

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "lib/tokenizer_json.h"
#include "text/chat.h"
#include "text/tokenizer.h"

/* Byte level; the space is token 5. */
#define SMALL_ADDED                                                                                \
    "{\"id\":6,\"content\":\"<s>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"       \
    "\"normalized\":false,\"special\":true}"
static const char small_json[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
    "\"added_tokens\":[" SMALL_ADDED "],\"normalizer\":null,"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
    "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,"
    "\"continuing_subword_prefix\":\"\",\"end_of_word_suffix\":\"\",\"fuse_unk\":false,"
    "\"byte_fallback\":false,\"ignore_merges\":false,"
    "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"\\u0120\":5,\"bc\":7},"
    "\"merges\":[\"a b\",\"b c\",\"ab c\"]}}";

/* small_json with the first occurrence of `from` replaced; malloc'd. NULL: no such text. */
static inline char *small_json_with(const char *base, const char *from, const char *to)
{
    const char *at = strstr(base, from);
    if (!at) {
        return NULL;
    }
    size_t before = (size_t)(at - base), n_to = strlen(to), n_from = strlen(from);
    char *made = (char *)malloc(strlen(base) + n_to + 1);
    memcpy(made, base, before);
    memcpy(made + before, to, n_to);
    strcpy(made + before + n_to, at + n_from);
    return made;
}

typedef struct small_tokenizer {
    tokenizer_payload payload;
    void *memory;
    slm_tokenizer *t;
    const slm_chat *chat;
    slm_status status;
    slm_error error;
} small_tokenizer;

/* Opens a payload in malloc'd memory of exactly the size that measuring gives. */
static inline void small_open(small_tokenizer *s, const void *payload, uint64_t n)
{
    slm_arena arena = arena_measure();
    s->memory = NULL;
    s->t = NULL;
    s->status = slm_tokenizer_open(&s->t, &arena, payload, n, &s->error);
    if (s->status == SLM_OK && posix_memalign(&s->memory, 64, arena.used) == 0) {
        arena = arena_over(s->memory, arena.used);
        s->status = slm_tokenizer_open(&s->t, &arena, payload, n, &s->error);
    }
}

static inline int small_build(small_tokenizer *s, const char *json, const char *config, failure *f)
{
    memset(s, 0, sizeof *s);
    int code = tokenizer_from_json("t.json", json, strlen(json), "c.json", config,
                                   config ? strlen(config) : 0, NULL, &s->payload, f);
    if (code == EXIT_OK) {
        small_open(s, s->payload.tokenizer, s->payload.n_tokenizer);
        if (s->status == SLM_OK && s->payload.chat) {
            s->status =
                slm_chat_open(&s->chat, s->payload.chat, s->payload.n_chat, s->t, &s->error);
        }
    }
    return code;
}

static inline void small_close(small_tokenizer *s)
{
    tokenizer_payload_free(&s->payload);
    free(s->memory);
}

/* Encodes with scratch and ids of exactly the promised size, so that sanitizers see any excess.
 * *ids is malloc'd. */
static inline slm_status small_encode(const slm_tokenizer *t, const void *text, size_t n,
                                      uint32_t flags, int32_t **ids, size_t *n_ids)
{
    size_t scratch_bytes = slm_encode_scratch_bytes(t, n), capacity = 3 * n + 8;
    void *scratch = malloc(scratch_bytes);
    *ids = (int32_t *)malloc(capacity * sizeof **ids);
    slm_status status = slm_encode(t, (const char *)text, n, flags, *ids, capacity, n_ids, scratch,
                                   scratch_bytes, NULL);
    free(scratch);
    return status;
}

#endif
