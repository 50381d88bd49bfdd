/* split_program.c - the instructions of all expressions -> one deterministic automaton each, over
 * columns: classes of characters that no expression tells apart.
 *
 * A state is the ordered list of instructions where a backtracking matcher would try to go on, the
 * first choice first. What a list does depends on the next character alone, which also decides the
 * look-aheads: in order, each instruction leads on or not; one that has matched ends the list, for
 * what stands behind it is what backtracking would try only had that failed. A transition therefore
 * says two things: that a match ends before the character, and which list is next.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/split_regex.h"
#include "text/payload.h"

enum { LIST_ROOM = 512 };

typedef struct list {
    uint32_t items[LIST_ROOM];
    uint32_t n;
} list;

typedef struct machine {
    uint32_t n_code, n_states;
    split_code code[SPLIT_MAX_CODE];
    list *states; /* PROGRAM_MAX_STATES; 0 is empty */
    uint16_t *table;
} machine;

typedef struct compiler {
    const char *name;
    failure *f;
    split_sets sets;
    machine machines[SPLIT_MAX_STAGES];
    uint32_t n_stages, n_columns;
    uint32_t *starts; /* of runs of one column: start << 8 | column */
    size_t n_starts;
    uint32_t samples[PROGRAM_MAX_COLUMNS]; /* a character of each column */
} compiler;

static int no_memory(const compiler *c)
{
    return fail(c->f, EXIT_RESOURCE, "%s: no memory", c->name);
}

/* ---- Columns --------------------------------------------------------------------------------- */

static int compare_u32(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    return (x > y) - (x < y);
}

static bool told_apart(const compiler *c, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < c->sets.n; i++) {
        if (set_has(&c->sets.sets[i], a) != set_has(&c->sets.sets[i], b)) {
            return true;
        }
    }
    return false;
}

static int column_of(compiler *c, uint32_t character, uint32_t *column)
{
    for (*column = 0; *column < c->n_columns; ++*column) {
        if (!told_apart(c, character, c->samples[*column])) {
            return EXIT_OK;
        }
    }
    if (c->n_columns == PROGRAM_MAX_COLUMNS) {
        return fail(c->f, EXIT_INPUT, "%s: pre_tokenizer: more than %d classes of characters",
                    c->name, PROGRAM_MAX_COLUMNS);
    }
    c->samples[c->n_columns++] = character;
    return EXIT_OK;
}

/* Characters change their class only where some set begins or ends. */
static int find_columns(compiler *c)
{
    size_t n = 1, room = 1;
    for (uint32_t i = 0; i < c->sets.n; i++) {
        room += 2 * c->sets.sets[i].n;
    }
    c->starts = calloc(room, sizeof *c->starts);
    if (!c->starts) {
        return no_memory(c);
    }
    for (uint32_t i = 0; i < c->sets.n; i++) {
        for (size_t k = 0; k < c->sets.sets[i].n; k++) {
            char_range r = c->sets.sets[i].ranges[k];
            c->starts[n++] = r.first;
            c->starts[n++] = r.last < SET_BAD ? r.last + 1 : 0;
        }
    }
    qsort(c->starts, n, sizeof *c->starts, compare_u32);
    for (size_t i = 0; i < n; i++) {
        uint32_t column, start = c->starts[i];
        if (i > 0 && start == c->starts[c->n_starts - 1] >> 8) {
            continue;
        }
        int code = column_of(c, start, &column);
        if (code != EXIT_OK) {
            return code;
        }
        if (c->n_starts == 0 || (c->starts[c->n_starts - 1] & 255) != column) {
            c->starts[c->n_starts++] = start << 8 | column;
        }
    }
    return EXIT_OK;
}

/* ---- States ---------------------------------------------------------------------------------- */

typedef struct step {
    const compiler *c;
    const machine *m;
    bool at_end; /* the text's, instead of a character */
    uint32_t character;
    bool seen[SPLIT_MAX_CODE], added[SPLIT_MAX_CODE];
    list next;
    bool matched, failed;
} step;

static bool in_set(const step *s, const split_code *code)
{
    return s->at_end ? code->op == SPLIT_LOOK && code->at_end
                     : set_has(&s->c->sets.sets[code->set], s->character);
}

/* Follows one instruction and what it leads to, first choices first. */
static void follow(step *s, uint32_t at)
{
    uint32_t waiting[SPLIT_MAX_CODE], n = 0;
    waiting[n++] = at;
    while (n != 0 && !s->matched) {
        uint32_t i = waiting[--n];
        const split_code *code = &s->m->code[i];
        if (s->seen[i]) {
            continue;
        }
        s->seen[i] = true;
        switch (code->op) {
        case SPLIT_MATCH: s->matched = true; break;
        case SPLIT_FORK:
            waiting[n++] = (uint32_t)((int32_t)i + code->y);
            waiting[n++] = (uint32_t)((int32_t)i + code->x);
            break;
        case SPLIT_JUMP: waiting[n++] = (uint32_t)((int32_t)i + code->x); break;
        case SPLIT_LOOK:
            if (in_set(s, code)) {
                waiting[n++] = i + 1;
            }
            break;
        case SPLIT_SET:
            if (in_set(s, code) && !s->added[i + 1]) {
                s->added[i + 1] = true;
                s->failed = s->failed || s->next.n == LIST_ROOM;
                s->next.items[s->failed ? 0 : s->next.n++] = i + 1;
            }
            break;
        }
    }
}

