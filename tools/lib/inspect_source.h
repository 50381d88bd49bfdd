/* inspect_source.h - any file or folder that slm-convert takes -> what is in it and whether it
 * could be converted, without converting it. Values of weights are not judged.
 */
#ifndef SLM_TOOLS_INSPECT_SOURCE_H
#define SLM_TOOLS_INSPECT_SOURCE_H

#include "lib/cli.h"
#include "lib/gguf_model.h"
#include "lib/hf_model.h"
#include "lib/llama2c.h"
#include "lib/text_model.h"
#include "lib/torch_file.h"

enum { SOURCE_MAX_TYPES = 64 };

/* A tensor of the source. Texts are borrowed from the source's own structures. */
typedef struct source_tensor {
    const char *name, *type, *file; /* name: not NUL-terminated; file: NULL if there is only one */
    uint32_t n_name, rank;
    uint64_t dims[SLM_MAX_DIMS]; /* slowest first */
    uint64_t n_bytes;
    uint32_t use; /* first of our tensors that is made from it, or UINT32_MAX */
} source_tensor;

typedef struct source_use {
    const char *ours;
    uint32_t next; /* another one of the same source, or UINT32_MAX */
} source_use;

typedef struct source_sum {
    const char *type;
    uint64_t n_tensors, n_bytes;
} source_sum;

typedef struct source_view {
    const char *path;
    const char *kind; /* "huggingface", "gguf", "pytorch", "llama2.c", "slm", "vocabulary" or
                       * "unknown" */
    failure failed;   /* exit_code EXIT_OK: it could be converted */
    const char *architecture;
    const slm_config *config; /* NULL: not known */
    source_tensor *tensors;   /* n_tensors, sorted by name; NULL: not known */
    uint32_t n_tensors, n_dropped;
    source_use *uses;
    uint32_t n_uses;
    const char **missing; /* ours */
    uint32_t n_missing;
    source_sum types[SOURCE_MAX_TYPES];
    uint32_t n_types;
    char tokenizer_kind[5]; /* "" without tokenizer */
    uint64_t n_tokenizer;   /* bytes of the payload */
    uint32_t n_tokens;
    bool has_chat;
    const char *chat_text; /* the chat template, n_chat_text bytes; NULL: none */
    uint64_t n_chat_text;
    notes warnings;
    /* What the above borrows from. */
    hf_model hf;
    gguf_model gguf;
    torch_file torch;
    llama2c llama;
    input in;
    text_model text;
    slm_file slm;
    slm_config stored;
    void *memory;
} source_view;

/* Fills *v, which is the caller's to free, also on failure. format: as for checkpoint_open. Returns
 * v->failed.exit_code. */
int source_view_open(const char *path, const char *format, bool want_tokenizer, source_view *v);
void source_view_free(source_view *v);

/* inspect_source_report.c: one JSON document, or text for people, on stdout. */
void source_view_json(const source_view *v);
void source_view_people(const source_view *v);

typedef struct source_job {
    const char *path, *format;
    bool want_tokenizer, json, quiet;
} source_job;

/* The whole of slm-convert --inspect; returns its exit code. */
int source_inspect(cli *c, const source_job *job);

#endif
