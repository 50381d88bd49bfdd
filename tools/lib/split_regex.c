/* split_regex.c - parses an expression and emits its instructions as it goes. Jumps are relative,
 * so that what was emitted may be moved and copied.
 */
#include "lib/split_regex.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

enum { MAX_DEPTH = 50, MAX_REPEAT = 64 };

typedef struct parser {
    const char *name, *pattern;
    size_t pos, n;
    split_sets *sets;
    split_code *code;
    uint32_t n_code, depth;
    bool fold;     /* letters of either case */
    uint32_t last; /* the letter before, under fold */
    failure *f;
} parser;

/* What was parsed: can it match nothing? */
typedef struct part {
    uint32_t start;
    bool nullable;
} part;

static int parse_alternatives(parser *p, bool *nullable);

static int refuse(const parser *p, const char *what)
{
    return fail(p->f, EXIT_INPUT, "%s: pre_tokenizer Split pattern, at byte %zu: %s", p->name,
                p->pos, what);
}

static bool take(parser *p, const char *text)
{
    size_t n = strlen(text);
    bool there = p->n - p->pos >= n && memcmp(p->pattern + p->pos, text, n) == 0;
    p->pos += there ? n : 0;
    return there;
}

static char peek(const parser *p)
{
    return p->pos < p->n ? p->pattern[p->pos] : 0;
}

static int next_character(parser *p, uint32_t *c)
{
    if (p->pos == p->n) {
        return refuse(p, "it ends in the middle");
    }
    p->pos += slm_utf8_decode((const uint8_t *)p->pattern + p->pos, p->n - p->pos, c);
    return *c == CODEPOINT_BAD ? refuse(p, "not UTF-8") : EXIT_OK;
}

/* ---- Instructions ---------------------------------------------------------------------------- */

static int make_room(parser *p, uint32_t at, uint32_t n)
{
    if (n > SPLIT_MAX_CODE - p->n_code) {
        return refuse(p, "the expression is too long");
    }
    memmove(p->code + at + n, p->code + at, (p->n_code - at) * sizeof *p->code);
    memset(p->code + at, 0, n * sizeof *p->code);
    p->n_code += n;
    return EXIT_OK;
}

static int emit(parser *p, uint32_t at, split_op op, int32_t x, int32_t y)
{
    int code = make_room(p, at, 1);
    if (code == EXIT_OK) {
        p->code[at] = (split_code){.op = op, .x = x, .y = y};
    }
    return code;
}

/* A matching set; takes it over. */
static int emit_set(parser *p, split_op op, bool at_end, char_set *set)
{
    uint32_t i = 0;
    if (set->failed) {
        set_free(set);
        return fail(p->f, EXIT_RESOURCE, "%s: no memory", p->name);
    }
    while (i < p->sets->n && !set_equal(&p->sets->sets[i], set)) {
        i++;
    }
    int code = i == SPLIT_MAX_SETS ? refuse(p, "too many sets of characters")
                                   : emit(p, p->n_code, op, 0, 0);
    if (code != EXIT_OK || i < p->sets->n) {
        set_free(set);
    } else {
        p->sets->sets[p->sets->n++] = *set;
    }
    if (code == EXIT_OK) {
        p->code[p->n_code - 1].set = i;
        p->code[p->n_code - 1].at_end = at_end;
    }
    return code;
}

/* ---- Sets ------------------------------------------------------------------------------------ */

