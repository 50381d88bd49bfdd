/* jinja_run.c - a parsed template and its globals -> text. Every step is counted. */
#include <stdlib.h>
#include <string.h>

#include "lib/jinja_parts.h"

static const jinja_value UNDEFINED = {.kind = V_UNDEFINED};

/* False, with the fault set, once a limit is reached. Pairs with m->depth--. */
static bool step(jinja_machine *m)
{
    if (jinja_failed(m)) {
        return false;
    }
    if (++m->steps > JINJA_MAX_STEPS || m->depth == JINJA_MAX_DEPTH) {
        jinja_fail(&m->fault, m->depth == JINJA_MAX_DEPTH ? "it calls itself too deeply"
                                                          : "it runs for too many steps");
        return false;
    }
    m->depth++;
    return true;
}

/* ---- Names ----------------------------------------------------------------------------------- */

static jinja_value look_up(jinja_machine *m, jinja_value name)
{
    static const char *const functions[] = {"raise_exception", "strftime_now", "range",
                                            "namespace",       "dict",         NULL};
    for (const jinja_scope *s = m->scope; s; s = s->parent) {
        const jinja_value *held = jinja_get(&s->names, name.text, name.n);
        if (held) {
            return *held;
        }
    }
    for (size_t i = 0; functions[i]; i++) {
        if (jinja_is(name, functions[i])) {
            return (jinja_value){.kind = V_FUNCTION, .text = name.text, .n = name.n};
        }
    }
    m->missing = name;
    return UNDEFINED;
}

static jinja_scope *open_scope(jinja_machine *m, jinja_scope *parent)
{
    jinja_scope *scope = (jinja_scope *)jinja_alloc(&m->arena, &m->fault, sizeof *scope);
    if (scope) {
        scope->parent = parent;
    }
    return scope;
}

/* ---- Expressions ----------------------------------------------------------------------------- */

static jinja_args arguments(jinja_machine *m, const jinja_node *node)
{
    jinja_args args = {0};
    for (; node && !jinja_failed(m); node = node->next) {
        if (node->kind == N_KEYWORD) {
            jinja_set(m, &args.named, node->value, jinja_eval(m, node->a));
        } else {
            jinja_push(m, &args.values, jinja_eval(m, node));
        }
    }
    return args;
}

static jinja_value call(jinja_machine *m, const jinja_node *node)
{
    const jinja_node *callee = node->a;
    if (callee->kind == N_ATTRIBUTE) {
        jinja_value object = jinja_eval(m, callee->a);
        jinja_args args = arguments(m, node->list);
        if (object.kind == V_UNDEFINED) {
            return jinja_attribute(m, object, callee->value); /* says so */
        }
        return jinja_failed(m) ? UNDEFINED : jinja_method(m, object, callee->value, &args);
    }
    jinja_value function = jinja_eval(m, callee);
    jinja_args args = arguments(m, node->list);
    if (jinja_failed(m)) {
        return UNDEFINED;
    }
    if (function.kind == V_MACRO) {
        return jinja_call_macro(m, function.macro, &args);
    }
    if (function.kind != V_FUNCTION) {
        jinja_fail(&m->fault, "something that is no function is called");
        return UNDEFINED;
    }
    return jinja_function(m, jinja_string(function.text, function.n), &args);
}

static bool less(jinja_machine *m, jinja_value a, jinja_value b)
{
    if (a.kind == V_INT && b.kind == V_INT) {
        return a.number < b.number;
    }
    if (a.kind == V_STRING && b.kind == V_STRING) {
        int c = memcmp(a.text, b.text, a.n < b.n ? a.n : b.n);
        return c < 0 || (c == 0 && a.n < b.n);
    }
    jinja_fail(&m->fault, "values of different kinds are ordered");
    return false;
}

