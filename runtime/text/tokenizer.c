/* tokenizer.c - a TOKN payload -> a tokenizer: every count, length, id and merge is checked here,
 * once, so that encoding and decoding need not.
 */
#include "base/status.h"
#include "text/tokenizer_state.h"

/* A hash table with a longer search than this was built by someone to be slow. */
enum { MAX_PROBE = 1024 };

typedef struct opener {
    slm_tokenizer *t; /* scratch copy until all is well */
    slm_arena *arena;
    byte_reader r;
    uint64_t n_bytes;
    uint32_t n_added[2], n_blob, n_patterns, n_program;
    uint32_t rank;
    const uint8_t *ties;               /* a bit per merge: it has the rank of the one before */
    const uint8_t *lengths;            /* u16 per token */
    const uint8_t *entries, *patterns; /* of both added tables */
    uint32_t *offsets, *index;
    merge_slot *table;
    uint32_t *pattern_offsets;
    uint64_t *adjacent, *filter;
    slm_error *error;
} opener;

static slm_status refuse(const opener *o, uint64_t offset, const char *what)
{
    return slm_fail(o->error, SLM_ERR_TOKENIZER, offset, "tokenizer: %s", what);
}

static uint32_t slots_for(uint32_t n) /* a power of two that n fills to three quarters at most */
{
    uint32_t slots = 16;
    while (slots - slots / 4 < n) {
        slots *= 2;
    }
    return slots;
}

/* ---- BTOK ------------------------------------------------------------------------------------ */

/* What an added table's entries are, of <bos> and <eos>. */
static const uint8_t BTOK_ADDED[16] = {0, 1, 0, 0, 5, 0, ADDED_CONTROL, 0,
                                       1, 1, 0, 0, 5, 0, ADDED_CONTROL, 0};
static const uint32_t BTOK_ADDED_OFFSETS[3] = {0, 5, 10};

/* 256 bytes in order, then the names of the two control tokens; as blob and offsets of BPE1. */
static void fill_btok(slm_tokenizer *t, uint8_t *blob, uint32_t *offsets, uint8_t *kinds)
{
    for (uint32_t i = 0; i < BTOK_TOKENS; i++) {
        offsets[i] = i <= 256 ? i : 261;
        kinds[i] = i < 256 ? TOKEN_NORMAL : TOKEN_CONTROL;
        t->byte_ids[i & 255] = i & 255;
        blob[i & 255] = (uint8_t)i;
    }
    memcpy(blob + 256, "<bos><eos>", 10);
    offsets[BTOK_TOKENS] = 266;
    t->blob = blob;
    t->offsets = offsets;
    t->kinds = kinds;
    t->added[0] = (added_table){.entries = BTOK_ADDED,
                                .patterns = blob + 256,
                                .offsets = BTOK_ADDED_OFFSETS,
                                .n = 2,
                                .first = {(uint64_t)1 << '<'}};
}

static slm_status open_btok(opener *o)
{
    slm_tokenizer *t = o->t;
    t->flags = read_u32(&o->r);
    uint32_t reserved = read_u32(&o->r);
    if (o->n_bytes != BTOK_BYTES || t->flags > (TOK_ADD_BOS | TOK_ADD_EOS) || reserved != 0) {
        return refuse(o, 8, "BTOK payload with a wrong length, unknown flags or reserved bits");
    }
    uint8_t *blob = (uint8_t *)arena_take(o->arena, 266, 1);
    uint32_t *offsets = (uint32_t *)arena_take(o->arena, BTOK_TOKENS + 1, sizeof *offsets);
    uint8_t *kinds = (uint8_t *)arena_take(o->arena, BTOK_TOKENS, 1);
    slm_unicode_init(&t->unicode, o->arena, false);
    t->n_tokens = BTOK_TOKENS;
    t->unk_id = -1;
    t->bos_id = BTOK_BOS;
    t->eos_id = t->stops[0] = BTOK_EOS;
    t->n_stops = 1;
    if (o->arena->base && !o->arena->failed) {
        fill_btok(t, blob, offsets, kinds);
    }
    return SLM_OK;
}

/* ---- BPE1: header and layout ----------------------------------------------------------------- */

