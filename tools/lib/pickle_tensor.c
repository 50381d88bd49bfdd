/* pickle_tensor.c - the three things that a pickle may make: storages, tensors, parameters. */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/pickle_machine.h"

static const struct {
    const char *name;
    uint32_t n_bytes;
} DTYPES[PICKLE_DTYPES] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8}, {"I64", 8},
                           {"I32", 4}, {"I16", 2}, {"I8", 1},   {"U8", 1},  {"BOOL", 1}};

const char *pickle_dtype_name(pickle_dtype dtype)
{
    return dtype < PICKLE_DTYPES ? DTYPES[dtype].name : "unknown";
}

uint32_t pickle_dtype_bytes(pickle_dtype dtype)
{
    return dtype < PICKLE_DTYPES ? DTYPES[dtype].n_bytes : 0;
}

static int add_value(machine *m, value_kind kind, uint32_t index, uint32_t *result)
{
    value *v = pool_add(m, &m->values, sizeof *v);
    if (!v) {
        return EXIT_RESOURCE;
    }
    *v = (value){.kind = kind};
    v->as.index = index;
    *result = m->values.n - 1;
    return EXIT_OK;
}

static bool is_digits(const value *v)
{
    if (v->kind != VALUE_TEXT || v->as.text.n_bytes == 0 || v->as.text.n_bytes > 20) {
        return false;
    }
    for (uint32_t i = 0; i < v->as.text.n_bytes; i++) {
        if (v->as.text.bytes[i] < '0' || v->as.text.bytes[i] > '9') {
            return false;
        }
    }
    return true;
}

/* ("storage", type, key, device, number of elements); the device is where it was, not ours. */
int pickle_make_storage(machine *m, uint32_t id, uint32_t *result)
{
    uint32_t items[5];
    if (!tuple_items(m, id, 5, items)) {
        return pickle_refuse(m, "a storage is not described by five values");
    }
    const value *tag = value_at(m, items[0]), *type = value_at(m, items[1]);
    const value *key = value_at(m, items[2]), *count = value_at(m, items[4]);
    if (tag->kind != VALUE_TEXT || tag->as.text.n_bytes != 7 ||
        memcmp(tag->as.text.bytes, "storage", 7) != 0) {
        return pickle_refuse(m, "a persistent id that is no storage");
    }
    if (type->kind != VALUE_GLOBAL || type->as.index < GLOBAL_STORAGE) {
        return pickle_refuse(m, "a storage of no storage type");
    }
    if (!is_digits(key) || value_at(m, items[3])->kind != VALUE_TEXT) {
        return pickle_refuse(m, "a storage's key is not a number, or its device not a text");
    }
    pickle_dtype dtype = (pickle_dtype)(type->as.index - GLOBAL_STORAGE);
    if (count->kind != VALUE_INTEGER || count->as.integer < 1 ||
        count->as.integer > INT64_MAX / (int64_t)pickle_dtype_bytes(dtype)) {
        return pickle_refuse(m, "a storage's number of elements is out of range");
    }
    pickle_storage *s = pool_add(m, &m->storages, sizeof *s);
    if (!s) {
        return EXIT_RESOURCE;
    }
    *s = (pickle_storage){.key = {key->as.text.bytes, key->as.text.n_bytes},
                          .dtype = dtype,
                          .n_elements = (uint64_t)count->as.integer};
    return add_value(m, VALUE_STORAGE, m->storages.n - 1, result);
}

/* A tuple of `n` whole numbers >= 1. */
static bool numbers(const machine *m, uint32_t tuple, uint32_t n, uint64_t *out)
{
    uint32_t items[PICKLE_MAX_DIMS];
    if (!tuple_items(m, tuple, n, items)) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const value *v = value_at(m, items[i]);
        if (v->kind != VALUE_INTEGER || v->as.integer < 1) {
            return false;
        }
        out[i] = (uint64_t)v->as.integer;
    }
    return true;
}

/* Offset, dims and strides must stay inside n elements, and no two elements may share a place:
 * by ascending stride, each must step over all that the smaller ones reach. */
