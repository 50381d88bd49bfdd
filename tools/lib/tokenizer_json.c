/* tokenizer_json.c - tokenizer.json and tokenizer_config.json -> a tokenizer_build; then payloads.
 */
#include "lib/tokenizer_json.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/byte_alphabet.h"
#include "lib/tokenizer_build.h"
#include "lib/tokenizer_chat.h"
#include "text/unicode.h"

enum { MAX_JSON = 256 << 20 };

void build_warn(tokenizer_build *b, const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    size_t used = strlen(b->warnings), n_name = strlen(b->name);
    n = n < (int)sizeof line ? n : (int)sizeof line - 1;
    if (n < 0 || n_name + (size_t)n + 4 > b->n_warnings - used) {
        return;
    }
    snprintf(b->warnings + used, b->n_warnings - used, "%s: %s\n", b->name, line);
}

int32_t build_find(const tokenizer_build *b, const char *text)
{
    json_t *id = json_object_get(b->vocab, text);
    if (id) {
        return (int32_t)json_integer_value(id);
    }
    for (uint32_t i = 0; i < b->n_added; i++) {
        if (strcmp(b->added[i].content, text) == 0) {
            return (int32_t)b->added[i].id;
        }
    }
    return -1;
}

void build_stop(tokenizer_build *b, int32_t id)
{
    uint32_t at = 0;
    while (at < b->n_stops && b->stops[at] < id) {
        at++;
    }
    if (id < 0 || b->n_stops == BPE1_MAX_STOPS || (at < b->n_stops && b->stops[at] == id)) {
        return;
    }
    memmove(b->stops + at + 1, b->stops + at, (b->n_stops - at) * sizeof *b->stops);
    b->stops[at] = id;
    b->n_stops++;
}

/* ---- Ids ------------------------------------------------------------------------------------- */

static int check_id(const tokenizer_build *b, const char *text, json_t *value, uint32_t *id,
                    failure *f)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) >= BPE1_MAX_TOKENS) {
        char what[96];
        snprintf(what, sizeof what, "a whole number from 0 to %d", BPE1_MAX_TOKENS - 1);
        return json_in_refuse(b->name, text, what, value, f);
    }
    *id = (uint32_t)json_integer_value(value);
    return EXIT_OK;
}

/* Finds the number of ids and makes room; ids may have holes, but not be mostly holes. */
static int size_tokens(tokenizer_build *b, json_t *added, failure *f)
{
    uint32_t highest = 0, id = 0;
    uint64_t n = json_object_size(b->vocab) + json_array_size(added);
    const char *text;
    json_t *value;
    size_t i;
    json_object_foreach(b->vocab, text, value)
    {
        int code = check_id(b, text, value, &id, f);
        if (code != EXIT_OK) {
            return code;
        }
        highest = id > highest ? id : highest;
    }
    json_array_foreach(added, i, value)
    {
        int code = check_id(b, "added_tokens id", json_object_get(value, "id"), &id, f);
        if (code != EXIT_OK) {
            return code;
        }
        highest = id > highest ? id : highest;
    }
    if (highest >= 2 * n + 65536) {
        return fail(f, EXIT_INPUT, "%s: the highest id is %u, but there are only %llu tokens",
                    b->name, highest, (unsigned long long)n);
    }
    b->n_tokens = highest + 1;
    b->tokens = (build_token *)calloc(b->n_tokens, sizeof *b->tokens);
    return b->tokens ? EXIT_OK : fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
}

/* ---- Vocabulary ------------------------------------------------------------------------------ */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* <0x0A> -> 10; -1 for any other text. */
static int fallback_byte(const char *text, size_t n)
{
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || hex_digit(text[3]) < 0 ||
        hex_digit(text[4]) < 0) {
        return -1;
    }
    return hex_digit(text[3]) * 16 + hex_digit(text[4]);
}

