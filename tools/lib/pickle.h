/* pickle.h - the pickle of a PyTorch checkpoint -> tensors and numbers, without running anything.
 *
 * A closed interpreter: the opcodes that torch.save writes, thirteen names (OrderedDict, the two
 * functions that rebuild tensors, the storage types), and nothing else. Every other opcode or name
 * is refused by name and offset. No recursion; memory stays below 64 bytes for each byte of input
 * and 160 more for each tensor. All texts are borrowed from the input.
 *
 * The result is the tree of dictionaries below the outermost one. Lists, tuples and what they hold
 * are checked but not kept, except as PICKLE_OTHER.
 */
#ifndef SLM_TOOLS_PICKLE_H
#define SLM_TOOLS_PICKLE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/failure.h"

enum { PICKLE_MAX_DIMS = 4, PICKLE_MAX_BYTES = 1 << 28, PICKLE_MAX_DEPTH = 64 };

typedef enum pickle_dtype {
    PICKLE_F32,
    PICKLE_F16,
    PICKLE_BF16,
    PICKLE_F64,
    PICKLE_I64,
    PICKLE_I32,
    PICKLE_I16,
    PICKLE_I8,
    PICKLE_U8,
    PICKLE_BOOL,
    PICKLE_DTYPES
} pickle_dtype;

const char *pickle_dtype_name(pickle_dtype dtype); /* "F32", ... as in safetensors */
uint32_t pickle_dtype_bytes(pickle_dtype dtype);

typedef struct pickle_text {
    const char *text; /* not NUL-terminated; well-formed UTF-8 */
    uint32_t n_bytes;
} pickle_text;

typedef struct pickle_storage {
    pickle_text key; /* decimal digits */
    pickle_dtype dtype;
    uint64_t n_elements;
} pickle_storage;

/* Every element lies inside the storage, and no two share a place. */
typedef struct pickle_tensor {
    uint32_t storage; /* index */
    uint32_t rank;
    uint64_t offset; /* elements from the start of the storage */
    uint64_t dims[PICKLE_MAX_DIMS], strides[PICKLE_MAX_DIMS];
} pickle_tensor;

typedef enum pickle_kind {
    PICKLE_OTHER,
    PICKLE_NONE,
    PICKLE_TRUTH,
    PICKLE_INTEGER,
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_DICT,
    PICKLE_TENSOR
} pickle_kind;

typedef struct pickle_entry {
    pickle_text key;     /* of an integer key: NULL */
    int64_t integer_key; /* then */
    pickle_kind kind;
    union {
        int64_t integer; /* PICKLE_INTEGER, PICKLE_TRUTH */
        double number;
        pickle_text text;
        uint32_t index; /* of the dictionary or tensor; a dictionary met before has its old one */
    } of;
} pickle_entry;

typedef struct pickle_dict {
    uint32_t first, n; /* entries, in the order of the file */
} pickle_dict;

typedef struct pickle {
    pickle_dict *dicts; /* [0] is the outermost */
    uint32_t n_dicts;
    pickle_entry *entries;
    uint32_t n_entries;
    pickle_tensor *tensors;
    uint32_t n_tensors;
    pickle_storage *storages; /* sorted by key, each key once */
    uint32_t n_storages;
} pickle;

/* name: for messages. bytes: borrowed as long as *p is used. Errors: EXIT_INPUT with the offset,
 * EXIT_RESOURCE. On failure *p is zero. */
int pickle_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, pickle *p, failure *f);
void pickle_free(pickle *p); /* accepts a zeroed one; clears */

/* The entry of that key in a dictionary, or NULL. */
const pickle_entry *pickle_find(const pickle *p, uint32_t dict, const char *key);

#endif
