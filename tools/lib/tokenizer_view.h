/* tokenizer_view.h - a TOKN payload -> its arrays, for tools that show or rewrite a vocabulary.
 *
 * schemas/slm-tokenizer.md names the fields. The payload must be one that slm_tokenizer_open took:
 * nothing is checked again. BTOK appears as the byte-level BPE1 without merges that does the same.
 */
#ifndef SLM_TOOLS_TOKENIZER_VIEW_H
#define SLM_TOOLS_TOKENIZER_VIEW_H

#include <stdbool.h>

#include "lib/failure.h"
#include "text/payload.h"

typedef struct tokenizer_view {
    uint32_t flags, pre, prefix, n_tokens, n_merges;
    uint32_t n_added[2]; /* looked for in raw text, in normalized text */
    int32_t unk_id, bos_id, eos_id;
    uint32_t n_stops, id_bytes, n_program;
    const uint8_t *stops, *kinds, *blob, *merges, *entries, *patterns, *program; /* borrowed */
    uint32_t *offsets; /* owned: n_tokens + 1 */
    uint8_t *made;     /* owned: BTOK's arrays */
} tokenizer_view;

/* Errors: EXIT_RESOURCE. */
int tokenizer_view_open(tokenizer_view *v, const uint8_t *payload, failure *f);
void tokenizer_view_close(tokenizer_view *v);

const uint8_t *view_token(const tokenizer_view *v, uint32_t id, uint32_t *n_bytes);
void view_merge(const tokenizer_view *v, uint32_t rank, uint32_t *left, uint32_t *right);

/* An added token: i counts through both lists. */
typedef struct view_added {
    uint32_t id, n_pattern;
    uint16_t flags; /* ADDED_* */
    bool normalized;
    const uint8_t *pattern;
} view_added;

/* The i-th; *at: where its pattern begins, 0 before the first call, moved on by each. */
view_added view_next_added(const tokenizer_view *v, uint32_t i, uint64_t *at);

#endif
