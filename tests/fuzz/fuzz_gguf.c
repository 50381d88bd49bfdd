/* fuzz_gguf.c - any bytes as a GGUF file: parsed and walked, or refused. */
#include "lib/gguf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gguf g;
    failure f;
    if (gguf_parse("fuzz", data, size, &g, &f) != EXIT_OK) {
        return 0;
    }
    uint64_t sum = 0;
    for (uint64_t i = 0; i < g.n_pairs; i++) {
        const uint8_t *cursor = g.pairs[i].value;
        for (uint64_t k = 0; g.pairs[i].element == GGUF_STRING && k < g.pairs[i].n_elements; k++) {
            gguf_string s = gguf_next_string(&cursor);
            sum += s.n_bytes ? (uint8_t)s.text[s.n_bytes - 1] : 0;
        }
    }
    for (uint64_t i = 0; i < g.n_tensors; i++) {
        sum += data[g.tensors[i].offset] + data[g.tensors[i].offset + g.tensors[i].n_bytes - 1];
    }
    gguf_free(&g);
    return (int)(sum & 0); /* the reads are what matters */
}
