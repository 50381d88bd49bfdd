/* eval_regex.c - a pattern -> a program of simple steps, all of whose states run side by side.
 *
 * A recursive descent parser over the pattern (depth limited) emits instructions; a repetition
 * {n,m} copies those of its operand. Matching keeps the set of instructions
 * that could come next, as a list without duplicates, and moves it over the text character by
 * character: that is what makes the time linear.
 */
#include "lib/eval_regex.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/utf8.h"

enum { MAX_DEPTH = 500, MAX_REPEAT = 1000, NOT_UTF8 = 0x110000 /* + byte: no character */ };

typedef enum opcode {
    OP_CHAR,  /* exactly a */
    OP_ANY,   /* all but a line feed */
    OP_SET,   /* in ranges[a .. a + b) */
    OP_NOT,   /* not in them */
    OP_SPLIT, /* go on at a and at b */
    OP_JUMP,  /* go on at a */
    OP_BEGIN,
    OP_END,
    OP_EDGE,  /* a word boundary */
    OP_INNER, /* none */
    OP_MATCH
} opcode;

typedef struct instruction {
    opcode op;
    uint32_t a, b;
} instruction;

typedef struct range {
    uint32_t first, last;
} range;

struct regex {
    instruction *program;
    uint32_t n_program, program_room;
    range *ranges;
    uint32_t n_ranges, ranges_room;
    bool fold; /* ASCII letters match in either case */
};

typedef struct parser {
    const char *where, *pattern;
    size_t n, at;
    int depth;
    regex *r;
    failure *f;
} parser;

static int refuse(parser *p, size_t at, const char *what)
{
    return fail(p->f, EXIT_INPUT, "%s: regex, byte %zu: %s", p->where, at + 1, what);
}

static int no_memory(parser *p)
{
    return fail(p->f, EXIT_RESOURCE, "%s: no memory for a regex", p->where);
}

/* ---- The program ----------------------------------------------------------------------------- */

static int emit(parser *p, opcode op, uint32_t a, uint32_t b)
{
    regex *r = p->r;
    if (r->n_program == REGEX_MAX_PROGRAM) {
        return refuse(p, p->at, "the pattern is too large once its repetitions are written out");
    }
    if (r->n_program == r->program_room) {
        uint32_t room = r->program_room ? 2 * r->program_room : 64;
        instruction *grown = (instruction *)realloc(r->program, room * sizeof *grown);
        if (!grown) {
            return no_memory(p);
        }
        r->program = grown;
        r->program_room = room;
    }
    r->program[r->n_program++] = (instruction){op, a, b};
    return EXIT_OK;
}

/* Makes room for an instruction at `at` and moves the targets of jumps behind it. */
static int insert(parser *p, uint32_t at, opcode op)
{
    int code = emit(p, op, 0, 0);
    if (code != EXIT_OK) {
        return code;
    }
    instruction *program = p->r->program;
    uint32_t n = p->r->n_program;
    memmove(program + at + 1, program + at, (n - 1 - at) * sizeof *program);
    program[at] = (instruction){op, 0, 0};
    for (uint32_t i = at + 1; i < n; i++) {
        if (program[i].op == OP_SPLIT || program[i].op == OP_JUMP) {
            program[i].a += program[i].a >= at;
            program[i].b += program[i].op == OP_SPLIT && program[i].b >= at;
        }
    }
    return EXIT_OK;
}

static int add_range(parser *p, uint32_t first, uint32_t last)
{
    regex *r = p->r;
    if (r->n_ranges == r->ranges_room) {
        uint32_t room = r->ranges_room ? 2 * r->ranges_room : 32;
        range *grown = (range *)realloc(r->ranges, room * sizeof *grown);
        if (!grown) {
            return no_memory(p);
        }
        r->ranges = grown;
        r->ranges_room = room;
    }
    r->ranges[r->n_ranges++] = (range){first, last};
    return EXIT_OK;
}

/* ---- Characters and sets --------------------------------------------------------------------- */