static void set_token(tokenizer_build *b, build_token *t, const char *text, size_t n,
                      uint8_t **pool)
{
    int byte = b->flags & TOK_BYTE_FALLBACK ? fallback_byte(text, n) : -1;
    t->bytes = (const uint8_t *)text;
    t->n_bytes = (uint32_t)n;
    t->kind = TOKEN_NORMAL | TOKEN_MERGES;
    if (byte >= 0) {
        **pool = (uint8_t)byte;
        t->bytes = (*pool)++;
        t->n_bytes = 1;
        t->kind = TOKEN_BYTE;
    } else if (b->flags & TOK_BYTE_LEVEL) {
        uint32_t n_bytes = alphabet_decode(t->bytes, n, *pool);
        if (n_bytes == 0) {
            t->kind = TOKEN_NORMAL; /* no text has these bytes after the byte-level step */
            return;
        }
        t->bytes = *pool;
        t->n_bytes = n_bytes;
        *pool += n_bytes;
    }
}

static int read_vocab(tokenizer_build *b, failure *f)
{
    const char *text;
    json_t *value;
    size_t total = 0;
    json_object_foreach(b->vocab, text, value)
    {
        total += strlen(text);
    }
    uint8_t *pool = b->pool = (uint8_t *)malloc(total + 1);
    if (!pool) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
    }
    json_object_foreach(b->vocab, text, value)
    {
        size_t n = strlen(text);
        build_token *t = &b->tokens[json_integer_value(value)];
        if (t->bytes) {
            return fail(f, EXIT_INPUT, "%s: two tokens have the id %lld, one of them \"%.64s\"",
                        b->name, (long long)json_integer_value(value), text);
        }
        if (n > UINT16_MAX) {
            return fail(f, EXIT_INPUT, "%s: token \"%.16s...\" is %zu bytes long; at most 65535",
                        b->name, text, n);
        }
        set_token(b, t, text, n, &pool);
        if (n == 0) {
            build_warn(b, "token %lld is empty; it will never be made",
                       (long long)json_integer_value(value));
            t->kind = TOKEN_UNUSED;
        }
    }
    return EXIT_OK;
}

/* ---- Added tokens ---------------------------------------------------------------------------- */

static int read_added_flags(const tokenizer_build *b, json_t *item, build_added *a, failure *f)
{
    static const struct {
        const char *key;
        uint16_t flag;
    } keys[] = {{"special", ADDED_CONTROL},
                {"lstrip", ADDED_LSTRIP},
                {"rstrip", ADDED_RSTRIP},
                {"single_word", ADDED_SINGLE_WORD},
                {"normalized", 0}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        bool value = false, found = false;
        int code = json_in_bool(b->name, item, keys[i].key, &value, &found, f);
        if (code == EXIT_OK && !found) {
            code = fail(f, EXIT_INPUT, "%s: added token \"%.64s\" does not say whether it is %s",
                        b->name, a->content, keys[i].key);
        }
        if (code != EXIT_OK) {
            return code;
        }
        a->flags = (uint16_t)(a->flags | (value ? keys[i].flag : 0));
        a->normalized = keys[i].flag == 0 ? value : a->normalized;
    }
    return EXIT_OK;
}

/* Form C of a text; malloc'd, NULL without memory. */
static char *normal_form(const char *text, size_t *n)
{
    slm_unicode u = {0};
    slm_arena arena = arena_measure();
    slm_unicode_init(&u, &arena, true);
    void *memory = NULL;
    char *out = malloc(3 * *n + 4);
    if (!out || posix_memalign(&memory, 64, arena.used) != 0) {
        free(out);
        return NULL;
    }
    arena = arena_over(memory, arena.used);
    slm_unicode_init(&u, &arena, true);
    *n = slm_nfc(&u, (const uint8_t *)text, *n, (uint8_t *)out);
    free(memory);
    return out;
}

static bool is_ascii(const char *text)
{
    while (*text && (unsigned char)*text < 0x80) {
        text++;
    }
    return !*text;
}

