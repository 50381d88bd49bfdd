/* test_text_splits.c - words of a hard text, cut by every kind of pre-tokenizer, against those of
 * the Hugging Face library (tests/golden/tokenizers/make_splits.mjs); expressions that are refused;
 * programs that were tampered with; that cutting is linear.
 */
#include "lib/check.h"
#include "lib/cli.h"
#include "lib/json_in.h"
#include "lib/small_tokenizer.h"
#include "lib/text_model.h"
#include "text/tokenizer_state.h"

#define GPT2 "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"

static int build_cutter(small_tokenizer *s, const char *pre, failure *f)
{
    char *json = small_json_with(small_json, GPT2, pre);
    int code = small_build(s, json, NULL, f);
    free(json);
    return code;
}

static word_cursor cut(const slm_tokenizer *t, const char *text, size_t n, void **memory,
                       encode_scratch *scratch)
{
    slm_scratch_carve(t, n, NULL, scratch);
    CHECK(posix_memalign(memory, 64, (size_t)scratch->n_bytes) == 0);
    slm_scratch_carve(t, n, *memory, scratch);
    memset(*memory, 0xff, (size_t)scratch->n_bytes);
    return slm_words_begin(t, (const uint8_t *)text, n, scratch);
}

static void compare(json_t *line, const char *text, size_t n)
{
    small_tokenizer s;
    failure f = {0};
    const char *name = json_string_value(json_object_get(line, "name"));
    char *pre = json_dumps(json_object_get(line, "pre_tokenizer"), JSON_COMPACT);
    json_t *words = json_object_get(line, "words");
    if (build_cutter(&s, pre, &f) != EXIT_OK || s.status != SLM_OK) {
        printf("# %s: %s%s\n", name, f.text, s.error.text);
        CHECK(false);
        free(pre);
        return;
    }
    void *memory = NULL;
    encode_scratch scratch;
    word_cursor c = cut(s.t, text, n, &memory, &scratch);
    size_t begin, end, i = 0;
    bool same = true;
    while (same && slm_words_next(&c, &begin, &end)) {
        same = end - begin == (size_t)json_integer_value(json_array_get(words, i++));
    }
    if (!same || i != json_array_size(words)) {
        printf("# %s: word %zu, \"%.*s\" at %zu\n", name, i, (int)(end - begin), text + begin,
               begin);
        CHECK(false);
    }
    free(memory);
    free(pre);
    small_close(&s);
}

static void like_the_library(void)
{
    char *text = NULL, *lines = NULL;
    size_t n = 0, n_lines = 0, count = 0;
    failure f;
    CHECK(input_slurp("tests/golden/tokenizers/splits.txt", 1 << 20, &text, &n, &f) == EXIT_OK);
    CHECK(input_slurp("tests/golden/tokenizers/splits.jsonl", 1 << 20, &lines, &n_lines, &f) ==
          EXIT_OK);
    for (char *p = lines, *end; p && (end = strchr(p, '\n')); p = end + 1) {
        json_t *line = NULL;
        CHECK(json_in_parse("splits.jsonl", p, (size_t)(end - p), &line, &f) == EXIT_OK);
        compare(line, text, n);
        json_decref(line);
        count++;
    }
    CHECK_U64(count, 37);
    free(text);
    free(lines);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static const struct {
    const char *expression, *says;
} refusals[] = {
    {"(?<=a)b", "this kind of group"},
    {"(?<!a)b", "this kind of group"},
    {"(?>a)b", "this kind of group"},
    {"(?<name>a)", "this kind of group"},
    {"(?i)a", "this kind of group"},
    {"(ab)++", "possessive repetitions of more than one"},
    {"a++?", "lazy and double"},
    {"a{0,2}+", "lazy and double"},
    {"a+?", "lazy and double"},
    {"a{2}{3}", "lazy and double"},
    {"a{1}?", "lazy and double"},
    {"a\\\\b", "an escape"},
    {"\\\\w+", "an escape"},
    {"\\\\1", "an escape"},
    {"^a", "a character with a meaning"},
    {"*a", "a character with a meaning"},
    {"a(?=bc)", "further than one character"},
    {"a(?!\\\\s|$)", "further than one character"},
    {"a*", "may match nothing"},
    {"", "may match nothing"},
    {"a|", "may match nothing"},
    {"(a*)+", "repeating what may be nothing"},
    {"(a", "a group without an end"},
    {"a)", "a parenthesis too many"},
    {"[a", "it ends in the middle"},
    {"[]", "an empty class"},
    {"[z-a]", "a range that is none"},
    {"[a-\\\\d]", "a range that is none"},
    {"[[:alpha:]]", "a POSIX bracket"},
    {"\\\\pL", "a property without braces"},
    {"\\\\p{Klingon}", "a property that is not known"},
    {"\\\\p{", "a property without braces"},
    {"\\\\u12", "a number is cut short"},
    {"\\\\x{110000}", "a number that is none"},
    {"\\\\x{}", "a number that is none"},
    {"\\\\", "it ends in the middle"},
    {"a{3,2}", "a number of repetitions that is none"},
    {"a{65}", "too many repetitions"},
    {"a{,2}", "a number of repetitions is missing"},
    {"(?i:\u00e4)", "beyond ASCII"},
    {"(?i:\\\\p{Lu})", "without regard to case"},
    {"(?i:[^a])", "without regard to case"},
    {"(?i:[a-z])", "without regard to case"},
    {"(?i:kiss)", "one character stands for"},
    {"((((((a{64}){64}){64}){64}){64}){64})", "the repetitions are too long"},
    {"(a|b)*a(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)c", "more than 256 states"},
};

static void refused(void)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        small_tokenizer s;
        failure f = {0};
        char pre[1024];
        snprintf(pre, sizeof pre,
                 "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
                 "{\"Regex\":\"%s\"},\"behavior\":\"Isolated\",\"invert\":false}," GPT2 "]}",
                 refusals[i].expression);
        int code = build_cutter(&s, pre, &f);
        if (code != EXIT_INPUT || !strstr(f.text, refusals[i].says)) {
            printf("# %s: exit code %d: %s\n", refusals[i].expression, code, f.text);
            CHECK(false);
        }
        small_close(&s);
    }
}

