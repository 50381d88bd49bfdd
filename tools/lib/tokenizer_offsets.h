/* tokenizer_offsets.h - which bytes of a text each of its tokens stands for.
 *
 * The ids of an encoding are laid along the text again: normalized and with spaces marked as
 * encoding did it, with a map back to the bytes that were given.
 */
#ifndef SLM_TOOLS_TOKENIZER_OFFSETS_H
#define SLM_TOOLS_TOKENIZER_OFFSETS_H

#include "lib/text_model.h"

typedef struct token_span {
    uint64_t begin, end; /* bytes of the text; equal for BOS, EOS and a prefix that was put in */
} token_span;

/* spans: room for n_ids. ids: what text_model_encode gave for this text and these flags. Spans
 * ascend and cover the text but for characters that encoding drops. Parts of a character have parts
 * of its bytes; tokens from a sequence that normalization changed have all of its bytes. Errors:
 * EXIT_RESOURCE, EXIT_INPUT for ids that do not fit the text. */
int tokenizer_offsets(const text_model *m, const char *text, size_t n_bytes, uint32_t flags,
                      const int32_t *ids, size_t n_ids, token_span *spans, failure *f);

#endif
