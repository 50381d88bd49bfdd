/* gguf.h - a .gguf file (versions 2 and 3, little-endian) -> checked metadata and a tensor list.
 *
 *     offset  size  meaning
 *     0       4     "GGUF"
 *     4       4     version
 *     8       8     number of tensors
 *     16      8     number of metadata pairs
 *     24      ...   pairs: string key, u32 type, value; string = u64 length, bytes
 *     ...     ...   tensors: string name, u32 rank, u64 dims[rank] (fastest first), u32 type,
 *                   u64 offset from the start of the data
 *     ...     ...   zero padding to general.alignment (32 if absent), then the data
 *
 * The parsed form borrows from the file's bytes. Every count, length, offset and product is checked
 * against the bytes that are there before anything is allocated.
 */
#ifndef SLM_TOOLS_GGUF_H
#define SLM_TOOLS_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/failure.h"

enum { GGUF_MAX_DIMS = 4, GGUF_MAX_KEY = 65535, GGUF_MAX_TENSOR_NAME = 256 };

/* Types of metadata values, as stored. */
typedef enum gguf_value_type {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12,
    GGUF_VALUE_TYPES = 13
} gguf_value_type;

typedef struct gguf_string {
    const char *text; /* not NUL-terminated */
    uint64_t n_bytes;
} gguf_string;

typedef struct gguf_pair {
    gguf_string key;
    gguf_value_type type;
    const uint8_t *value;    /* the value's bytes; of an array, its first element */
    gguf_value_type element; /* of an array */
    uint64_t n_elements;     /* of an array, else 1 */
} gguf_pair;

typedef struct gguf_tensor {
    gguf_string name;
    uint32_t rank;
    uint64_t dims[GGUF_MAX_DIMS]; /* fastest first, as stored; unused: 1 */
    uint32_t type;                /* GGML's number */
    uint64_t offset;              /* in the file */
    uint64_t n_bytes;
} gguf_tensor;

typedef struct gguf {
    const char *name; /* of the file, for messages */
    const uint8_t *bytes;
    uint64_t n_bytes;
    uint32_t version;
    uint64_t alignment;
    uint64_t data_offset;
    gguf_pair *pairs; /* sorted by key; owned */
    uint64_t n_pairs;
    gguf_tensor *tensors; /* file order; owned */
    uint64_t n_tensors;
    uint64_t n_trailing; /* bytes after the last tensor and its padding */
} gguf;

/* Parses and checks. bytes: borrowed as long as *g is used. Errors: EXIT_INPUT with the offset,
 * EXIT_RESOURCE. On failure *g is zero. */
int gguf_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, gguf *g, failure *f);
void gguf_free(gguf *g); /* accepts a zeroed one; clears */

/* The pair of that key, or NULL. */
const gguf_pair *gguf_find(const gguf *g, const char *key);

/* Typed getters: *found (if not NULL) tells whether the key is there; a value of another kind or
 * out of range is EXIT_INPUT naming the key. Integers may be stored in any integer type. */
int gguf_get_u32(const gguf *g, const char *key, uint32_t min, uint32_t max, uint32_t *value,
                 bool *found, failure *f);
int gguf_get_f32(const gguf *g, const char *key, float *value, bool *found, failure *f);
int gguf_get_bool(const gguf *g, const char *key, bool *value, bool *found, failure *f);
int gguf_get_string(const gguf *g, const char *key, gguf_string *value, bool *found, failure *f);
int gguf_get_array(const gguf *g, const char *key, gguf_value_type element, const gguf_pair **array,
                   failure *f); /* NULL if absent */

/* Walks an array of strings: *cursor starts at array->value and is moved past the string read. */
gguf_string gguf_next_string(const uint8_t **cursor);

/* Name, elements a block and bytes a block of a GGML tensor type; NULL for an unknown number. */
typedef struct gguf_type {
    const char *name;
    uint32_t block_elements, block_bytes;
} gguf_type;
const gguf_type *gguf_type_of(uint32_t type);

#endif
