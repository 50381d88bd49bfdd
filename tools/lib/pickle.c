/* pickle.c - the opcodes; see pickle.h. */
#include "lib/pickle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/pickle_machine.h"
#include "lib/utf8.h"

/* ---- Memory and messages --------------------------------------------------------------------- */

void *pool_add(machine *m, pool *p, size_t size)
{
    if (p->n == p->capacity) {
        uint32_t capacity = p->capacity ? p->capacity * 2 : 64;
        void *items = p->capacity < (1u << 30) ? realloc(p->items, (size_t)capacity * size) : NULL;
        if (!items) {
            fail(m->f, EXIT_RESOURCE, "%s: no memory for what it describes", m->name);
            return NULL;
        }
        p->items = items;
        p->capacity = capacity;
    }
    return (char *)p->items + (size_t)p->n++ * size;
}

int pickle_refuse(const machine *m, const char *what)
{
    return fail(m->f, EXIT_INPUT, "%s: offset %" PRIu64 ": %s", m->name, m->op, what);
}

/* ---- Stack ----------------------------------------------------------------------------------- */

static int push(machine *m, uint32_t index)
{
    uint32_t *top = pool_add(m, &m->stack, sizeof *top);
    if (!top) {
        return EXIT_RESOURCE;
    }
    *top = index;
    return EXIT_OK;
}

static int push_value(machine *m, value v)
{
    value *slot = pool_add(m, &m->values, sizeof *slot);
    if (!slot) {
        return EXIT_RESOURCE;
    }
    *slot = v;
    return push(m, m->values.n - 1);
}

static uint32_t stack_at(const machine *m, uint32_t i)
{
    return ((const uint32_t *)m->stack.items)[i];
}

static uint32_t last_mark(const machine *m)
{
    return m->marks.n ? ((const uint32_t *)m->marks.items)[m->marks.n - 1] : 0;
}

/* Items below a mark are out of reach of all but the opcodes that take the mark. */
static int need(const machine *m, uint32_t n)
{
    return m->stack.n - last_mark(m) >= n ? EXIT_OK : pickle_refuse(m, "the stack is too short");
}

static uint32_t pop(machine *m)
{
    return stack_at(m, --m->stack.n);
}

/* *start: index of the first item above the last mark, which is taken. */
static int take_mark(machine *m, uint32_t *start)
{
    if (m->marks.n == 0) {
        return pickle_refuse(m, "there is no mark on the stack");
    }
    *start = last_mark(m);
    m->marks.n--;
    return EXIT_OK;
}

/* ---- Containers ------------------------------------------------------------------------------ */

static int append_cell(machine *m, uint32_t container, uint32_t key, uint32_t item)
{
    cell *c = pool_add(m, &m->cells, sizeof *c);
    if (!c) {
        return EXIT_RESOURCE;
    }
    *c = (cell){key, item, NO_CELL};
    value *v = value_at(m, container);
    if (v->as.items.n++ == 0) {
        v->as.items.head = m->cells.n - 1;
    } else {
        cell_at(m, v->as.items.tail)->next = m->cells.n - 1;
    }
    v->as.items.tail = m->cells.n - 1;
    return EXIT_OK;
}

bool tuple_items(const machine *m, uint32_t tuple, uint32_t n, uint32_t *out)
{
    const value *v = value_at(m, tuple);
    if (v->kind != VALUE_TUPLE || v->as.items.n != n) {
        return false;
    }
    uint32_t at = v->as.items.head;
    for (uint32_t i = 0; i < n; i++, at = cell_at(m, at)->next) {
        out[i] = cell_at(m, at)->value;
    }
    return true;
}

static int push_empty(machine *m, value_kind kind)
{
    value v = {.kind = kind};
    v.as.items.head = v.as.items.tail = NO_CELL;
    return push_value(m, v);
}

/* Replaces stack items [start, ...) by a tuple of them. */
static int make_tuple(machine *m, uint32_t start)
{
    uint32_t end = m->stack.n;
    if (start == end) {
        return push(m, INDEX_EMPTY_TUPLE);
    }
    int code = push_empty(m, VALUE_TUPLE);
    if (code != EXIT_OK) {
        return code;
    }
    uint32_t tuple = pop(m);
    for (uint32_t i = start; i < end && code == EXIT_OK; i++) {
        code = append_cell(m, tuple, 0, stack_at(m, i));
    }
    m->stack.n = start;
    return code ? code : push(m, tuple);
}

