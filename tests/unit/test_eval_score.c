/* Checks on texts, and the regular expressions among them: what each must say was worked out by
 * hand. Numbers in brackets are malformed-input items. */
#include <time.h>

#include "lib/check.h"
#include "lib/eval_regex.h"
#include "lib/eval_score.h"

/* ---- Regular expressions --------------------------------------------------------------------- */

static int match(const char *pattern, const char *text) /* 1, 0, or -1: refused */
{
    regex *r = NULL;
    failure f = {0};
    if (regex_compile("test", pattern, strlen(pattern), &r, &f) != EXIT_OK) {
        printf("# %s\n", f.text);
        return -1;
    }
    int found = regex_matches(r, text, strlen(text));
    regex_free(&r);
    return found;
}

static const struct {
    const char *pattern, *text;
    int found;
} PATTERNS[] = {
    {"dog", "the dog ran", 1},
    {"dog", "the do g ran", 0},
    {"^the", "the dog", 1},
    {"^dog", "the dog", 0},
    {"dog$", "the dog", 1},
    {"dog$", "the dog\n", 0}, /* the end of the text, not of a line */
    {"d.g", "d\ng", 0},
    {"d.g", "d\xc3\xa9g", 1}, /* one character of two bytes */
    {"d..g", "d\xc3\xa9g", 0},
    {"[a-c]+x", "abcx", 1},
    {"^[^a-c]+$", "xyz", 1},
    {"^[^a-c]+$", "xaz", 0},
    {"[\\]\\-]", "-", 1},
    {"[a-]", "-", 1},
    {"\\d{3}", "a12b345", 1},
    {"\\d{3}", "12 34", 0},
    {"^\\d{2,3}$", "1234", 0},
    {"^\\d{2,}$", "1234", 1},
    {"^(ab|cd)+$", "abcdab", 1},
    {"^(ab|cd)+$", "abcda", 0},
    {"^(?:a|b|cc)d?$", "ccd", 1},
    {"^a?b*c+$", "bbc", 1},
    {"^a?b*c+$", "aab", 0},
    {"\\bcat\\b", "a cat!", 1},
    {"\\bcat\\b", "concat", 0},
    {"\\Bcat", "concat", 1},
    {"\\w\\s\\W\\S\\D", "a ! x", 0},
    {"\\w\\s\\W\\S\\D", "a !yx", 1},
    {"(?i)ONCE [a-z]+", "once UPON", 1},
    {"(?i)[^a]b", "AB", 0},
    {"\\.\\*\\(\\)", ".*()", 1},
    {"\\n\\t", "x\n\ty", 1},
    {"(a|)b", "b", 1},
    {"[\xc3\xa0-\xc3\xbf]", "\xc3\xa9", 1},
    {"^.$", "\xff", 1}, /* a byte that is no UTF-8 is a character of its own */
    {"\xc3\xbf", "\xff", 0},
    {"^((a{2}){2}){2}$", "aaaaaaaa", 1},
    {"^((a{2}){2}){2}$", "aaaaaaa", 0},
};

static void patterns_match_what_they_say(void)
{
    for (size_t i = 0; i < sizeof PATTERNS / sizeof PATTERNS[0]; i++) {
        int found = match(PATTERNS[i].pattern, PATTERNS[i].text);
        if (found != PATTERNS[i].found) {
            printf("# /%s/ on \"%s\"\n", PATTERNS[i].pattern, PATTERNS[i].text);
        }
        CHECK(found == PATTERNS[i].found);
    }
}

static const char *const MALFORMED[] = {
    "",
    "(",
    ")",
    "a)",
    "(a",
    "[",
    "[a",
    "[]",
    "[z-a]",
    "[\\d-z]",
    "*",
    "a**",
    "a+?",
    "+a",
    "a{",
    "a{}",
    "a{,3}",
    "a{3,2}",
    "a{0}",
    "a{1001}",
    "a{1,1001}",
    "a{x}",
    "\\",
    "[\\",
    "\\1",
    "\\q",
    "(?=a)b",
    "(?<n>a)",
    "(?P<n>a)",
    "]",
    "}",
    "()*",
    "a*",
    "a?",
    "^$",
    "x|",
    "(a{1000}){1000}",
    "\xff",
    "a\xc3",
    "[[:alpha:]",
    "(?i)",
    "\\x41",
    "$|a",
};

