/* tokenizer_merges.c - merges.txt -> the text of a tokenizer.json, from which the one reader of
 * tokenizers builds the payload. What is wrong with a line is said here, where its number is known.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/json_in.h" /* before json_out.h, which takes its names */

#include "lib/byte_alphabet.h"
#include "lib/input.h"
#include "lib/tokenizer_export.h"
#include "lib/tokenizer_merges.h"
#include "text/payload.h"

enum { MAX_LIST = 256 << 20 };

typedef struct piece {
    const char *text; /* in the alphabet */
    uint32_t n_bytes;
} piece;

typedef struct merge {
    piece left, right, whole;
    uint32_t line;
} merge;

typedef struct merges_reader {
    const merges_text *list, *vocab_text;
    const tokenizer_rules *rules;
    merge *merges;
    uint32_t n_merges, room;
    char *pool; /* the wholes: no longer than the list */
    json_t *vocab;
    json_int_t highest; /* id in vocab */
    failure *f;
} merges_reader;

static int refuse_line(const merges_reader *r, uint32_t line, const char *why)
{
    return fail(r->f, EXIT_INPUT, "%s: line %u %s", r->list->name, line, why);
}

/* ---- Lines ----------------------------------------------------------------------------------- */

/* The length of a run of the alphabet's characters. */
static size_t alphabet_run(const char *text, size_t n)
{
    size_t pos = 0;
    while (pos < n) {
        uint32_t c, length = slm_utf8_decode((const uint8_t *)text + pos, n - pos, &c);
        if (alphabet_byte(c) < 0) {
            break;
        }
        pos += length;
    }
    return pos;
}

static int add_merge(merges_reader *r, const merge *m)
{
    if (r->n_merges == BPE1_MAX_MERGES) {
        return fail(r->f, EXIT_INPUT, "%s: more than %d merges", r->list->name, BPE1_MAX_MERGES);
    }
    if (r->n_merges == r->room) {
        uint32_t room = r->room ? 2 * r->room : 4096;
        merge *grown = (merge *)realloc(r->merges, (size_t)room * sizeof *grown);
        if (!grown) {
            return fail(r->f, EXIT_RESOURCE, "%s: no memory", r->list->name);
        }
        r->merges = grown;
        r->room = room;
    }
    r->merges[r->n_merges++] = *m;
    return EXIT_OK;
}

static int read_line(merges_reader *r, const char *text, size_t n, uint32_t line, char **pool)
{
    size_t left = alphabet_run(text, n);
    size_t right = left < n && text[left] == ' ' ? alphabet_run(text + left + 1, n - left - 1) : 0;
    if (n == 0) {
        return refuse_line(r, line, "is empty");
    }
    if (left == 0 || right == 0 || left + 1 + right != n) {
        return refuse_line(r, line,
                           "is not two tokens, written in GPT-2's alphabet for bytes, with one "
                           "space between them");
    }
    if (left + right > UINT16_MAX) {
        return refuse_line(r, line, "makes a token longer than 65535 bytes");
    }
    merge m = {.left = {text, (uint32_t)left},
               .right = {text + left + 1, (uint32_t)right},
               .whole = {*pool, (uint32_t)(left + right)},
               .line = line};
    memcpy(*pool, text, left);
    memcpy(*pool + left, text + left + 1, right);
    *pool += left + right;
    return add_merge(r, &m);
}

static int read_lines(merges_reader *r)
{
    const char *at = r->list->text, *end = at + r->list->n_bytes;
    char *pool = r->pool;
    int code = EXIT_OK;
    for (uint32_t line = 1; at < end && code == EXIT_OK; line++) {
        const char *stop = (const char *)memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((stop ? stop : end) - at);
        const char *next = stop ? stop + 1 : end;
        n -= n > 0 && at[n - 1] == '\r';
        bool version = line == 1 && n >= 8 && memcmp(at, "#version", 8) == 0;
        bool last = next == end && n == 0;
        code = version || last ? EXIT_OK : read_line(r, at, n, line, &pool);
        at = next;
    }
    return code;
}

/* ---- Ids ------------------------------------------------------------------------------------- */

static int no_memory(const merges_reader *r)
{
    return fail(r->f, EXIT_RESOURCE, "%s: no memory", r->list->name);
}

