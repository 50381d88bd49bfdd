/* safetensors_header.c - the JSON text of a safetensors header -> tensors, checked.
 *
 * A parser of its own, because a header may hold a million tensors: this one takes 64 bytes for
 * each, where a general JSON tree takes a kilobyte. Names are unescaped in place. Nothing here
 * recurses, so depth costs no stack.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/safetensors.h"
#include "lib/utf8.h"

enum { MAX_SKIP_DEPTH = 64 };

typedef struct scan {
    const char *name;
    char *text;
    uint64_t n, pos;
    safetensors *st;
    uint64_t capacity;
    failure *f;
} scan;

typedef struct string {
    char *bytes; /* NUL-terminated in place of the closing quote */
    uint64_t n;
} string;

/* Types of the format, with their size in bits. */
static const struct {
    const char *name;
    uint32_t bits;
    safetensors_dtype kind;
} DTYPES[] = {
    {"F32", 32, SAFETENSORS_F32},      {"F16", 16, SAFETENSORS_F16},
    {"BF16", 16, SAFETENSORS_BF16},    {"F64", 64, SAFETENSORS_OTHER},
    {"I64", 64, SAFETENSORS_OTHER},    {"I32", 32, SAFETENSORS_OTHER},
    {"I16", 16, SAFETENSORS_OTHER},    {"I8", 8, SAFETENSORS_OTHER},
    {"U64", 64, SAFETENSORS_OTHER},    {"U32", 32, SAFETENSORS_OTHER},
    {"U16", 16, SAFETENSORS_OTHER},    {"U8", 8, SAFETENSORS_OTHER},
    {"BOOL", 8, SAFETENSORS_OTHER},    {"C64", 64, SAFETENSORS_OTHER},
    {"F8_E4M3", 8, SAFETENSORS_OTHER}, {"F8_E5M2", 8, SAFETENSORS_OTHER},
    {"F8_E8M0", 8, SAFETENSORS_OTHER}, {"F6_E2M3", 6, SAFETENSORS_OTHER},
    {"F6_E3M2", 6, SAFETENSORS_OTHER}, {"F4", 4, SAFETENSORS_OTHER},
};
enum { N_DTYPES = sizeof DTYPES / sizeof DTYPES[0] };

const char *safetensors_dtype_name(uint32_t dtype)
{
    return dtype < N_DTYPES ? DTYPES[dtype].name : "?";
}

safetensors_dtype safetensors_dtype_kind(uint32_t dtype)
{
    return dtype < N_DTYPES ? DTYPES[dtype].kind : SAFETENSORS_OTHER;
}

static int bad(scan *s, const char *what)
{
    return fail(s->f, EXIT_INPUT, "%s: header, byte %llu: %s", s->name,
                (unsigned long long)(8 + s->pos), what);
}

/* ---- Scanner --------------------------------------------------------------------------------- */

static void skip_space(scan *s)
{
    while (s->pos < s->n && s->text[s->pos] != 0 && strchr(" \t\r\n", s->text[s->pos])) {
        s->pos++;
    }
}

/* The next byte after white space, or 0 at the end. */
static char peek(scan *s)
{
    skip_space(s);
    return s->pos < s->n ? s->text[s->pos] : 0;
}

static int expect(scan *s, char c)
{
    if (peek(s) != c) {
        char what[] = "expected '?'";
        what[10] = c;
        return bad(s, s->pos >= s->n ? "the JSON ends too early" : what);
    }
    s->pos++;
    return EXIT_OK;
}

/* After an item: true and past the comma if another follows; the closer is left. */
static bool more(scan *s, char closer, int *code)
{
    char c = peek(s);
    if (c == ',') {
        s->pos++;
        return true;
    }
    *code = c == closer ? EXIT_OK : bad(s, "expected ',' or the end of the object or array");
    return false;
}

/* The four hexadecimal digits of a \u escape; -1 if they are not. */
static int32_t hex4(const scan *s, uint64_t at)
{
    int32_t v = 0;
    for (uint64_t i = at; i < at + 4; i++) {
        char c = i < s->n ? s->text[i] : 0;
        int32_t digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
        if (digit < 0) {
            return -1;
        }
        v = v << 4 | digit;
    }
    return v;
}

/* Code point -> UTF-8; never longer than the escape it comes from. */
static size_t put_utf8(char *out, uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    static const uint8_t lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, cp >>= 6) {
        out[i] = (char)(0x80 | (cp & 0x3f));
    }
    out[0] = (char)(lead[n] | cp);
    return n;
}

