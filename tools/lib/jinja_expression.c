/* jinja_expression.c - the text of an expression -> a tree, by Jinja's precedence. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/jinja_syntax.h"

/* ---- Signs and names ------------------------------------------------------------------------- */

void parser_fail(parser *p, const char *format, ...)
{
    char text[JINJA_WHY - 32];
    size_t line = 1;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (size_t i = 0; i < p->pos && i < p->n; i++) {
        line += p->text[i] == '\n';
    }
    jinja_fail(&p->fault, "line %zu: %s", line, text);
    p->pos = p->n;
}

bool parser_deeper(parser *p)
{
    if (p->depth == JINJA_MAX_DEPTH) {
        parser_fail(p, "nested too deeply");
        return false;
    }
    p->depth++;
    return true;
}

jinja_node *parser_node(parser *p, node_kind kind)
{
    jinja_node *node = (jinja_node *)jinja_alloc(p->arena, &p->fault, sizeof *node);
    if (!node) {
        p->pos = p->n;
        memset(&p->spare, 0, sizeof p->spare);
        node = &p->spare;
    }
    node->kind = kind;
    return node;
}

static void skip_blank(parser *p)
{
    while (p->pos < p->n && (p->text[p->pos] == ' ' || (unsigned char)(p->text[p->pos] - 9) < 5)) {
        p->pos++;
    }
}

static bool name_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}

/* The name at pos, of length 0 if there is none; pos stays. */
static jinja_value peek_name(parser *p)
{
    skip_blank(p);
    size_t n = 0;
    while (p->pos + n < p->n && name_char(p->text[p->pos + n], n == 0)) {
        n++;
    }
    return jinja_string(p->text + p->pos, n);
}

jinja_value parser_name(parser *p)
{
    jinja_value name = peek_name(p);
    if (name.n == 0) {
        parser_fail(p, "a name is missing");
    }
    p->pos += name.n;
    return name;
}

bool parser_accept_name(parser *p, const char *name)
{
    jinja_value found = peek_name(p);
    if (!jinja_is(found, name)) {
        return false;
    }
    p->pos += found.n;
    return true;
}

/* The sign at pos is exactly this one, not the beginning of a longer one or of the tag's end. */
static bool at_sign(parser *p, const char *sign)
{
    skip_blank(p);
    size_t n = strlen(sign);
    const char *at = p->text + p->pos;
    if (strncmp(at, sign, n) != 0) {
        return false;
    }
    char c = at[0], next = at[n];
    if (n == 1 && (c == '-' || c == '+' || c == '%') &&
        ((next == '%' && at[n + 1] == '}') || (next == '}' && (c == '%' || at[n + 1] == '}')))) {
        return false;
    }
    return !(n == 1 && strchr("=<>!", c) && next == '=') && !(n == 1 && c == '/' && next == '/') &&
           !(n == 1 && c == '*' && next == '*');
}

bool parser_accept(parser *p, const char *sign)
{
    if (p->fault.status != JINJA_OK || !at_sign(p, sign)) {
        return false;
    }
    p->pos += strlen(sign);
    return true;
}

void parser_expect(parser *p, const char *sign)
{
    if (!parser_accept(p, sign)) {
        parser_fail(p, "'%s' is missing", sign);
    }
}

void parser_end(parser *p, const char *sign)
{
    skip_blank(p);
    bool dash = p->text[p->pos] == '-';
    size_t at = p->pos + (dash || p->text[p->pos] == '+');
    if (p->fault.status != JINJA_OK || at >= p->n || strncmp(p->text + at, sign, 2) != 0) {
        parser_fail(p, "'%s' is missing", sign);
        return;
    }
    parser_tag_ended(p, at + 2, dash, sign[0] == '}');
}

/* ---- Primaries ------------------------------------------------------------------------------- */

