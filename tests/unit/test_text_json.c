/* test_text_json.c - tokenizer.json files that are wrong, odd or merely rare: the TK items of the
 * list of malformed inputs that concern it. Each row changes one place of a small good file.
 */
#include "lib/check.h"
#include "lib/small_tokenizer.h"

typedef struct row {
    const char *id, *from, *to;
    int code;         /* what reading gives */
    const char *says; /* part of the message, or of the warnings; NULL: nothing is said */
} row;

#define WARNS "only 4 of 256 bytes" /* the small vocabulary's own warning */
#define MODEL "\"model\":{\"type\":\"BPE\""
#define NEST "{\"type\":\"Sequence\",\"pretokenizers\":["
#define NESTED "]}"
#define SPLIT "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define ADDED(id, content, flags)                                                                  \
    "{\"id\":" id ",\"content\":\"" content "\",\"single_word\":false,\"lstrip\":false,"           \
    "\"rstrip\":false,\"normalized\":false," flags "}"
#define REPLACE(from, to)                                                                          \
    "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" from "\"},\"content\":\"" to "\"}"
#define STEPS                                                                                      \
    "\"normalizer\":null,\"pre_tokenizer\":" SPLIT                                                 \
    ",\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"}"
#define MARKS(decoder) "\"normalizer\":" REPLACE(" ", "\u2581") ",\"decoder\":" decoder
#define STRIP(start) "{\"type\":\"Strip\",\"content\":\" \",\"start\":" start ",\"stop\":0}"
#define TEMPLATE(id, ids)                                                                          \
    "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"" id                 \
    "\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"special_tokens\":{\"" id    \
    "\":{\"id\":\"" id "\",\"ids\":" ids "}}}"

#define CUT(pattern, behavior, invert)                                                             \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":" pattern           \
    ",\"behavior\":\"" behavior "\",\"invert\":" invert "}," SPLIT "]}"
#define DIGIT "{\"type\":\"Digits\",\"individual_digits\":true}"
#define FOUR DIGIT "," DIGIT "," DIGIT "," DIGIT ","