/* \uXXXX at pos (on the u), pairs of surrogates joined. */
static int unicode_escape(scan *s, uint32_t *cp)
{
    int32_t high = hex4(s, s->pos + 1);
    if (high < 0) {
        return bad(s, "\\u needs four hexadecimal digits");
    }
    s->pos += 5;
    *cp = (uint32_t)high;
    if (high == 0) {
        return bad(s, "NUL in a string");
    }
    if (high >= 0xd800 && high <= 0xdfff) {
        int32_t low = s->pos + 1 < s->n && s->text[s->pos] == '\\' && s->text[s->pos + 1] == 'u'
                          ? hex4(s, s->pos + 2)
                          : -1;
        if (high >= 0xdc00 || low < 0xdc00 || low > 0xdfff) {
            return bad(s, "half of a surrogate pair in a string");
        }
        *cp = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
        s->pos += 6;
    }
    return EXIT_OK;
}

/* A string, unescaped in place. */
static int read_string(scan *s, string *out)
{
    int code = expect(s, '"');
    char *start = s->text + s->pos, *to = start;
    while (code == EXIT_OK) {
        char c = s->pos < s->n ? s->text[s->pos] : 0;
        if (c == '"') {
            break;
        }
        if ((unsigned char)c < 0x20) {
            return bad(s, s->pos < s->n ? "control byte in a string" : "a string does not end");
        }
        if (c != '\\') {
            *to++ = c;
            s->pos++;
            continue;
        }
        s->pos++;
        char e = s->pos < s->n ? s->text[s->pos] : 0;
        static const char from[] = "\"\\/bfnrt", as[] = "\"\\/\b\f\n\r\t";
        const char *known = e ? strchr(from, e) : NULL;
        uint32_t cp = 0;
        if (known) {
            cp = (uint32_t)(unsigned char)as[known - from];
            s->pos++;
        } else if (e == 'u') {
            code = unicode_escape(s, &cp);
        } else {
            return bad(s, "unknown escape in a string");
        }
        if (code == EXIT_OK) {
            to += put_utf8(to, cp);
        }
    }
    if (code == EXIT_OK) {
        s->pos++;
        *to = 0;
        *out = (string){start, (uint64_t)(to - start)};
    }
    return code;
}

/* A whole number without sign, fraction or exponent. */
static int read_whole(scan *s, uint64_t *out)
{
    char c = peek(s);
    if (c < '0' || c > '9') {
        return bad(s, "expected a whole number, not negative");
    }
    uint64_t v = 0, start = s->pos;
    for (; s->pos < s->n && s->text[s->pos] >= '0' && s->text[s->pos] <= '9'; s->pos++) {
        if (!checked_mul_u64(v, 10, &v) ||
            !checked_add_u64(v, (uint64_t)(s->text[s->pos] - '0'), &v)) {
            return bad(s, "number does not fit 64 bits");
        }
    }
    c = s->pos < s->n ? s->text[s->pos] : 0;
    if (c == '.' || c == 'e' || c == 'E') {
        return bad(s, "expected a whole number without fraction or exponent");
    }
    if (s->text[start] == '0' && s->pos > start + 1) {
        return bad(s, "number with a leading zero");
    }
    *out = v;
    return EXIT_OK;
}

/* Steps over digits; false if there are none. */
static bool skip_digits(scan *s)
{
    uint64_t start = s->pos;
    while (s->pos < s->n && s->text[s->pos] >= '0' && s->text[s->pos] <= '9') {
        s->pos++;
    }
    return s->pos > start;
}

static bool skip_char(scan *s, const char *set)
{
    bool is = s->pos < s->n && s->text[s->pos] != 0 && strchr(set, s->text[s->pos]);
    s->pos += is;
    return is;
}

/* Steps over a number as JSON writes it, true, false or null. */
static int skip_scalar(scan *s)
{
    static const char *const words[] = {"true", "false", "null"};
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if (s->n - s->pos >= n && memcmp(s->text + s->pos, words[i], n) == 0) {
            s->pos += n;
            return EXIT_OK;
        }
    }
    skip_char(s, "-");
    bool good = skip_char(s, "0") || skip_digits(s);
    good = good && (!skip_char(s, ".") || skip_digits(s));
    if (good && skip_char(s, "eE")) {
        skip_char(s, "+-");
        good = skip_digits(s);
    }
    return good ? EXIT_OK : bad(s, "expected a JSON value");
}

