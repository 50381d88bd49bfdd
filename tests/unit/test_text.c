/* test_text.c - encoding and decoding where the answer can be worked out by hand; streams; random
 * bytes; hostile lengths; payloads that were tampered with.
 */
#include "lib/check.h"
#include "lib/cli.h"
#include "lib/small_tokenizer.h"
#include "lib/text_model.h"
#include "text/payload.h"

static void expect_bytes(const slm_tokenizer *t, const char *text, size_t n, uint32_t flags,
                         const char *want)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    char got[4096] = "";
    CHECK(small_encode(t, text, n, flags, &ids, &n_ids) == SLM_OK);
    for (size_t i = 0, used = 0; i < n_ids && used < sizeof got - 16; i++) {
        used += (size_t)snprintf(got + used, sizeof got - used, i ? " %d" : "%d", (int)ids[i]);
    }
    if (strcmp(got, want) != 0) {
        printf("# \"%s\" gives %s, not %s\n", text, got, want);
        CHECK(false);
    }
    free(ids);
}

static void expect(const slm_tokenizer *t, const char *text, uint32_t flags, const char *want)
{
    expect_bytes(t, text, strlen(text), flags, want);
}

static void build(small_tokenizer *s, const char *json, const char *config)
{
    failure f = {0};
    if (small_build(s, json, config, &f) != EXIT_OK || s->status != SLM_OK) {
        printf("# %s%s\n", f.text, s->status != SLM_OK ? s->error.text : "");
        printf("not ok 0 - cannot build\n");
        exit(1);
    }
}

static void build_with(small_tokenizer *s, const char *base, const char *from, const char *to,
                       const char *config)
{
    char *json = small_json_with(base, from, to);
    build(s, json, config);
    free(json);
}

/* Merges by rank: "a b" before "b c", so that "abc" is ab+c = abc, and "bc" alone is bc. */
static void ranks(void)
{
    small_tokenizer s;
    build(&s, small_json, NULL);
    expect(s.t, "", 0, "");
    expect(s.t, "abc", 0, "4");
    expect(s.t, "bc", 0, "7");
    expect(s.t, "cab", 0, "2 3");
    expect(s.t, "abbc", 0, "3 7");
    expect(s.t, "aabcbc", 0, "0 4 7");
    expect(s.t, "ab ab", 0, "3 5 3"); /* two words; the space is a byte of the second */
    expect(s.t, "abxc", 0, "4");      /* no token for x, no unknown token: dropped first */
    expect(s.t, "<s>ab", 0, "3");     /* < s > are plain bytes, and have no tokens */
    expect(s.t, "<s>ab<s>", SLM_ENCODE_CONTROL, "6 3 6");
    small_close(&s);
    build_with(&s, small_json, "[\"a b\",\"b c\",\"ab c\"]", "[\"b c\",\"a b\"]", NULL);
    expect(s.t, "abc", 0, "0 7"); /* abc is in the vocabulary, but no merge makes it */
    small_close(&s);
    char *json = small_json_with(small_json, "[\"a b\",\"b c\",\"ab c\"]", "[\"b c\",\"a b\"]");
    build_with(&s, json, "\"ignore_merges\":false", "\"ignore_merges\":true", NULL);
    expect(s.t, "abc", 0, "4"); /* with ignore_merges a word that is a token is taken as it is */
    expect(s.t, "abca", 0, "0 7 0");
    free(json);
    small_close(&s);
}

/* Long words take the heap: the same answers as short ones. 100 times "abc" + "bc". */
static void long_words(void)
{
    small_tokenizer s;
    char text[501] = "", want[1024] = "";
    build(&s, small_json, NULL);
    for (int i = 0; i < 100; i++) {
        strcat(text, "abcbc");
        strcat(want, i ? " 4 7" : "4 7");
    }
    expect(s.t, text, 0, want);
    small_close(&s);
}

#define TWO_ADDED                                                                                  \
    "{\"id\":8,\"content\":\"<s>b\",\"single_word\":false,\"lstrip\":true,\"rstrip\":true,"        \
    "\"normalized\":false,\"special\":true},"                                                      \
    "{\"id\":9,\"content\":\"cc\",\"single_word\":true,\"lstrip\":false,\"rstrip\":false,"         \
    "\"normalized\":true,\"special\":false}," SMALL_ADDED