static void malformed_patterns_are_refused_EV15(void)
{
    for (size_t i = 0; i < sizeof MALFORMED / sizeof MALFORMED[0]; i++) {
        int found = match(MALFORMED[i], "a");
        if (found != -1) {
            printf("# /%s/ was taken\n", MALFORMED[i]);
        }
        CHECK(found == -1);
    }
    regex *r = NULL;
    failure f = {0};
    CHECK_U64(regex_compile("f.jsonl:3", "ab(c", 4, &r, &f), EXIT_INPUT);
    CHECK_STRING(f.text, "f.jsonl:3: regex, byte 3: this ( is never closed");
    CHECK_U64(regex_compile("x", "a\0b", 3, &r, &f), EXIT_INPUT); /* NUL */
    char deep[1200];
    memset(deep, '(', 600);
    memset(deep + 600, ')', 600);
    CHECK_U64(regex_compile("x", deep, sizeof deep, &r, &f), EXIT_INPUT);
    static char large[REGEX_MAX_PATTERN + 2];
    memset(large, 'a', REGEX_MAX_PATTERN + 1);
    CHECK_U64(regex_compile("x", large, REGEX_MAX_PATTERN, &r, &f), EXIT_OK);
    regex_free(&r);
    CHECK_U64(regex_compile("x", large, REGEX_MAX_PATTERN + 1, &r, &f), EXIT_INPUT);
    CHECK(r == NULL);
}

/* A backtracking engine needs 2^n steps for these. */
static void catastrophic_patterns_take_linear_time_EV15(void)
{
    static const char *const patterns[] = {
        "(a+)+$", "(a|a)*$x", "(a*)*b", "(a|aa)+$", "((((a?)?)?)?){30}b", "(.*)(.*)(.*)(.*)[bc]"};
    enum { N = 100000 };
    static char text[N + 1];
    memset(text, 'a', N);
    text[N - 1] = '!';
    clock_t start = clock();
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        CHECK(match(patterns[i], text) == 0);
    }
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("# %.2f s\n", seconds);
    CHECK(seconds < 30); /* a fraction of a second, but not under sanitizers */
    /* the pattern itself: nested optional groups are copied, not parsed again and again */
    static char nested[400];
    size_t n = 0;
    for (int i = 0; i < 100; i++) {
        nested[n++] = '(';
    }
    nested[n++] = 'a';
    for (int i = 0; i < 100; i++) {
        memcpy(nested + n, ")?", 2);
        n += 2;
    }
    nested[n++] = 'b';
    nested[n] = 0;
    CHECK(match(nested, "ab") == 1);
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static int check(const char *json, const char *text, size_t n) /* 1, 0, or -1: refused */
{
    eval_check *c = NULL;
    failure f = {0};
    json_t *definition = json_loads(json, 0, NULL);
    int code = check_compile("test", definition, &c, &f);
    json_decref(definition);
    if (code != EXIT_OK) {
        printf("# %s\n", f.text);
        CHECK_U64(code, EXIT_INPUT);
        return -1;
    }
    static const int32_t ids[] = {1, 2, 300};
    int passed = check_passes(c, text, n, ids, 3);
    check_free(&c);
    return passed;
}