static slm_status read_header(opener *o)
{
    slm_tokenizer *t = o->t;
    t->flags = read_u32(&o->r);
    t->pre = read_u32(&o->r);
    t->prefix = read_u32(&o->r);
    t->n_tokens = read_u32(&o->r);
    t->n_merges = read_u32(&o->r);
    o->n_added[0] = read_u32(&o->r);
    o->n_added[1] = read_u32(&o->r);
    t->unk_id = (int32_t)read_u32(&o->r);
    t->bos_id = (int32_t)read_u32(&o->r);
    t->eos_id = (int32_t)read_u32(&o->r);
    t->n_stops = read_u32(&o->r);
    o->n_blob = read_u32(&o->r);
    o->n_patterns = read_u32(&o->r);
    o->n_program = read_u32(&o->r);
    if (o->r.failed) {
        return refuse(o, o->n_bytes, "the header is cut short");
    }
    if (t->flags > TOK_FLAGS_ALL) {
        return refuse(o, 8, "unknown flags");
    }
    if (t->pre >= PRE_COUNT || t->prefix >= PREFIX_COUNT) {
        return refuse(o, 12, "unknown pre-tokenizer or prefix rule");
    }
    bool byte_words = t->pre != PRE_NONE && t->pre != PRE_MARKS;
    if ((t->flags & TOK_BYTE_LEVEL && (t->flags & TOK_MARK_SPACES || t->pre == PRE_MARKS)) ||
        (byte_words && !(t->flags & TOK_BYTE_LEVEL)) ||
        (t->flags & TOK_BYTE_LEVEL && t->flags & TOK_BYTE_FALLBACK)) {
        return refuse(o, 8, "flags and pre-tokenizer contradict each other");
    }
    if (t->n_tokens == 0 || t->n_tokens > BPE1_MAX_TOKENS || t->n_merges > BPE1_MAX_MERGES ||
        o->n_added[0] > BPE1_MAX_ADDED || o->n_added[1] > BPE1_MAX_ADDED ||
        t->n_stops > BPE1_MAX_STOPS) {
        return refuse(o, 20, "a count is out of range");
    }
    if (t->unk_id < -1 || t->bos_id < -1 || t->eos_id < -1 || t->unk_id >= (int32_t)t->n_tokens ||
        t->bos_id >= (int32_t)t->n_tokens || t->eos_id >= (int32_t)t->n_tokens ||
        (t->flags & TOK_ADD_BOS && t->bos_id < 0) || (t->flags & TOK_ADD_EOS && t->eos_id < 0)) {
        return refuse(o, 36, "a special token's id is out of range or missing");
    }
    return SLM_OK;
}

/* The next n items of `size` bytes, and the zeros that fill them up to a multiple of 8. */
static const uint8_t *read_array(opener *o, uint64_t n, uint64_t size)
{
    const uint8_t *items = read_bytes(&o->r, n * size);
    while (!o->r.failed && o->r.pos % 8 != 0) {
        if (read_u8(&o->r) != 0) {
            o->r.failed = true;
        }
    }
    return items;
}

static slm_status read_layout(opener *o)
{
    slm_tokenizer *t = o->t;
    t->id_bytes = t->n_tokens <= 65536 ? 2 : 3;
    const uint8_t *stops = read_array(o, t->n_stops, 4);
    o->lengths = read_array(o, t->n_tokens, 2);
    t->kinds = read_array(o, t->n_tokens, 1);
    t->blob = read_array(o, o->n_blob, 1);
    t->merges = read_array(o, t->n_merges, (uint64_t)2 * t->id_bytes);
    o->entries = read_array(o, (uint64_t)o->n_added[0] + o->n_added[1], 8);
    o->patterns = read_array(o, o->n_patterns, 1);
    o->ties = read_array(o, t->flags & TOK_TIES ? ((uint64_t)t->n_merges + 7) / 8 : 0, 1);
    const uint8_t *program = read_array(o, o->n_program, 1);
    if (o->r.failed) {
        return refuse(o, o->r.pos, "an array is cut short, or padding is not zero");
    }
    if (o->r.pos != o->n_bytes) {
        return refuse(o, o->r.pos, "there are bytes behind its end");
    }
    if (t->pre == PRE_PROGRAM ? !slm_program_open(&t->program, program, o->n_program)
                              : o->n_program != 0) {
        return refuse(o, 60, "the program of its pre-tokenizer is none");
    }
    for (uint32_t i = 0; i < t->n_stops; i++) {
        t->stops[i] = (int32_t)load_u32(stops + 4 * (size_t)i);
        if (t->stops[i] < 0 || t->stops[i] >= (int32_t)t->n_tokens ||
            (i > 0 && t->stops[i] <= t->stops[i - 1])) {
            return refuse(o, BPE1_HEADER_BYTES, "stop ids are out of range or not ascending");
        }
    }
    return SLM_OK;
}

