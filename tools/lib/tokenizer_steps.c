/* tokenizer_steps.c - normalizer, pre_tokenizer, decoder and post_processor of tokenizer.json ->
 * flags of the payload. Only combinations whose effect is known are accepted; what is not is
 * refused by name.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/tokenizer_build.h"

#define MARK "\xe2\x96\x81"

enum { MAX_DEPTH = 8 }; /* of a Sequence inside a Sequence */

static int refuse_step(const tokenizer_build *b, const char *where, const char *type, failure *f)
{
    return fail(f, EXIT_INPUT, "%s: %s \"%.64s\" is not supported", b->name, where, type);
}

/* The type of a step, or NULL with *code set. */
static const char *type_of(const tokenizer_build *b, const char *where, json_t *step, int *code,
                           failure *f)
{
    const char *type = NULL;
    if (!json_is_object(step)) {
        *code = json_in_refuse(b->name, where, "an object with a type", step, f);
        return NULL;
    }
    *code = json_in_string(b->name, step, "type", &type, NULL, f);
    if (*code == EXIT_OK && !type) {
        *code = fail(f, EXIT_INPUT, "%s: %s has no type", b->name, where);
    }
    return *code == EXIT_OK ? type : NULL;
}

/* Calls `read` for a step, or for each step of a Sequence, whose items are under `key`. An empty
 * one does nothing, which is how some write it. */
typedef int read_step(tokenizer_build *b, json_t *step, const char *type, failure *f);

static int each_step_in(tokenizer_build *b, const char *where, const char *key, json_t *step,
                        read_step *read, uint32_t depth, failure *f)
{
    int code;
    const char *type = type_of(b, where, step, &code, f);
    if (!type) {
        return code;
    }
    if (strcmp(type, "Sequence") != 0) {
        return read(b, step, type, f);
    }
    json_t *items = json_in_get(step, key);
    if (!json_is_array(items)) {
        return json_in_refuse(b->name, key, "a list of steps", items, f);
    }
    if (depth == MAX_DEPTH) {
        return fail(f, EXIT_INPUT, "%s: %s: a Sequence inside of %d others", b->name, where,
                    MAX_DEPTH);
    }
    for (size_t i = 0; code == EXIT_OK && i < json_array_size(items); i++) {
        code = each_step_in(b, where, key, json_array_get(items, i), read, depth + 1, f);
    }
    return code;
}

static int each_step(tokenizer_build *b, const char *where, const char *key, json_t *step,
                     read_step *read, failure *f)
{
    return each_step_in(b, where, key, step, read, 0, f);
}

static bool is_string(json_t *object, const char *key, const char *wanted)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value && strcmp(value, wanted) == 0;
}

/* The text under "pattern", given as {"String": ...} or {"Regex": ...}; NULL if it is otherwise. */
static const char *pattern_of(json_t *step, const char *kind)
{
    json_t *pattern = json_object_get(step, "pattern");
    return json_object_size(pattern) == 1 ? json_string_value(json_object_get(pattern, kind))
                                          : NULL;
}

/* ---- Normalizer ------------------------------------------------------------------------------ */

/* " " given as text or as an expression. */
static bool replaces_space(json_t *step)
{
    const char *text = pattern_of(step, "String"), *regex = pattern_of(step, "Regex");
    return strcmp(text ? text : regex ? regex : "", " ") == 0;
}

/* The order does not matter: U+2581 is no space and takes no part in normalization form C. But a
 * space that is put in front must be there when spaces are marked. */
static int read_normalizer(tokenizer_build *b, json_t *step, const char *type, failure *f)
{
    if (strcmp(type, "NFC") == 0) {
        b->flags |= TOK_NFC;
        return EXIT_OK;
    }
    if (strcmp(type, "Prepend") == 0) {
        bool space = is_string(step, "prepend", " ") && !(b->flags & TOK_MARK_SPACES);
        if ((!is_string(step, "prepend", MARK) && !space) || b->prefix == PREFIX_ALWAYS) {
            return json_in_refuse(b->name, "normalizer Prepend",
                                  "of U+2581, once, or of a space before Replace",
                                  json_object_get(step, "prepend"), f);
        }
        b->prefix = PREFIX_ALWAYS;
        return EXIT_OK;
    }
    if (strcmp(type, "Replace") == 0) {
        if (!replaces_space(step) || !is_string(step, "content", MARK)) {
            return json_in_refuse(b->name, "normalizer Replace", "of \" \" by U+2581", step, f);
        }
        b->flags |= TOK_MARK_SPACES;
        return EXIT_OK;
    }
    return refuse_step(b, "normalizer", type, f);
}

