/* gguf_tokenizer.c - the tokenizer.ggml.* keys -> the text of a tokenizer.json, from which the one
 * reader of tokenizers builds the payloads. A SentencePiece vocabulary has scores instead of
 * merges: every way to make a piece of two others is one, ranked by the piece's score; equal scores
 * are equal ranks, of which the leftmost comes first, as in SentencePiece.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "lib/gguf_model.h"
#include "lib/gguf_pre.h"
#include "lib/json_out.h"
#include "lib/utf8.h"

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };
enum { MAX_TOKEN_BYTES = 65535 };

#define MARK "\xe2\x96\x81"

typedef struct piece {
    gguf_string text;
    float score;
    uint8_t type;
    bool repeated; /* the text of an earlier one */
} piece;

typedef struct merge {
    uint32_t left, right, whole;
    float score; /* of the whole */
} merge;

typedef struct vocabulary {
    const gguf *g;
    failure *f;
    notes *w;
    const slm_config *config;
    piece *pieces;
    uint32_t n;
    uint32_t *slots; /* open addressing: index + 1 */
    uint32_t mask;
    merge *merges;
    uint64_t n_merges, room;
    uint8_t *ties; /* a bit per merge: it has the score of the one before; NULL: none has */
    bool spm;      /* scores instead of merges */
    bool marks;    /* U+2581 for spaces, and nothing cuts */
    bool has_bytes;
    bool named_control; /* a normal token was made a control token for its name */
    int32_t unknown;
    char *text; /* of one token, NUL-terminated */
} vocabulary;

/* ---- Lists ----------------------------------------------------------------------------------- */

static uint32_t *slot_of(const vocabulary *v, const char *text, uint64_t n)
{
    uint32_t at = (uint32_t)slm_hash_bytes(0, text, (size_t)n) & v->mask;
    while (v->slots[at] != 0) {
        const gguf_string *s = &v->pieces[v->slots[at] - 1].text;
        if (s->n_bytes == n && memcmp(s->text, text, (size_t)n) == 0) {
            break;
        }
        at = (at + 1) & v->mask;
    }
    return &v->slots[at];
}

static int check_text(const vocabulary *v, uint32_t id, gguf_string s)
{
    if (s.n_bytes > MAX_TOKEN_BYTES) {
        return fail(v->f, EXIT_INPUT, "%s: token %u has %" PRIu64 " bytes; at most %d", v->g->name,
                    id, s.n_bytes, MAX_TOKEN_BYTES);
    }
    for (uint64_t i = 0; i < s.n_bytes;) {
        size_t n = utf8_length(s.text + i, (size_t)(s.n_bytes - i));
        if (n == 0 || s.text[i] == 0) {
            return fail(v->f, EXIT_INPUT, "%s: token %u is not UTF-8 without NUL", v->g->name, id);
        }
        i += n;
    }
    return EXIT_OK;
}

/* An array as long as the vocabulary, of 4-byte elements; NULL if absent. */
static int parallel_array(const vocabulary *v, const char *key, gguf_value_type element,
                          const uint8_t **values)
{
    const gguf_pair *pair;
    int code = gguf_get_array(v->g, key, element, &pair, v->f);
    *values = code == EXIT_OK && pair ? pair->value : NULL;
    if (code == EXIT_OK && pair && pair->n_elements != v->n) {
        return fail(v->f, EXIT_INPUT, "%s: %s has %" PRIu64 " entries for %u tokens", v->g->name,
                    key, pair->n_elements, v->n);
    }
    return code;
}

static int make_room(vocabulary *v, const gguf_pair *tokens)
{
    v->n = (uint32_t)tokens->n_elements;
    v->mask = 1;
    while (v->mask < 2 * v->n) {
        v->mask = 2 * v->mask + 1;
    }
    v->pieces = calloc(v->n, sizeof *v->pieces);
    v->slots = calloc((size_t)v->mask + 1, sizeof *v->slots);
    v->text = malloc(MAX_TOKEN_BYTES + 1);
    return v->pieces && v->slots && v->text
               ? EXIT_OK
               : fail(v->f, EXIT_RESOURCE, "%s: no memory for the vocabulary", v->g->name);
}