/* Appends stack items [start, ...) to the list, or the dict, below them. */
static int extend(machine *m, uint32_t start, bool pairs)
{
    uint32_t end = m->stack.n;
    if (start == 0 || start <= last_mark(m) || (pairs && (end - start) % 2 != 0)) {
        return pickle_refuse(m, "the stack does not hold what is to be added to");
    }
    uint32_t container = stack_at(m, start - 1);
    value_kind kind = (value_kind)value_at(m, container)->kind;
    if (pairs ? kind != VALUE_DICT && kind != VALUE_ORDERED : kind != VALUE_LIST) {
        return pickle_refuse(m, pairs ? "SETITEM on what is no dictionary"
                                      : "APPEND to what is no list");
    }
    int code = EXIT_OK;
    for (uint32_t i = start; i < end && code == EXIT_OK; i += pairs ? 2 : 1) {
        uint32_t key = pairs ? stack_at(m, i) : 0;
        value_kind key_kind = (value_kind)value_at(m, key)->kind;
        if (pairs && key_kind != VALUE_TEXT && key_kind != VALUE_INTEGER) {
            return pickle_refuse(m, "a key is neither text nor a whole number");
        }
        code = append_cell(m, container, key, stack_at(m, pairs ? i + 1 : i));
    }
    m->stack.n = start;
    return code;
}

/* ---- Arguments of opcodes -------------------------------------------------------------------- */

/* A little-endian number of n bytes after the opcode. */
static int argument(machine *m, uint32_t n, uint64_t *number)
{
    if (n > m->n_bytes - m->pos) {
        return pickle_refuse(m, "the pickle ends inside an opcode");
    }
    *number = 0;
    for (uint32_t i = n; i-- > 0;) {
        *number = *number << 8 | m->bytes[m->pos + i];
    }
    m->pos += n;
    return EXIT_OK;
}

static int push_text(machine *m, uint32_t n_length)
{
    uint64_t n = 0;
    int code = argument(m, n_length, &n);
    if (code != EXIT_OK) {
        return code;
    }
    if (n > m->n_bytes - m->pos) {
        return pickle_refuse(m, "a text is longer than the pickle");
    }
    const char *text = (const char *)m->bytes + m->pos;
    for (uint64_t at = 0; at < n;) {
        size_t step = utf8_length(text + at, (size_t)(n - at));
        if (step == 0) {
            return pickle_refuse(m, "a text is not UTF-8");
        }
        at += step;
    }
    m->pos += n;
    value v = {.kind = VALUE_TEXT};
    v.as.text.bytes = text;
    v.as.text.n_bytes = (uint32_t)n;
    return push_value(m, v);
}

/* A signed number of n bytes, n <= 8. */
static int push_integer(machine *m, uint32_t n, bool is_signed)
{
    uint64_t bits = 0;
    int code = argument(m, n, &bits);
    if (code != EXIT_OK) {
        return code;
    }
    if (is_signed && n > 0 && n < 8 && (bits >> (8 * n - 1)) != 0) {
        bits |= UINT64_MAX << (8 * n);
    }
    value v = {.kind = VALUE_INTEGER};
    memcpy(&v.as.integer, &bits, sizeof bits);
    return push_value(m, v);
}

static int push_long(machine *m)
{
    uint64_t n = 0;
    int code = argument(m, 1, &n);
    if (code == EXIT_OK && n > 8) {
        return pickle_refuse(m, "LONG1 of more than 8 bytes");
    }
    return code ? code : push_integer(m, (uint32_t)n, true);
}

static int push_float(machine *m)
{
    uint64_t bits = 0;
    int code = argument(m, 8, &bits);
    if (code != EXIT_OK) {
        return code;
    }
    uint64_t swapped = 0; /* BINFLOAT alone is big-endian */
    for (int i = 0; i < 8; i++) {
        swapped = swapped << 8 | (bits >> (8 * i) & 0xff);
    }
    value v = {.kind = VALUE_FLOAT};
    memcpy(&v.as.number, &swapped, sizeof swapped);
    return push_value(m, v);
}

/* ---- Names ----------------------------------------------------------------------------------- */