/* The bytes, then what the merges make. */
static int number_tokens(merges_reader *r)
{
    r->vocab = json_pack("{}");
    bool good = r->vocab != NULL;
    for (uint32_t c = 0x21; c <= 0x143 && good; c++) {
        char text[4];
        size_t n = slm_utf8_encode((uint8_t *)text, c);
        if (alphabet_byte(c) >= 0) {
            good = json_object_setn_new(r->vocab, text, n, json_integer(++r->highest)) == 0;
        }
    }
    for (uint32_t i = 0; i < r->n_merges && good; i++) {
        const piece *p = &r->merges[i].whole;
        if (!json_object_getn(r->vocab, p->text, p->n_bytes)) {
            good = json_object_setn_new(r->vocab, p->text, p->n_bytes,
                                        json_integer(++r->highest)) == 0;
        }
    }
    return good ? EXIT_OK : no_memory(r);
}

static int read_vocab(merges_reader *r)
{
    const char *key;
    json_t *value;
    int code = json_in_parse(r->vocab_text->name, r->vocab_text->text, r->vocab_text->n_bytes,
                             &r->vocab, r->f);
    if (code != EXIT_OK) {
        return code;
    }
    json_object_foreach(r->vocab, key, value)
    {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id >= BPE1_MAX_TOKENS) {
            char what[96];
            snprintf(what, sizeof what, "a whole number from 0 to %d", BPE1_MAX_TOKENS - 1);
            return json_in_refuse(r->vocab_text->name, key, what, value, r->f);
        }
        r->highest = id > r->highest ? id : r->highest;
    }
    return EXIT_OK;
}

static bool is_special(const merges_reader *r, const piece *p)
{
    for (uint32_t i = 0; i < r->rules->n_specials; i++) {
        const char *text = r->rules->specials[i];
        if (strlen(text) == p->n_bytes && memcmp(text, p->text, p->n_bytes) == 0) {
            return true;
        }
    }
    return false;
}

static int check_pieces(const merges_reader *r)
{
    for (uint32_t i = 0; i < r->n_merges; i++) {
        const merge *m = &r->merges[i];
        const piece *pieces[3] = {&m->left, &m->right, &m->whole};
        for (int k = 0; k < 3; k++) {
            int n = pieces[k]->n_bytes < 64 ? (int)pieces[k]->n_bytes : 64;
            if (is_special(r, pieces[k])) {
                return fail(r->f, EXIT_INPUT,
                            "%s: line %u %s \"%.*s\", which as a control token no text becomes",
                            r->list->name, m->line, k < 2 ? "names" : "makes", n, pieces[k]->text);
            }
            if (json_object_getn(r->vocab, pieces[k]->text, pieces[k]->n_bytes)) {
                continue;
            }
            return r->vocab_text
                       ? fail(r->f, EXIT_INPUT, "%s: line %u %s \"%.*s\", which is not in %s",
                              r->list->name, m->line, k < 2 ? "names" : "makes", n, pieces[k]->text,
                              r->vocab_text->name)
                       : fail(r->f, EXIT_INPUT,
                              "%s: line %u names \"%.*s\", which is no byte and no line makes",
                              r->list->name, m->line, n, pieces[k]->text);
        }
    }
    return EXIT_OK;
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

static void write_added(merges_reader *r, json_out *j)
{
    json_int_t next = r->highest + 1;
    json_array(j, "added_tokens");
    for (uint32_t i = 0; i < r->rules->n_specials; i++) {
        const char *text = r->rules->specials[i];
        json_t *id = json_object_get(r->vocab, text);
        tokenizer_export_added(j, (uint32_t)(id ? json_integer_value(id) : next++), text,
                               strlen(text), ADDED_CONTROL, false);
    }
    json_array_end(j);
}

static void write_model(const merges_reader *r, json_out *j)
{
    const char *key;
    json_t *value;
    json_object(j, "model");
    json_string(j, "type", "BPE");
    json_object(j, "vocab");
    json_object_foreach(r->vocab, key, value)
    {
        json_u64(j, key, (uint64_t)json_integer_value(value));
    }
    json_object_end(j);
    json_array(j, "merges");
    for (uint32_t i = 0; i < r->n_merges; i++) {
        const merge *m = &r->merges[i];
        json_string_n(j, NULL, m->left.text, m->left.n_bytes + 1 + m->right.n_bytes);
    }
    json_array_end(j);
    json_object_end(j);
}

static void write_config(const tokenizer_rules *rules, json_out *j)
{
    json_object(j, NULL);
    if (rules->bos) {
        json_string(j, "bos_token", rules->bos);
    }
    if (rules->eos) {
        json_string(j, "eos_token", rules->eos);
    }
    json_bool(j, "add_bos_token", rules->add_bos);
    json_bool(j, "add_eos_token", rules->add_eos);
    json_object_end(j);
}

static int write_document(merges_reader *r, bool config, char **text, size_t *n)
{
    FILE *stream = json_open_memory(text, n);
    if (!stream) {
        return no_memory(r);
    }
    json_out j;
    json_begin(&j, stream, true);
    if (config) {
        write_config(r->rules, &j);
    } else {
        json_object(&j, NULL);
        json_string(&j, "version", "1.0");
        write_added(r, &j);
        tokenizer_export_steps(&j, rules_flags(r->rules), r->rules->pre, NULL,
                               r->rules->prefix_space ? PREFIX_UNLESS : PREFIX_NONE);
        write_model(r, &j);
        json_object_end(&j);
    }
    json_end(&j);
    return json_close_memory(stream) ? EXIT_OK : no_memory(r);
}

/* Tokens that neither are bytes nor come from a merge: control tokens, most likely. */
static void warn_unmade(const merges_reader *r, tokenizer_payload *payload)
{
    const char *key;
    json_t *value, *made = json_pack("{}");
    char first[65] = "";
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n_merges && made; i++) {
        const piece *p = &r->merges[i].whole;
        json_object_setn_new(made, p->text, p->n_bytes, json_true());
    }
    for (uint32_t i = 0; i < r->rules->n_specials && made; i++) {
        json_object_set_new(made, r->rules->specials[i], json_true());
    }
    json_object_foreach(r->vocab, key, value)
    {
        uint32_t c;
        size_t length = strlen(key);
        if (made && !json_object_get(made, key) &&
            slm_utf8_decode((const uint8_t *)key, length, &c) != length && n++ == 0) {
            snprintf(first, sizeof first, "%s", key);
        }
    }
    json_decref(made);
    size_t used = strlen(payload->warnings);
    if (n != 0) {
        snprintf(payload->warnings + used, sizeof payload->warnings - used,
                 "%s: no merge makes %u of its tokens, such as \"%s\"; --special TOKEN makes a "
                 "control token of one\n",
                 r->vocab_text->name, n, first);
    }
}