static bool take_arena(opener *o)
{
    const slm_tokenizer *t = o->t;
    uint64_t n_added = (uint64_t)o->n_added[0] + o->n_added[1];
    o->offsets = (uint32_t *)arena_take(o->arena, (uint64_t)t->n_tokens + 1, sizeof(uint32_t));
    o->index = (uint32_t *)arena_take(o->arena, slots_for(t->n_tokens), sizeof(uint32_t));
    o->table = (merge_slot *)arena_take(o->arena, slots_for(t->n_merges), sizeof(merge_slot));
    o->filter = (uint64_t *)arena_take(o->arena, slots_for(t->n_merges) / 8, sizeof(uint64_t));
    o->pattern_offsets = (uint32_t *)arena_take(o->arena, n_added + 2, sizeof(uint32_t));
    o->adjacent = (uint64_t *)arena_take(o->arena, ADJACENT_WORDS, sizeof(uint64_t));
    slm_unicode_init(&o->t->unicode, o->arena, t->flags & TOK_NFC);
    return !o->arena->failed;
}

/* ---- BPE1: tokens ---------------------------------------------------------------------------- */

/* Enters a token. One that merges may make comes once; of others with equal bytes the first. */
static slm_status index_token(opener *o, uint32_t id)
{
    slm_tokenizer *t = o->t;
    uint32_t n, merges = t->kinds[id] & TOKEN_MERGES;
    const uint8_t *text = token_text(t, id, &n);
    uint32_t slot = slm_token_hash(text, n, NULL, 0) & t->index_mask;
    for (uint32_t probe = 0; probe <= MAX_PROBE; probe++) {
        if (o->index[slot] == 0) {
            o->index[slot] = id + 1;
            t->longest_probe = probe > t->longest_probe ? probe : t->longest_probe;
            return SLM_OK;
        }
        uint32_t other = o->index[slot] - 1, n_other;
        const uint8_t *other_text = token_text(t, other, &n_other);
        if ((t->kinds[other] & TOKEN_MERGES) == merges && n == n_other &&
            memcmp(text, other_text, n) == 0) {
            return merges ? slm_fail(o->error, SLM_ERR_TOKENIZER, 0,
                                     "tokenizer: tokens %u and %u have the same bytes", other, id)
                          : SLM_OK;
        }
        slot = (slot + 1) & t->index_mask;
    }
    return refuse(o, 0, "too many tokens share a hash value");
}

static slm_status check_kind(const opener *o, uint32_t id, uint32_t n)
{
    const slm_tokenizer *t = o->t;
    uint32_t kind = t->kinds[id] & TOKEN_KIND_MASK;
    bool bad = t->kinds[id] > 31 || kind > TOKEN_CONTROL || (kind == TOKEN_UNUSED) != (n == 0) ||
               (kind == TOKEN_UNUSED && t->kinds[id] != 0) || (kind == TOKEN_BYTE && n != 1) ||
               ((kind == TOKEN_BYTE || kind == TOKEN_CONTROL) && t->kinds[id] & TOKEN_MERGES) ||
               (t->kinds[id] & TOKEN_DIRECT && !(t->kinds[id] & TOKEN_MERGES));
    return bad ? slm_fail(o->error, SLM_ERR_TOKENIZER, 0,
                          "tokenizer: token %u has an impossible kind or length", id)
               : SLM_OK;
}

static slm_status open_tokens(opener *o)
{
    slm_tokenizer *t = o->t;
    uint64_t used = 0;
    t->offsets = o->offsets;
    t->index = o->index;
    t->index_mask = slots_for(t->n_tokens) - 1;
    memset(o->index, 0, ((size_t)t->index_mask + 1) * sizeof *o->index);
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        uint32_t n = load_u16(o->lengths + 2 * (size_t)id);
        o->offsets[id] = (uint32_t)used;
        used += n;
        t->longest = n > t->longest ? n : t->longest;
        slm_status status = check_kind(o, id, n);
        if (status != SLM_OK) {
            return status;
        }
        if (used > o->n_blob) {
            break;
        }
    }
    if (used != o->n_blob) {
        return refuse(o, 52, "the token lengths do not add up to the bytes of all tokens");
    }
    o->offsets[t->n_tokens] = (uint32_t)used;
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        slm_status status = o->offsets[id] != o->offsets[id + 1] ? index_token(o, id) : SLM_OK;
        if (status != SLM_OK) {
            return status;
        }
    }
    return SLM_OK;
}

