/* test_gguf.c - malformed GGUF files (GG items of the project's checklist), built byte by byte. */
#include "lib/gguf.h"

#include "base/bytes.h"
#include "lib/check.h"

typedef struct builder {
    uint8_t bytes[8192];
    size_t n;
} builder;

static void put(builder *b, const void *bytes, size_t n)
{
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

static void put32(builder *b, uint32_t v)
{
    store_u32(b->bytes + b->n, v);
    b->n += 4;
}

static void put64(builder *b, uint64_t v)
{
    store_u64(b->bytes + b->n, v);
    b->n += 8;
}

static void put_text(builder *b, const char *text)
{
    put64(b, strlen(text));
    put(b, text, strlen(text));
}

static void begin(builder *b, uint64_t n_tensors, uint64_t n_pairs)
{
    b->n = 0;
    put(b, "GGUF", 4);
    put32(b, 3);
    put64(b, n_tensors);
    put64(b, n_pairs);
}

static void put_tensor(builder *b, const char *name, uint32_t rank, const uint64_t *dims,
                       uint32_t type, uint64_t offset)
{
    put_text(b, name);
    put32(b, rank);
    for (uint32_t i = 0; i < rank && i < 8; i++) {
        put64(b, dims[i]);
    }
    put32(b, type);
    put64(b, offset);
}

static void pad_to(builder *b, size_t align, size_t extra)
{
    while (b->n % align != 0) {
        b->bytes[b->n++] = 0;
    }
    memset(b->bytes + b->n, 1, extra);
    b->n += extra;
}

/* Parses a copy whose end is the end of its allocation, so that the sanitizer sees any over-read.
 */
static int parse(const builder *b, gguf *g, failure *f)
{
    static uint8_t *copy;
    free(copy);
    copy = (uint8_t *)malloc(b->n ? b->n : 1);
    memcpy(copy, b->bytes, b->n);
    memset(f, 0, sizeof *f);
    return gguf_parse("m.gguf", copy, b->n, g, f);
}

static void refused(const builder *b, const char *fragment)
{
    gguf g;
    failure f;
    CHECK_U64(parse(b, &g, &f), EXIT_INPUT);
    if (!strstr(f.text, fragment)) {
        printf("# message '%s' lacks '%s'\n", f.text, fragment);
        test_failed_here = 1;
    }
    gguf_free(&g);
}

/* A file with one pair of each kind and two tensors: F32 [2][3], Q8_0 [1][32]. */
static void valid(builder *b)
{
    begin(b, 2, 5);
    put_text(b, "general.architecture");
    put32(b, GGUF_STRING);
    put_text(b, "llama");
    put_text(b, "a.count");
    put32(b, GGUF_U32);
    put32(b, 7);
    put_text(b, "a.eps");
    put32(b, GGUF_F32);
    put32(b, 0x3f000000u);
    put_text(b, "a.flag");
    put32(b, GGUF_BOOL);
    put(b, "\1", 1);
    put_text(b, "a.words");
    put32(b, GGUF_ARRAY);
    put32(b, GGUF_STRING);
    put64(b, 2);
    put_text(b, "one");
    put_text(b, "");
    uint64_t small[2] = {3, 2}, blocks[2] = {32, 1};
    put_tensor(b, "small", 2, small, 0, 0);
    put_tensor(b, "blocks", 2, blocks, 8, 32);
    pad_to(b, 32, 32 + 34);
}

static void reads_a_valid_file(void)
{
    static builder b;
    gguf g;
    failure f;
    valid(&b);
    CHECK_U64(parse(&b, &g, &f), EXIT_OK);
    CHECK_U64(g.n_tensors, 2);
    CHECK_U64(g.tensors[1].n_bytes, 34);
    CHECK_U64(g.tensors[1].offset, g.data_offset + 32);
    CHECK_U64(g.n_trailing, 0);
    uint32_t count = 0;
    float eps = 0;
    bool flag = false, found = false;
    gguf_string text = {NULL, 0};
    CHECK_U64(gguf_get_u32(&g, "a.count", 0, 10, &count, &found, &f), EXIT_OK);
    CHECK(found && count == 7);
    CHECK_U64(gguf_get_f32(&g, "a.eps", &eps, &found, &f), EXIT_OK);
    CHECK(eps == 0.5f);
    CHECK_U64(gguf_get_bool(&g, "a.flag", &flag, &found, &f), EXIT_OK);
    CHECK(flag);
    CHECK_U64(gguf_get_string(&g, "general.architecture", &text, &found, &f), EXIT_OK);
    CHECK(text.n_bytes == 5 && memcmp(text.text, "llama", 5) == 0);
    const gguf_pair *words = NULL;
    CHECK_U64(gguf_get_array(&g, "a.words", GGUF_STRING, &words, &f), EXIT_OK);
    const uint8_t *cursor = words->value;
    gguf_string first = gguf_next_string(&cursor), second = gguf_next_string(&cursor);
    CHECK(first.n_bytes == 3 && second.n_bytes == 0);
    CHECK_U64(gguf_get_u32(&g, "absent", 0, 1, &count, &found, &f), EXIT_OK);
    CHECK(!found && count == 7);
    CHECK_U64(gguf_get_u32(&g, "a.count", 0, 6, &count, NULL, &f), EXIT_INPUT);
    CHECK_U64(gguf_get_u32(&g, "a.eps", 0, 6, &count, NULL, &f), EXIT_INPUT);
    CHECK_U64(gguf_get_f32(&g, "a.count", &eps, NULL, &f), EXIT_INPUT);
    CHECK_U64(gguf_get_array(&g, "a.words", GGUF_U32, &words, &f), EXIT_INPUT);
    gguf_free(&g);
}

static void header(void) /* GG01-GG06 */
{
    static builder b;
    b.n = 0;
    refused(&b, "not a GGUF");
    put(&b, "GGU", 3);
    refused(&b, "not a GGUF");
    static const char *const magics[] = {"GGUf", "FUGG", "GGML", "ggjt", "lmgg"};
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        valid(&b);
        memcpy(b.bytes, magics[i], 4);
        refused(&b, "not a GGUF");
    }
    static const uint32_t versions[] = {0, 1, 4, 0xffffffffu};
    for (size_t i = 0; i < 4; i++) {
        valid(&b);
        store_u32(b.bytes + 4, versions[i]);
        refused(&b, "version");
    }
    valid(&b);
    store_u32(b.bytes + 4, 0x03000000u);
    refused(&b, "big-endian");
    static const uint64_t counts[] = {UINT64_MAX, INT64_MAX, 1ull << 32, 100000000};
    for (size_t i = 0; i < 4; i++) {
        valid(&b);
        store_u64(b.bytes + 8, counts[i]);
        refused(&b, "more tensors are announced");
        valid(&b);
        store_u64(b.bytes + 16, counts[i]);
        refused(&b, "more pairs are announced");
    }
}