/* What is looked for: the content, after the normalizer if that goes over the text first. */
static int set_pattern(const tokenizer_build *b, build_added *a, failure *f)
{
    size_t n = strlen(a->content), n_out = 0;
    char *normal = NULL;
    const char *text = a->content;
    bool marks = a->normalized && !(b->flags & TOK_SPACES_LATE) && b->flags & TOK_MARK_SPACES;
    if (n > BPE1_MAX_PATTERN / 4) {
        return fail(f, EXIT_INPUT, "%s: added token \"%.16s...\" is %zu bytes long; at most %d",
                    b->name, a->content, n, BPE1_MAX_PATTERN / 4);
    }
    if (a->normalized && b->flags & TOK_NFC && !is_ascii(text)) {
        text = normal = normal_form(text, &n);
    }
    a->pattern = text ? (uint8_t *)malloc(3 * n + 4) : NULL;
    if (!a->pattern) {
        free(normal);
        return fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
    }
    if (marks && b->prefix == PREFIX_ALWAYS) {
        n_out += slm_utf8_encode(a->pattern, 0x2581);
    }
    for (size_t i = 0; i < n; i++) {
        if (marks && text[i] == ' ') {
            n_out += slm_utf8_encode(a->pattern + n_out, 0x2581);
        } else {
            a->pattern[n_out++] = (uint8_t)text[i];
        }
    }
    free(normal);
    a->n_bytes = (uint32_t)n_out;
    return EXIT_OK;
}

/* Enters an added token into the list of tokens, where the vocabulary may have it already. */
static int place_added(tokenizer_build *b, const build_added *a, failure *f)
{
    json_t *in_vocab = json_object_get(b->vocab, a->content);
    build_token *t = &b->tokens[a->id];
    if (in_vocab && json_integer_value(in_vocab) != a->id) {
        return fail(f, EXIT_INPUT,
                    "%s: added token \"%.64s\" has the id %u, in the vocabulary %lld", b->name,
                    a->content, a->id, (long long)json_integer_value(in_vocab));
    }
    if (!in_vocab && t->bytes) {
        return fail(f, EXIT_INPUT, "%s: added token \"%.64s\" has the id %u of another token",
                    b->name, a->content, a->id);
    }
    size_t n = strlen(a->content);
    bool as_is = in_vocab && t->n_bytes == n && memcmp(t->bytes, a->content, n) == 0;
    /* text must not become a control token by merging */
    uint8_t merges = as_is && !(a->flags & ADDED_CONTROL) ? t->kind & TOKEN_MERGES : 0;
    t->bytes = (const uint8_t *)a->content;
    t->n_bytes = (uint32_t)n;
    t->kind = (uint8_t)((a->flags & ADDED_CONTROL ? TOKEN_CONTROL : TOKEN_ADDED) | merges);
    return EXIT_OK;
}

static int read_added_token(tokenizer_build *b, json_t *item, build_added *a, failure *f)
{
    int code = EXIT_OK;
    if (!json_is_object(item)) {
        return json_in_refuse(b->name, "added_tokens", "a list of objects", item, f);
    }
    a->id = (uint32_t)json_integer_value(json_object_get(item, "id")); /* size_tokens checked it */
    code = json_in_string(b->name, item, "content", &a->content, NULL, f);
    if (code == EXIT_OK && (!a->content || a->content[0] == 0)) {
        code = fail(f, EXIT_INPUT, "%s: added token %u has no content", b->name, a->id);
    }
    if (code == EXIT_OK) {
        code = read_added_flags(b, item, a, f);
    }
    if (code == EXIT_OK) {
        code = set_pattern(b, a, f);
    }
    return code == EXIT_OK ? place_added(b, a, f) : code;
}

static int compare_added(const void *x, const void *y)
{
    const build_added *a = (const build_added *)x, *b = (const build_added *)y;
    if (a->normalized != b->normalized) {
        return a->normalized ? 1 : -1;
    }
    size_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes;
    int order = memcmp(a->pattern, b->pattern, n);
    return order ? order : (a->n_bytes > b->n_bytes) - (a->n_bytes < b->n_bytes);
}

