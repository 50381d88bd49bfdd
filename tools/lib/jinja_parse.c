/* jinja_parse.c - the text of a template -> a tree of statements. Expressions: jinja_expression.c.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/jinja_syntax.h"

/* ---- Text between tags ----------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next "{{", "{%" or "{#" at or after pos, or the end. */
static size_t find_tag(const parser *p, size_t pos)
{
    while (pos + 1 < p->n &&
           !(p->text[pos] == '{' && strchr("{%#", p->text[pos + 1]) && p->text[pos + 1])) {
        pos++;
    }
    return pos + 1 < p->n ? pos : p->n;
}

/* How much of text[begin..end) stays in front of the tag at `end`: its own '-' takes all white
 * space, and a statement or comment alone on its line takes what indents it. */
static size_t trimmed_end(const parser *p, size_t begin, size_t end)
{
    char kind = p->text[end + 1], sign = end + 2 < p->n ? p->text[end + 2] : 0;
    size_t cut = end;
    if (sign == '-') {
        while (cut > begin && is_blank(p->text[cut - 1])) {
            cut--;
        }
        return cut;
    }
    if (kind == '{' || sign == '+') {
        return end;
    }
    while (cut > begin && is_blank(p->text[cut - 1]) && p->text[cut - 1] != '\n') {
        cut--;
    }
    bool at_line = cut > begin ? p->text[cut - 1] == '\n' : p->line_starting;
    return at_line ? cut : end;
}

/* Behind a tag, whose end is at pos: '-' takes white space, a statement or comment one newline. */
void parser_tag_ended(parser *p, size_t pos, bool dash, bool is_output)
{
    size_t begin = pos;
    while (dash && pos < p->n && is_blank(p->text[pos])) {
        pos++;
    }
    if (!dash && !is_output && pos < p->n && p->text[pos] == '\n') {
        pos++;
    }
    p->line_starting = pos > begin && p->text[pos - 1] == '\n';
    p->pos = pos;
}

static bool skip_comment(parser *p)
{
    const char *end = strstr(p->text + p->pos + 2, "#}");
    if (!end) {
        parser_fail(p, "a comment is not closed");
        return false;
    }
    parser_tag_ended(p, (size_t)(end - p->text) + 2,
                     end[-1] == '-' && end - 1 > p->text + p->pos + 1, false);
    return true;
}

/* ---- Statements ------------------------------------------------------------------------------ */

static jinja_node *block(parser *p, const char *const *ends);

static void end_tag(parser *p)
{
    parser_end(p, "%}");
}

static jinja_node *parse_if(parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    jinja_node *node = parser_node(p, S_IF);
    node->a = parser_expression(p, true);
    end_tag(p);
    node->b = block(p, ends);
    if (jinja_is(p->word, "elif")) {
        if (parser_deeper(p)) {
            node->c = parse_if(p);
            p->depth--;
        }
        return node; /* the inner one took the endif */
    }
    if (jinja_is(p->word, "else")) {
        end_tag(p);
        node->c = block(p, last);
    }
    end_tag(p);
    return node;
}

static jinja_node *parse_for(parser *p)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    static const char *const last[] = {"endfor", NULL};
    jinja_node *node = parser_node(p, S_FOR), **tail = &node->list;
    do {
        *tail = parser_node(p, N_NAME);
        (*tail)->value = parser_name(p);
        tail = &(*tail)->next;
    } while (parser_accept(p, ",") && p->fault.status == JINJA_OK);
    if (!parser_accept_name(p, "in")) {
        parser_fail(p, "'for' without 'in'");
    }
    node->a = parser_expression(p, false);
    if (parser_accept_name(p, "if")) {
        node->d = parser_expression(p, true);
    }
    end_tag(p);
    p->loops++;
    node->b = block(p, ends);
    p->loops--;
    if (jinja_is(p->word, "else")) {
        end_tag(p);
        node->c = block(p, last);
    }
    end_tag(p);
    return node;
}

static jinja_node *parse_set(parser *p)
{
    static const char *const last[] = {"endset", NULL};
    jinja_node *node = parser_node(p, S_SET);
    node->value = parser_name(p);
    if (parser_accept(p, ".")) { /* of a namespace */
        node->list = parser_node(p, N_NAME);
        node->list->value = parser_name(p);
    }
    if (parser_accept(p, "=")) {
        node->a = parser_tuple(p);
        end_tag(p);
        return node;
    }
    node->kind = S_SET_BLOCK;
    end_tag(p);
    node->b = block(p, last);
    end_tag(p);
    return node;
}

static jinja_node *parse_macro(parser *p)
{
    static const char *const last[] = {"endmacro", NULL};
    jinja_node *node = parser_node(p, S_MACRO), **tail = &node->list;
    uint32_t loops = p->loops;
    node->value = parser_name(p);
    parser_expect(p, "(");
    while (!parser_accept(p, ")") && p->fault.status == JINJA_OK) {
        *tail = parser_node(p, N_KEYWORD);
        (*tail)->value = parser_name(p);
        if (parser_accept(p, "=")) {
            (*tail)->a = parser_expression(p, true);
        }
        tail = &(*tail)->next;
        if (!parser_accept(p, ",")) {
            parser_expect(p, ")");
            break;
        }
    }
    end_tag(p);
    p->loops = 0;
    node->b = block(p, last);
    p->loops = loops;
    end_tag(p);
    return node;
}

