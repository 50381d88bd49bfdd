/* words.c - one word -> token ids: from the cache, as a token of its own, or by merging.
 *
 * Where there is no pre-tokenizer the whole text is one word. It is cut wherever no merge can
 * cross: between two characters that stand side by side in no token. (Merging joins neighbours into
 * a token that holds both, so that what lies on either side of such a place merges as if it were
 * alone.) Characters are told apart by the bytes that meet, U+2581 exactly.
 */
#include "text/tokenizer_state.h"

enum {
    CACHED_BYTES = 16,
    CACHED_IDS = 5,
    UNCUT = 32,       /* bytes that are merged as they are */
    MARK_LEFT = 256,  /* row of the table for U+2581 */
    MARK_RIGHT = 0x80 /* its column: no character begins with this byte */
};

static bool is_mark(const uint8_t *p)
{
    return p[0] == 0xe2 && p[1] == 0x96 && p[2] == 0x81;
}

/* ---- Where a word may be cut ----------------------------------------------------------------- */

/* Row and column of the place between bytes i - 1 and i of n; false if no character begins at i. */
static bool place_at(const slm_tokenizer *t, const uint8_t *text, size_t n, size_t i, uint32_t *row,
                     uint32_t *column)
{
    *row = text[i - 1];
    *column = text[i];
    if (t->flags & TOK_BYTE_LEVEL) {
        return true;
    }
    if (*row == 0x81 && i > 2 && is_mark(text + i - 3)) {
        *row = MARK_LEFT;
    }
    if (*column == 0xe2 && n - i > 2 && is_mark(text + i)) {
        *column = MARK_RIGHT;
        return true;
    }
    return (*column & 0xc0) != 0x80;
}

static void forbid(uint64_t *table, uint32_t row, uint32_t column)
{
    table[row * 4 + (column >> 6)] |= (uint64_t)1 << (column & 63);
}

/* Has each character whose last byte, or first, is this a token that merges? */
static bool has_token(const slm_tokenizer *t, uint32_t byte, bool is_mark_place)
{
    static const uint8_t mark[3] = {0xe2, 0x96, 0x81};
    if (t->flags & TOK_BYTE_LEVEL) {
        return t->byte_ids[byte & 255] != BPE1_NO_ID;
    }
    return is_mark_place ? slm_token_lookup(t, mark, 3, NULL, 0, TOKEN_MERGES) != BPE1_NO_ID
                         : byte < 128 && t->ascii_ids[byte] != BPE1_NO_ID;
}

/* Unknown characters that fuse do so across every cut, so none is made behind one. Those that are
 * dropped let their neighbours meet, so none is made before one either. */
static void forbid_unknown(const slm_tokenizer *t, uint64_t *table)
{
    bool falls_back = t->flags & TOK_BYTE_FALLBACK, drop = t->unk_id < 0 && !falls_back;
    bool fuse = t->unk_id >= 0 && t->flags & TOK_FUSE_UNK && !falls_back;
    bool odd = t->unk_id >= 0 && t->kinds[t->unk_id] & TOKEN_MERGES;
    for (uint32_t row = 0; row <= MARK_LEFT && (fuse || odd || drop); row++) {
        if (odd || !has_token(t, row, row == MARK_LEFT)) {
            memset(table + (size_t)row * 4, 0xff, 4 * sizeof *table);
        }
    }
    for (uint32_t column = 0; column < 256 && drop; column++) {
        bool its = has_token(t, column, column == MARK_RIGHT && !(t->flags & TOK_BYTE_LEVEL));
        for (uint32_t row = 0; row <= MARK_LEFT && !its; row++) {
            forbid(table, row, column);
        }
    }
}

void slm_adjacent_build(slm_tokenizer *t, uint64_t *table)
{
    memset(table, 0, ADJACENT_WORDS * sizeof *table);
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        uint32_t n, row, column;
        const uint8_t *text = token_text(t, id, &n);
        for (uint32_t i = 1; t->kinds[id] & TOKEN_MERGES && i < n; i++) {
            if (place_at(t, text, n, i, &row, &column)) {
                forbid(table, row, column);
            }
        }
    }
    forbid_unknown(t, table);
    t->adjacent = table;
}

