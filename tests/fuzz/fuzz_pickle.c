/* fuzz_pickle.c - any bytes as a pickle: parsed and walked, or refused. */
#include <stdlib.h>

#include "lib/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
    if (!condition) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pickle p;
    failure f;
    if (pickle_parse("fuzz", data, size, &p, &f) != EXIT_OK) {
        return 0;
    }
    check(p.n_dicts >= 1);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p.n_dicts; i++) {
        check(p.dicts[i].first + p.dicts[i].n <= p.n_entries);
    }
    for (uint32_t i = 0; i < p.n_entries; i++) {
        const pickle_entry *e = &p.entries[i];
        sum += e->key.n_bytes ? (uint8_t)e->key.text[e->key.n_bytes - 1] : 0;
        check(e->kind != PICKLE_DICT || e->of.index < p.n_dicts);
        check(e->kind != PICKLE_TENSOR || e->of.index < p.n_tensors);
    }
    for (uint32_t i = 0; i < p.n_tensors; i++) {
        const pickle_tensor *t = &p.tensors[i];
        check(t->storage < p.n_storages);
        uint64_t last = t->offset;
        for (uint32_t k = 0; k < t->rank; k++) {
            last += t->dims[k] == 1 ? 0 : (t->dims[k] - 1) * t->strides[k];
        }
        check(last < p.storages[t->storage].n_elements);
    }
    pickle_free(&p);
    return (int)(sum & 0); /* the reads are what matters */
}