static jinja_node *parse_generation(parser *p)
{
    static const char *const last[] = {"endgeneration", NULL};
    jinja_node *node = parser_node(p, S_GROUP);
    end_tag(p);
    node->b = block(p, last);
    end_tag(p);
    return node;
}

/* p->word: the statement's name. */
static jinja_node *statement(parser *p)
{
    static const struct {
        const char *name;
        jinja_node *(*parse)(parser *p);
    } kinds[] = {{"if", parse_if},
                 {"for", parse_for},
                 {"set", parse_set},
                 {"macro", parse_macro},
                 {"generation", parse_generation}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (jinja_is(p->word, kinds[i].name)) {
            return kinds[i].parse(p);
        }
    }
    bool is_break = jinja_is(p->word, "break");
    if (p->loops != 0 && (is_break || jinja_is(p->word, "continue"))) {
        jinja_node *node = parser_node(p, is_break ? S_BREAK : S_CONTINUE);
        end_tag(p);
        return node;
    }
    parser_fail(p, "the statement '%.*s' is not supported here",
                (int)(p->word.n < 40 ? p->word.n : 40), p->word.text);
    return parser_node(p, S_GROUP);
}

static bool is_one_of(jinja_value word, const char *const *ends)
{
    for (; *ends; ends++) {
        if (jinja_is(word, *ends)) {
            return true;
        }
    }
    return false;
}

/* Text up to the next tag, if any of it stays. */
static jinja_node *parse_text(parser *p)
{
    size_t begin = p->pos, tag = find_tag(p, begin);
    size_t end = tag < p->n ? trimmed_end(p, begin, tag) : tag;
    p->pos = tag;
    if (tag > begin) {
        p->line_starting = false; /* of no use before the next tag ends */
    }
    if (end == begin) {
        return NULL;
    }
    jinja_node *node = parser_node(p, S_TEXT);
    node->value = jinja_string(p->text + begin, end - begin);
    return node;
}

/* One tag at p->pos; *done: it was one of ends, whose name is in p->word. */
static jinja_node *parse_tag(parser *p, const char *const *ends, bool *done)
{
    char kind = p->text[p->pos + 1];
    if (kind == '#') {
        skip_comment(p);
        return NULL;
    }
    p->pos += 2;
    p->pos += p->pos < p->n && (p->text[p->pos] == '-' || p->text[p->pos] == '+');
    if (kind == '{') {
        jinja_node *node = parser_node(p, S_OUTPUT);
        node->a = parser_tuple(p);
        parser_end(p, "}}");
        return node;
    }
    p->word = parser_name(p);
    *done = ends && is_one_of(p->word, ends);
    return *done ? NULL : statement(p);
}

/* Statements up to one of ends (NULL: the end of the text). */
static jinja_node *block(parser *p, const char *const *ends)
{
    jinja_node *first = NULL, **tail = &first;
    bool done = false;
    if (!parser_deeper(p)) {
        return NULL;
    }
    while (!done && p->fault.status == JINJA_OK) {
        *tail = parse_text(p);
        tail = *tail ? &(*tail)->next : tail;
        if (p->pos >= p->n) {
            if (ends) {
                parser_fail(p, "the template ends inside a statement that %s would close", *ends);
            }
            break;
        }
        *tail = parse_tag(p, ends, &done);
        tail = *tail ? &(*tail)->next : tail;
    }
    p->depth--;
    return first;
}

/* ---- Entry ----------------------------------------------------------------------------------- */

/* Newlines of all kinds become '\n'; the last one is dropped. */
static char *normalized(const char *text, size_t n, size_t *n_out)
{
    char *copy = (char *)malloc(n + 1);
    size_t w = 0;
    for (size_t i = 0; copy && i < n; i++) {
        if (text[i] == '\r') {
            i += i + 1 < n && text[i + 1] == '\n';
            copy[w++] = '\n';
        } else {
            copy[w++] = text[i];
        }
    }
    if (copy) {
        w -= w != 0 && copy[w - 1] == '\n';
        copy[w] = 0;
        *n_out = w;
    }
    return copy;
}

jinja_status jinja_parse(jinja_template **out, const char *text, size_t n, char *why)
{
    parser p = {.fault = {JINJA_OK, why}, .line_starting = true};
    if (n > JINJA_MAX_TEMPLATE || memchr(text, 0, n)) {
        jinja_fail(&p.fault, n > JINJA_MAX_TEMPLATE ? "it is longer than 1 MiB" : "it has a NUL");
        return p.fault.status;
    }
    jinja_template *t = (jinja_template *)calloc(1, sizeof *t);
    if (!t || !(t->text = normalized(text, n, &t->n))) {
        free(t);
        snprintf(why, JINJA_WHY, "no memory");
        return JINJA_NO_MEMORY;
    }
    p.arena = &t->arena;
    p.text = t->text;
    p.n = t->n;
    t->body = block(&p, NULL);
    if (p.fault.status != JINJA_OK) {
        jinja_destroy(&t);
        return p.fault.status;
    }
    *out = t;
    return JINJA_OK;
}

void jinja_destroy(jinja_template **t)
{
    if (*t) {
        jinja_arena_free(&(*t)->arena);
        free((*t)->text);
        free(*t);
        *t = NULL;
    }
}
