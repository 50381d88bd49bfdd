/* encode.c - text -> token ids, in the reference tokenizer's order of steps:
 *
 *     raw text -> added tokens taken out -> normalized -> normalized added tokens taken out
 *     -> words -> merges
 */
#include "base/status.h"
#include "text/tokenizer_state.h"

/* ---- Scratch --------------------------------------------------------------------------------- */

/* Normalization makes a byte of text into at most three. Otherwise only the prefix is added. */
static bool normalized_bytes(const slm_tokenizer *t, uint64_t n, uint64_t *out)
{
    uint64_t factor = t->flags & (TOK_NFC | TOK_MARK_SPACES) ? 3 : 1;
    return checked_mul_u64(n, factor, out) && checked_add_u64(*out, 16, out);
}

/* Text is mostly words that were there before; 160 KiB hold the most common. */
enum { MAX_CACHED = 4096 };

bool slm_scratch_carve(const slm_tokenizer *t, uint64_t n_bytes, void *memory,
                       encode_scratch *scratch)
{
    uint64_t n;
    if (n_bytes > UINT32_MAX / 8 || !normalized_bytes(t, n_bytes, &n)) {
        return false; /* positions in a text are 32-bit numbers */
    }
    slm_arena arena = arena_over(memory, UINT64_MAX);
    uint32_t n_words = 16;
    while (n_words < MAX_CACHED && (uint64_t)n_words * 16 < n_bytes) {
        n_words *= 2;
    }
    scratch->cache_mask = n_words - 1;
    scratch->words = (cached_word *)arena_take(&arena, n_words, sizeof(cached_word));
    scratch->ids = (uint32_t *)arena_take(&arena, n, sizeof(uint32_t));
    scratch->previous = (uint32_t *)arena_take(&arena, n, sizeof(uint32_t));
    scratch->next = (uint32_t *)arena_take(&arena, n, sizeof(uint32_t));
    scratch->made = (uint32_t *)arena_take(&arena, n, sizeof(uint32_t));
    scratch->ranks = (int32_t *)arena_take(&arena, n + 16, sizeof(uint32_t));
    scratch->least = (int32_t *)arena_take(&arena, n / 8 + 160, sizeof(uint32_t));
    scratch->normal = (uint8_t *)arena_take(&arena, n, 1);
    scratch->spaced = (uint8_t *)arena_take(&arena, n, 1);
    scratch->notes = (uint8_t *)arena_take(&arena, slm_program_memo_bytes(&t->program, n), 1);
    scratch->spare = (uint8_t *)arena_take(&arena, n_bytes, 1);
    scratch->n_bytes = arena.used;
    return !arena.failed && arena.used <= SIZE_MAX;
}

void slm_scratch_clear(const encode_scratch *scratch)
{
    memset(scratch->words, 0, ((size_t)scratch->cache_mask + 1) * sizeof *scratch->words);
}

size_t slm_encode_scratch_bytes(const slm_tokenizer *t, size_t n_bytes)
{
    encode_scratch scratch;
    return slm_scratch_carve(t, n_bytes, NULL, &scratch) ? (size_t)scratch.n_bytes : SIZE_MAX;
}

/* ---- Added tokens ---------------------------------------------------------------------------- */

typedef struct added_match {
    uint32_t id;
    size_t begin, end; /* with the white space that it takes */
    size_t next;       /* where the pattern ended: white space may hold another match */
    size_t spaces;     /* the end of white space that was looked at, so that it is once */
} added_match;

/* One stage of encoding, for the pieces that a table of added tokens leaves. */
typedef struct encoder {
    const slm_tokenizer *t;
    const encode_scratch *scratch;
    id_sink *sink;
    uint32_t flags;
} encoder;

static uint8_t pattern_byte(const added_table *a, uint32_t i, uint32_t depth)
{
    return a->patterns[a->offsets[i] + depth];
}

static uint32_t pattern_bytes(const added_table *a, uint32_t i)
{
    return a->offsets[i + 1] - a->offsets[i];
}

/* The first pattern in [low, high), which agree in `depth` bytes and are longer, whose next byte is
 * at least `byte`. */
