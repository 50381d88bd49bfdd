/* test_pickle.c - malformed pickles (PT21-PT60 of the project's checklist), built opcode by opcode.
 */
#include "lib/pickle.h"

#include "lib/check.h"

typedef struct builder {
    uint8_t *bytes;
    size_t n, capacity;
} builder;

static builder b;

static void put(const void *bytes, size_t n)
{
    if (b.n + n > b.capacity) {
        b.capacity = 2 * (b.n + n);
        b.bytes = (uint8_t *)realloc(b.bytes, b.capacity);
    }
    memcpy(b.bytes + b.n, bytes, n);
    b.n += n;
}

#define PUT(literal) put(literal, sizeof(literal) - 1)

static void text(const char *s)
{
    uint8_t head[2] = {0x8c, (uint8_t)strlen(s)};
    put(head, 2);
    put(s, strlen(s));
}

static int parse(pickle *p, failure *f)
{
    uint8_t *copy = (uint8_t *)malloc(b.n ? b.n : 1); /* its end is the allocation's */
    memcpy(copy, b.bytes, b.n);
    memset(f, 0, sizeof *f);
    int code = pickle_parse("m.pt", copy, b.n, p, f);
    static uint8_t *last;
    free(last);
    last = copy;
    return code;
}

static void refused(const char *fragment)
{
    pickle p;
    failure f;
    CHECK_U64(parse(&p, &f), EXIT_INPUT);
    if (!strstr(f.text, fragment)) {
        printf("# message '%s' lacks '%s'\n", f.text, fragment);
        test_failed_here = 1;
    }
    pickle_free(&p);
}

/* The parts of a tensor, which a case may replace. */
typedef struct tensor_parts {
    const char *tag, *type, *key, *count, *offset, *size, *stride, *tail;
    size_t n_count, n_offset, n_size, n_stride, n_tail;
} tensor_parts;

#define PART(field, literal) .field = literal, .n_##field = sizeof(literal) - 1
#define PARTS                                                                                      \
    .tag = "storage", .type = "ctorch\nFloatStorage\n", .key = "0", PART(count, "K\6"),            \
    PART(offset, "K\0"), PART(size, "K\2K\3\x86"), PART(stride, "K\3K\1\x86"),                     \
    PART(tail, "\x89"                                                                              \
               "ccollections\nOrderedDict\n)R")

static void put_tensor(const tensor_parts *t)
{
    PUT("ctorch._utils\n_rebuild_tensor_v2\n((");
    text(t->tag);
    put(t->type, strlen(t->type));
    text(t->key);
    text("cuda:99");
    put(t->count, t->n_count);
    PUT("tQ");
    put(t->offset, t->n_offset);
    put(t->size, t->n_size);
    put(t->stride, t->n_stride);
    put(t->tail, t->n_tail);
    PUT("tR");
}

/* {"w": tensor} */
static void put_file(const tensor_parts *t)
{
    b.n = 0;
    PUT("\x80\2}(");
    text("w");
    put_tensor(t);
    PUT("u.");
}

/* {"k": ...}, the part in the middle given as opcodes. */
#define BODY(literal)                                                                              \
    do {                                                                                           \
        b.n = 0;                                                                                   \
        PUT("\x80\2}(\x8c\1k");                                                                    \
        PUT(literal);                                                                              \
        PUT("u.");                                                                                 \
    } while (0)

#define WHOLE(literal)                                                                             \
    do {                                                                                           \
        b.n = 0;                                                                                   \
        PUT(literal);                                                                              \
    } while (0)