/* TK20, TK21, TK59 */
static void added_tokens(void)
{
    small_tokenizer s;
    build_with(&s, small_json, SMALL_ADDED, TWO_ADDED, NULL);
    expect(s.t, "<s>", 1 << 1, "6");
    expect(s.t, "<s>b", SLM_ENCODE_CONTROL, "8"); /* the longest */
    expect(s.t, "<s><s>b<s>a", SLM_ENCODE_CONTROL, "6 8 6 0");
    expect(s.t, "a \t<s>b \na", SLM_ENCODE_CONTROL, "0 8 0"); /* takes white space on both sides */
    expect(s.t, "a <s> a", SLM_ENCODE_CONTROL, "0 5 6 5 0");
    expect(s.t, "<s<s>", SLM_ENCODE_CONTROL, "6");
    expect(s.t, "cc", 0, "9"); /* not special: always recognised */
    expect(s.t, "a cc a", 0, "0 5 9 5 0");
    expect(s.t, "acc", 0, "0 2 2"); /* but only as a word of its own */
    expect(s.t,
           "\xc3\xa9"
           "cc",
           0, "2 2");
    expect(s.t, "ccc", 0, "2 2 2");
    CHECK(slm_token_find(s.t, "<s>", 3) == 6);
    CHECK(slm_token_find(s.t, "abc", 3) == 4);
    CHECK(slm_token_find(s.t, "abcd", 4) == -1);
    CHECK(slm_token_find(s.t, "", 0) == -1);
    small_close(&s);
}

/* The words of each pre-tokenizer, seen through a vocabulary of bytes: a token is a byte, so words
 * show where merges of " a" with " a" may not reach. Cuts are found by slm_word_end's users alone,
 * so here every pair of neighbours merges and a word is one token if it has two bytes. */
#define PAIRS                                                                                      \
    "\"vocab\":{\"a\":0,\"1\":1,\"!\":2,\"\\u0120\":3,\"\\u010a\":4,\"aa\":5,\"11\":6,\"!!\":7,"   \
    "\"\\u0120\\u0120\":8,\"\\u010a\\u010a\":9,\"\\u0120a\":10,\"\\u01201\":11,\"\\u0120!\":12,"   \
    "\"\\u0120\\u010a\":13,\"a1\":14,\"!a\":15,\"!\\u010a\":16,\"\\u010aa\":17,\"111\":18,"        \
    "\"a\\u0120\":19,\"'\":20,\"s\":21,\"S\":22,\"'s\":23,\"'S\":24},"                             \
    "\"merges\":[\"a a\",\"1 1\",\"! !\",\"\\u0120 \\u0120\",\"\\u010a \\u010a\",\"\\u0120 a\","   \
    "\"\\u0120 1\",\"\\u0120 !\",\"\\u0120 \\u010a\",\"a 1\",\"! a\",\"! \\u010a\",\"\\u010a a\"," \
    "\"11 1\",\"a \\u0120\",\"' s\",\"' S\"]"
#define SMALL_VOCAB                                                                                \
    "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"\\u0120\":5,\"bc\":7},"               \
    "\"merges\":[\"a b\",\"b c\",\"ab c\"]"
#define LLAMA3                                                                                     \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"        \
    "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "       \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"       \
    "\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":"    \
    "false,\"use_regex\":false}]}"
#define QWEN2                                                                                      \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"        \
    "\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "            \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"       \
    "\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\",\"add_prefix_space\":"    \
    "false,\"use_regex\":false}]}"
#define DIGITS                                                                                     \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"  \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}]}"
#define GPT2 "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"

static void words_of(const char *pre, const char *const *cases)
{
    small_tokenizer s;
    char *json = small_json_with(small_json, SMALL_VOCAB, PAIRS);
    char *other = small_json_with(json, "\"id\":6", "\"id\":25");
    build_with(&s, other, GPT2, pre, NULL);
    for (; cases[0]; cases += 2) {
        expect(s.t, cases[0], 0, cases[1]);
    }
    small_close(&s);
    free(other);
    free(json);
}

