/* gguf_pre.h - the names that tokenizer.ggml.pre may have -> how that tokenizer cuts text; names
 * that only control tokens have.
 */
#ifndef SLM_TOOLS_GGUF_PRE_H
#define SLM_TOOLS_GGUF_PRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/failure.h"

enum { MAX_SPLITS = 6 };

typedef struct pre_kind {
    const char *names;              /* with a space before and behind each */
    const char *splits[MAX_SPLITS]; /* expressions, applied one after the other; NULL ends them */
    bool gpt2;                      /* then GPT-2's own */
    bool nfc, ignore_merges, add_bos;
    bool force_bos;     /* whatever the file says */
    const char *lstrip; /* a token that takes the white space before it, or NULL */
} pre_kind;

/* NULL: no such name. */
const pre_kind *gguf_pre_find(const char *name, size_t n);

/* That of files whose tokenizer.ggml.model is "gemma4". */
const pre_kind *gguf_pre_gemma4(void);

/* The kind whose expressions are compiled to this program; NULL: none. Errors: EXIT_RESOURCE. */
int gguf_pre_of_program(const uint8_t *program, uint64_t n_program, const pre_kind **kind,
                        failure *f);

/* Is this the text of a token that is a control token whatever type a file gives it? So llama.cpp
 * takes it, and text of a user must not become one. */
bool gguf_token_is_control(const char *text, size_t n);

/* All names, written to a text of n bytes. */
void gguf_pre_names(char *text, size_t n);

#endif
