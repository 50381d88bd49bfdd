/* unicode.c - unpacks the generated tables; UTF-8; classes by binary search. */
#include "text/unicode.h"

#include <string.h>

#include "base/hash.h"
#include "text/unicode_tables.h"

static uint32_t varint(const uint8_t **p)
{
    uint32_t value = 0;
    for (int shift = 0;; shift += 7) {
        uint8_t byte = *(*p)++;
        value |= (uint32_t)(byte & 127) << shift;
        if (byte < 128) {
            return value;
        }
    }
}

static uint32_t zigzag(const uint8_t **p)
{
    uint32_t v = varint(p);
    return v & 1 ? 0 - (v >> 1) - 1 : v >> 1;
}

static void unpack_runs(const uint8_t *starts, const uint8_t *values, uint32_t n, uint32_t shift,
                        uint32_t *runs)
{
    uint32_t start = 0;
    for (uint32_t i = 0; i < n; i++) {
        start += varint(&starts);
        runs[i] = start << shift | values[i];
    }
}

enum { COMPOSED_SLOTS = 2048 }; /* twice the number of pairs */

static uint32_t pair_slot(uint32_t first, uint32_t second)
{
    return (uint32_t)mix64((uint64_t)first << 32 | second) & (COMPOSED_SLOTS - 1);
}

static void unpack_pairs(unicode_pair *pairs, uint32_t n, uint16_t *composed)
{
    const uint8_t *wholes = slm_unicode_wholes, *firsts = slm_unicode_firsts;
    const uint8_t *seconds = slm_unicode_seconds;
    uint32_t whole = 0, first = 0, second = 0;
    for (uint32_t i = 0; i < COMPOSED_SLOTS; i++) {
        composed[i] = 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t v = varint(&wholes), kind = v % 3;
        whole += v / 3;
        first += zigzag(&firsts);
        if (kind != 0) {
            second += zigzag(&seconds);
        }
        unicode_pair pair = {kind == 2 ? whole | 1u << 31 : whole, first, kind ? second : 0};
        pairs[i] = pair;
        if (kind == 2) {
            uint32_t slot = pair_slot(first, second);
            while (composed[slot] != 0) {
                slot = (slot + 1) & (COMPOSED_SLOTS - 1);
            }
            composed[slot] = (uint16_t)(i + 1);
        }
    }
}

void slm_unicode_init(slm_unicode *u, slm_arena *arena, bool with_nfc)
{
    uint32_t n_classes = slm_unicode_counts[0], n_ccc = slm_unicode_counts[1];
    uint32_t n_pairs = slm_unicode_counts[2];
    uint32_t *classes = (uint32_t *)arena_take(arena, n_classes, sizeof *classes);
    uint32_t *ccc = NULL;
    unicode_pair *pairs = NULL;
    uint16_t *composed = NULL;
    if (with_nfc) {
        ccc = (uint32_t *)arena_take(arena, n_ccc, sizeof *ccc);
        pairs = (unicode_pair *)arena_take(arena, n_pairs, sizeof *pairs);
        composed = (uint16_t *)arena_take(arena, COMPOSED_SLOTS, sizeof *composed);
    }
    if (!arena->base || arena->failed) {
        return;
    }
    unpack_runs(slm_unicode_class_starts, slm_unicode_class_bits, n_classes, 4, classes);
    if (with_nfc) {
        unpack_runs(slm_unicode_ccc_starts, slm_unicode_ccc_values, n_ccc, 8, ccc);
        unpack_pairs(pairs, n_pairs, composed);
    }
    u->classes = classes;
    u->n_classes = n_classes;
    u->ccc = ccc;
    u->n_ccc = n_ccc;
    u->pairs = pairs;
    u->n_pairs = n_pairs;
    u->composed = composed;
    for (uint32_t c = 0; c < 128; c++) {
        u->ascii[c] = (uint8_t)slm_unicode_bits(u, c);
    }
}

uint32_t slm_utf8_decode(const uint8_t *p, size_t n, uint32_t *c)
{
    uint32_t b = p[0], length = b < 0x80 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
    if (length == 1) {
        *c = b;
        return 1;
    }
    *c = CODEPOINT_BAD;
    if (b < 0xc2 || b > 0xf4 || length > n) {
        return 1;
    }
    uint32_t v = b & (0x7fu >> length);
    for (uint32_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 1;
        }
        v = v << 6 | (p[i] & 0x3fu);
    }
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (v < least[length] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000)) {
        return 1;
    }
    *c = v;
    return length;
}

