/* bpe.c - bytes -> token ids: symbols first (bytes or characters), then merges by rank. Short
 * stretches are merged here, in place, by looking for the least rank again and again; long ones in
 * merge_long.c.
 */
#include "text/tokenizer_state.h"

enum { SHORT_WORD = 16 }; /* symbols */

uint32_t slm_token_hash(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b)
{
    uint64_t h = n_a + n_b, word = 0;
    uint32_t held = 0;
    for (size_t i = 0; i < n_a + n_b; i++) {
        word = word << 8 | (i < n_a ? a[i] : b[i - n_a]);
        if (++held == 8) {
            h = mix64_chain(h, word);
            word = held = 0;
        }
    }
    return (uint32_t)mix64_chain(h, word);
}

static bool same_bytes(const slm_tokenizer *t, uint32_t id, const uint8_t *a, size_t n_a,
                       const uint8_t *b, size_t n_b)
{
    uint32_t n;
    const uint8_t *text = token_text(t, id, &n);
    return n == n_a + n_b && memcmp(text, a, n_a) == 0 &&
           (n_b == 0 || memcmp(text + n_a, b, n_b) == 0);
}

uint32_t slm_token_lookup(const slm_tokenizer *t, const uint8_t *a, size_t n_a, const uint8_t *b,
                          size_t n_b, uint32_t attributes)
{
    uint32_t slot = slm_token_hash(a, n_a, b, n_b) & t->index_mask;
    for (uint32_t probe = 0; probe <= t->longest_probe && t->index[slot] != 0; probe++) {
        uint32_t id = t->index[slot] - 1, kind = t->kinds[id];
        if ((attributes ? kind & attributes : !(kind & TOKEN_MERGES)) &&
            same_bytes(t, id, a, n_a, b, n_b)) {
            return id;
        }
        slot = (slot + 1) & t->index_mask;
    }
    return BPE1_NO_ID;
}

/* ---- Symbols --------------------------------------------------------------------------------- */

/* One character, or one byte that belongs to none. */
static size_t put_character(const slm_tokenizer *t, const uint8_t *p, uint32_t length,
                            uint32_t *ids, size_t n, bool *unknown)
{
    bool is_byte = t->flags & TOK_BYTE_LEVEL;
    uint32_t id = length == 1 && (is_byte || *p < 0x80)
                      ? (is_byte ? t->byte_ids : t->ascii_ids)[*p]
                      : slm_token_lookup(t, p, length, NULL, 0, TOKEN_MERGES);
    bool was_unknown = *unknown;
    *unknown = false;
    if (id != BPE1_NO_ID) {
        ids[n++] = id;
    } else if (t->flags & TOK_BYTE_FALLBACK) {
        for (uint32_t i = 0; i < length; i++) {
            ids[n++] = t->byte_ids[p[i]];
        }
    } else if (t->unk_id >= 0) {
        if (!was_unknown || !(t->flags & TOK_FUSE_UNK)) {
            ids[n++] = (uint32_t)t->unk_id;
        }
        *unknown = true;
    }
    return n;
}

static size_t put_symbols(const slm_tokenizer *t, const uint8_t *word, size_t n_bytes,
                          uint32_t *ids)
{
    size_t n = 0;
    bool unknown = false;
    for (size_t pos = 0; pos < n_bytes;) {
        uint32_t length = 1, c;
        if (!(t->flags & TOK_BYTE_LEVEL)) {
            length = slm_utf8_decode(word + pos, n_bytes - pos, &c);
        }
        n = put_character(t, word + pos, length, ids, n, &unknown);
        pos += length;
    }
    return n;
}

/* ---- Short words ----------------------------------------------------------------------------- */

static void note_pair(const slm_tokenizer *t, const uint32_t *ids, size_t i, size_t n,
                      uint32_t *ranks, uint32_t *results)
{
    const merge_slot *slot = i + 1 < n ? merge_find(t, ids[i], ids[i + 1]) : NULL;
    ranks[i] = slot ? slot->rank : NO_MERGE;
    results[i] = slot ? slot->result : 0;
}

static size_t merge_short(const slm_tokenizer *t, uint32_t *ids, size_t n)
{
    uint32_t ranks[SHORT_WORD], results[SHORT_WORD];
    for (size_t i = 0; i < n; i++) {
        note_pair(t, ids, i, n, ranks, results);
    }
    for (;;) {
        uint32_t least = NO_MERGE << 4; /* rank and position in one number: no branches */
        for (uint32_t i = 0; i + 1 < n; i++) {
            uint32_t key = ranks[i] << 4 | i;
            least = key < least ? key : least;
        }
        size_t best = least & (SHORT_WORD - 1);
        if (least >= NO_MERGE << 4) {
            return n;
        }
        ids[best] = results[best];
        n--;
        for (size_t i = best + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            ranks[i] = ranks[i + 1];
            results[i] = results[i + 1];
        }
        note_pair(t, ids, best, n, ranks, results);
        if (best > 0) {
            note_pair(t, ids, best - 1, n, ranks, results);
        }
    }
}

size_t slm_merge_stretch(const slm_tokenizer *t, const uint8_t *text, size_t n,
                         const encode_scratch *scratch)
{
    size_t n_ids = put_symbols(t, text, n, scratch->ids);
    return n_ids <= SHORT_WORD ? merge_short(t, scratch->ids, n_ids)
                               : slm_merge_long(t, scratch, (uint32_t)n_ids);
}