static jinja_value arithmetic(jinja_machine *m, binary_op op, jinja_value a, jinja_value b)
{
    if (op == OP_ADD && a.kind == V_STRING && b.kind == V_STRING) {
        return jinja_copy(m, a.text, a.n, b.text, b.n);
    }
    if (op == OP_ADD && a.kind == V_LIST && b.kind == V_LIST) {
        jinja_value sum = jinja_new_list(m);
        for (size_t i = 0; i < a.list->n + b.list->n && !jinja_failed(m); i++) {
            jinja_push(m, sum.list,
                       i < a.list->n ? a.list->items[i] : b.list->items[i - a.list->n]);
        }
        return sum;
    }
    if (a.kind != V_INT || b.kind != V_INT || (b.number == 0 && op >= OP_DIV) ||
        a.number > INT32_MAX || a.number < INT32_MIN || b.number > INT32_MAX ||
        b.number < INT32_MIN) {
        if (a.kind == V_UNDEFINED || b.kind == V_UNDEFINED) {
            jinja_fail(&m->fault, "it adds to something undefined (last: '%.*s')",
                       (int)(m->missing.n < 40 ? m->missing.n : 40),
                       m->missing.n ? m->missing.text : "");
        }
        jinja_fail(&m->fault, "arithmetic with what is no small whole number");
        return UNDEFINED;
    }
    int64_t x = a.number, y = b.number;
    int64_t rest = op >= OP_DIV ? x % y : 0; /* Python's has the divisor's sign */
    rest += op >= OP_DIV && rest != 0 && (rest < 0) != (y < 0) ? y : 0;
    return jinja_int(op == OP_ADD   ? x + y
                     : op == OP_SUB ? x - y
                     : op == OP_MUL ? x * y
                     : op == OP_DIV ? (x - rest) / y
                                    : rest);
}

static jinja_value binary(jinja_machine *m, const jinja_node *node)
{
    jinja_value a = jinja_eval(m, node->a), b = jinja_eval(m, node->b);
    if (jinja_failed(m)) {
        return UNDEFINED;
    }
    jinja_charge(m, (a.kind == V_STRING ? a.n : 0) + (b.kind == V_STRING ? b.n : 0));
    switch (node->op) {
    case OP_JOIN:
        a = jinja_text(m, a);
        b = jinja_text(m, b);
        return jinja_copy(m, a.text, a.n, b.text, b.n);
    case OP_EQ: return jinja_bool(jinja_equal(m, a, b));
    case OP_NE: return jinja_bool(!jinja_equal(m, a, b));
    case OP_LT: return jinja_bool(less(m, a, b));
    case OP_GE: return jinja_bool(!less(m, a, b));
    case OP_GT: return jinja_bool(less(m, b, a));
    case OP_LE: return jinja_bool(!less(m, b, a));
    case OP_IN: return jinja_bool(jinja_contains(m, a, b));
    case OP_NOT_IN: return jinja_bool(!jinja_contains(m, a, b));
    default: return arithmetic(m, node->op, a, b);
    }
}

static jinja_value collection(jinja_machine *m, const jinja_node *node)
{
    jinja_value made = node->kind == N_LIST ? jinja_new_list(m) : jinja_new_dict(m);
    for (const jinja_node *item = node->list; item && !jinja_failed(m); item = item->next) {
        if (node->kind == N_LIST) {
            jinja_push(m, made.list, jinja_eval(m, item));
        } else {
            jinja_value key = jinja_eval(m, item->b);
            jinja_set(m, made.dict, key, jinja_eval(m, item->a));
        }
    }
    return made;
}

static jinja_value slice(jinja_machine *m, const jinja_node *node)
{
    jinja_value whole = jinja_eval(m, node->a), part[3];
    const jinja_node *const nodes[3] = {node->b, node->c, node->d};
    for (int i = 0; i < 3; i++) {
        part[i] = nodes[i] ? jinja_eval(m, nodes[i]) : UNDEFINED;
    }
    return jinja_failed(m) ? UNDEFINED
                           : jinja_slice(m, whole, nodes[0] ? &part[0] : NULL,
                                         nodes[1] ? &part[1] : NULL, nodes[2] ? &part[2] : NULL);
}

static jinja_value compound(jinja_machine *m, const jinja_node *node)
{
    jinja_value a = node->kind == N_IF_ELSE || node->kind == N_CALL || node->kind == N_BINARY ||
                            node->kind == N_SLICE
                        ? UNDEFINED
                        : jinja_eval(m, node->a);
    jinja_args args = {0};
    switch (node->kind) {
    case N_NOT: return jinja_bool(!jinja_truth(a));
    case N_NEGATIVE: return arithmetic(m, OP_SUB, jinja_int(0), a);
    case N_AND: return jinja_truth(a) ? jinja_eval(m, node->b) : a;
    case N_OR: return jinja_truth(a) ? a : jinja_eval(m, node->b);
    case N_IF_ELSE:
        return jinja_truth(jinja_eval(m, node->a)) ? jinja_eval(m, node->b)
               : node->c                           ? jinja_eval(m, node->c)
                                                   : UNDEFINED;
    case N_BINARY: return binary(m, node);
    case N_ATTRIBUTE: return jinja_failed(m) ? UNDEFINED : jinja_attribute(m, a, node->value);
    case N_ITEM: {
        jinja_value key = jinja_eval(m, node->b);
        return jinja_failed(m) ? UNDEFINED : jinja_item(m, a, key);
    }
    case N_SLICE: return slice(m, node);
    case N_CALL: return call(m, node);
    default: /* N_FILTER, N_TEST */
        args = arguments(m, node->list);
        if (jinja_failed(m)) {
            return UNDEFINED;
        }
        return node->kind == N_FILTER ? jinja_filter(m, node->value, a, &args)
                                      : jinja_bool(jinja_test(m, node->value, a, &args));
    }
}

