/* vocabulary_file.h - any tokenizer -> a .slm file that only tokenizes. */
#ifndef SLM_TOOLS_VOCABULARY_FILE_H
#define SLM_TOOLS_VOCABULARY_FILE_H

#include <stdbool.h>

#include "lib/convert_notes.h"
#include "lib/failure.h"

/* in: what text_model_open takes, but a .slm file. *n_tokens, *n_bytes: of the file made. Errors:
 * those of reading and writing; EXIT_INPUT for a .slm file. */
int vocabulary_to_slm(const char *in, const char *out, bool force, uint32_t *n_tokens,
                      uint64_t *n_bytes, notes *w, failure *f);

#endif