/* Steps over the value of a key that means nothing here. Closers are kept in a small stack. */
static int skip_value(scan *s)
{
    char closers[MAX_SKIP_DEPTH];
    uint32_t depth = 0;
    do {
        char c = peek(s);
        string ignored;
        int code = EXIT_OK;
        bool opened = c == '{' || c == '[';
        if (opened) {
            if (depth == MAX_SKIP_DEPTH) {
                return bad(s, "nested more than 64 levels deep");
            }
            closers[depth++] = c == '{' ? '}' : ']';
            s->pos++;
        } else {
            code = c == '"' ? read_string(s, &ignored) : skip_scalar(s);
        }
        /* Close what ends here, then step to the next item. */
        bool next = opened && peek(s) != closers[depth - 1];
        while (code == EXIT_OK && depth > 0 && !next) {
            if (!opened && more(s, closers[depth - 1], &code)) {
                next = true;
            } else if (code == EXIT_OK) {
                s->pos++;
                depth--;
                opened = false;
            }
        }
        if (code == EXIT_OK && next && closers[depth - 1] == '}') {
            code = read_string(s, &ignored);
            code = code == EXIT_OK ? expect(s, ':') : code;
        }
        if (code != EXIT_OK) {
            return code;
        }
    } while (depth > 0);
    return EXIT_OK;
}

/* ---- Tensors --------------------------------------------------------------------------------- */

static int read_dtype(scan *s, safetensors_tensor *t)
{
    string value;
    int code = read_string(s, &value);
    if (code != EXIT_OK) {
        return code;
    }
    for (uint32_t i = 0; i < N_DTYPES; i++) {
        if (strcmp(DTYPES[i].name, value.bytes) == 0) {
            t->dtype = (uint8_t)i;
            return EXIT_OK;
        }
    }
    return fail(s->f, EXIT_INPUT, "%s: tensor %.200s: dtype \"%.40s\" is not one of the format's",
                s->name, t->name, value.bytes);
}

/* An array of at most `capacity` whole numbers. */
static int read_numbers(scan *s, uint64_t *values, uint32_t capacity, const char *too_many,
                        uint32_t *n)
{
    int code = expect(s, '[');
    *n = 0;
    if (code == EXIT_OK && peek(s) == ']') {
        s->pos++;
        return EXIT_OK;
    }
    while (code == EXIT_OK) {
        if (*n == capacity) {
            return bad(s, too_many);
        }
        code = read_whole(s, &values[*n]);
        *n += 1;
        if (code == EXIT_OK && !more(s, ']', &code)) {
            break;
        }
    }
    if (code == EXIT_OK) {
        s->pos++;
    }
    return code;
}

static int read_shape(scan *s, safetensors_tensor *t)
{
    uint32_t n;
    int code = read_numbers(s, t->dims, SLM_MAX_DIMS, "shape of more than 4 dimensions", &n);
    t->rank = (uint8_t)n;
    for (uint32_t i = n; i < SLM_MAX_DIMS; i++) {
        t->dims[i] = 1;
    }
    return code;
}

static int read_offsets(scan *s, safetensors_tensor *t)
{
    uint64_t range[2];
    uint32_t n;
    int code = read_numbers(s, range, 2, "data_offsets must have two entries", &n);
    if (code == EXIT_OK && n != 2) {
        return bad(s, "data_offsets must have two entries");
    }
    if (code == EXIT_OK) {
        t->begin = range[0];
        t->end = range[1];
    }
    return code;
}

static void note_unknown(safetensors *st, const char *key)
{
    if (st->n_unknown_keys++ == 0) {
        size_t n = strlen(key) < sizeof st->unknown_key ? strlen(key) : sizeof st->unknown_key - 1;
        memcpy(st->unknown_key, key, n);
        st->unknown_key[n] = 0;
    }
}

/* Size and place of one tensor, alone. */
static int check_tensor(scan *s, const safetensors_tensor *t, uint64_t n_data)
{
    uint64_t n = 1;
    bool zero = false, fits = true;
    for (uint32_t i = 0; i < t->rank; i++) {
        zero = zero || t->dims[i] == 0;
        fits = fits && checked_mul_u64(n, t->dims[i], &n);
    }
    fits = fits && checked_mul_u64(n, DTYPES[t->dtype].bits, &n);
    if (zero) {
        n = 0;
    } else if (!fits) {
        return fail(s->f, EXIT_INPUT, "%s: tensor %.200s: its size does not fit 64 bits", s->name,
                    t->name);
    }
    if (t->begin > t->end || t->end > n_data) {
        return fail(s->f, EXIT_INPUT,
                    "%s: tensor %.200s: data_offsets [%llu, %llu] do not lie within the %llu bytes "
                    "of data",
                    s->name, t->name, (unsigned long long)t->begin, (unsigned long long)t->end,
                    (unsigned long long)n_data);
    }
    if (n % 8 != 0 || n / 8 != t->end - t->begin) {
        return fail(s->f, EXIT_INPUT,
                    "%s: tensor %.200s: shape and dtype need %llu bytes, data_offsets give %llu",
                    s->name, t->name, (unsigned long long)(n / 8),
                    (unsigned long long)(t->end - t->begin));
    }
    return EXIT_OK;
}

