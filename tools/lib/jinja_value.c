/* jinja_value.c - values of the template renderer: memory, comparison, text, items and parts. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/jinja_parts.h"

/* ---- Memory ---------------------------------------------------------------------------------- */

struct jinja_chunk {
    struct jinja_chunk *next;
    max_align_t bytes[];
};

enum { CHUNK = 1 << 14 };

void jinja_fail(jinja_fault *e, const char *format, ...)
{
    if (e->status == JINJA_OK) {
        va_list args;
        va_start(args, format);
        vsnprintf(e->why, JINJA_WHY, format, args);
        va_end(args);
        e->status = JINJA_REFUSED;
    }
}

void *jinja_alloc(jinja_arena *a, jinja_fault *e, size_t n)
{
    n = (n + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
    if (e->status != JINJA_OK) {
        return NULL;
    }
    if (n > JINJA_MAX_MEMORY || a->total + n > JINJA_MAX_MEMORY) {
        jinja_fail(e, "it takes more than %d MiB of memory", JINJA_MAX_MEMORY >> 20);
        return NULL;
    }
    if (!a->chunks || n > a->room - a->used) {
        size_t room = n > CHUNK ? n : CHUNK;
        struct jinja_chunk *chunk = (struct jinja_chunk *)calloc(1, sizeof *chunk + room);
        if (!chunk) {
            jinja_fail(e, "no memory");
            e->status = JINJA_NO_MEMORY;
            return NULL;
        }
        chunk->next = a->chunks;
        a->chunks = chunk;
        a->used = 0;
        a->room = room;
    }
    void *at = (char *)a->chunks->bytes + a->used;
    a->used += n;
    a->total += n;
    return at;
}

void jinja_arena_free(jinja_arena *a)
{
    while (a->chunks) {
        struct jinja_chunk *next = a->chunks->next;
        free(a->chunks);
        a->chunks = next;
    }
}

/* ---- Making values --------------------------------------------------------------------------- */

jinja_value jinja_bool(bool b)
{
    return (jinja_value){.kind = V_BOOL, .number = b};
}

jinja_value jinja_int(int64_t n)
{
    return (jinja_value){.kind = V_INT, .number = n};
}

jinja_value jinja_string(const char *text, size_t n)
{
    return (jinja_value){.kind = V_STRING, .n = n, .text = text};
}

jinja_value jinja_copy(jinja_machine *m, const char *a, size_t n_a, const char *b, size_t n_b)
{
    char *text = (char *)jinja_alloc(&m->arena, &m->fault, n_a + n_b + 1);
    if (!text) {
        return jinja_string("", 0);
    }
    memcpy(text, a, n_a);
    memcpy(text + n_a, b, n_b);
    return jinja_string(text, n_a + n_b);
}

jinja_value jinja_new_list(jinja_machine *m)
{
    static jinja_list none;
    jinja_list *list = (jinja_list *)jinja_alloc(&m->arena, &m->fault, sizeof *list);
    return (jinja_value){.kind = V_LIST, .list = list ? list : &none};
}

jinja_value jinja_new_dict(jinja_machine *m)
{
    static jinja_dict none;
    jinja_dict *dict = (jinja_dict *)jinja_alloc(&m->arena, &m->fault, sizeof *dict);
    return (jinja_value){.kind = V_DICT, .dict = dict ? dict : &none};
}

void jinja_push(jinja_machine *m, jinja_list *list, jinja_value v)
{
    if (jinja_failed(m)) {
        return;
    }
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 8;
        jinja_value *grown =
            (jinja_value *)jinja_alloc(&m->arena, &m->fault, capacity * sizeof *grown);
        if (!grown) {
            return;
        }
        if (list->n != 0) {
            memcpy(grown, list->items, list->n * sizeof *grown);
        }
        list->items = grown;
        list->capacity = capacity;
    }
    list->items[list->n++] = v;
}

jinja_value *jinja_get(const jinja_dict *dict, const char *text, size_t n)
{
    for (size_t i = 0; i < dict->keys.n; i++) {
        const jinja_value *key = &dict->keys.items[i];
        if (key->n == n && memcmp(key->text, text, n) == 0) {
            return &dict->values.items[i];
        }
    }
    return NULL;
}

void jinja_set(jinja_machine *m, jinja_dict *dict, jinja_value key, jinja_value v)
{
    if (key.kind != V_STRING) {
        jinja_fail(&m->fault, "a key is not a string");
        return;
    }
    jinja_value *held = jinja_get(dict, key.text, key.n);
    if (held) {
        *held = v;
    } else {
        jinja_push(m, &dict->values, v); /* first: a key without a value would be read */
        jinja_push(m, &dict->keys, key);
    }
}