static uint32_t first_not_below(const added_table *a, uint32_t low, uint32_t high, uint32_t depth,
                                uint32_t byte)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (pattern_byte(a, middle, depth) < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest pattern that text begins with and that the flags allow; a->n if there is none. */
static uint32_t longest_pattern(const added_table *a, const uint8_t *text, size_t n, uint32_t flags)
{
    uint32_t low = 0, high = a->n, best = a->n;
    for (uint32_t depth = 0; depth < n; depth++) {
        low = first_not_below(a, low, high, depth, text[depth]);
        high = first_not_below(a, low, high, depth, text[depth] + 1u);
        if (low == high) {
            break;
        }
        if (pattern_bytes(a, low) == depth + 1) { /* the shortest sorts first */
            uint32_t its_flags = load_u16(a->entries + (size_t)low * 8 + 6);
            if (!(its_flags & ADDED_CONTROL) || flags & SLM_ENCODE_CONTROL) {
                best = low;
            }
            low++;
        }
    }
    return best;
}

uint32_t slm_bits_before(const slm_tokenizer *t, const uint8_t *text, size_t end, size_t *begin)
{
    uint32_t length;
    for (size_t back = end < 4 ? end : 4; back > 1; back--) {
        uint32_t bits = slm_unicode_at(&t->unicode, text + end - back, back, &length);
        if (length == back) {
            *begin = end - back;
            return bits;
        }
    }
    *begin = end - 1;
    return slm_unicode_at(&t->unicode, text + end - 1, 1, &length);
}

/* Applies an added token's flags to a match; false if it does not count. */
static bool adjust_match(const slm_tokenizer *t, uint32_t flags, const uint8_t *text, size_t n,
                         size_t taken, added_match *m)
{
    uint32_t length;
    size_t before;
    if (flags & ADDED_SINGLE_WORD) {
        if ((m->begin > 0 && slm_bits_before(t, text, m->begin, &before) & CLASS_WORD) ||
            (m->end < n &&
             slm_unicode_at(&t->unicode, text + m->end, n - m->end, &length) & CLASS_WORD)) {
            return false;
        }
    }
    while (flags & ADDED_LSTRIP && m->begin > taken &&
           (slm_bits_before(t, text, m->begin, &before) & CLASS_MASK) == CLASS_SPACE &&
           before >= taken) {
        m->begin = before;
    }
    m->begin = flags & ADDED_LSTRIP && m->begin < taken ? taken : m->begin;
    m->end = flags & ADDED_RSTRIP && m->end < m->spaces ? m->spaces : m->end;
    while (flags & ADDED_RSTRIP && m->end < n &&
           (slm_unicode_at(&t->unicode, text + m->end, n - m->end, &length) & CLASS_MASK) ==
               CLASS_SPACE) {
        m->end += length;
    }
    m->spaces = flags & ADDED_RSTRIP ? m->end : m->spaces;
    return m->begin < m->end; /* else what was to be taken is taken already */
}

/* The next added token at or after m->next, leftmost, of those the longest; false if there is
 * none. */
static bool next_match(const encoder *e, const added_table *a, const uint8_t *text, size_t n,
                       size_t taken, added_match *m)
{
    for (size_t pos = m->next; a->n != 0 && pos < n; pos++) {
        if (!(a->first[text[pos] >> 6] >> (text[pos] & 63) & 1)) {
            continue;
        }
        uint32_t i = longest_pattern(a, text + pos, n - pos, e->flags);
        if (i == a->n) {
            continue;
        }
        const uint8_t *entry = a->entries + (size_t)i * 8;
        m->id = load_u32(entry);
        m->begin = pos;
        m->end = m->next = pos + pattern_bytes(a, i);
        if (adjust_match(e->t, load_u16(entry + 6), text, n, taken, m)) {
            return true;
        }
        pos = m->next - 1;
    }
    return false;
}

/* ---- Normalization --------------------------------------------------------------------------- */

static bool begins_with(const uint8_t *text, size_t n, const uint8_t *prefix, size_t n_prefix)
{
    return n >= n_prefix && memcmp(text, prefix, n_prefix) == 0;
}

static bool wants_prefix(const slm_tokenizer *t, const uint8_t *text, size_t n, bool is_first,
                         const uint8_t *prefix, size_t n_prefix)
{
    bool has_one = begins_with(text, n, prefix, n_prefix) ||
                   (t->flags & TOK_MARK_SPACES && n != 0 && text[0] == ' ');
    switch (t->prefix) {
    case PREFIX_ALWAYS: return n != 0;
    case PREFIX_UNLESS: return n != 0 && !has_one;
    case PREFIX_FIRST: return n != 0 && !has_one && is_first;
    default: return false;
    }
}

/* Marks spaces and puts the prefix before a piece. *text and *n are replaced if that changes
 * anything. */
static void mark_spaces(const encoder *e, bool is_first, const uint8_t **text, size_t *n)
{
    const slm_tokenizer *t = e->t;
    uint8_t mark[4] = " ", *out = e->scratch->spaced;
    size_t n_mark = 1, n_out = 0;
    if (t->flags & TOK_MARK_SPACES) {
        n_mark = slm_utf8_encode(mark, SPACE_MARK);
    } else if (t->prefix == PREFIX_NONE) {
        return;
    }
    if (wants_prefix(t, *text, *n, is_first, mark, n_mark)) {
        memcpy(out, mark, n_mark);
        n_out = n_mark;
    }
    for (size_t i = 0; i < *n; i++) {
        if ((*text)[i] == ' ' && t->flags & TOK_MARK_SPACES) {
            memcpy(out + n_out, mark, n_mark);
            n_out += n_mark;
        } else {
            out[n_out++] = (*text)[i];
        }
    }
    *text = out;
    *n = n_out;
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* What stands before a match and behind the one before it; that may have taken white space which is
 * itself a match. */
static size_t text_before(const added_match *m, size_t taken)
{
    return m->begin > taken ? m->begin - taken : 0;
}

static void encode_words(const encoder *e, const uint8_t *text, size_t n, bool is_first)
{
    if (e->t->flags & TOK_SPACES_LATE) {
        mark_spaces(e, is_first, &text, &n);
    }
    size_t begin, end;
    word_cursor words = slm_words_begin(e->t, text, n, e->scratch);
    while (slm_words_next(&words, &begin, &end)) {
        slm_encode_word(e->t, text + begin, end - begin, e->scratch, e->sink);
    }
}

static void encode_normalized(const encoder *e, const uint8_t *text, size_t n, bool is_first)
{
    added_match m = {0};
    size_t taken = 0;
    if (e->t->flags & TOK_NFC) {
        n = slm_nfc(&e->t->unicode, text, n, e->scratch->normal);
        text = e->scratch->normal;
    }
    if (!(e->t->flags & TOK_SPACES_LATE)) {
        mark_spaces(e, is_first, &text, &n);
    }
    while (next_match(e, &e->t->added[1], text, n, taken, &m)) {
        encode_words(e, text + taken, text_before(&m, taken), is_first && taken == 0);
        sink_put(e->sink, m.id);
        taken = m.end;
    }
    encode_words(e, text + taken, n - taken, is_first && taken == 0);
}

/* BTOK: every byte is its own id, but for control tokens if they are asked for. */
static void encode_bytes(const encoder *e, const uint8_t *text, size_t n)
{
    added_match m = {0};
    size_t taken = 0;
    bool found = true;
    while (found) {
        found = e->flags & SLM_ENCODE_CONTROL && next_match(e, &e->t->added[0], text, n, taken, &m);
        for (size_t end = found ? m.begin : n; taken < end; taken++) {
            sink_put(e->sink, text[taken]);
        }
        if (found) {
            sink_put(e->sink, m.id);
            taken = m.end;
        }
    }
}

void slm_encode_text(const slm_tokenizer *t, const uint8_t *text, size_t n, uint32_t flags,
                     bool is_first, const encode_scratch *scratch, id_sink *sink)
{
    encoder e = {t, scratch, sink, flags};
    added_match m = {0};
    size_t taken = 0;
    if (t->magic == BTOK_MAGIC) {
        encode_bytes(&e, text, n);
        return;
    }
    slm_scratch_clear(scratch);
    while (next_match(&e, &t->added[0], text, n, taken, &m)) {
        encode_normalized(&e, text + taken, text_before(&m, taken), is_first && taken == 0);
        sink_put(sink, m.id);
        taken = m.end;
    }
    encode_normalized(&e, text + taken, n - taken, is_first && taken == 0);
}

slm_status slm_encode(const slm_tokenizer *t, const char *text, size_t n_bytes, uint32_t flags,
                      int32_t *ids, size_t capacity, size_t *n_ids, void *scratch,
                      size_t scratch_bytes, slm_error *error)
{
    encode_scratch s = {0};
    id_sink sink = {ids, capacity, 0};
    if (flags & ~(uint32_t)(SLM_ENCODE_SPECIAL | SLM_ENCODE_CONTROL)) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 0, "unknown flags for encoding");
    }
    if (!slm_scratch_carve(t, n_bytes, scratch, &s)) {
        return slm_fail(error, SLM_ERR_TOO_LARGE, 0, "%l bytes of text are too many to encode",
                        (uint64_t)n_bytes);
    }
    if (s.n_bytes > scratch_bytes) {
        return slm_fail(error, SLM_ERR_MEMORY, 0, "encoding %l bytes takes %l of scratch, not %l",
                        (uint64_t)n_bytes, s.n_bytes, (uint64_t)scratch_bytes);
    }
    if (flags & SLM_ENCODE_SPECIAL && t->flags & TOK_ADD_BOS) {
        sink_put(&sink, (uint32_t)t->bos_id);
    }
    slm_encode_text(t, (const uint8_t *)text, n_bytes, flags, true, &s, &sink);
    if (flags & SLM_ENCODE_SPECIAL && t->flags & TOK_ADD_EOS) {
        sink_put(&sink, (uint32_t)t->eos_id);
    }
    *n_ids = sink.n;
    if (sink.n > capacity) {
        return slm_fail(error, SLM_ERR_BUFFER, 0, "the text has %l tokens, room is for %l",
                        (uint64_t)sink.n, (uint64_t)capacity);
    }
    return SLM_OK;
}