static bool is_ascii_letter(uint32_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* One character, with its other cases if they are wanted. Oniguruma folds U+017F and U+212A to
 * letters of ASCII. */
static int add_character(parser *p, char_set *set, uint32_t c)
{
    set_add(set, c, c);
    if (!p->fold) {
        return EXIT_OK;
    }
    if (c >= 0x80) {
        return refuse(p, "other cases of characters beyond ASCII are not supported");
    }
    if (is_ascii_letter(c)) {
        set_add(set, c ^ 32, c ^ 32);
    }
    if ((c | 32) == 's' || (c | 32) == 'k') {
        uint32_t other = (c | 32) == 's' ? 0x17f : 0x212a;
        set_add(set, other, other);
    }
    return EXIT_OK;
}

static int hex_number(parser *p, int n_digits, uint32_t *c)
{
    *c = 0;
    for (int i = 0; i < n_digits; i++) {
        char d = peek(p);
        int value = d >= '0' && d <= '9'                 ? d - '0'
                    : (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10
                                                         : -1;
        if (value < 0) {
            return refuse(p, "a number is cut short");
        }
        *c = *c * 16 + (uint32_t)value;
        p->pos++;
    }
    return EXIT_OK;
}

/* Behind "\x{". */
static int braced_number(parser *p, uint32_t *c)
{
    const char *end = memchr(p->pattern + p->pos, '}', p->n - p->pos);
    size_t n = end ? (size_t)(end - p->pattern) - p->pos : 0;
    int code = n > 0 && n <= 6 ? hex_number(p, (int)n, c) : refuse(p, "a number that is none");
    return code == EXIT_OK && (!take(p, "}") || *c > 0x10ffff) ? refuse(p, "a number that is none")
                                                               : code;
}

/* Behind "\p" or "\P": {Name}, {^Name}. */
static int property(parser *p, bool negated, char_set *set)
{
    char_set its = {0};
    const char *end = peek(p) == '{' ? memchr(p->pattern + p->pos, '}', p->n - p->pos) : NULL;
    if (!end) {
        return refuse(p, "a property without braces");
    }
    p->pos++;
    if (take(p, "^")) {
        negated = !negated;
    }
    if (!set_add_property(&its, p->pattern + p->pos, (size_t)(end - p->pattern) - p->pos)) {
        set_free(&its);
        return refuse(p, "a property that is not known here");
    }
    p->pos = (size_t)(end - p->pattern) + 1;
    if (negated) {
        set_complement(&its);
    }
    set_add_all(set, &its);
    set_free(&its);
    return p->fold ? refuse(p, "properties without regard to case are not supported") : EXIT_OK;
}

/* Behind a backslash. *single: it was one character, *c; else a set was added. */
static int escape(parser *p, char_set *set, bool *single, uint32_t *c)
{
    static const char named[][2] = {
        {'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'f', '\f'}, {'v', '\v'}};
    int code = next_character(p, c);
    *single = false;
    if (code != EXIT_OK) {
        return code;
    }
    if (*c == 'p' || *c == 'P') {
        return property(p, *c == 'P', set);
    }
    if (*c == 's' || *c == 'S' || *c == 'd' || *c == 'D') {
        char_set its = {0};
        const char *name = (*c | 32) == 's' ? "space" : "Nd";
        (void)set_add_property(&its, name, strlen(name));
        if (!(*c & 32)) {
            set_complement(&its);
        }
        set_add_all(set, &its);
        set_free(&its);
        return EXIT_OK;
    }
    *single = true;
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        if (*c == (uint32_t)named[i][0]) {
            *c = (uint32_t)named[i][1];
            return EXIT_OK;
        }
    }
    if (*c == 'u') {
        return hex_number(p, 4, c);
    }
    if (*c == 'x' && take(p, "{")) {
        return braced_number(p, c);
    }
    return is_ascii_letter(*c) || (*c >= '0' && *c <= '9') || *c >= 0x80
               ? refuse(p, "an escape that is not supported")
               : EXIT_OK;
}

static int parse_class(parser *p, char_set *set);

/* One end of a range, or a whole item of a class. */
static int class_item(parser *p, char_set *set, bool *single, uint32_t *c)
{
    *single = false;
    if (take(p, "[:")) {
        return refuse(p, "a POSIX bracket is not supported");
    }
    if (take(p, "[")) {
        char_set inner = {0};
        int code = parse_class(p, &inner);
        set_add_all(set, &inner);
        set_free(&inner);
        return code;
    }
    if (take(p, "\\")) {
        return escape(p, set, single, c);
    }
    *single = true;
    return next_character(p, c);
}

static int class_items(parser *p, char_set *set)
{
    int code = EXIT_OK;
    while (code == EXIT_OK && peek(p) != ']') {
        uint32_t first, last;
        bool single, single_last;
        if (p->n - p->pos >= 2 && memcmp(p->pattern + p->pos, "&&", 2) == 0) {
            return EXIT_OK;
        }
        code = class_item(p, set, &single, &first);
        if (code != EXIT_OK || !single) {
            continue;
        }
        if (peek(p) == '-' && p->n - p->pos > 1 && p->pattern[p->pos + 1] != ']') {
            p->pos++;
            code = class_item(p, set, &single_last, &last);
            if (code == EXIT_OK && (!single_last || last < first)) {
                return refuse(p, "a range that is none");
            }
            if (code == EXIT_OK && p->fold) {
                return refuse(p, "ranges without regard to case are not supported");
            }
            set_add(set, first, last);
        } else {
            code = add_character(p, set, first);
        }
    }
    return code;
}

/* Behind "[", to behind "]". */
static int parse_class(parser *p, char_set *set)
{
    bool negated = take(p, "^"), fold = p->fold;
    if (++p->depth > MAX_DEPTH || peek(p) == ']') {
        return refuse(p, "an empty class, or too many inside each other");
    }
    int code = negated && fold ? refuse(p, "complements without regard to case are not supported")
                               : class_items(p, set);
    while (code == EXIT_OK && take(p, "&&")) {
        char_set other = {0};
        code = class_items(p, &other);
        set_intersect(set, &other);
        set_free(&other);
    }
    p->depth--;
    if (code == EXIT_OK && !take(p, "]")) {
        return refuse(p, "a class without an end");
    }
    if (negated) {
        set_complement(set);
    }
    return code;
}

/* ---- Atoms ----------------------------------------------------------------------------------- */

/* A set of characters by itself; *found false if something else stands there. */
static int set_atom(parser *p, char_set *set, bool *found)
{
    uint32_t c;
    bool single = true;
    int code;
    *found = true;
    if (take(p, "[")) {
        p->last = 0;
        return parse_class(p, set);
    }
    if (take(p, ".")) {
        p->last = 0;
        set_add(set, '\n', '\n');
        set_complement(set);
        return EXIT_OK;
    }
    if (take(p, "\\")) {
        code = escape(p, set, &single, &c);
    } else if (p->pos == p->n || strchr("()|*+?^${", peek(p))) {
        *found = false;
        return EXIT_OK;
    } else {
        code = next_character(p, &c);
    }
    if (code != EXIT_OK || !single) {
        p->last = 0;
        return code;
    }
    static const char *const joined[] = {"ss", "st", "ff", "fi", "fl"};
    char pair[3] = {(char)p->last, (char)(c < 0x80 ? c | 32 : 0), 0};
    for (size_t i = 0; p->fold && i < sizeof joined / sizeof joined[0]; i++) {
        if (strcmp(pair, joined[i]) == 0) {
            return refuse(p, "letters that one character stands for, without regard to case");
        }
    }
    p->last = p->fold && is_ascii_letter(c) ? c | 32 : 0;
    return add_character(p, set, c);
}

static int look_ahead(parser *p, bool negated)
{
    char_set set = {0};
    bool found;
    int code = set_atom(p, &set, &found);
    if (code == EXIT_OK && (!found || !take(p, ")"))) {
        code = refuse(p, "looking ahead further than one character is not supported");
    }
    if (code != EXIT_OK) {
        set_free(&set);
        return code;
    }
    if (negated) {
        set_complement(&set);
    }
    return emit_set(p, SPLIT_LOOK, negated, &set);
}

static int group(parser *p, bool *nullable)
{
    bool fold = p->fold;
    if (take(p, "?=")) {
        *nullable = true;
        return look_ahead(p, false);
    }
    if (take(p, "?!")) {
        *nullable = true;
        return look_ahead(p, true);
    }
    if (take(p, "?i:")) {
        p->fold = true;
    } else if (!take(p, "?:") && peek(p) == '?') {
        return refuse(p, "this kind of group is not supported");
    }
    if (++p->depth > MAX_DEPTH) {
        return refuse(p, "groups are nested too deep");
    }
    p->last = 0;
    int code = parse_alternatives(p, nullable);
    p->depth--;
    p->fold = fold;
    p->last = 0;
    return code == EXIT_OK && !take(p, ")") ? refuse(p, "a group without an end") : code;
}

static int parse_atom(parser *p, bool *nullable)
{
    char_set set = {0};
    bool found;
    *nullable = false;
    if (take(p, "(")) {
        return group(p, nullable);
    }
    if (take(p, "$")) { /* the end of a line */
        *nullable = true;
        set_add(&set, '\n', '\n');
        return emit_set(p, SPLIT_LOOK, true, &set);
    }
    int code = set_atom(p, &set, &found);
    if (code != EXIT_OK || !found) {
        set_free(&set);
        return code ? code : refuse(p, "a character with a meaning that is not supported here");
    }
    return emit_set(p, SPLIT_SET, false, &set);
}

/* ---- Repetition ------------------------------------------------------------------------------ */

static int number(parser *p, uint32_t *value)
{
    *value = 0;
    if (peek(p) < '0' || peek(p) > '9') {
        return refuse(p, "a number of repetitions is missing");
    }
    while (peek(p) >= '0' && peek(p) <= '9' && *value <= MAX_REPEAT) {
        *value = *value * 10 + (uint32_t)(p->pattern[p->pos++] - '0');
    }
    return *value > MAX_REPEAT ? refuse(p, "too many repetitions") : EXIT_OK;
}

/* How often: {low}, {low,}, {low,high}; *, +, ?. high MAX_REPEAT + 1: without end. */
static int quantity(parser *p, uint32_t *low, uint32_t *high)
{
    *low = *high = 1;
    if (take(p, "*")) {
        *low = 0;
        *high = MAX_REPEAT + 1;
    } else if (take(p, "+")) {
        *high = MAX_REPEAT + 1;
    } else if (take(p, "?")) {
        *low = 0;
    } else if (take(p, "{")) {
        int code = number(p, low);
        *high = *low;
        if (code == EXIT_OK && take(p, ",")) {
            *high = MAX_REPEAT + 1;
            code = peek(p) == '}' ? EXIT_OK : number(p, high);
        }
        if (code == EXIT_OK && (!take(p, "}") || *high < *low || *high == 0)) {
            code = refuse(p, "a number of repetitions that is none");
        }
        return code;
    }
    return EXIT_OK;
}

/* Repeats the instructions from `start` on. */
static int repeat(parser *p, uint32_t start, uint32_t low, uint32_t high)
{
    split_code *copy = NULL;
    uint32_t n = p->n_code - start, n_copies = high > MAX_REPEAT ? low + 1 : high;
    bool endless = high > MAX_REPEAT;
    int code = EXIT_OK;
    if (n != 0 && n <= SPLIT_MAX_CODE / n_copies) {
        copy = malloc(n * sizeof *copy);
    }
    if (!copy) {
        return refuse(p, "the repetitions are too long");
    }
    memcpy(copy, p->code + start, n * sizeof *copy);
    p->n_code = start;
    uint32_t optional = n_copies - low; /* copies that may be left out, each with a fork */
    for (uint32_t i = 0; i < n_copies && code == EXIT_OK; i++) {
        if (i >= low) {
            uint32_t left = n_copies - i;
            code = emit(p, p->n_code, SPLIT_FORK, 1, (int32_t)(left * (n + 1) + endless));
        }
        uint32_t at = p->n_code;
        code = code ? code : make_room(p, at, n);
        if (code == EXIT_OK) {
            memcpy(p->code + at, copy, n * sizeof *copy);
        }
    }
    if (code == EXIT_OK && endless && optional == 1) {
        code = emit(p, p->n_code, SPLIT_JUMP, -(int32_t)(n + 1), 0);
    }
    free(copy);
    return code;
}

/* The instruction before looks at one character: appends one that looks whether the next is none of
 * them. */
static int refuse_more(parser *p, uint32_t set)
{
    char_set other = {0};
    set_add_all(&other, &p->sets->sets[set]);
    set_complement(&other);
    return emit_set(p, SPLIT_LOOK, true, &other);
}

/* Repeats the one set that begins at `start`, and gives nothing back: "a++" is a+(?!a), "a?+" is
 * (?:a|(?!a)). */
static int repeat_possessive(parser *p, uint32_t start, uint32_t low, uint32_t high)
{
    uint32_t set = p->code[start].set;
    if (p->n_code - start != 1 || p->code[start].op != SPLIT_SET) {
        return refuse(p, "possessive repetitions of more than one character are not supported");
    }
    if (high > MAX_REPEAT) {
        int code = repeat(p, start, low, high);
        return code ? code : refuse_more(p, set);
    }
    int code = emit(p, start, SPLIT_FORK, 1, 3);
    code = code ? code : emit(p, p->n_code, SPLIT_JUMP, 2, 0);
    return code ? code : refuse_more(p, set);
}

static bool at_quantity(const parser *p)
{
    return peek(p) == '+' || peek(p) == '*' || peek(p) == '?' || peek(p) == '{';
}

/* A "+" behind one of "*+?" makes it possessive, as in Ruby; behind {2,3} it repeats that. */
static int parse_repeated(parser *p, bool *nullable)
{
    uint32_t start = p->n_code, low, high;
    int code = parse_atom(p, nullable);
    bool braces = peek(p) == '{';
    code = code ? code : quantity(p, &low, &high);
    if (code != EXIT_OK || (low == 1 && high == 1 && !at_quantity(p))) {
        return code;
    }
    if (*nullable) {
        return refuse(p, "repeating what may be nothing is not supported");
    }
    bool again = at_quantity(p) && take(p, "+");
    if (at_quantity(p) || (again && braces && low == 0)) {
        return refuse(p, "lazy and double repetitions are not supported");
    }
    *nullable = low == 0;
    p->last = 0;
    if (again && !braces) {
        return repeat_possessive(p, start, low, high);
    }
    code = repeat(p, start, low, high);
    return code == EXIT_OK && again ? repeat(p, start, 1, MAX_REPEAT + 1) : code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int parse_sequence(parser *p, bool *nullable)
{
    int code = EXIT_OK;
    *nullable = true;
    while (code == EXIT_OK && p->pos < p->n && peek(p) != '|' && peek(p) != ')') {
        bool its;
        code = parse_repeated(p, &its);
        *nullable = *nullable && its;
    }
    return code;
}

static int parse_alternatives(parser *p, bool *nullable)
{
    uint32_t start = p->n_code;
    int code = parse_sequence(p, nullable);
    while (code == EXIT_OK && take(p, "|")) {
        bool its;
        uint32_t n = p->n_code - start;
        p->last = 0;
        code = emit(p, start, SPLIT_FORK, 1, (int32_t)n + 2);
        uint32_t jump = p->n_code;
        code = code ? code : emit(p, jump, SPLIT_JUMP, 0, 0);
        code = code ? code : parse_sequence(p, &its);
        if (code == EXIT_OK) {
            p->code[jump].x = (int32_t)(p->n_code - jump);
            *nullable = *nullable || its;
        }
    }
    return code;
}

int split_parse(const char *name, const char *pattern, split_sets *sets,
                split_code code[SPLIT_MAX_CODE], uint32_t *n, failure *f)
{
    parser p = {
        .name = name, .pattern = pattern, .n = strlen(pattern), .sets = sets, .code = code, .f = f};
    bool nullable;
    int status = parse_alternatives(&p, &nullable);
    if (status == EXIT_OK && p.pos < p.n) {
        return refuse(&p, "a parenthesis too many");
    }
    if (status == EXIT_OK && nullable) {
        return refuse(&p, "an expression that may match nothing is not supported");
    }
    status = status ? status : emit(&p, p.n_code, SPLIT_MATCH, 0, 0);
    *n = p.n_code;
    return status;
}
