/* safetensors.h - a .safetensors file -> a checked list of tensors.
 *
 *     offset  size  meaning
 *     0       8     N, length of the header, little-endian
 *     8       N     JSON object: name -> {dtype, shape, data_offsets}; "__metadata__": strings
 *     8+N     ...   tensor data, which the tensors tile without hole or overlap
 *
 * Accepted: white space after the header's JSON, tensors in any order, zero-size tensors between
 * others, keys beside the three (counted). Everything else that the format does not allow is
 * refused with the byte position. Limits: header of 100,000,000 bytes, rank SLM_MAX_DIMS, names of
 * SAFETENSORS_MAX_NAME bytes. Memory: the header's text and 64 bytes a tensor.
 */
#ifndef SLM_TOOLS_SAFETENSORS_H
#define SLM_TOOLS_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "format/slm_file.h"
#include "lib/input.h"

enum { SAFETENSORS_MAX_HEADER = 100000000, SAFETENSORS_MAX_NAME = 4096 };

typedef enum safetensors_dtype {
    SAFETENSORS_F32,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_OTHER /* a type of the format that this project does not convert */
} safetensors_dtype;

typedef struct safetensors_tensor {
    const char *name; /* NUL-terminated, in the header's text */
    uint16_t name_bytes;
    uint8_t rank;
    uint8_t dtype;  /* index for safetensors_dtype_name */
    uint32_t shard; /* for the caller */
    uint64_t dims[SLM_MAX_DIMS];
    uint64_t begin, end; /* from the start of the data */
} safetensors_tensor;

typedef struct safetensors {
    safetensors_tensor *tensors; /* n_tensors, sorted by name */
    uint32_t n_tensors;
    uint64_t data_offset; /* of the data in the file: 8 + N */
    uint32_t n_unknown_keys;
    char unknown_key[64]; /* the first of them */
    char *text;           /* owned */
} safetensors;

/* Parses a header. text: n_text bytes and one more byte of room, malloc'd; transferred, also on
 * failure, and changed. n_data: bytes after the header. Errors: EXIT_INPUT, EXIT_RESOURCE. */
int safetensors_parse(const char *name, char *text, uint64_t n_text, uint64_t n_data,
                      safetensors *st, failure *f);

/* Reads and parses the header of an open file. What is another kind of file (GGUF, PyTorch, a Git
 * LFS pointer, a saved web page) is called by its name. */
int safetensors_read(const input *in, safetensors *st, failure *f);

void safetensors_free(safetensors *st); /* accepts a zeroed one; clears */

/* All tensors of n_shards files as one sorted list, each with its shard's index; the shards keep
 * their texts and must outlive it. A name in two shards: EXIT_INPUT naming both files. */
int safetensors_merge(const safetensors *shards, const char *const *shard_names, uint32_t n_shards,
                      safetensors *all, failure *f);

/* The tensor of that name, borrowed, or NULL. O(log n). */
const safetensors_tensor *safetensors_find(const safetensors *st, const char *name);

const char *safetensors_dtype_name(uint32_t dtype); /* "BF16", "I64", ... */
safetensors_dtype safetensors_dtype_kind(uint32_t dtype);

#endif