/* Which tokens stand for single bytes: normal ones of a byte-level vocabulary, else BYTE tokens. */
static slm_status open_bytes(opener *o)
{
    slm_tokenizer *t = o->t;
    for (uint32_t i = 0; i < 256; i++) {
        t->byte_ids[i] = BPE1_NO_ID;
    }
    for (uint32_t id = t->n_tokens; id-- > 0;) { /* the lowest id wins */
        bool stands = t->flags & TOK_BYTE_LEVEL
                          ? t->kinds[id] & TOKEN_MERGES && t->offsets[id + 1] - t->offsets[id] == 1
                          : (t->kinds[id] & TOKEN_KIND_MASK) == TOKEN_BYTE;
        if (stands) {
            t->byte_ids[t->blob[t->offsets[id]]] = id;
        }
    }
    for (uint32_t i = 0; i < 128; i++) {
        uint8_t byte = (uint8_t)i;
        t->ascii_ids[i] = slm_token_lookup(t, &byte, 1, NULL, 0, TOKEN_MERGES);
    }
    for (uint32_t i = 0; i < 256 && t->flags & TOK_BYTE_FALLBACK; i++) {
        if (t->byte_ids[i] == BPE1_NO_ID) {
            return slm_fail(o->error, SLM_ERR_TOKENIZER, 0,
                            "tokenizer: byte fallback without a token for byte %u", i);
        }
    }
    static const uint8_t mark[3] = {0xe2, 0x96, 0x81};
    if (t->flags & TOK_MARK_SPACES && t->prefix != PREFIX_NONE &&
        slm_token_lookup(t, mark, 3, NULL, 0, TOKEN_MERGES) == BPE1_NO_ID) {
        return refuse(o, 0, "spaces are marked, but there is no token for U+2581");
    }
    return SLM_OK;
}

/* ---- BPE1: merges and added tokens ----------------------------------------------------------- */

static slm_status refuse_merge(const opener *o, uint32_t rank, const char *why)
{
    return slm_fail(o->error, SLM_ERR_TOKENIZER, 0, "tokenizer: merge %u %s", rank, why);
}

/* Equal ranks get the number of the first of them. */
static slm_status add_merge(opener *o, uint32_t rank)
{
    bool tied = o->t->flags & TOK_TIES && o->ties[rank / 8] >> rank % 8 & 1;
    o->rank = tied ? o->rank : rank;
    slm_tokenizer *t = o->t;
    uint32_t left, right, n_left, n_right;
    merge_ids(t, rank, &left, &right);
    if (left >= t->n_tokens || right >= t->n_tokens || !(t->kinds[left] & TOKEN_MERGES) ||
        !(t->kinds[right] & TOKEN_MERGES)) {
        return refuse_merge(o, rank, "names an id that does not take part in merging");
    }
    const uint8_t *a = token_text(t, left, &n_left), *b = token_text(t, right, &n_right);
    uint32_t result = slm_token_lookup(t, a, n_left, b, n_right, TOKEN_MERGES);
    if (result == BPE1_NO_ID) {
        return refuse_merge(o, rank, "gives bytes that are no token");
    }
    merge_slot entry = {pair_key(left, right), o->rank, result};
    uint64_t h = pair_hash(entry.pair);
    uint32_t bit = (uint32_t)(h >> 32) & t->filter_mask, slot = (uint32_t)h & t->table_mask;
    o->filter[bit >> 6] |= (uint64_t)1 << (bit & 63);
    for (uint32_t probe = 0; probe <= MAX_PROBE; probe++) {
        if (o->table[slot].pair == UINT64_MAX) {
            o->table[slot] = entry;
            t->longest_probe = probe > t->longest_probe ? probe : t->longest_probe;
            return SLM_OK;
        }
        if (o->table[slot].pair == entry.pair) {
            return refuse_merge(o, rank, "repeats an earlier one");
        }
        slot = (slot + 1) & t->table_mask;
    }
    return refuse(o, 0, "too many merges share a hash value");
}

static slm_status open_merges(opener *o)
{
    slm_tokenizer *t = o->t;
    t->table = o->table;
    t->table_mask = slots_for(t->n_merges) - 1;
    t->filter = o->filter;
    t->filter_mask = slots_for(t->n_merges) * 8 - 1; /* n of 11 bits or more */
    memset(o->table, 0xff, ((size_t)t->table_mask + 1) * sizeof *o->table);
    memset(o->filter, 0, ((size_t)t->filter_mask + 1) / 8);
    for (uint32_t rank = 0; rank < t->n_merges; rank++) {
        slm_status status = add_merge(o, rank);
        if (status != SLM_OK) {
            return status;
        }
    }
    return SLM_OK;
}