/* ---- Pre-tokenizer --------------------------------------------------------------------------- */

/* Remembers a step that cuts; pattern: an expression, or with `literal` a text. */
static int add_stage(tokenizer_build *b, const char *pattern, bool literal, uint32_t flags,
                     failure *f)
{
    if (b->n_stages == SPLIT_MAX_STAGES) {
        return fail(f, EXIT_INPUT, "%s: pre_tokenizer has more than %d steps that cut", b->name,
                    SPLIT_MAX_STAGES);
    }
    char *copy = malloc(2 * strlen(pattern) + 1), *p = copy;
    if (!copy) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
    }
    for (const char *c = pattern; *c; c++) {
        if (literal && strchr("\\()[]{}|*+?.^$", *c)) {
            *p++ = '\\';
        }
        *p++ = *c;
    }
    *p = 0;
    flags |= b->flags & TOK_BYTE_LEVEL ? STAGE_BYTES : 0;
    b->stages[b->n_stages++] = (split_stage){copy, flags};
    return EXIT_OK;
}

static int read_split(tokenizer_build *b, json_t *step, failure *f)
{
    const char *regex = pattern_of(step, "Regex"), *text = pattern_of(step, "String");
    bool invert = json_is_true(json_object_get(step, "invert"));
    bool isolated = is_string(step, "behavior", "Isolated");
    /* Spaces are gone when Gemma's tokenizer comes to split at them. */
    if (text && strcmp(text, " ") == 0 && is_string(step, "behavior", "MergedWithPrevious") &&
        b->flags & TOK_MARK_SPACES && !invert) {
        return EXIT_OK;
    }
    if (!regex && !text) {
        return json_in_refuse(b->name, "pre_tokenizer Split pattern", "a String or a Regex",
                              json_object_get(step, "pattern"), f);
    }
    /* "Removed" with "invert": the words are the matches, and what lies between them goes. */
    if (!isolated && !(invert && is_string(step, "behavior", "Removed"))) {
        return json_in_refuse(b->name, "pre_tokenizer Split behavior",
                              "\"Isolated\", or \"Removed\" with invert",
                              json_object_get(step, "behavior"), f);
    }
    return add_stage(b, regex ? regex : text, !regex, isolated ? 0 : STAGE_DROP_GAPS, f);
}

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static int read_byte_level(tokenizer_build *b, json_t *step, failure *f)
{
    bool prefix = true, regex = true;
    int code = json_in_bool(b->name, step, "add_prefix_space", &prefix, NULL, f);
    if (code == EXIT_OK) {
        code = json_in_bool(b->name, step, "use_regex", &regex, NULL, f);
    }
    if (code != EXIT_OK) {
        return code;
    }
    if (prefix && b->n_stages != 0) {
        return fail(f, EXIT_INPUT,
                    "%s: pre_tokenizer ByteLevel with add_prefix_space after a Split is not "
                    "supported",
                    b->name);
    }
    code = regex ? add_stage(b, GPT2, false, 0, f) : EXIT_OK;
    b->flags |= TOK_BYTE_LEVEL | (prefix ? TOK_SPACES_LATE : 0);
    b->prefix = prefix ? PREFIX_UNLESS : b->prefix;
    return code;
}

static int read_digits(tokenizer_build *b, json_t *step, failure *f)
{
    bool individual = false;
    int code = json_in_bool(b->name, step, "individual_digits", &individual, NULL, f);
    return code ? code : add_stage(b, individual ? "\\p{N}" : "\\p{N}+", false, 0, f);
}