static jinja_node *string_literal(parser *p)
{
    char quote = p->text[p->pos++];
    jinja_node *node = parser_node(p, N_CONST);
    size_t end = p->pos, n = 0;
    while (end < p->n && p->text[end] != quote) {
        end += p->text[end] == '\\' ? 2 : 1;
    }
    if (end >= p->n) {
        parser_fail(p, "a string is not closed");
        return node;
    }
    char *text = (char *)jinja_alloc(p->arena, &p->fault, end - p->pos + 1);
    for (size_t i = p->pos; text && i < end; i++) {
        static const char from[] = "nrt\\'\"\n", to[] = "\n\r\t\\'\"";
        const char *found = p->text[i] == '\\' ? strchr(from, p->text[i + 1]) : NULL;
        if (p->text[i] == '\\' && !found) {
            parser_fail(p, "the escape '\\%c' is not supported", p->text[i + 1]);
            return node;
        }
        if (found && *found != '\n') {
            text[n++] = to[found - from];
        } else if (!found) {
            text[n++] = p->text[i];
        }
        i += found != NULL;
    }
    node->value = jinja_string(text ? text : "", text ? n : 0);
    p->pos = end + 1;
    return node;
}

static jinja_node *number(parser *p)
{
    jinja_node *node = parser_node(p, N_CONST);
    int64_t value = 0;
    while (p->pos < p->n && p->text[p->pos] >= '0' && p->text[p->pos] <= '9') {
        value = value * 10 + (p->text[p->pos++] - '0');
        if (value > INT32_MAX) {
            parser_fail(p, "a number is too large");
        }
    }
    if (p->pos < p->n && (p->text[p->pos] == '.' || name_char(p->text[p->pos], true))) {
        parser_fail(p, "only whole numbers are supported");
    }
    node->value = jinja_int(value);
    return node;
}

/* Items up to a closing sign. */
static jinja_node *items(parser *p, const char *close, jinja_node *first)
{
    jinja_node *list = parser_node(p, N_LIST), **tail = &list->list;
    if (first) {
        *tail = first;
        tail = &first->next;
    }
    while (p->fault.status == JINJA_OK && !parser_accept(p, close)) {
        *tail = parser_expression(p, true);
        tail = &(*tail)->next;
        if (!parser_accept(p, ",")) {
            parser_expect(p, close);
            break;
        }
    }
    return list;
}

static jinja_node *parenthesis(parser *p)
{
    if (parser_accept(p, ")")) {
        return parser_node(p, N_LIST);
    }
    jinja_node *node = parser_expression(p, true);
    if (parser_accept(p, ",")) {
        return items(p, ")", node);
    }
    parser_expect(p, ")");
    return node;
}

static jinja_node *dictionary(parser *p)
{
    jinja_node *dict = parser_node(p, N_DICT), **tail = &dict->list;
    while (p->fault.status == JINJA_OK && !parser_accept(p, "}")) {
        jinja_node *entry = parser_node(p, N_KEYWORD);
        entry->b = parser_expression(p, true);
        parser_expect(p, ":");
        entry->a = parser_expression(p, true);
        *tail = entry;
        tail = &entry->next;
        if (!parser_accept(p, ",")) {
            parser_expect(p, "}");
            break;
        }
    }
    return dict;
}

static jinja_node *name_or_constant(parser *p)
{
    static const struct {
        const char *name;
        jinja_kind kind;
        int value;
    } constants[] = {{"true", V_BOOL, 1},  {"True", V_BOOL, 1}, {"false", V_BOOL, 0},
                     {"False", V_BOOL, 0}, {"none", V_NONE, 0}, {"None", V_NONE, 0}};
    jinja_value name = parser_name(p);
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
        if (jinja_is(name, constants[i].name)) {
            jinja_node *node = parser_node(p, N_CONST);
            node->value = jinja_int(constants[i].value);
            node->value.kind = constants[i].kind;
            return node;
        }
    }
    jinja_node *node = parser_node(p, N_NAME);
    node->value = name;
    return node;
}

static jinja_node *primary(parser *p)
{
    skip_blank(p);
    char c = p->text[p->pos];
    if (c == '\'' || c == '"') {
        jinja_node *node = string_literal(p);
        for (skip_blank(p); p->text[p->pos] == '\'' || p->text[p->pos] == '"'; skip_blank(p)) {
            parser_fail(p, "strings side by side are not supported");
        }
        return node;
    }
    if (c >= '0' && c <= '9') {
        return number(p);
    }
    return parser_accept(p, "(")   ? parenthesis(p)
           : parser_accept(p, "[") ? items(p, "]", NULL)
           : parser_accept(p, "{") ? dictionary(p)
                                   : name_or_constant(p);
}

