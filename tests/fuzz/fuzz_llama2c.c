/* fuzz_llama2c.c - any bytes as llama2.c's weights and as its tokenizer: read whole, or refused. */
#include <stdlib.h>

#include "lib/llama2c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static notes w;
    llama2c l;
    llama2c_tokens t;
    failure f;
    w.n = 0;
    int code = llama2c_parse("fuzz", data, size, &l, &w, &f);
    if (llama2c_recognised(data, size) != (code == EXIT_OK) && code == EXIT_OK) {
        abort(); /* what parses is recognised */
    }
    for (uint32_t i = 0; code == EXIT_OK && i < l.n_tensors; i++) {
        uint8_t *out = malloc((size_t)(4 * l.tensors[i].n_elements));
        if (out) {
            (void)llama2c_read(&l, &l.tensors[i], out, &f);
        }
        free(out);
    }
    if (code == EXIT_OK) {
        llama2c_free(&l);
    }
    uint64_t sum = 0;
    if (llama2c_tokens_parse("fuzz", data, size, size % 3 ? 0 : 2, &t, &w, &f) == EXIT_OK) {
        for (uint32_t i = 0; i < t.n_tokens; i++) {
            sum += t.tokens[i].bytes[t.tokens[i].n_bytes - 1];
        }
        llama2c_tokens_free(&t);
    }
    return (int)(sum & 0);
}