static const row rows[] = {
    {"good", "1.0", "1.0", EXIT_OK, WARNS},
    {"TK02 BOM", "{\"version\"", "\xef\xbb\xbf{\"version\"", EXIT_INPUT, "byte order mark"},
    {"TK02 not UTF-8", "<s>", "<\xff>", EXIT_INPUT, "unable to decode byte"},
    {"TK02 CRLF", ",\"truncation\"", ",\r\n\"truncation\"", EXIT_OK, WARNS},
    {"TK06 missing", "\"model\"", "\"modal\"", EXIT_INPUT, "model must be an object"},
    {"TK06 string", MODEL, "\"model\":\"BPE\",\"x\":{\"type\":\"BPE\"", EXIT_INPUT,
     "model must be"},
    {"TK07 Unigram", "\"BPE\"", "\"Unigram\"", EXIT_INPUT, "model.type \"Unigram\""},
    {"TK07 WordPiece", "\"BPE\"", "\"WordPiece\"", EXIT_INPUT, "model.type \"WordPiece\""},
    {"TK08 missing", "\"vocab\"", "\"words\"", EXIT_INPUT, "model.vocab"},
    {"TK09 negative", "\"a\":0", "\"a\":-1", EXIT_INPUT, "a must be a whole number"},
    {"TK09 real", "\"a\":0", "\"a\":0.0", EXIT_INPUT, "a must be a whole number"},
    {"TK09 string", "\"a\":0", "\"a\":\"0\"", EXIT_INPUT, "a must be a whole number"},
    {"TK09 big", "\"a\":0", "\"a\":16777216", EXIT_INPUT, "a must be a whole number"},
    {"TK09 64 bits", "\"a\":0", "\"a\":99999999999999999999", EXIT_INPUT, "too big"},
    {"TK10", "\"b\":1", "\"b\":0", EXIT_INPUT, "two tokens have the id 0"},
    {"TK11", "\"b\":1", "\"b\":1,\"b\":8", EXIT_INPUT, "duplicate"},
    {"TK12 hole", "\"bc\":7", "\"bc\":9", EXIT_OK, "2 ids below 10 stand for no token"},
    {"TK12 holes only", "\"bc\":7", "\"bc\":90000", EXIT_INPUT, "the highest id is 90000"},
    {"TK15", "\"id\":6,\"content\":\"<s>\"", "\"id\":6,\"content\":\"a\"", EXIT_INPUT,
     "has the id 6, in the vocabulary 0"},
    {"TK15 taken", "\"id\":6", "\"id\":4", EXIT_INPUT, "has the id 4 of another token"},
    {"TK16 past the end", "\"id\":6", "\"id\":8", EXIT_OK, "1 ids below 9"},
    {"TK16 far", "\"id\":6", "\"id\":1000000000", EXIT_INPUT, "added_tokens id"},
    {"TK17", "[" SMALL_ADDED, "[" ADDED("8", "<t>", "\"special\":true") "," SMALL_ADDED, EXIT_OK,
     WARNS},
    {"TK18", "\"<s>\"", "\"\"", EXIT_INPUT, "added token 6 has no content"},
    {"TK19 space", "\"<s>\"", "\" \"", EXIT_OK, WARNS},
    {"TK19 newline", "\"<s>\"", "\"\\n\"", EXIT_OK, WARNS},
    {"TK19 NUL", "\"<s>\"", "\"\\u0000\"", EXIT_INPUT, "\\u0000"},
    {"two alike", "[" SMALL_ADDED, "[" ADDED("8", "<s>", "\"special\":true") "," SMALL_ADDED,
     EXIT_INPUT, "two added tokens are \"<s>\""},
    {"TK21", "\"lstrip\":false", "\"lstrip\":true", EXIT_OK, WARNS},
    {"TK22 missing", ",\"special\":true", "", EXIT_INPUT, "does not say whether it is special"},
    {"TK22 string", "\"special\":true", "\"special\":\"yes\"", EXIT_INPUT, "special must be"},
    {"no list", "[" SMALL_ADDED "]", "{\"id\":6}", EXIT_INPUT, "added_tokens must be a list"},
    {"no object", "[" SMALL_ADDED "]", "[6]", EXIT_INPUT, "added_tokens id"},
    {"TK23 pairs", "\"a b\"", "[\"a\",\"b\"]", EXIT_OK, WARNS},
    {"TK24 no space", "\"a b\"", "\"ab\"", EXIT_INPUT, "merge 0 is not two tokens"},
    {"TK24 three", "\"a b\"", "\"a b c\"", EXIT_INPUT, "merge 0 is not two tokens"},
    {"TK24 leading", "\"a b\"", "\" a b\"", EXIT_INPUT, "merge 0 is not two tokens"},
    {"TK24 three in a list", "\"a b\"", "[\"a\",\"b\",\"c\"]", EXIT_INPUT, "merge 0 is neither"},
    {"TK24 number", "\"a b\"", "7", EXIT_INPUT, "merge 0 is neither"},
    {"TK25", "\"a b\"", "\"a x\"", EXIT_INPUT, "merge 0 names \"x\", which is not in"},
    {"TK26", "\"a b\"", "\"b a\"", EXIT_INPUT, "merge 0 makes \"ba\", which is not in"},
    {"merges of control tokens", "[" SMALL_ADDED,
     "[" ADDED("3", "ab", "\"special\":true") "," SMALL_ADDED, EXIT_OK,
     "2 merges make or use control tokens"},
    {"TK27", "\"ab c\"", "\"a b\",\"ab c\"", EXIT_OK, "1 merges repeat an earlier one"},
    {"TK29", "[\"a b\",\"b c\",\"ab c\"]", "[]", EXIT_OK, WARNS},
    {"no merges", "\"merges\"", "\"merged\"", EXIT_INPUT, "model.merges must be a list"},
    {"TK30 byte level", "\"byte_fallback\":false", "\"byte_fallback\":true", EXIT_OK,
     "byte_fallback has no effect"},
    {"TK32", "\"unk_token\":null", "\"unk_token\":\"<unk>\"", EXIT_INPUT,
     "model.unk_token \"<unk>\" is not a token"},
    {"TK33", "\"ignore_merges\":false", "\"ignore_merges\":true", EXIT_OK, WARNS},
    {"TK34 fuse_unk", "\"fuse_unk\":false", "\"fuse_unk\":1", EXIT_INPUT, "fuse_unk must be"},
    {"TK34 prefix", "\"continuing_subword_prefix\":\"\"", "\"continuing_subword_prefix\":\"##\"",
     EXIT_INPUT, "model.continuing_subword_prefix is not supported"},
    {"TK34 suffix", "\"end_of_word_suffix\":\"\"", "\"end_of_word_suffix\":\"</w>\"", EXIT_INPUT,
     "model.end_of_word_suffix is not supported"},
    {"TK34 dropout", "\"dropout\":null", "\"dropout\":0.1", EXIT_INPUT, "model.dropout"},
    {"TK36 null", SPLIT, "null", EXIT_INPUT, "decoder \"ByteLevel\" is not supported"},
    {"TK36 unknown", SPLIT, "{\"type\":\"Magic\"}", EXIT_INPUT, "pre_tokenizer \"Magic\""},
    {"TK36 no type", SPLIT, "{}", EXIT_INPUT, "pre_tokenizer has no type"},
    {"TK36 empty", SPLIT, "{\"type\":\"Sequence\",\"pretokenizers\":[]}", EXIT_INPUT,
     "decoder \"ByteLevel\" is not supported"},
    {"TK36 empty, and no list", SPLIT, "{\"type\":\"Sequence\"}", EXIT_INPUT,
     "pretokenizers must be a list of steps"},
    {"TK36 empty normalizer", "\"normalizer\":null",
     "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[]}", EXIT_OK, WARNS},
    {"TK36 nested", SPLIT, NEST NEST NEST SPLIT NESTED NESTED NESTED, EXIT_OK, WARNS},
    {"TK36 nested deep", SPLIT,
     NEST NEST NEST NEST NEST NEST NEST NEST NEST SPLIT NESTED NESTED NESTED NESTED NESTED NESTED
         NESTED NESTED NESTED,
     EXIT_INPUT, "pre_tokenizer: a Sequence inside of 8 others"},
    {"TK37 catastrophic elsewhere", SPLIT, CUT("{\"Regex\":\"(a+)+$\"}", "Isolated", "false"),
     EXIT_OK, WARNS},
    {"TK37 look-behind", SPLIT, CUT("{\"Regex\":\"(?<=a)b\"}", "Isolated", "false"), EXIT_INPUT,
     "at byte 1: this kind of group is not supported"},
    {"TK37 word boundary", SPLIT, CUT("{\"Regex\":\"a\\\\b\"}", "Isolated", "false"), EXIT_INPUT,
     "an escape that is not supported"},
    {"TK37 no pattern", SPLIT, CUT("{\"Glob\":\"*\"}", "Isolated", "false"), EXIT_INPUT,
     "Split pattern must be a String or a Regex"},
    {"TK38 invert", SPLIT, CUT("{\"String\":\"a\"}", "Isolated", "true"), EXIT_OK, WARNS},
    {"TK38 merged", SPLIT, CUT("{\"String\":\"a\"}", "MergedWithNext", "false"), EXIT_INPUT,
     "Split behavior must be \"Isolated\""},
    {"too many steps", SPLIT,
     "{\"type\":\"Sequence\",\"pretokenizers\":[" FOUR FOUR FOUR FOUR DIGIT "," SPLIT "]}",
     EXIT_INPUT, "more than 16 steps"},
    {"Punctuation", SPLIT, "{\"type\":\"Punctuation\",\"behavior\":\"Removed\"}", EXIT_INPUT,
     "Punctuation behavior must be"},
    {"not ByteLevel", SPLIT, DIGIT, EXIT_INPUT, "splits words but is not ByteLevel"},
    {"prefix after a split", SPLIT,
     "{\"type\":\"Sequence\",\"pretokenizers\":[" DIGIT
     ",{\"type\":\"ByteLevel\",\"add_prefix_space\":true}]}",
     EXIT_INPUT, "add_prefix_space after a Split"},
    {"Metaspace after ByteLevel", SPLIT,
     "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT ",{\"type\":\"Metaspace\"}]}", EXIT_INPUT,
     "Metaspace after ByteLevel"},
    {"TK38 behaviour", SPLIT,
     "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+|"
     " ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Removed\",\"invert\":"
     "false}",
     EXIT_INPUT, "Split behavior must be \"Isolated\""},
    {"TK39 unknown", "\"normalizer\":null", "\"normalizer\":{\"type\":\"NFKC\"}", EXIT_INPUT,
     "normalizer \"NFKC\" is not supported"},
    {"TK39 Precompiled", "\"normalizer\":null", "\"normalizer\":{\"type\":\"Precompiled\"}",
     EXIT_INPUT, "normalizer \"Precompiled\" is not supported"},
    {"TK40 empty", "\"normalizer\":null", "\"normalizer\":" REPLACE("", "a"), EXIT_INPUT,
     "normalizer Replace must be"},
    {"TK40 growth", "\"normalizer\":null", "\"normalizer\":" REPLACE("a", "aa"), EXIT_INPUT,
     "normalizer Replace must be"},
    {"TK41 Prepend", "\"normalizer\":null",
     "\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"x\"}", EXIT_INPUT,
     "normalizer Prepend must be"},
    {"TK41 scheme", SPLIT,
     "{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"often\"}",
     EXIT_INPUT, "prepend_scheme must be"},
    {"TK42 unknown", "\"post_processor\":null", "\"post_processor\":" TEMPLATE("<t>", "[6]"),
     EXIT_INPUT, "post_processor names \"<t>\""},
    {"TK42 other id", "\"post_processor\":null", "\"post_processor\":" TEMPLATE("<s>", "[5]"),
     EXIT_INPUT, "post_processor names \"<s>\""},
    {"TK42 good", "\"post_processor\":null", "\"post_processor\":" TEMPLATE("<s>", "[6]"), EXIT_OK,
     WARNS},
    {"Bert", "\"post_processor\":null", "\"post_processor\":{\"type\":\"BertProcessing\"}",
     EXIT_INPUT, "post_processor \"BertProcessing\""},
    {"TK43 Strip without Fuse", STEPS,
     MARKS("{\"type\":\"Sequence\",\"decoders\":[" REPLACE("\u2581", " ") "," STRIP("1") "]}"),
     EXIT_INPUT, "decoder Strip without Fuse"},
    {"TK43 Strip before Replace", STEPS,
     MARKS("{\"type\":\"Sequence\",\"decoders\":["
           "{\"type\":\"Fuse\"}," STRIP("1") "," REPLACE("\u2581", " ") "]}"),
     EXIT_INPUT, "Strip content must be U+2581"},
    {"TK43 Strip negative", STEPS,
     MARKS("{\"type\":\"Sequence\",\"decoders\":[" REPLACE(
         "\u2581", " ") ",{\"type\":\"Fuse\"}," STRIP("-1") "]}"),
     EXIT_INPUT, "start must be a whole number from 0 to 1"},
    {"TK43 Strip big", STEPS,
     MARKS("{\"type\":\"Sequence\",\"decoders\":[" REPLACE(
         "\u2581", " ") ",{\"type\":\"Fuse\"}," STRIP("99999999999") "]}"),
     EXIT_INPUT, "start must be a whole number from 0 to 1"},
    {"Metaspace behind Fuse", STEPS,
     MARKS("{\"type\":\"Sequence\",\"decoders\":["
           "{\"type\":\"Fuse\"},{\"type\":\"Metaspace\",\"replacement\":\"\u2581\"}]}"),
     EXIT_INPUT, "decoder Metaspace behind Fuse"},
    {"Metaspace of another mark", STEPS, MARKS("{\"type\":\"Metaspace\",\"replacement\":\"_\"}"),
     EXIT_INPUT, "decoder Metaspace replacement must be U+2581"},
    {"marks that stay", STEPS, MARKS("{\"type\":\"Fuse\"}"), EXIT_OK, "the decoder leaves U+2581"},
    {"Prepend alone, ByteLevel", "\"normalizer\":null",
     "\"normalizer\":{\"type\":\"Prepend\",\"prepend\":\"\u2581\"}", EXIT_INPUT,
     "Prepend without Replace"},
    {"TK43 unknown", "\"decoder\":{\"type\":\"ByteLevel\"}", "\"decoder\":{\"type\":\"CTC\"}",
     EXIT_INPUT, "decoder \"CTC\" is not supported"},
    {"no decoder", "\"decoder\":{\"type\":\"ByteLevel\"}", "\"decoder\":null", EXIT_OK,
     "there is no decoder"},
    {"TK44", "\"padding\":null", "\"padding\":{\"strategy\":\"BatchLongest\"}", EXIT_OK,
     "truncation and padding are ignored"},
    {"TK45", "\"version\":\"1.0\"", "\"version\":\"2.0\"", EXIT_OK, "version is not \"1.0\""},
    {"TK28", "\"bc\":7", "\"bc\":7,\"cab\":8", EXIT_OK, WARNS},
    {"TK35", "\"c\":2", "\"cc\":2", EXIT_INPUT, "merge 1 names \"c\", which is not in"},
    {"TK49", "[" SMALL_ADDED,
     "[" SMALL_ADDED
     "," ADDED("8", "\\u00e9", "\"special\":true") "," ADDED("9", "e\\u0301", "\"special\":true"),
     EXIT_OK, WARNS},
    {"TK47", "\"bc\":7", "\"bc\":7,\"\\ud800\":8", EXIT_INPUT, "invalid Unicode"},
};

static void table(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const row *r = &rows[i];
        failure f = {0};
        small_tokenizer s = {0};
        char *json = small_json_with(small_json, r->from, r->to);
        int code = json ? small_build(&s, json, NULL, &f) : -1;
        const char *said = code == EXIT_OK ? s.payload.warnings : f.text;
        if (code != r->code || !strstr(said, r->says)) {
            printf("# %s: exit code %d: %s\n", r->id, code, said);
            CHECK(false);
        }
        small_close(&s);
        free(json);
    }
}

