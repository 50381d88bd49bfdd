/* hf_tokenizer_check.h - files of a Hugging Face folder that say the same as tokenizer.json and
 * tokenizer_config.json in other words -> warnings where they do not.
 *
 * They are not used for anything else: what cannot be read is passed over.
 */
#ifndef SLM_TOOLS_HF_TOKENIZER_CHECK_H
#define SLM_TOOLS_HF_TOKENIZER_CHECK_H

#include <stddef.h>

#include "lib/convert_notes.h"

/* special_tokens_map.json against tokenizer_config.json (config: its text, or NULL). */
void hf_check_special_tokens(const char *folder, const char *config, size_t n_config, notes *w);

/* tokenizer.model (SentencePiece) against tokenizer.json (json: its text): the same tokens with the
 * same ids. */
void hf_check_pieces(const char *folder, const char *json, size_t n_json, notes *w);

#endif