static int read_pieces(vocabulary *v)
{
    const gguf_pair *tokens;
    const uint8_t *types, *scores;
    int code = gguf_get_array(v->g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, v->f);
    if (code == EXIT_OK && (!tokens || tokens->n_elements == 0 || tokens->n_elements > 1 << 24)) {
        return fail(v->f, EXIT_INPUT,
                    "%s: tokenizer.ggml.tokens is missing, empty or too long; --no-tokenizer "
                    "converts the weights alone",
                    v->g->name);
    }
    code = code ? code : make_room(v, tokens);
    code = code ? code : parallel_array(v, "tokenizer.ggml.token_type", GGUF_I32, &types);
    code = code ? code : parallel_array(v, "tokenizer.ggml.scores", GGUF_F32, &scores);
    if (code == EXIT_OK && v->spm && !scores) {
        return fail(v->f, EXIT_INPUT, "%s: tokenizer.ggml.scores is missing", v->g->name);
    }
    const uint8_t *cursor = code == EXIT_OK ? tokens->value : NULL;
    for (uint32_t i = 0; i < v->n && code == EXIT_OK; i++) {
        piece *p = &v->pieces[i];
        p->text = gguf_next_string(&cursor);
        uint32_t type = types ? load_u32(types + 4 * (size_t)i) : TYPE_NORMAL;
        uint32_t score = scores ? load_u32(scores + 4 * (size_t)i) : 0;
        memcpy(&p->score, &score, 4);
        p->type = (uint8_t)type;
        if ((type == TYPE_NORMAL || type == TYPE_USER) &&
            gguf_token_is_control(p->text.text, (size_t)p->text.n_bytes)) {
            p->type = TYPE_CONTROL;
            v->named_control = v->named_control || type == TYPE_NORMAL;
        }
        code = check_text(v, i, p->text);
        if (code == EXIT_OK && (type < TYPE_NORMAL || type > TYPE_BYTE)) {
            return fail(v->f, EXIT_INPUT, "%s: tokenizer.ggml.token_type of token %u is %d",
                        v->g->name, i, (int)type);
        }
        if (code == EXIT_OK && !isfinite(p->score)) {
            return fail(v->f, EXIT_INPUT, "%s: tokenizer.ggml.scores of token %u is not finite",
                        v->g->name, i);
        }
        uint32_t *slot = slot_of(v, p->text.text, p->text.n_bytes);
        p->repeated = *slot != 0;
        *slot = *slot ? *slot : i + 1;
        v->has_bytes = v->has_bytes || type == TYPE_BYTE;
        v->unknown = type == TYPE_UNKNOWN && v->unknown < 0 ? (int32_t)i : v->unknown;
    }
    return code;
}

/* A token that some merge makes is text, whatever its name. */
static int keep_merged(vocabulary *v)
{
    const gguf_pair *merges;
    int code = gguf_get_array(v->g, "tokenizer.ggml.merges", GGUF_STRING, &merges, v->f);
    const uint8_t *cursor = code == EXIT_OK && merges ? merges->value : NULL;
    for (uint64_t i = 0; cursor && i < merges->n_elements; i++) {
        gguf_string s = gguf_next_string(&cursor);
        const char *space = memchr(s.text, ' ', (size_t)s.n_bytes);
        size_t before = space ? (size_t)(space - s.text) : 0;
        if (!space || s.n_bytes > MAX_TOKEN_BYTES) {
            continue;
        }
        memcpy(v->text, s.text, before);
        memcpy(v->text + before, space + 1, (size_t)s.n_bytes - before - 1);
        uint32_t id = *slot_of(v, v->text, s.n_bytes - 1);
        if (id != 0 && v->pieces[id - 1].type == TYPE_CONTROL &&
            gguf_token_is_control(v->text, (size_t)s.n_bytes - 1)) {
            v->pieces[id - 1].type = TYPE_NORMAL;
        }
    }
    return code;
}

/* ---- Merges from scores ---------------------------------------------------------------------- */