/* The state of a list, made if it is new; PROGRAM_MAX_STATES: too many. */
static uint32_t state_of(machine *m, const list *l)
{
    for (uint32_t i = 0; i < m->n_states; i++) {
        if (m->states[i].n == l->n &&
            memcmp(m->states[i].items, l->items, l->n * sizeof *l->items) == 0) {
            return i;
        }
    }
    if (m->n_states < PROGRAM_MAX_STATES) {
        m->states[m->n_states] = *l;
        return m->n_states++;
    }
    return PROGRAM_MAX_STATES;
}

static int fill_state(compiler *c, machine *m, uint32_t state, step *s)
{
    for (uint32_t column = 0; column <= c->n_columns; column++) {
        memset(s, 0, sizeof *s);
        s->c = c;
        s->m = m;
        s->at_end = column == c->n_columns;
        s->character = s->at_end ? 0 : c->samples[column];
        for (uint32_t i = 0; i < m->states[state].n && !s->matched; i++) {
            follow(s, m->states[state].items[i]);
        }
        uint32_t next = s->failed ? PROGRAM_MAX_STATES : state_of(m, &s->next);
        if (next == PROGRAM_MAX_STATES) {
            return fail(c->f, EXIT_INPUT,
                        "%s: pre_tokenizer: an expression with more than %d states", c->name,
                        PROGRAM_MAX_STATES);
        }
        m->table[state * (c->n_columns + 1) + column] =
            (uint16_t)(next | (s->matched ? PROGRAM_MATCH : 0));
    }
    return EXIT_OK;
}

static int find_states(compiler *c, machine *m)
{
    list start = {{0}, 1};
    step *s = malloc(sizeof *s);
    m->states = calloc(PROGRAM_MAX_STATES, sizeof *m->states);
    m->table = calloc((size_t)PROGRAM_MAX_STATES * (c->n_columns + 1), sizeof *m->table);
    int code = s && m->states && m->table ? EXIT_OK : no_memory(c);
    if (code == EXIT_OK) {
        m->n_states = 1; /* the empty list */
        (void)state_of(m, &start);
    }
    for (uint32_t i = 1; code == EXIT_OK && i < m->n_states; i++) {
        code = fill_state(c, m, i, s);
    }
    free(s);
    free(m->states);
    m->states = NULL;
    return code;
}

/* ---- The program ----------------------------------------------------------------------------- */

/* The character that the byte-level step writes for a byte. */
static uint32_t byte_level(uint32_t byte)
{
    bool prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    return prints ? byte : 0x100 + (byte <= 0x20 ? byte : byte < 0xa1 ? byte - 0x7f + 33 : 67);
}

static uint32_t column_at(const compiler *c, uint32_t character)
{
    size_t i = c->n_starts;
    while (c->starts[i - 1] >> 8 > character) {
        i--;
    }
    return c->starts[i - 1] & 255;
}

static int write_program(compiler *c, const split_stage *stages, uint8_t **program,
                         uint64_t *n_program)
{
    uint64_t n = PROGRAM_HEADER_BYTES + 4 * c->n_starts, row = c->n_columns + 1;
    for (uint32_t i = 0; i < c->n_stages; i++) {
        n += 8 + (2 * row * c->machines[i].n_states + 3) / 4 * 4;
    }
    uint8_t *p = *program = calloc(1, (size_t)n);
    if (!p) {
        return no_memory(c);
    }
    *n_program = n;
    store_u32(p, c->n_stages);
    store_u32(p + 4, (uint32_t)c->n_starts);
    store_u32(p + 8, c->n_columns);
    for (uint32_t i = 0; i < 256; i++) {
        p[16 + i] = (uint8_t)column_at(c, byte_level(i));
    }
    p += PROGRAM_HEADER_BYTES;
    for (size_t i = 0; i < c->n_starts; i++, p += 4) {
        store_u32(p, c->starts[i]);
    }
    for (uint32_t i = 0; i < c->n_stages; i++) {
        const machine *m = &c->machines[i];
        store_u32(p, stages[i].flags);
        store_u32(p + 4, m->n_states);
        for (size_t k = 0; k < row * m->n_states; k++) {
            store_u16(p + 8 + 2 * k, m->table[k]);
        }
        p += 8 + (2 * row * m->n_states + 3) / 4 * 4;
    }
    return EXIT_OK;
}

int split_compile(const char *name, const split_stage *stages, uint32_t n_stages, uint8_t **program,
                  uint64_t *n_program, failure *f)
{
    compiler *c = calloc(1, sizeof *c);
    if (!c) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", name);
    }
    c->name = name;
    c->f = f;
    c->n_stages = n_stages;
    int code = EXIT_OK;
    for (uint32_t i = 0; code == EXIT_OK && i < n_stages; i++) {
        machine *m = &c->machines[i];
        code = split_parse(name, stages[i].pattern, &c->sets, m->code, &m->n_code, f);
    }
    code = code ? code : find_columns(c);
    for (uint32_t i = 0; code == EXIT_OK && i < n_stages; i++) {
        code = find_states(c, &c->machines[i]);
    }
    code = code ? code : write_program(c, stages, program, n_program);
    for (uint32_t i = 0; i < n_stages; i++) {
        free(c->machines[i].table);
    }
    for (uint32_t i = 0; i < c->sets.n; i++) {
        set_free(&c->sets.sets[i]);
    }
    free(c->starts);
    free(c);
    return code;
}