enum { HAS_DTYPE = 1, HAS_SHAPE = 2, HAS_OFFSETS = 4 };

/* One key of a tensor's object; seen: which of the three have come. */
static int read_field(scan *s, safetensors_tensor *t, uint32_t *seen)
{
    static const struct {
        const char *key;
        int (*read)(scan *, safetensors_tensor *);
    } fields[] = {{"dtype", read_dtype}, {"shape", read_shape}, {"data_offsets", read_offsets}};
    string key;
    int code = read_string(s, &key);
    code = code == EXIT_OK ? expect(s, ':') : code;
    if (code != EXIT_OK) {
        return code;
    }
    for (uint32_t i = 0; i < 3; i++) {
        if (strcmp(key.bytes, fields[i].key) == 0) {
            if (*seen & 1u << i) {
                return fail(s->f, EXIT_INPUT, "%s: tensor %.200s: %s stands twice", s->name,
                            t->name, fields[i].key);
            }
            *seen |= 1u << i;
            peek(s);
            return fields[i].read(s, t);
        }
    }
    note_unknown(s->st, key.bytes);
    return skip_value(s);
}

static int read_tensor(scan *s, const string *name, uint64_t n_data)
{
    if (name->n == 0 || name->n > SAFETENSORS_MAX_NAME) {
        return bad(s, name->n ? "tensor name longer than 4096 bytes" : "tensor without a name");
    }
    safetensors_tensor t = {.name = name->bytes, .name_bytes = (uint16_t)name->n};
    uint32_t seen = 0;
    int code = expect(s, '{');
    bool any = code == EXIT_OK && peek(s) != '}';
    while (code == EXIT_OK && any) {
        code = read_field(s, &t, &seen);
        any = code == EXIT_OK && more(s, '}', &code);
    }
    if (code != EXIT_OK) {
        return code;
    }
    s->pos++;
    if (seen != (HAS_DTYPE | HAS_SHAPE | HAS_OFFSETS)) {
        return fail(s->f, EXIT_INPUT, "%s: tensor %.200s: %s is missing", s->name, t.name,
                    !(seen & HAS_DTYPE)   ? "dtype"
                    : !(seen & HAS_SHAPE) ? "shape"
                                          : "data_offsets");
    }
    code = check_tensor(s, &t, n_data);
    if (code == EXIT_OK && s->st->n_tensors == s->capacity) {
        uint64_t capacity = s->capacity ? s->capacity * 2 : 64;
        void *grown = realloc(s->st->tensors, (size_t)(capacity * sizeof t));
        if (!grown) {
            return fail(s->f, EXIT_RESOURCE, "%s: not enough memory for its tensor list", s->name);
        }
        s->st->tensors = grown;
        s->capacity = capacity;
    }
    if (code == EXIT_OK) {
        s->st->tensors[s->st->n_tensors++] = t;
    }
    return code;
}

/* qsort that takes the NULL of an empty list. */
static void sort(void *items, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    if (n > 1) {
        qsort(items, n, size, compare);
    }
}

static int compare_strings(const void *a, const void *b)
{
    const string *x = a, *y = b;
    return strcmp(x->bytes, y->bytes);
}

/* "__metadata__": an object of strings, keys unique. */
static int read_metadata(scan *s)
{
    string *keys = NULL, value;
    uint64_t n = 0, capacity = 0;
    int code = expect(s, '{');
    bool any = code == EXIT_OK && peek(s) != '}';
    while (code == EXIT_OK && any) {
        if (n == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            void *grown = realloc(keys, (size_t)(capacity * sizeof *keys));
            if (!grown) {
                code = fail(s->f, EXIT_RESOURCE, "%s: not enough memory", s->name);
                break;
            }
            keys = grown;
        }
        code = read_string(s, &keys[n++]);
        code = code == EXIT_OK ? expect(s, ':') : code;
        if (code == EXIT_OK && peek(s) != '"') {
            code = bad(s, "__metadata__ may hold strings only");
        }
        code = code == EXIT_OK ? read_string(s, &value) : code;
        any = code == EXIT_OK && more(s, '}', &code);
    }
    if (code == EXIT_OK) {
        s->pos++;
        sort(keys, n, sizeof *keys, compare_strings);
        for (uint64_t i = 1; i < n && code == EXIT_OK; i++) {
            if (strcmp(keys[i - 1].bytes, keys[i].bytes) == 0) {
                code = fail(s->f, EXIT_INPUT, "%s: __metadata__: key \"%.100s\" stands twice",
                            s->name, keys[i].bytes);
            }
        }
    }
    free(keys);
    return code;
}