static int read_added(tokenizer_build *b, json_t *list, failure *f)
{
    size_t n = json_array_size(list);
    if (n > BPE1_MAX_ADDED) {
        return fail(f, EXIT_INPUT, "%s: %zu added tokens are more than %d", b->name, n,
                    BPE1_MAX_ADDED);
    }
    b->added = (build_added *)calloc(n + 1, sizeof *b->added);
    if (!b->added) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
    }
    for (size_t i = 0; i < n; i++) {
        b->n_added++;
        int code = read_added_token(b, json_array_get(list, i), &b->added[i], f);
        if (code != EXIT_OK) {
            return code;
        }
    }
    qsort(b->added, n, sizeof *b->added, compare_added);
    for (size_t i = 1; i < n; i++) {
        if (compare_added(&b->added[i - 1], &b->added[i]) == 0) {
            return fail(f, EXIT_INPUT, "%s: two added tokens are \"%.64s\"", b->name,
                        b->added[i].content);
        }
    }
    return EXIT_OK;
}

/* Text must come back as it was: what the decoder forgets is done all the same. */
static void check_decoder(tokenizer_build *b)
{
    if (b->has_decoder && b->flags & TOK_MARK_SPACES && !(b->decodes & DECODES_MARKS)) {
        build_warn(b, "the decoder leaves U+2581; it is read as a space all the same");
    }
    if (b->has_decoder && b->flags & TOK_BYTE_FALLBACK && !(b->decodes & DECODES_BYTES)) {
        build_warn(b,
                   "the decoder has no ByteFallback; byte tokens are read as bytes all the same");
    }
}

/* Ids in use, holes, and bytes that no token stands for. */
static int check_tokens(tokenizer_build *b, const tokenizer_hints *hints, failure *f)
{
    uint32_t n_holes = 0, n_bytes = 0;
    bool seen[256] = {false};
    for (uint32_t i = 0; i < b->n_tokens; i++) {
        const build_token *t = &b->tokens[i];
        bool stands = b->flags & TOK_BYTE_LEVEL ? t->kind & TOKEN_MERGES
                                                : (t->kind & TOKEN_KIND_MASK) == TOKEN_BYTE;
        n_holes += t->bytes == NULL;
        if (stands && t->n_bytes == 1 && !seen[t->bytes[0]]) {
            seen[t->bytes[0]] = true;
            n_bytes++;
        }
    }
    if (hints && hints->n_vocab != 0 && b->n_tokens > hints->n_vocab) {
        return fail(f, EXIT_INPUT, "%s: the highest token id is %u, but the model has %u rows",
                    b->name, b->n_tokens - 1, hints->n_vocab);
    }
    if (hints && hints->n_vocab > b->n_tokens) {
        build_warn(b, "%u tokens for %u rows of the model: the rest is padding", b->n_tokens,
                   hints->n_vocab);
    }
    if (n_holes != 0) {
        build_warn(b, "%u ids below %u stand for no token", n_holes, b->n_tokens);
    }
    if (b->flags & TOK_BYTE_FALLBACK && n_bytes == 0) {
        build_warn(b, "byte_fallback is set, but there are no byte tokens; it is ignored");
        b->flags &= ~(uint32_t)TOK_BYTE_FALLBACK;
    } else if (b->flags & TOK_BYTE_FALLBACK && n_bytes < 256) {
        return fail(f, EXIT_INPUT, "%s: byte_fallback is set, but only %u of 256 byte tokens exist",
                    b->name, n_bytes);
    }
    check_decoder(b);
    if (b->flags & TOK_BYTE_LEVEL && n_bytes < 256) {
        build_warn(b, "only %u of 256 bytes have a token; others in a text %s", n_bytes,
                   b->unk_id >= 0 ? "become the unknown token" : "are dropped");
    }
    if (!(b->flags & (TOK_BYTE_LEVEL | TOK_BYTE_FALLBACK)) && b->unk_id < 0) {
        build_warn(b, "characters without a token are dropped: no byte_fallback, no unk_token");
    }
    return EXIT_OK;
}