/* ---- What follows a primary ------------------------------------------------------------------ */

static jinja_node *arguments(parser *p)
{
    jinja_node *first = NULL, **tail = &first;
    while (p->fault.status == JINJA_OK && !parser_accept(p, ")")) {
        size_t pos = p->pos;
        jinja_value name = peek_name(p);
        p->pos += name.n;
        if (name.n != 0 && parser_accept(p, "=")) {
            *tail = parser_node(p, N_KEYWORD);
            (*tail)->value = name;
            (*tail)->a = parser_expression(p, true);
        } else {
            p->pos = pos;
            *tail = parser_expression(p, true);
        }
        tail = &(*tail)->next;
        if (!parser_accept(p, ",")) {
            parser_expect(p, ")");
            break;
        }
    }
    return first;
}

static jinja_node *subscript(parser *p, jinja_node *object)
{
    jinja_node *part[3] = {NULL, NULL, NULL};
    int n = 0;
    bool is_slice = false;
    while (p->fault.status == JINJA_OK && !at_sign(p, "]")) {
        if (!at_sign(p, ":")) {
            part[n] = parser_expression(p, true);
        }
        if (!parser_accept(p, ":") || n == 2) {
            break;
        }
        is_slice = true;
        n++;
    }
    parser_expect(p, "]");
    jinja_node *node = parser_node(p, is_slice ? N_SLICE : N_ITEM);
    node->a = object;
    node->b = part[0];
    node->c = part[1];
    node->d = part[2];
    if (!is_slice && !part[0]) {
        parser_fail(p, "an index is missing");
    }
    return node;
}

static jinja_node *postfix(parser *p, jinja_node *node)
{
    while (p->fault.status == JINJA_OK) {
        jinja_node *inner = node;
        if (parser_accept(p, ".")) {
            node = parser_node(p, N_ATTRIBUTE);
            node->value = parser_name(p);
        } else if (parser_accept(p, "[")) {
            node = subscript(p, inner);
        } else if (parser_accept(p, "(")) {
            node = parser_node(p, N_CALL);
            node->list = arguments(p);
        } else {
            break;
        }
        node->a = inner;
    }
    return node;
}

/* "is [not] NAME [argument]". */
static jinja_node *test(parser *p, jinja_node *subject)
{
    bool negated = parser_accept_name(p, "not");
    jinja_node *node = parser_node(p, N_TEST);
    node->a = subject;
    node->value = parser_name(p);
    jinja_value next = peek_name(p);
    char c = p->text[p->pos];
    if (parser_accept(p, "(")) {
        node->list = arguments(p);
    } else if (c == '\'' || c == '"' || c == '[' || (c >= '0' && c <= '9') ||
               (next.n != 0 && !jinja_is(next, "and") && !jinja_is(next, "or") &&
                !jinja_is(next, "else") && !jinja_is(next, "if") && !jinja_is(next, "is") &&
                !jinja_is(next, "in") && !jinja_is(next, "not"))) {
        node->list = postfix(p, primary(p));
    }
    if (!negated) {
        return node;
    }
    jinja_node *not_node = parser_node(p, N_NOT);
    not_node->a = node;
    return not_node;
}

static jinja_node *filters(parser *p, jinja_node *node)
{
    while (p->fault.status == JINJA_OK) {
        jinja_node *inner = node;
        if (parser_accept(p, "|")) {
            node = parser_node(p, N_FILTER);
            node->a = inner;
            node->value = parser_name(p);
            node->list = parser_accept(p, "(") ? arguments(p) : NULL;
        } else if (parser_accept_name(p, "is")) {
            node = test(p, inner);
        } else {
            break;
        }
    }
    return node;
}

/* ---- Operators ------------------------------------------------------------------------------- */

