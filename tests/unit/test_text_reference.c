/* test_text_reference.c - small tokenizers of every kind against the Hugging Face library's ids and
 * decoded texts (tests/golden/tokenizers/make_small.mjs).
 */
#include "lib/check.h"
#include "lib/cli.h"
#include "lib/input.h"
#include "lib/json_in.h"
#include "lib/small_tokenizer.h"

static bool same_ids(const int32_t *ids, size_t n, const json_t *wanted)
{
    bool same = n == json_array_size(wanted);
    for (size_t i = 0; i < n && same; i++) {
        same = ids[i] == (int32_t)json_integer_value(json_array_get(wanted, i));
    }
    return same;
}

/* Decoded text, malloc'd. */
static char *decode(const slm_tokenizer *t, const int32_t *ids, size_t n_ids, size_t *n)
{
    enum { ROOM = 4096 };
    char *text = (char *)malloc(ROOM);
    slm_decoder d;
    slm_decoder_init(&d, 0);
    *n = 0;
    for (size_t i = 0; i < n_ids; i++) {
        size_t more = 0;
        CHECK(slm_decoder_push(&d, t, ids[i], text + *n, ROOM - 8 - *n, &more, NULL) == SLM_OK);
        *n += more;
    }
    *n += slm_decoder_flush(&d, text + *n);
    return text;
}

static bool same_text(const slm_tokenizer *t, const int32_t *ids, size_t n_ids,
                      const json_t *wanted)
{
    size_t n;
    char *text = decode(t, ids, n_ids, &n);
    bool same = json_is_null(wanted) || (n == json_string_length(wanted) &&
                                         memcmp(text, json_string_value(wanted), n) == 0);
    free(text);
    return same;
}

static void compare(const char *name, const slm_tokenizer *t, json_t *one)
{
    const char *text = json_string_value(json_array_get(one, 0));
    int32_t *ids = NULL;
    size_t n_ids = 0;
    CHECK(small_encode(t, text, strlen(text), SLM_ENCODE_SPECIAL | SLM_ENCODE_CONTROL, &ids,
                       &n_ids) == SLM_OK);
    bool encoded = same_ids(ids, n_ids, json_array_get(one, 1));
    if (!encoded || !same_text(t, ids, n_ids, json_array_get(one, 2))) {
        printf("# %s: %s differs for \"%s\"\n", name, encoded ? "the text" : "an id", text);
        CHECK(false);
    }
    free(ids);
}

static void compare_line(json_t *line)
{
    small_tokenizer s;
    failure f = {0};
    const char *name = json_string_value(json_object_get(line, "name"));
    json_t *cases = json_object_get(line, "cases");
    char *json = json_dumps(json_object_get(line, "tokenizer"), JSON_COMPACT);
    if (small_build(&s, json, NULL, &f) != EXIT_OK || s.status != SLM_OK) {
        printf("# %s: %s%s\n", name, f.text, s.error.text);
        CHECK(false);
    } else {
        for (size_t i = 0; i < json_array_size(cases); i++) {
            compare(name, s.t, json_array_get(cases, i));
        }
    }
    free(json);
    small_close(&s);
}

static void like_the_library(void)
{
    char *lines = NULL;
    size_t n = 0, count = 0;
    failure f = {0};
    CHECK(input_slurp("tests/golden/tokenizers/small.jsonl", 1 << 20, &lines, &n, &f) == EXIT_OK);
    for (char *p = lines, *end; p && (end = strchr(p, '\n')); p = end + 1) {
        json_t *line = NULL;
        CHECK(json_in_parse("small.jsonl", p, (size_t)(end - p), &line, &f) == EXIT_OK);
        compare_line(line);
        json_decref(line);
        count++;
    }
    CHECK_U64(count, 45);
    free(lines);
}

int main(void)
{
    RUN(like_the_library);
    return test_finish();
}