/* ---- Merges ---------------------------------------------------------------------------------- */

static int refuse_merge(const tokenizer_build *b, size_t rank, const char *why, failure *f)
{
    return fail(f, EXIT_INPUT, "%s: merge %zu %s", b->name, rank, why);
}

/* The two parts of a merge: "a b" or ["a", "b"]. */
static int split_merge(const tokenizer_build *b, size_t rank, json_t *merge, const char *parts[2],
                       size_t n_parts[2], failure *f)
{
    if (json_is_string(merge)) {
        const char *text = json_string_value(merge), *space = strchr(text, ' ');
        if (!space || space == text || space[1] == 0 || strchr(space + 1, ' ')) {
            return refuse_merge(b, rank, "is not two tokens with one space between them", f);
        }
        parts[0] = text;
        parts[1] = space + 1;
        n_parts[0] = (size_t)(space - text);
        n_parts[1] = strlen(parts[1]);
        return EXIT_OK;
    }
    for (size_t i = 0; i < 2; i++) {
        parts[i] = json_string_value(json_array_get(merge, i));
        if (json_array_size(merge) != 2 || !parts[i] || parts[i][0] == 0) {
            return refuse_merge(b, rank, "is neither a string nor a pair of strings", f);
        }
        n_parts[i] = strlen(parts[i]);
    }
    return EXIT_OK;
}

static bool is_control(const tokenizer_build *b, const json_t *id)
{
    return id && (b->tokens[json_integer_value(id)].kind & TOKEN_KIND_MASK) == TOKEN_CONTROL;
}

/* *kept: false if a control token takes part. Text of that token is found as one before anything
 * merges, and what is not looked for there must not become one. */
static int read_merge(const tokenizer_build *b, size_t rank, json_t *merge, uint32_t ids[2],
                      bool *kept, failure *f)
{
    const char *parts[2];
    size_t n[2];
    int code = split_merge(b, rank, merge, parts, n, f);
    *kept = true;
    for (size_t i = 0; code == EXIT_OK && i < 2; i++) {
        json_t *id = json_object_getn(b->vocab, parts[i], n[i]);
        if (!id) {
            return fail(f, EXIT_INPUT,
                        "%s: merge %zu names \"%.*s\", which is not in the vocabulary", b->name,
                        rank, n[i] < 64 ? (int)n[i] : 64, parts[i]);
        }
        ids[i] = (uint32_t)json_integer_value(id);
        *kept = *kept && !is_control(b, id);
        if (*kept && !(b->tokens[ids[i]].kind & TOKEN_MERGES)) {
            return fail(f, EXIT_INPUT, "%s: merge %zu names \"%.*s\", which no text can contain",
                        b->name, rank, n[i] < 64 ? (int)n[i] : 64, parts[i]);
        }
    }
    if (code == EXIT_OK) {
        char joined[1 << 17];
        if (n[0] + n[1] > UINT16_MAX) {
            return refuse_merge(b, rank, "makes a token longer than 65535 bytes", f);
        }
        memcpy(joined, parts[0], n[0]);
        memcpy(joined + n[0], parts[1], n[1]);
        json_t *id = json_object_getn(b->vocab, joined, n[0] + n[1]);
        *kept = *kept && !is_control(b, id);
        if (!id || (*kept && !(b->tokens[json_integer_value(id)].kind & TOKEN_MERGES))) {
            return fail(f, EXIT_INPUT,
                        "%s: merge %zu makes \"%.*s\", which is not in the vocabulary", b->name,
                        rank, n[0] + n[1] < 64 ? (int)(n[0] + n[1]) : 64, joined);
        }
    }
    return code;
}

static uint64_t key_of(const uint32_t *pair)
{
    return ((uint64_t)pair[0] << 32 | pair[1]) + 1; /* 0: an empty slot */
}

