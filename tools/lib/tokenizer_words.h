/* tokenizer_words.h - texts -> their different words with how often each occurs, cut as the
 * tokenizer that will be trained on them cuts.
 */
#ifndef SLM_TOOLS_TOKENIZER_WORDS_H
#define SLM_TOOLS_TOKENIZER_WORDS_H

#include <stddef.h>

#include "lib/cli.h"
#include "lib/tokenizer_rules.h"

/* Memory of a training: all of it is counted, so that a limit holds. */
typedef struct memory_budget {
    uint64_t used, peak, limit;
} memory_budget;

/* realloc that counts; NULL beyond the limit or without memory, and the old block then stays. */
void *budget_resize(memory_budget *m, void *block, uint64_t old_bytes, uint64_t new_bytes);
void budget_free(memory_budget *m, void *block, uint64_t bytes);
int budget_fail(const memory_budget *m, failure *f); /* EXIT_RESOURCE, and what to do */

typedef struct training_word {
    uint64_t offset; /* into bytes */
    uint64_t count;
    uint32_t n_bytes;
} training_word;

typedef struct training_words {
    uint8_t *bytes; /* of all words, one after the other */
    training_word *words;
    uint32_t *slots; /* open addressing: index + 1 */
    uint64_t n_bytes, room_bytes, n_words, room_words, n_slots;
    uint64_t n_total; /* words with repetitions */
    memory_budget *memory;
    progress *shown;
    uint64_t n_done, n_todo; /* bytes of text, for progress */
} training_words;

/* Adds a text's words. Special tokens written out in it are no text and end the words beside them.
 * t: a tokenizer with the rules' pre-tokenizer. Errors: EXIT_RESOURCE. */
int words_add_text(training_words *w, const slm_tokenizer *t, const tokenizer_rules *rules,
                   const uint8_t *text, size_t n_bytes, failure *f);
void words_free(training_words *w);

#endif
