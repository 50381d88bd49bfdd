/* chat.h - the CHAT section: how a model wants its turns written.
 *
 * A list of pieces per role (prefix and suffix), each piece a control token by id or plain text,
 * the generation prompt, and what to do with a system message. schemas/slm-format.md has the
 * layout.
 */
#ifndef SLM_TEXT_CHAT_H
#define SLM_TEXT_CHAT_H

#include "slm.h"

typedef struct slm_chat slm_chat; /* the payload itself, once checked */

/* Validates a CHAT payload against the tokenizer. *chat borrows the payload (8-byte aligned).
 * Errors: SLM_ERR_CHAT. */
slm_status slm_chat_open(const slm_chat **chat, const void *payload, uint64_t n_bytes,
                         const slm_tokenizer *tokenizer, slm_error *error);

/* As slm_chat_encode of slm.h, for a chat and a tokenizer. */
slm_status slm_chat_write(const slm_chat *chat, const slm_tokenizer *tokenizer,
                          const slm_message *messages, size_t n_messages, uint32_t flags,
                          int32_t *ids, size_t capacity, size_t *n_ids, void *scratch,
                          size_t scratch_bytes, slm_error *error);

#endif
