/* tokenizer_export.c - writes tokenizer.json from a payload's arrays, then proves it by reading. */
#include <stdlib.h>
#include <string.h>

#include "lib/json_in.h" /* before json_out.h, which takes its names */

#include "lib/byte_alphabet.h"
#include "lib/tokenizer_build.h"
#include "lib/tokenizer_export.h"
#include "lib/tokenizer_view.h"
#include "lib/utf8.h"

#define MARK "\xe2\x96\x81"

enum { MAX_TEXT = 2 * UINT16_MAX + 8 }; /* of one token, as the file writes it */

typedef struct exporter {
    const char *name;
    tokenizer_view v;
    const pre_kind *kind; /* of a compiled pre-tokenizer, or NULL */
    bool ignore_merges;
    uint32_t n_vocab; /* ids from here on are in added_tokens alone */
    char *text;       /* of one merge: two tokens and a space */
    json_out j;
    failure *f;
} exporter;

/* ---- Steps ----------------------------------------------------------------------------------- */

static void begin_step(json_out *j, const char *key, const char *type)
{
    json_object(j, key);
    json_string(j, "type", type);
}

static void write_replace(json_out *j, const char *from, const char *to)
{
    begin_step(j, NULL, "Replace");
    json_object(j, "pattern");
    json_string(j, "String", from);
    json_object_end(j);
    json_string(j, "content", to);
    json_object_end(j);
}

static void write_normalizer(json_out *j, uint32_t flags, uint32_t prefix)
{
    bool marks = flags & TOK_MARK_SPACES && !(flags & TOK_SPACES_LATE);
    if (!marks && !(flags & TOK_NFC)) {
        json_null(j, "normalizer");
        return;
    }
    if (!marks) {
        begin_step(j, "normalizer", "NFC");
        json_object_end(j);
        return;
    }
    begin_step(j, "normalizer", "Sequence");
    json_array(j, "normalizers");
    if (flags & TOK_NFC) {
        begin_step(j, NULL, "NFC");
        json_object_end(j);
    }
    if (prefix == PREFIX_ALWAYS) {
        begin_step(j, NULL, "Prepend");
        json_string(j, "prepend", MARK);
        json_object_end(j);
    }
    write_replace(j, " ", MARK);
    json_array_end(j);
    json_object_end(j);
}

static void write_byte_level(json_out *j, const char *key, bool prefix, bool regex)
{
    begin_step(j, key, "ByteLevel");
    json_bool(j, "add_prefix_space", prefix);
    json_bool(j, "trim_offsets", false);
    json_bool(j, "use_regex", regex);
    json_object_end(j);
}

static void write_split(json_out *j, const char *pattern)
{
    begin_step(j, NULL, "Split");
    json_object(j, "pattern");
    json_string(j, "Regex", pattern ? pattern : "");
    json_object_end(j);
    json_string(j, "behavior", "Isolated");
    json_bool(j, "invert", false);
    json_object_end(j);
}

/* Steps that cut words, then bytes to their stand-ins. */
static void write_cuts(json_out *j, uint32_t pre, const pre_kind *kind, bool prefix)
{
    begin_step(j, "pre_tokenizer", "Sequence");
    json_array(j, "pretokenizers");
    if (pre == PRE_DIGITS) {
        begin_step(j, NULL, "Digits");
        json_bool(j, "individual_digits", true);
        json_object_end(j);
    } else if (kind) {
        for (uint32_t i = 0; i < MAX_SPLITS && kind->splits[i]; i++) {
            write_split(j, kind->splits[i]);
        }
    } else {
        write_split(j, build_split(pre));
    }
    write_byte_level(j, NULL, prefix, pre == PRE_DIGITS);
    json_array_end(j);
    json_object_end(j);
}

static void write_pre_tokenizer(json_out *j, uint32_t flags, uint32_t pre, const pre_kind *kind,
                                uint32_t prefix)
{
    if (flags & TOK_BYTE_LEVEL) {
        if (pre == PRE_NONE || pre == PRE_GPT2) {
            write_byte_level(j, "pre_tokenizer", prefix != PREFIX_NONE, pre == PRE_GPT2);
        } else {
            write_cuts(j, pre, kind, prefix != PREFIX_NONE);
        }
    } else if (flags & TOK_MARK_SPACES && flags & TOK_SPACES_LATE) {
        begin_step(j, "pre_tokenizer", "Metaspace");
        json_string(j, "replacement", MARK);
        json_string(j, "prepend_scheme",
                    prefix == PREFIX_UNLESS  ? "always"
                    : prefix == PREFIX_FIRST ? "first"
                                             : "never");
        json_bool(j, "split", pre == PRE_MARKS);
        json_object_end(j);
    } else {
        json_null(j, "pre_tokenizer");
    }
}