static void words(void)
{
    static const char *const gpt2[] = {
        "aa aa", "5 3 5",  /* aa| aa: the merge "a a" ranks before " a" */
        "a  a",  "0 3 10", /* a| | a: the last of several spaces belongs to the word */
        "a   ",  "0 8 3",  /* nothing follows: all spaces together */
        "  1",   "3 11",   "111 ", "18 3",    "a1",    "0 1",   "!a", "2 0",
        " !!",   "3 7",    "!\n",  "2 4",     "\n\na", "4 4 0", /* \n|\n|a: only a space joins what
                                                                   follows */
        "a's",   "0 23",   "a'S",  "0 20 22", NULL};
    static const char *const llama3[] = {
        "a  a",   "0 3 10", "!a",  "15", /* any character may precede letters */
        "\na",    "4 0",                 /* but no line break */
        " \n\na", "3 9 0",               /* \s*[\r\n]+ */
        "!\n\n",  "2 9",                 /* [^..]+[\r\n]*: one word, in which \n\n merges first */
        "1111",   "18 1",   " 1",  "3 1",   "a'S",   "0 24", "a's",
        "0 23",   "   ",    "8 3", " \n a", "13 10", NULL};
    static const char *const qwen2[] = {"111", "1 1 1", "!a", "15", " \n\na", "3 9 0", NULL};
    static const char *const digits[] = {"111",  "1 1 1",  "  1", "8 1",   " 1", "3 1",
                                         "a  a", "0 3 10", "a1a", "0 1 0", NULL};
    words_of(GPT2, gpt2);
    words_of(LLAMA3, llama3);
    words_of(QWEN2, qwen2);
    words_of(DIGITS, digits);
}

/* ---- SentencePiece style --------------------------------------------------------------------- */

#define M "\xe2\x96\x81"
static const char spm_json[] =
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":0,\"content\":\"<unk>\",\"single_word\":false,"
    "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" M
    "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" M "\"}]},"
    "\"pre_tokenizer\":null,\"post_processor\":null,\"decoder\":{\"type\":\"Sequence\","
    "\"decoders\":["
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" M "\"},\"content\":\" \"},"
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]},"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":\"<unk>\",\"fuse_unk\":true,"
    "\"byte_fallback\":FALLBACK,\"vocab\":{\"<unk>\":0,\"" M "\":1,\"a\":2,\"b\":3,\"" M "a\":4,"
    "\"ab\":5,\"" M "ab\":6,\"\xc3\xa9\":7BYTES},\"merges\":[\"" M " a\",\"a b\",\"" M "a b\"]}}";

static void build_spm(small_tokenizer *s, bool fallback)
{
    char *bytes = (char *)calloc(1, 8192);
    for (int i = 0; fallback && i < 256; i++) {
        sprintf(bytes + strlen(bytes), ",\"<0x%02X>\":%d", i, 8 + i);
    }
    char *json = small_json_with(spm_json, "FALLBACK", fallback ? "true" : "false");
    build_with(s, json, "BYTES", bytes, NULL);
    free(json);
    free(bytes);
}

static void decode_all(const slm_tokenizer *t, const int32_t *ids, size_t n, uint32_t flags,
                       char *text, size_t *n_text)
{
    slm_decoder d;
    slm_decoder_init(&d, flags);
    *n_text = 0;
    for (size_t i = 0; i < n; i++) {
        size_t n_bytes;
        CHECK(slm_decoder_push(&d, t, ids[i], text + *n_text, 65536, &n_bytes, NULL) == SLM_OK);
        *n_text += n_bytes;
    }
    *n_text += slm_decoder_flush(&d, text + *n_text);
}

static void expect_text(const slm_tokenizer *t, const int32_t *ids, size_t n, const char *want)
{
    static char text[1 << 17];
    size_t n_text;
    decode_all(t, ids, n, 0, text, &n_text);
    text[n_text] = 0;
    CHECK_STRING(text, want);
}

