/* test_llama2c.c - the order of rope's rows, and tokenizer.bin (L240-L251). */
#include "lib/llama2c.h"

#include "base/bytes.h"
#include "base/half.h"
#include "lib/check.h"

static uint8_t bytes[4096];
static size_t n_bytes;

static void begin(uint32_t longest)
{
    store_u32(bytes, longest);
    n_bytes = 4;
}

static void token(float score, uint32_t length, const char *text)
{
    store_u32(bytes + n_bytes, f32_bits(score));
    store_u32(bytes + n_bytes + 4, length);
    memcpy(bytes + n_bytes + 8, text, strlen(text));
    n_bytes += 8 + strlen(text);
}

static int parse(uint32_t n_vocab, llama2c_tokens *t, notes *w, failure *f)
{
    uint8_t *copy = (uint8_t *)malloc(n_bytes ? n_bytes : 1);
    memcpy(copy, bytes, n_bytes);
    memset(f, 0, sizeof *f);
    memset(w, 0, sizeof *w);
    int code = llama2c_tokens_parse("t.bin", copy, n_bytes, n_vocab, t, w, f);
    static uint8_t *last;
    free(last);
    last = copy;
    return code;
}

static notes warned;

static void refused(uint32_t n_vocab, const char *fragment)
{
    llama2c_tokens t;
    failure f;
    CHECK_U64(parse(n_vocab, &t, &warned, &f), EXIT_INPUT);
    if (!strstr(f.text, fragment)) {
        printf("# message '%s' lacks '%s'\n", f.text, fragment);
        test_failed_here = 1;
    }
}

static void reads_tokens(void) /* L243, L246, L248, L249 */
{
    llama2c_tokens t;
    failure f;
    begin(6);
    token(0, 5, "<unk>");
    token(-1.5f, 5, "\n<s>\n");
    token(0, 6, "<0x0A>");
    token(-2, 2, "\xff\xfe");
    CHECK_U64(parse(0, &t, &warned, &f), EXIT_OK);
    CHECK_U64(t.n_tokens, 4);
    CHECK_U64(t.n_missing_bytes, 255);
    CHECK_U64(t.n_duplicates, 0);
    CHECK(t.tokens && t.tokens[1].n_bytes == 5 && memcmp(t.tokens[1].bytes, "\n<s>\n", 5) == 0);
    CHECK(t.tokens && f32_bits(t.tokens[1].score) == 0xbfc00000u);
    llama2c_tokens_free(&t);
    CHECK_U64(parse(4, &t, &warned, &f), EXIT_OK);
    llama2c_tokens_free(&t);
    refused(3, "bytes follow"); /* L244, L250 */
    refused(5, "ends before token 4");
    while (--n_bytes > 0) { /* every truncation */
        CHECK_U64(parse(4, &t, &warned, &f), EXIT_INPUT);
    }
}

static void refuses_tokens(void)
{
    static const uint32_t longest[] = {0, 0xffffffffu, 0x7fffffffu};
    static const uint32_t lengths[] = {0, 0xffffffffu, 0x7fffffffu, 7, 6};
    for (size_t i = 0; i < 3; i++) { /* L241 */
        begin(longest[i]);
        token(0, 1, "a");
        refused(0, "longest token");
    }
    for (n_bytes = 0; n_bytes < 4; n_bytes++) { /* L240 */
        refused(0, "longest token");
    }
    for (size_t i = 0; i < 5; i++) { /* L242 */
        begin(6);
        token(0, lengths[i], "abc");
        refused(1, "has length");
    }
    begin(4);
    token(f32_from_bits(0x7fc00000u), 1, "a"); /* L243 */
    refused(1, "not finite");
    begin(4);
    token(f32_from_bits(0x7f800000u), 1, "a");
    refused(1, "not finite");
    begin(4);
    token(0, 1, "a");
    memcpy(bytes + n_bytes, "abcd", 4);
    n_bytes += 4;
    refused(0, "bytes follow");
}

static void duplicates_are_counted(void) /* L245 */
{
    llama2c_tokens t;
    failure f;
    begin(4);
    token(0, 1, "a");
    token(0, 1, "b");
    token(0, 1, "a");
    CHECK_U64(parse(3, &t, &warned, &f), EXIT_OK);
    CHECK_U64(t.n_duplicates, 1);
    llama2c_tokens_free(&t);
}

static void a_real_tokenizer(void)
{
    const char *shared = test_shared();
    char path[4200];
    snprintf(path, sizeof path, "%s/models/stories260K/tok512.bin", shared ? shared : "");
    FILE *file = shared ? fopen(path, "rb") : NULL;
    if (!file) {
        test_skip("needs shared/models/stories260K");
        return;
    }
    static uint8_t real[8192];
    size_t n = fread(real, 1, sizeof real, file);
    fclose(file);
    llama2c_tokens t;
    failure f;
    CHECK_U64(llama2c_tokens_parse("tok512.bin", real, n, 512, &t, &warned, &f), EXIT_OK);
    CHECK_U64(t.n_tokens, 512);
    CHECK_U64(t.n_missing_bytes, 0);
    CHECK_U64(t.max_bytes, 7);
    llama2c_tokens_free(&t);
}

static void rows_go_into_halves(void)
{
    static const uint8_t from[] = "01234567abcdefgh"; /* two heads of eight rows of a byte */
    uint8_t to[16];
    llama2c_halves(from, to, 2, 8, 1);
    CHECK(memcmp(to, "02461357acegbdfh", 16) == 0);
    llama2c_halves(from, to, 2, 4, 2); /* two heads of four rows of two bytes */
    CHECK(memcmp(to, "01452367abefcdgh", 16) == 0);
}

int main(void)
{
    RUN(reads_tokens);
    RUN(refuses_tokens);
    RUN(duplicates_are_counted);
    RUN(a_real_tokenizer);
    RUN(rows_go_into_halves);
    return test_finish();
}
