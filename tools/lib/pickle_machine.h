/* pickle_machine.h - the values that a pickle builds, between the opcodes (pickle.c), the tensors
 * (pickle_tensor.c) and the tree that callers see (pickle_tree.c).
 */
#ifndef SLM_TOOLS_PICKLE_MACHINE_H
#define SLM_TOOLS_PICKLE_MACHINE_H

#include "lib/pickle.h"

typedef enum value_kind {
    VALUE_NONE,
    VALUE_FALSE,
    VALUE_TRUE,
    VALUE_INTEGER,
    VALUE_FLOAT,
    VALUE_TEXT,
    VALUE_TUPLE,
    VALUE_LIST,
    VALUE_DICT,
    VALUE_ORDERED, /* a dict that came from OrderedDict() */
    VALUE_GLOBAL,
    VALUE_STORAGE,
    VALUE_TENSOR
} value_kind;

/* Names that a pickle may use; the storages are GLOBAL_STORAGE + their dtype. */
enum { GLOBAL_ORDERED_DICT, GLOBAL_REBUILD_TENSOR, GLOBAL_REBUILD_PARAMETER, GLOBAL_STORAGE };

static const uint32_t NO_CELL = UINT32_MAX;

/* Indices of values that exist from the start, so that the shortest opcodes allocate nothing. */
enum { INDEX_NONE, INDEX_FALSE, INDEX_TRUE, INDEX_EMPTY_TUPLE, N_FIXED };

typedef struct value {
    uint32_t kind;
    union {
        int64_t integer;
        double number;
        uint32_t index; /* global, storage or tensor */
        struct {
            uint32_t n_bytes;
            const char *bytes;
        } text;
        struct {
            uint32_t head, tail, n; /* cells of a tuple, list or dict */
        } items;
    } as;
} value;

/* An item of a tuple or list (key unused), or an entry of a dict. */
typedef struct cell {
    uint32_t key, value, next;
} cell;

/* A growing array; at most `limit` elements, which follows from the length of the input. */
typedef struct pool {
    void *items;
    uint32_t n, capacity;
} pool;

typedef struct machine {
    const char *name;
    const uint8_t *bytes;
    uint64_t n_bytes, pos;
    uint64_t op;        /* offset of the opcode at hand */
    uint64_t frame_end; /* 0: in no frame */
    pool values, cells, stack, marks, memo, tensors, storages;
    failure *f;
} machine;

static inline value *value_at(const machine *m, uint32_t index)
{
    return (value *)m->values.items + index;
}

static inline cell *cell_at(const machine *m, uint32_t index)
{
    return (cell *)m->cells.items + index;
}

/* One more element; NULL (EXIT_RESOURCE reported) if there is no memory. */
void *pool_add(machine *m, pool *p, size_t size);

/* "NAME: offset N: WHAT" as EXIT_INPUT. */
int pickle_refuse(const machine *m, const char *what);

/* The items of a tuple into out, if there are exactly n. */
bool tuple_items(const machine *m, uint32_t tuple, uint32_t n, uint32_t *out);

/* pickle_tensor.c: BINPERSID and REDUCE. *result: index of the new value. */
int pickle_make_storage(machine *m, uint32_t id, uint32_t *result);
int pickle_make_tensor(machine *m, uint32_t arguments, uint32_t *result);
int pickle_make_parameter(machine *m, uint32_t arguments, uint32_t *result);

/* pickle_tree.c: the finished pickle, whose outermost value is `root`. */
int pickle_make_tree(machine *m, uint32_t root, pickle *p);

#endif
