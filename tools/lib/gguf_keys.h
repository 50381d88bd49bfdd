/* gguf_keys.h - the metadata of a GGUF file being written: pairs of key and value as bytes. */
#ifndef SLM_TOOLS_GGUF_KEYS_H
#define SLM_TOOLS_GGUF_KEYS_H

#include "lib/convert_notes.h"
#include "lib/gguf_families.h"

typedef struct gguf_keys {
    uint8_t *bytes; /* malloc'd */
    uint64_t n_bytes, room, n_pairs;
    bool failed; /* no memory; checked once, at the end */
} gguf_keys;

void gguf_put(gguf_keys *k, const void *bytes, uint64_t n_bytes);
void gguf_put_u32(gguf_keys *k, uint32_t value);
void gguf_put_u64(gguf_keys *k, uint64_t value);
void gguf_put_string(gguf_keys *k, const void *text, uint64_t n_bytes);

void gguf_key_u32(gguf_keys *k, const char *key, uint32_t value);
void gguf_key_f32(gguf_keys *k, const char *key, float value);
void gguf_key_bool(gguf_keys *k, const char *key, bool value);
void gguf_key_string(gguf_keys *k, const char *key, const char *value);
/* The elements follow, put by the caller. */
void gguf_key_array(gguf_keys *k, const char *key, gguf_value_type element, uint64_t n);
void gguf_keys_free(gguf_keys *k);

/* slm_config -> keys, for the family's architecture. */
void gguf_keys_config(gguf_keys *k, const gguf_family *family, const slm_config *c);

/* A tokenizer section -> tokenizer.ggml.* keys. Errors: EXIT_INPUT if llama.cpp has no such kind.
 */
int gguf_keys_tokenizer(gguf_keys *k, const char *path, const void *payload, uint64_t n_payload,
                        const slm_config *c, notes *w, failure *f);

#endif