/* ---- Programs -------------------------------------------------------------------------------- */

#define STAGED                                                                                     \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"        \
    "\"[ab]+c|b\"},\"behavior\":\"Removed\",\"invert\":true}," GPT2                                \
    ",{\"type\":\"Digits\",\"individual_digits\":true}]}"

/* Every byte of a program changed: it is refused, or cuts the text without harm. */
static void tampered(void)
{
    small_tokenizer s;
    failure f = {0};
    CHECK(build_cutter(&s, STAGED, &f) == EXIT_OK);
    uint64_t n = s.payload.n_tokenizer, at = n;
    uint32_t n_refused = 0;
    uint8_t *copy = (uint8_t *)malloc(n);
    memcpy(&at, s.payload.tokenizer + 60, 4);
    at = n - (uint32_t)at;
    for (; at < n; at++) {
        static const uint8_t flips[] = {1, 2, 4, 16, 128, 255};
        for (size_t k = 0; k < sizeof flips; k++) {
            small_tokenizer c = {0};
            int32_t *ids = NULL;
            size_t n_ids;
            memcpy(copy, s.payload.tokenizer, n);
            copy[at] ^= flips[k];
            small_open(&c, copy, n);
            CHECK(c.status == SLM_OK || c.status == SLM_ERR_TOKENIZER);
            n_refused += c.status != SLM_OK;
            if (c.status == SLM_OK) {
                CHECK(small_encode(c.t, "abcab 12 \xc3\xa9\xff", 12, 0, &ids, &n_ids) == SLM_OK);
            }
            free(ids);
            free(c.memory);
        }
    }
    CHECK(n_refused > 1000);
    free(copy);
    small_close(&s);
}

/* ---- Time ------------------------------------------------------------------------------------ */

/* Expressions for which trying again at every place would take hours. */
static void linear(void)
{
    static const struct {
        const char *expression, *unit;
    } cases[] = {{"\\\\s+$", " "},     {"(a+)+$", "a"},        {"a+b|a", "a"},
                 {"[ab]*c|ab", "ab"},  {"(?:a|b)+x|ba", "ba"}, {"\\\\s*x|a", " \t"},
                 {"(ab|ba)+c", "abba"}};
    static const char *const more[] = {"a", "b", ""};
    size_t n = 1 << 18;
    char *text = (char *)malloc(n);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t k = 0; k < 3; k++) { /* one letter before the end */
            small_tokenizer s;
            failure f = {0};
            char pre[512];
            int32_t *ids = NULL;
            size_t n_ids, n_unit = strlen(cases[i].unit);
            snprintf(pre, sizeof pre,
                     "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
                     "{\"Regex\":\"%s\"},\"behavior\":\"Isolated\",\"invert\":false}," GPT2 "]}",
                     cases[i].expression);
            CHECK(build_cutter(&s, pre, &f) == EXIT_OK);
            for (size_t at = 0; at < n; at++) {
                text[at] = cases[i].unit[at % n_unit];
            }
            memcpy(text + n - 10, more[k], strlen(more[k]));
            double start = clock_seconds();
            CHECK(small_encode(s.t, text, n, 0, &ids, &n_ids) == SLM_OK);
            CHECK(clock_seconds() - start < 4);
            free(ids);
            small_close(&s);
        }
    }
    free(text);
}

int main(void)
{
    RUN(like_the_library);
    RUN(refused);
    RUN(tampered);
    RUN(linear);
    return test_finish();
}
