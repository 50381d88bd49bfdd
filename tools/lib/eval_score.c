/* eval_score.c - the checks on a generated text; see eval_score.h. */
#include "lib/eval_score.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/eval_regex.h"

typedef enum check_type {
    CHECK_EXACT,
    CHECK_CONTAINS,
    CHECK_REGEX,
    CHECK_JSON,
    CHECK_NUMBER,
    CHECK_IDS,
    CHECK_TYPES
} check_type;

static const char *const NAMES[CHECK_TYPES] = {"exact", "contains", "regex",
                                               "json",  "number",   "ids"};

struct eval_check {
    check_type type;
    bool negated;
    char *value; /* exact, contains: n_value bytes */
    size_t n_value;
    double number, tolerance;
    uint64_t digest;
    regex *pattern;
    char described[96];
};

uint64_t ids_digest(const int32_t *ids, size_t n_ids)
{
    slm_hash hash;
    slm_hash_init(&hash, 0);
    for (size_t i = 0; i < n_ids; i++) {
        uint32_t u = (uint32_t)ids[i];
        uint8_t bytes[4] = {(uint8_t)u, (uint8_t)(u >> 8), (uint8_t)(u >> 16), (uint8_t)(u >> 24)};
        slm_hash_update(&hash, bytes, 4);
    }
    return slm_hash_final(&hash);
}

/* ---- Compiling ------------------------------------------------------------------------------- */

static int check_keys(const char *where, json_t *definition, check_type type, failure *f)
{
    const char *key;
    json_t *value;
    json_object_foreach(definition, key, value)
    {
        bool known = strcmp(key, "type") == 0 || strcmp(key, "not") == 0 ||
                     (strcmp(key, "value") == 0 && type != CHECK_JSON) ||
                     (strcmp(key, "tolerance") == 0 && type == CHECK_NUMBER);
        if (!known) {
            return fail(f, EXIT_INPUT, "%s: a check of type %s has no key \"%s\"", where,
                        NAMES[type], key);
        }
    }
    return EXIT_OK;
}

static int read_type(const char *where, json_t *definition, check_type *type, failure *f)
{
    const char *name = json_string_value(json_object_get(definition, "type"));
    for (int i = 0; name && i < CHECK_TYPES; i++) {
        if (strcmp(name, NAMES[i]) == 0) {
            *type = (check_type)i;
            return EXIT_OK;
        }
    }
    if (!name) {
        return fail(f, EXIT_INPUT, "%s: a check is {\"type\": ..., \"value\": ...}", where);
    }
    return fail(f, EXIT_INPUT,
                "%s: no check is called \"%s\"; there are exact, contains, regex, json, number, "
                "ids",
                where, name);
}

static int read_digest(const char *where, eval_check *c, failure *f)
{
    char *end = c->value;
    bool plain = c->n_value == 16 && strspn(c->value, "0123456789abcdef") == 16;
    c->digest = plain ? strtoull(c->value, &end, 16) : 0;
    return plain ? EXIT_OK
                 : fail(f, EXIT_INPUT,
                        "%s: the value of an ids check is 16 lower-case hexadecimal digits", where);
}

static int read_number(const char *where, json_t *definition, eval_check *c, failure *f)
{
    json_t *value = json_object_get(definition, "value");
    json_t *tolerance = json_object_get(definition, "tolerance");
    c->number = json_number_value(value);
    c->tolerance = json_number_value(tolerance);
    if (!json_is_number(value) || !isfinite(c->number)) {
        return json_in_refuse(where, "value", "a number", value, f);
    }
    if (tolerance && (!json_is_number(tolerance) || !(c->tolerance >= 0))) {
        return json_in_refuse(where, "tolerance", "a number of at least 0", tolerance, f);
    }
    return EXIT_OK;
}

static int read_value(const char *where, json_t *definition, eval_check *c, failure *f)
{
    json_t *value = json_object_get(definition, "value");
    if (c->type == CHECK_JSON) {
        return EXIT_OK;
    }
    if (c->type == CHECK_NUMBER) {
        return read_number(where, definition, c, f);
    }
    if (!json_is_string(value) || json_string_length(value) == 0) {
        return json_in_refuse(where, "value", "a string that is not empty", value, f);
    }
    c->n_value = json_string_length(value);
    c->value = (char *)malloc(c->n_value + 1);
    if (!c->value) {
        return fail(f, EXIT_RESOURCE, "%s: no memory for a check", where);
    }
    memcpy(c->value, json_string_value(value), c->n_value + 1);
    if (c->type == CHECK_IDS) {
        return read_digest(where, c, f);
    }
    return c->type == CHECK_REGEX ? regex_compile(where, c->value, c->n_value, &c->pattern, f)
                                  : EXIT_OK;
}