static const struct {
    const char *module, *name;
    uint32_t index;
} GLOBALS[] = {
    {"collections", "OrderedDict", GLOBAL_ORDERED_DICT},
    {"torch._utils", "_rebuild_tensor_v2", GLOBAL_REBUILD_TENSOR},
    {"torch._utils", "_rebuild_parameter", GLOBAL_REBUILD_PARAMETER},
    {"torch", "FloatStorage", GLOBAL_STORAGE + PICKLE_F32},
    {"torch", "HalfStorage", GLOBAL_STORAGE + PICKLE_F16},
    {"torch", "BFloat16Storage", GLOBAL_STORAGE + PICKLE_BF16},
    {"torch", "DoubleStorage", GLOBAL_STORAGE + PICKLE_F64},
    {"torch", "LongStorage", GLOBAL_STORAGE + PICKLE_I64},
    {"torch", "IntStorage", GLOBAL_STORAGE + PICKLE_I32},
    {"torch", "ShortStorage", GLOBAL_STORAGE + PICKLE_I16},
    {"torch", "CharStorage", GLOBAL_STORAGE + PICKLE_I8},
    {"torch", "ByteStorage", GLOBAL_STORAGE + PICKLE_U8},
    {"torch", "BoolStorage", GLOBAL_STORAGE + PICKLE_BOOL},
};

static bool same_text(pickle_text a, const char *b)
{
    return a.n_bytes == strlen(b) && memcmp(a.text, b, a.n_bytes) == 0;
}

static int push_global(machine *m, pickle_text module, pickle_text name)
{
    for (size_t i = 0; i < sizeof GLOBALS / sizeof GLOBALS[0]; i++) {
        if (same_text(module, GLOBALS[i].module) && same_text(name, GLOBALS[i].name)) {
            value v = {.kind = VALUE_GLOBAL};
            v.as.index = GLOBALS[i].index;
            return push_value(m, v);
        }
    }
    return fail(m->f, EXIT_INPUT,
                "%s: offset %" PRIu64 ": asks for %.*s %.*s, and only tensors are rebuilt from a "
                "pickle; save the model's state_dict(), or safetensors",
                m->name, m->op, (int)(module.n_bytes < 100 ? module.n_bytes : 100), module.text,
                (int)(name.n_bytes < 100 ? name.n_bytes : 100), name.text);
}

static int take_line(machine *m, pickle_text *line)
{
    const char *start = (const char *)m->bytes + m->pos;
    uint64_t left = m->n_bytes - m->pos;
    const char *end = memchr(start, '\n', (size_t)left);
    if (!end) {
        return pickle_refuse(m, "the pickle ends inside an opcode");
    }
    *line = (pickle_text){start, (uint32_t)(end - start)};
    m->pos += line->n_bytes + 1u;
    return EXIT_OK;
}

static int op_global(machine *m)
{
    pickle_text module = {0}, name = {0};
    int code = take_line(m, &module);
    code = code ? code : take_line(m, &name);
    return code ? code : push_global(m, module, name);
}

static int op_stack_global(machine *m)
{
    int code = need(m, 2);
    if (code != EXIT_OK) {
        return code;
    }
    const value *name = value_at(m, pop(m)), *module = value_at(m, pop(m));
    if (name->kind != VALUE_TEXT || module->kind != VALUE_TEXT) {
        return pickle_refuse(m, "STACK_GLOBAL of what is no text");
    }
    return push_global(m, (pickle_text){module->as.text.bytes, module->as.text.n_bytes},
                       (pickle_text){name->as.text.bytes, name->as.text.n_bytes});
}

/* ---- REDUCE, BUILD --------------------------------------------------------------------------- */

static int op_reduce(machine *m)
{
    int code = need(m, 2);
    if (code != EXIT_OK) {
        return code;
    }
    uint32_t arguments = pop(m), result = 0;
    const value *function = value_at(m, pop(m));
    if (function->kind != VALUE_GLOBAL || function->as.index >= GLOBAL_STORAGE) {
        return pickle_refuse(m, "REDUCE of what is no function");
    }
    if (function->as.index == GLOBAL_ORDERED_DICT) {
        if (arguments != INDEX_EMPTY_TUPLE) {
            return pickle_refuse(m, "OrderedDict with arguments");
        }
        return push_empty(m, VALUE_ORDERED);
    }
    code = function->as.index == GLOBAL_REBUILD_TENSOR
               ? pickle_make_tensor(m, arguments, &result)
               : pickle_make_parameter(m, arguments, &result);
    return code ? code : push(m, result);
}

/* torch hangs versions of modules on a state dict as its attribute _metadata: dropped. */
static int op_build(machine *m)
{
    int code = need(m, 2);
    if (code != EXIT_OK) {
        return code;
    }
    const value *state = value_at(m, pop(m)), *object = value_at(m, stack_at(m, m->stack.n - 1));
    if (object->kind != VALUE_ORDERED || state->kind != VALUE_DICT || state->as.items.n != 1) {
        return pickle_refuse(m, "BUILD of anything but an OrderedDict's _metadata");
    }
    const value *key = value_at(m, cell_at(m, state->as.items.head)->key);
    if (key->kind != VALUE_TEXT ||
        !same_text((pickle_text){key->as.text.bytes, key->as.text.n_bytes}, "_metadata")) {
        return pickle_refuse(m, "BUILD of anything but an OrderedDict's _metadata");
    }
    return EXIT_OK;
}

