/* jinja_calls.c - the filters, tests, methods and functions that chat templates use. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/jinja_parts.h"

static const jinja_value UNDEFINED = {.kind = V_UNDEFINED};

static jinja_value unsupported(jinja_machine *m, const char *what, jinja_value name)
{
    jinja_fail(&m->fault, "the %s '%.*s' is not supported", what, (int)(name.n < 40 ? name.n : 40),
               name.text);
    return UNDEFINED;
}

static jinja_value argument(const jinja_args *args, size_t i)
{
    return i < args->values.n ? args->values.items[i] : UNDEFINED;
}

/* An argument by name or place. */
static jinja_value named(const jinja_args *args, const char *name, size_t i)
{
    const jinja_value *held = jinja_get(&args->named, name, strlen(name));
    return held ? *held : argument(args, i);
}

/* ---- Strings --------------------------------------------------------------------------------- */

/* Bytes of white space (as Python's str.strip sees it) at p, 0 if there is none. */
static size_t space_bytes(const char *p, size_t n)
{
    const unsigned char *s = (const unsigned char *)p;
    static const char *const wide[] = {"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80",
                                       "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf",
                                       "\xe2\x81\x9f", "\xe3\x80\x80"};
    if (n != 0 && ((s[0] >= 9 && s[0] <= 13) || (s[0] >= 28 && s[0] <= 32))) {
        return 1;
    }
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        size_t k = strlen(wide[i]);
        if (n >= k && memcmp(p, wide[i], k) == 0) {
            return k;
        }
    }
    return n >= 3 && s[0] == 0xe2 && s[1] == 0x80 && s[2] >= 0x80 && s[2] <= 0x8a ? 3 : 0;
}

static size_t strip_left(const char *p, size_t n, jinja_value set)
{
    if (set.kind != V_STRING) {
        return space_bytes(p, n);
    }
    return n != 0 && memchr(set.text, p[0], set.n) ? 1 : 0; /* sets are ASCII */
}

static jinja_value strip(jinja_value v, jinja_value set, bool left, bool right)
{
    size_t k;
    while (left && v.n != 0 && (k = strip_left(v.text, v.n, set)) != 0) {
        v.text += k;
        v.n -= k;
    }
    while (right && v.n != 0) {
        size_t begin = v.n - 1;
        while (begin > 0 && ((unsigned char)v.text[begin] & 0xc0) == 0x80) {
            begin--;
        }
        k = strip_left(v.text + begin, v.n - begin, set);
        if (k == 0 || begin + k != v.n) {
            break;
        }
        v.n = begin;
    }
    return v;
}

/* upper: all to upper case; else lower; only ASCII letters change, others are refused. */
static jinja_value change_case(jinja_machine *m, jinja_value v, bool first_upper, bool upper)
{
    jinja_value copy = jinja_copy(m, v.text, v.n, "", 0);
    char *text = (char *)(uintptr_t)copy.text;
    for (size_t i = 0; i < copy.n && !jinja_failed(m); i++) {
        if ((unsigned char)text[i] >= 0x80) {
            jinja_fail(&m->fault, "changing the case of letters beyond ASCII is not supported");
        }
        bool to_upper = upper || (first_upper && i == 0);
        if (to_upper && text[i] >= 'a' && text[i] <= 'z') {
            text[i] = (char)(text[i] - 32);
        } else if (!to_upper && text[i] >= 'A' && text[i] <= 'Z') {
            text[i] = (char)(text[i] + 32);
        }
    }
    return copy;
}

static jinja_value replace(jinja_machine *m, jinja_value v, jinja_value from, jinja_value to)
{
    jinja_value made = jinja_string("", 0);
    if (from.kind != V_STRING || to.kind != V_STRING || from.n == 0) {
        jinja_fail(&m->fault, "replace takes two strings");
        return made;
    }
    const char *p = v.text, *end = v.text + v.n;
    while (!jinja_failed(m)) {
        const char *at = p < end ? memmem(p, (size_t)(end - p), from.text, from.n) : NULL;
        if (!at) {
            return jinja_copy(m, made.text, made.n, p, (size_t)(end - p));
        }
        made = jinja_copy(m, made.text, made.n, p, (size_t)(at - p));
        made = jinja_copy(m, made.text, made.n, to.text, to.n);
        p = at + from.n;
    }
    return made;
}

