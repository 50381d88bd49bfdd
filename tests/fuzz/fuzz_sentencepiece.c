/* fuzz_sentencepiece.c - any bytes as a tokenizer.model or a tokenizer.bin: refused or a payload.
 */
#include <stdlib.h>

#include "lib/scored_pieces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"fuzz.model", "fuzz.bin"};
    static notes w;
    for (int i = 0; i < 2; i++) {
        tokenizer_payload payload;
        failure f;
        w.n = w.n_dropped = 0;
        if (tokenizer_from_pieces(names[i], data, size, &payload, &w, &f) == EXIT_OK &&
            payload.n_tokenizer == 0) {
            abort();
        }
        tokenizer_payload_free(&payload);
    }
    return 0;
}