static void reads_tensors_and_numbers(void)
{
    tensor_parts t = {PARTS};
    pickle p;
    failure f;
    b.n = 0;
    PUT("\x80\4\x95\x4e\1\0\0\0\0\0\0}(");
    size_t frame = 3;
    text("w");
    put_tensor(&t);
    text("args");
    PUT("}(");
    text("dim");
    PUT("J\xfe\xff\xff\xff");
    text("big");
    PUT("\x8a\5\0\0\0\0\1");
    text("rate");
    PUT("G\x3f\xf8\0\0\0\0\0\0");
    text("on");
    PUT("\x88");
    text("none");
    PUT("N");
    text("list");
    PUT("](K\1K\2e");
    PUT("u\x94\x8c\5again\x68\0u.");
    uint64_t length = b.n - 11; /* the frame reaches to the end */
    for (size_t i = 0; i < 8; i++) {
        b.bytes[frame + i] = (uint8_t)(length >> (8 * i));
    }
    CHECK_U64(parse(&p, &f), EXIT_OK);
    CHECK_STRING(f.text, "");
    CHECK_U64(p.n_dicts, 2);
    CHECK_U64(p.n_tensors, 1);
    CHECK_U64(p.n_storages, 1);
    if (p.n_dicts == 2) {
        const pickle_entry *e = pickle_find(&p, 0, "args");
        CHECK(e && e->kind == PICKLE_DICT && e->of.index == 1);
        CHECK(pickle_find(&p, 0, "again")->of.index == 1);
        CHECK(pickle_find(&p, 1, "dim")->of.integer == -2);
        CHECK(pickle_find(&p, 1, "big")->of.integer == 4294967296);
        double rate = pickle_find(&p, 1, "rate")->of.number;
        CHECK(rate > 1.49 && rate < 1.51);
        CHECK(pickle_find(&p, 1, "on")->kind == PICKLE_TRUTH);
        CHECK(pickle_find(&p, 1, "none")->kind == PICKLE_NONE);
        CHECK(pickle_find(&p, 1, "list")->kind == PICKLE_OTHER);
        CHECK(!pickle_find(&p, 1, "absent"));
        CHECK_U64(p.tensors[0].rank, 2);
        CHECK_U64(p.tensors[0].dims[1], 3);
        CHECK_U64(p.tensors[0].strides[0], 3);
        CHECK_U64(p.storages[0].n_elements, 6);
    }
    pickle_free(&p);
}

static void protocols(void) /* PT21 */
{
    static const uint8_t bad[] = {0, 1, 6, 255};
    pickle p;
    failure f;
    for (int protocol = 2; protocol <= 5; protocol++) {
        WHOLE("\x80\2}.");
        b.bytes[1] = (uint8_t)protocol;
        CHECK_U64(parse(&p, &f), EXIT_OK);
        pickle_free(&p);
    }
    for (size_t i = 0; i < sizeof bad; i++) {
        WHOLE("\x80\2}.");
        b.bytes[1] = bad[i];
        refused("protocol 2 to 5");
    }
    WHOLE("}.");
    refused("protocol 2 to 5");
    WHOLE("\x80\2\x80\2}.");
    refused("PROTO");
}

static void every_truncation_is_refused(void) /* PT22 */
{
    tensor_parts t = {PARTS};
    pickle p;
    failure f;
    put_file(&t);
    CHECK_U64(parse(&p, &f), EXIT_OK);
    pickle_free(&p);
    for (size_t whole = b.n; b.n-- > 0 && whole;) {
        CHECK_U64(parse(&p, &f), EXIT_INPUT);
    }
}

static void every_flipped_byte_is_survived(void)
{
    tensor_parts t = {PARTS};
    pickle p;
    failure f;
    put_file(&t);
    for (size_t i = 0; i < b.n; i++) {
        for (int flip = 1; flip < 256; flip++) {
            b.bytes[i] = (uint8_t)(b.bytes[i] ^ flip);
            int code = parse(&p, &f);
            CHECK(code == EXIT_OK || code == EXIT_INPUT);
            pickle_free(&p);
            b.bytes[i] = (uint8_t)(b.bytes[i] ^ flip);
        }
    }
}

static void ends(void) /* PT23, PT30 */
{
    WHOLE("\x80\2}");
    refused("without STOP");
    WHOLE("\x80\2}.}.");
    refused("after the end");
    WHOLE("\x80\2}}.");
    refused("other than one value");
    WHOLE("\x80\2.");
    refused("other than one value");
    WHOLE("\x80\2}(.");
    refused("other than one value");
    WHOLE("\x80\2}u.");
    refused("no mark");
    WHOLE("\x80\2t.");
    refused("no mark");
    WHOLE("\x80\2(u.");
    refused("to be added to");
    WHOLE("\x80\2}(K\1u.");
    refused("to be added to");
    WHOLE("\x80\2}0.");
    refused("POP");
    WHOLE("\x80\2}(1.");
    refused("POP_MARK");
    WHOLE("\x80\2}(\x85.");
    refused("stack is too short");
    WHOLE("\x80\2].");
    refused("holds no dictionary");
}