/* The end of the stretch that begins at pos. */
static size_t stretch_end(const slm_tokenizer *t, const uint8_t *text, size_t n, size_t pos)
{
    uint32_t row, column;
    while (++pos < n) {
        if (place_at(t, text, n, pos, &row, &column) &&
            !(t->adjacent[row * 4 + (column >> 6)] >> (column & 63) & 1)) {
            break;
        }
    }
    return pos;
}

/* ---- The cache ------------------------------------------------------------------------------- */

/* The entry where n <= 16 bytes are or go; its head, tail and shape without the number of ids are
 * filled into *key. */
static cached_word *cache_find(const encode_scratch *s, const uint8_t *p, size_t n, uint32_t whole,
                               cached_word *key)
{
    key->head = key->tail = 0;
    if (n >= 8) {
        key->head = load_u64(p);
        key->tail = load_u64(p + n - 8);
    } else if (n >= 4) {
        key->head = load_u32(p) | (uint64_t)load_u32(p + n - 4) << 32;
    } else {
        key->head = p[0] | (uint32_t)p[n / 2] << 8 | (uint32_t)p[n - 1] << 16;
    }
    key->shape = (uint32_t)n | whole << 8;
    uint64_t h = (key->head ^ key->shape) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 29 ^ key->tail) * 0xbf58476d1ce4e5b9u;
    return &s->words[(uint32_t)(h >> 40) & s->cache_mask];
}

static bool cache_holds(const cached_word *c, const cached_word *key)
{
    return c->head == key->head && c->tail == key->tail && (c->shape & 0xffff) == key->shape;
}

static void cache_put(cached_word *c, const cached_word *key, const uint32_t *ids, size_t n)
{
    if (n <= CACHED_IDS) {
        *c = *key;
        c->shape |= (uint32_t)n << 16;
        memcpy(c->ids, ids, n * sizeof *ids);
    }
}

/* ---- Words ----------------------------------------------------------------------------------- */

/* A word (whole), or a stretch of one, that merging does not leave. */
static void encode_stretch(const slm_tokenizer *t, const uint8_t *text, size_t n, bool whole,
                           const encode_scratch *s, id_sink *sink)
{
    cached_word key, *c = NULL;
    if (n <= CACHED_BYTES) {
        c = cache_find(s, text, n, whole, &key);
        if (cache_holds(c, &key)) {
            for (uint32_t i = 0; i < c->shape >> 16; i++) {
                sink_put(sink, c->ids[i]);
            }
            return;
        }
    }
    uint32_t id =
        whole && n <= t->longest ? slm_token_lookup(t, text, n, NULL, 0, TOKEN_DIRECT) : BPE1_NO_ID;
    size_t n_ids = 1;
    if (id != BPE1_NO_ID) {
        s->ids[0] = id;
    } else {
        n_ids = slm_merge_stretch(t, text, n, s);
    }
    for (size_t i = 0; i < n_ids; i++) {
        sink_put(sink, s->ids[i]);
    }
    if (c) {
        cache_put(c, &key, s->ids, n_ids);
    }
}

void slm_encode_word(const slm_tokenizer *t, const uint8_t *word, size_t n, const encode_scratch *s,
                     id_sink *sink)
{
    if (n <= UNCUT) {
        encode_stretch(t, word, n, true, s, sink);
        return;
    }
    uint32_t id =
        n <= t->longest ? slm_token_lookup(t, word, n, NULL, 0, TOKEN_DIRECT) : BPE1_NO_ID;
    if (id != BPE1_NO_ID) {
        sink_put(sink, id);
        return;
    }
    for (size_t pos = 0, end; pos < n; pos = end) {
        end = stretch_end(t, word, n, pos);
        encode_stretch(t, word + pos, end - pos, false, s, sink);
    }
}