static bool fits(const pickle_tensor *t, uint64_t n)
{
    bool used[PICKLE_MAX_DIMS] = {false};
    uint64_t reach = 0; /* of the dimensions so far */
    for (uint32_t k = 0; k < t->rank; k++) {
        uint32_t least = PICKLE_MAX_DIMS;
        for (uint32_t i = 0; i < t->rank; i++) {
            if (!used[i] && (least == PICKLE_MAX_DIMS || t->strides[i] < t->strides[least])) {
                least = i;
            }
        }
        used[least] = true;
        if (t->dims[least] == 1) {
            continue; /* its stride is never taken */
        }
        uint64_t span;
        if (t->strides[least] <= reach ||
            !checked_mul_u64(t->dims[least] - 1, t->strides[least], &span) ||
            !checked_add_u64(reach, span, &reach)) {
            return false;
        }
    }
    return t->offset < n && reach < n - t->offset;
}

/* Backward hooks are code: there must be none. */
static bool no_hooks(const value *v)
{
    return v->kind == VALUE_NONE || (v->kind == VALUE_ORDERED && v->as.items.n == 0);
}

static bool is_truth(const value *v)
{
    return v->kind == VALUE_FALSE || v->kind == VALUE_TRUE;
}

/* (storage, offset, size, stride, requires_grad, backward_hooks[, metadata]) */
int pickle_make_tensor(machine *m, uint32_t arguments, uint32_t *result)
{
    uint32_t a[7];
    bool seven = tuple_items(m, arguments, 7, a);
    if (!seven && !tuple_items(m, arguments, 6, a)) {
        return pickle_refuse(m, "_rebuild_tensor_v2 with other than 6 or 7 arguments");
    }
    const value *storage = value_at(m, a[0]), *offset = value_at(m, a[1]);
    if (storage->kind != VALUE_STORAGE || offset->kind != VALUE_INTEGER ||
        !is_truth(value_at(m, a[4])) || !no_hooks(value_at(m, a[5]))) {
        return pickle_refuse(m, "_rebuild_tensor_v2 with arguments of other kinds, or with hooks");
    }
    const value *metadata = seven ? value_at(m, a[6]) : NULL;
    if (metadata && metadata->kind != VALUE_NONE &&
        (metadata->kind != VALUE_DICT || metadata->as.items.n != 0)) {
        return pickle_refuse(m, "_rebuild_tensor_v2 with metadata");
    }
    const value *size = value_at(m, a[2]);
    pickle_tensor t = {.storage = storage->as.index, .offset = (uint64_t)offset->as.integer};
    if (size->kind != VALUE_TUPLE || size->as.items.n > PICKLE_MAX_DIMS) {
        return pickle_refuse(m, "a tensor's size is no tuple, or has more than 4 dimensions");
    }
    t.rank = size->as.items.n;
    if (!numbers(m, a[2], t.rank, t.dims) || !numbers(m, a[3], t.rank, t.strides)) {
        return pickle_refuse(m, "a tensor's size or stride is zero, negative or no number");
    }
    const pickle_storage *s = (const pickle_storage *)m->storages.items + t.storage;
    if (offset->as.integer < 0 || !fits(&t, s->n_elements)) {
        return pickle_refuse(m, "a tensor's elements overlap, or lie outside its storage");
    }
    pickle_tensor *slot = pool_add(m, &m->tensors, sizeof *slot);
    if (!slot) {
        return EXIT_RESOURCE;
    }
    *slot = t;
    return add_value(m, VALUE_TENSOR, m->tensors.n - 1, result);
}

/* (tensor, requires_grad, backward_hooks) */
int pickle_make_parameter(machine *m, uint32_t arguments, uint32_t *result)
{
    uint32_t a[3];
    if (!tuple_items(m, arguments, 3, a) || value_at(m, a[0])->kind != VALUE_TENSOR ||
        !is_truth(value_at(m, a[1])) || !no_hooks(value_at(m, a[2]))) {
        return pickle_refuse(m, "_rebuild_parameter with other arguments, or with hooks");
    }
    *result = a[0];
    return EXIT_OK;
}