static void write_decoder(json_out *j, uint32_t flags)
{
    if (flags & TOK_BYTE_LEVEL) {
        write_byte_level(j, "decoder", true, true); /* which it does not look at */
        return;
    }
    begin_step(j, "decoder", "Sequence");
    json_array(j, "decoders");
    if (flags & TOK_MARK_SPACES) {
        write_replace(j, MARK, " ");
    }
    if (flags & TOK_BYTE_FALLBACK) {
        begin_step(j, NULL, "ByteFallback");
        json_object_end(j);
    }
    begin_step(j, NULL, "Fuse");
    json_object_end(j);
    if (flags & TOK_STRIP_SPACE) {
        begin_step(j, NULL, "Strip");
        json_string(j, "content", " ");
        json_u64(j, "start", 1);
        json_u64(j, "stop", 0);
        json_object_end(j);
    }
    json_array_end(j);
    json_object_end(j);
}

void tokenizer_export_steps(json_out *j, uint32_t flags, uint32_t pre, const pre_kind *kind,
                            uint32_t prefix)
{
    write_normalizer(j, flags, prefix);
    write_pre_tokenizer(j, flags, pre, kind, prefix);
    write_decoder(j, flags);
}

void tokenizer_export_added(json_out *j, uint32_t id, const char *content, size_t n_bytes,
                            uint16_t flags, bool normalized)
{
    json_object(j, NULL);
    json_u64(j, "id", id);
    json_string_n(j, "content", content, n_bytes);
    json_bool(j, "single_word", flags & ADDED_SINGLE_WORD);
    json_bool(j, "lstrip", flags & ADDED_LSTRIP);
    json_bool(j, "rstrip", flags & ADDED_RSTRIP);
    json_bool(j, "normalized", normalized);
    json_bool(j, "special", flags & ADDED_CONTROL);
    json_object_end(j);
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

/* A token as the file writes it, NUL-terminated; its length. */
static size_t put_token(const exporter *e, uint32_t id, char *out)
{
    uint32_t n;
    const uint8_t *bytes = view_token(&e->v, id, &n);
    size_t n_out = n;
    if ((e->v.kinds[id] & TOKEN_KIND_MASK) == TOKEN_BYTE) {
        n_out = (size_t)snprintf(out, 7, "<0x%02X>", bytes[0]);
    } else if (e->v.flags & TOK_BYTE_LEVEL && e->v.kinds[id] & TOKEN_MERGES) {
        n_out = alphabet_encode(bytes, n, out);
    } else {
        memcpy(out, bytes, n);
    }
    out[n_out] = 0;
    return n_out;
}

/* Texts that JSON cannot hold as they are. Spaces in a token forbid merges written "a b". */
static int check_texts(exporter *e, bool *pairs)
{
    *pairs = false;
    for (uint32_t id = 0; id < e->v.n_tokens; id++) {
        size_t n = put_token(e, id, e->text);
        for (size_t i = 0, step; i < n; i += step) {
            step = utf8_length(e->text + i, n - i);
            if (step == 0 || e->text[i] == 0) {
                return fail(e->f, EXIT_INPUT,
                            "%s: token %u is not UTF-8 without NUL, which tokenizer.json cannot "
                            "hold",
                            e->name, id);
            }
            *pairs = *pairs || (e->text[i] == ' ' && e->v.kinds[id] & TOKEN_MERGES);
        }
    }
    return EXIT_OK;
}

/* Added tokens behind the vocabulary stay out of it, if a reader that numbers them on from there
 * gives them the same ids. */
static uint32_t vocabulary_end(const tokenizer_view *v)
{
    uint32_t end = v->n_tokens;
    while (end > 0 && !(v->kinds[end - 1] & TOKEN_MERGES) &&
           (v->kinds[end - 1] & TOKEN_KIND_MASK) >= TOKEN_ADDED) {
        end--;
    }
    for (uint32_t id = 0; id < end; id++) {
        if (v->kinds[id] == TOKEN_UNUSED) {
            return v->n_tokens;
        }
    }
    return end > 0 ? end : v->n_tokens;
}

static int compare_added(const void *a, const void *b)
{
    const view_added *x = (const view_added *)a, *y = (const view_added *)b;
    return (x->id > y->id) - (x->id < y->id);
}

static int write_added(exporter *e)
{
    uint32_t n = e->v.n_added[0] + e->v.n_added[1];
    view_added *added = (view_added *)calloc((size_t)n + 1, sizeof *added);
    if (!added) {
        return fail(e->f, EXIT_RESOURCE, "%s: no memory", e->name);
    }
    uint64_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        added[i] = view_next_added(&e->v, i, &at);
    }
    qsort(added, n, sizeof *added, compare_added);
    json_array(&e->j, "added_tokens");
    for (uint32_t i = 0; i < n; i++) {
        uint32_t n_bytes;
        const uint8_t *bytes = view_token(&e->v, added[i].id, &n_bytes);
        tokenizer_export_added(&e->j, added[i].id, (const char *)bytes, n_bytes, added[i].flags,
                               added[i].normalized);
    }
    json_array_end(&e->j);
    free(added);
    return EXIT_OK;
}

