/* source_kind.h - what a path that is to be converted names, by its first bytes. */
#ifndef SLM_TOOLS_SOURCE_KIND_H
#define SLM_TOOLS_SOURCE_KIND_H

#include "lib/failure.h"

typedef enum source_kind {
    SOURCE_FOLDER,
    SOURCE_GGUF, /* in either byte order */
    SOURCE_SLM,
    SOURCE_VOCABULARY, /* a tokenizer by itself: its name says so, and its bytes do not object */
    SOURCE_OTHER
} source_kind;

/* Errors: EXIT_IO for what is neither a folder nor a regular file, or
 * cannot be read. */
int source_kind_of(const char *path, source_kind *kind, failure *f);

#endif
