/* json_in.c - text -> Jansson values, strictly; see json_in.h. */
#include "lib/json_in.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_found(bool *found, bool value)
{
    if (found) {
        *found = value;
    }
}

/* Encodings that people meet and that would otherwise give a puzzling syntax error. */
static const char *wrong_encoding(const char *text, size_t n_bytes)
{
    if (n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        return "starts with a byte order mark; save it as plain UTF-8";
    }
    if (n_bytes >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0 ||
                         text[0] == 0 || text[1] == 0)) {
        return "looks like UTF-16; save it as plain UTF-8";
    }
    return NULL;
}

/* Where to go when an allocation fails while Jansson parses. It does not survive that itself: 2.14
 * drops a character of a string, or reads through a null pointer. What was parsed so far is lost.
 */
static _Thread_local jmp_buf *give_up;

static void *allocate(size_t n_bytes)
{
    void *block = malloc(n_bytes);
    if (!block && give_up) {
        longjmp(*give_up, 1);
    }
    return block;
}

/* json_loadb, or NULL with *out_of_memory set. */
static json_t *load(const char *text, size_t n_bytes, size_t flags, json_error_t *error,
                    bool *out_of_memory)
{
    jmp_buf place;
    *out_of_memory = false;
    json_set_alloc_funcs(allocate, free);
    give_up = &place;
    if (setjmp(place) != 0) {
        give_up = NULL;
        *out_of_memory = true;
        return NULL;
    }
    json_t *value = json_loadb(text, n_bytes, flags, error);
    give_up = NULL;
    return value;
}

static int parse(const char *name, const char *text, size_t n_bytes, size_t flags, json_t **root,
                 failure *f)
{
    const char *encoding = wrong_encoding(text, n_bytes);
    if (n_bytes == 0 || encoding) {
        return fail(f, EXIT_INPUT, "%s: %s", name, encoding ? encoding : "the file is empty");
    }
    json_error_t error;
    bool out_of_memory;
    json_t *value = load(text, n_bytes, JSON_REJECT_DUPLICATES | flags, &error, &out_of_memory);
    if (out_of_memory) {
        return fail(f, EXIT_RESOURCE, "%s: not enough memory to read it", name);
    }
    if (!value) {
        return fail(f, EXIT_INPUT, "%s:%d:%d: %s", name, error.line, error.column, error.text);
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return fail(f, EXIT_INPUT, "%s: must be a JSON object", name);
    }
    *root = value;
    return EXIT_OK;
}

int json_in_parse(const char *name, const char *text, size_t n_bytes, json_t **root, failure *f)
{
    return parse(name, text, n_bytes, 0, root, f);
}

int json_in_parse_reals(const char *name, const char *text, size_t n_bytes, json_t **root,
                        failure *f)
{
    return parse(name, text, n_bytes, JSON_DECODE_INT_AS_REAL, root, f);
}

char *json_in_text(const json_t *value)
{
    size_t flags = JSON_ENCODE_ANY | JSON_COMPACT;
    size_t n = json_dumpb(value, NULL, 0, flags);
    char *text = n > 0 ? (char *)malloc(n + 1) : NULL;
    if (text && json_dumpb(value, text, n, flags) == n) {
        text[n] = 0;
        return text;
    }
    free(text);
    return NULL;
}

json_t *json_in_get(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return value && !json_is_null(value) ? value : NULL;
}

int json_in_refuse(const char *name, const char *key, const char *what, const json_t *value,
                   failure *f)
{
    char *shown = value ? json_in_text(value) : NULL;
    int code;
    if (shown && strlen(shown) > 48) {
        code = fail(f, EXIT_INPUT, "%s: %s must be %s, not %.48s...", name, key, what, shown);
    } else if (shown) {
        code = fail(f, EXIT_INPUT, "%s: %s must be %s, not %s", name, key, what, shown);
    } else {
        code = fail(f, EXIT_INPUT, "%s: %s must be %s", name, key, what);
    }
    free(shown);
    return code;
}

int json_in_u32(const char *name, json_t *object, const char *key, uint32_t min, uint32_t max,
                uint32_t *value, bool *found, failure *f)
{
    json_t *item = json_in_get(object, key);
    set_found(found, item != NULL);
    if (!item) {
        return EXIT_OK;
    }
    json_int_t n = json_integer_value(item);
    if (!json_is_integer(item) || n < (json_int_t)min || n > (json_int_t)max) {
        char what[64];
        snprintf(what, sizeof what, "a whole number from %u to %u", min, max);
        return json_in_refuse(name, key, what, item, f);
    }
    *value = (uint32_t)n;
    return EXIT_OK;
}

int json_in_f32(const char *name, json_t *object, const char *key, double min, double max,
                float *value, bool *found, failure *f)
{
    json_t *item = json_in_get(object, key);
    set_found(found, item != NULL);
    if (!item) {
        return EXIT_OK;
    }
    double x = json_number_value(item);
    if (!json_is_number(item) || !isfinite((float)x) || x < min || x > max) {
        char what[64];
        snprintf(what, sizeof what, "a number from %g to %g", min, max);
        return json_in_refuse(name, key, what, item, f);
    }
    *value = (float)x;
    return EXIT_OK;
}

int json_in_bool(const char *name, json_t *object, const char *key, bool *value, bool *found,
                 failure *f)
{
    json_t *item = json_in_get(object, key);
    set_found(found, item != NULL);
    if (item && !json_is_boolean(item)) {
        return json_in_refuse(name, key, "true or false", item, f);
    }
    if (item) {
        *value = json_is_true(item);
    }
    return EXIT_OK;
}

int json_in_string(const char *name, json_t *object, const char *key, const char **value,
                   bool *found, failure *f)
{
    json_t *item = json_in_get(object, key);
    set_found(found, item != NULL);
    if (item && !json_is_string(item)) {
        return json_in_refuse(name, key, "a string", item, f);
    }
    if (item) {
        *value = json_string_value(item);
    }
    return EXIT_OK;
}
