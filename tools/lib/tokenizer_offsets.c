/* tokenizer_offsets.c - see tokenizer_offsets.h. */
#include "lib/tokenizer_offsets.h"

#include <stdlib.h>
#include <string.h>

#include "lib/tokenizer_view.h"
#include "text/tokenizer_state.h" /* normalization must be encoding's own */

typedef struct aligner {
    const text_model *m;
    tokenizer_view v;
    const view_added **added; /* by id: its entry, or NULL */
    view_added *entries;
    const uint8_t *text; /* as it was merged; */
    size_t n, n_source;
    uint8_t *made;           /* owned: text, unless it is the source itself */
    uint32_t *begins, *ends; /* of each byte in the source, or NULL */
    size_t at;               /* in text */
    bool piece_begins;       /* no token yet since an added one */
    failure *f;
} aligner;

static const uint8_t MARK[3] = {0xe2, 0x96, 0x81};

static int no_memory(aligner *a)
{
    return fail(a->f, EXIT_RESOURCE, "%s: no memory for offsets", a->m->path);
}

/* ---- The text that was merged ---------------------------------------------------------------- */

/* Appends bytes that stand for the source's [begin, end). */
static void put(aligner *a, const uint8_t *bytes, size_t n, size_t begin, size_t end)
{
    for (size_t i = 0; i < n; i++) {
        a->made[a->n] = bytes[i];
        a->begins[a->n] = (uint32_t)begin;
        a->ends[a->n++] = (uint32_t)end;
    }
}

/* One by one, spaces as marks. */
static void put_each(aligner *a, const uint8_t *source, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        if (source[i] == ' ' && a->v.flags & TOK_MARK_SPACES) {
            put(a, MARK, 3, i, i + 1);
        } else {
            put(a, source + i, 1, i, i + 1);
        }
    }
}

/* The end of the sequence at pos that normalization looks at by itself. */
static size_t sequence_end(const slm_unicode *u, const uint8_t *source, size_t n, size_t pos)
{
    uint32_t length;
    slm_unicode_at(u, source + pos, n - pos, &length);
    for (pos += length; pos < n; pos += length) {
        if (!(slm_unicode_at(u, source + pos, n - pos, &length) & CLASS_RESTLESS)) {
            break;
        }
    }
    return pos;
}

static bool put_normalized(aligner *a, const uint8_t *source)
{
    const slm_unicode *u = &a->m->tokenizer->unicode;
    size_t longest = 0;
    for (size_t pos = 0, end; pos < a->n_source; pos = end) {
        end = sequence_end(u, source, a->n_source, pos);
        longest = end - pos > longest ? end - pos : longest;
    }
    uint8_t *normal = (uint8_t *)malloc(3 * longest + 4);
    for (size_t pos = 0, end; normal && pos < a->n_source; pos = end) {
        end = sequence_end(u, source, a->n_source, pos);
        size_t n = slm_nfc(u, source + pos, end - pos, normal);
        if (n == end - pos && memcmp(normal, source + pos, n) == 0) {
            put_each(a, source, pos, end);
            continue;
        }
        for (size_t i = 0; i < n; i++) { /* a space may begin a sequence */
            bool marks = normal[i] == ' ' && a->v.flags & TOK_MARK_SPACES;
            put(a, marks ? MARK : normal + i, marks ? 3 : 1, pos, end);
        }
    }
    free(normal);
    return normal != NULL;
}

static int make_text(aligner *a, const uint8_t *source)
{
    if (!(a->v.flags & (TOK_NFC | TOK_MARK_SPACES))) {
        a->text = source;
        a->n = a->n_source;
        return EXIT_OK;
    }
    size_t room = 3 * a->n_source + 4;
    a->made = (uint8_t *)malloc(room);
    a->begins = (uint32_t *)malloc(room * sizeof *a->begins);
    a->ends = (uint32_t *)malloc(room * sizeof *a->ends);
    if (!a->made || !a->begins || !a->ends) {
        return no_memory(a);
    }
    a->text = a->made;
    if (!(a->v.flags & TOK_NFC)) {
        put_each(a, source, 0, a->n_source);
        return EXIT_OK;
    }
    return put_normalized(a, source) ? EXIT_OK : no_memory(a);
}

