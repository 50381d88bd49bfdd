/* jinja_parts.h - what the files of the template renderer share: the tree, values, the machine. */
#ifndef SLM_TOOLS_JINJA_PARTS_H
#define SLM_TOOLS_JINJA_PARTS_H

#include <stdint.h>

#include "lib/jinja.h"

/* ---- Memory: freed all at once --------------------------------------------------------------- */

typedef struct jinja_arena {
    struct jinja_chunk *chunks;
    size_t used, room, total;
} jinja_arena;

/* What fails first stays: everything after it does nothing. */
typedef struct jinja_fault {
    jinja_status status;
    char *why;
} jinja_fault;

void *jinja_alloc(jinja_arena *a, jinja_fault *e, size_t n); /* zeroed; NULL: fault set */
void jinja_arena_free(jinja_arena *a);
void jinja_fail(jinja_fault *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- Values ---------------------------------------------------------------------------------- */

typedef enum jinja_kind {
    V_UNDEFINED,
    V_NONE,
    V_BOOL,
    V_INT,
    V_STRING,
    V_LIST,
    V_DICT,
    V_LOOP,
    V_MACRO,
    V_FUNCTION /* of the name `text` */
} jinja_kind;

typedef struct jinja_value {
    jinja_kind kind;
    size_t n; /* bytes of text */
    union {
        int64_t number;
        const char *text;
        struct jinja_list *list;
        struct jinja_dict *dict;
        struct jinja_loop *loop;
        const struct jinja_macro *macro;
    };
} jinja_value;

typedef struct jinja_list {
    jinja_value *items;
    size_t n, capacity;
} jinja_list;

typedef struct jinja_dict {
    jinja_list keys, values;
    bool is_namespace;
} jinja_dict;

typedef struct jinja_loop {
    const jinja_list *items;
    size_t index;
} jinja_loop;

/* ---- Tree ------------------------------------------------------------------------------------ */

typedef enum node_kind {
    N_CONST,
    N_NAME,
    N_LIST,
    N_DICT,
    N_NOT,
    N_NEGATIVE,
    N_AND,
    N_OR,
    N_IF_ELSE,
    N_BINARY,
    N_ATTRIBUTE,
    N_ITEM,
    N_SLICE,
    N_CALL,
    N_FILTER,
    N_TEST,
    N_KEYWORD, /* name=value, of a call */
    S_TEXT,
    S_OUTPUT,
    S_IF,
    S_FOR,
    S_SET,
    S_SET_BLOCK,
    S_MACRO,
    S_BREAK,
    S_CONTINUE,
    S_GROUP
} node_kind;

typedef enum binary_op {
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MOD,
    OP_JOIN,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_NOT_IN
} binary_op;

/* Children: of an expression, operands; list items, arguments and statements are chained by next.
 * S_IF: a condition, b body, c else. S_FOR: list targets, a iterable, d filter, b body, c else. */
typedef struct jinja_node {
    node_kind kind;
    binary_op op;
    struct jinja_node *a, *b, *c, *d, *list, *next;
    jinja_value value; /* of N_CONST, S_TEXT; a name as V_STRING */
} jinja_node;

typedef struct jinja_macro {
    const jinja_node *node;
    struct jinja_scope *scope; /* where it was defined */
} jinja_macro;

struct jinja_template {
    jinja_arena arena;
    char *text;
    size_t n;
    jinja_node *body;
};

/* ---- The machine ----------------------------------------------------------------------------- */

typedef struct jinja_scope {
    jinja_dict names;
    struct jinja_scope *parent;
} jinja_scope;

typedef struct jinja_buffer {
    char *text; /* malloc'd */
    size_t n, capacity;
} jinja_buffer;

typedef struct jinja_machine {
    jinja_arena arena;
    jinja_fault fault;
    jinja_scope *scope;
    jinja_buffer out;
    uint32_t steps, depth;
    enum { GO_ON, BREAK_LOOP, CONTINUE_LOOP } flow;
    jinja_notes *notes;
    jinja_value missing; /* the last name that was not defined */
} jinja_machine;

/* Arguments of a call. */
typedef struct jinja_args {
    jinja_list values;
    jinja_dict named;
} jinja_args;

static inline bool jinja_failed(const jinja_machine *m)
{
    return m->fault.status != JINJA_OK;
}

/* Work on long text counts as so many more steps. */
static inline void jinja_charge(jinja_machine *m, size_t n_bytes)
{
    m->steps += (uint32_t)(n_bytes >> 6);
}

bool jinja_is(jinja_value v, const char *text); /* a string equal to text */
bool jinja_truth(jinja_value v);
bool jinja_equal(jinja_machine *m, jinja_value a, jinja_value b);
bool jinja_contains(jinja_machine *m, jinja_value needle, jinja_value all);
jinja_value jinja_bool(bool b);
jinja_value jinja_int(int64_t n);
jinja_value jinja_string(const char *text, size_t n); /* borrows */
jinja_value jinja_copy(jinja_machine *m, const char *a, size_t n_a, const char *b, size_t n_b);
jinja_value jinja_new_list(jinja_machine *m);
jinja_value jinja_new_dict(jinja_machine *m);
void jinja_push(jinja_machine *m, jinja_list *list, jinja_value v);
void jinja_set(jinja_machine *m, jinja_dict *dict, jinja_value key, jinja_value v);
jinja_value *jinja_get(const jinja_dict *dict, const char *text, size_t n);
/* A value as text; values whose text Python would write with quotes and braces are refused. */
jinja_value jinja_text(jinja_machine *m, jinja_value v);
/* What a `for` goes over: items, keys, characters. */
const jinja_list *jinja_items(jinja_machine *m, jinja_value v);
jinja_value jinja_from_json(jinja_machine *m, const json_t *json);

jinja_value jinja_attribute(jinja_machine *m, jinja_value v, jinja_value name);
jinja_value jinja_item(jinja_machine *m, jinja_value v, jinja_value key);
jinja_value jinja_slice(jinja_machine *m, jinja_value v, const jinja_value *from,
                        const jinja_value *to, const jinja_value *step);

jinja_value jinja_filter(jinja_machine *m, jinja_value name, jinja_value v, const jinja_args *args);
bool jinja_test(jinja_machine *m, jinja_value name, jinja_value v, const jinja_args *args);
jinja_value jinja_method(jinja_machine *m, jinja_value object, jinja_value name,
                         const jinja_args *args);
jinja_value jinja_function(jinja_machine *m, jinja_value name, const jinja_args *args);

jinja_value jinja_eval(jinja_machine *m, const jinja_node *node);
void jinja_run(jinja_machine *m, const jinja_node *node);
jinja_value jinja_call_macro(jinja_machine *m, const jinja_macro *macro, const jinja_args *args);

#endif
