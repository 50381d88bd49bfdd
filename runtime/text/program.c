/* program.c - cuts text into words by a program of the payload: stages of automata, each cutting
 * the pieces that the stage before it left. schemas/slm-tokenizer.md describes the layout;
 * tools/lib/split_program.c makes it of regular expressions.
 *
 * An automaton runs from a piece's next character until it is dead and has then seen the match, if
 * there is one. What it read behind the match it reads again for the next one; so that this stays
 * linear, a run that goes far without a match notes, every 8 bytes, that its state there leads to
 * none, and another that comes by in the same state stops.
 */
#include "text/tokenizer_state.h"

enum { FAR = 16, BLOCK = 8, DEAD = 0, START = 1 };

#define NONE SIZE_MAX

/* ---- Reading the program --------------------------------------------------------------------- */

static bool read_starts(split_program *s, byte_reader *r)
{
    for (uint32_t i = 0; i < s->n_starts; i++) {
        uint32_t start = read_u32(r);
        if ((start & 255) >= s->n_columns || start >> 8 > PROGRAM_BAD_CHARACTER ||
            (i == 0 ? start >> 8 != 0
                    : start >> 8 <= load_u32(s->starts + 4 * (size_t)i - 4) >> 8)) {
            return false;
        }
    }
    return true;
}

static bool read_stage(const split_program *s, split_automaton *a, byte_reader *r)
{
    uint32_t row = s->n_columns + 1;
    a->flags = read_u32(r);
    a->n_states = read_u32(r);
    if (r->failed || a->flags > STAGE_FLAGS_ALL || a->n_states <= START ||
        a->n_states > PROGRAM_MAX_STATES) {
        return false;
    }
    a->table = read_bytes(r, (uint64_t)2 * row * a->n_states);
    while (!r->failed && r->pos % 4 != 0) {
        if (read_u8(r) != 0) {
            return false;
        }
    }
    for (uint32_t i = 0; !r->failed && i < row * a->n_states; i++) {
        uint32_t entry = load_u16(a->table + 2 * (size_t)i),
                 next = entry & ~(uint32_t)PROGRAM_MATCH;
        bool at_end = i % row == s->n_columns, dead = i / row == DEAD;
        if (next >= a->n_states || (at_end && next != DEAD) || (dead && entry != 0) ||
            (i / row == START && entry & PROGRAM_MATCH)) {
            return false;
        }
    }
    return !r->failed;
}

bool slm_program_open(split_program *s, const uint8_t *program, uint64_t n)
{
    byte_reader r = byte_reader_view(program, n);
    s->n_stages = read_u32(&r);
    s->n_starts = read_u32(&r);
    s->n_columns = read_u32(&r);
    uint32_t reserved = read_u32(&r);
    s->byte_columns = read_bytes(&r, 256);
    if (r.failed || s->n_stages == 0 || s->n_stages > PROGRAM_MAX_STAGES || s->n_columns == 0 ||
        s->n_columns > PROGRAM_MAX_COLUMNS || s->n_starts == 0 || reserved != 0) {
        return false;
    }
    for (uint32_t i = 0; i < 256; i++) {
        if (s->byte_columns[i] >= s->n_columns) {
            return false;
        }
    }
    s->starts = program + r.pos;
    if (!read_starts(s, &r) || r.failed) {
        return false;
    }
    for (uint32_t i = 0; i < s->n_stages; i++) {
        if (!read_stage(s, &s->stages[i], &r)) {
            return false;
        }
    }
    return r.pos == n;
}

uint64_t slm_program_memo_bytes(const split_program *s, uint64_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < s->n_stages; i++) {
        bytes += (n / BLOCK + 2) * ((s->stages[i].n_states + 7) / 8);
    }
    return bytes;
}

/* ---- Characters ------------------------------------------------------------------------------ */

/* The column of a code point; the run that it is in is remembered, for the next is often there. */
static uint32_t find_column(word_cursor *c, uint32_t character)
{
    const split_program *s = &c->t->program;
    if (character >= c->run_first && character < c->run_end) {
        return c->run_column;
    }
    uint32_t low = 0, n = s->n_starts;
    while (n > 1) {
        uint32_t half = n / 2;
        if (load_u32(s->starts + 4 * (size_t)(low + half)) >> 8 <= character) {
            low += half;
            n -= half;
        } else {
            n = half;
        }
    }
    c->run_first = load_u32(s->starts + 4 * (size_t)low) >> 8;
    c->run_end =
        low + 1 < s->n_starts ? load_u32(s->starts + 4 * (size_t)low + 4) >> 8 : UINT32_MAX;
    c->run_column = load_u32(s->starts + 4 * (size_t)low) & 255;
    return c->run_column;
}

static inline uint32_t column_at(word_cursor *c, const split_automaton *a, size_t pos, size_t limit,
                                 uint32_t *length)
{
    uint32_t character;
    *length = 1;
    if (a->flags & STAGE_BYTES) {
        return c->t->program.byte_columns[c->text[pos]];
    }
    if (c->text[pos] < 0x80) {
        return c->t->program.ascii[c->text[pos]];
    }
    *length = slm_utf8_decode(c->text + pos, limit - pos, &character);
    return find_column(c, character == CODEPOINT_BAD ? PROGRAM_BAD_CHARACTER : character);
}

void slm_program_prepare(slm_tokenizer *t)
{
    word_cursor c = {.t = t};
    for (uint32_t i = 0; i < 128 && t->pre == PRE_PROGRAM; i++) {
        t->program.ascii[i] = (uint8_t)find_column(&c, i);
    }
}

