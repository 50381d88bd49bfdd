/* bpe.c - one word -> token ids: symbols first (bytes or characters), then merges by rank.
 *
 * Short words are merged in place by looking for the least rank again and again; long ones (a whole
 * text, where there is no pre-tokenizer) with a heap of (rank, position) over a linked list, which
 * is n log n. A heap entry is stale if the pair at its position is no longer that of its rank.
 */
#include "text/tokenizer_state.h"

enum { SHORT_WORD = 32 }; /* symbols */

#define DEAD 0xffffffffu

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
    uint32_t id = length == 1 && t->flags & TOK_BYTE_LEVEL
                      ? t->byte_ids[*p]
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
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) {
            best = ranks[i] < ranks[best] ? i : best;
        }
        if (n < 2 || ranks[best] == NO_MERGE) {
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

/* ---- Long words ------------------------------------------------------------------------------ */

typedef struct heap {
    uint64_t *items; /* rank << 32 | position */
    size_t n;
} heap;

static void heap_push(heap *h, uint64_t item)
{
    size_t i = h->n++;
    for (; i > 0 && h->items[(i - 1) / 2] > item; i = (i - 1) / 2) {
        h->items[i] = h->items[(i - 1) / 2];
    }
    h->items[i] = item;
}

static uint64_t heap_pop(heap *h)
{
    uint64_t top = h->items[0], item = h->items[--h->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < h->n && h->items[child + 1] < h->items[child]) {
            child++;
        }
        if (child >= h->n || h->items[child] >= item) {
            break;
        }
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = item;
    return top;
}

static void push_pair(const slm_tokenizer *t, const encode_scratch *s, heap *h, uint32_t i)
{
    if (i == DEAD || s->next[i] == DEAD) {
        return;
    }
    const merge_slot *slot = merge_find(t, s->ids[i], s->ids[s->next[i]]);
    if (slot) {
        heap_push(h, (uint64_t)slot->rank << 32 | i);
    }
}

/* Every merge takes one entry and adds at most two, so 2 n entries suffice. */
static void merge_long(const slm_tokenizer *t, const encode_scratch *s, uint32_t n)
{
    heap h = {s->heap, 0};
    for (uint32_t i = 0; i < n; i++) {
        s->previous[i] = i ? i - 1 : DEAD;
        s->next[i] = i + 1 < n ? i + 1 : DEAD;
    }
    for (uint32_t i = 0; i < n; i++) {
        push_pair(t, s, &h, i);
    }
    while (h.n != 0) {
        uint64_t top = heap_pop(&h);
        uint32_t i = (uint32_t)top, right = s->next[i], a, b;
        merge_ids(t, (uint32_t)(top >> 32), &a, &b);
        if (right == DEAD || s->ids[i] != a || s->ids[right] != b) {
            continue;
        }
        s->ids[i] = merge_find(t, a, b)->result;
        s->ids[right] = DEAD;
        s->next[i] = s->next[right];
        if (s->next[i] != DEAD) {
            s->previous[s->next[i]] = i;
        }
        push_pair(t, s, &h, i);
        push_pair(t, s, &h, s->previous[i]);
    }
}

void slm_encode_word(const slm_tokenizer *t, const uint8_t *word, size_t n,
                     const encode_scratch *scratch, id_sink *sink)
{
    uint32_t id = slm_token_lookup(t, word, n, NULL, 0, TOKEN_DIRECT);
    if (id != BPE1_NO_ID) {
        sink_put(sink, id);
        return;
    }
    size_t n_ids = put_symbols(t, word, n, scratch->ids);
    if (n_ids <= SHORT_WORD) {
        n_ids = merge_short(t, scratch->ids, n_ids);
    } else {
        merge_long(t, scratch, (uint32_t)n_ids);
    }
    for (size_t i = 0; i < n_ids; i++) {
        if (scratch->ids[i] != DEAD) {
            sink_put(sink, scratch->ids[i]);
        }
    }
}