static int read_punctuation(tokenizer_build *b, json_t *step, failure *f)
{
    const char *behavior = "Isolated";
    int code = json_in_string(b->name, step, "behavior", &behavior, NULL, f);
    bool contiguous = strcmp(behavior, "Contiguous") == 0;
    if (code == EXIT_OK && !contiguous && strcmp(behavior, "Isolated") != 0) {
        return json_in_refuse(b->name, "pre_tokenizer Punctuation behavior",
                              "\"Isolated\" or \"Contiguous\"", json_object_get(step, "behavior"),
                              f);
    }
    return code ? code : add_stage(b, contiguous ? "\\p{+P}+" : "\\p{+P}", false, 0, f);
}

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* Those that runtime/text/pretokenize.c knows by hand. Their matches leave no gaps. */
static const struct {
    const char *first, *second;
    uint32_t pre;
} known_cuts[] = {
    {CONTRACTIONS "\\p{N}{1,3}" REST, NULL, PRE_LLAMA3},
    {CONTRACTIONS "\\p{N}" REST, NULL, PRE_QWEN2},
    {GPT2, NULL, PRE_GPT2},
    {"\\p{N}", GPT2, PRE_DIGITS},
};
enum { KNOWN_CUTS = sizeof known_cuts / sizeof known_cuts[0] };

const char *build_split(uint32_t pre)
{
    for (size_t i = 0; i < KNOWN_CUTS; i++) {
        if (known_cuts[i].pre == pre && !known_cuts[i].second) {
            return known_cuts[i].first;
        }
    }
    return NULL;
}

static uint32_t known_cut(const tokenizer_build *b)
{
    const split_stage *s = b->stages;
    for (size_t i = 0; i < KNOWN_CUTS && !(s[0].flags & STAGE_BYTES); i++) {
        const char *second = known_cuts[i].second;
        bool same =
            b->n_stages == (second ? 2u : 1u) && strcmp(s[0].pattern, known_cuts[i].first) == 0;
        if (same && (!second || (strcmp(s[1].pattern, second) == 0 && s[0].flags == 0))) {
            return known_cuts[i].pre;
        }
    }
    return PRE_PROGRAM;
}

int build_cut(tokenizer_build *b, failure *f)
{
    if (b->n_stages == 0) {
        return EXIT_OK;
    }
    if (!(b->flags & TOK_BYTE_LEVEL)) {
        return fail(f, EXIT_INPUT, "%s: pre_tokenizer splits words but is not ByteLevel", b->name);
    }
    b->pre = known_cut(b);
    return b->pre != PRE_PROGRAM
               ? EXIT_OK
               : split_compile(b->name, b->stages, b->n_stages, &b->program, &b->n_program, f);
}

static int read_metaspace(tokenizer_build *b, json_t *step, failure *f)
{
    const char *scheme = "always";
    bool split = true, prefix = true;
    int code = json_in_string(b->name, step, "prepend_scheme", &scheme, NULL, f);
    if (code == EXIT_OK) {
        code = json_in_bool(b->name, step, "split", &split, NULL, f);
    }
    if (code == EXIT_OK) { /* the older way of saying it */
        code = json_in_bool(b->name, step, "add_prefix_space", &prefix, NULL, f);
    }
    if (code != EXIT_OK) {
        return code;
    }
    if (!is_string(step, "replacement", MARK) || b->flags & TOK_MARK_SPACES || b->n_stages != 0) {
        return json_in_refuse(b->name, "pre_tokenizer Metaspace",
                              "alone, with U+2581 as its replacement", step, f);
    }
    if (!prefix || strcmp(scheme, "never") == 0) {
        b->prefix = PREFIX_NONE;
    } else if (strcmp(scheme, "always") == 0) {
        b->prefix = PREFIX_UNLESS;
    } else if (strcmp(scheme, "first") == 0) {
        b->prefix = PREFIX_FIRST;
    } else {
        return json_in_refuse(b->name, "prepend_scheme", "\"first\", \"always\" or \"never\"",
                              json_object_get(step, "prepend_scheme"), f);
    }
    b->flags |= TOK_MARK_SPACES | TOK_SPACES_LATE;
    b->pre = split ? PRE_MARKS : PRE_NONE;
    return EXIT_OK;
}