static void sentencepiece(void)
{
    small_tokenizer s;
    build_spm(&s, true);
    expect(s.t, "", 0, "");
    expect(s.t, "ab", 0, "6");    /* _ab */
    expect(s.t, " ab", 0, "1 6"); /* _ _ab */
    expect(s.t, "a ab b", 0, "4 6 1 3");
    expect(s.t, "\xc3\xa9", 0, "1 7");
    expect(s.t, "\xc3\xa8", 0, "1 203 176");           /* its bytes: c3 a8 */
    expect(s.t, "a\xc3", 0, "4 203");                  /* half a character */
    expect(s.t, "<0x41>", 0, "1 68 56 128 60 57 70");  /* text, not a byte */
    expect(s.t, "<unk>ab", SLM_ENCODE_CONTROL, "0 6"); /* each piece gets its prefix */
    int32_t ids[] = {6, 1, 3, 203, 176, 6};
    expect_text(s.t, ids, 6, "ab b\xc3\xa8 ab");
    expect_text(s.t, ids + 5, 1, "ab"); /* one leading space is dropped, */
    int32_t two[] = {1, 6};
    expect_text(s.t, two, 2, " ab"); /* only one, */
    int32_t control[] = {0, 6};
    expect_text(s.t, control, 2, "ab"); /* and a control token does not count */
    small_close(&s);
    build_spm(&s, false);
    expect(s.t, "xyab", 0, "1 0 5"); /* unknown characters fuse */
    expect(s.t, "x b", 0, "1 0 1 3");
    small_close(&s);
    char *json = small_json_with(spm_json, "FALLBACK", "false");
    char *plain = small_json_with(json, "BYTES", "");
    build_with(&s, plain, "\"fuse_unk\":true", "\"fuse_unk\":false", NULL);
    expect(s.t, "xyab", 0, "1 0 0 5");
    small_close(&s);
    free(json);
    free(plain);
}

#define META(scheme, split)                                                                        \
    "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" M                               \
    "\",\"prepend_scheme\":\"" scheme "\",\"split\":" split "}"
#define NORMAL                                                                                     \
    "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"" M               \
    "\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" M "\"}]}"

