/* scored_pieces.c - pieces with scores -> the metadata of a GGUF vocabulary, and its reader. */
#include "lib/scored_pieces.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/gguf_model.h"
#include "lib/json_out.h"
#include "lib/llama2c.h"

/* ---- Metadata -------------------------------------------------------------------------------- */

static void put_u32(FILE *out, uint32_t value)
{
    uint8_t bytes[4];
    store_u32(bytes, value);
    fwrite(bytes, 1, 4, out);
}

static void put_u64(FILE *out, uint64_t value)
{
    put_u32(out, (uint32_t)value);
    put_u32(out, (uint32_t)(value >> 32));
}

static void put_string(FILE *out, const void *bytes, size_t n)
{
    put_u64(out, n);
    fwrite(bytes, 1, n, out);
}

static void put_key(FILE *out, const char *key, gguf_value_type type)
{
    put_string(out, key, strlen(key));
    put_u32(out, type);
}

static void put_array(FILE *out, const char *key, gguf_value_type element, uint32_t n)
{
    put_key(out, key, GGUF_ARRAY);
    put_u32(out, element);
    put_u64(out, n);
}

static void put_id(FILE *out, const char *key, int32_t id)
{
    put_key(out, key, GGUF_U32);
    put_u32(out, (uint32_t)id); /* -1 is GGUF's "none" too */
}

static void put_metadata(FILE *out, const scored_pieces *s)
{
    fwrite("GGUF", 1, 4, out);
    put_u32(out, 3);
    put_u64(out, 0);
    put_u64(out, 7);
    put_key(out, "tokenizer.ggml.model", GGUF_STRING);
    put_string(out, "llama", 5);
    put_id(out, "tokenizer.ggml.bos_token_id", s->bos_id);
    put_id(out, "tokenizer.ggml.eos_token_id", s->eos_id);
    put_key(out, "tokenizer.ggml.add_space_prefix", GGUF_BOOL);
    putc(s->prefix, out);
    put_array(out, "tokenizer.ggml.tokens", GGUF_STRING, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        put_string(out, s->pieces[i].bytes, s->pieces[i].n_bytes);
    }
    put_array(out, "tokenizer.ggml.scores", GGUF_F32, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t bits;
        memcpy(&bits, &s->pieces[i].score, 4);
        put_u32(out, bits);
    }
    put_array(out, "tokenizer.ggml.token_type", GGUF_I32, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        put_u32(out, s->pieces[i].type);
    }
}

static int read_metadata(const char *name, const uint8_t *bytes, size_t n_bytes,
                         tokenizer_payload *payload, notes *w, failure *f)
{
    gguf_part part = {.in = {.fd = -1}};
    int code = gguf_parse(name, bytes, n_bytes, &part.g, f);
    gguf_model m = {.parts = &part, .n_parts = 1};
    code = code ? code : gguf_config_read_ids(&m, f);
    code = code ? code : gguf_tokenizer_read(&m, w, f);
    *payload = m.tokenizer;
    gguf_free(&part.g);
    return code;
}

static int make_payload(const char *name, const scored_pieces *s, tokenizer_payload *payload,
                        notes *w, failure *f)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    FILE *out = json_open_memory(&bytes, &n_bytes);
    if (!out) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", name);
    }
    put_metadata(out, s);
    int code = json_close_memory(out) ? EXIT_OK : fail(f, EXIT_RESOURCE, "%s: no memory", name);
    code = code ? code : read_metadata(name, (const uint8_t *)bytes, n_bytes, payload, w, f);
    free(bytes);
    return code;
}

/* ---- tokenizer.bin --------------------------------------------------------------------------- */

static bool is_byte(const llama2c_token *t)
{
    return t->n_bytes == 6 && memcmp(t->bytes, "<0x", 3) == 0 && t->bytes[5] == '>';
}

/* Its writer made U+2581 into a space, and put line breaks around <s> and </s>. */
static uint8_t *restore(const llama2c_token *t, uint8_t *out, scored_piece *p)
{
    p->bytes = out;
    for (uint32_t i = 0; i < t->n_bytes; i++) {
        if (t->bytes[i] == ' ') {
            memcpy(out, "\xe2\x96\x81", 3);
            out += 3;
        } else {
            *out++ = t->bytes[i];
        }
    }
    p->n_bytes = (uint32_t)(out - p->bytes);
    p->score = t->score;
    return out;
}

/* The file has no types: the first three are what every llama2.c program takes them for. */
static int bin_pieces(const char *name, const llama2c_tokens *t, uint8_t *pool, scored_pieces *s,
                      failure *f)
{
    static const scored_piece first[3] = {{(const uint8_t *)"<unk>", 5, 0, PIECE_UNKNOWN},
                                          {(const uint8_t *)"<s>", 3, 0, PIECE_CONTROL},
                                          {(const uint8_t *)"</s>", 4, 0, PIECE_CONTROL}};
    if (t->n_tokens <= 3) {
        return fail(f, EXIT_INPUT, "%s: only %u tokens", name, t->n_tokens);
    }
    *s = (scored_pieces){.bos_id = 1, .eos_id = 2, .prefix = true};
    s->pieces = calloc(t->n_tokens, sizeof *s->pieces);
    if (!s->pieces) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", name);
    }
    s->n = t->n_tokens;
    for (uint32_t i = 0; i < s->n; i++) {
        scored_piece *p = &s->pieces[i];
        if (i < 3) {
            *p = first[i];
        } else {
            pool = restore(&t->tokens[i], pool, p);
            p->type = is_byte(&t->tokens[i]) ? PIECE_BYTE : PIECE_NORMAL;
        }
    }
    return EXIT_OK;
}

static int from_bin(const char *name, const uint8_t *bytes, uint64_t n_bytes,
                    tokenizer_payload *payload, notes *w, failure *f)
{
    llama2c_tokens t;
    scored_pieces s = {0};
    int code = llama2c_tokens_parse(name, bytes, n_bytes, 0, &t, w, f);
    if (code != EXIT_OK) {
        return code;
    }
    uint8_t *pool = malloc(3 * (size_t)n_bytes); /* tokens lie apart: together no longer */
    code = pool ? bin_pieces(name, &t, pool, &s, f) : fail(f, EXIT_RESOURCE, "%s: no memory", name);
    code = code ? code : make_payload(name, &s, payload, w, f);
    scored_pieces_free(&s);
    llama2c_tokens_free(&t);
    free(pool);
    return code;
}

int tokenizer_from_pieces(const char *name, const uint8_t *bytes, uint64_t n_bytes,
                          tokenizer_payload *payload, notes *w, failure *f)
{
    size_t n = strlen(name);
    scored_pieces s = {0};
    *payload = (tokenizer_payload){0};
    if (n > 4 && strcmp(name + n - 4, ".bin") == 0) {
        return from_bin(name, bytes, n_bytes, payload, w, f);
    }
    int code = sentencepiece_parse(name, bytes, n_bytes, &s, f);
    code = code ? code : make_payload(name, &s, payload, w, f);
    scored_pieces_free(&s);
    return code;
}
