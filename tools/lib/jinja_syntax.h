/* jinja_syntax.h - what the parsers of statements and of expressions share. */
#ifndef SLM_TOOLS_JINJA_SYNTAX_H
#define SLM_TOOLS_JINJA_SYNTAX_H

#include "lib/jinja_parts.h"

typedef struct parser {
    jinja_arena *arena;
    jinja_fault fault;
    const char *text; /* NUL-terminated, without NUL inside */
    size_t n, pos;
    uint32_t depth, loops;
    bool line_starting; /* what the last tag took ended a line */
    jinja_value word;   /* the name of the last statement */
    jinja_node spare;   /* stands in after a failure, so that callers need not look */
} parser;

void parser_fail(parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool parser_deeper(parser *p); /* p->depth++, or false at the limit, with the fault set */
jinja_node *parser_node(parser *p, node_kind kind); /* never NULL */
jinja_value parser_name(parser *p);
bool parser_accept(parser *p, const char *sign);
bool parser_accept_name(parser *p, const char *name);
void parser_expect(parser *p, const char *sign);
void parser_end(parser *p, const char *sign); /* of a tag */
void parser_tag_ended(parser *p, size_t pos, bool dash, bool is_output);

/* conditions: "a if b else c" may follow. A tuple "a, b" is a list. */
jinja_node *parser_expression(parser *p, bool conditions);
jinja_node *parser_tuple(parser *p);

#endif