/* TK41: where the prefix goes. */
static void metaspace(void)
{
    static const struct {
        const char *pre, *plain, *spaced, *pieces;
    } cases[] = {{META("always", "false"), "6", "6", "6 0 6"},
                 {META("first", "false"), "6", "6", "6 0 5"},
                 {META("never", "false"), "5", "6", "5 0 5"},
                 {META("always", "true"), "6", "6", "6 0 6"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        small_tokenizer s;
        char *a = small_json_with(spm_json, "FALLBACK", "false");
        char *b = small_json_with(a, "BYTES", ""), *c = small_json_with(b, NORMAL, "null");
        build_with(&s, c, "\"pre_tokenizer\":null", cases[i].pre, NULL);
        expect(s.t, "ab", 0, cases[i].plain);
        expect(s.t, " ab", 0, cases[i].spaced); /* it begins with one already */
        expect(s.t, "ab<unk>ab", SLM_ENCODE_CONTROL, cases[i].pieces);
        small_close(&s);
        free(a);
        free(b);
        free(c);
    }
}

/* ---- Streams, bytes, sizes ------------------------------------------------------------------- */

static void expect_push(slm_decoder *d, const slm_tokenizer *t, int32_t id, const char *want)
{
    char out[16];
    size_t n = 99;
    CHECK(slm_decoder_push(d, t, id, out, sizeof out, &n, NULL) == SLM_OK);
    CHECK(n == strlen(want) && memcmp(out, want, n) == 0);
}

/* TK60: a character comes out whole or not at all. BTOK: every token is a byte. */
static void streams(void)
{
    static const uint8_t payload[16] = {'B', 'T', 'O', 'K', 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0};
    small_tokenizer s = {0};
    slm_decoder d;
    char out[16];
    size_t n;
    small_open(&s, payload, sizeof payload);
    CHECK(s.status == SLM_OK);
    CHECK_U64(slm_token_count(s.t), 258);
    expect_bytes(s.t, "a\0\xff", 3, SLM_ENCODE_SPECIAL, "256 97 0 255 257");
    expect_bytes(s.t, "<bos>", 5, 0, "60 98 111 115 62");
    expect_bytes(s.t, "<bos>", 5, SLM_ENCODE_CONTROL, "256");
    expect_bytes(s.t, "<eos><b<eos", 11, SLM_ENCODE_CONTROL | SLM_ENCODE_SPECIAL,
                 "256 257 60 98 60 101 111 115 257");
    expect_bytes(s.t, "a<<bos><eos>z", 13, SLM_ENCODE_CONTROL, "97 60 256 257 122");
    CHECK(slm_token_find(s.t, "<bos>", 5) == 256 && slm_token_find(s.t, "a", 1) == 97);
    CHECK(slm_token_find(s.t, "ab", 2) == -1);
    CHECK(slm_token_is_end(s.t, 257) && !slm_token_is_end(s.t, 256));
    slm_decoder_init(&d, 0);
    expect_push(&d, s.t, 0xf0, "");
    expect_push(&d, s.t, 0x9f, "");
    expect_push(&d, s.t, 0xa6, "");
    expect_push(&d, s.t, 0x99, "\xf0\x9f\xa6\x99");
    expect_push(&d, s.t, 256, "");
    expect_push(&d, s.t, 0xe2, "");
    expect_push(&d, s.t, 'a',
                "\xe2"
                "a"); /* it never became a character */
    expect_push(&d, s.t, 0xed, "");
    expect_push(&d, s.t, 0xa0, "\xed\xa0"); /* a surrogate: no character begins so */
    expect_push(&d, s.t, 0xc0, "\xc0");
    expect_push(&d, s.t, 0xe2, "");
    expect_push(&d, s.t, 0xc3, "\xe2"); /* one gives way to the other */
    CHECK(slm_decoder_push(&d, s.t, 258, out, 16, &n, &s.error) == SLM_ERR_TOKEN_ID);
    CHECK(slm_decoder_push(&d, s.t, -1, out, 16, &n, &s.error) == SLM_ERR_TOKEN_ID);
    CHECK(slm_decoder_push(&d, s.t, 0xa9, out, 1, &n, &s.error) == SLM_ERR_BUFFER && n == 2);
    expect_push(&d, s.t, 0xa9, "\xc3\xa9"); /* the state was as before */
    expect_push(&d, s.t, 0xe2, "");
    CHECK(slm_decoder_flush(&d, out) == 1 && (uint8_t)out[0] == 0xe2);
    CHECK(slm_decoder_flush(&d, out) == 0);
    slm_decoder_init(&d, SLM_DECODE_CONTROL);
    expect_push(&d, s.t, 257, "<eos>");
    free(s.memory);
}

static void errors(void)
{
    small_tokenizer s;
    int32_t ids[4];
    size_t n_ids = 0, n;
    build(&s, small_json, NULL);
    size_t scratch_bytes = slm_encode_scratch_bytes(s.t, 3);
    void *scratch = malloc(scratch_bytes);
    CHECK(slm_encode(s.t, "cab", 3, 0, ids, 1, &n_ids, scratch, scratch_bytes, &s.error) ==
          SLM_ERR_BUFFER);
    CHECK_U64(n_ids, 2);
    CHECK(slm_encode(s.t, "cab", 3, 0, ids, 4, &n_ids, scratch, scratch_bytes - 1, &s.error) ==
          SLM_ERR_MEMORY);
    CHECK(slm_encode(s.t, "cab", 3, 8, ids, 4, &n_ids, scratch, scratch_bytes, &s.error) ==
          SLM_ERR_ARGUMENT);
    CHECK(slm_encode(s.t, "cab", SIZE_MAX, 0, ids, 4, &n_ids, scratch, scratch_bytes, &s.error) ==
          SLM_ERR_TOO_LARGE); /* TK62 */
    CHECK(slm_encode_scratch_bytes(s.t, SIZE_MAX) == SIZE_MAX);
    CHECK(slm_token_bytes(s.t, 8, &n) == NULL && slm_token_bytes(s.t, -1, &n) == NULL);
    const char *text = slm_token_bytes(s.t, 5, &n);
    CHECK(n == 1 && text[0] == ' ');
    free(scratch);
    small_close(&s);
}

static uint64_t next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* TK61, TK58: any bytes come back, for a byte-level model. */
static void random_bytes(void)
{
    text_model m;
    failure f;
    uint64_t state = 0x1234567;
    static char back[4096];
    CHECK(text_model_open(&m, "evals/models/tinystories-2.6m/tokenizer.json", &f) == EXIT_OK);
    for (int i = 0; i < 100000; i++) {
        char text[64];
        size_t n = (size_t)(next(&state) % 48), n_ids, n_back;
        for (size_t k = 0; k < n; k++) { /* ASCII, bytes of long characters, anything */
            uint64_t r = next(&state);
            uint64_t c = i % 3 == 0 ? r : i % 3 == 1 ? 32 + r % 64 : 0x80 + r % 0x78;
            text[k] = (char)(c >> (i % 3 ? 0 : 8));
        }
        int32_t *ids;
        CHECK(small_encode(m.tokenizer, text, n, i & 3, &ids, &n_ids) == SLM_OK);
        decode_all(m.tokenizer, ids, n_ids, 0, back, &n_back);
        CHECK(n_back == n && memcmp(text, back, n) == 0);
        free(ids);
        if (test_failed_here) {
            break;
        }
    }
    text_model_close(&m);
}

/* TK58: a word of 10 MB takes n log n. */
static void one_long_word(void)
{
    text_model m;
    failure f;
    size_t n = 10000000, n_ids;
    char *text = (char *)malloc(n);
    int32_t *ids = NULL;
    CHECK(text_model_open(&m, "evals/models/tinystories-2.6m/tokenizer.json", &f) == EXIT_OK);
    memset(text, 'a', n);
    double start = clock_seconds();
    CHECK(text_model_encode(&m, text, n, 0, &ids, &n_ids, &f) == EXIT_OK);
    printf("# 10 MB of one letter: %.2f s, %zu ids\n", clock_seconds() - start, n_ids);
    CHECK(n_ids == n); /* "aa" is no token of that vocabulary */
    free(ids);
    text_model_close(&m);
    small_tokenizer s; /* and one in which it merges: "aa", then "aaaa", ... */
    build_with(&s, small_json, SMALL_VOCAB,
               "\"vocab\":{\"a\":0,\"aa\":1,\"aaaa\":2,\"aaaaaaaa\":3},"
               "\"merges\":[\"a a\",\"aa aa\",\"aaaa aaaa\"]",
               NULL);
    start = clock_seconds();
    CHECK(small_encode(s.t, text, n, 0, &ids, &n_ids) == SLM_OK);
    printf("# and merged: %.2f s, %zu ids\n", clock_seconds() - start, n_ids);
    CHECK_U64(n_ids, 1250000);
    CHECK(clock_seconds() - start < 60);
    free(ids);
    small_close(&s);
    free(text);
}

/* ---- NFC ------------------------------------------------------------------------------------- */

/* By hand from the Unicode Character Database. */
static void nfc(void)
{
    static const char *const cases[][2] = {
        {"e\xcc\x81", "\xc3\xa9"},                                /* e + acute */
        {"\xe2\x84\xab", "\xc3\x85"},                             /* Angstrom sign */
        {"q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87"},               /* marks in canonical order */
        {"a\xcc\x81\xcc\xa3", "\xe1\xba\xa1\xcc\x81"},            /* the lower one joins first */
        {"\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"},             /* excluded from composition */
        {"\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"}, /* Hangul L V T */
        {"\xea\xb0\x80\xe1\x86\xa8", "\xea\xb0\x81"},             /* Hangul LV T */
        {"\xcc\x81"
         "e",
         "\xcc\x81"
         "e"},                            /* a mark with nothing before */
        {"\xff\xcc\x81", "\xff\xcc\x81"}, /* nor can it join a bad byte */
        {"e\xcc\x81\xff"
         "e\xcc\x81",
         "\xc3\xa9\xff\xc3\xa9"},
    };
    small_tokenizer s;
    char vocab[4096] = "\"vocab\":{", *p = vocab + strlen(vocab);
    for (int i = 0, other = 0x100; i < 256; i++) { /* the byte-level alphabet */
        int c = (i >= 0x21 && i <= 0x7e) || (i >= 0xa1 && i != 0xad) ? i : other++;
        p += sprintf(p, "\"\\u%04x\":%d,", (unsigned)c, i);
    }
    strcpy(p, "\"aa\":256},\"merges\":[\"a a\"]");
    char *json = small_json_with(small_json, SMALL_VOCAB, vocab);
    char *moved = small_json_with(json, "\"id\":6", "\"id\":257");
    build_with(&s, moved, "\"normalizer\":null", "\"normalizer\":{\"type\":\"NFC\"}", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char want[256] = "";
        for (const char *c = cases[i][1]; *c; c++) {
            sprintf(want + strlen(want), want[0] ? " %d" : "%d", (uint8_t)*c);
        }
        expect(s.t, cases[i][0], 0, want);
    }
    /* TK39: 200 KB of marks on one letter, in two classes that must be sorted. */
    size_t n = 200001, n_ids;
    char *text = (char *)malloc(n);
    int32_t *ids;
    text[0] = 'q';
    for (size_t i = 1; i < n; i += 4) {
        memcpy(text + i, "\xcc\x87\xcc\xa3", 4);
    }
    CHECK(small_encode(s.t, text, n, 0, &ids, &n_ids) == SLM_OK);
    CHECK(n_ids == n && ids[0] == 'q');
    CHECK(ids[1] == 0xcc && ids[2] == 0xa3 && ids[n - 2] == 0xcc && ids[n - 1] == 0x87);
    free(ids);
    free(text);
    small_close(&s);
    free(json);
    free(moved);
}

/* ---- Payloads -------------------------------------------------------------------------------- */

/* Every byte of a small payload set to other values: it opens or is refused, nothing else; and what
 * opens encodes and decodes without harm. */
static void try_payload(const uint8_t *bytes, uint64_t n)
{
    small_tokenizer s = {0};
    small_open(&s, bytes, n);
    CHECK(s.status == SLM_OK || s.status == SLM_ERR_TOKENIZER || s.status == SLM_ERR_MEMORY);
    if (s.status == SLM_OK) {
        int32_t *ids;
        static char text[1 << 17];
        size_t n_ids, n_text;
        CHECK(small_encode(s.t, "abc <s> \xc3\xa9", 10, 3, &ids, &n_ids) == SLM_OK);
        decode_all(s.t, ids, n_ids, 1, text, &n_text);
        free(ids);
    }
    free(s.memory);
}

static void tampered(void)
{
    small_tokenizer s;
    build(&s, small_json, NULL);
    uint64_t n = s.payload.n_tokenizer;
    for (uint64_t cut = 0; cut < n; cut++) {
        small_tokenizer c = {0};
        uint8_t *copy = (uint8_t *)malloc(cut + 1);
        memcpy(copy, s.payload.tokenizer, cut);
        small_open(&c, copy, cut);
        CHECK(c.status == SLM_ERR_TOKENIZER);
        free(c.memory);
        free(copy);
    }
    for (uint64_t at = 0; at < n; at++) {
        static const uint8_t flips[] = {1, 2, 4, 8, 16, 32, 64, 128, 255};
        for (size_t k = 0; k < sizeof flips; k++) {
            uint8_t *copy = (uint8_t *)malloc(n);
            memcpy(copy, s.payload.tokenizer, n);
            copy[at] ^= flips[k];
            try_payload(copy, n);
            free(copy);
        }
    }
    slm_arena small = arena_over(s.memory, 64); /* less memory than it needs */
    CHECK(slm_tokenizer_open(&s.t, &small, s.payload.tokenizer, n, &s.error) == SLM_ERR_MEMORY);
    small_close(&s);
}

/* Named refusals: field of the header at offset 4 * index set to a value. */
static void refused(void)
{
    static const struct {
        uint32_t index, value;
        const char *says;
    } cases[] = {
        {0, 0, "neither BTOK nor BPE1"},
        {1, 2, "of a version"},
        {2, 1 << 20, "unknown flags"},
        {2, TOK_BYTE_LEVEL | TOK_MARK_SPACES, "contradict"},
        {2, 0, "contradict"},
        {3, 99, "unknown pre-tokenizer"},
        {4, 99, "unknown pre-tokenizer or prefix"},
        {5, 0, "a count is out of range"},
        {5, UINT32_MAX, "a count is out of range"},
        {6, UINT32_MAX, "a count is out of range"},
        {6, 2, "cut short, or padding"},
        {9, 8, "special token's id"},
        {2, TOK_BYTE_LEVEL | TOK_ADD_BOS, "special token's id"},
        {12, 65, "a count is out of range"},
        {13, 1, "cut short, or padding"},
        {15, 8, "cut short, or padding"},
        {3, PRE_PROGRAM, "the program of its pre-tokenizer is none"},
    };
    small_tokenizer s;
    build(&s, small_json, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t n = s.payload.n_tokenizer;
        uint8_t *copy = (uint8_t *)malloc(n);
        small_tokenizer c = {0};
        memcpy(copy, s.payload.tokenizer, n);
        memcpy(copy + 4 * cases[i].index, &cases[i].value, 4);
        small_open(&c, copy, n);
        if (c.status != SLM_ERR_TOKENIZER || !strstr(c.error.text, cases[i].says)) {
            printf("# field %u: %s\n", (unsigned)cases[i].index, c.error.text);
            CHECK(false);
        }
        free(c.memory);
        free(copy);
    }
    small_close(&s);
}

int main(void)
{
    RUN(ranks);
    RUN(long_words);
    RUN(added_tokens);
    RUN(words);
    RUN(sentencepiece);
    RUN(metaspace);
    RUN(streams);
    RUN(errors);
    RUN(random_bytes);
    RUN(one_long_word);
    RUN(nfc);
    RUN(tampered);
    RUN(refused);
    return test_finish();
}
