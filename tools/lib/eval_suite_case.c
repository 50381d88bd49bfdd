/* eval_suite_case.c - the keys of each kind of case, and what their values may be. */
#include "lib/eval_suite_case.h"

#include <stdio.h>
#include <string.h>

#include "lib/eval_score.h"

static const char *const KINDS[EVAL_KINDS] = {"generate",   "choice",     "cloze",
                                              "perplexity", "divergence", "tokenize"};

/* Besides id, kind and tags; each list ends with NULL. */
static const char *const KEYS[EVAL_KINDS][12] = {
    {"prompt", "messages", "max_tokens", "temperature", "seed", "top_k", "top_p", "min_p", "stop",
     "checks"},
    {"prompt", "choices", "prompts", "continuation", "answer", "normalize"},
    {"prompt", "continuation"},
    {"text", "file", "window", "stride"},
    {"text", "file", "window", "stride"},
    {"text", "file", "ids"},
};

const char *eval_kind_name(eval_kind kind)
{
    return kind < EVAL_KINDS ? KINDS[kind] : "?";
}

/* ---- Parts that several kinds have ----------------------------------------------------------- */

static bool is_control(const char *s) /* C0, DEL, or C1 in UTF-8 */
{
    unsigned char c = (unsigned char)s[0], next = c ? (unsigned char)s[1] : 0;
    return c < 0x20 || c == 0x7f || (c == 0xc2 && next >= 0x80 && next < 0xa0);
}

int suite_check_name(const char *where, const char *key, const json_t *value, failure *f)
{
    const char *s = json_string_value(value);
    size_t n = json_string_length(value);
    if (!s || n == 0) {
        return json_in_refuse(where, key, "a string that is not empty", value, f);
    }
    if (n > SUITE_MAX_NAME) {
        return fail(f, EXIT_INPUT, "%s: %s has %zu bytes; the limit is %d", where, key, n,
                    SUITE_MAX_NAME);
    }
    for (size_t i = 0; i < n; i++) {
        if (is_control(s + i)) {
            return fail(f, EXIT_INPUT, "%s: %s holds a control character", where, key);
        }
    }
    return EXIT_OK;
}

static int need_string(const char *where, json_t *d, const char *key, failure *f)
{
    json_t *value = json_object_get(d, key);
    return json_string_length(value) != 0
               ? EXIT_OK
               : json_in_refuse(where, key, "a string that is not empty", value, f);
}

/* An array of min..max strings, none empty. */
static int need_strings(const char *where, json_t *d, const char *key, size_t min, size_t max,
                        failure *f)
{
    json_t *list = json_object_get(d, key), *item;
    size_t n = json_array_size(list), i;
    if (!json_is_array(list) || n < min || n > max) {
        return fail(f, EXIT_INPUT, "%s: %s must be an array of %zu to %zu strings", where, key, min,
                    max);
    }
    json_array_foreach(list, i, item)
    {
        if (json_string_length(item) == 0) {
            return fail(f, EXIT_INPUT, "%s: %s[%zu] must be a string that is not empty", where, key,
                        i);
        }
    }
    return EXIT_OK;
}

static int check_distinct(const char *where, json_t *list, const char *key, failure *f)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        for (size_t k = 0; k < i; k++) {
            if (json_equal(json_array_get(list, i), json_array_get(list, k))) {
                return fail(f, EXIT_INPUT, "%s: %s[%zu] and %s[%zu] are the same", where, key, k,
                            key, i);
            }
        }
    }
    return EXIT_OK;
}

static int check_tags(const char *where, json_t *d, failure *f)
{
    json_t *tags = json_object_get(d, "tags"), *tag;
    size_t i;
    if (!tags) {
        return EXIT_OK;
    }
    int code = need_strings(where, d, "tags", 0, SUITE_MAX_TAGS, f);
    json_array_foreach(tags, i, tag)
    {
        code = code ? code : suite_check_name(where, "a tag", tag, f);
    }
    return code ? code : check_distinct(where, tags, "tags", f);
}

static int need_u32(const char *where, json_t *d, const char *key, uint32_t min, uint32_t max,
                    uint32_t *value, failure *f)
{
    bool found;
    int code = json_in_u32(where, d, key, min, max, value, &found, f);
    return code != EXIT_OK || found ? code : json_in_refuse(where, key, "given", NULL, f);
}

/* Either of two keys, and not both. */
static int need_one_of(const char *where, json_t *d, const char *one, const char *other, failure *f)
{
    bool a = json_object_get(d, one) != NULL, b = json_object_get(d, other) != NULL;
    return a != b ? EXIT_OK
                  : fail(f, EXIT_INPUT, "%s: the case needs %s \"%s\" or \"%s\"", where,
                         a ? "only one of" : "either", one, other);
}