static bool takes_part(const piece *p)
{
    return (p->type == TYPE_NORMAL || p->type == TYPE_USER) && !p->repeated;
}

static int add_merge(vocabulary *v, uint32_t left, uint32_t right, uint32_t whole)
{
    if (v->n_merges == v->room) {
        uint64_t room = v->room ? 2 * v->room : 65536;
        merge *grown = realloc(v->merges, (size_t)room * sizeof *grown);
        if (!grown) {
            return fail(v->f, EXIT_RESOURCE, "%s: no memory for merges", v->g->name);
        }
        v->merges = grown;
        v->room = room;
    }
    v->merges[v->n_merges++] = (merge){left, right, whole, v->pieces[whole].score};
    return EXIT_OK;
}

static int compare_merges(const void *a, const void *b)
{
    const merge *x = a, *y = b;
    if (x->score > y->score || x->score < y->score) {
        return x->score > y->score ? -1 : 1;
    }
    uint64_t kx[3] = {x->whole, x->left, x->right}, ky[3] = {y->whole, y->left, y->right};
    for (int i = 0; i < 3; i++) {
        if (kx[i] != ky[i]) {
            return kx[i] < ky[i] ? -1 : 1;
        }
    }
    return 0;
}

static int derive_merges(vocabulary *v)
{
    for (uint32_t i = 0; i < v->n; i++) {
        const piece *p = &v->pieces[i];
        size_t step = 0;
        for (size_t k = 0; takes_part(p) && k < p->text.n_bytes; k += step) {
            step = utf8_length(p->text.text + k, (size_t)(p->text.n_bytes - k));
            uint32_t left = k ? *slot_of(v, p->text.text, k) : 0;
            uint32_t right = left ? *slot_of(v, p->text.text + k, p->text.n_bytes - k) : 0;
            if (right && takes_part(&v->pieces[left - 1]) && takes_part(&v->pieces[right - 1]) &&
                add_merge(v, left - 1, right - 1, i) != EXIT_OK) {
                return v->f->exit_code;
            }
        }
    }
    if (v->n_merges != 0) {
        qsort(v->merges, (size_t)v->n_merges, sizeof *v->merges, compare_merges);
    }
    for (uint64_t i = 1; i < v->n_merges; i++) {
        const merge *a = &v->merges[i - 1], *b = &v->merges[i];
        bool tied = !(a->score > b->score);
        if (tied && !v->ties) {
            v->ties = calloc((size_t)(v->n_merges / 8 + 1), 1);
        }
        if (tied && !v->ties) {
            return fail(v->f, EXIT_RESOURCE, "%s: no memory for merges", v->g->name);
        }
        if (tied) {
            v->ties[i / 8] |= (uint8_t)(1 << i % 8);
        }
    }
    return EXIT_OK;
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

static const char *text_of(const vocabulary *v, gguf_string s)
{
    memcpy(v->text, s.text, (size_t)s.n_bytes);
    v->text[s.n_bytes] = 0;
    return v->text;
}

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

static int write_mark_steps(vocabulary *v, json_out *j)
{
    bool prefix = v->spm, squeeze = false;
    int code = gguf_get_bool(v->g, "tokenizer.ggml.add_space_prefix", &prefix, NULL, v->f);
    code =
        code ? code
             : gguf_get_bool(v->g, "tokenizer.ggml.remove_extra_whitespaces", &squeeze, NULL, v->f);
    if (code == EXIT_OK && squeeze) {
        return fail(v->f, EXIT_INPUT,
                    "%s: tokenizer.ggml.remove_extra_whitespaces is true: not supported; "
                    "--no-tokenizer converts the weights alone",
                    v->g->name);
    }
    begin_step(j, "normalizer", "Sequence");
    json_array(j, "normalizers");
    if (prefix) {
        begin_step(j, NULL, "Prepend");
        json_string(j, "prepend", MARK);
        json_object_end(j);
    }
    write_replace(j, " ", MARK);
    json_array_end(j);
    json_object_end(j);
    begin_step(j, "decoder", "Sequence");
    json_array(j, "decoders");
    write_replace(j, MARK, " ");
    begin_step(j, NULL, "ByteFallback");
    json_object_end(j);
    begin_step(j, NULL, "Fuse");
    json_object_end(j);
    if (prefix) {
        begin_step(j, NULL, "Strip");
        json_string(j, "content", " ");
        json_u64(j, "start", 1);
        json_u64(j, "stop", 0);
        json_object_end(j);
    }
    json_array_end(j);
    json_object_end(j);
    return code;
}

static int find_pre(const vocabulary *v, const pre_kind **kind)
{
    gguf_string name = {"", 0};
    char known[1024];
    int code = gguf_get_string(v->g, "tokenizer.ggml.pre", &name, NULL, v->f);
    if (code == EXIT_OK && name.n_bytes == 0) {
        note(
            v->w,
            "%s: tokenizer.ggml.pre is missing: text is cut by \"default\" rules, which may not be "
            "the model's own",
            v->g->name);
        name = (gguf_string){"default", 7};
    }
    *kind = code == EXIT_OK ? gguf_pre_find(name.text, (size_t)name.n_bytes) : NULL;
    if (code != EXIT_OK || *kind) {
        return code;
    }
    gguf_pre_names(known, sizeof known);
    return fail(v->f, EXIT_INPUT,
                "%s: tokenizer.ggml.pre \"%.*s\" is not supported (supported:%s); "
                "--no-tokenizer converts the weights alone",
                v->g->name, (int)(name.n_bytes < 40 ? name.n_bytes : 40), name.text, known);
}

static void write_byte_level(json_out *j, const char *key, bool regex)
{
    begin_step(j, key, "ByteLevel");
    json_bool(j, "add_prefix_space", false);
    json_bool(j, "trim_offsets", true);
    json_bool(j, "use_regex", regex);
    json_object_end(j);
}

static void write_bpe_steps(json_out *j, const pre_kind *kind)
{
    if (kind->nfc) {
        begin_step(j, "normalizer", "NFC");
        json_object_end(j);
    }
    begin_step(j, "pre_tokenizer", "Sequence");
    json_array(j, "pretokenizers");
    for (size_t i = 0; i < MAX_SPLITS && kind->splits[i]; i++) {
        begin_step(j, NULL, "Split");
        json_object(j, "pattern");
        json_string(j, "Regex", kind->splits[i]);
        json_object_end(j);
        json_string(j, "behavior", "Isolated");
        json_bool(j, "invert", false);
        json_object_end(j);
    }
    write_byte_level(j, NULL, kind->gpt2);
    json_array_end(j);
    json_object_end(j);
    write_byte_level(j, "decoder", true);
}

static bool is_text(gguf_string s, const char *text)
{
    return s.n_bytes == strlen(text) && memcmp(s.text, text, (size_t)s.n_bytes) == 0;
}

/* Does general.name say that this is Phi 3? Then control tokens take the white space behind them,
 * but for three. */
static int find_phi3(const vocabulary *v, bool *phi3)
{
    gguf_string name = {"", 0};
    int code = gguf_get_string(v->g, "general.name", &name, NULL, v->f);
    *phi3 = false;
    for (uint64_t i = 0; code == EXIT_OK && i + 4 <= name.n_bytes; i++) {
        uint64_t left = name.n_bytes - i;
        *phi3 = *phi3 || strncasecmp(name.text + i, "phi3", 4) == 0 ||
                (left > 4 && strncasecmp(name.text + i, "phi-3", 5) == 0);
    }
    return code;
}

static bool takes_behind(gguf_string s)
{
    return !is_text(s, "<unk>") && !is_text(s, "<s>") && !is_text(s, "<|endoftext|>");
}

static int write_added(vocabulary *v, const pre_kind *kind, json_out *j)
{
    bool phi3;
    int code = find_phi3(v, &phi3);
    json_array(j, "added_tokens");
    for (uint32_t i = 0; code == EXIT_OK && i < v->n; i++) {
        const piece *p = &v->pieces[i];
        bool special = p->type == TYPE_CONTROL || p->type == TYPE_UNKNOWN;
        if ((!special && p->type != TYPE_USER) || p->repeated || p->text.n_bytes == 0) {
            continue;
        }
        json_object(j, NULL);
        json_u64(j, "id", i);
        json_string_n(j, "content", p->text.text, p->text.n_bytes);
        json_bool(j, "single_word", false);
        json_bool(j, "lstrip", kind && kind->lstrip && is_text(p->text, kind->lstrip));
        json_bool(j, "rstrip", phi3 && takes_behind(p->text));
        json_bool(j, "normalized", false);
        json_bool(j, "special", special);
        json_object_end(j);
    }
    json_array_end(j);
    return code;
}

static void write_vocab(vocabulary *v, json_out *j)
{
    uint32_t n_left_out = 0;
    json_object(j, "vocab");
    for (uint32_t i = 0; i < v->n; i++) {
        const piece *p = &v->pieces[i];
        if (p->repeated || p->text.n_bytes == 0) {
            n_left_out++;
            continue;
        }
        json_u64(j, text_of(v, p->text), i);
    }
    json_object_end(j);
    if (n_left_out != 0) {
        note(v->w,
             "%s: %u tokens are empty or have the text of an earlier one: they are never made",
             v->g->name, n_left_out);
    }
}

/* "a b", as the key holds them. */
static int write_given_merges(vocabulary *v, json_out *j)
{
    const gguf_pair *merges;
    int code = gguf_get_array(v->g, "tokenizer.ggml.merges", GGUF_STRING, &merges, v->f);
    if (code == EXIT_OK && !merges) {
        return fail(v->f, EXIT_INPUT, "%s: tokenizer.ggml.merges is missing", v->g->name);
    }
    const uint8_t *cursor = code == EXIT_OK ? merges->value : NULL;
    json_array(j, "merges");
    for (uint64_t i = 0; code == EXIT_OK && i < merges->n_elements; i++) {
        gguf_string s = gguf_next_string(&cursor);
        json_string_n(j, NULL, s.text, s.n_bytes);
    }
    json_array_end(j);
    return code;
}

static void write_derived_merges(vocabulary *v, json_out *j)
{
    json_array(j, "merges");
    for (uint64_t i = 0; i < v->n_merges; i++) {
        const gguf_string *left = &v->pieces[v->merges[i].left].text;
        const gguf_string *right = &v->pieces[v->merges[i].right].text;
        json_array(j, NULL);
        json_string_n(j, NULL, left->text, left->n_bytes);
        json_string_n(j, NULL, right->text, right->n_bytes);
        json_array_end(j);
    }
    json_array_end(j);
}

static int write_model(vocabulary *v, const pre_kind *kind, json_out *j)
{
    int code = EXIT_OK;
    json_object(j, "model");
    json_string(j, "type", "BPE");
    if (v->marks) {
        json_bool(j, "byte_fallback", v->has_bytes);
        json_bool(j, "fuse_unk", true);
        if (v->unknown >= 0) {
            json_string(j, "unk_token", text_of(v, v->pieces[v->unknown].text));
        }
    }
    json_bool(j, "ignore_merges", kind && kind->ignore_merges);
    write_vocab(v, j);
    if (v->spm) {
        write_derived_merges(v, j);
    } else {
        code = write_given_merges(v, j);
    }
    json_object_end(j);
    return code;
}

static int write_tokenizer(vocabulary *v, const pre_kind *kind, char **text, size_t *n)
{
    FILE *stream = json_open_memory(text, n);
    if (!stream) {
        return fail(v->f, EXIT_RESOURCE, "%s: no memory", v->g->name);
    }
    json_out j;
    int code = EXIT_OK;
    json_begin(&j, stream, true);
    json_object(&j, NULL);
    json_string(&j, "version", "1.0");
    code = write_added(v, kind, &j);
    if (code == EXIT_OK && v->marks) {
        code = write_mark_steps(v, &j);
    } else if (code == EXIT_OK) {
        write_bpe_steps(&j, kind);
    }
    code = code ? code : write_model(v, kind, &j);
    json_object_end(&j);
    json_end(&j);
    return json_close_memory(stream) ? code
                                     : fail(v->f, EXIT_RESOURCE, "%s: no memory", v->g->name);
}

/* What tokenizer_config.json would say. */
static int write_config(vocabulary *v, const pre_kind *kind, char **text, size_t *n)
{
    bool bos = v->spm || kind->add_bos, eos = false, has_chat;
    gguf_string chat = {"", 0};
    int code = gguf_get_bool(v->g, "tokenizer.ggml.add_bos_token", &bos, NULL, v->f);
    code = code ? code : gguf_get_bool(v->g, "tokenizer.ggml.add_eos_token", &eos, NULL, v->f);
    code = code ? code : gguf_get_string(v->g, "tokenizer.chat_template", &chat, &has_chat, v->f);
    if (code != EXIT_OK) {
        return code;
    }
    FILE *stream = json_open_memory(text, n);
    if (!stream) {
        return fail(v->f, EXIT_RESOURCE, "%s: no memory", v->g->name);
    }
    json_out j;
    json_begin(&j, stream, true);
    json_object(&j, NULL);
    bos = bos || (kind && kind->force_bos);
    json_bool(&j, "add_bos_token", bos && v->config->bos_id >= 0);
    json_bool(&j, "add_eos_token", eos && v->config->n_stop_ids != 0);
    if (has_chat) {
        json_string_n(&j, "chat_template", chat.text, chat.n_bytes);
    }
    json_object_end(&j);
    json_end(&j);
    return json_close_memory(stream) ? EXIT_OK
                                     : fail(v->f, EXIT_RESOURCE, "%s: no memory", v->g->name);
}

static int find_kind(vocabulary *v, const pre_kind **kind)
{
    gguf_string model = {"", 0};
    int code = gguf_get_string(v->g, "tokenizer.ggml.model", &model, NULL, v->f);
    if (code != EXIT_OK) {
        return code;
    }
    v->spm = is_text(model, "llama");
    v->marks = v->spm || is_text(model, "gemma4");
    if (v->spm) {
        return EXIT_OK;
    }
    if (v->marks) { /* the one model of its kind: whatever tokenizer.ggml.pre says */
        *kind = gguf_pre_gemma4();
        return EXIT_OK;
    }
    if (is_text(model, "gpt2")) {
        return find_pre(v, kind);
    }
    return fail(v->f, EXIT_INPUT,
                "%s: tokenizer.ggml.model \"%.*s\" is not supported (supported: gpt2, llama, "
                "gemma4); --no-tokenizer converts the weights alone",
                v->g->name, (int)(model.n_bytes < 40 ? model.n_bytes : 40), model.text);
}

int gguf_tokenizer_read(gguf_model *m, notes *w, failure *f)
{
    vocabulary v = {.g = &m->parts[0].g, .f = f, .w = w, .config = &m->config, .unknown = -1};
    const pre_kind *kind = NULL;
    char *json = NULL, *config = NULL;
    size_t n_json = 0, n_config = 0;
    int code = find_kind(&v, &kind);
    code = code ? code : read_pieces(&v);
    code = code == EXIT_OK && v.spm ? derive_merges(&v) : code;
    code = code == EXIT_OK && !v.spm && v.named_control ? keep_merged(&v) : code;
    code = code ? code : write_tokenizer(&v, kind, &json, &n_json);
    code = code ? code : write_config(&v, kind, &config, &n_config);
    if (code == EXIT_OK) {
        const slm_config *c = &m->config;
        tokenizer_hints hints = {.n_vocab = c->n_vocab,
                                 .bos_id = c->bos_id,
                                 .eos_id = c->n_stop_ids ? c->stop_ids[0] : -1,
                                 .stop_ids = c->stop_ids,
                                 .n_stop_ids = c->n_stop_ids,
                                 .ties = v.ties};
        code = tokenizer_from_json(v.g->name, json, n_json, v.g->name, config, n_config, &hints,
                                   &m->tokenizer, f);
    }
    if (code == EXIT_OK) {
        note_lines(w, m->tokenizer.warnings);
    }
    free(json);
    free(config);
    free(v.pieces);
    free(v.slots);
    free(v.merges);
    free(v.ties);
    free(v.text);
    return code;
}