jinja_value jinja_from_json(jinja_machine *m, const json_t *json)
{
    jinja_value v = {.kind = V_NONE};
    if (json_is_string(json)) {
        return jinja_copy(m, json_string_value(json), json_string_length(json), "", 0);
    }
    if (json_is_boolean(json)) {
        return jinja_bool(json_is_true(json));
    }
    if (json_is_integer(json)) {
        return jinja_int(json_integer_value(json));
    }
    if (json_is_array(json)) {
        v = jinja_new_list(m);
        for (size_t i = 0; i < json_array_size(json) && !jinja_failed(m); i++) {
            jinja_push(m, v.list, jinja_from_json(m, json_array_get(json, i)));
        }
    } else if (json_is_object(json)) {
        const char *key;
        json_t *item;
        v = jinja_new_dict(m);
        json_object_foreach((json_t *)(uintptr_t)json, key, item)
        {
            jinja_value name = jinja_copy(m, key, strlen(key), "", 0);
            jinja_set(m, v.dict, name, jinja_from_json(m, item));
        }
    }
    return v;
}

/* ---- Questions ------------------------------------------------------------------------------- */

bool jinja_is(jinja_value v, const char *text)
{
    return v.kind == V_STRING && v.n == strlen(text) && memcmp(v.text, text, v.n) == 0;
}

bool jinja_truth(jinja_value v)
{
    switch (v.kind) {
    case V_UNDEFINED:
    case V_NONE: return false;
    case V_BOOL:
    case V_INT: return v.number != 0;
    case V_STRING: return v.n != 0;
    case V_LIST: return v.list->n != 0;
    case V_DICT: return v.dict->is_namespace || v.dict->keys.n != 0;
    default: return true;
    }
}

bool jinja_equal(jinja_machine *m, jinja_value a, jinja_value b)
{
    bool numbers = (a.kind == V_BOOL || a.kind == V_INT) && (b.kind == V_BOOL || b.kind == V_INT);
    if (a.kind != b.kind && !numbers) {
        return false;
    }
    switch (a.kind) {
    case V_UNDEFINED:
    case V_NONE: return true;
    case V_BOOL:
    case V_INT: return a.number == b.number;
    case V_STRING: return a.n == b.n && memcmp(a.text, b.text, a.n) == 0;
    default: jinja_fail(&m->fault, "comparing lists and objects is not supported"); return false;
    }
}

bool jinja_contains(jinja_machine *m, jinja_value needle, jinja_value all)
{
    if (all.kind == V_STRING && needle.kind == V_STRING) {
        return needle.n == 0 || memmem(all.text, all.n, needle.text, needle.n) != NULL;
    }
    if (all.kind == V_DICT) {
        return needle.kind == V_STRING && jinja_get(all.dict, needle.text, needle.n);
    }
    if (all.kind == V_LIST) {
        for (size_t i = 0; i < all.list->n; i++) {
            if (jinja_equal(m, needle, all.list->items[i])) {
                return true;
            }
        }
        return false;
    }
    if (all.kind != V_UNDEFINED) {
        jinja_fail(&m->fault, "'in' is asked of something that holds nothing");
    }
    return false;
}

jinja_value jinja_text(jinja_machine *m, jinja_value v)
{
    char digits[24];
    switch (v.kind) {
    case V_UNDEFINED: return jinja_string("", 0);
    case V_NONE: return jinja_string("None", 4);
    case V_BOOL: return v.number ? jinja_string("True", 4) : jinja_string("False", 5);
    case V_INT:
        return jinja_copy(
            m, digits, (size_t)snprintf(digits, sizeof digits, "%lld", (long long)v.number), "", 0);
    case V_STRING: return v;
    default:
        jinja_fail(&m->fault, "writing out a list or an object is not supported");
        return jinja_string("", 0);
    }
}

/* ---- Parts ----------------------------------------------------------------------------------- */

/* Bytes of the character at p, of n. */
static size_t char_bytes(const char *p, size_t n)
{
    size_t k = 1;
    while (k < n && ((unsigned char)p[k] & 0xc0) == 0x80) {
        k++;
    }
    return k;
}

const jinja_list *jinja_items(jinja_machine *m, jinja_value v)
{
    static const jinja_list none;
    if (v.kind == V_LIST) {
        return v.list;
    }
    if (v.kind == V_DICT) {
        return &v.dict->keys;
    }
    if (v.kind == V_STRING) {
        jinja_value list = jinja_new_list(m);
        for (size_t i = 0, k; i < v.n && !jinja_failed(m); i += k) {
            k = char_bytes(v.text + i, v.n - i);
            jinja_push(m, list.list, jinja_string(v.text + i, k));
        }
        return list.list;
    }
    if (v.kind != V_UNDEFINED) {
        jinja_fail(&m->fault, "something that holds nothing is gone through");
    }
    return &none;
}

