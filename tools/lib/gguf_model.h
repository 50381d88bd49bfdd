/* gguf_model.h - a .gguf file, or the parts of a split one -> a configuration, where the rows of
 * each tensor of it lie, and the tokenizer: all that is needed to write a .slm file, checked before
 * a byte is written.
 */
#ifndef SLM_TOOLS_GGUF_MODEL_H
#define SLM_TOOLS_GGUF_MODEL_H

#include "lib/convert_notes.h"
#include "lib/gguf_families.h"
#include "lib/input.h"
#include "lib/tokenizer_json.h"

typedef struct gguf_part {
    char *path;
    input in; /* mapped */
    gguf g;
} gguf_part;

typedef struct gguf_found {
    const gguf_tensor *tensor;
    uint32_t part;
    bool used;
} gguf_found;

/* Where the rows of a tensor of the .slm file lie. */
typedef struct gguf_place {
    slm_tensor_spec spec;
    slm_type type; /* of the source */
    const gguf_tensor *tensor;
    uint32_t part;
    uint64_t first_row; /* in it, if it holds the rows of several tensors */
    uint32_t pair_rows; /* rows of a head in interleaved order; 0: order kept */
} gguf_place;

typedef struct gguf_model {
    const gguf_family *family;
    slm_config config;
    gguf_part *parts;
    uint32_t n_parts;
    gguf_found *found; /* n_found tensors of all parts, sorted by name */
    uint64_t n_found;
    gguf_place *places; /* n_tensors, canonical order */
    uint32_t n_tensors;
    uint64_t n_parameters, n_source_bytes; /* of the tensors that are used */
    tokenizer_payload tokenizer;           /* zeroed if there is none */
} gguf_model;

/* Reads and checks everything but the values of the weights. *m: the caller's to free, also on
 * failure. Errors: EXIT_INPUT naming file and key or tensor. */
int gguf_model_open(const char *path, bool want_tokenizer, gguf_model *m, notes *w, failure *f);
void gguf_model_free(gguf_model *m); /* accepts a zeroed one */

/* The tokenizer alone: the file need not have tensors, nor a configuration. Of m->config only the
 * ids and n_vocab are set then. */
int gguf_model_open_tokenizer(const char *path, gguf_model *m, notes *w, failure *f);

/* The tensor of that name in any part, or NULL. */
gguf_found *gguf_model_find(const gguf_model *m, const char *name);

/* Brings m->found into the order of the names. */
void gguf_model_sort(gguf_model *m);

static inline const uint8_t *gguf_tensor_data(const gguf_model *m, const gguf_found *found)
{
    return m->parts[found->part].in.bytes + found->tensor->offset;
}

/* Metadata of the first part and the list of tensors -> m->family, m->config. */
int gguf_config_read(gguf_model *m, notes *w, failure *f);

/* The number of tokens, BOS and stop ids -> m->config, without the rest of it. */
int gguf_config_read_ids(gguf_model *m, failure *f);

/* The tokenizer's keys -> m->tokenizer. Needs the configuration. */
int gguf_tokenizer_read(gguf_model *m, notes *w, failure *f);

#endif
