/* tokenizer_stats.h - how a tokenizer does on a text. */
#ifndef SLM_TOOLS_TOKENIZER_STATS_H
#define SLM_TOOLS_TOKENIZER_STATS_H

#include "lib/text_model.h"

enum { STATS_LONGEST = 10 };

typedef struct tokenizer_stats {
    uint64_t bytes, characters; /* a byte that is not UTF-8 is a character */
    uint64_t words;             /* runs of bytes other than ASCII white space */
    uint64_t tokens;
    uint64_t byte_tokens; /* that are one byte of a longer character */
    uint64_t unknown, control;
    uint32_t n_vocab, n_used;       /* ids in the vocabulary, different ones in the text */
    int32_t longest[STATS_LONGEST]; /* different tokens of the text, most bytes first, then by id */
    uint32_t n_longest;
    double seconds; /* of the fastest encoding */
} tokenizer_stats;

/* Encodes the text `repeat` times, without BOS and EOS. flags: SLM_ENCODE_CONTROL or 0. */
int tokenizer_measure(const text_model *m, const char *text, size_t n_bytes, uint32_t flags,
                      uint32_t repeat, tokenizer_stats *s, failure *f);

#endif