/* Drops merges that repeat an earlier one. */
static int drop_repeated(tokenizer_build *b, failure *f)
{
    uint64_t slots = 16, n_kept = 0;
    while (slots < 2 * (uint64_t)b->n_merges) {
        slots *= 2;
    }
    uint64_t *seen = (uint64_t *)calloc(slots, sizeof *seen);
    if (!seen) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
    }
    for (uint32_t i = 0; i < b->n_merges; i++) {
        uint64_t key = key_of(b->merges + 2 * (size_t)i), at = key * 0x9e3779b97f4a7c15u;
        at = (at ^ at >> 32) & (slots - 1);
        while (seen[at] != 0 && seen[at] != key) {
            at = (at + 1) & (slots - 1);
        }
        if (seen[at] == 0) {
            seen[at] = key;
            memmove(b->merges + 2 * n_kept++, b->merges + 2 * (size_t)i, 2 * sizeof *b->merges);
        }
    }
    free(seen);
    if (n_kept != b->n_merges) {
        build_warn(b, "%u merges repeat an earlier one and are dropped",
                   b->n_merges - (uint32_t)n_kept);
    }
    b->n_merges = (uint32_t)n_kept;
    return EXIT_OK;
}

static int read_merges(tokenizer_build *b, json_t *model, failure *f)
{
    json_t *list = json_in_get(model, "merges");
    if (!json_is_array(list)) {
        return json_in_refuse(b->name, "model.merges", "a list", list, f);
    }
    size_t n = json_array_size(list);
    if (n > BPE1_MAX_MERGES) {
        return fail(f, EXIT_INPUT, "%s: %zu merges are more than %d", b->name, n, BPE1_MAX_MERGES);
    }
    b->merges = (uint32_t *)malloc((2 * n + 1) * sizeof *b->merges);
    if (!b->merges) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
    }
    for (size_t i = 0; i < n; i++) {
        bool kept;
        int code = read_merge(b, i, json_array_get(list, i), b->merges + 2 * (size_t)b->n_merges,
                              &kept, f);
        if (code != EXIT_OK) {
            return code;
        }
        b->n_merges += kept;
    }
    if (b->n_merges != n) {
        build_warn(b, "%zu merges make or use control tokens: they are left out", n - b->n_merges);
    }
    return drop_repeated(b, f);
}

/* ---- model ----------------------------------------------------------------------------------- */

static int refuse_affix(const tokenizer_build *b, json_t *model, const char *key, failure *f)
{
    const char *value = "";
    int code = json_in_string(b->name, model, key, &value, NULL, f);
    return code == EXIT_OK && value[0] != 0
               ? fail(f, EXIT_INPUT, "%s: model.%s is not supported", b->name, key)
               : code;
}

static int read_model_flags(tokenizer_build *b, json_t *model, failure *f)
{
    const char *type = "BPE";
    bool fallback = false, fuse = false;
    float dropout = 0;
    int code = json_in_string(b->name, model, "type", &type, NULL, f);
    if (code == EXIT_OK && strcmp(type, "BPE") != 0) {
        return fail(f, EXIT_INPUT, "%s: model.type \"%.64s\" is not supported, only BPE", b->name,
                    type);
    }
    code = code ? code : json_in_f32(b->name, model, "dropout", 0, 1, &dropout, NULL, f);
    if (code == EXIT_OK && dropout != 0) {
        return fail(f, EXIT_INPUT, "%s: model.dropout is not supported", b->name);
    }
    code = code ? code : refuse_affix(b, model, "continuing_subword_prefix", f);
    code = code ? code : refuse_affix(b, model, "end_of_word_suffix", f);
    code = code ? code : json_in_bool(b->name, model, "byte_fallback", &fallback, NULL, f);
    code = code ? code : json_in_bool(b->name, model, "fuse_unk", &fuse, NULL, f);
    code = code ? code : json_in_bool(b->name, model, "ignore_merges", &b->ignore_merges, NULL, f);
    if (fallback && b->flags & TOK_BYTE_LEVEL) {
        build_warn(b, "byte_fallback has no effect on a byte-level vocabulary");
        fallback = false;
    }
    b->flags |= (fallback ? TOK_BYTE_FALLBACK : 0u) | (fuse ? TOK_FUSE_UNK : 0u);
    return code;
}

