/* fuzz_safetensors.c - any bytes as a safetensors file: a checked list of tensors that tile the
 * data, or a refusal.
 */
#include "lib/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What every accepted header promises; a broken promise is a crash. */
static void check(const safetensors *st, uint64_t n_data)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < st->n_tensors; i++) {
        const safetensors_tensor *t = &st->tensors[i];
        if (t->begin > t->end || t->end > n_data || t->rank > SLM_MAX_DIMS ||
            strlen(t->name) != t->name_bytes || safetensors_find(st, t->name) != t) {
            abort();
        }
        sum += t->end - t->begin;
    }
    if (sum != n_data) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8) {
        return 0;
    }
    uint64_t n_header = load_u64(data);
    if (n_header > size - 8) { /* so that most inputs reach the parser */
        n_header = (size - 8) / 2;
    }
    char *text = malloc((size_t)n_header + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, data + 8, (size_t)n_header);
    safetensors st;
    failure f;
    if (safetensors_parse("fuzz", text, n_header, size - 8 - n_header, &st, &f) == EXIT_OK) {
        check(&st, size - 8 - n_header);
        safetensors_free(&st);
    }
    return 0;
}
