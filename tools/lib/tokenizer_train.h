/* tokenizer_train.h - counted words -> a byte-level BPE vocabulary -> a TOKN payload.
 *
 * What is trained: the vocabulary begins as the special tokens in their order, then the 256 bytes
 * in the order of GPT-2's characters for them. Then, again and again, the pair of neighbours inside
 * words that occurs most often, words counted as often as they occur and overlapping occurrences
 * each, becomes a merge; of equally frequent ones that with the smaller left id, then the smaller
 * right id. It is replaced everywhere, from the left. Its token has the next id, unless there is a
 * token with these bytes already; a pair that such a token brings back is merged again as it
 * was. This ends when the vocabulary is full, or no pair occurs
 * min_frequency times. Whatever the machine, the same words give the same vocabulary.
 *
 * Time: n log n in the bytes of different words, since every pair keeps the list of its places.
 */
#ifndef SLM_TOOLS_TOKENIZER_TRAIN_H
#define SLM_TOOLS_TOKENIZER_TRAIN_H

#include "lib/tokenizer_json.h"
#include "lib/tokenizer_words.h"

typedef struct training_options {
    uint32_t vocab_size; /* special tokens and bytes included */
    uint64_t min_frequency;
    uint32_t max_token_bytes; /* longer tokens are not made; 1..65535 */
    const tokenizer_rules *rules;
} training_options;

typedef struct training_result {
    uint32_t n_tokens, n_merges;
} training_result;

/* words: consumed but for words_free. Errors: EXIT_USAGE for a vocabulary too small for its bytes,
 * or a special token written as a token of text is; EXIT_RESOURCE. */
int tokenizer_train(const training_options *o, training_words *words, tokenizer_payload *payload,
                    training_result *result, failure *f);

#endif
