/* safetensors.c - opens .safetensors files: length field, kind of file, lookup by name. */
#include "lib/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* What people put in the place of a safetensors file, and what to do about it. */
static const char *other_kind(const uint8_t *start, size_t n)
{
    static const struct {
        const char *magic, *is;
    } kinds[] = {
        {"GGUF", "this is a GGUF file"},
        {"PK\x03\x04", "this is a zip archive, such as PyTorch's .pt and .bin"},
        {"\x80\x02", "this is a Python pickle, such as PyTorch's older .bin"},
        {"\x80\x04", "this is a Python pickle, such as PyTorch's older .bin"},
        {"\x93NUMPY", "this is a NumPy array"},
        {"\x1f\x8b", "this is gzip data: unpack it first"},
        {"version https://git-lfs",
         "this is a Git LFS pointer, not the weights: run 'git lfs pull'"},
        {"<!DOCTYPE", "this is a web page: the download went wrong"},
        {"<!doctype", "this is a web page: the download went wrong"},
        {"<html", "this is a web page: the download went wrong"},
        {"Entry not found", "this is an error message: the download went wrong"},
        {"Repository not found", "this is an error message: the download went wrong"},
        {"Invalid username", "this is an error message: the download went wrong"},
        {"Access to model", "this is an error message: the download needs a login"},
        {"\x89SLM", "this is a .slm file already"},
        {"{", "this is JSON without the length field before it"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t k = strlen(kinds[i].magic);
        if (n >= k && memcmp(start, kinds[i].magic, k) == 0) {
            return kinds[i].is;
        }
    }
    return NULL;
}

int safetensors_read(const input *in, safetensors *st, failure *f)
{
    uint8_t start[32] = {0};
    size_t n_start = in->n_bytes < sizeof start ? (size_t)in->n_bytes : sizeof start;
    *st = (safetensors){0};
    int code = input_read_at(in, 0, start, n_start, f);
    if (code != EXIT_OK) {
        return code;
    }
    uint64_t n_header = load_u64(start);
    bool plausible = in->n_bytes >= 8 && n_header <= in->n_bytes - 8 &&
                     n_header <= SAFETENSORS_MAX_HEADER && (n_start == 8 || start[8] == '{');
    const char *kind = plausible ? NULL : other_kind(start, n_start);
    if (kind) {
        return fail(f, EXIT_INPUT, "%s: not a safetensors file: %s", in->path, kind);
    }
    if (in->n_bytes < 8) {
        return fail(f, EXIT_INPUT, "%s: %llu bytes are too few for a safetensors file", in->path,
                    (unsigned long long)in->n_bytes);
    }
    if (n_header > SAFETENSORS_MAX_HEADER) {
        return fail(f, EXIT_INPUT,
                    "%s: header length %llu is over the format's limit of 100000000: not a "
                    "safetensors file, or damaged",
                    in->path, (unsigned long long)n_header);
    }
    if (n_header > in->n_bytes - 8) {
        return fail(f, EXIT_INPUT,
                    "%s: the header of %llu bytes does not fit the file of %llu bytes (truncated "
                    "download?)",
                    in->path, (unsigned long long)n_header, (unsigned long long)in->n_bytes);
    }
    char *text = malloc((size_t)n_header + 1);
    if (!text) {
        return fail(f, EXIT_RESOURCE, "%s: not enough memory for its header", in->path);
    }
    code = input_read_at(in, 8, text, n_header, f);
    if (code != EXIT_OK) {
        free(text);
        return code;
    }
    return safetensors_parse(in->path, text, n_header, in->n_bytes - 8 - n_header, st, f);
}

void safetensors_free(safetensors *st)
{
    free(st->tensors);
    free(st->text);
    *st = (safetensors){0};
}

static int compare_key(const void *key, const void *item)
{
    const safetensors_tensor *t = item;
    return strcmp((const char *)key, t->name);
}

const safetensors_tensor *safetensors_find(const safetensors *st, const char *name)
{
    if (st->n_tensors == 0) {
        return NULL;
    }
    return bsearch(name, st->tensors, st->n_tensors, sizeof *st->tensors, compare_key);
}

static int compare_names(const void *a, const void *b)
{
    const safetensors_tensor *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order != 0 ? order : (x->shard > y->shard) - (x->shard < y->shard);
}

int safetensors_merge(const safetensors *shards, const char *const *shard_names, uint32_t n_shards,
                      safetensors *all, failure *f)
{
    uint64_t n = 0, at = 0;
    *all = (safetensors){0};
    for (uint32_t i = 0; i < n_shards; i++) {
        n += shards[i].n_tensors;
    }
    all->tensors = calloc((size_t)n + 1, sizeof *all->tensors);
    if (!all->tensors || n > UINT32_MAX) {
        return fail(f, EXIT_RESOURCE, "not enough memory for the list of tensors");
    }
    for (uint32_t i = 0; i < n_shards; i++) {
        for (uint32_t t = 0; t < shards[i].n_tensors; t++, at++) {
            all->tensors[at] = shards[i].tensors[t];
            all->tensors[at].shard = i;
        }
    }
    all->n_tensors = (uint32_t)n;
    qsort(all->tensors, (size_t)n, sizeof *all->tensors, compare_names);
    for (uint64_t t = 1; t < n; t++) {
        const safetensors_tensor *x = &all->tensors[t - 1], *y = &all->tensors[t];
        if (strcmp(x->name, y->name) == 0) {
            return fail(f, EXIT_INPUT, "tensor %.200s is in both %s and %s", x->name,
                        shard_names[x->shard], shard_names[y->shard]);
        }
    }
    return EXIT_OK;
}