/* ---- The whole header ------------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
    const safetensors_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int compare_places(const void *a, const void *b)
{
    const safetensors_tensor *x = a, *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return x->end < y->end ? -1 : x->end > y->end;
}

/* The tensors, in order of place, must follow each other exactly. */
static int check_tiling(const scan *s, uint64_t n_data)
{
    safetensors *st = s->st;
    uint64_t at = 0;
    sort(st->tensors, st->n_tensors, sizeof *st->tensors, compare_places);
    for (uint32_t i = 0; i < st->n_tensors; i++) {
        const safetensors_tensor *t = &st->tensors[i];
        if (t->begin != at) {
            return fail(s->f, EXIT_INPUT, "%s: tensor %.200s begins at %llu of the data, %s %llu",
                        s->name, t->name, (unsigned long long)t->begin,
                        t->begin < at ? "inside another one that ends at"
                                      : "which leaves a hole after",
                        (unsigned long long)at);
        }
        at = t->end;
    }
    if (at != n_data) {
        return fail(s->f, EXIT_INPUT,
                    "%s: %llu bytes after the last tensor belong to none of them (file damaged, or "
                    "another file appended)",
                    s->name, (unsigned long long)(n_data - at));
    }
    return EXIT_OK;
}

static int check_names(const scan *s)
{
    safetensors *st = s->st;
    sort(st->tensors, st->n_tensors, sizeof *st->tensors, compare_names);
    for (uint32_t i = 1; i < st->n_tensors; i++) {
        if (strcmp(st->tensors[i - 1].name, st->tensors[i].name) == 0) {
            return fail(s->f, EXIT_INPUT, "%s: tensor %.200s stands twice in the header", s->name,
                        st->tensors[i].name);
        }
    }
    return EXIT_OK;
}

/* First byte that is not UTF-8, or n. */
static uint64_t utf8_valid_prefix(const char *text, uint64_t n)
{
    uint64_t i = 0;
    while (i < n) {
        size_t length = utf8_length(text + i, (size_t)(n - i));
        if (length == 0) {
            return i;
        }
        i += length;
    }
    return n;
}

static int read_entries(scan *s, uint64_t n_data)
{
    bool metadata = false;
    int code = EXIT_OK;
    s->pos = 1;
    bool any = peek(s) != '}';
    while (code == EXIT_OK && any) {
        string name = {0};
        code = read_string(s, &name);
        code = code == EXIT_OK ? expect(s, ':') : code;
        if (code != EXIT_OK) {
            break;
        }
        if (strcmp(name.bytes, "__metadata__") != 0) {
            code = read_tensor(s, &name, n_data);
        } else if (metadata) {
            code = bad(s, "__metadata__ stands twice");
        } else {
            metadata = true;
            code = read_metadata(s);
        }
        any = code == EXIT_OK && more(s, '}', &code);
    }
    if (code == EXIT_OK) {
        s->pos++;
        if (peek(s) != 0 || s->pos < s->n) {
            code = bad(s, "something follows the JSON object");
        }
    }
    return code;
}

int safetensors_parse(const char *name, char *text, uint64_t n_text, uint64_t n_data,
                      safetensors *st, failure *f)
{
    *st = (safetensors){.text = text, .data_offset = 8 + n_text};
    scan s = {name, text, n_text, 0, st, 0, f};
    int code = EXIT_OK;
    text[n_text] = 0;
    if (n_text == 0 || text[0] != '{') {
        code = bad(&s, "the header must begin with '{': not a safetensors file, or damaged");
    }
    if (code == EXIT_OK) {
        s.pos = utf8_valid_prefix(text, n_text);
        code = s.pos < n_text ? bad(&s, "not UTF-8") : EXIT_OK;
    }
    code = code == EXIT_OK ? read_entries(&s, n_data) : code;
    code = code == EXIT_OK ? check_names(&s) : code;
    code = code == EXIT_OK ? check_tiling(&s, n_data) : code;
    if (code != EXIT_OK) {
        safetensors_free(st);
        return code;
    }
    sort(st->tensors, st->n_tensors, sizeof *st->tensors, compare_names);
    return EXIT_OK;
}
