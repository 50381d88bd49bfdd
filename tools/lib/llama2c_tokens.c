/* llama2c_tokens.c - tokenizer.bin; see llama2c.h. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/half.h"
#include "lib/llama2c.h"

enum { MAX_TOKENS = 1 << 24, MAX_TOKEN_BYTES = 1 << 16, RECORD = 8 };

static int read_token(const char *name, byte_reader *r, uint32_t index, uint32_t max_bytes,
                      llama2c_token *t, failure *f)
{
    uint64_t at = r->pos;
    t->score = f32_from_bits(read_u32(r));
    t->n_bytes = read_u32(r);
    if (r->failed) {
        return fail(f, EXIT_INPUT, "%s: ends before token %u", name, index);
    }
    if (!isfinite(t->score)) {
        return fail(f, EXIT_INPUT, "%s: offset %" PRIu64 ": the score of token %u is not finite",
                    name, at, index);
    }
    if (t->n_bytes == 0 || t->n_bytes > max_bytes || t->n_bytes > r->n_bytes - r->pos) {
        return fail(f, EXIT_INPUT,
                    "%s: offset %" PRIu64 ": token %u has length %d, must be 1 to %u and end "
                    "inside the file",
                    name, at + 4, index, (int)t->n_bytes, max_bytes);
    }
    t->bytes = read_bytes(r, t->n_bytes);
    return EXIT_OK;
}

static int compare_tokens(const void *a, const void *b)
{
    const llama2c_token *x = *(const llama2c_token *const *)a,
                        *y = *(const llama2c_token *const *)b;
    uint32_t n = x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes;
    int order = memcmp(x->bytes, y->bytes, n);
    return order ? order : (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

/* Counts duplicates, and byte tokens that are absent. */
static int survey(const char *name, llama2c_tokens *t, notes *w, failure *f)
{
    const llama2c_token **sorted = calloc((size_t)t->n_tokens + 1, sizeof(const llama2c_token *));
    if (!sorted) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", name);
    }
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        sorted[i] = &t->tokens[i];
    }
    qsort(sorted, t->n_tokens, sizeof(const llama2c_token *), compare_tokens);
    for (uint32_t i = 1; i < t->n_tokens; i++) {
        t->n_duplicates += compare_tokens(&sorted[i - 1], &sorted[i]) == 0;
    }
    for (unsigned i = 0; i < 256; i++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", i);
        llama2c_token wanted = {.bytes = (const uint8_t *)text, .n_bytes = 6};
        const llama2c_token *key = &wanted;
        t->n_missing_bytes += !bsearch(&key, sorted, t->n_tokens, sizeof key, compare_tokens);
    }
    free(sorted);
    if (t->n_duplicates != 0) {
        note(w, "%s: %u tokens appear more than once", name, t->n_duplicates);
    }
    if (t->n_missing_bytes != 0) {
        note(w, "%s: %u of the 256 byte tokens are missing: not every text can be encoded", name,
             t->n_missing_bytes);
    }
    return EXIT_OK;
}

static int read_all(const char *name, byte_reader *r, uint32_t n_vocab, llama2c_tokens *t,
                    failure *f)
{
    uint64_t room = (r->n_bytes - r->pos) / (RECORD + 1);
    uint32_t limit = n_vocab ? n_vocab : room < MAX_TOKENS ? (uint32_t)room : MAX_TOKENS;
    if (limit > room || limit == 0) {
        return fail(f, EXIT_INPUT, "%s: is too short for %u tokens", name, n_vocab ? n_vocab : 1);
    }
    t->tokens = calloc(limit, sizeof *t->tokens);
    if (!t->tokens) {
        return fail(f, EXIT_RESOURCE, "%s: no memory for %u tokens", name, limit);
    }
    while (t->n_tokens < limit && (n_vocab || r->pos < r->n_bytes)) {
        llama2c_token *token = &t->tokens[t->n_tokens];
        int code = read_token(name, r, t->n_tokens, t->max_bytes, token, f);
        if (code != EXIT_OK) {
            return code;
        }
        t->n_tokens++;
    }
    if (r->pos != r->n_bytes) {
        return fail(f, EXIT_INPUT, "%s: %" PRIu64 " bytes follow the model's %u tokens", name,
                    r->n_bytes - r->pos, t->n_tokens);
    }
    return EXIT_OK;
}

int llama2c_tokens_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, uint32_t n_vocab,
                         llama2c_tokens *t, notes *w, failure *f)
{
    byte_reader r = byte_reader_view(bytes, n_bytes);
    memset(t, 0, sizeof *t);
    t->max_bytes = read_u32(&r);
    if (r.failed || t->max_bytes < 1 || t->max_bytes > MAX_TOKEN_BYTES) {
        return fail(f, EXIT_INPUT,
                    "%s: offset 0: the longest token has %d bytes, must be 1 to %d: is this "
                    "llama2.c's tokenizer.bin?",
                    name, (int)t->max_bytes, MAX_TOKEN_BYTES);
    }
    int code = read_all(name, &r, n_vocab, t, f);
    code = code ? code : survey(name, t, w, f);
    if (code != EXIT_OK) {
        llama2c_tokens_free(t);
    }
    return code;
}

bool llama2c_tokens_recognised(const uint8_t *bytes, uint64_t n_bytes)
{
    byte_reader r = byte_reader_view(bytes, n_bytes);
    uint32_t longest = read_u32(&r), n = 0;
    while (!r.failed && r.pos < n_bytes && longest <= MAX_TOKEN_BYTES) {
        read_u32(&r);
        n = read_u32(&r);
        if (n == 0 || n > longest || n > n_bytes - r.pos) {
            return false;
        }
        read_bytes(&r, n);
    }
    return !r.failed && n != 0 && r.pos == n_bytes;
}

void llama2c_tokens_free(llama2c_tokens *t)
{
    free(t->tokens);
    memset(t, 0, sizeof *t);
}