/* Is pattern i of the table above pattern i - 1? */
static bool ascends(const added_table *a, uint32_t i)
{
    uint32_t n_before = a->offsets[i] - a->offsets[i - 1], n = a->offsets[i + 1] - a->offsets[i];
    int order = memcmp(a->patterns + a->offsets[i - 1], a->patterns + a->offsets[i],
                       n_before < n ? n_before : n);
    return order < 0 || (order == 0 && n_before < n);
}

static slm_status open_added_table(opener *o, added_table *a, uint32_t *used)
{
    for (uint32_t i = 0; i < a->n; i++) {
        const uint8_t *entry = a->entries + 8 * (size_t)i;
        uint32_t id = load_u32(entry), n = load_u16(entry + 4), flags = load_u16(entry + 6);
        uint32_t kind = id < o->t->n_tokens ? o->t->kinds[id] & TOKEN_KIND_MASK : 0;
        uint32_t *offset = o->pattern_offsets + (a->offsets - o->pattern_offsets) + i;
        if (flags > ADDED_FLAGS_ALL || (flags & ADDED_CONTROL) != (kind == TOKEN_CONTROL) ||
            kind == TOKEN_UNUSED || n == 0 || n > BPE1_MAX_PATTERN || n > o->n_patterns - *used) {
            return slm_fail(o->error, SLM_ERR_TOKENIZER, 0,
                            "tokenizer: added token %u has a wrong id, flags or length", i);
        }
        offset[0] = *used;
        *used += n;
        offset[1] = *used;
        uint8_t byte = a->patterns[offset[0]];
        a->first[byte >> 6] |= (uint64_t)1 << (byte & 63);
        if (i > 0 && !ascends(a, i)) {
            return slm_fail(o->error, SLM_ERR_TOKENIZER, 0,
                            "tokenizer: added token %u is not in ascending order", i);
        }
    }
    return SLM_OK;
}

static slm_status open_added(opener *o)
{
    uint32_t used = 0, before = 0;
    for (int stage = 0; stage < 2; stage++) {
        added_table *a = &o->t->added[stage];
        a->n = o->n_added[stage];
        a->entries = o->entries + 8 * (size_t)before;
        a->patterns = o->patterns;
        a->offsets = o->pattern_offsets + before + stage;
        slm_status status = open_added_table(o, a, &used);
        if (status != SLM_OK) {
            return status;
        }
        before += a->n;
    }
    return used == o->n_patterns ? SLM_OK
                                 : refuse(o, 56, "the patterns of added tokens do not add up");
}

static slm_status open_bpe1(opener *o)
{
    slm_status status = read_header(o);
    if (status == SLM_OK) {
        status = read_layout(o);
    }
    if (status != SLM_OK || !take_arena(o) || !o->arena->base) {
        return status;
    }
    status = open_tokens(o);
    if (status == SLM_OK) {
        status = open_bytes(o);
    }
    if (status == SLM_OK) {
        status = open_merges(o);
    }
    if (status == SLM_OK) {
        slm_adjacent_build(o->t, o->adjacent);
        slm_program_prepare(o->t);
        status = open_added(o);
    }
    return status;
}

slm_status slm_tokenizer_open(slm_tokenizer **tokenizer, slm_arena *arena, const void *payload,
                              uint64_t n_bytes, slm_error *error)
{
    slm_tokenizer t = {0};
    opener o = {.t = &t,
                .arena = arena,
                .r = byte_reader_view(payload, n_bytes),
                .n_bytes = n_bytes,
                .error = error};
    slm_tokenizer *made = (slm_tokenizer *)arena_take(arena, 1, sizeof *made);
    t.magic = read_u32(&o.r);
    uint32_t version = read_u32(&o.r);
    slm_status status;
    if (n_bytes < 8 || (t.magic != BTOK_MAGIC && t.magic != BPE1_MAGIC)) {
        return refuse(&o, 0, "neither BTOK nor BPE1");
    }
    if (version != (t.magic == BTOK_MAGIC ? BTOK_VERSION : BPE1_VERSION)) {
        return refuse(&o, 4, "of a version that this build does not read");
    }
    status = t.magic == BTOK_MAGIC ? open_btok(&o) : open_bpe1(&o);
    if (status == SLM_OK && arena->failed) {
        return slm_fail(error, SLM_ERR_MEMORY, 0, "no room for the tokenizer's tables");
    }
    if (status == SLM_OK && arena->base) {
        *made = t;
        *tokenizer = made;
    }
    return status;
}