static int read_pre_tokenizer(tokenizer_build *b, json_t *step, const char *type, failure *f)
{
    static const struct {
        const char *type;
        int (*read)(tokenizer_build *b, json_t *step, failure *f);
        bool after_bytes; /* may follow ByteLevel */
    } steps[] = {{"ByteLevel", read_byte_level, false},
                 {"Split", read_split, true},
                 {"Metaspace", read_metaspace, false},
                 {"Digits", read_digits, true},
                 {"Punctuation", read_punctuation, true}};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (strcmp(type, steps[i].type) == 0 &&
            (steps[i].after_bytes || !(b->flags & TOK_BYTE_LEVEL))) {
            return steps[i].read(b, step, f);
        }
    }
    return b->flags & TOK_BYTE_LEVEL
               ? fail(f, EXIT_INPUT, "%s: pre_tokenizer %.64s after ByteLevel is not supported",
                      b->name, type)
               : refuse_step(b, "pre_tokenizer", type, f);
}

/* ---- Decoder --------------------------------------------------------------------------------- */

/* It strips what it is given: the whole text only if that was fused, a space only where marks have
 * become spaces. */
static int read_strip(tokenizer_build *b, json_t *step, failure *f)
{
    uint32_t start = 0, stop = 0;
    bool marks = !(b->decodes & DECODES_MARKS);
    int code = json_in_u32(b->name, step, "start", 0, 1, &start, NULL, f);
    if (code == EXIT_OK) {
        code = json_in_u32(b->name, step, "stop", 0, 0, &stop, NULL, f);
    }
    if (code == EXIT_OK && !is_string(step, "content", marks ? MARK : " ")) {
        return json_in_refuse(b->name, "decoder Strip content",
                              marks ? "U+2581, for it comes before Replace" : "\" \"",
                              json_object_get(step, "content"), f);
    }
    if (code == EXIT_OK && start && !(b->decodes & DECODES_FUSED)) {
        return fail(f, EXIT_INPUT, "%s: decoder Strip without Fuse before it is not supported",
                    b->name);
    }
    b->flags |= start ? TOK_STRIP_SPACE : 0;
    return code;
}

/* Of the first token one mark is dropped, as SentencePiece does. (The reference library drops every
 * one that the token has.) */
static int read_metaspace_decoder(tokenizer_build *b, json_t *step, failure *f)
{
    bool strips = true;
    int code = json_in_bool(b->name, step, "add_prefix_space", &strips, NULL, f);
    strips = strips && !is_string(step, "prepend_scheme", "never");
    if (code == EXIT_OK && !is_string(step, "replacement", MARK)) {
        return json_in_refuse(b->name, "decoder Metaspace replacement", "U+2581",
                              json_object_get(step, "replacement"), f);
    }
    if (code == EXIT_OK && strips && b->decodes & DECODES_FUSED) {
        return fail(f, EXIT_INPUT, "%s: decoder Metaspace behind Fuse is not supported", b->name);
    }
    b->decodes |= DECODES_MARKS;
    b->flags |= strips ? TOK_STRIP_SPACE : 0;
    return code;
}

static int read_decoder(tokenizer_build *b, json_t *step, const char *type, failure *f)
{
    bool bytes = b->flags & TOK_BYTE_LEVEL;
    if ((strcmp(type, "ByteLevel") == 0 && bytes) || strcmp(type, "Fuse") == 0) {
        b->decodes |= bytes ? 0 : DECODES_FUSED;
        return EXIT_OK;
    }
    if (bytes) {
        return refuse_step(b, "with pre_tokenizer ByteLevel, decoder", type, f);
    }
    if (strcmp(type, "ByteFallback") == 0) {
        b->decodes |= DECODES_BYTES;
        return EXIT_OK;
    }
    if (strcmp(type, "Strip") == 0) {
        return read_strip(b, step, f);
    }
    if (!(b->flags & TOK_MARK_SPACES)) {
        return refuse_step(b, "decoder", type, f);
    }
    if (strcmp(type, "Metaspace") == 0) {
        return read_metaspace_decoder(b, step, f);
    }
    const char *pattern = strcmp(type, "Replace") == 0 ? pattern_of(step, "String") : NULL;
    if (pattern && strcmp(pattern, MARK) == 0 && is_string(step, "content", " ")) {
        b->decodes |= DECODES_MARKS;
        return EXIT_OK;
    }
    return refuse_step(b, "decoder", type, f);
}

