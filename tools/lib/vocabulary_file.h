/* vocabulary_file.h - a tokenizer -> a file of its own: a .slm that only tokenizes, a
 * tokenizer.json, or the bare payload.
 */
#ifndef SLM_TOOLS_VOCABULARY_FILE_H
#define SLM_TOOLS_VOCABULARY_FILE_H

#include <stdbool.h>

#include "lib/convert_notes.h"
#include "lib/output.h"
#include "lib/text_model.h"

typedef enum vocabulary_form {
    VOCABULARY_SLM,
    VOCABULARY_JSON,
    VOCABULARY_PAYLOAD
} vocabulary_form;

/* "slm", "json" or "payload"; NULL: what the ending of the output's name says (.json, .btok, .bpe1;
 * else .slm). EXIT_USAGE for any other. */
int vocabulary_form_of(const char *name, const char *out_path, vocabulary_form *form, failure *f);

/* One setting that the output's provenance tells: a number, or a text if that is not NULL. */
typedef struct vocabulary_setting {
    const char *key, *text;
    uint64_t number;
} vocabulary_setting;

/* Where a tokenizer comes from, for the provenance of a .slm. All borrowed. */
typedef struct vocabulary_origin {
    const char *tool, *source; /* "slm-convert", "vocabulary" */
    const char *const *paths;  /* files that were read; they are hashed */
    uint32_t n_paths;
    const vocabulary_setting *settings;
    uint32_t n_settings;
} vocabulary_origin;

/* Writes and commits. *n_bytes: of the file. Errors: those of writing; what tokenizer_export
 * refuses. */
int vocabulary_write(const text_model *m, vocabulary_form form, const vocabulary_origin *origin,
                     output *out, uint64_t *n_bytes, notes *w, failure *f);

/* in: what text_model_open takes, but a .slm file. *n_tokens, *n_bytes: of the file made. Errors:
 * those of reading and writing; EXIT_INPUT for a .slm file. */
int vocabulary_to_slm(const char *in, const char *out, bool force, uint32_t *n_tokens,
                      uint64_t *n_bytes, notes *w, failure *f);

#endif