static jinja_value split(jinja_machine *m, jinja_value v, const jinja_args *args)
{
    jinja_value parts = jinja_new_list(m), by = argument(args, 0), most = argument(args, 1);
    int64_t left = most.kind == V_INT && most.number >= 0 ? most.number : INT64_MAX;
    if (by.kind != V_STRING || by.n == 0) {
        jinja_fail(&m->fault, "split without a separator is not supported");
        return parts;
    }
    const char *p = v.text, *end = v.text + v.n;
    while (!jinja_failed(m)) {
        const char *at = left-- > 0 && p < end ? memmem(p, (size_t)(end - p), by.text, by.n) : NULL;
        jinja_push(m, parts.list, jinja_string(p, (size_t)((at ? at : end) - p)));
        if (!at) {
            break;
        }
        p = at + by.n;
    }
    return parts;
}

static bool has_end(jinja_machine *m, jinja_value v, jinja_value end, bool front)
{
    if (end.kind == V_LIST) {
        for (size_t i = 0; i < end.list->n; i++) {
            if (has_end(m, v, end.list->items[i], front)) {
                return true;
            }
        }
        return false;
    }
    if (end.kind != V_STRING) {
        jinja_fail(&m->fault, "startswith and endswith take a string");
        return false;
    }
    return end.n <= v.n && memcmp(front ? v.text : v.text + v.n - end.n, end.text, end.n) == 0;
}

static jinja_value string_method(jinja_machine *m, jinja_value v, jinja_value name,
                                 const jinja_args *args)
{
    bool left = jinja_is(name, "lstrip"), right = jinja_is(name, "rstrip");
    if (left || right || jinja_is(name, "strip")) {
        return strip(v, argument(args, 0), !right, !left);
    }
    if (jinja_is(name, "split")) {
        return split(m, v, args);
    }
    if (jinja_is(name, "startswith") || jinja_is(name, "endswith")) {
        return jinja_bool(has_end(m, v, argument(args, 0), name.text[0] == 's'));
    }
    if (jinja_is(name, "replace") && args->values.n == 2) {
        return replace(m, v, argument(args, 0), argument(args, 1));
    }
    if (jinja_is(name, "upper") || jinja_is(name, "lower") || jinja_is(name, "capitalize")) {
        return change_case(m, v, name.text[0] == 'c', name.text[0] == 'u');
    }
    return unsupported(m, "method", name);
}

jinja_value jinja_method(jinja_machine *m, jinja_value v, jinja_value name, const jinja_args *args)
{
    if (v.kind == V_STRING) {
        jinja_charge(m, v.n);
        return string_method(m, v, name, args);
    }
    if (v.kind != V_DICT) {
        return unsupported(m, "method", name);
    }
    if (jinja_is(name, "get")) {
        jinja_value key = argument(args, 0), none = {.kind = V_NONE};
        const jinja_value *held = key.kind == V_STRING ? jinja_get(v.dict, key.text, key.n) : NULL;
        return held ? *held : args->values.n > 1 ? argument(args, 1) : none;
    }
    if (jinja_is(name, "keys") || jinja_is(name, "values")) {
        return (jinja_value){.kind = V_LIST,
                             .list = name.text[0] == 'k' ? &v.dict->keys : &v.dict->values};
    }
    if (jinja_is(name, "items")) {
        jinja_value list = jinja_new_list(m);
        for (size_t i = 0; i < v.dict->keys.n && !jinja_failed(m); i++) {
            jinja_value pair = jinja_new_list(m);
            jinja_push(m, pair.list, v.dict->keys.items[i]);
            jinja_push(m, pair.list, v.dict->values.items[i]);
            jinja_push(m, list.list, pair);
        }
        return list;
    }
    return unsupported(m, "method", name);
}

/* ---- Filters --------------------------------------------------------------------------------- */

static jinja_value join(jinja_machine *m, jinja_value v, jinja_value by)
{
    const jinja_list *items = jinja_items(m, v);
    jinja_value made = jinja_string("", 0);
    for (size_t i = 0; i < items->n && !jinja_failed(m); i++) {
        jinja_value text = jinja_text(m, items->items[i]);
        if (i != 0 && by.kind == V_STRING) {
            made = jinja_copy(m, made.text, made.n, by.text, by.n);
        }
        made = jinja_copy(m, made.text, made.n, text.text, text.n);
    }
    return made;
}

