/* llama2c.h - llama2.c's .bin files and tokenizer.bin -> tensors, and tokens with scores.
 *
 *     version 0: i32 dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len; a
 *                negative vocab_size announces a separate output matrix. Then F32 data: token
 *                embedding; of all layers attention norm, wq, wk, wv, wo, ffn norm, w1, w2, w3;
 *                final norm; two tables for rope, which nobody reads; the output matrix.
 *     version 1: u32 0x616b3432, i32 1, the same seven numbers, u8 shared output, zeros up to byte
 *                256. Then F32 data: attention norms, ffn norms, final norm; embedding, wq, ...,
 * w3, output matrix. version 2: i32 2, i32 group size after the flag; norms in F32; then each
 * matrix as int8 numbers, followed by an F32 scale for each group of them.
 *
 * The number of bytes must be exactly what the header implies. Quantized matrices become F32, which
 * holds the products exactly rounded, since Q8_0 would round the F32 scales to 16 bits.
 */
#ifndef SLM_TOOLS_LLAMA2C_H
#define SLM_TOOLS_LLAMA2C_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/convert_notes.h"
#include "lib/failure.h"

typedef struct llama2c_tensor {
    char name[48]; /* as in llama2.c's state dict: "layers.0.attention.wq.weight" */
    uint32_t rank;
    uint64_t dims[2];
    uint64_t offset, n_elements;
    bool quantized;
} llama2c_tensor;

typedef struct llama2c {
    const char *name;
    const uint8_t *bytes;
    uint64_t n_bytes;
    uint32_t version, dim, hidden_dim, n_layers, n_heads, n_kv_heads, n_vocab, n_context;
    uint32_t group; /* version 2, else 0 */
    bool shared;    /* no output matrix of its own */
    llama2c_tensor *tensors;
    uint32_t n_tensors;
} llama2c;

/* True if the magic is there, or if the seven numbers of version 0 imply exactly n_bytes. */
bool llama2c_recognised(const uint8_t *bytes, uint64_t n_bytes);

/* bytes: borrowed as long as *l is used. Errors: EXIT_INPUT naming the field, EXIT_RESOURCE. */
int llama2c_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, llama2c *l, notes *w,
                  failure *f);
void llama2c_free(llama2c *l); /* accepts a zeroed one; clears */

/* The elements of a tensor as little-endian F32: 4 * n_elements bytes. A scale that is not finite
 * or is negative: EXIT_INPUT. */
int llama2c_read(const llama2c *l, const llama2c_tensor *t, uint8_t *out, failure *f);

/* Rows of wq and wk come in rope's interleaved order (2i, 2i+1 turn together); this puts them into
 * the order of halves (i, i + head_dim/2), head by head. to: not overlapping from. */
void llama2c_halves(const uint8_t *from, uint8_t *to, uint32_t n_heads, uint32_t head_dim,
                    uint64_t row_bytes);

/* True for the tensors to which that applies; *is_key tells the two apart. */
bool llama2c_is_rotated(const char *name, bool *is_key);

/* ---- tokenizer.bin: i32 longest token; for each token f32 score, i32 length, bytes ----------- */

typedef struct llama2c_token {
    float score;
    uint32_t n_bytes;
    const uint8_t *bytes; /* borrowed; not NUL-terminated */
} llama2c_token;

typedef struct llama2c_tokens {
    llama2c_token *tokens;
    uint32_t n_tokens, max_bytes;
    uint32_t n_missing_bytes; /* of the 256 byte tokens <0x00> ... <0xFF> */
    uint32_t n_duplicates;
} llama2c_tokens;

/* n_vocab: tokens that the model has; 0: not known, all up to the end are taken. */
int llama2c_tokens_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, uint32_t n_vocab,
                         llama2c_tokens *t, notes *w, failure *f);
/* Whether records of tokens fill it to its end. */
bool llama2c_tokens_recognised(const uint8_t *bytes, uint64_t n_bytes);
void llama2c_tokens_free(llama2c_tokens *t); /* accepts a zeroed one; clears */

#endif
