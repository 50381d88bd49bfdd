/* gguf_pre.h - the names that tokenizer.ggml.pre may have -> how that tokenizer cuts text. */
#ifndef SLM_TOOLS_GGUF_PRE_H
#define SLM_TOOLS_GGUF_PRE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct pre_kind {
    const char *names;     /* with a space before and behind each */
    const char *splits[6]; /* expressions, applied one after the other; NULL ends them */
    bool gpt2;             /* then GPT-2's own */
    bool nfc, ignore_merges, add_bos;
} pre_kind;

/* NULL: no such name. */
const pre_kind *gguf_pre_find(const char *name, size_t n);

/* All names, written to a text of n bytes. */
void gguf_pre_names(char *text, size_t n);

#endif
