/* logits_out.c - keeps a running digest of logits, and writes them. */
#include "lib/logits_out.h"

#include <string.h>

void logits_out_init(logits_out *l, output *file)
{
    memset(l, 0, sizeof *l);
    slm_hash_init(&l->hash, 0);
    l->file = file;
}

void logits_out_row(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    logits_out *l = (logits_out *)user;
    (void)index;
    enum { PIECE = 1024 };
    uint8_t bytes[PIECE * 4];
    for (uint32_t first = 0; first < n_vocab; first += PIECE) {
        uint32_t n = n_vocab - first < PIECE ? n_vocab - first : PIECE;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t u;
            memcpy(&u, logits + first + i, 4);
            bytes[4 * i] = (uint8_t)u;
            bytes[4 * i + 1] = (uint8_t)(u >> 8);
            bytes[4 * i + 2] = (uint8_t)(u >> 16);
            bytes[4 * i + 3] = (uint8_t)(u >> 24);
        }
        slm_hash_update(&l->hash, bytes, 4 * (size_t)n);
        if (l->file && l->failure.exit_code == EXIT_OK) {
            output_write(l->file, bytes, 4 * (uint64_t)n, &l->failure);
        }
    }
    l->n_rows++;
}