static int op_persistent(machine *m)
{
    uint32_t result = 0;
    int code = need(m, 1);
    code = code ? code : pickle_make_storage(m, pop(m), &result);
    return code ? code : push(m, result);
}

/* ---- Memo ------------------------------------------------------------------------------------ */

static int memo_put(machine *m, uint64_t index)
{
    int code = need(m, 1);
    if (code != EXIT_OK) {
        return code;
    }
    if (index >= m->n_bytes) { /* a pickle has fewer values than bytes */
        return pickle_refuse(m, "a memo index is larger than the pickle can need");
    }
    while (m->memo.n <= index) {
        uint32_t *slot = pool_add(m, &m->memo, sizeof *slot);
        if (!slot) {
            return EXIT_RESOURCE;
        }
        *slot = UINT32_MAX;
    }
    ((uint32_t *)m->memo.items)[index] = stack_at(m, m->stack.n - 1);
    return EXIT_OK;
}

static int memo_get(machine *m, uint64_t index)
{
    if (index >= m->memo.n || ((const uint32_t *)m->memo.items)[index] == UINT32_MAX) {
        return pickle_refuse(m, "a memo entry is used before it is set");
    }
    return push(m, ((const uint32_t *)m->memo.items)[index]);
}

static int op_memo(machine *m, uint32_t n, int (*action)(machine *, uint64_t))
{
    uint64_t index = 0;
    int code = argument(m, n, &index);
    return code ? code : action(m, index);
}

/* ---- The loop -------------------------------------------------------------------------------- */

static int op_frame(machine *m)
{
    uint64_t n = 0;
    int code = argument(m, 8, &n);
    if (code != EXIT_OK) {
        return code;
    }
    if (m->frame_end != 0 || n == 0 || n > m->n_bytes - m->pos) {
        return pickle_refuse(m, "a frame is empty, inside another one, or longer than the pickle");
    }
    m->frame_end = m->pos + n;
    return EXIT_OK;
}

static int op_mark(machine *m)
{
    uint32_t *mark = pool_add(m, &m->marks, sizeof *mark);
    if (!mark) {
        return EXIT_RESOURCE;
    }
    *mark = m->stack.n;
    return EXIT_OK;
}

static int op_tuple(machine *m)
{
    uint32_t start = 0;
    int code = take_mark(m, &start);
    return code ? code : make_tuple(m, start);
}

static int op_short_tuple(machine *m, uint32_t n)
{
    int code = need(m, n);
    return code ? code : make_tuple(m, m->stack.n - n);
}

static int op_extend(machine *m, bool pairs)
{
    uint32_t start = 0;
    int code = take_mark(m, &start);
    return code ? code : extend(m, start, pairs);
}

static int op_extend_one(machine *m, bool pairs)
{
    uint32_t n = pairs ? 2 : 1;
    int code = need(m, n + 1);
    return code ? code : extend(m, m->stack.n - n, pairs);
}

/* Opcodes that exist but are not carried out, for the message. */
static const char *opcode_name(uint8_t op)
{
    static const struct {
        uint8_t op;
        const char *name;
    } names[] = {{'i', "INST"},
                 {'o', "OBJ"},
                 {0x81, "NEWOBJ"},
                 {0x92, "NEWOBJ_EX"},
                 {0x82, "EXT1"},
                 {0x83, "EXT2"},
                 {0x84, "EXT4"},
                 {'P', "PERSID"},
                 {0x96, "BYTEARRAY8"},
                 {0x97, "NEXT_BUFFER"},
                 {0x98, "READONLY_BUFFER"},
                 {'0', "POP"},
                 {'1', "POP_MARK"},
                 {'2', "DUP"},
                 {'T', "BINSTRING"},
                 {'U', "SHORT_BINSTRING"},
                 {'B', "BINBYTES"},
                 {'C', "SHORT_BINBYTES"},
                 {0x8e, "BINBYTES8"},
                 {0x8b, "LONG4"},
                 {0x80, "PROTO"},
                 {0x8f, "EMPTY_SET"},
                 {0x90, "ADDITEMS"},
                 {0x91, "FROZENSET"},
                 {'I', "INT"},
                 {'L', "LONG"},
                 {'F', "FLOAT"},
                 {'S', "STRING"},
                 {'V', "UNICODE"},
                 {'p', "PUT"},
                 {'g', "GET"},
                 {'d', "DICT"},
                 {'l', "LIST"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].op == op) {
            return names[i].name;
        }
    }
    return "unknown";
}

