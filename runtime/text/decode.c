/* decode.c - token ids -> text, and what a token is. */
#include "base/status.h"
#include "text/tokenizer_state.h"

const char *slm_token_bytes(const slm_tokenizer *t, int32_t id, size_t *n_bytes)
{
    uint32_t n = 0;
    const uint8_t *text = NULL;
    if (id >= 0 && (uint32_t)id < t->n_tokens) {
        text = token_text(t, (uint32_t)id, &n);
    }
    *n_bytes = n;
    return (const char *)text;
}

uint32_t slm_token_count(const slm_tokenizer *t)
{
    return t->n_tokens;
}

int32_t slm_token_find(const slm_tokenizer *t, const char *text, size_t n_bytes)
{
    const uint8_t *bytes = (const uint8_t *)text;
    if (t->magic == BTOK_MAGIC) {
        for (uint32_t id = n_bytes == 1 ? bytes[0] : 256; id < BTOK_TOKENS; id++) {
            uint32_t n;
            const uint8_t *its = token_text(t, id, &n);
            if (n == n_bytes && memcmp(its, bytes, n) == 0) {
                return (int32_t)id;
            }
        }
        return -1;
    }
    uint32_t id = slm_token_lookup(t, bytes, n_bytes, NULL, 0, TOKEN_MERGES);
    id = id == BPE1_NO_ID ? slm_token_lookup(t, bytes, n_bytes, NULL, 0, 0) : id;
    return id == BPE1_NO_ID ? -1 : (int32_t)id;
}

int slm_token_is_end(const slm_tokenizer *t, int32_t id)
{
    for (uint32_t i = 0; i < t->n_stops; i++) {
        if (t->stops[i] == id) {
            return 1;
        }
    }
    return 0;
}

/* ---- Streams --------------------------------------------------------------------------------- */

void slm_decoder_init(slm_decoder *decoder, uint32_t flags)
{
    memset(decoder, 0, sizeof *decoder);
    decoder->flags = flags;
}

/* What a decoder's next text is made of: pending bytes, then a token's, marks read as spaces. */
typedef struct joined {
    const uint8_t *pending, *token;
    size_t n_pending, n_token;
    bool marks; /* the token's U+2581 are spaces */
} joined;

static bool mark_at(const joined *j, size_t i)
{
    return j->marks && j->n_token - i > 2 && j->token[i] == 0xe2 && j->token[i + 1] == 0x96 &&
           j->token[i + 2] == 0x81;
}

/* Writes the text if out is not NULL; returns its bytes. */
static size_t write_joined(const joined *j, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < j->n_pending; i++, n++) {
        if (out) {
            out[n] = (char)j->pending[i];
        }
    }
    for (size_t i = 0; i < j->n_token; n++) {
        bool is_mark = mark_at(j, i);
        if (out) {
            out[n] = is_mark ? ' ' : (char)j->token[i];
        }
        i += is_mark ? 3 : 1;
    }
    return n;
}

/* Could these 1..3 bytes begin a character that is longer? */
static bool begins_character(const uint8_t *p, size_t n)
{
    size_t length = p[0] < 0xc2 || p[0] > 0xf4 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return false;
        }
    }
    return n < length &&
           !(n > 1 && ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
                       (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)));
}

/* How many bytes at the end of the text are a character that has not ended. tail: its last
 * min(3, n) bytes. */
static size_t unfinished(const uint8_t *tail, size_t n)
{
    for (size_t back = n; back > 0; back--) {
        if (begins_character(tail + n - back, back)) {
            return back;
        }
    }
    return 0;
}

/* The last min(3, *n) bytes of the text. A mark among them is a space, which ends any character. */
static size_t last_bytes(const joined *j, uint8_t tail[3])
{
    uint8_t reversed[3];
    size_t n = 0, i = j->n_token;
    while (n < 3 && i > 0) {
        bool is_mark = i >= 3 && mark_at(j, i - 3);
        reversed[n++] = is_mark ? ' ' : j->token[i - 1];
        i -= is_mark ? 3 : 1;
    }
    for (i = j->n_pending; n < 3 && i > 0; i--) {
        reversed[n++] = j->pending[i - 1];
    }
    for (i = 0; i < n; i++) {
        tail[i] = reversed[n - 1 - i];
    }
    return n;
}

/* A token's part of the text: none for ids that stand for nothing and for control tokens unless
 * they are wanted. */
static joined token_part(const slm_decoder *decoder, const slm_tokenizer *t, uint32_t id)
{
    uint32_t n, kind = t->kinds[id] & TOKEN_KIND_MASK;
    joined j = {.pending = decoder->pending, .n_pending = decoder->n_pending};
    j.token = token_text(t, id, &n);
    j.n_token = kind == TOKEN_CONTROL && !(decoder->flags & SLM_DECODE_CONTROL) ? 0 : n;
    j.marks = t->flags & TOK_MARK_SPACES && kind != TOKEN_CONTROL && kind != TOKEN_BYTE;
    if (t->flags & TOK_STRIP_SPACE && decoder->n_seen == 0 && j.n_token != 0) {
        size_t space = mark_at(&j, 0) ? 3 : j.token[0] == ' ' ? 1 : 0;
        j.token += space;
        j.n_token -= space;
    }
    return j;
}

slm_status slm_decoder_push(slm_decoder *decoder, const slm_tokenizer *t, int32_t id, char *out,
                            size_t capacity, size_t *n_bytes, slm_error *error)
{
    if (id < 0 || (uint32_t)id >= t->n_tokens) {
        return slm_fail(error, SLM_ERR_TOKEN_ID, 0, "token id %i is not in 0..%u", id,
                        t->n_tokens - 1);
    }
    uint8_t tail[3];
    uint32_t n_text;
    (void)token_text(t, (uint32_t)id, &n_text);
    joined j = token_part(decoder, t, (uint32_t)id);
    bool speaks = n_text != 0 && ((t->kinds[id] & TOKEN_KIND_MASK) != TOKEN_CONTROL ||
                                  decoder->flags & SLM_DECODE_CONTROL);
    size_t n_tail = last_bytes(&j, tail), n_held = unfinished(tail, n_tail);
    size_t n = write_joined(&j, NULL);
    *n_bytes = n - n_held;
    if (n - n_held > capacity) {
        return slm_fail(error, SLM_ERR_BUFFER, 0, "the token's text takes %l bytes, room is for %l",
                        (uint64_t)(n - n_held), (uint64_t)capacity);
    }
    /* The held bytes go to the decoder, the rest to out: drop them from the joined text's end. */
    size_t from_token = n_held < j.n_token ? n_held : j.n_token;
    j.n_token -= from_token;
    j.n_pending -= n_held - from_token;
    (void)write_joined(&j, out);
    memcpy(decoder->pending, tail + n_tail - n_held, n_held);
    decoder->n_pending = (uint32_t)n_held;
    decoder->n_seen += speaks;
    return SLM_OK;
}

size_t slm_decoder_flush(slm_decoder *decoder, char *out)
{
    size_t n = decoder->n_pending;
    memcpy(out, decoder->pending, n);
    decoder->n_pending = 0;
    return n;
}