static int build_only(const char *json, const char *config, failure *f)
{
    small_tokenizer s;
    int code = small_build(&s, json, config, f);
    small_close(&s);
    return code;
}

/* TK01, TK03: every beginning of the file is refused. */
static void cut_short(void)
{
    char *copy = (char *)malloc(sizeof small_json);
    for (size_t n = 0; n < sizeof small_json - 1; n++) {
        failure f;
        memcpy(copy, small_json, n);
        copy[n] = 0;
        if (build_only(copy, NULL, &f) != EXIT_INPUT) {
            printf("# cut to %zu bytes\n", n);
            CHECK(false);
        }
    }
    free(copy);
    failure f;
    CHECK(build_only("{}", NULL, &f) == EXIT_INPUT);
    CHECK(build_only("version https://git-lfs.github.com/spec/v1\n", NULL, &f) == EXIT_INPUT);
    CHECK(build_only("<!DOCTYPE html>", NULL, &f) == EXIT_INPUT);
}

/* TK05, and a token of 1 MB (TK48). */
static void large(void)
{
    size_t n = 1 << 20;
    char *text = (char *)malloc(n + 64);
    failure f;
    memset(text, '[', n);
    text[n] = 0;
    CHECK(build_only(text, NULL, &f) == EXIT_INPUT);
    memcpy(text, "\"bc\":7,\"", 8);
    memset(text + 8, 'a', n - 12);
    strcpy(text + n - 4, "\":8");
    char *json = small_json_with(small_json, "\"bc\":7", text);
    CHECK(build_only(json, NULL, &f) == EXIT_INPUT);
    CHECK(strstr(f.text, "at most 65535") != NULL);
    free(json);
    free(text);
}