jinja_value jinja_eval(jinja_machine *m, const jinja_node *node)
{
    if (!step(m)) {
        return UNDEFINED;
    }
    jinja_value v = node->kind == N_CONST                          ? node->value
                    : node->kind == N_NAME                         ? look_up(m, node->value)
                    : node->kind == N_LIST || node->kind == N_DICT ? collection(m, node)
                                                                   : compound(m, node);
    m->depth--;
    return v;
}

/* ---- Statements ------------------------------------------------------------------------------ */

static void write_out(jinja_machine *m, jinja_value text)
{
    jinja_buffer *b = &m->out;
    if (jinja_failed(m) || text.n == 0) {
        return;
    }
    if (text.n > JINJA_MAX_OUTPUT - b->n) {
        jinja_fail(&m->fault, "it writes more than %d KiB", JINJA_MAX_OUTPUT >> 10);
        return;
    }
    if (b->n + text.n + 1 > b->capacity) {
        size_t capacity = 2 * (b->n + text.n) + 256;
        char *grown = (char *)realloc(b->text, capacity);
        if (!grown) {
            jinja_fail(&m->fault, "no memory");
            m->fault.status = JINJA_NO_MEMORY;
            return;
        }
        b->text = grown;
        b->capacity = capacity;
    }
    memcpy(b->text + b->n, text.text, text.n);
    b->n += text.n;
}

/* What a body writes, as a value instead. */
static jinja_value captured(jinja_machine *m, const jinja_node *body)
{
    size_t begin = m->out.n;
    jinja_run(m, body);
    jinja_value text = jinja_failed(m) || m->out.n == begin
                           ? jinja_string("", 0)
                           : jinja_copy(m, m->out.text + begin, m->out.n - begin, "", 0);
    m->out.n = begin;
    return text;
}

jinja_value jinja_call_macro(jinja_machine *m, const jinja_macro *macro, const jinja_args *args)
{
    jinja_scope *outer = m->scope, *scope = open_scope(m, macro->scope);
    size_t i = 0;
    if (!scope || !step(m)) {
        return UNDEFINED;
    }
    m->scope = scope;
    for (const jinja_node *p = macro->node->list; p; p = p->next, i++) {
        const jinja_value *by_name = jinja_get(&args->named, p->value.text, p->value.n);
        jinja_value v = by_name              ? *by_name
                        : i < args->values.n ? args->values.items[i]
                        : p->a               ? jinja_eval(m, p->a)
                                             : UNDEFINED;
        jinja_set(m, &scope->names, p->value, v);
    }
    jinja_value text = captured(m, macro->node->b);
    m->scope = outer;
    m->depth--;
    return text;
}

/* One target takes the item; several take its parts. */
static void assign_targets(jinja_machine *m, const jinja_node *targets, jinja_value item)
{
    if (!targets->next) {
        jinja_set(m, &m->scope->names, targets->value, item);
        return;
    }
    const jinja_list *parts = jinja_items(m, item);
    size_t i = 0;
    for (; targets && i < parts->n; targets = targets->next) {
        jinja_set(m, &m->scope->names, targets->value, parts->items[i++]);
    }
    if (targets || i != parts->n) {
        jinja_fail(&m->fault, "a loop takes apart what has another number of parts");
    }
}

static const jinja_list *loop_items(jinja_machine *m, const jinja_node *node)
{
    const jinja_list *all = jinja_items(m, jinja_eval(m, node->a));
    jinja_value kept = jinja_new_list(m);
    for (size_t i = 0; i < all->n && !jinja_failed(m); i++) {
        jinja_scope *outer = m->scope;
        bool keep = true;
        if (node->d && (m->scope = open_scope(m, outer)) != NULL) {
            assign_targets(m, node->list, all->items[i]);
            keep = jinja_truth(jinja_eval(m, node->d));
        }
        m->scope = outer;
        if (keep) { /* a copy, so that a list that grows meanwhile does no harm */
            jinja_push(m, kept.list, all->items[i]);
        }
    }
    return kept.list;
}