static int read_unk(tokenizer_build *b, json_t *model, failure *f)
{
    const char *unk = NULL;
    int code = json_in_string(b->name, model, "unk_token", &unk, NULL, f);
    if (code != EXIT_OK || !unk) {
        return code;
    }
    b->unk_id = build_find(b, unk);
    return b->unk_id >= 0
               ? EXIT_OK
               : fail(f, EXIT_INPUT, "%s: model.unk_token \"%.64s\" is not a token", b->name, unk);
}

static int read_tokenizer(tokenizer_build *b, json_t *root, const tokenizer_hints *hints,
                          failure *f)
{
    json_t *model = json_in_get(root, "model"), *added = json_in_get(root, "added_tokens");
    const char *version = NULL;
    int code = json_in_string(b->name, root, "version", &version, NULL, f);
    if (code == EXIT_OK && (!version || strcmp(version, "1.0") != 0)) {
        build_warn(b, "version is not \"1.0\", the one known here");
    }
    if (json_in_get(root, "truncation") || json_in_get(root, "padding")) {
        build_warn(b, "truncation and padding are ignored");
    }
    if (code == EXIT_OK && !json_is_object(model)) {
        return json_in_refuse(b->name, "model", "an object", model, f);
    }
    if (added && !json_is_array(added)) {
        return json_in_refuse(b->name, "added_tokens", "a list", added, f);
    }
    code = code ? code : build_read_steps(b, root, f);
    code = code ? code : read_model_flags(b, model, f);
    b->vocab = json_in_get(model, "vocab");
    if (code == EXIT_OK && json_object_size(b->vocab) == 0) {
        return json_in_refuse(b->name, "model.vocab", "an object that is not empty", NULL, f);
    }
    code = code ? code : size_tokens(b, added, f);
    code = code ? code : read_vocab(b, f);
    code = code ? code : read_added(b, added, f);
    code = code ? code : read_unk(b, model, f);
    code = code ? code : check_tokens(b, hints, f);
    code = code ? code : read_merges(b, model, f);
    if (code == EXIT_OK && hints && hints->ties) {
        size_t n = ((size_t)b->n_merges + 7) / 8;
        b->ties = (uint8_t *)malloc(n + 1);
        if (!b->ties) {
            return fail(f, EXIT_RESOURCE, "%s: no memory", b->name);
        }
        memcpy(b->ties, hints->ties, n);
    }
    return code ? code : build_read_template(b, root, f);
}

/* ---- tokenizer_config.json ------------------------------------------------------------------- */

/* bos_token, eos_token: a string, or an object with its content. */
static int named_token(const tokenizer_build *b, const char *name, json_t *config, const char *key,
                       int32_t *id, failure *f)
{
    json_t *value = json_in_get(config, key);
    json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
    if (!value) {
        return EXIT_OK;
    }
    if (!json_is_string(content)) {
        return json_in_refuse(name, key, "a token's text", value, f);
    }
    *id = build_find(b, json_string_value(content));
    return *id >= 0 ? EXIT_OK
                    : fail(f, EXIT_INPUT, "%s: %s \"%.64s\" is not a token of %s", name, key,
                           json_string_value(content), b->name);
}

/* Whether to add a token: what tokenizer_config.json says, else the template. */
static int add_flag(tokenizer_build *b, const char *name, json_t *config, const char *key,
                    bool in_template, uint32_t flag, int32_t id, failure *f)
{
    bool wanted = in_template, found = false;
    int code = config ? json_in_bool(name, config, key, &wanted, &found, f) : EXIT_OK;
    if (code == EXIT_OK && found && b->has_template && wanted != in_template) {
        build_warn(b, "the post_processor contradicts %s in tokenizer_config.json, which wins",
                   key);
    }
    if (code == EXIT_OK && wanted && id < 0) {
        build_warn(b, "%s is set, but there is no such token; it is ignored", key);
        wanted = false;
    }
    b->flags |= wanted ? flag : 0;
    return code;
}