static void write_vocab(exporter *e)
{
    json_object(&e->j, "vocab");
    for (uint32_t id = 0; id < e->n_vocab; id++) {
        if (e->v.kinds[id] != TOKEN_UNUSED) {
            put_token(e, id, e->text);
            json_u64(&e->j, e->text, id);
        }
    }
    json_object_end(&e->j);
}

static void write_merges(exporter *e, bool pairs)
{
    json_array(&e->j, "merges");
    for (uint32_t rank = 0; rank < e->v.n_merges; rank++) {
        uint32_t left, right;
        view_merge(&e->v, rank, &left, &right);
        size_t n = put_token(e, left, e->text);
        if (pairs) {
            json_array(&e->j, NULL);
            json_string(&e->j, NULL, e->text);
            put_token(e, right, e->text);
            json_string(&e->j, NULL, e->text);
            json_array_end(&e->j);
        } else {
            e->text[n] = ' ';
            put_token(e, right, e->text + n + 1);
            json_string(&e->j, NULL, e->text);
        }
    }
    json_array_end(&e->j);
}

static void write_model(exporter *e, bool pairs)
{
    json_out *j = &e->j;
    json_object(j, "model");
    json_string(j, "type", "BPE");
    json_null(j, "dropout");
    if (e->v.unk_id >= 0) {
        put_token(e, (uint32_t)e->v.unk_id, e->text);
        json_string(j, "unk_token", e->text);
    } else {
        json_null(j, "unk_token");
    }
    json_null(j, "continuing_subword_prefix");
    json_null(j, "end_of_word_suffix");
    json_bool(j, "fuse_unk", e->v.flags & TOK_FUSE_UNK);
    json_bool(j, "byte_fallback", e->v.flags & TOK_BYTE_FALLBACK);
    json_bool(j, "ignore_merges", e->ignore_merges);
    write_vocab(e);
    write_merges(e, pairs);
    json_object_end(j);
}

/* ---- BOS and EOS ----------------------------------------------------------------------------- */

static void write_item(json_out *j, const char *kind, const char *id, uint32_t type_id)
{
    json_object(j, NULL);
    json_object(j, kind);
    json_string(j, "id", id);
    json_u64(j, "type_id", type_id);
    json_object_end(j);
    json_object_end(j);
}

static void write_template(exporter *e)
{
    static const char *const sequences[2] = {"A", "B"};
    json_out *j = &e->j;
    bool wanted[2] = {e->v.flags & TOK_ADD_BOS, e->v.flags & TOK_ADD_EOS};
    int32_t ids[2] = {e->v.bos_id, e->v.eos_id};
    if (!wanted[0] && !wanted[1]) {
        json_null(j, "post_processor");
        return;
    }
    begin_step(j, "post_processor", "TemplateProcessing");
    for (int n = 1; n <= 2; n++) {
        json_array(j, n == 1 ? "single" : "pair");
        for (int i = 0; i < n; i++) {
            for (int part = 0; part < 3; part++) {
                int side = part / 2;
                if (part == 1) {
                    write_item(j, "Sequence", sequences[i], (uint32_t)i);
                } else if (wanted[side]) {
                    put_token(e, (uint32_t)ids[side], e->text);
                    write_item(j, "SpecialToken", e->text, (uint32_t)i);
                }
            }
        }
        json_array_end(j);
    }
    json_object(j, "special_tokens");
    for (int side = 0; side < 2; side++) {
        if (wanted[side] && !(side == 1 && wanted[0] && ids[0] == ids[1])) {
            put_token(e, (uint32_t)ids[side], e->text);
            json_object(j, e->text);
            json_string(j, "id", e->text);
            json_array(j, "ids");
            json_u64(j, NULL, (uint64_t)ids[side]);
            json_array_end(j);
            json_array(j, "tokens");
            json_string(j, NULL, e->text);
            json_array_end(j);
            json_object_end(j);
        }
    }
    json_object_end(j);
    json_object_end(j);
}