static void run_for(jinja_machine *m, const jinja_node *node)
{
    const jinja_list *items = loop_items(m, node);
    jinja_scope *outer = m->scope;
    bool completed = false; /* some round ran to its end: Jinja's measure for `else` */
    for (size_t i = 0; i < items->n && !jinja_failed(m); i++) {
        jinja_loop *loop = (jinja_loop *)jinja_alloc(&m->arena, &m->fault, sizeof *loop);
        jinja_scope *scope = open_scope(m, outer);
        if (!loop || !scope || ++m->steps > JINJA_MAX_STEPS) {
            jinja_fail(&m->fault, "it runs for too many steps");
            break;
        }
        *loop = (jinja_loop){items, i};
        m->scope = scope;
        jinja_set(m, &scope->names, jinja_string("loop", 4),
                  (jinja_value){.kind = V_LOOP, .loop = loop});
        assign_targets(m, node->list, items->items[i]);
        jinja_run(m, node->b);
        bool ended = m->flow == BREAK_LOOP;
        completed = completed || m->flow == GO_ON;
        m->flow = GO_ON;
        if (ended) {
            break;
        }
    }
    m->scope = outer;
    if (!completed) {
        jinja_run(m, node->c);
    }
}

static void run_set(jinja_machine *m, const jinja_node *node)
{
    jinja_value v = node->kind == S_SET ? jinja_eval(m, node->a) : captured(m, node->b);
    if (jinja_failed(m)) {
        return;
    }
    if (!node->list) {
        jinja_set(m, &m->scope->names, node->value, v);
        return;
    }
    jinja_value space = look_up(m, node->value);
    if (space.kind != V_DICT || !space.dict->is_namespace) {
        jinja_fail(&m->fault, "a part of what is no namespace is set");
        return;
    }
    jinja_set(m, space.dict, node->list->value, v);
}

static void run_macro(jinja_machine *m, const jinja_node *node)
{
    jinja_macro *macro = (jinja_macro *)jinja_alloc(&m->arena, &m->fault, sizeof *macro);
    if (macro) {
        macro->node = node;
        macro->scope = m->scope;
        jinja_set(m, &m->scope->names, node->value, (jinja_value){.kind = V_MACRO, .macro = macro});
    }
}

/* A special token that is written out though there is none. */
static void note_missing(jinja_machine *m, const jinja_node *node, jinja_value v)
{
    static const char end[] = "_token";
    size_t n_end = sizeof end - 1, n = node->value.n;
    if (node->kind == N_NAME && v.kind == V_UNDEFINED && n > n_end &&
        n < sizeof m->notes->missing && memcmp(node->value.text + n - n_end, end, n_end) == 0) {
        memcpy(m->notes->missing, node->value.text, n);
        m->notes->missing[n] = 0;
    }
}

static void run_one(jinja_machine *m, const jinja_node *node)
{
    jinja_value v;
    switch (node->kind) {
    case S_TEXT: write_out(m, node->value); break;
    case S_OUTPUT:
        v = jinja_eval(m, node->a);
        note_missing(m, node->a, v);
        write_out(m, jinja_text(m, v));
        break;
    case S_IF: jinja_run(m, jinja_truth(jinja_eval(m, node->a)) ? node->b : node->c); break;
    case S_FOR: run_for(m, node); break;
    case S_SET:
    case S_SET_BLOCK: run_set(m, node); break;
    case S_MACRO: run_macro(m, node); break;
    case S_GROUP: jinja_run(m, node->b); break;
    default: m->flow = node->kind == S_BREAK ? BREAK_LOOP : CONTINUE_LOOP;
    }
}

void jinja_run(jinja_machine *m, const jinja_node *node)
{
    for (; node && m->flow == GO_ON && step(m); node = node->next) {
        run_one(m, node);
        m->depth--;
    }
}

jinja_status jinja_render(const jinja_template *t, json_t *globals, char **out, size_t *n,
                          jinja_notes *notes, char *why)
{
    jinja_machine m = {.fault = {JINJA_OK, why}, .notes = notes};
    jinja_scope top = {0};
    jinja_value all = jinja_from_json(&m, globals);
    if (!jinja_failed(&m)) {
        top.names = *all.dict;
        m.scope = &top;
        jinja_run(&m, t->body);
        if (m.out.n == 0) {
            write_out(&m, jinja_string("\0", 1)); /* so that there is a buffer */
            m.out.n = 0;
        }
    }
    jinja_arena_free(&m.arena);
    if (jinja_failed(&m)) {
        free(m.out.text);
        return m.fault.status;
    }
    m.out.text[m.out.n] = 0;
    *out = m.out.text;
    *n = m.out.n;
    return JINJA_OK;
}