static int index_added(aligner *a)
{
    uint32_t n = a->v.n_added[0] + a->v.n_added[1];
    uint64_t at = 0;
    a->entries = (view_added *)calloc((size_t)n + 1, sizeof *a->entries);
    a->added = (const view_added **)calloc(a->v.n_tokens, sizeof *a->added);
    if (!a->entries || !a->added) {
        return no_memory(a);
    }
    for (uint32_t i = 0; i < n; i++) {
        a->entries[i] = view_next_added(&a->v, i, &at);
        a->added[a->entries[i].id] = &a->entries[i];
    }
    return EXIT_OK;
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

static token_span span_of(const aligner *a, size_t begin, size_t end)
{
    if (!a->begins) {
        return (token_span){begin, end};
    }
    uint64_t first = begin < a->n ? a->begins[begin] : a->n_source;
    return (token_span){first, end > begin ? a->ends[end - 1] : first};
}

/* How many bytes of the text at pos are `bytes`, spaces among them marked: 0 if they are not. */
static size_t match(const aligner *a, size_t pos, const uint8_t *bytes, size_t n)
{
    bool marks = a->v.flags & TOK_MARK_SPACES;
    size_t begin = pos;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *want = marks && bytes[i] == ' ' ? MARK : bytes + i;
        size_t n_want = want == MARK ? 3 : 1;
        if (a->n - pos < n_want || memcmp(a->text + pos, want, n_want) != 0) {
            return 0;
        }
        pos += n_want;
    }
    return pos - begin;
}

/* The length of white space at pos, or 0. */
static size_t space_at(const aligner *a, size_t pos)
{
    uint32_t length;
    if (pos >= a->n) {
        return 0;
    }
    if (a->v.flags & TOK_MARK_SPACES && a->n - pos > 2 && memcmp(a->text + pos, MARK, 3) == 0) {
        return 3;
    }
    uint32_t bits = slm_unicode_at(&a->m->tokenizer->unicode, a->text + pos, a->n - pos, &length);
    return (bits & CLASS_MASK) == CLASS_SPACE ? length : 0;
}

/* Is something put before the piece that begins here? */
static bool has_prefix(const aligner *a)
{
    bool marks = a->v.flags & TOK_MARK_SPACES, is_there = false;
    if (a->at >= a->n || a->v.prefix == PREFIX_NONE ||
        (a->v.prefix == PREFIX_FIRST && a->at != 0)) {
        return false;
    }
    if (marks) {
        is_there = a->n - a->at > 2 && memcmp(a->text + a->at, MARK, 3) == 0;
    } else {
        is_there = a->text[a->at] == ' ';
    }
    return a->v.prefix == PREFIX_ALWAYS || !is_there;
}

/* The length of the character at pos if no token stands for it, else 0. */
static size_t tokenless(const aligner *a, size_t pos)
{
    uint32_t c, length = 1;
    if (pos >= a->n || a->v.flags & TOK_BYTE_FALLBACK) {
        return 0;
    }
    if (!(a->v.flags & TOK_BYTE_LEVEL)) {
        length = slm_utf8_decode(a->text + pos, a->n - pos, &c);
    }
    int32_t id = slm_token_find(a->m->tokenizer, (const char *)a->text + pos, length);
    return id >= 0 && a->v.kinds[id] & TOKEN_MERGES ? 0 : length;
}

/* The end of an added token at pos, after the white space that it takes before it; 0: not there. */
static size_t match_added(const aligner *a, const view_added *k, size_t pos)
{
    const uint8_t *pattern = k->pattern;
    size_t n = k->n_pattern, length, step;
    if (k->normalized && a->v.flags & TOK_MARK_SPACES && !(a->v.flags & TOK_SPACES_LATE) &&
        a->piece_begins && has_prefix(a) && n > 3 && memcmp(pattern, MARK, 3) == 0) {
        pattern += 3; /* matched what was put before the piece */
        n -= 3;
    }
    while ((length = match(a, pos, pattern, n)) == 0 && k->flags & ADDED_LSTRIP &&
           (step = space_at(a, pos)) != 0) {
        pos += step;
    }
    return length != 0 ? pos + length : 0;
}

/* A token that was found as an added one, with the white space that it takes. */
static bool align_added(aligner *a, uint32_t id, token_span *span)
{
    const view_added *k = a->added[id];
    size_t begin = a->at, end, step;
    if (!k) {
        return false;
    }
    while ((end = match_added(a, k, begin)) == 0 && a->v.unk_id < 0 &&
           (step = tokenless(a, begin)) != 0) { /* what encoding drops before it */
        begin += step;
    }
    if (end == 0) {
        return false;
    }
    while (k->flags & ADDED_RSTRIP && (step = space_at(a, end)) != 0) {
        end += step;
    }
    *span = span_of(a, begin, end);
    a->at = end;
    a->piece_begins = !k->normalized || a->v.flags & TOK_SPACES_LATE;
    return true;
}