/* ---- Runs of an automaton -------------------------------------------------------------------- */

typedef struct run {
    size_t pos;
    uint32_t state;
} run;

/* The byte and bit of the note that a run makes when it enters a block; NULL elsewhere. */
static uint8_t *note_at(const word_cursor *c, uint32_t k, size_t before, run at, uint8_t *bit)
{
    const split_automaton *a = &c->t->program.stages[k];
    *bit = (uint8_t)(1 << at.state % 8);
    return before / BLOCK == at.pos / BLOCK
               ? NULL
               : c->notes[k] + at.pos / BLOCK * ((a->n_states + 7) / 8) + at.state / 8;
}

/* Notes of the way from one place to another that no match lies on it. */
static void note_way(word_cursor *c, uint32_t k, run from, size_t to, size_t begin, size_t limit)
{
    const split_automaton *a = &c->t->program.stages[k];
    size_t bytes = (a->n_states + 7) / 8, row = c->t->program.n_columns + 1;
    if (c->stages[k].noted != limit) { /* the first in this piece */
        memset(c->notes[k] + begin / BLOCK * bytes, 0, (limit / BLOCK - begin / BLOCK + 1) * bytes);
        c->stages[k].noted = limit;
    }
    while (from.pos < to) {
        uint32_t length, column = column_at(c, a, from.pos, limit, &length);
        size_t before = from.pos;
        uint8_t bit;
        from.state =
            load_u16(a->table + 2 * (from.state * row + column)) & ~(uint32_t)PROGRAM_MATCH;
        from.pos += length;
        uint8_t *note = note_at(c, k, before, from, &bit);
        if (note) {
            *note |= bit;
        }
    }
}

/* The end of the match that begins at pos, or pos if there is none. */
static size_t match_end(word_cursor *c, uint32_t k, size_t pos, size_t limit)
{
    const split_automaton *a = &c->t->program.stages[k];
    size_t row = c->t->program.n_columns + 1, end = pos;
    run at = {pos, START}, matched = at;
    while (at.state != DEAD) {
        uint32_t length = 0, column = c->t->program.n_columns;
        if (at.pos < limit) {
            column = column_at(c, a, at.pos, limit, &length);
        }
        uint32_t entry = load_u16(a->table + 2 * (at.state * row + column));
        size_t before = at.pos;
        at = (run){at.pos + length, entry & ~(uint32_t)PROGRAM_MATCH};
        if (entry & PROGRAM_MATCH) {
            end = before;
            matched = at;
        }
        if (at.pos - matched.pos > FAR && c->stages[k].noted == limit && at.state != DEAD) {
            uint8_t bit, *note = note_at(c, k, before, at, &bit);
            if (note && *note & bit) {
                break;
            }
        }
    }
    if (at.pos - matched.pos > FAR) { /* dead at the last step, or where a note says so */
        note_way(c, k, matched, at.pos, pos, limit);
    }
    return end;
}

/* ---- Words ----------------------------------------------------------------------------------- */

word_cursor slm_words_begin(const slm_tokenizer *t, const uint8_t *text, size_t n,
                            const encode_scratch *scratch)
{
    word_cursor c = {.t = t, .text = text, .n = n};
    uint8_t *notes = scratch->notes;
    for (uint32_t k = 0; t->pre == PRE_PROGRAM && k < t->program.n_stages; k++) {
        c.stages[k] = (stage_cursor){0, NONE, NONE, NONE, false};
        c.notes[k] = notes;
        notes += (n / BLOCK + 2) * ((t->program.stages[k].n_states + 7) / 8);
    }
    return c;
}

/* The piece of stage k that begins at pos, in the piece of the stage before, which ends at limit.
 */
static void next_piece(word_cursor *c, uint32_t k, size_t pos, size_t limit)
{
    const split_automaton *a = &c->t->program.stages[k];
    stage_cursor *s = &c->stages[k];
    s->drop = false;
    if (s->match_begin == pos) { /* found when the gap before it was */
        s->end = s->match_end;
        s->match_begin = NONE;
        return;
    }
    size_t at = pos, end = pos, row = c->t->program.n_columns + 1;
    while (at < limit) {
        uint32_t length, column = column_at(c, a, at, limit, &length);
        if (load_u16(a->table + 2 * (START * row + column)) != DEAD) { /* most begin no match */
            end = match_end(c, k, at, limit);
            if (end > at) {
                break;
            }
        }
        at += length;
        end = at;
    }
    if (at == pos) {
        s->end = end;
        return;
    }
    s->end = at;
    s->drop = a->flags & STAGE_DROP_GAPS;
    s->match_begin = at < limit ? at : NONE;
    s->match_end = end;
}

bool slm_words_next(word_cursor *c, size_t *begin, size_t *end)
{
    while (c->pos < c->n) {
        size_t limit = c->n;
        bool drop = false;
        *begin = c->pos;
        if (c->t->pre != PRE_PROGRAM) {
            limit = slm_word_end(c->t, c->text, c->n, c->pos);
        }
        for (uint32_t k = 0; c->t->pre == PRE_PROGRAM && k < c->t->program.n_stages; k++) {
            if (c->stages[k].end <= c->pos) {
                next_piece(c, k, c->pos, limit);
            }
            limit = c->stages[k].end;
            drop = drop || c->stages[k].drop;
        }
        *end = c->pos = limit;
        if (!drop) {
            return true;
        }
    }
    return false;
}
