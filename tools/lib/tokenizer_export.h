/* tokenizer_export.h - a TOKN payload -> tokenizer.json and tokenizer_config.json, as the Hugging
 * Face `tokenizers` and `transformers` libraries load them.
 */
#ifndef SLM_TOOLS_TOKENIZER_EXPORT_H
#define SLM_TOOLS_TOKENIZER_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/convert_notes.h"
#include "lib/failure.h"
#include "lib/gguf_pre.h"
#include "lib/json_out.h"

typedef struct tokenizer_texts {
    char *json, *config; /* malloc'd */
    size_t n_json, n_config;
} tokenizer_texts;

/* payload: one that slm_tokenizer_open took. name: for messages. Both texts are read back by the
 * reader of tokenizer.json, and what comes out must be the payload again, but for stop ids beyond
 * EOS (a note says so). EXIT_INPUT for a payload that the format cannot say. */
int tokenizer_export(const char *name, const uint8_t *payload, tokenizer_texts *texts, notes *w,
                     failure *f);
void tokenizer_texts_free(tokenizer_texts *texts); /* accepts a zeroed one; clears */

/* "normalizer", "pre_tokenizer" and "decoder" of a payload's flags (TOK_*), pre-tokenizer (PRE_*;
 * kind: of PRE_PROGRAM, else NULL) and prefix rule (PREFIX_*). */
void tokenizer_export_steps(json_out *j, uint32_t flags, uint32_t pre, const pre_kind *kind,
                            uint32_t prefix);

/* One entry of "added_tokens"; flags: ADDED_*. */
void tokenizer_export_added(json_out *j, uint32_t id, const char *content, size_t n_bytes,
                            uint16_t flags, bool normalized);

#endif
