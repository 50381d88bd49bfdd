/* tokenizer_json.h - tokenizer.json (+ tokenizer_config.json) -> TOKN, CHAT and TMPL payloads.
 *
 * Reads the Hugging Face `tokenizers` serialization. What it does not understand it refuses by
 * name.
 */
#ifndef SLM_TOOLS_TOKENIZER_JSON_H
#define SLM_TOOLS_TOKENIZER_JSON_H

#include <stdint.h>

#include "lib/failure.h"

/* What the model's configuration says about the tokenizer. */
typedef struct tokenizer_hints {
    uint32_t n_vocab;        /* rows of the embedding; 0: unknown */
    int32_t bos_id, eos_id;  /* from config.json / generation_config.json; -1: not given */
    const int32_t *stop_ids; /* every eos id of the configurations, n_stop_ids of them */
    uint32_t n_stop_ids;
    const uint8_t *ties; /* a bit per merge: it has the rank of the one before; NULL: none has */
} tokenizer_hints;

typedef struct tokenizer_payload {
    uint8_t *tokenizer; /* malloc'd BPE1 payload */
    uint64_t n_tokenizer;
    uint8_t *chat; /* malloc'd CHAT payload, or NULL without a template that turns reproduce */
    uint64_t n_chat;
    char *chat_text; /* malloc'd, the chat template itself (section TMPL), or NULL */
    uint64_t n_chat_text;
    char warnings[2048]; /* lines for people, each ending in '\n' */
} tokenizer_payload;

/* tokenizer_json: text of the file; config_json: text of tokenizer_config.json or NULL. Names are
 * for messages. On success the payload is owned by the caller (tokenizer_payload_free). */
int tokenizer_from_json(const char *name, const char *tokenizer_json, size_t n_tokenizer_json,
                        const char *config_name, const char *config_json, size_t n_config_json,
                        const tokenizer_hints *hints, tokenizer_payload *payload, failure *f);

void tokenizer_payload_free(tokenizer_payload *payload);

#endif
