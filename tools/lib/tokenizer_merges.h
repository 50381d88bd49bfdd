/* tokenizer_merges.h - a merges list as GPT-2 came with (merges.txt), with or without the
 * vocab.json that numbers its tokens -> a TOKN payload.
 *
 * The list: optionally a first line that begins with "#version", then one merge a line, its two
 * tokens in GPT-2's alphabet for bytes with one space between them, the earlier the sooner it is
 * done. Without a vocabulary the 256 bytes have the ids 0 to 255 in the order of their characters,
 * each merge's token the next one unless there is one with these bytes, then the special tokens:
 * the numbers of GPT-2's own.
 */
#ifndef SLM_TOOLS_TOKENIZER_MERGES_H
#define SLM_TOOLS_TOKENIZER_MERGES_H

#include "lib/tokenizer_json.h"
#include "lib/tokenizer_rules.h"

typedef struct merges_text {
    const char *name; /* for messages */
    const char *text; /* borrowed */
    size_t n_bytes;
} merges_text;

/* vocab: NULL if there is none. rules: checked. Errors: EXIT_INPUT with the line. */
int tokenizer_from_merges_text(const merges_text *list, const merges_text *vocab,
                               const tokenizer_rules *rules, tokenizer_payload *payload,
                               failure *f);

/* The same from files; vocab: NULL if there is none. */
int tokenizer_from_merges(const char *list, const char *vocab, const tokenizer_rules *rules,
                          tokenizer_payload *payload, failure *f);

#endif