static void write_config(exporter *e)
{
    json_out *j = &e->j;
    json_object(j, NULL);
    json_string(j, "tokenizer_class", "PreTrainedTokenizerFast");
    if (e->v.bos_id >= 0) {
        put_token(e, (uint32_t)e->v.bos_id, e->text);
        json_string(j, "bos_token", e->text);
    }
    if (e->v.eos_id >= 0) {
        put_token(e, (uint32_t)e->v.eos_id, e->text);
        json_string(j, "eos_token", e->text);
    }
    if (e->v.unk_id >= 0) {
        put_token(e, (uint32_t)e->v.unk_id, e->text);
        json_string(j, "unk_token", e->text);
    }
    json_bool(j, "add_bos_token", e->v.flags & TOK_ADD_BOS);
    json_bool(j, "add_eos_token", e->v.flags & TOK_ADD_EOS);
    json_bool(j, "clean_up_tokenization_spaces", false);
    json_object_end(j);
}

/* ---- Documents ------------------------------------------------------------------------------- */

static int write_tokenizer(exporter *e)
{
    bool pairs;
    int code = check_texts(e, &pairs);
    json_out *j = &e->j;
    if (code == EXIT_OK && e->v.pre == PRE_PROGRAM && !e->kind) {
        code = fail(e->f, EXIT_INPUT,
                    "%s: its pre-tokenizer is compiled and none that GGUF has a name for; the "
                    "source of it has the expressions that a tokenizer.json needs",
                    e->name);
    }
    json_object(j, NULL);
    json_string(j, "version", "1.0");
    json_null(j, "truncation");
    json_null(j, "padding");
    code = code ? code : write_added(e);
    tokenizer_export_steps(j, e->v.flags, e->v.pre, e->kind, e->v.prefix);
    write_template(e);
    write_model(e, pairs);
    json_object_end(j);
    return code;
}

static int write_document(exporter *e, bool config, char **text, size_t *n)
{
    free(*text);
    *text = NULL;
    FILE *stream = json_open_memory(text, n);
    int code = EXIT_OK;
    if (!stream) {
        return fail(e->f, EXIT_RESOURCE, "%s: no memory", e->name);
    }
    json_begin(&e->j, stream, false);
    if (config) {
        write_config(e);
    } else {
        code = write_tokenizer(e);
    }
    json_end(&e->j);
    return json_close_memory(stream) ? code : fail(e->f, EXIT_RESOURCE, "%s: no memory", e->name);
}

/* ---- Proof ----------------------------------------------------------------------------------- */

typedef enum likeness { SAME, OTHER_DIRECT, DIFFERENT } likeness;

/* A token that is found as an added one before any word is cut may or may not take part in merging:
 * no merge makes it. */
static likeness compare_tokens(const tokenizer_view *a, const tokenizer_view *b)
{
    likeness like = SAME;
    if (memcmp(a->offsets, b->offsets, ((size_t)a->n_tokens + 1) * sizeof *a->offsets) != 0 ||
        memcmp(a->blob, b->blob, a->offsets[a->n_tokens]) != 0) {
        return DIFFERENT;
    }
    for (uint32_t id = 0; id < a->n_tokens; id++) {
        uint8_t change = a->kinds[id] ^ b->kinds[id];
        bool added = (a->kinds[id] & TOKEN_KIND_MASK) == TOKEN_ADDED;
        if (change & ~(TOKEN_DIRECT | (added ? TOKEN_MERGES : 0))) {
            return DIFFERENT;
        }
        like = change & TOKEN_DIRECT && !added ? OTHER_DIRECT : like;
    }
    return like;
}

