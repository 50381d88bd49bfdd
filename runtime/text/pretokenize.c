/* pretokenize.c - where words end: hand-written matchers with the semantics of the regular
 * expressions in tokenizer.json files. Each alternative below cites its part of the expression.
 *
 * GPT-2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 * Llama 3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
 *          ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 * Qwen 2   as Llama 3, but \p{N} for \p{N}{1,3}
 * digits   GPT-2 on what remains when every \p{N} has become a word of its own
 *
 * Every character is matched by one of them, so that a text is its words and nothing else. A byte
 * that is not UTF-8 counts as a character that is neither letter, number nor white space.
 */
#include "text/tokenizer_state.h"

typedef struct matcher {
    const slm_tokenizer *t;
    const uint8_t *text;
    size_t n;
} matcher;

static uint32_t class_at(const matcher *m, size_t pos, uint32_t *length)
{
    return slm_unicode_at(&m->t->unicode, m->text + pos, m->n - pos, length) & CLASS_MASK;
}

/* The end of the run of at most `limit` characters of one class from pos on. */
static size_t run_end(const matcher *m, size_t pos, uint32_t class, size_t limit)
{
    uint32_t length;
    while (pos < m->n && limit-- > 0 && class_at(m, pos, &length) == class) {
        pos += length;
    }
    return pos;
}

static bool is_break(uint8_t byte)
{
    return byte == '\r' || byte == '\n';
}

static uint8_t lower(uint8_t c, bool any_case)
{
    return any_case && c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* 's|'t|'re|'ve|'m|'ll|'d from pos on: its length, or 0. Any case includes U+017F, which folds to
 * s. */
static size_t contraction(const matcher *m, size_t pos, bool any_case)
{
    size_t left = m->n - pos;
    const uint8_t *p = m->text + pos;
    if (left < 2 || p[0] != '\'') {
        return 0;
    }
    uint8_t a = lower(p[1], any_case), b = left > 2 ? lower(p[2], any_case) : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') {
        return 2;
    }
    if (((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l')) {
        return 3;
    }
    return any_case && left > 2 && p[1] == 0xc5 && p[2] == 0xbf ? 3 : 0;
}

/* \s+(?!\S)|\s+ : white space up to its last character, if a word follows and more than one is
 * there. */
static size_t space_end(const matcher *m, size_t pos, bool digits)
{
    size_t last = pos, end = pos;
    uint32_t length, class = CLASS_SPACE;
    while (end < m->n && (class = class_at(m, end, &length)) == CLASS_SPACE) {
        last = end;
        end += length;
    }
    bool at_end = end == m->n || (digits && class == CLASS_NUMBER);
    return at_end || last == pos ? end : last;
}

static size_t gpt2_end(const matcher *m, size_t pos, bool digits)
{
    size_t n = contraction(m, pos, false);
    if (n != 0) {
        return pos + n;
    }
    size_t start = pos + (m->text[pos] == ' ' && pos + 1 < m->n ? 1 : 0);
    uint32_t length, class = class_at(m, start, &length);
    if (digits && class == CLASS_NUMBER) {
        return start == pos ? pos + length : start;
    }
    if (class != CLASS_SPACE) { /* " ?" and a run of one of the three other classes */
        return run_end(m, start + length, class, SIZE_MAX);
    }
    return space_end(m, pos, digits);
}

/* \s*[\r\n]+ : white space up to its last line break, or pos if there is none. */
static size_t break_end(const matcher *m, size_t pos)
{
    size_t end = pos;
    uint32_t length;
    for (; pos < m->n && class_at(m, pos, &length) == CLASS_SPACE; pos += length) {
        end = is_break(m->text[pos]) ? pos + 1 : end;
    }
    return end;
}

static size_t llama3_end(const matcher *m, size_t pos, size_t n_digits)
{
    size_t n = contraction(m, pos, true), end;
    if (n != 0) {
        return pos + n;
    }
    uint32_t length, length2, class = class_at(m, pos, &length);
    size_t after = pos + length;
    if (class == CLASS_LETTER) {
        return run_end(m, after, CLASS_LETTER, SIZE_MAX);
    }
    if (class == CLASS_NUMBER) {
        return run_end(m, after, CLASS_NUMBER, n_digits - 1);
    }
    uint32_t class2 = after < m->n ? class_at(m, after, &length2) : CLASS_SPACE;
    if (class2 == CLASS_LETTER && !is_break(m->text[pos])) { /* [^\r\n\p{L}\p{N}]?\p{L}+ */
        return run_end(m, after, CLASS_LETTER, SIZE_MAX);
    }
    if (class == CLASS_OTHER || (m->text[pos] == ' ' && class2 == CLASS_OTHER)) {
        end = run_end(m, after, CLASS_OTHER, SIZE_MAX);
        while (end < m->n && is_break(m->text[end])) {
            end++;
        }
        return end;
    }
    end = break_end(m, pos);
    return end > pos ? end : space_end(m, pos, false);
}

/* A word begins at each U+2581 (e2 96 81). */
static size_t marks_end(const matcher *m, size_t pos)
{
    for (pos++; pos < m->n; pos++) {
        if (m->text[pos] == 0xe2 && m->n - pos > 2 && m->text[pos + 1] == 0x96 &&
            m->text[pos + 2] == 0x81) {
            break;
        }
    }
    return pos;
}

size_t slm_word_end(const slm_tokenizer *t, const uint8_t *text, size_t n, size_t pos)
{
    matcher m = {t, text, n};
    switch (t->pre) {
    case PRE_GPT2: return gpt2_end(&m, pos, false);
    case PRE_DIGITS: return gpt2_end(&m, pos, true);
    case PRE_LLAMA3: return llama3_end(&m, pos, 3);
    case PRE_QWEN2: return llama3_end(&m, pos, 1);
    case PRE_MARKS: return marks_end(&m, pos);
    default: return n;
    }
}