/* selectattr, rejectattr (attribute[, test[, argument]]). */
static jinja_value select_by(jinja_machine *m, jinja_value v, const jinja_args *args, bool reject)
{
    const jinja_list *items = jinja_items(m, v);
    jinja_value made = jinja_new_list(m), test = argument(args, 1);
    jinja_args rest = {0};
    if (argument(args, 0).kind != V_STRING) {
        return unsupported(m, "filter", jinja_string("selectattr", 10));
    }
    for (size_t i = 2; i < args->values.n; i++) {
        jinja_push(m, &rest.values, args->values.items[i]);
    }
    for (size_t i = 0; i < items->n && !jinja_failed(m); i++) {
        jinja_value part = jinja_attribute(m, items->items[i], argument(args, 0));
        bool is = test.kind == V_STRING ? jinja_test(m, test, part, &rest) : jinja_truth(part);
        if (is != reject) {
            jinja_push(m, made.list, items->items[i]);
        }
    }
    return made;
}

static jinja_value map_attribute(jinja_machine *m, jinja_value v, const jinja_args *args)
{
    jinja_value name = named(args, "attribute", 99), made = jinja_new_list(m);
    const jinja_list *items = jinja_items(m, v);
    if (name.kind != V_STRING) {
        return unsupported(m, "filter", jinja_string("map", 3));
    }
    for (size_t i = 0; i < items->n && !jinja_failed(m); i++) {
        jinja_push(m, made.list, jinja_attribute(m, items->items[i], name));
    }
    return made;
}

static jinja_value end_item(jinja_machine *m, jinja_value v, bool first)
{
    const jinja_list *items = jinja_items(m, v);
    return items->n != 0 ? items->items[first ? 0 : items->n - 1] : UNDEFINED;
}

static jinja_value list_filter(jinja_machine *m, jinja_value name, jinja_value v,
                               const jinja_args *args)
{
    static const jinja_value back = {.kind = V_INT, .number = -1};
    if (jinja_is(name, "length") || jinja_is(name, "count")) {
        return jinja_int((int64_t)jinja_items(m, v)->n);
    }
    if (jinja_is(name, "first") || jinja_is(name, "last")) {
        return end_item(m, v, name.text[0] == 'f');
    }
    if (jinja_is(name, "list")) {
        return (jinja_value){.kind = V_LIST, .list = (jinja_list *)(uintptr_t)jinja_items(m, v)};
    }
    if (jinja_is(name, "reverse")) {
        return jinja_slice(m, v, NULL, NULL, &back);
    }
    if (jinja_is(name, "join")) {
        return join(m, v, argument(args, 0));
    }
    if (jinja_is(name, "selectattr") || jinja_is(name, "rejectattr")) {
        return select_by(m, v, args, name.text[0] == 'r');
    }
    if (jinja_is(name, "map")) {
        return map_attribute(m, v, args);
    }
    return unsupported(m, "filter", name);
}