static void checks_judge_texts(void)
{
    static const struct {
        const char *json, *text;
        int passed;
    } cases[] = {
        {"{\"type\":\"exact\",\"value\":\"yes\"}", "yes", 1},
        {"{\"type\":\"exact\",\"value\":\"yes\"}", "yes ", 0},
        {"{\"type\":\"exact\",\"value\":\"yes\",\"not\":true}", "no", 1},
        {"{\"type\":\"contains\",\"value\":\"cat\"}", "a cat.", 1},
        {"{\"type\":\"contains\",\"value\":\"cat\",\"not\":false}", "a Cat.", 0},
        {"{\"type\":\"regex\",\"value\":\"\\\\bc.t\"}", "a cut", 1},
        {"{\"type\":\"json\"}", "{\"a\": [1, 2]}", 1},
        {"{\"type\":\"json\"}", " 7 ", 1},
        {"{\"type\":\"json\"}", "{\"a\": 1} x", 0},
        {"{\"type\":\"json\"}", "{\"a\": 1, \"a\": 2}", 0},
        {"{\"type\":\"json\"}", "", 0},
        {"{\"type\":\"number\",\"value\":42}", "the answer is 42.", 1},
        {"{\"type\":\"number\",\"value\":42}", "42 of 43", 0}, /* the last one */
        {"{\"type\":\"number\",\"value\":-3.5}", "x = -3.5", 1},
        {"{\"type\":\"number\",\"value\":5}", "10-5", 1}, /* a difference, no sign */
        {"{\"type\":\"number\",\"value\":0.3,\"tolerance\":0.02}", "about .31", 0}, /* 31 */
        {"{\"type\":\"number\",\"value\":0.3,\"tolerance\":0.02}", "about 0.31", 1},
        {"{\"type\":\"number\",\"value\":3.4}", "1.2.3.4", 1},
        {"{\"type\":\"number\",\"value\":1}", "none", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int passed = check(cases[i].json, cases[i].text, strlen(cases[i].text));
        if (passed != cases[i].passed) {
            printf("# %s on \"%s\"\n", cases[i].json, cases[i].text);
        }
        CHECK(passed == cases[i].passed);
    }
    CHECK(check("{\"type\":\"contains\",\"value\":\"b\"}", "a\0b", 3) == 1); /* behind a NUL */
}

static void ids_are_digested(void)
{
    /* the format document's checksum of the 12 bytes 01000000 02000000 2c010000 */
    static const uint8_t bytes[12] = {1, 0, 0, 0, 2, 0, 0, 0, 0x2c, 1, 0, 0};
    static const int32_t ids[] = {1, 2, 300};
    char json[80];
    uint64_t want = slm_hash_bytes(0, bytes, 12);
    CHECK_U64(ids_digest(ids, 3), want);
    snprintf(json, sizeof json, "{\"type\":\"ids\",\"value\":\"%016" PRIx64 "\"}", want);
    CHECK(check(json, "", 0) == 1);
    snprintf(json, sizeof json, "{\"type\":\"ids\",\"value\":\"%016" PRIx64 "\"}", want ^ 1);
    CHECK(check(json, "", 0) == 0);
}

static void malformed_checks_are_refused_EV13_EV14_EV16_EV25_EV26(void)
{
    static const char *const bad[] = {
        "{}",
        "{\"type\":7}",
        "{\"type\":\"contians\",\"value\":\"x\"}",
        "{\"type\":\"exec\",\"value\":\"rm\"}",
        "{\"type\":\"python\",\"value\":\"1\"}",
        "{\"type\":\"json-schema\",\"value\":{\"$ref\":\"file:///etc/passwd\"}}",
        "{\"type\":\"json\",\"value\":\"x\"}",
        "{\"type\":\"exact\"}",
        "{\"type\":\"exact\",\"value\":\"\"}",
        "{\"type\":\"contains\",\"value\":\"\"}",
        "{\"type\":\"contains\",\"value\":null}",
        "{\"type\":\"contains\",\"value\":3}",
        "{\"type\":\"contains\",\"value\":[\"x\"]}",
        "{\"type\":\"contains\",\"value\":\"x\",\"not\":1}",
        "{\"type\":\"contains\",\"value\":\"x\",\"weight\":2}",
        "{\"type\":\"contains\",\"value\":\"x\",\"tolerance\":2}",
        "{\"type\":\"regex\",\"value\":\"(\"}",
        "{\"type\":\"number\",\"value\":\"3\"}",
        "{\"type\":\"number\",\"value\":3,\"tolerance\":-1}",
        "{\"type\":\"number\",\"value\":3,\"tolerance\":\"1\"}",
        "{\"type\":\"number\",\"value\":3,\"tolerance\":null}",
        "{\"type\":\"ids\",\"value\":\"xyz\"}",
        "{\"type\":\"ids\",\"value\":\"0123456789ABCDEF\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(check(bad[i], "x", 1) == -1);
    }
}

int main(void)
{
    RUN(patterns_match_what_they_say);
    RUN(malformed_patterns_are_refused_EV15);
    RUN(catastrophic_patterns_take_linear_time_EV15);
    RUN(checks_judge_texts);
    RUN(ids_are_digested);
    RUN(malformed_checks_are_refused_EV13_EV14_EV16_EV25_EV26);
    return test_finish();
}
