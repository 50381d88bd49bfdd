/* test_json_out.c - documents byte for byte; numbers that must read back equal. */
#include <math.h>

#include "lib/check.h"
#include "lib/json_out.h"

static char buffer[4096];

static FILE *open_buffer(void)
{
    memset(buffer, 0, sizeof buffer);
    FILE *f = fmemopen(buffer, sizeof buffer, "w");
    CHECK(f != NULL);
    return f;
}

static void nested(void)
{
    FILE *f = open_buffer();
    json_out j;
    json_begin(&j, f, true);
    json_object(&j, NULL);
    json_u64(&j, "a", UINT64_MAX);
    json_i64(&j, "b", INT64_MIN);
    json_array(&j, "c");
    json_array(&j, NULL);
    json_array_end(&j);
    json_object(&j, NULL);
    json_object_end(&j);
    json_bool(&j, NULL, true);
    json_bool(&j, NULL, false);
    json_null(&j, NULL);
    json_array_end(&j);
    json_hex64(&j, "d", 0xabc);
    json_object_end(&j);
    json_end(&j);
    fclose(f);
    CHECK_STRING(buffer, "{\"a\":18446744073709551615,\"b\":-9223372036854775808,"
                         "\"c\":[[],{},true,false,null],\"d\":\"0000000000000abc\"}\n");
}

static void indented(void)
{
    FILE *f = open_buffer();
    json_out j;
    json_begin(&j, f, false);
    json_object(&j, NULL);
    json_string(&j, "a", "b");
    json_array(&j, "c");
    json_u64(&j, NULL, 1);
    json_array_end(&j);
    json_object_end(&j);
    json_end(&j);
    fclose(f);
    CHECK_STRING(buffer, "{\n  \"a\": \"b\",\n  \"c\": [\n    1\n  ]\n}\n");
}

static void check_text(const char *text, size_t n, const char *want)
{
    FILE *f = open_buffer();
    json_out j;
    json_begin(&j, f, true);
    json_string_n(&j, NULL, text, n);
    fclose(f);
    CHECK_STRING(buffer, want);
}

#define BAD "\xef\xbf\xbd" /* U+FFFD */

static void strings(void)
{
    check_text("\"\\/\n\t\r\x1b\x7f", 8, "\"\\\"\\\\/\\n\\t\\u000d\\u001b\\u007f\"");
    check_text("a\0b", 3, "\"a\\u0000b\"");
    check_text("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
               "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
    check_text("\xff", 1, "\"" BAD "\"");
    check_text("\xc3", 1, "\"" BAD "\"");                         /* cut short */
    check_text("\xc0\x80", 2, "\"" BAD BAD "\"");                 /* overlong */
    check_text("\xed\xa0\x80", 3, "\"" BAD BAD BAD "\"");         /* a surrogate */
    check_text("\xf4\x90\x80\x80", 4, "\"" BAD BAD BAD BAD "\""); /* above U+10FFFF */
    check_text("\xe0\x9f\xbf", 3, "\"" BAD BAD BAD "\"");         /* overlong */
    check_text("\xf0\x8f\xbf\xbf", 4, "\"" BAD BAD BAD BAD "\""); /* overlong */
    check_text("a\x80z", 3, "\"a" BAD "z\"");
}

static void check_number(double value, const char *want)
{
    FILE *f = open_buffer();
    json_out j;
    json_begin(&j, f, true);
    json_f64(&j, NULL, value);
    fclose(f);
    CHECK_STRING(buffer, want);
}

static void check_single(float value, const char *want)
{
    FILE *f = open_buffer();
    json_out j;
    json_begin(&j, f, true);
    json_f32(&j, NULL, value);
    fclose(f);
    CHECK_STRING(buffer, want);
}

static void numbers(void)
{
    check_single(0.8f, "0.8");
    check_single(1.0f / 3, "0.33333334");
    check_single(16777216, "16777216");
    check_single(NAN, "null");
    check_number(0, "0");
    check_number(0.1, "0.1");
    check_number(1.0 / 3, "0.3333333333333333");
    check_number(-2.5, "-2.5");
    check_number(1e300, "1e+300");
    check_number(5e-324, "5e-324");
    check_number(NAN, "null");
    check_number(INFINITY, "null");
    check_number(-INFINITY, "null");
    uint64_t x = 1;
    for (int i = 0; i < 1000; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        double value, back;
        memcpy(&value, &x, 8);
        if (!isfinite(value)) {
            continue;
        }
        FILE *f = open_buffer();
        json_out j;
        json_begin(&j, f, true);
        json_f64(&j, NULL, value);
        fclose(f);
        back = strtod(buffer, NULL);
        CHECK(memcmp(&value, &back, 8) == 0);
    }
}

int main(void)
{
    RUN(nested);
    RUN(indented);
    RUN(strings);
    RUN(numbers);
    return test_finish();
}