jinja_value jinja_filter(jinja_machine *m, jinja_value name, jinja_value v, const jinja_args *args)
{
    if (jinja_is(name, "default") || jinja_is(name, "d")) {
        bool absent = v.kind == V_UNDEFINED || (jinja_truth(argument(args, 1)) && !jinja_truth(v));
        return absent ? argument(args, 0) : v;
    }
    if (jinja_is(name, "safe")) {
        return v;
    }
    if (jinja_is(name, "string")) {
        return jinja_text(m, v);
    }
    if (jinja_is(name, "int") && (v.kind == V_INT || v.kind == V_BOOL)) {
        return jinja_int(v.number);
    }
    if (jinja_is(name, "items") && v.kind == V_DICT) {
        return jinja_method(m, v, name, args);
    }
    bool of_text = jinja_is(name, "trim") || jinja_is(name, "upper") || jinja_is(name, "lower") ||
                   jinja_is(name, "capitalize") || jinja_is(name, "replace");
    if (!of_text) {
        return list_filter(m, name, v, args);
    }
    v = jinja_text(m, v);
    jinja_charge(m, v.n);
    return jinja_is(name, "trim") ? strip(v, argument(args, 0), true, true)
                                  : string_method(m, v, name, args);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

bool jinja_test(jinja_machine *m, jinja_value name, jinja_value v, const jinja_args *args)
{
    bool number = v.kind == V_INT;
    const struct {
        const char *name;
        bool is;
    } plain[] = {{"defined", v.kind != V_UNDEFINED},
                 {"undefined", v.kind == V_UNDEFINED},
                 {"none", v.kind == V_NONE},
                 {"string", v.kind == V_STRING},
                 {"mapping", v.kind == V_DICT && !v.dict->is_namespace},
                 {"sequence", v.kind == V_STRING || v.kind == V_LIST || v.kind == V_DICT},
                 {"iterable", v.kind == V_STRING || v.kind == V_LIST || v.kind == V_DICT ||
                                  v.kind == V_UNDEFINED},
                 {"number", number || v.kind == V_BOOL},
                 {"integer", number},
                 {"boolean", v.kind == V_BOOL},
                 {"true", v.kind == V_BOOL && v.number},
                 {"false", v.kind == V_BOOL && !v.number},
                 {"odd", number && v.number % 2 != 0},
                 {"even", number && v.number % 2 == 0}};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (jinja_is(name, plain[i].name)) {
            return plain[i].is;
        }
    }
    jinja_value other = argument(args, 0);
    if (jinja_is(name, "equalto") || jinja_is(name, "eq") || jinja_is(name, "==")) {
        return jinja_equal(m, v, other);
    }
    if (jinja_is(name, "ne") || jinja_is(name, "!=")) {
        return !jinja_equal(m, v, other);
    }
    if (jinja_is(name, "in")) {
        return jinja_contains(m, v, other);
    }
    if (jinja_is(name, "divisibleby") && number && other.kind == V_INT && other.number != 0) {
        return v.number % other.number == 0;
    }
    unsupported(m, "test", name);
    return false;
}

/* ---- Functions ------------------------------------------------------------------------------- */

static jinja_value date(jinja_machine *m, jinja_value format)
{
    struct tm day = {.tm_mday = 26, .tm_mon = 6, .tm_year = 124, .tm_wday = 5, .tm_yday = 207};
    char copy[64], text[256];
    m->notes->used_date = true;
    if (format.kind != V_STRING || format.n >= sizeof copy) {
        return unsupported(m, "format of", jinja_string("strftime_now", 12));
    }
    memcpy(copy, format.text, format.n);
    copy[format.n] = 0;
    return jinja_copy(m, text, strftime(text, sizeof text, copy, &day), "", 0);
}

static jinja_value range(jinja_machine *m, const jinja_args *args)
{
    jinja_value list = jinja_new_list(m), a = argument(args, 0), b = argument(args, 1);
    bool one = args->values.n == 1;
    if (a.kind != V_INT || (!one && b.kind != V_INT) || args->values.n > 2) {
        return unsupported(m, "call of", jinja_string("range", 5));
    }
    for (int64_t i = one ? 0 : a.number; i < (one ? a.number : b.number) && !jinja_failed(m); i++) {
        jinja_push(m, list.list, jinja_int(i));
    }
    return list;
}

jinja_value jinja_function(jinja_machine *m, jinja_value name, const jinja_args *args)
{
    if (jinja_is(name, "raise_exception")) {
        jinja_value text = argument(args, 0);
        jinja_fail(&m->fault, "%.*s",
                   text.kind == V_STRING ? (int)(text.n < 100 ? text.n : 100) : 0,
                   text.kind == V_STRING ? text.text : "");
        m->fault.status = m->fault.status == JINJA_REFUSED ? JINJA_RAISED : m->fault.status;
        return UNDEFINED;
    }
    if (jinja_is(name, "strftime_now")) {
        return date(m, argument(args, 0));
    }
    if (jinja_is(name, "range")) {
        return range(m, args);
    }
    if (jinja_is(name, "namespace") || jinja_is(name, "dict")) {
        jinja_value made = jinja_new_dict(m);
        made.dict->is_namespace = !jinja_failed(m) && name.text[0] == 'n';
        for (size_t i = 0; i < args->named.keys.n && !jinja_failed(m); i++) {
            jinja_set(m, made.dict, args->named.keys.items[i], args->named.values.items[i]);
        }
        return made;
    }
    return unsupported(m, "function", name);
}