static jinja_node *unary(parser *p, bool with_filters)
{
    jinja_node *node;
    if (!parser_deeper(p)) {
        return parser_node(p, N_CONST);
    }
    if (parser_accept(p, "-")) {
        node = parser_node(p, N_NEGATIVE);
        node->a = unary(p, false);
    } else {
        node = postfix(p, primary(p));
    }
    p->depth--;
    return with_filters ? filters(p, node) : node;
}

static const struct {
    int level;
    const char *sign;
    binary_op op;
} OPERATORS[] = {{3, "*", OP_MUL}, {3, "//", OP_DIV}, {3, "%", OP_MOD}, {2, "~", OP_JOIN},
                 {1, "+", OP_ADD}, {1, "-", OP_SUB},  {0, "==", OP_EQ}, {0, "!=", OP_NE},
                 {0, "<=", OP_LE}, {0, ">=", OP_GE},  {0, "<", OP_LT},  {0, ">", OP_GT}};

static bool accept_operator(parser *p, int level, binary_op *op)
{
    for (size_t i = 0; i < sizeof OPERATORS / sizeof OPERATORS[0]; i++) {
        if (OPERATORS[i].level == level && parser_accept(p, OPERATORS[i].sign)) {
            *op = OPERATORS[i].op;
            return true;
        }
    }
    size_t pos = p->pos;
    if (level == 0 && parser_accept_name(p, "in")) {
        *op = OP_IN;
        return true;
    }
    if (level == 0 && parser_accept_name(p, "not") && parser_accept_name(p, "in")) {
        *op = OP_NOT_IN;
        return true;
    }
    p->pos = p->fault.status == JINJA_OK ? pos : p->pos;
    return false;
}

/* Levels: 0 comparison, 1 sums, 2 "~", 3 products. */
static jinja_node *binary(parser *p, int level)
{
    jinja_node *node = level == 3 ? unary(p, true) : binary(p, level + 1);
    binary_op op;
    bool compared = false;
    while (p->fault.status == JINJA_OK && accept_operator(p, level, &op)) {
        if (level == 0 && compared) {
            parser_fail(p, "chained comparisons are not supported");
        }
        compared = true;
        jinja_node *left = node;
        node = parser_node(p, N_BINARY);
        node->op = op;
        node->a = left;
        node->b = level == 3 ? unary(p, true) : binary(p, level + 1);
    }
    return node;
}

static jinja_node *negation(parser *p)
{
    if (!parser_accept_name(p, "not")) {
        return binary(p, 0);
    }
    jinja_node *node = parser_node(p, N_NOT);
    if (parser_deeper(p)) {
        node->a = negation(p);
        p->depth--;
    }
    return node;
}

static jinja_node *logical(parser *p, bool is_or)
{
    jinja_node *node = is_or ? logical(p, false) : negation(p);
    while (p->fault.status == JINJA_OK && parser_accept_name(p, is_or ? "or" : "and")) {
        jinja_node *left = node;
        node = parser_node(p, is_or ? N_OR : N_AND);
        node->a = left;
        node->b = is_or ? logical(p, false) : negation(p);
    }
    return node;
}

jinja_node *parser_expression(parser *p, bool conditions)
{
    if (!parser_deeper(p)) {
        return parser_node(p, N_CONST);
    }
    jinja_node *node = logical(p, true);
    while (p->fault.status == JINJA_OK && conditions && parser_accept_name(p, "if")) {
        jinja_node *value = node;
        node = parser_node(p, N_IF_ELSE);
        node->b = value;
        node->a = logical(p, true);
        node->c = parser_accept_name(p, "else") ? parser_expression(p, true) : NULL;
    }
    p->depth--;
    return node;
}

jinja_node *parser_tuple(parser *p)
{
    jinja_node *first = parser_expression(p, true), **tail = &first->next;
    if (!at_sign(p, ",")) {
        return first;
    }
    jinja_node *list = parser_node(p, N_LIST);
    list->list = first;
    while (parser_accept(p, ",")) {
        *tail = parser_expression(p, true);
        tail = &(*tail)->next;
    }
    return list;
}
