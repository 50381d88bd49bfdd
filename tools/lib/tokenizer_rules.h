/* tokenizer_rules.h - what a merges list does not say and a training must be told: how text is cut
 * into words, and which tokens are not text.
 */
#ifndef SLM_TOOLS_TOKENIZER_RULES_H
#define SLM_TOOLS_TOKENIZER_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/failure.h"

enum { RULES_MAX_SPECIALS = 72, RULES_MAX_SPECIAL_BYTES = 256 };

typedef struct tokenizer_rules {
    uint32_t pre; /* PRE_NONE, PRE_GPT2, ...: one of those for bytes */
    bool nfc, prefix_space;
    const char
        *specials[RULES_MAX_SPECIALS]; /* borrowed; in the order of their ids, no two alike */
    uint32_t n_specials;
    const char *bos, *eos; /* one of them, or NULL */
    bool add_bos, add_eos;
} tokenizer_rules;

/* The pre-tokenizer of a name: "gpt2", "llama3", "qwen2", "digits", "none". EXIT_USAGE with the
 * names for any other. */
int rules_pre(const char *name, uint32_t *pre, failure *f);
const char *rules_pre_name(uint32_t pre);

/* Completes the list by bos and eos; EXIT_USAGE for a special token that is empty, too long or not
 * UTF-8, for too many, and for add_bos or add_eos without the token. */
int rules_check(tokenizer_rules *r, failure *f);

/* The flags of a payload that keeps them. */
uint32_t rules_flags(const tokenizer_rules *r);

#endif