/* ---- generate -------------------------------------------------------------------------------- */

static int check_sampling(const char *where, json_t *d, failure *f)
{
    float temperature = 0, share;
    uint32_t top_k;
    json_t *seed = json_object_get(d, "seed");
    int code = json_in_f32(where, d, "temperature", 0, 100, &temperature, NULL, f);
    code = code ? code : json_in_u32(where, d, "top_k", 0, SLM_MAX_CANDIDATES, &top_k, NULL, f);
    code = code ? code : json_in_f32(where, d, "top_p", 0, 1, &share, NULL, f);
    code = code ? code : json_in_f32(where, d, "min_p", 0, 1, &share, NULL, f);
    if (code == EXIT_OK && seed && (!json_is_integer(seed) || json_integer_value(seed) < 0)) {
        return json_in_refuse(where, "seed", "a whole number of at least 0", seed, f);
    }
    if (code == EXIT_OK && temperature > 0 && !seed) {
        return fail(f, EXIT_INPUT,
                    "%s: a temperature above 0 needs a \"seed\": else nobody can repeat the case",
                    where);
    }
    return code;
}

static int check_messages(const char *where, json_t *d, failure *f)
{
    json_t *list = json_object_get(d, "messages"), *message;
    size_t n = json_array_size(list), i;
    const char *last = "", *role = "";
    if (n == 0 || n > 1000) {
        return fail(f, EXIT_INPUT, "%s: messages must be an array of 1 to 1000 turns", where);
    }
    json_array_foreach(list, i, message)
    {
        role = json_string_value(json_object_get(message, "role"));
        const json_t *content = json_object_get(message, "content");
        if (!json_is_object(message) || json_object_size(message) != 2 || !role ||
            !json_is_string(content)) {
            return fail(f, EXIT_INPUT,
                        "%s: messages[%zu] must be {\"role\": ..., \"content\": ...}", where, i);
        }
        bool system = strcmp(role, "system") == 0, user = strcmp(role, "user") == 0;
        if (!system && !user && strcmp(role, "assistant") != 0) {
            return fail(f, EXIT_INPUT,
                        "%s: messages[%zu]: no role is called \"%s\"; there are system, user, "
                        "assistant",
                        where, i, role);
        }
        if (system ? i != 0 : strcmp(last, role) == 0 || (!user && strcmp(last, "user") != 0)) {
            return fail(f, EXIT_INPUT,
                        "%s: messages[%zu]: turns are: system at most once and first, then user "
                        "and assistant in turn",
                        where, i);
        }
        last = role;
    }
    return strcmp(last, "user") == 0
               ? EXIT_OK
               : fail(f, EXIT_INPUT, "%s: the last of messages must be the user's", where);
}

static int check_checks(const char *where, json_t *d, failure *f)
{
    json_t *list = json_object_get(d, "checks"), *item;
    size_t n = json_array_size(list), i;
    if (n == 0 || n > SUITE_MAX_CHECKS) {
        return fail(f, EXIT_INPUT, "%s: checks must be an array of 1 to %d: nothing is expected",
                    where, SUITE_MAX_CHECKS);
    }
    json_array_foreach(list, i, item)
    {
        eval_check *check = NULL;
        char name[256];
        snprintf(name, sizeof name, "%s: checks[%zu]", where, i);
        int code = check_compile(name, item, &check, f);
        check_free(&check);
        if (code != EXIT_OK) {
            return code;
        }
    }
    return check_distinct(where, list, "checks", f);
}

static int check_generate(const char *where, json_t *d, failure *f)
{
    uint32_t n;
    int code = need_one_of(where, d, "prompt", "messages", f);
    if (code == EXIT_OK) {
        code = json_object_get(d, "prompt") ? need_string(where, d, "prompt", f)
                                            : check_messages(where, d, f);
    }
    code = code ? code : need_u32(where, d, "max_tokens", 1, 65536, &n, f);
    code = code ? code : check_sampling(where, d, f);
    if (code == EXIT_OK && json_object_get(d, "stop")) {
        code = need_strings(where, d, "stop", 1, SUITE_MAX_STOPS, f);
    }
    return code ? code : check_checks(where, d, f);
}

/* ---- The others ------------------------------------------------------------------------------ */