int build_read_steps(tokenizer_build *b, json_t *root, failure *f)
{
    json_t *normalizer = json_in_get(root, "normalizer"), *decoder = json_in_get(root, "decoder");
    json_t *pre_tokenizer = json_in_get(root, "pre_tokenizer");
    int code = EXIT_OK;
    if (normalizer) {
        code = each_step(b, "normalizer", "normalizers", normalizer, read_normalizer, f);
    }
    if (code == EXIT_OK && b->prefix == PREFIX_ALWAYS && !(b->flags & TOK_MARK_SPACES)) {
        return fail(f, EXIT_INPUT, "%s: normalizer Prepend without Replace is not supported",
                    b->name);
    }
    if (code == EXIT_OK && pre_tokenizer) {
        code = each_step(b, "pre_tokenizer", "pretokenizers", pre_tokenizer, read_pre_tokenizer, f);
    }
    code = code ? code : build_cut(b, f);
    if (code == EXIT_OK && b->flags & TOK_MARK_SPACES && b->flags & TOK_BYTE_LEVEL) {
        return fail(f, EXIT_INPUT, "%s: ByteLevel together with U+2581 for spaces is not supported",
                    b->name);
    }
    b->has_decoder = decoder != NULL;
    if (code == EXIT_OK && decoder) {
        code = each_step(b, "decoder", "decoders", decoder, read_decoder, f);
    } else if (code == EXIT_OK) {
        build_warn(b, "there is no decoder; the one that fits the pre_tokenizer is assumed");
    }
    return code;
}

/* ---- Post-processor -------------------------------------------------------------------------- */

/* The id of a template's special token: named in special_tokens, one id, that of the vocabulary. */
static int template_id(const tokenizer_build *b, json_t *step, const char *name, int32_t *id,
                       failure *f)
{
    json_t *entry = json_object_get(json_object_get(step, "special_tokens"), name);
    json_t *ids = json_object_get(entry, "ids");
    json_t *only = json_array_size(ids) == 1 ? json_array_get(ids, 0) : NULL;
    *id = build_find(b, name);
    if (!json_is_integer(only) || *id < 0 || json_integer_value(only) != *id) {
        return fail(f, EXIT_INPUT,
                    "%s: post_processor names \"%.64s\", which is not one token with that id",
                    b->name, name);
    }
    return EXIT_OK;
}

/* "single": special tokens around the one sequence A. */
static int read_single(tokenizer_build *b, json_t *step, failure *f)
{
    json_t *single = json_object_get(step, "single");
    bool seen = false;
    if (!json_is_array(single)) {
        return json_in_refuse(b->name, "post_processor single", "a list", single, f);
    }
    for (size_t i = 0; i < json_array_size(single); i++) {
        json_t *item = json_array_get(single, i);
        if (json_object_get(item, "Sequence") && !seen) {
            seen = true;
            continue;
        }
        const char *name =
            json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        bool *there = seen ? &b->template_eos : &b->template_bos;
        if (!name || *there) {
            return json_in_refuse(b->name, "post_processor single",
                                  "a sequence with at most one special token on each side", single,
                                  f);
        }
        int code = template_id(b, step, name, seen ? &b->eos_id : &b->bos_id, f);
        if (code != EXIT_OK) {
            return code;
        }
        *there = true;
    }
    b->has_template = true;
    return seen ? EXIT_OK
                : json_in_refuse(b->name, "post_processor single", "around a sequence", single, f);
}

static int read_post_processor(tokenizer_build *b, json_t *step, const char *type, failure *f)
{
    if (strcmp(type, "ByteLevel") == 0) {
        return EXIT_OK; /* moves offsets only */
    }
    if (strcmp(type, "TemplateProcessing") == 0 && !b->has_template) {
        return read_single(b, step, f);
    }
    return refuse_step(b, "post_processor", type, f);
}

int build_read_template(tokenizer_build *b, json_t *root, failure *f)
{
    json_t *step = json_in_get(root, "post_processor");
    return step ? each_step(b, "post_processor", "processors", step, read_post_processor, f)
                : EXIT_OK;
}