static jinja_value loop_attribute(jinja_machine *m, const jinja_loop *loop, jinja_value name)
{
    size_t i = loop->index, n = loop->items->n;
    const jinja_value none = {.kind = V_UNDEFINED};
    const struct {
        const char *name;
        jinja_value value;
    } all[] = {{"index0", jinja_int((int64_t)i)},
               {"index", jinja_int((int64_t)i + 1)},
               {"first", jinja_bool(i == 0)},
               {"last", jinja_bool(i + 1 == n)},
               {"length", jinja_int((int64_t)n)},
               {"revindex", jinja_int((int64_t)(n - i))},
               {"revindex0", jinja_int((int64_t)(n - i) - 1)},
               {"previtem", i > 0 ? loop->items->items[i - 1] : none},
               {"nextitem", i + 1 < n ? loop->items->items[i + 1] : none}};
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        if (jinja_is(name, all[k].name)) {
            return all[k].value;
        }
    }
    jinja_fail(&m->fault, "loop.%.*s is not supported", (int)(name.n < 40 ? name.n : 40),
               name.text);
    return none;
}

jinja_value jinja_attribute(jinja_machine *m, jinja_value v, jinja_value name)
{
    const jinja_value *held = NULL;
    if (v.kind == V_LOOP) {
        return loop_attribute(m, v.loop, name);
    }
    if (v.kind == V_UNDEFINED) {
        jinja_fail(&m->fault, "'%.*s' of something undefined", (int)(name.n < 40 ? name.n : 40),
                   name.text);
    }
    if (v.kind == V_DICT) {
        held = jinja_get(v.dict, name.text, name.n);
    }
    return held ? *held : (jinja_value){.kind = V_UNDEFINED};
}

jinja_value jinja_item(jinja_machine *m, jinja_value v, jinja_value key)
{
    if (key.kind == V_STRING) {
        return jinja_attribute(m, v, key);
    }
    if (key.kind != V_INT || (v.kind != V_LIST && v.kind != V_STRING)) {
        if (v.kind == V_UNDEFINED || key.kind != V_INT) {
            jinja_fail(&m->fault, "an item that cannot be there is asked for");
        }
        return (jinja_value){.kind = V_UNDEFINED};
    }
    const jinja_list *items = jinja_items(m, v);
    int64_t n = (int64_t)items->n, at = key.number < 0 ? key.number + n : key.number;
    return at >= 0 && at < n ? items->items[at] : (jinja_value){.kind = V_UNDEFINED};
}

/* A bound of a slice, as Python clamps it. */
static int64_t bound(jinja_machine *m, const jinja_value *v, int64_t n, int64_t absent, int64_t low,
                     int64_t high)
{
    if (!v || v->kind == V_NONE) {
        return absent;
    }
    if (v->kind != V_INT) {
        jinja_fail(&m->fault, "a slice is not of whole numbers");
        return 0;
    }
    int64_t at = v->number < 0 ? v->number + n : v->number;
    return at < low ? low : at > high ? high : at;
}

jinja_value jinja_slice(jinja_machine *m, jinja_value v, const jinja_value *from,
                        const jinja_value *to, const jinja_value *step)
{
    jinja_value part = jinja_new_list(m), joined = jinja_string("", 0);
    if (v.kind != V_LIST && v.kind != V_STRING) {
        jinja_fail(&m->fault, "a slice of something that is no list");
        return part;
    }
    const jinja_list *items = jinja_items(m, v);
    int64_t n = (int64_t)items->n, stride = bound(m, step, 0, 1, INT64_MIN, INT64_MAX);
    if (stride != 1 && stride != -1) {
        jinja_fail(&m->fault, "only slices by steps of 1 and -1 are supported");
        return part;
    }
    bool forward = stride > 0;
    int64_t low = forward ? 0 : -1, high = forward ? n : n - 1;
    int64_t begin = bound(m, from, n, forward ? 0 : n - 1, low, high);
    int64_t end = bound(m, to, n, forward ? n : -1, low, high);
    for (int64_t i = begin; (forward ? i < end : i > end) && !jinja_failed(m); i += stride) {
        jinja_push(m, part.list, items->items[i]);
    }
    if (v.kind == V_LIST) {
        return part;
    }
    if (forward && part.list->n != 0) { /* neighbours in one string */
        const jinja_value *last = &part.list->items[part.list->n - 1];
        const char *text = part.list->items[0].text;
        return jinja_string(text, (size_t)(last->text + last->n - text));
    }
    for (size_t i = 0; i < part.list->n && !jinja_failed(m); i++) {
        const jinja_value *c = &part.list->items[i];
        joined = jinja_copy(m, joined.text, joined.n, c->text, c->n);
    }
    return joined;
}