static int check_choice(const char *where, json_t *d, failure *f)
{
    bool plain = json_object_get(d, "choices") != NULL;
    const char *list = plain ? "choices" : "prompts", *one = plain ? "prompt" : "continuation";
    const char *stray = plain ? "continuation" : "prompt";
    int code = need_one_of(where, d, "choices", "prompts", f);
    if (code == EXIT_OK && json_object_get(d, stray)) {
        return fail(f, EXIT_INPUT, "%s: \"%s\" does not go with \"%s\"", where, stray, list);
    }
    code = code ? code : need_strings(where, d, list, 2, SUITE_MAX_CHOICES, f);
    code = code ? code : check_distinct(where, json_object_get(d, list), list, f);
    code = code ? code : need_string(where, d, one, f);
    uint32_t last = (uint32_t)json_array_size(json_object_get(d, list)) - 1, answer;
    code = code ? code : need_u32(where, d, "answer", 0, last, &answer, f);
    const json_t *normalize = json_object_get(d, "normalize");
    const char *by = json_string_value(normalize);
    if (code == EXIT_OK && normalize &&
        (!by || (strcmp(by, "none") != 0 && strcmp(by, "token") != 0 && strcmp(by, "byte") != 0))) {
        return json_in_refuse(where, "normalize", "\"none\", \"token\" or \"byte\"", normalize, f);
    }
    return code;
}

static int check_text(const char *where, eval_case *c, failure *f)
{
    json_t *d = c->definition;
    const json_t *text = json_object_get(d, "text");
    int code = need_one_of(where, d, "text", "file", f);
    code = code ? code : need_string(where, d, text ? "text" : "file", f);
    c->text = json_string_value(text);
    c->n_text = json_string_length(text);
    return code;
}

static int check_windows(const char *where, eval_case *c, failure *f)
{
    uint32_t window, stride;
    int code = check_text(where, c, f);
    code = code ? code : need_u32(where, c->definition, "window", 2, 1 << 24, &window, f);
    return code ? code : need_u32(where, c->definition, "stride", 1, window - 1, &stride, f);
}

static int check_tokenize(const char *where, eval_case *c, failure *f)
{
    json_t *ids = json_object_get(c->definition, "ids"), *id;
    size_t i;
    int code = check_text(where, c, f);
    if (code == EXIT_OK && ids && !json_is_array(ids)) {
        return json_in_refuse(where, "ids", "an array of token ids", ids, f);
    }
    json_array_foreach(ids, i, id)
    {
        if (code == EXIT_OK && (!json_is_integer(id) || json_integer_value(id) < 0 ||
                                json_integer_value(id) > INT32_MAX)) {
            return json_in_refuse(where, "ids", "an array of token ids", id, f);
        }
    }
    return code;
}

/* ---- All ------------------------------------------------------------------------------------- */

static int check_keys(const char *where, const eval_case *c, failure *f)
{
    const char *key;
    json_t *value;
    json_object_foreach(c->definition, key, value)
    {
        bool known = strcmp(key, "id") == 0 || strcmp(key, "kind") == 0 || strcmp(key, "tags") == 0;
        for (int i = 0; !known && KEYS[c->kind][i]; i++) {
            known = strcmp(key, KEYS[c->kind][i]) == 0;
        }
        if (!known) {
            return fail(f, EXIT_INPUT, "%s: a case of kind %s has no key \"%s\"", where,
                        KINDS[c->kind], key);
        }
        if (json_is_null(value)) {
            return fail(f, EXIT_INPUT, "%s: %s is null", where, key);
        }
    }
    return EXIT_OK;
}

static int read_kind(const char *where, eval_case *c, failure *f)
{
    const json_t *value = json_object_get(c->definition, "kind");
    const char *name = json_string_value(value);
    for (int i = 0; name && i < EVAL_KINDS; i++) {
        if (strcmp(name, KINDS[i]) == 0) {
            c->kind = (eval_kind)i;
            return EXIT_OK;
        }
    }
    return json_in_refuse(where, "kind",
                          "one of generate, choice, cloze, perplexity, divergence, tokenize", value,
                          f);
}

int suite_check_case(const char *where, eval_case *c, failure *f)
{
    json_t *d = c->definition, *id = json_object_get(d, "id");
    int code = suite_check_name(where, "id", id, f);
    code = code ? code : read_kind(where, c, f);
    code = code ? code : check_keys(where, c, f);
    code = code ? code : check_tags(where, d, f);
    if (code != EXIT_OK) {
        return code;
    }
    c->id = json_string_value(id);
    switch (c->kind) {
    case EVAL_GENERATE: return check_generate(where, d, f);
    case EVAL_CHOICE: return check_choice(where, d, f);
    case EVAL_CLOZE:
        code = need_string(where, d, "prompt", f);
        return code ? code : need_string(where, d, "continuation", f);
    case EVAL_TOKENIZE: return check_tokenize(where, c, f);
    default: return check_windows(where, c, f);
    }
}
