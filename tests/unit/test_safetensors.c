/* Safetensors headers, table-driven: what is accepted, what is refused, and that the message says
 * which field. Expectations come from the format's published rules, not from the parser. Each case
 * runs on a heap buffer of exactly its size, so that the sanitizers see a read past the end.
 */
#include "lib/check.h"
#include "lib/safetensors.h"

#include <unistd.h>

static failure last;

/* Parses; -1 accepted, else the exit code. *n: tensors. */
static int parse(const char *text, size_t n_text, uint64_t n_data, safetensors *st)
{
    char *copy = malloc(n_text + 1);
    if (!copy) {
        return EXIT_RESOURCE;
    }
    memcpy(copy, text, n_text);
    last = (failure){0};
    return safetensors_parse("t", copy, n_text, n_data, st, &last);
}

#define TENSOR(name, dtype, shape, offsets)                                                        \
    "\"" name "\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define A(shape, offsets) TENSOR("a", "\"F32\"", shape, offsets)

typedef struct header_case {
    const char *id, *text;
    uint64_t n_data;
    const char *message; /* NULL: accepted */
} header_case;

static const header_case CASES[] = {
    {"ST04", "{", 0, "ends too early"},
    {"ST05", "{}", 0, NULL},
    {"ST10 space", " {}", 0, "must begin with '{'"},
    {"ST10 tab", "\t{}", 0, "must begin with '{'"},
    {"ST10 BOM", "\xef\xbb\xbf{}", 0, "must begin with '{'"},
    {"ST11", "{}      ", 0, NULL},
    {"ST13 array", "[]", 0, "must begin with '{'"},
    {"ST13 string", "\"x\"", 0, "must begin with '{'"},
    {"ST13 null", "null", 0, "must begin with '{'"},
    {"ST14 ff", "{\"\xff\":1}", 0, "not UTF-8"},
    {"ST14 overlong", "{\"\xc0\x80\":1}", 0, "not UTF-8"},
    {"ST14 surrogate", "{\"\xed\xa0\x80\":1}", 0, "not UTF-8"},
    {"ST15 alone", "{\"\\ud800\":1}", 0, "surrogate"},
    {"ST15 low", "{\"\\udc00\":1}", 0, "surrogate"},
    {"ST15 wrong pair", "{\"\\ud800\\u0041\":1}", 0, "surrogate"},
    {"ST17 comma", "{" A("[1]", "[0,4]") ",}", 4, "expected '\"'"},
    {"ST17 comma in array", "{" A("[1,]", "[0,4]") "}", 4, "whole number"},
    {"ST17 comma in object", "{\"a\":{\"dtype\":\"F32\",}}", 4, "expected '\"'"},
    {"ST17 quotes", "{'a':1}", 0, "expected '\"'"},
    {"ST17 comment", "{/**/}", 0, "expected '\"'"},
    {"ST17 NaN", "{" A("[NaN]", "[0,4]") "}", 4, "whole number"},
    {"ST17 zero", "{" A("[01]", "[0,4]") "}", 4, "leading zero"},
    {"ST17 plus", "{" A("[+1]", "[0,4]") "}", 4, "whole number"},
    {"ST17 zero in extra", "{\"a\":{\"x\":01}}", 0, "expected ','"},
    {"ST17 dot in extra", "{\"a\":{\"x\":1.}}", 0, "JSON value"},
    {"ST17 NaN in extra", "{\"a\":{\"x\":NaN}}", 0, "JSON value"},
    {"ST19", "{" A("[1]", "[0,4]") "," A("[1]", "[4,8]") "}", 8, "a stands twice"},
    {"ST20", "{" A("[1]", "[0,4]") "," TENSOR("\\u0061", "\"F32\"", "[1]", "[4,8]") "}", 8,
     "a stands twice"},
    {"ST21 dtype", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0, "dtype stands twice"},
    {"ST21 offsets",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"data_offsets\":[0,4]}}", 4,
     "data_offsets stands twice"},
    {"ST22", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ stands twice"},
    {"ST22 inside", "{\"__metadata__\":{\"b\":\"\",\"a\":\"1\",\"b\":\"2\"}}", 0,
     "key \"b\" stands twice"},
    {"ST23 good", "{\"__metadata__\":{\"format\":\"pt\"}}", 0, NULL},
    {"ST23 number", "{\"__metadata__\":{\"a\":1}}", 0, "strings only"},
    {"ST23 null", "{\"__metadata__\":{\"a\":null}}", 0, "strings only"},
    {"ST23 object", "{\"__metadata__\":{\"a\":{}}}", 0, "strings only"},
    {"ST23 array", "{\"__metadata__\":[]}", 0, "expected '{'"},
    {"ST25", "{\"__metadata__\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "strings only"},
    {"ST27 dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "dtype is missing"},
    {"ST27 shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape is missing"},
    {"ST27 offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "data_offsets is missing"},
    {"ST28 unknown", "{" TENSOR("a", "\"F17\"", "[1]", "[0,4]") "}", 4, "\"F17\""},
    {"ST28 case", "{" TENSOR("a", "\"f32\"", "[1]", "[0,4]") "}", 4, "\"f32\""},
    {"ST28 number", "{" TENSOR("a", "32", "[1]", "[0,4]") "}", 4, "expected '\"'"},
    {"ST28 null", "{" TENSOR("a", "null", "[1]", "[0,4]") "}", 4, "expected '\"'"},
    {"ST28 empty", "{" TENSOR("a", "\"\"", "[1]", "[0,4]") "}", 4, "dtype \"\""},
    {"ST29", "{" TENSOR("a", "\"F8_E4M3\"", "[4]", "[0,4]") "}", 4, NULL},
    {"ST30 not array", "{" A("4", "[0,4]") "}", 4, "expected '['"},
    {"ST30 string", "{" A("[\"1\"]", "[0,4]") "}", 4, "whole number"},
    {"ST30 null", "{" A("[null]", "[0,4]") "}", 4, "whole number"},
    {"ST30 float", "{" A("[1.0]", "[0,4]") "}", 4, "without fraction"},
    {"ST30 exponent", "{" A("[1e3]", "[0,4]") "}", 4, "without fraction"},
    {"ST30 negative", "{" A("[-1]", "[0,4]") "}", 4, "not negative"},
    {"ST30 minus zero", "{" A("[-0]", "[0,0]") "}", 0, "not negative"},
    {"ST31 2^31", "{" A("[2147483648]", "[0,4]") "}", 4, "need 8589934592 bytes"},
    {"ST31 2^64-1", "{" A("[18446744073709551615]", "[0,4]") "}", 4, "does not fit 64 bits"},
    {"ST31 2^64", "{" A("[18446744073709551616]", "[0,4]") "}", 4, "does not fit 64 bits"},
    {"ST32 2^32 2^32", "{" A("[4294967296,4294967296]", "[0,4]") "}", 4, "does not fit 64 bits"},
    {"ST32 wraps", "{" A("[8589934593,2147483648]", "[0,4]") "}", 4, "does not fit 64 bits"},
    {"ST33", "{" A("[4611686018427387904]", "[0,4]") "}", 4, "does not fit 64 bits"},
    {"ST34", "{" A("[3,0]", "[0,0]") "}", 0, NULL},
    {"ST35", "{" A("[0,18446744073709551615]", "[0,0]") "}", 0, NULL},
    {"ST36", "{" A("[]", "[0,4]") "}", 4, NULL},
    {"ST37 4", "{" A("[1,1,1,1]", "[0,4]") "}", 4, NULL},
    {"ST37 5", "{" A("[1,1,1,1,1]", "[0,4]") "}", 4, "more than 4 dimensions"},
    {"ST38 none", "{" A("[1]", "[]") "}", 4, "two entries"},
    {"ST38 one", "{" A("[1]", "[0]") "}", 4, "two entries"},
    {"ST38 three", "{" A("[1]", "[0,4,4]") "}", 4, "two entries"},
    {"ST39 negative", "{" A("[1]", "[-4,0]") "}", 4, "not negative"},
    {"ST39 float", "{" A("[1]", "[0,4.0]") "}", 4, "without fraction"},
    {"ST39 string", "{" A("[1]", "[\"0\",4]") "}", 4, "whole number"},
    {"ST39 null", "{" A("[1]", "[null,4]") "}", 4, "whole number"},
    {"ST40", "{" A("[1]", "[4,0]") "}", 4, "[4, 0] do not lie"},
    {"ST41 end", "{" A("[1]", "[4,8]") "}", 4, "[4, 8] do not lie"},
    {"ST41 past", "{" A("[0]", "[5,5]") "}", 4, "[5, 5] do not lie"},
    {"ST42 less", "{" A("[1]", "[0,3]") "}", 3, "need 4 bytes, data_offsets give 3"},
    {"ST42 more", "{" A("[1]", "[0,5]") "}", 5, "need 4 bytes, data_offsets give 5"},
    {"ST42 half", "{" A("[2]", "[0,4]") "}", 4, "need 8 bytes, data_offsets give 4"},
    {"ST42 odd bits", "{" TENSOR("a", "\"F4\"", "[3]", "[0,1]") "}", 1, "data_offsets give 1"},
    {"ST43", "{" A("[1]", "[0,4]") "," TENSOR("b", "\"F32\"", "[1]", "[0,4]") "}", 4, "inside"},
    {"ST44", "{" A("[1]", "[0,4]") "," TENSOR("b", "\"U8\"", "[3]", "[3,6]") "}", 6, "inside"},
    {"ST45", "{" A("[1]", "[0,4]") "," TENSOR("b", "\"F32\"", "[1]", "[5,9]") "}", 9, "hole"},
    {"ST46", "{" A("[1]", "[1,5]") "}", 5, "hole"},
    {"ST47", "{" A("[1]", "[0,4]") "}", 5, "1 bytes after the last tensor"},
    {"ST48", "{" A("[1]", "[0,4]") "," TENSOR("b", "\"F32\"", "[0]", "[0,0]") "}", 4, NULL},
    {"ST48 inside", "{" A("[1]", "[0,4]") "," TENSOR("b", "\"F32\"", "[0]", "[2,2]") "}", 4,
     "inside"},
    {"ST49", "{" A("[1]", "[4,8]") "," TENSOR("b", "\"F32\"", "[1]", "[0,4]") "}", 8, NULL},
    {"ST50", "{" A("[1]", "[18446744073709551612,18446744073709551615]") "}", 4, "do not lie"},
    {"ST52 empty", "{" TENSOR("", "\"F32\"", "[1]", "[0,4]") "}", 4, "without a name"},
    {"ST53 NUL", "{" TENSOR("a\\u0000b", "\"F32\"", "[1]", "[0,4]") "}", 4, "NUL in a string"},
    {"ST53 raw newline", "{\"a\n\":1}", 0, "control byte"},
    {"ST53 path", "{" TENSOR("../../x", "\"F32\"", "[1]", "[0,4]") "}", 4, NULL},
    {"ST53 format", "{" TENSOR("%n%s", "\"F32\"", "[2]", "[0,4]") "}", 4, "tensor %n%s"},
    {"escape", "{\"\\x\":1}", 0, "unknown escape"},
    {"hex", "{\"\\u00g0\":1}", 0, "hexadecimal"},
    {"second value", "{}{}", 0, "follows"},
    {"tensor is a number", "{\"a\":1}", 0, "expected '{'"},
};

static void table(void)
{
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const header_case *c = &CASES[i];
        safetensors st;
        int code = parse(c->text, strlen(c->text), c->n_data, &st);
        int want = c->message ? EXIT_INPUT : EXIT_OK;
        if (code != want || (c->message && !strstr(last.text, c->message))) {
            printf("# %s: exit %d, \"%s\"\n", c->id, code, last.text);
            test_failed_here = 1;
        }
        safetensors_free(&st);
    }
}

static void nul_padding_is_refused(void) /* ST12 */
{
    safetensors st;
    CHECK_U64(parse("{}\0\0", 4, 0, &st), EXIT_INPUT);
}

static void every_truncation_is_refused(void) /* ST16 */
{
    static const char text[] = "{\"__metadata__\":{\"k\":\"\\u00e9\"}," A(
        "[1,2]", "[0,8]") ","
                          "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[8,12],"
                          "\"x\":[{\"y\":[true,-1.5e3,null]},\"\\ud83d\\ude00\"]}}";
    safetensors st;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        CHECK_U64(parse(text, n, 12, &st), EXIT_INPUT);
    }
    CHECK_U64(parse(text, sizeof text - 1, 12, &st), EXIT_OK);
    CHECK_U64(st.n_tensors, 2);
    CHECK_U64(st.n_unknown_keys, 1); /* ST26 */
    CHECK_STRING(st.unknown_key, "x");
    const safetensors_tensor *b = safetensors_find(&st, "b");
    CHECK(b && b->begin == 8 && b->end == 12 && b->rank == 1 && b->dims[0] == 2);
    CHECK(b && strcmp(safetensors_dtype_name(b->dtype), "BF16") == 0);
    CHECK(safetensors_find(&st, "c") == NULL);
    safetensors_free(&st);
}

/* ST18: depth costs no stack, and is limited. */
static void depth(void)
{
    static const struct {
        size_t depth;
        int code;
    } cases[] = {{10, EXIT_OK}, {64, EXIT_OK}, {65, EXIT_INPUT}, {1000000, EXIT_INPUT}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t d = cases[i].depth;
        char *text = malloc(2 * d + 200);
        safetensors st;
        if (text) {
            size_t n = (size_t)sprintf(text, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],"
                                             "\"data_offsets\":[0,4],\"x\":");
            memset(text + n, '[', d);
            memset(text + n + d, ']', d);
            memcpy(text + n + 2 * d, "}}", 2);
            CHECK_U64(parse(text, n + 2 * d + 2, 4, &st), cases[i].code);
            safetensors_free(&st);
        }
        free(text);
    }
}

/* ST52: names of 4096 bytes are taken, longer ones are not. */
static void long_names(void)
{
    static const size_t lengths[] = {4096, 4097, 65536};
    for (int i = 0; i < 3; i++) {
        char *text = malloc(lengths[i] + 100);
        safetensors st;
        if (text) {
            text[0] = '{';
            text[1] = '"';
            memset(text + 2, 'n', lengths[i]);
            int n = sprintf(text + 2 + lengths[i],
                            "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}");
            CHECK_U64(parse(text, 2 + lengths[i] + (size_t)n, 1, &st), i == 0 ? 0 : EXIT_INPUT);
            safetensors_free(&st);
        }
        free(text);
    }
}

/* ST54: a million tensors; a duplicate check that compares all pairs would take hours. */
static void many_tensors(void)
{
    const uint32_t n = 1000000;
    char *text = malloc((size_t)n * 80);
    size_t used = 1;
    safetensors st;
    if (!text) {
        return;
    }
    text[0] = '{';
    for (uint32_t i = 0; i < n; i++) {
        used += (size_t)sprintf(
            text + used, "\"%u\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%u,%u]}%c", i, i,
            i + 1, i + 1 < n ? ',' : '}');
    }
    CHECK_U64(parse(text, used, n, &st), EXIT_OK);
    CHECK_U64(st.n_tensors, n);
    const safetensors_tensor *t = safetensors_find(&st, "777777");
    CHECK(t && t->begin == 777777);
    safetensors_free(&st);
    free(text);
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Writes bytes to a file, reads it back through safetensors_read. */
static int read_bytes_as_file(const void *bytes, size_t n, uint64_t sparse_bytes)
{
    char path[] = "/tmp/slm-test-XXXXXX";
    int fd = mkstemp(path);
    int code = -1;
    input in;
    safetensors st;
    last = (failure){0};
    if (fd >= 0 && write(fd, bytes, n) == (ssize_t)n &&
        (sparse_bytes == 0 || ftruncate(fd, (off_t)sparse_bytes) == 0) &&
        input_open(path, &in, &last) == EXIT_OK) {
        code = safetensors_read(&in, &st, &last);
        safetensors_free(&st);
        input_close(&in);
    }
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    return code;
}

static void files(void)
{
    static const struct {
        const char *id, *bytes;
        size_t n;
        const char *message; /* NULL: accepted */
    } cases[] = {
        {"ST01", "", 0, "too few"},
        {"ST02", "\2", 1, "too few"},
        {"ST02 7", "\2\0\0\0\0\0\0", 7, "too few"},
        {"ST03", "\0\0\0\0\0\0\0\0", 8, "must begin with '{'"},
        {"ST05", "\2\0\0\0\0\0\0\0{}", 10, NULL},
        {"ST06", "\3\0\0\0\0\0\0\0{}", 10, "does not fit the file"},
        {"ST07", "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "over the format's limit"},
        {"ST07 2^63", "\0\0\0\0\0\0\0\x80{}", 10, "over the format's limit"},
        {"ST09", "\0\0\0\0\0\0\0\2{}", 10, "over the format's limit"},
        {"ST72 gguf", "GGUF\3\0\0\0\0\0\0\0", 12, "a GGUF file"},
        {"ST72 zip", "PK\3\4\0\0\0\0\0\0\0\0", 12, "zip archive"},
        {"ST72 pickle", "\x80\2}q\0\0\0\0\0\0\0\0", 12, "pickle"},
        {"ST72 html", "<!DOCTYPE html><html>", 21, "web page"},
        {"ST72 hub", "Entry not found", 15, "download went wrong"},
        {"ST72 lfs", "version https://git-lfs.github.com/spec/v1\n", 43, "git lfs pull"},
        {"ST72 json", "{\"a\":1}", 7, "without the length field"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int code = read_bytes_as_file(cases[i].bytes, cases[i].n, 0);
        if (code != (cases[i].message ? EXIT_INPUT : EXIT_OK) ||
            (cases[i].message && !strstr(last.text, cases[i].message))) {
            printf("# %s: exit %d, \"%s\"\n", cases[i].id, code, last.text);
            test_failed_here = 1;
        }
    }
}

/* ST08: 100,000,000 bytes of header are within the limit, one more is not. */
static void header_limit(void)
{
    uint8_t length[8] = {0x00, 0xe1, 0xf5, 0x05};
    CHECK_U64(read_bytes_as_file(length, 8, 100000008), EXIT_INPUT);
    CHECK(strstr(last.text, "must begin with '{'") != NULL);
    length[0] = 1;
    CHECK_U64(read_bytes_as_file(length, 8, 100000009), EXIT_INPUT);
    CHECK(strstr(last.text, "limit") != NULL);
}

static void merging(void)
{
    safetensors shard[2], all;
    const char *names[2] = {"one", "two"};
    CHECK_U64(parse("{" A("[1]", "[0,4]") "}", strlen("{" A("[1]", "[0,4]") "}"), 4, &shard[0]), 0);
    static const char b[] = "{" TENSOR("b", "\"F16\"", "[2]", "[0,4]") "}";
    CHECK_U64(parse(b, sizeof b - 1, 4, &shard[1]), 0);
    CHECK_U64(safetensors_merge(shard, names, 2, &all, &last), EXIT_OK);
    CHECK_U64(all.n_tensors, 2);
    CHECK(safetensors_find(&all, "b") && safetensors_find(&all, "b")->shard == 1);
    safetensors_free(&all);
    const safetensors twice[2] = {shard[1], shard[1]};
    CHECK_U64(safetensors_merge(twice, names, 2, &all, &last), EXIT_INPUT); /* ST63 */
    CHECK(strstr(last.text, "b is in both one and two") != NULL);
    safetensors_free(&all);
    safetensors_free(&shard[0]);
    safetensors_free(&shard[1]);
}

int main(void)
{
    RUN(table);
    RUN(nul_padding_is_refused);
    RUN(every_truncation_is_refused);
    RUN(depth);
    RUN(long_names);
    RUN(many_tensors);
    RUN(files);
    RUN(header_limit);
    RUN(merging);
    return test_finish();
}
