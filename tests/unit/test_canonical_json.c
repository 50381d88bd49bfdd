/* test_canonical_json.c - against the published vectors of RFC 8785 (section 3.2.2 to 3.2.3 and
 * appendix B). */
#include "lib/check.h"

#include "lib/canonical_json.h"

static void numbers(void)
{
    static const struct {
        uint64_t bits;
        const char *text;
    } vectors[] = {
        {0x0000000000000000, "0"},
        {0x8000000000000000, "0"},
        {0x0000000000000001, "5e-324"},
        {0x8000000000000001, "-5e-324"},
        {0x7fefffffffffffff, "1.7976931348623157e+308"},
        {0xffefffffffffffff, "-1.7976931348623157e+308"},
        {0x4340000000000000, "9007199254740992"},
        {0xc340000000000000, "-9007199254740992"},
        {0x4430000000000000, "295147905179352830000"},
        {0x44b52d02c7e14af5, "9.999999999999997e+22"},
        {0x44b52d02c7e14af6, "1e+23"},
        {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
        {0x444b1ae4d6e2ef4e, "999999999999999700000"},
        {0x444b1ae4d6e2ef4f, "999999999999999900000"},
        {0x444b1ae4d6e2ef50, "1e+21"},
        {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
        {0x3eb0c6f7a0b5ed8d, "0.000001"},
        {0x41b3de4355555553, "333333333.3333332"},
        {0x41b3de4355555554, "333333333.33333325"},
        {0x41b3de4355555555, "333333333.3333333"},
        {0x41b3de4355555556, "333333333.3333334"},
        {0x41b3de4355555557, "333333333.33333343"},
        {0xbecbf647612f3696, "-0.0000033333333333333333"},
        {0x43143ff3c1cb0959, "1424953923781206.2"},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        double value;
        char text[32];
        memcpy(&value, &vectors[i].bits, 8);
        canonical_number(value, text);
        CHECK_STRING(text, vectors[i].text);
    }
}

static void check_text(const char *in, const char *want)
{
    failure f = {0};
    json_t *root = NULL;
    char *text = NULL;
    size_t n = 0;
    CHECK(json_in_parse("t", in, strlen(in), &root, &f) == EXIT_OK);
    CHECK(canonical_json("t", root, &text, &n, &f) == EXIT_OK);
    CHECK_STRING(text, want);
    CHECK_U64(n, strlen(want));
    free(text);
    json_decref(root);
}

static void documents(void)
{
    check_text(
        "{ \"numbers\": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],"
        "\"string\": \"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\","
        "\"literals\": [null, true, false] }",
        "{\"literals\":[null,true,false],"
        "\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],"
        "\"string\":\"\xe2\x82\xac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
    check_text("{\"b\": {}, \"a\": [], \"\": -12, \"\\r\": \"\\b\\t\\f\\r\"}",
               "{\"\":-12,\"\\r\":\"\\b\\t\\f\\r\",\"a\":[],\"b\":{}}");
}

static void indented(void)
{
    failure f = {0};
    char *text = NULL;
    size_t n;
    json_t *value = json_pack("{s:{s:[i,i], s:[{}], s:[]}, s:n}", "b", "y", 1, 2, "x", "z", "a");
    CHECK(canonical_json_indented("t", value, &text, &n, &f) == EXIT_OK);
    CHECK_STRING(text, "{\n  \"a\": null,\n  \"b\": {\n    \"x\": [\n      {}\n    ],\n"
                       "    \"y\": [1, 2],\n    \"z\": []\n  }\n}\n");
    free(text);
    json_decref(value);
}

static void whole_numbers_beyond_2_53_are_refused(void)
{
    failure f = {0};
    char *text = NULL;
    size_t n;
    json_t *value = json_integer(((json_int_t)1 << 53) + 1);
    CHECK(canonical_json("t", value, &text, &n, &f) == EXIT_INPUT);
    CHECK_STRING(f.text, "t: the whole number 9007199254740993 is beyond 2^53");
    json_decref(value);
}

int main(void)
{
    RUN(numbers);
    RUN(documents);
    RUN(indented);
    RUN(whole_numbers_beyond_2_53_are_refused);
    return test_finish();
}