static bool align_unknown(aligner *a, token_span *span)
{
    size_t pos = a->at, length = tokenless(a, pos);
    if (length == 0) {
        return false;
    }
    do {
        pos += length;
        length = a->v.flags & TOK_FUSE_UNK ? tokenless(a, pos) : 0;
    } while (length != 0);
    *span = span_of(a, a->at, pos);
    a->at = pos;
    return true;
}

/* A token whose characters have others between them that encoding drops. */
static bool align_apart(aligner *a, const uint8_t *bytes, uint32_t n, token_span *span)
{
    size_t pos = a->at, begin = a->at;
    for (uint32_t k = 0, length = 1, c; k < n; k += length, pos += length) {
        for (size_t step; (step = tokenless(a, pos)) != 0;) {
            pos += step;
            begin = k == 0 ? pos : begin;
        }
        if (!(a->v.flags & TOK_BYTE_LEVEL)) {
            length = slm_utf8_decode(bytes + k, n - k, &c);
        }
        if (a->n - pos < length || memcmp(a->text + pos, bytes + k, length) != 0) {
            return false;
        }
    }
    *span = span_of(a, begin, pos);
    a->at = pos;
    return true;
}

static bool align_text(aligner *a, uint32_t id, token_span *span)
{
    uint32_t n;
    const uint8_t *bytes = view_token(&a->v, id, &n);
    bool marks = a->v.flags & TOK_MARK_SPACES;
    uint32_t n_mark = marks ? 3 : 1;
    if (a->piece_begins && has_prefix(a) && n >= n_mark &&
        memcmp(bytes, marks ? MARK : (const uint8_t *)" ", n_mark) == 0) {
        bytes += n_mark;
        n -= n_mark;
    }
    a->piece_begins = false;
    while (a->v.unk_id < 0 && n != 0 && tokenless(a, a->at) != 0) { /* what encoding drops */
        a->at += tokenless(a, a->at);
    }
    if (a->n - a->at < n || memcmp(a->text + a->at, bytes, n) != 0) {
        return a->v.unk_id < 0 && align_apart(a, bytes, n, span);
    }
    *span = span_of(a, a->at, a->at + n);
    a->at += n;
    return true;
}

static int align(aligner *a, uint32_t flags, const int32_t *ids, size_t n_ids, token_span *spans)
{
    bool bos = flags & SLM_ENCODE_SPECIAL && a->v.flags & TOK_ADD_BOS;
    bool eos = flags & SLM_ENCODE_SPECIAL && a->v.flags & TOK_ADD_EOS;
    size_t i = 0, end = n_ids - eos;
    if (bos) {
        spans[i++] = (token_span){0, 0};
    }
    for (a->piece_begins = true; i < end; i++) {
        uint32_t id = (uint32_t)ids[i];
        bool done = align_added(a, id, &spans[i]) ||
                    (ids[i] == a->v.unk_id && align_unknown(a, &spans[i])) ||
                    align_text(a, id, &spans[i]);
        if (!done) {
            return fail(a->f, EXIT_INPUT,
                        "%s: offsets cannot be told: token %zu (id %u) does not stand at byte %zu "
                        "of the text",
                        a->m->path, i, id, (size_t)span_of(a, a->at, a->at).begin);
        }
    }
    if (eos) {
        spans[end] = (token_span){a->n_source, a->n_source};
    }
    return EXIT_OK;
}

int tokenizer_offsets(const text_model *m, const char *text, size_t n_bytes, uint32_t flags,
                      const int32_t *ids, size_t n_ids, token_span *spans, failure *f)
{
    aligner a = {.m = m, .n_source = n_bytes, .f = f};
    if (n_bytes > UINT32_MAX / 4) {
        return fail(f, EXIT_RESOURCE, "%zu bytes of text are too many for offsets", n_bytes);
    }
    int code = tokenizer_view_open(&a.v, m->payload, f);
    code = code ? code : index_added(&a);
    code = code ? code : make_text(&a, (const uint8_t *)text);
    code = code ? code : align(&a, flags, ids, n_ids, spans);
    tokenizer_view_close(&a.v);
    free(a.added);
    free(a.entries);
    free(a.made);
    free(a.begins);
    free(a.ends);
    return code;
}