static void pairs(void) /* GG07-GG17 */
{
    static builder b;
    static const uint64_t lengths[] = {UINT64_MAX, 1ull << 40, 13, 0};
    static const char *const messages[] = {"the file ends", "the file ends", "the file ends",
                                           "is empty"};
    for (size_t i = 0; i < 4; i++) {
        begin(&b, 0, 1);
        put64(&b, lengths[i]);
        put(&b, "\4\0\0\0", 4);
        b.n += 4;
        refused(&b, messages[i]);
    }
    begin(&b, 0, 1);
    put64(&b, 3);
    put(&b, "a\0b", 3);
    put32(&b, GGUF_U32);
    put32(&b, 0);
    refused(&b, "not printable");
    begin(&b, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_text(&b, "same");
        put32(&b, GGUF_U8);
        put(&b, "\0", 1);
    }
    refused(&b, "appears twice");
    static const uint32_t types[] = {13, 255, 0xffffffffu, 0x80000000u};
    for (size_t i = 0; i < 4; i++) {
        begin(&b, 0, 1);
        put_text(&b, "k");
        put32(&b, types[i]);
        put64(&b, 0);
        refused(&b, "unknown");
    }
    begin(&b, 0, 1);
    put_text(&b, "k");
    put32(&b, GGUF_BOOL);
    put(&b, "\2\0\0\0", 4);
    refused(&b, "a bool is 0 or 1");
}

static void arrays(void) /* GG15-GG17 */
{
    static builder b;
    static const uint32_t elements[] = {GGUF_ARRAY, 13, GGUF_U64, GGUF_U64, GGUF_STRING, GGUF_U8};
    static const uint64_t counts[] = {1, 1, UINT64_MAX / 8 + 2, (1ull << 30) + 1, 1000000000, 99};
    static const char *const messages[] = {
        "arrays of arrays", "unknown", "ends", "ends", "ends", "ends"};
    for (size_t i = 0; i < 6; i++) {
        begin(&b, 0, 1);
        put_text(&b, "k");
        put32(&b, GGUF_ARRAY);
        put32(&b, elements[i]);
        put64(&b, counts[i]);
        pad_to(&b, 8, 16);
        refused(&b, messages[i]);
    }
}

static void alignment(void) /* GG18, GG19 */
{
    static builder b;
    static const uint32_t values[] = {0, 3, 31, 33, 1u << 31, 0xffffffffu};
    for (size_t i = 0; i < 6; i++) {
        begin(&b, 0, 1);
        put_text(&b, "general.alignment");
        put32(&b, GGUF_U32);
        put32(&b, values[i]);
        refused(&b, "general.alignment");
    }
    begin(&b, 0, 1);
    put_text(&b, "general.alignment");
    put32(&b, GGUF_U64);
    put64(&b, 32);
    refused(&b, "must be a u32");
}

