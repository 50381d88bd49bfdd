/* canonical_json.c - a JSON value -> RFC 8785 text; see canonical_json.h. */
#include "lib/canonical_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json_out.h"

typedef struct writer {
    const char *name;
    FILE *out;
    bool indented;
    int depth;
    failure *f;
} writer;

/* Between the brackets and items of containers. */
static void line_break(const writer *w, int depth)
{
    if (w->indented) {
        fprintf(w->out, "\n%*s", 2 * depth, "");
    }
}

/* The fewest digits that read back as value: digits[0..n-1] and the exponent of 0.d1d2... */
static int shortest(double value, char digits[static 20], int *exponent)
{
    char text[40];
    for (int n = 0; n < 17; n++) {
        snprintf(text, sizeof text, "%.*e", n, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    const char *e = strchr(text, 'e');
    int n = 0;
    for (const char *c = text; c < e; c++) {
        if (*c != '.') {
            digits[n++] = *c;
        }
    }
    *exponent = atoi(e + 1) + 1;
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    return n;
}

void canonical_number(double value, char text[static 32])
{
    char digits[20], *at = text;
    int exponent, n;
    if (value == 0) {
        strcpy(text, "0"); /* also for -0 */
        return;
    }
    if (value < 0) {
        *at++ = '-';
    }
    n = shortest(fabs(value), digits, &exponent);
    if (n <= exponent && exponent <= 21) { /* a whole number */
        snprintf(at, 31, "%.*s%.*s", n, digits, exponent - n, "000000000000000000000");
    } else if (0 < exponent && exponent <= 21) {
        snprintf(at, 31, "%.*s.%.*s", exponent, digits, n - exponent, digits + exponent);
    } else if (-6 < exponent && exponent <= 0) {
        snprintf(at, 31, "0.%.*s%.*s", -exponent, "000000", n, digits);
    } else {
        snprintf(at, 31, "%c%s%.*se%+d", digits[0], n > 1 ? "." : "", n - 1, digits + 1,
                 exponent - 1);
    }
}

static void put_string(FILE *out, const char *s, size_t n)
{
    static const char short_escapes[] = "btn\0fr"; /* U+0008 to U+000D */
    fputc('"', out);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c >= 8 && c <= 13 && c != 11) {
            fprintf(out, "\\%c", short_escapes[c - 8]);
        } else if (c < 32) {
            fprintf(out, "\\u%04x", c);
        } else {
            fputc(c, out);
        }
    }
    fputc('"', out);
}

static int put(writer *w, const json_t *value);

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int put_members(writer *w, const json_t *object, const char **keys, size_t n)
{
    int code = EXIT_OK;
    for (size_t i = 0; i < n && code == EXIT_OK; i++) {
        fputs(i ? "," : "", w->out);
        line_break(w, w->depth);
        put_string(w->out, keys[i], strlen(keys[i]));
        fputs(w->indented ? ": " : ":", w->out);
        code = put(w, json_object_get(object, keys[i]));
    }
    return code;
}

static int put_object(writer *w, const json_t *value)
{
    size_t n = json_object_size(value), i = 0;
    const char **keys = (const char **)malloc((n + 1) * sizeof *keys);
    if (!keys) {
        return fail(w->f, EXIT_RESOURCE, "%s: no memory", w->name);
    }
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        keys[i++] = key;
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    fputc('{', w->out);
    w->depth++;
    int code = put_members(w, value, keys, n);
    w->depth--;
    if (n != 0) {
        line_break(w, w->depth);
    }
    fputc('}', w->out);
    free(keys);
    return code;
}

/* Lists of plain values stay on one line. */
static int put_array(writer *w, const json_t *value)
{
    bool flat = true;
    int code = EXIT_OK;
    size_t n = json_array_size(value);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(value, i);
        flat &= !json_is_object(item) && !json_is_array(item);
    }
    fputc('[', w->out);
    w->depth++;
    for (size_t i = 0; i < n && code == EXIT_OK; i++) {
        fputs(i == 0 ? "" : flat && w->indented ? ", " : ",", w->out);
        if (!flat) {
            line_break(w, w->depth);
        }
        code = put(w, json_array_get(value, i));
    }
    w->depth--;
    if (!flat) {
        line_break(w, w->depth);
    }
    fputc(']', w->out);
    return code;
}

static int put_number(writer *w, double value)
{
    char text[32];
    canonical_number(value, text);
    fputs(text, w->out);
    return EXIT_OK;
}

static int put(writer *w, const json_t *value)
{
    json_int_t whole = json_integer_value(value);
    switch (json_typeof(value)) {
    case JSON_OBJECT: return put_object(w, value);
    case JSON_ARRAY: return put_array(w, value);
    case JSON_STRING:
        put_string(w->out, json_string_value(value), json_string_length(value));
        return EXIT_OK;
    case JSON_INTEGER:
        if (whole > (json_int_t)1 << 53 || whole < -((json_int_t)1 << 53)) {
            return fail(w->f, EXIT_INPUT, "%s: the whole number %lld is beyond 2^53", w->name,
                        (long long)whole);
        }
        return put_number(w, (double)whole);
    case JSON_REAL: return put_number(w, json_real_value(value));
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        fputs(json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null", w->out);
        return EXIT_OK;
    }
    return EXIT_OK;
}

static int write_text(const char *name, const json_t *value, bool indented, char **text,
                      size_t *n_bytes, failure *f)
{
    writer w = {name, json_open_memory(text, n_bytes), indented, 0, f};
    if (!w.out) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", name);
    }
    int code = put(&w, value);
    fputs(indented ? "\n" : "", w.out);
    if (!json_close_memory(w.out) && code == EXIT_OK) {
        code = fail(f, EXIT_RESOURCE, "%s: no memory", name);
    }
    if (code != EXIT_OK) {
        free(*text);
        *text = NULL;
    }
    return code;
}

int canonical_json(const char *name, const json_t *value, char **text, size_t *n_bytes, failure *f)
{
    return write_text(name, value, false, text, n_bytes, f);
}

int canonical_json_indented(const char *name, const json_t *value, char **text, size_t *n_bytes,
                            failure *f)
{
    return write_text(name, value, true, text, n_bytes, f);
}
