/* tokenizer.h - the TOKN section (BTOK or BPE1 payload) -> a tokenizer in memory.
 *
 * The tokenizer borrows token bytes and tables from the payload and keeps only hash indices over
 * them in its arena. schemas/slm-format.md describes both payloads.
 */
#ifndef SLM_TEXT_TOKENIZER_H
#define SLM_TEXT_TOKENIZER_H

#include "base/arena.h"
#include "slm.h"

/* Validates a payload completely and sets the tokenizer up. On a measuring arena it validates what
 * sizes depend on and only counts; *tokenizer is then untouched. payload: 8-byte aligned, borrowed.
 * Errors: SLM_ERR_TOKENIZER naming the field, SLM_ERR_MEMORY. */
slm_status slm_tokenizer_open(slm_tokenizer **tokenizer, slm_arena *arena, const void *payload,
                              uint64_t n_bytes, slm_error *error);

#endif
