/* fuzz_zip.c - any bytes as a zip archive: every member unpacked, or refused. */
#include <stdlib.h>

#include "lib/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    zip z;
    failure f;
    if (zip_open("fuzz", data, size, &z, &f) != EXIT_OK) {
        return 0;
    }
    for (uint64_t i = 0; i < z.n_entries; i++) {
        const zip_entry *e = &z.entries[i];
        const uint8_t *view;
        if (zip_find(&z, e->name, e->name_bytes) != e) {
            abort();
        }
        if (!e->deflated) {
            (void)zip_view(&z, e, &view, &f);
        }
        if (e->size > 1 << 20) {
            continue;
        }
        uint8_t *out = malloc((size_t)e->size + 1);
        if (out) {
            (void)zip_read(&z, e, out, &f);
        }
        free(out);
    }
    zip_close(&z);
    return 0;
}