static void describe(eval_check *c)
{
    const char *no = c->negated ? "not " : "";
    if (c->type == CHECK_NUMBER) {
        snprintf(c->described, sizeof c->described, "%snumber %.9g +- %.3g", no, c->number,
                 c->tolerance);
    } else if (c->type == CHECK_JSON) {
        snprintf(c->described, sizeof c->described, "%sjson", no);
    } else {
        bool cut = c->n_value > 60;
        snprintf(c->described, sizeof c->described, "%s%s \"%.60s%s\"", no, NAMES[c->type],
                 c->value, cut ? "..." : "");
    }
}

int check_compile(const char *where, json_t *definition, eval_check **check, failure *f)
{
    eval_check *c = (eval_check *)calloc(1, sizeof *c);
    if (!c) {
        return fail(f, EXIT_RESOURCE, "%s: no memory for a check", where);
    }
    json_t *negated = json_object_get(definition, "not");
    int code = read_type(where, definition, &c->type, f);
    code = code ? code : check_keys(where, definition, c->type, f);
    if (code == EXIT_OK && negated && !json_is_boolean(negated)) {
        code = json_in_refuse(where, "not", "true or false", negated, f);
    }
    c->negated = json_is_true(negated);
    code = code ? code : read_value(where, definition, c, f);
    if (code != EXIT_OK) {
        check_free(&c);
        return code;
    }
    describe(c);
    *check = c;
    return EXIT_OK;
}

void check_free(eval_check **check)
{
    if (*check) {
        regex_free(&(*check)->pattern);
        free((*check)->value);
        free(*check);
        *check = NULL;
    }
}

const char *check_describe(const eval_check *check)
{
    return check->described;
}

/* ---- Checking -------------------------------------------------------------------------------- */

static bool is_json(const char *text, size_t n)
{
    json_t *value = json_loadb(text, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    json_decref(value);
    return value != NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The last number written in the text: digits with at most one point among them, perhaps a sign
 * that does not itself follow a digit or letter. */
static bool last_number(const char *text, size_t n, double *value)
{
    size_t end = n;
    while (end > 0 && !is_digit(text[end - 1])) {
        end--;
    }
    size_t begin = end;
    bool point = false;
    while (begin > 0 && (is_digit(text[begin - 1]) || (!point && text[begin - 1] == '.' &&
                                                       begin > 1 && is_digit(text[begin - 2])))) {
        begin--;
        point = point || text[begin] == '.';
    }
    char digits[64];
    size_t length = end - begin;
    if (length == 0 || length >= sizeof digits) {
        return false;
    }
    memcpy(digits, text + begin, length);
    digits[length] = 0;
    if (!parse_f64(digits, 0, 0, value)) {
        return false;
    }
    bool minus = begin > 0 && text[begin - 1] == '-' &&
                 (begin == 1 || strchr(" \t\n(=:,", text[begin - 2]) != NULL);
    *value = minus ? -*value : *value;
    return true;
}

static bool holds(const eval_check *c, const char *text, size_t n, const int32_t *ids, size_t n_ids)
{
    double number;
    switch (c->type) {
    case CHECK_EXACT: return n == c->n_value && memcmp(text, c->value, n) == 0;
    case CHECK_CONTAINS: return memmem(text, n, c->value, c->n_value) != NULL;
    case CHECK_REGEX: return regex_matches(c->pattern, text, n);
    case CHECK_JSON: return is_json(text, n);
    case CHECK_NUMBER:
        return last_number(text, n, &number) && fabs(number - c->number) <= c->tolerance;
    case CHECK_IDS: return ids_digest(ids, n_ids) == c->digest;
    default: return false;
    }
}

bool check_passes(const eval_check *check, const char *text, size_t n_text, const int32_t *ids,
                  size_t n_ids)
{
    return holds(check, text, n_text, ids, n_ids) != check->negated;
}
