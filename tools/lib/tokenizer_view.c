/* tokenizer_view.c - where the arrays of a payload lie. */
#include "lib/tokenizer_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static const uint8_t *next_array(const uint8_t **at, uint64_t n)
{
    const uint8_t *array = *at;
    *at += (n + 7) & ~(uint64_t)7;
    return array;
}

static int find_offsets(tokenizer_view *v, const uint8_t *lengths, failure *f)
{
    uint32_t used = 0;
    v->offsets = (uint32_t *)malloc(((size_t)v->n_tokens + 1) * sizeof *v->offsets);
    if (!v->offsets) {
        return fail(f, EXIT_RESOURCE, "no memory for a vocabulary");
    }
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        v->offsets[id] = used;
        used += load_u16(lengths + 2 * (size_t)id);
    }
    v->offsets[v->n_tokens] = used;
    return EXIT_OK;
}

/* 256 tokens of one byte, then the two control tokens. */
static int view_bytes(tokenizer_view *v, const uint8_t *payload, failure *f)
{
    static const char names[] = "<bos><eos>";
    enum { BLOB = 266, LENGTHS = 2 * BTOK_TOKENS };
    v->flags = TOK_BYTE_LEVEL | load_u32(payload + 8);
    v->n_tokens = BTOK_TOKENS;
    v->n_added[0] = 2;
    v->unk_id = -1;
    v->bos_id = BTOK_BOS;
    v->eos_id = BTOK_EOS;
    v->n_stops = 1;
    v->made = (uint8_t *)calloc(1, 4 + LENGTHS + BTOK_TOKENS + BLOB + 16);
    if (!v->made) {
        return fail(f, EXIT_RESOURCE, "no memory for a vocabulary");
    }
    uint8_t *lengths = v->made + 4, *kinds = lengths + LENGTHS, *blob = kinds + BTOK_TOKENS;
    uint8_t *entries = blob + BLOB;
    store_u32(v->made, BTOK_EOS);
    for (uint32_t id = 0; id < BTOK_TOKENS; id++) {
        store_u16(lengths + 2 * (size_t)id, id < 256 ? 1 : 5);
        kinds[id] = id < 256 ? TOKEN_NORMAL | TOKEN_MERGES : TOKEN_CONTROL;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        blob[byte] = (uint8_t)byte;
    }
    memcpy(blob + 256, names, 10);
    for (uint32_t i = 0; i < 2; i++) {
        store_u32(entries + 8 * i, BTOK_BOS + i);
        store_u16(entries + 8 * i + 4, 5);
        store_u16(entries + 8 * i + 6, ADDED_CONTROL);
    }
    v->stops = v->made;
    v->kinds = kinds;
    v->blob = blob;
    v->entries = entries;
    v->patterns = blob + 256;
    return find_offsets(v, lengths, f);
}

int tokenizer_view_open(tokenizer_view *v, const uint8_t *payload, failure *f)
{
    memset(v, 0, sizeof *v);
    if (load_u32(payload) == BTOK_MAGIC) {
        return view_bytes(v, payload, f);
    }
    const uint8_t *p = payload, *at = payload + BPE1_HEADER_BYTES;
    v->flags = load_u32(p + 8);
    v->pre = load_u32(p + 12);
    v->prefix = load_u32(p + 16);
    v->n_tokens = load_u32(p + 20);
    v->n_merges = load_u32(p + 24);
    v->n_added[0] = load_u32(p + 28);
    v->n_added[1] = load_u32(p + 32);
    v->unk_id = (int32_t)load_u32(p + 36);
    v->bos_id = (int32_t)load_u32(p + 40);
    v->eos_id = (int32_t)load_u32(p + 44);
    v->n_stops = load_u32(p + 48);
    v->id_bytes = v->n_tokens <= 65536 ? 2 : 3;
    v->stops = next_array(&at, 4 * (uint64_t)v->n_stops);
    const uint8_t *lengths = next_array(&at, 2 * (uint64_t)v->n_tokens);
    v->kinds = next_array(&at, v->n_tokens);
    v->blob = next_array(&at, load_u32(p + 52));
    v->merges = next_array(&at, (uint64_t)2 * v->id_bytes * v->n_merges);
    v->entries = next_array(&at, 8 * ((uint64_t)v->n_added[0] + v->n_added[1]));
    v->patterns = next_array(&at, load_u32(p + 56));
    at += v->flags & TOK_TIES ? (((uint64_t)v->n_merges + 7) / 8 + 7) & ~(uint64_t)7 : 0;
    v->program = at;
    v->n_program = load_u32(p + 60);
    return find_offsets(v, lengths, f);
}

void tokenizer_view_close(tokenizer_view *v)
{
    free(v->offsets);
    free(v->made);
    memset(v, 0, sizeof *v);
}

const uint8_t *view_token(const tokenizer_view *v, uint32_t id, uint32_t *n_bytes)
{
    *n_bytes = v->offsets[id + 1] - v->offsets[id];
    return v->blob + v->offsets[id];
}

void view_merge(const tokenizer_view *v, uint32_t rank, uint32_t *left, uint32_t *right)
{
    const uint8_t *p = v->merges + (size_t)rank * 2 * v->id_bytes, *q = p + v->id_bytes;
    *left = load_u16(p) | (v->id_bytes == 3 ? (uint32_t)p[2] << 16 : 0);
    *right = load_u16(q) | (v->id_bytes == 3 ? (uint32_t)q[2] << 16 : 0);
}

view_added view_next_added(const tokenizer_view *v, uint32_t i, uint64_t *at)
{
    const uint8_t *entry = v->entries + 8 * (size_t)i;
    view_added a = {.id = load_u32(entry),
                    .n_pattern = load_u16(entry + 4),
                    .flags = load_u16(entry + 6),
                    .normalized = i >= v->n_added[0],
                    .pattern = v->patterns + *at};
    *at += a.n_pattern;
    return a;
}