static void names(void) /* PT24-PT26, PT51 */
{
    BODY("cos\nsystem\n");
    refused("os system");
    BODY("cbuiltins\neval\n");
    refused("builtins eval");
    BODY("cposix\nsystem\n");
    refused("posix system");
    BODY("ctorch.hub\nload\n");
    refused("torch.hub load");
    BODY("cnumpy.core.multiarray\n_reconstruct\n");
    refused("_reconstruct");
    BODY("c__main__\nNet\n");
    refused("state_dict()");
    BODY("ctorch._utils\n_rebuild_sparse_tensor\n"); /* PT52 */
    refused("_rebuild_sparse_tensor");
    BODY("ctorch._utils\n_rebuild_tensor_v3\n");
    refused("_rebuild_tensor_v3");
    BODY("ctorch.storage\nUntypedStorage\n"); /* PT53 */
    refused("UntypedStorage");
    BODY("ccollections\nOrderedDict.__init__\n");
    refused("OrderedDict.__init__");
    BODY("K\1K\2\x93");
    refused("no text");
    BODY("\x8c\2os\x8c\6system\x93");
    refused("os system");
    BODY("\x8c\x0b"
         "collections\x8c\x0cOrderedDict\0\x93");
    refused("asks for");
    BODY("ccollections\nOrderedDict");
    refused("ends inside");
}