static likeness compare(const tokenizer_view *a, const tokenizer_view *b)
{
    bool same = ((a->flags ^ b->flags) & ~(uint32_t)TOK_TIES) == 0 && a->pre == b->pre &&
                a->prefix == b->prefix && a->n_tokens == b->n_tokens &&
                a->n_merges == b->n_merges && a->n_added[0] == b->n_added[0] &&
                a->n_added[1] == b->n_added[1] && a->unk_id == b->unk_id &&
                a->bos_id == b->bos_id && a->eos_id == b->eos_id && a->n_program == b->n_program &&
                (a->n_program == 0 || memcmp(a->program, b->program, a->n_program) == 0);
    uint64_t n_added = (uint64_t)a->n_added[0] + a->n_added[1], end_a = 0, end_b = 0;
    if (!same || (a->n_merges != 0 &&
                  memcmp(a->merges, b->merges, (size_t)2 * a->id_bytes * a->n_merges) != 0)) {
        return DIFFERENT;
    }
    for (uint32_t i = 0; i < n_added; i++) {
        view_added x = view_next_added(a, i, &end_a), y = view_next_added(b, i, &end_b);
        if (x.id != y.id || x.flags != y.flags || x.n_pattern != y.n_pattern ||
            memcmp(x.pattern, y.pattern, x.n_pattern) != 0) {
            return DIFFERENT;
        }
    }
    return compare_tokens(a, b);
}

static int read_back(exporter *e, const tokenizer_texts *texts, likeness *like)
{
    tokenizer_payload made = {0};
    tokenizer_view v = {0};
    failure why = {0};
    int code =
        tokenizer_from_json("tokenizer.json", texts->json, texts->n_json, "tokenizer_config.json",
                            texts->config, texts->n_config, NULL, &made, &why);
    if (code != EXIT_OK) {
        return fail(e->f, code, "%s: cannot be written as tokenizer.json: read back, %s", e->name,
                    why.text);
    }
    code = tokenizer_view_open(&v, made.tokenizer, e->f);
    *like = code == EXIT_OK ? compare(&e->v, &v) : DIFFERENT;
    tokenizer_view_close(&v);
    tokenizer_payload_free(&made);
    return code;
}

/* Stop ids that only a generation_config.json could hold. */
static void note_stops(const exporter *e, notes *w)
{
    uint32_t n = e->v.n_stops - (e->v.eos_id >= 0);
    if (e->v.n_stops > 1) {
        note(w,
             "%s: %u more ids end a generation than EOS; no tokenizer file says so, "
             "generation_config.json would",
             e->name, n);
    }
}

int tokenizer_export(const char *name, const uint8_t *payload, tokenizer_texts *texts, notes *w,
                     failure *f)
{
    exporter e = {.name = name, .f = f};
    likeness like = OTHER_DIRECT;
    memset(texts, 0, sizeof *texts);
    int code = tokenizer_view_open(&e.v, payload, f);
    e.text = (char *)malloc(2 * (size_t)MAX_TEXT);
    code = code == EXIT_OK && !e.text ? fail(f, EXIT_RESOURCE, "%s: no memory", name) : code;
    if (code == EXIT_OK && e.v.pre == PRE_PROGRAM) {
        code = gguf_pre_of_program(e.v.program, e.v.n_program, &e.kind, f);
    }
    e.n_vocab = code == EXIT_OK ? vocabulary_end(&e.v) : 0;
    code = code ? code : write_document(&e, true, &texts->config, &texts->n_config);
    /* Whether merges are to be ignored shows only in which words are taken at once. */
    for (int ignore = 0; ignore < 2 && code == EXIT_OK && like == OTHER_DIRECT; ignore++) {
        e.ignore_merges = ignore == 1;
        code = write_document(&e, false, &texts->json, &texts->n_json);
        code = code ? code : read_back(&e, texts, &like);
    }
    if (code == EXIT_OK && like != SAME) {
        code = fail(f, EXIT_INPUT, "%s: tokenizer.json cannot say exactly what this tokenizer does",
                    name);
    }
    if (code == EXIT_OK && e.v.flags & TOK_TIES) {
        note(w,
             "%s: merges of equal rank got an order, for a tokenizer.json has no others: where two "
             "of them meet, text may be cut otherwise",
             name);
    }
    if (code == EXIT_OK) {
        note_stops(&e, w);
    } else {
        tokenizer_texts_free(texts);
    }
    tokenizer_view_close(&e.v);
    free(e.text);
    return code;
}

void tokenizer_texts_free(tokenizer_texts *texts)
{
    free(texts->json);
    free(texts->config);
    memset(texts, 0, sizeof *texts);
}