/* One character of valid UTF-8, or NOT_UTF8 + the byte. */
static uint32_t decode(const char *text, size_t n, size_t *length)
{
    size_t k = utf8_length(text, n);
    const unsigned char *s = (const unsigned char *)text;
    *length = k ? k : 1;
    switch (k) {
    case 1: return s[0];
    case 2: return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
    case 3: return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
    case 4: return (s[0] & 7u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
    default: return NOT_UTF8 + s[0];
    }
}

static uint32_t lower(uint32_t c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* The ranges of \d, \w, \s; false for any other letter. */
static int class_ranges(parser *p, char letter, bool *known)
{
    static const range digit[] = {{'0', '9'}}, space[] = {{9, 13}, {' ', ' '}},
                       word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    const range *from = letter == 'd' ? digit : letter == 'w' ? word : letter == 's' ? space : NULL;
    size_t n = letter == 'd' ? 1 : letter == 'w' ? 4 : letter == 's' ? 2 : 0;
    *known = from != NULL;
    int code = EXIT_OK;
    for (size_t i = 0; i < n && code == EXIT_OK; i++) {
        code = add_range(p, from[i].first, from[i].last);
    }
    return code;
}

/* What follows a backslash, if it is one character. */
static bool escaped(char c, uint32_t *out)
{
    const char *plain = ".[](){}*+?|^$\\/-";
    *out = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : (unsigned char)c;
    return c == 'n' || c == 't' || c == 'r' || (c != 0 && strchr(plain, c) != NULL);
}

/* One character or escape inside a set. *is_class: it was \d, \w or \s, and its ranges are in. */
static int set_item(parser *p, uint32_t *c, bool *is_class)
{
    *is_class = false;
    size_t start = p->at, length;
    *c = decode(p->pattern + p->at, p->n - p->at, &length);
    p->at += length;
    if (*c == '[' && p->at < p->n && p->pattern[p->at] == ':') {
        return refuse(p, start, "classes like [:alpha:] are not known; \\w, \\d and \\s are");
    }
    if (*c != '\\') {
        return EXIT_OK;
    }
    if (p->at == p->n) {
        return refuse(p, start, "a backslash at the end");
    }
    char letter = p->pattern[p->at++];
    int code = class_ranges(p, letter, is_class);
    if (code == EXIT_OK && !*is_class && !escaped(letter, c)) {
        code = refuse(p, start, "an escape that is not known inside [ ]");
    }
    return code;
}

static int parse_set(parser *p)
{
    size_t start = p->at - 1; /* of the [ */
    bool negated = p->at < p->n && p->pattern[p->at] == '^';
    p->at += negated;
    uint32_t first_range = p->r->n_ranges;
    int code = EXIT_OK;
    while (code == EXIT_OK) {
        if (p->at >= p->n) {
            return refuse(p, start, "this [ is never closed");
        }
        if (p->pattern[p->at] == ']') {
            p->at++;
            break;
        }
        uint32_t first, last;
        bool is_class;
        code = set_item(p, &first, &is_class);
        last = first;
        if (code == EXIT_OK && p->at + 1 < p->n && p->pattern[p->at] == '-' &&
            p->pattern[p->at + 1] != ']') {
            bool last_is_class;
            p->at++;
            code = set_item(p, &last, &last_is_class);
            if (code == EXIT_OK && (is_class || last_is_class || last < first)) {
                code = refuse(p, start, "a range of this [ ] does not run from low to high");
            }
        }
        if (code == EXIT_OK && !is_class) {
            code = add_range(p, first, last);
        }
    }
    uint32_t n_ranges = p->r->n_ranges - first_range;
    if (code == EXIT_OK && n_ranges == 0) {
        return refuse(p, start, "an empty [ ]");
    }
    return code ? code : emit(p, negated ? OP_NOT : OP_SET, first_range, n_ranges);
}

/* ---- Grammar --------------------------------------------------------------------------------- */

static int parse_either(parser *p);

static int parse_escape(parser *p)
{
    size_t start = p->at - 1;
    if (p->at == p->n) {
        return refuse(p, start, "a backslash at the end");
    }
    char letter = p->pattern[p->at++];
    uint32_t c, first_range = p->r->n_ranges;
    bool known;
    char small = (char)(letter | 0x20);
    int code = EXIT_OK;
    if (letter == 'b' || letter == 'B') {
        return emit(p, letter == 'b' ? OP_EDGE : OP_INNER, 0, 0);
    }
    if (escaped(letter, &c)) {
        return emit(p, OP_CHAR, c, 0);
    }
    code = class_ranges(p, letter >= 'A' && letter <= 'Z' ? small : letter, &known);
    if (code == EXIT_OK && !known) {
        return refuse(p, start,
                      letter >= '0' && letter <= '9'
                          ? "back-references cannot be matched in linear time"
                          : "an escape that is not known");
    }
    return code ? code
                : emit(p, letter == small ? OP_SET : OP_NOT, first_range,
                       p->r->n_ranges - first_range);
}

static int parse_group(parser *p)
{
    size_t start = p->at - 1;
    if (++p->depth > MAX_DEPTH) {
        return refuse(p, start, "groups are nested too deep");
    }
    if (p->at + 1 < p->n && p->pattern[p->at] == '?') {
        if (p->pattern[p->at + 1] != ':') {
            return refuse(p, start, "of the groups that begin with (? only (?: ) is known");
        }
        p->at += 2;
    }
    int code = parse_either(p);
    if (code == EXIT_OK && (p->at >= p->n || p->pattern[p->at] != ')')) {
        code = refuse(p, start, "this ( is never closed");
    }
    p->at++;
    p->depth--;
    return code;
}

static int parse_atom(parser *p)
{
    size_t start = p->at, length;
    uint32_t c = decode(p->pattern + p->at, p->n - p->at, &length);
    p->at += length;
    switch (c) {
    case '(': return parse_group(p);
    case '[': return parse_set(p);
    case '\\': return parse_escape(p);
    case '.': return emit(p, OP_ANY, 0, 0);
    case '^': return emit(p, OP_BEGIN, 0, 0);
    case '$': return emit(p, OP_END, 0, 0);
    case '*':
    case '+':
    case '?':
    case '{': return refuse(p, start, "nothing stands before this repetition");
    case ']':
    case '}': return refuse(p, start, "this closes nothing; write \\] or \\} for the character");
    case 0: return refuse(p, start, "a NUL character");
    default: return emit(p, OP_CHAR, c, 0);
    }
}

/* {n}, {n,} or {n,m}; at points behind the {. max is UINT32_MAX for no limit. */
static int parse_counts(parser *p, uint32_t *min, uint32_t *max)
{
    size_t start = p->at - 1;
    uint32_t count[2] = {0, 0};
    size_t digits[2] = {0, 0};
    int which = 0;
    for (; p->at < p->n && p->pattern[p->at] != '}'; p->at++) {
        char c = p->pattern[p->at];
        if (c == ',' && which == 0) {
            which = 1;
        } else if (c >= '0' && c <= '9' && count[which] <= MAX_REPEAT) {
            count[which] = 10 * count[which] + (uint32_t)(c - '0');
            digits[which]++;
        } else {
            return refuse(p, start, "a repetition is {n}, {n,} or {n,m}, of at most 1000");
        }
    }
    bool open = which == 1 && digits[1] == 0;
    *min = count[0];
    *max = which == 0 ? count[0] : open ? UINT32_MAX : count[1];
    if (p->at >= p->n || digits[0] == 0 || *min > MAX_REPEAT ||
        (!open && (*max > MAX_REPEAT || *max < *min || *max == 0))) {
        return refuse(p, start, "a repetition is {n}, {n,} or {n,m}, of at most 1000");
    }
    p->at++;
    return EXIT_OK;
}

static int make_loop(parser *p, uint32_t from) /* program[from..] x -> x* */
{
    int code = insert(p, from, OP_SPLIT);
    code = code ? code : emit(p, OP_JUMP, from, 0);
    if (code == EXIT_OK) {
        p->r->program[from].a = from + 1;
        p->r->program[from].b = p->r->n_program;
    }
    return code;
}

static int make_optional(parser *p, uint32_t from) /* program[from..] x -> x? */
{
    int code = insert(p, from, OP_SPLIT);
    if (code == EXIT_OK) {
        p->r->program[from].a = from + 1;
        p->r->program[from].b = p->r->n_program;
    }
    return code;
}

/* Appends a copy of the n instructions that once began at `from`. */
static int emit_copy(parser *p, const instruction *atom, uint32_t n, uint32_t from)
{
    uint32_t shift = p->r->n_program - from;
    int code = EXIT_OK;
    for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
        bool split = atom[i].op == OP_SPLIT, jumps = split || atom[i].op == OP_JUMP;
        code =
            emit(p, atom[i].op, atom[i].a + (jumps ? shift : 0), atom[i].b + (split ? shift : 0));
    }
    return code;
}

/* program[from..] x -> x{min,max}, written out. (Parsing x again for each copy would take time
 * exponential in the depth of nesting.) */
static int repeat_atom(parser *p, uint32_t from, uint32_t min, uint32_t max)
{
    uint32_t n = p->r->n_program - from, copies = max == UINT32_MAX ? min + 1 : max;
    if (n == 0) {
        return refuse(p, p->at - 1, "nothing stands before this repetition");
    }
    instruction *atom = (instruction *)malloc(n * sizeof *atom);
    if (!atom) {
        return no_memory(p);
    }
    memcpy(atom, p->r->program + from, n * sizeof *atom);
    p->r->n_program = from;
    int code = EXIT_OK;
    for (uint32_t i = 0; i < copies && code == EXIT_OK; i++) {
        uint32_t start = p->r->n_program;
        code = emit_copy(p, atom, n, from);
        if (code == EXIT_OK && i >= min) {
            code = max == UINT32_MAX ? make_loop(p, start) : make_optional(p, start);
        }
    }
    free(atom);
    return code;
}

static int parse_piece(parser *p)
{
    uint32_t from = p->r->n_program;
    int code = parse_atom(p);
    if (code != EXIT_OK || p->at >= p->n) {
        return code;
    }
    uint32_t min = 0, max = UINT32_MAX;
    switch (p->pattern[p->at]) {
    case '*': p->at++; break;
    case '+': p->at++, min = 1; break;
    case '?': p->at++, max = 1; break;
    case '{':
        p->at++;
        code = parse_counts(p, &min, &max);
        break;
    default: return EXIT_OK;
    }
    if (code == EXIT_OK && p->at < p->n && p->pattern[p->at] != 0 &&
        strchr("*+?{", p->pattern[p->at])) {
        return refuse(p, p->at, "a repetition of a repetition");
    }
    return code ? code : repeat_atom(p, from, min, max);
}

static int parse_sequence(parser *p)
{
    int code = EXIT_OK;
    while (code == EXIT_OK && p->at < p->n && p->pattern[p->at] != '|' &&
           p->pattern[p->at] != ')') {
        code = parse_piece(p);
    }
    return code;
}

/* a|b|c: a split before each but the last; each ends in a jump behind them all. */
static int parse_either(parser *p)
{
    uint32_t from = p->r->n_program;
    int code = parse_sequence(p);
    if (code != EXIT_OK || p->at >= p->n || p->pattern[p->at] != '|') {
        return code;
    }
    p->at++;
    code = insert(p, from, OP_SPLIT);
    code = code ? code : emit(p, OP_JUMP, 0, 0);
    if (code != EXIT_OK) {
        return code;
    }
    uint32_t jump = p->r->n_program - 1;
    p->r->program[from].a = from + 1;
    p->r->program[from].b = jump + 1;
    if (++p->depth > MAX_DEPTH) {
        return refuse(p, p->at, "more than 500 alternatives");
    }
    code = parse_either(p);
    p->depth--;
    p->r->program[jump].a = p->r->n_program;
    return code;
}

/* ---- Matching -------------------------------------------------------------------------------- */

typedef struct matcher {
    const regex *r;
    uint32_t *now, *next; /* instructions that wait for a character; no duplicates */
    uint32_t n_now, n_next;
    uint32_t *seen; /* per instruction: the last position + 1 at which it was added */
    uint32_t *stack;
    bool matched;
} matcher;

static bool is_word(uint32_t c)
{
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || c == '_';
}

typedef struct place {
    bool begin, end, edge;
    uint32_t mark; /* differs from one position to the next */
} place;

/* Follows jumps, splits and conditions from `start`; what waits for a character joins `next`. */
static void add(matcher *m, uint32_t start, const place *at)
{
    uint32_t n = 0;
    m->stack[n++] = start;
    while (n != 0) {
        uint32_t i = m->stack[--n];
        if (m->seen[i] == at->mark) {
            continue;
        }
        m->seen[i] = at->mark;
        instruction x = m->r->program[i];
        bool go_on = false;
        switch (x.op) {
        case OP_SPLIT:
            m->stack[n++] = x.b;
            m->stack[n++] = x.a;
            break;
        case OP_JUMP: m->stack[n++] = x.a; break;
        case OP_BEGIN: go_on = at->begin; break;
        case OP_END: go_on = at->end; break;
        case OP_EDGE: go_on = at->edge; break;
        case OP_INNER: go_on = !at->edge; break;
        case OP_MATCH: m->matched = true; break;
        default: m->next[m->n_next++] = i; break;
        }
        if (go_on) {
            m->stack[n++] = i + 1;
        }
    }
}

static bool in_ranges(const regex *r, instruction x, uint32_t c)
{
    for (uint32_t i = x.a; i < x.a + x.b; i++) {
        if (c >= r->ranges[i].first && c <= r->ranges[i].last) {
            return true;
        }
    }
    return false;
}

static bool takes(const regex *r, instruction x, uint32_t c)
{
    uint32_t other = c; /* the same letter in the other case */
    if (r->fold) {
        other = c >= 'A' && c <= 'Z' ? c + 32 : c >= 'a' && c <= 'z' ? c - 32 : c;
    }
    switch (x.op) {
    case OP_CHAR: return x.a == c || x.a == other;
    case OP_ANY: return c != '\n';
    case OP_SET: return in_ranges(r, x, c) || in_ranges(r, x, other);
    case OP_NOT: return !in_ranges(r, x, c) && !in_ranges(r, x, other);
    default: return false;
    }
}

static bool run(matcher *m, const char *text, size_t n)
{
    uint32_t before = NOT_UTF8, mark = 1;
    for (size_t at = 0;; mark++) {
        size_t length = 0;
        uint32_t c = at < n ? decode(text + at, n - at, &length) : NOT_UTF8;
        if (mark == UINT32_MAX) { /* after 4 GiB of text: the marks begin anew */
            memset(m->seen, 0, m->r->n_program * sizeof *m->seen);
            mark = 1;
        }
        place here = {
            .begin = at == 0, .end = at == n, .edge = is_word(before) != is_word(c), .mark = mark};
        m->n_next = 0;
        for (uint32_t i = 0; i < m->n_now; i++) { /* those that took the character before */
            add(m, m->now[i], &here);
        }
        add(m, 0, &here); /* a match may begin anywhere */
        if (m->matched || at == n) {
            return m->matched;
        }
        m->n_now = 0;
        for (uint32_t i = 0; i < m->n_next; i++) {
            if (takes(m->r, m->r->program[m->next[i]], c)) {
                m->now[m->n_now++] = m->next[i] + 1;
            }
        }
        before = c;
        at += length;
    }
}

bool regex_matches(const regex *r, const char *text, size_t n_text)
{
    /* Four lists of at most n instructions each; the stack grows by two for each that it drops. */
    uint32_t n = r->n_program;
    uint32_t *lists = (uint32_t *)calloc((size_t)n * 5 + 2, sizeof *lists);
    if (!lists) {
        return false;
    }
    matcher m = {.r = r, .now = lists, .next = lists + n, .seen = lists + 2 * (size_t)n};
    m.stack = lists + 3 * (size_t)n;
    bool matched = run(&m, text, n_text);
    free(lists);
    return matched;
}

/* ---- Life ------------------------------------------------------------------------------------ */

void regex_free(regex **r)
{
    if (*r) {
        free((*r)->program);
        free((*r)->ranges);
        free(*r);
        *r = NULL;
    }
}

static int parse_all(parser *p)
{
    if (p->n == 0 || p->n > REGEX_MAX_PATTERN) {
        return fail(p->f, EXIT_INPUT, "%s: a regex has 1 to %d bytes", p->where, REGEX_MAX_PATTERN);
    }
    for (size_t i = 0, length; i < p->n; i += length) {
        if (decode(p->pattern + i, p->n - i, &length) >= NOT_UTF8) {
            return refuse(p, i, "not UTF-8");
        }
    }
    if (p->n >= 4 && memcmp(p->pattern, "(?i)", 4) == 0) {
        p->r->fold = true;
        p->at = 4;
    }
    int code = parse_either(p);
    if (code == EXIT_OK && p->at < p->n) {
        code = refuse(p, p->at, "this ) closes nothing");
    }
    code = code ? code : emit(p, OP_MATCH, 0, 0);
    if (code == EXIT_OK && regex_matches(p->r, "", 0)) {
        code = refuse(p, 0, "the pattern matches the empty text");
    }
    return code;
}

int regex_compile(const char *where, const char *pattern, size_t n_pattern, regex **r, failure *f)
{
    regex *made = (regex *)calloc(1, sizeof *made);
    parser p = {.where = where, .pattern = pattern, .n = n_pattern, .r = made, .f = f};
    if (!made) {
        return no_memory(&p);
    }
    int code = parse_all(&p);
    if (code != EXIT_OK) {
        regex_free(&made);
        return code;
    }
    *r = made;
    return EXIT_OK;
}