static int step_structure(machine *m, uint8_t op)
{
    switch (op) {
    case '(': return op_mark(m);
    case ')': return push(m, INDEX_EMPTY_TUPLE);
    case 't': return op_tuple(m);
    case 0x85: return op_short_tuple(m, 1);
    case 0x86: return op_short_tuple(m, 2);
    case 0x87: return op_short_tuple(m, 3);
    case '}': return push_empty(m, VALUE_DICT);
    case ']': return push_empty(m, VALUE_LIST);
    case 's': return op_extend_one(m, true);
    case 'u': return op_extend(m, true);
    case 'a': return op_extend_one(m, false);
    case 'e': return op_extend(m, false);
    case 'c': return op_global(m);
    case 0x93: return op_stack_global(m);
    case 'R': return op_reduce(m);
    case 'b': return op_build(m);
    case 'Q': return op_persistent(m);
    case 0x95: return op_frame(m);
    default:
        return fail(m->f, EXIT_INPUT,
                    "%s: offset %" PRIu64 ": opcode 0x%02x (%s) has no place in a file of tensors",
                    m->name, m->op, op, opcode_name(op));
    }
}

static int step(machine *m, uint8_t op)
{
    switch (op) {
    case 'N': return push(m, INDEX_NONE);
    case 0x88: return push(m, INDEX_TRUE);
    case 0x89: return push(m, INDEX_FALSE);
    case 'K': return push_integer(m, 1, false);
    case 'M': return push_integer(m, 2, false);
    case 'J': return push_integer(m, 4, true);
    case 0x8a: return push_long(m);
    case 'G': return push_float(m);
    case 0x8c: return push_text(m, 1);
    case 'X': return push_text(m, 4);
    case 0x8d: return push_text(m, 8);
    case 'q': return op_memo(m, 1, memo_put);
    case 'r': return op_memo(m, 4, memo_put);
    case 0x94: return memo_put(m, m->memo.n);
    case 'h': return op_memo(m, 1, memo_get);
    case 'j': return op_memo(m, 4, memo_get);
    default: return step_structure(m, op);
    }
}

static int run(machine *m)
{
    if (m->n_bytes < 2 || m->bytes[0] != 0x80 || m->bytes[1] < 2 || m->bytes[1] > 5) {
        return pickle_refuse(m, "not a pickle of protocol 2 to 5");
    }
    m->pos = 2;
    while (m->pos < m->n_bytes) {
        m->op = m->pos;
        uint8_t op = m->bytes[m->pos++];
        uint64_t frame_end = m->frame_end;
        if (op == '.') {
            if (m->pos != m->n_bytes) {
                return pickle_refuse(m, "bytes after the end of the pickle");
            }
            return m->stack.n == 1 && m->marks.n == 0
                       ? EXIT_OK
                       : pickle_refuse(m, "STOP with other than one value");
        }
        int code = step(m, op);
        if (code != EXIT_OK) {
            return code;
        }
        if (frame_end != 0 && m->pos > frame_end) {
            return pickle_refuse(m, "an opcode crosses the end of its frame");
        }
        if (m->pos == m->frame_end) {
            m->frame_end = 0;
        }
    }
    m->op = m->pos;
    return pickle_refuse(m, "the pickle ends without STOP");
}

static int start(machine *m)
{
    static const value_kind fixed[N_FIXED] = {VALUE_NONE, VALUE_FALSE, VALUE_TRUE, VALUE_TUPLE};
    for (int i = 0; i < N_FIXED; i++) {
        value *v = pool_add(m, &m->values, sizeof *v);
        if (!v) {
            return EXIT_RESOURCE;
        }
        *v = (value){.kind = fixed[i]};
        v->as.items.head = v->as.items.tail = NO_CELL;
    }
    return EXIT_OK;
}

int pickle_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, pickle *p, failure *f)
{
    machine m = {.name = name, .bytes = bytes, .n_bytes = n_bytes, .f = f};
    memset(p, 0, sizeof *p);
    if (n_bytes > PICKLE_MAX_BYTES) {
        return fail(f, EXIT_INPUT, "%s: a pickle of more than %d bytes", name, PICKLE_MAX_BYTES);
    }
    int code = start(&m);
    code = code ? code : run(&m);
    code = code ? code : pickle_make_tree(&m, stack_at(&m, 0), p);
    free(m.values.items);
    free(m.cells.items);
    free(m.stack.items);
    free(m.marks.items);
    free(m.memo.items);
    free(m.tensors.items);
    free(m.storages.items);
    return code;
}