int tokenizer_from_merges_text(const merges_text *list, const merges_text *vocab,
                               const tokenizer_rules *rules, tokenizer_payload *payload, failure *f)
{
    merges_reader r = {.list = list, .vocab_text = vocab, .rules = rules, .highest = -1, .f = f};
    char *json = NULL, *config = NULL;
    size_t n_json = 0, n_config = 0;
    memset(payload, 0, sizeof *payload);
    r.pool = (char *)malloc(list->n_bytes + 1);
    int code = r.pool ? read_lines(&r) : no_memory(&r);
    if (code == EXIT_OK) {
        code = vocab ? read_vocab(&r) : number_tokens(&r);
    }
    code = code ? code : check_pieces(&r);
    code = code ? code : write_document(&r, false, &json, &n_json);
    code = code ? code : write_document(&r, true, &config, &n_config);
    code = code ? code
                : tokenizer_from_json(list->name, json, n_json, list->name, config, n_config, NULL,
                                      payload, f);
    if (code == EXIT_OK && vocab) {
        warn_unmade(&r, payload);
    }
    json_decref(r.vocab);
    free(json);
    free(config);
    free(r.merges);
    free(r.pool);
    return code;
}

int tokenizer_from_merges(const char *list, const char *vocab, const tokenizer_rules *rules,
                          tokenizer_payload *payload, failure *f)
{
    char *list_text = NULL, *vocab_text = NULL;
    merges_text l = {.name = list}, v = {.name = vocab};
    int code = input_slurp(list, MAX_LIST, &list_text, &l.n_bytes, f);
    if (code == EXIT_OK && vocab) {
        code = input_slurp(vocab, MAX_LIST, &vocab_text, &v.n_bytes, f);
    }
    l.text = list_text;
    v.text = vocab_text;
    code = code ? code : tokenizer_from_merges_text(&l, vocab ? &v : NULL, rules, payload, f);
    free(list_text);
    free(vocab_text);
    return code;
}