typedef struct tensor_case {
    const char *name;
    uint32_t rank;
    uint64_t dims[4];
    uint32_t type;
    uint64_t offset;
    const char *message;
} tensor_case;

static void tensors(void) /* GG23-GG37 */
{
    static const tensor_case cases[] = {
        {"", 1, {32}, 0, 0, "empty"},
        {"t", 0, {0}, 0, 0, "rank"},
        {"t", 5, {1, 1, 1, 1}, 0, 0, "rank"},
        {"t", 0xffffffffu, {1, 1, 1, 1}, 0, 0, "rank"},
        {"t", 1, {0}, 0, 0, "zero or out of range"},
        {"t", 1, {UINT64_MAX}, 0, 0, "zero or out of range"},
        {"t", 4, {INT64_MAX, 2, 1, 1}, 0, 0, "size in bytes overflows"},
        {"t", 2, {1ull << 32, 1ull << 32}, 0, 0, "overflows"},
        {"t", 2, {(1ull << 33) + 1, 1ull << 31}, 0, 0, "overflows"},
        {"t", 1, {1ull << 62}, 28, 0, "size in bytes overflows"},
        {"t", 1, {1ull << 62}, 2, 0, "past the end"},
        {"t", 1, {32}, 4, 0, "unknown"},
        {"t", 1, {32}, 36, 0, "unknown"},
        {"t", 1, {32}, 0xffffffffu, 0, "unknown"},
        {"t", 2, {576, 1}, 12, 0, "not whole Q4_K blocks"},
        {"t", 2, {172, 1}, 8, 0, "not whole Q8_0 blocks"},
        {"t", 1, {1}, 0, 4, "multiple of the alignment"},
        {"t", 1, {1}, 0, 1ull << 63, "past the end"},
        {"t", 1, {1}, 0, UINT64_MAX - 31, "past the end"},
        {"t", 1, {16}, 0, 32, "past the end"},
        {"t", 1, {17}, 0, 0, "past the end"},
    };
    static builder b;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const tensor_case *c = &cases[i];
        begin(&b, 1, 0);
        put_tensor(&b, c->name, c->rank, c->dims, c->type, c->offset);
        pad_to(&b, 32, 64);
        refused(&b, c->message);
    }
}

static void placement(void) /* GG24, GG38, GG40, GG41 */
{
    static builder b;
    uint64_t dims[1] = {16};
    begin(&b, 2, 0);
    put_tensor(&b, "a", 1, dims, 0, 0);
    put_tensor(&b, "b", 1, dims, 0, 32);
    pad_to(&b, 32, 128);
    refused(&b, "overlaps");
    begin(&b, 2, 0);
    put_tensor(&b, "a", 1, dims, 0, 0);
    put_tensor(&b, "a", 1, dims, 0, 64);
    pad_to(&b, 32, 128);
    refused(&b, "appears twice");
    gguf g;
    failure f;
    begin(&b, 2, 0); /* reverse order is legal, trailing bytes are counted */
    put_tensor(&b, "a", 1, dims, 0, 64);
    put_tensor(&b, "b", 1, dims, 0, 0);
    pad_to(&b, 32, 130);
    CHECK_U64(parse(&b, &g, &f), EXIT_OK);
    CHECK_U64(g.n_trailing, 2);
    gguf_free(&g);
}

static void every_truncation_is_refused(void) /* GG21 */
{
    static builder b;
    valid(&b);
    size_t whole = b.n;
    for (b.n = 0; b.n < whole; b.n++) {
        gguf g;
        failure f;
        CHECK_U64(parse(&b, &g, &f), EXIT_INPUT);
    }
}

static void every_flipped_byte_is_survived(void) /* GG22 */
{
    static builder b;
    for (size_t i = 0;; i++) {
        valid(&b);
        if (i == b.n) {
            break;
        }
        for (int flip = 1; flip < 256; flip = flip * 3 + 1) {
            gguf g;
            failure f;
            b.bytes[i] = (uint8_t)(b.bytes[i] ^ flip);
            int code = parse(&b, &g, &f);
            CHECK(code == EXIT_OK || code == EXIT_INPUT);
            gguf_free(&g);
        }
    }
}

int main(void)
{
    RUN(reads_a_valid_file);
    RUN(header);
    RUN(pairs);
    RUN(arrays);
    RUN(alignment);
    RUN(tensors);
    RUN(placement);
    RUN(every_truncation_is_refused);
    RUN(every_flipped_byte_is_survived);
    return test_finish();
}