/* TK13, TK14: the vocabulary against the model's rows. */
static void rows_of_the_model(void)
{
    tokenizer_payload p;
    failure f;
    tokenizer_hints hints = {.n_vocab = 7, .bos_id = -1, .eos_id = -1};
    CHECK(tokenizer_from_json("t", small_json, strlen(small_json), "c", NULL, 0, &hints, &p, &f) ==
          EXIT_INPUT);
    CHECK(strstr(f.text, "the highest token id is 7, but the model has 7 rows") != NULL);
    tokenizer_payload_free(&p);
    hints.n_vocab = 16;
    CHECK(tokenizer_from_json("t", small_json, strlen(small_json), "c", NULL, 0, &hints, &p, &f) ==
          EXIT_OK);
    CHECK(strstr(p.warnings, "8 tokens for 16 rows") != NULL);
    tokenizer_payload_free(&p);
}

/* TK53 and what tokenizer_config.json may say. */
static void configuration(void)
{
    static const struct {
        const char *config, *says;
        int code;
    } cases[] = {
        {"{\"bos_token\":\"<t>\"}", "bos_token \"<t>\" is not a token", EXIT_INPUT},
        {"{\"eos_token\":[\"<s>\"]}", "eos_token must be a token's text", EXIT_INPUT},
        {"{\"eos_token\":{\"content\":\"<s>\"}}", WARNS, EXIT_OK},
        {"{\"add_bos_token\":\"yes\"}", "add_bos_token must be", EXIT_INPUT},
        {"{\"add_bos_token\":true}", "add_bos_token is set, but there is no such token", EXIT_OK},
        {"{\"model_max_length\":1000000000000000019884624838656}", WARNS, EXIT_OK},
        {"{\"chat_template\":\"{{ messages }}\"}", "is kept as text", EXIT_OK},
        {"{\"added_tokens_decoder\":{\"999\":{\"content\":\"<x>\"}}}", WARNS, EXIT_OK}, /* CF58 */
        {"[]", "must be a JSON object", EXIT_INPUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        small_tokenizer s;
        failure f = {0};
        int code = small_build(&s, small_json, cases[i].config, &f);
        const char *said = code == EXIT_OK ? s.payload.warnings : f.text;
        if (code != cases[i].code || !strstr(said, cases[i].says)) {
            printf("# %s: exit code %d: %s\n", cases[i].config, code, said);
            CHECK(false);
        }
        small_close(&s);
    }
    char *json = small_json_with(small_json, "\"post_processor\":null",
                                 "\"post_processor\":" TEMPLATE("<s>", "[6]"));
    small_tokenizer s;
    failure f;
    CHECK(small_build(&s, json, "{\"add_bos_token\":false}", &f) == EXIT_OK);
    CHECK(strstr(s.payload.warnings, "contradicts add_bos_token") != NULL);
    small_close(&s);
    free(json);
}

int main(void)
{
    RUN(table);
    RUN(cut_short);
    RUN(large);
    RUN(rows_of_the_model);
    RUN(configuration);
    return test_finish();
}