static void opcodes(void) /* PT27 */
{
    static const struct {
        uint8_t op;
        const char *name;
    } cases[] = {{'i', "INST"},
                 {'o', "OBJ"},
                 {0x81, "NEWOBJ"},
                 {0x92, "NEWOBJ_EX"},
                 {0x82, "EXT1"},
                 {0x83, "EXT2"},
                 {0x84, "EXT4"},
                 {'P', "PERSID"},
                 {0x96, "BYTEARRAY8"},
                 {0x97, "NEXT_BUFFER"},
                 {0x98, "READONLY_BUFFER"},
                 {'T', "BINSTRING"},
                 {0x8e, "BINBYTES8"},
                 {0x8b, "LONG4"},
                 {'2', "DUP"},
                 {0xff, "unknown"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        WHOLE("\x80\2}?.......");
        b.bytes[3] = cases[i].op;
        refused(cases[i].name);
        refused("offset 3");
    }
}

static void reduce_and_build(void) /* PT28, PT49 */
{
    BODY("ccollections\nOrderedDict\n](]e\x85R");
    refused("OrderedDict with arguments");
    BODY("ctorch\nFloatStorage\n)R");
    refused("no function");
    BODY("})R");
    refused("no function");
    BODY("}}b");
    refused("BUILD");
    BODY("ccollections\nOrderedDict\n)R}\x8c\x0c__setstate__Nsb");
    refused("BUILD");
    pickle p;
    failure f;
    BODY("ccollections\nOrderedDict\n)R}\x8c\x09_metadata}sb");
    CHECK_U64(parse(&p, &f), EXIT_OK);
    pickle_free(&p);
}

static void growth(void) /* PT29, PT60 */
{
    pickle p;
    failure f;
    WHOLE("\x80\2}(\x8c\1k(");
    for (int i = 0; i < 1000000; i++) {
        PUT(")");
    }
    PUT("tu.");
    CHECK_U64(parse(&p, &f), EXIT_OK);
    pickle_free(&p);
    WHOLE("\x80\2}(\x8c\1k");
    for (int i = 0; i < 1000000; i++) { /* 10^6 lists in each other, each in the memo */
        PUT("]\x94");
    }
    for (int i = 1; i < 1000000; i++) {
        PUT("a");
    }
    PUT("u.");
    CHECK_U64(parse(&p, &f), EXIT_OK);
    CHECK_U64(p.n_entries, 1);
    pickle_free(&p);
}

static void many_tensors(void) /* PT60 */
{
    tensor_parts t = {PARTS};
    pickle p;
    failure f;
    enum { N = 200000 };
    WHOLE("\x80\4}(");
    for (uint32_t i = 0; i < N; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        text(name);
        put_tensor(&t);
    }
    PUT("u.");
    CHECK_U64(parse(&p, &f), EXIT_OK);
    CHECK_U64(p.n_tensors, N);
    CHECK_U64(p.n_storages, 1);
    pickle_free(&p);
}

static void memo(void) /* PT31 */
{
    BODY("h\7");
    refused("before it is set");
    BODY("j\xff\xff\xff\xff");
    refused("before it is set");
    BODY("Nr\xff\xff\xff\xff");
    refused("memo index");
    BODY("Nq\5h\4");
    refused("before it is set");
    WHOLE("\x80\2}q\0\x8c\4selfh\0s.");
    refused("contains itself");
    pickle p;
    failure f;
    BODY("]q\0h\0a"); /* a list that contains itself is never entered */
    CHECK_U64(parse(&p, &f), EXIT_OK);
    pickle_free(&p);
}

static void lengths(void) /* PT32-PT34, PT38 */
{
    BODY("\x8d\xff\xff\xff\xff\xff\xff\xff\xff");
    refused("longer than the pickle");
    BODY("X\xff\xff\xff\x7f");
    refused("longer than the pickle");
    BODY("\x8a\xff");
    refused("LONG1 of more");
    BODY("\x8a\x09");
    refused("LONG1 of more");
    WHOLE("\x80\4\x95\xff\xff\xff\xff\xff\xff\xff\xff}.");
    refused("frame");
    WHOLE("\x80\4\x95\0\0\0\0\0\0\0\0}.");
    refused("frame");
    WHOLE("\x80\4\x95\x0b\0\0\0\0\0\0\0\x95\1\0\0\0\0\0\0\0}.");
    refused("frame");
    WHOLE("\x80\4\x95\2\0\0\0\0\0\0\0}J\1\0\0\0.");
    refused("crosses the end of its frame");
    BODY("\x8c\2\xc3(");
    refused("not UTF-8");
    BODY("\x8c\2\xc0\x80");
    refused("not UTF-8");
    static char key[5000];
    memset(key, 'k', sizeof key);
    WHOLE("\x80\2}X\x88\x13\0\0");
    put(key, sizeof key);
    PUT("Ns.");
    refused("a key of more than");
}

static void keys(void) /* PT35-PT37 */
{
    pickle p;
    failure f;
    WHOLE("\x80\2}(K\1NK\2NX\1\0\0\0aG\x7f\xf8\0\0\0\0\0\0u."); /* NaN as a value */
    CHECK_U64(parse(&p, &f), EXIT_OK);
    CHECK_U64(p.n_entries, 3);
    CHECK(p.entries && !p.entries[0].key.text && p.entries[0].integer_key == 1);
    pickle_free(&p);
    WHOLE("\x80\2}()Nu.");
    refused("neither text nor");
    WHOLE("\x80\2}(NNu.");
    refused("neither text nor");
    WHOLE("\x80\2}(G\x7f\xf8\0\0\0\0\0\0Nu.");
    refused("neither text nor");
    WHOLE("\x80\2}(\x8c\1aN\x8c\1bN\x8c\1aNu.");
    refused("key a appears twice");
    WHOLE("\x80\2}(K\5NM\5\0Nu.");
    refused("key 5 appears twice");
    WHOLE("\x80\2](K\1u.");
    refused("to be added to");
    WHOLE("\x80\2](K\1K\2u.");
    refused("no dictionary");
    WHOLE("\x80\2}(K\1e.");
    refused("no list");
}

static void nesting(void)
{
    WHOLE("\x80\2}");
    for (int i = 0; i < PICKLE_MAX_DEPTH; i++) {
        PUT("\x8c\1k}");
    }
    for (int i = 0; i < PICKLE_MAX_DEPTH; i++) {
        PUT("s");
    }
    PUT(".");
    refused("nested more than");
}

typedef struct tensor_case {
    tensor_parts parts;
    const char *message;
} tensor_case;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#endif
#define BIG63 "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"
static const tensor_case TENSORS[] = {
    /* PT39 */
    {{PARTS, .tag = "module"}, "no storage"},
    {{PARTS, .type = "ccollections\nOrderedDict\n"}, "no storage type"},
    {{PARTS, .type = "K\1"}, "no storage type"},
    {{PARTS, .key = "../x"}, "not a number"},
    {{PARTS, .key = ""}, "not a number"},
    {{PARTS, .key = "123456789012345678901"}, "not a number"},
    {{PARTS, PART(count, "K\6K\6")}, "five values"},
    {{PARTS, PART(count, "")}, "five values"},
    /* PT40 */
    {{PARTS, PART(count, "K\0")}, "out of range"},
    {{PARTS, PART(count, "J\xff\xff\xff\xff")}, "out of range"},
    {{PARTS, PART(count, BIG63)}, "out of range"},
    {{PARTS, PART(count, "G\0\0\0\0\0\0\0\0")}, "out of range"},
    /* PT42 */
    {{PARTS, PART(tail, "")}, "6 or 7"},
    {{PARTS, PART(tail, "\x89")}, "6 or 7"},
    {{PARTS, PART(tail, "\x89NNN")}, "6 or 7"},
    {{PARTS, PART(tail, "K\1N")}, "other kinds"},
    /* PT43 */
    {{PARTS, PART(offset, BIG63)}, "outside"},
    {{PARTS, PART(offset, "J\xff\xff\xff\xff")}, "outside"},
    {{PARTS, PART(offset, "K\1")}, "outside"},
    {{PARTS, PART(offset, "N")}, "other kinds"},
    /* PT44 */
    {{PARTS, PART(size, "K\0K\3\x86")}, "size or stride"},
    {{PARTS, PART(size, "J\xff\xff\xff\xffK\3\x86")}, "size or stride"},
    {{PARTS, PART(size, BIG63 "K\3\x86")}, "outside"},
    {{PARTS, PART(size, BIG63 BIG63 "\x86")}, "outside"},
    {{PARTS, PART(size, "(K\1K\1K\1K\1K\1t")}, "4 dimensions"},
    {{PARTS, PART(size, "\x88K\3\x86")}, "size or stride"},
    {{PARTS, PART(size, "\x8c\1"
                        "aK\3\x86")},
     "size or stride"},
    {{PARTS, PART(size, "]")}, "no tuple"},
    /* PT45 */
    {{PARTS, PART(stride, "K\0K\1\x86")}, "size or stride"},
    {{PARTS, PART(stride, "J\xff\xff\xff\xffK\1\x86")}, "size or stride"},
    {{PARTS, PART(stride, BIG63 "K\1\x86")}, "outside"},
    {{PARTS, PART(stride, "K\2K\1\x86")}, "overlap"},
    {{PARTS, PART(stride, "K\1K\1\x86")}, "overlap"},
    {{PARTS, PART(stride, "K\1\x85")}, "size or stride"},
    /* PT46 */
    {{PARTS, PART(stride, "K\4K\1\x86")}, "outside"},
    {{PARTS, PART(size, "K\3K\3\x86")}, "outside"},
    /* PT49 */
    {{PARTS, PART(tail, "\x89}")}, "hooks"},
    {{PARTS, PART(tail, "\x89"
                        "ccollections\nOrderedDict\n)RK\1Ns")},
     "hooks"},
    {{PARTS, PART(tail, "\x89N}\x8c\1kNs")}, "metadata"},
};
static const tensor_parts TRANSPOSED = {PARTS, PART(stride, "K\1K\2\x86")}; /* PT47 */
static const tensor_parts DOUBLE = {PARTS, .type = "ctorch\nDoubleStorage\n"};
static const tensor_parts SEVEN = {PARTS, PART(tail, "\x88N}")};
#pragma GCC diagnostic pop

static void tensors(void)
{
    for (size_t i = 0; i < sizeof TENSORS / sizeof TENSORS[0]; i++) {
        put_file(&TENSORS[i].parts);
        refused(TENSORS[i].message);
    }
    const tensor_parts *good[] = {&TRANSPOSED, &DOUBLE, &SEVEN};
    for (size_t i = 0; i < 3; i++) {
        pickle p;
        failure f;
        put_file(good[i]);
        CHECK_U64(parse(&p, &f), EXIT_OK);
        CHECK_STRING(f.text, "");
        pickle_free(&p);
    }
}

static void storages(void) /* PT41, PT48 */
{
    tensor_parts t = {PARTS};
    pickle p;
    failure f;
    b.n = 0;
    PUT("\x80\2}(\x8c\1a");
    put_tensor(&t);
    PUT("\x8c\1b");
    put_tensor(&t);
    PUT("u.");
    CHECK_U64(parse(&p, &f), EXIT_OK);
    CHECK_U64(p.n_storages, 1);
    CHECK_U64(p.n_tensors, 2);
    pickle_free(&p);
    for (int i = 0; i < 2; i++) {
        tensor_parts other = {PARTS};
        other.type = i ? "ctorch\nHalfStorage\n" : other.type;
        other.count = i ? other.count : "K\7";
        b.n = 0;
        PUT("\x80\2}(\x8c\1a");
        put_tensor(&t);
        PUT("\x8c\1b");
        put_tensor(&other);
        PUT("u.");
        refused("two types or two sizes");
    }
}

static void parameters(void) /* PT49 */
{
    BODY("ctorch._utils\n_rebuild_parameter\nN\x88N\x87R");
    refused("_rebuild_parameter");
    BODY("ctorch._utils\n_rebuild_parameter\n)R");
    refused("_rebuild_parameter");
}

int main(void)
{
    RUN(reads_tensors_and_numbers);
    RUN(protocols);
    RUN(every_truncation_is_refused);
    RUN(every_flipped_byte_is_survived);
    RUN(ends);
    RUN(names);
    RUN(opcodes);
    RUN(reduce_and_build);
    RUN(growth);
    RUN(many_tensors);
    RUN(memo);
    RUN(lengths);
    RUN(keys);
    RUN(nesting);
    RUN(tensors);
    RUN(storages);
    RUN(parameters);
    free(b.bytes);
    return test_finish();
}