static int read_config(tokenizer_build *b, const char *name, json_t *config,
                       const tokenizer_hints *hints, failure *f)
{
    int32_t bos = b->bos_id, eos = b->eos_id;
    b->bos_id = b->bos_id < 0 && hints ? hints->bos_id : b->bos_id;
    b->eos_id = b->eos_id < 0 && hints ? hints->eos_id : b->eos_id;
    int code = EXIT_OK;
    if (config) {
        code = named_token(b, name, config, "bos_token", &b->bos_id, f);
        code = code ? code : named_token(b, name, config, "eos_token", &b->eos_id, f);
    }
    /* What the template adds is what is added, whatever the configuration calls BOS. */
    b->bos_id = bos >= 0 && b->template_bos ? bos : b->bos_id;
    b->eos_id = eos >= 0 && b->template_eos ? eos : b->eos_id;
    if (code == EXIT_OK &&
        (b->bos_id >= (int32_t)b->n_tokens || b->eos_id >= (int32_t)b->n_tokens)) {
        return fail(f, EXIT_INPUT, "%s: the configuration's BOS or EOS id is not a token", b->name);
    }
    code = code ? code
                : add_flag(b, name, config, "add_bos_token", b->template_bos, TOK_ADD_BOS,
                           b->bos_id, f);
    code = code ? code
                : add_flag(b, name, config, "add_eos_token", b->template_eos, TOK_ADD_EOS,
                           b->eos_id, f);
    build_stop(b, b->eos_id);
    for (uint32_t i = 0; hints && i < hints->n_stop_ids; i++) {
        build_stop(b, hints->stop_ids[i] < (int32_t)b->n_tokens ? hints->stop_ids[i] : -1);
    }
    return code;
}

static void build_free(tokenizer_build *b)
{
    for (uint32_t i = 0; i < b->n_added; i++) {
        free(b->added[i].pattern);
    }
    for (uint32_t i = 0; i < b->n_stages; i++) {
        free(b->stages[i].pattern);
    }
    free(b->tokens);
    free(b->program);
    free(b->ties);
    free(b->merges);
    free(b->added);
    free(b->pool);
}

int tokenizer_from_json(const char *name, const char *tokenizer_json, size_t n_tokenizer_json,
                        const char *config_name, const char *config_json, size_t n_config_json,
                        const tokenizer_hints *hints, tokenizer_payload *payload, failure *f)
{
    json_t *root = NULL, *config = NULL;
    chat_build chat = {0};
    memset(payload, 0, sizeof *payload);
    tokenizer_build b = {.name = name,
                         .unk_id = -1,
                         .bos_id = -1,
                         .eos_id = -1,
                         .warnings = payload->warnings,
                         .n_warnings = sizeof payload->warnings};
    if (n_tokenizer_json > MAX_JSON) {
        return fail(f, EXIT_INPUT, "%s: larger than %d MiB", name, MAX_JSON >> 20);
    }
    int code = json_in_parse(name, tokenizer_json, n_tokenizer_json, &root, f);
    if (code == EXIT_OK && config_json) {
        code = json_in_parse_reals(config_name, config_json, n_config_json, &config, f);
    }
    code = code ? code : read_tokenizer(&b, root, hints, f);
    code = code ? code : read_config(&b, config_name, config, hints, f);
    code = code ? code : chat_begin(&chat, &b, config, f);
    code = code ? code : build_payload(&b, &payload->tokenizer, &payload->n_tokenizer, f);
    code = code ? code : chat_finish(&chat, payload, f);
    chat_end(&chat);
    build_free(&b);
    json_decref(root);
    json_decref(config);
    if (code != EXIT_OK) {
        free(payload->tokenizer);
        free(payload->chat);
        payload->tokenizer = payload->chat = NULL;
    }
    return code;
}

void tokenizer_payload_free(tokenizer_payload *payload)
{
    free(payload->tokenizer);
    free(payload->chat);
    free(payload->chat_text);
    memset(payload, 0, sizeof *payload);
}