uint32_t slm_utf8_encode(uint8_t *p, uint32_t c)
{
    if (c < 0x80) {
        p[0] = (uint8_t)c;
        return 1;
    }
    uint32_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (uint32_t i = length - 1; i > 0; i--) {
        p[i] = (uint8_t)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    p[0] = (uint8_t)((0xf00u >> length) | c);
    return length;
}

/* The last run that starts at or before key, given runs of which the first starts at 0. */
static uint32_t run_at(const uint32_t *runs, uint32_t n, uint32_t key)
{
    uint32_t low = 0;
    while (n > 1) { /* the answer is in runs[low .. low + n) */
        uint32_t half = n / 2;
        if (runs[low + half] <= key) {
            low += half;
            n -= half;
        } else {
            n = half;
        }
    }
    return runs[low];
}

uint32_t slm_unicode_bits(const slm_unicode *u, uint32_t c)
{
    return c == CODEPOINT_BAD ? CLASS_OTHER : run_at(u->classes, u->n_classes, c << 4 | 15) & 15;
}

/* ---- Normalization form C -------------------------------------------------------------------- */

enum {
    HANGUL_S = 0xac00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11a7,
    N_HANGUL_S = 11172,
    N_HANGUL_L = 19,
    N_HANGUL_V = 21,
    N_HANGUL_T = 28
};

static uint32_t combining_class(const slm_unicode *u, uint32_t c)
{
    if (c < 0x300 || c == CODEPOINT_BAD || c < u->ccc[0] >> 8) {
        return 0;
    }
    return run_at(u->ccc, u->n_ccc, c << 8 | 255) & 255;
}

static const unicode_pair *decomposition(const slm_unicode *u, uint32_t c)
{
    uint32_t low = 0, n = u->n_pairs;
    while (n > 0) {
        uint32_t half = n / 2, whole = u->pairs[low + half].whole & 0x7fffffffu;
        if (whole == c) {
            return &u->pairs[low + half];
        }
        if (whole < c) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return NULL;
}

/* The whole that two characters make, or 0. */
static uint32_t compose(const slm_unicode *u, uint32_t first, uint32_t second)
{
    if (first - HANGUL_L < N_HANGUL_L && second - HANGUL_V < N_HANGUL_V) {
        return HANGUL_S + ((first - HANGUL_L) * N_HANGUL_V + second - HANGUL_V) * N_HANGUL_T;
    }
    if (first - HANGUL_S < N_HANGUL_S && (first - HANGUL_S) % N_HANGUL_T == 0 &&
        second - HANGUL_T - 1 < N_HANGUL_T - 1) {
        return first + second - HANGUL_T;
    }
    for (uint32_t slot = pair_slot(first, second); u->composed[slot] != 0;
         slot = (slot + 1) & (COMPOSED_SLOTS - 1)) {
        const unicode_pair *pair = &u->pairs[u->composed[slot] - 1];
        if (pair->first == first && pair->second == second) {
            return pair->whole & 0x7fffffffu;
        }
    }
    return 0;
}

/* Walks a text as if every character were fully decomposed. Copied to look ahead or to go back. */
typedef struct walk {
    const uint8_t *text;
    size_t n_bytes, pos;
    uint32_t parts[8]; /* of the character before pos; those that are still to come, last first */
    uint32_t n_parts;
} walk;

static void decompose(const slm_unicode *u, uint32_t c, walk *w)
{
    if (c - HANGUL_S < N_HANGUL_S) {
        uint32_t s = c - HANGUL_S;
        if (s % N_HANGUL_T != 0) {
            w->parts[w->n_parts++] = HANGUL_T + s % N_HANGUL_T;
        }
        w->parts[w->n_parts++] = HANGUL_V + s / N_HANGUL_T % N_HANGUL_V;
        w->parts[w->n_parts++] = HANGUL_L + s / (N_HANGUL_T * N_HANGUL_V);
        return;
    }
    /* Only first parts decompose further (the generator checks that), at most four deep. */
    for (const unicode_pair *pair; w->n_parts < 7 && (pair = decomposition(u, c)) != NULL;) {
        if (pair->second != 0) {
            w->parts[w->n_parts++] = pair->second;
        }
        c = pair->first;
    }
    w->parts[w->n_parts++] = c;
}

/* The next character; false at the end. The text is well formed. */
static bool walk_next(const slm_unicode *u, walk *w, uint32_t *c)
{
    if (w->n_parts == 0) {
        if (w->pos == w->n_bytes) {
            return false;
        }
        uint32_t whole;
        w->pos += slm_utf8_decode(w->text + w->pos, w->n_bytes - w->pos, &whole);
        decompose(u, whole, w);
    }
    *c = w->parts[--w->n_parts];
    return true;
}

/* Puts n_marks combining marks after a starter (CODEPOINT_BAD: there is none) in canonical order
 * and joins to the starter what it takes. Sorts without memory, by going over the marks once per
 * combining class that occurs. Writes the marks left over to out; returns their bytes. */
static size_t place_marks(const slm_unicode *u, walk marks, size_t n_marks, uint32_t *starter,
                          uint8_t *out)
{
    size_t n_out = 0;
    for (uint32_t wanted = 0, following = 256; n_marks != 0; wanted = following, following = 256) {
        bool blocked = *starter == CODEPOINT_BAD;
        walk w = marks;
        uint32_t c;
        for (size_t i = 0; i < n_marks && walk_next(u, &w, &c); i++) {
            uint32_t ccc = combining_class(u, c), whole = 0;
            if (ccc > wanted && ccc < following) {
                following = ccc;
            }
            if (ccc != wanted) {
                continue;
            }
            if (!blocked && (whole = compose(u, *starter, c)) != 0) {
                *starter = whole;
            } else {
                n_out += slm_utf8_encode(out + n_out, c);
                blocked = true;
            }
        }
        if (following == 256) {
            break;
        }
    }
    return n_out;
}

/* Writes starter and marks; they were left 4 bytes apart, since the starter's length was open. */
static size_t close_group(uint32_t starter, size_t n_marks, uint8_t *out)
{
    uint32_t n = starter == CODEPOINT_BAD ? 0 : slm_utf8_encode(out, starter);
    for (size_t i = 0; i < n_marks; i++) {
        out[n + i] = out[4 + i];
    }
    return n + n_marks;
}

/* A stretch of well-formed text whose ends NFC does not reach across. */
static size_t compose_stretch(const slm_unicode *u, const uint8_t *text, size_t n, uint8_t *out)
{
    walk w = {.text = text, .n_bytes = n};
    uint32_t starter = CODEPOINT_BAD, c;
    size_t n_out = 0, left = 0; /* left: bytes of marks behind the starter */
    for (;;) {
        walk marks = w, ahead = w;
        size_t n_marks = 0;
        while (walk_next(u, &ahead, &c) && combining_class(u, c) != 0) {
            w = ahead;
            n_marks++;
        }
        left = place_marks(u, marks, n_marks, &starter, out + n_out + 4);
        if (!walk_next(u, &w, &c)) {
            break;
        }
        uint32_t whole = left == 0 && starter != CODEPOINT_BAD ? compose(u, starter, c) : 0;
        if (whole == 0) {
            n_out += close_group(starter, left, out + n_out);
        }
        starter = whole ? whole : c;
    }
    return n_out + close_group(starter, left, out + n_out);
}

/* The end of the restless characters that begin at pos. */
static size_t restless_end(const slm_unicode *u, const uint8_t *text, size_t n, size_t pos)
{
    uint32_t length;
    while (pos < n && slm_unicode_at(u, text + pos, n - pos, &length) & CLASS_RESTLESS) {
        pos += length;
    }
    return pos;
}

size_t slm_nfc(const slm_unicode *u, const uint8_t *text, size_t n, uint8_t *out)
{
    size_t n_out = 0;
    for (size_t pos = 0; pos < n;) {
        uint32_t length, bits = slm_unicode_at(u, text + pos, n - pos, &length), c;
        size_t next = bits & CLASS_RESTLESS ? pos : pos + length;
        /* what precedes 0xcc (U+0300) in the order of bytes is never restless */
        size_t end = next < n && text[next] >= 0xcc ? restless_end(u, text, n, next) : next;
        (void)slm_utf8_decode(text + pos, n - pos, &c);
        if (end == next) {
            memcpy(out + n_out, text + pos, length);
            n_out += length;
        } else if (c == CODEPOINT_BAD) { /* the marks behind a bad byte have nothing to join */
            out[n_out++] = text[pos];
            n_out += compose_stretch(u, text + next, end - next, out + n_out);
        } else {
            n_out += compose_stretch(u, text + pos, end - pos, out + n_out);
        }
        pos = end;
    }
    return n_out;
}
