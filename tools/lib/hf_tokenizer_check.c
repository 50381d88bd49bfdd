/* hf_tokenizer_check.c - two accounts of one tokenizer -> where they disagree. */
#include "lib/hf_tokenizer_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hf_model_files.h"
#include "lib/input.h"
#include "lib/json_in.h"
#include "lib/scored_pieces.h"

enum { MAP_LIMIT = 1 << 20, MODEL_LIMIT = 256 << 20 };

/* The file's bytes, malloc'd, or NULL. */
static char *read_file(const char *folder, const char *name, uint64_t limit, size_t *n)
{
    failure ignored = {0};
    char *path = hf_path(folder, name), *text = NULL;
    if (path) {
        input_slurp(path, limit, &text, n, &ignored);
    }
    free(path);
    return text;
}

/* A special token is written as text or as an object with its text in "content"; NULL: none. */
static const char *token_text(const json_t *root, const char *key)
{
    const json_t *value = json_object_get(root, key);
    const json_t *content = json_is_object(value) ? json_object_get(value, "content") : value;
    return json_string_value(content);
}

void hf_check_special_tokens(const char *folder, const char *config, size_t n_config, notes *w)
{
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token", "pad_token"};
    failure ignored = {0};
    json_t *map = NULL, *own = NULL;
    size_t n = 0;
    char *text = config ? read_file(folder, "special_tokens_map.json", MAP_LIMIT, &n) : NULL;
    if (text && json_in_parse("", text, n, &map, &ignored) == EXIT_OK &&
        json_in_parse_reals("", config, n_config, &own, &ignored) == EXIT_OK) {
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
            const char *there = token_text(map, keys[i]), *here = token_text(own, keys[i]);
            if (there && here && strcmp(there, here) != 0) {
                note(w,
                     "special_tokens_map.json: %s is \"%.60s\", but tokenizer_config.json says "
                     "\"%.60s\", which is used",
                     keys[i], there, here);
            }
        }
    }
    json_decref(map);
    json_decref(own);
    free(text);
}

/* Contents of added tokens -> their ids: a new reference, NULL without memory. */
static json_t *map_added(const json_t *added)
{
    json_t *map = json_object();
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *item = json_array_get(added, i);
        const json_t *content = json_object_get(item, "content");
        json_object_setn(map, json_is_string(content) ? json_string_value(content) : "",
                         json_string_length(content), json_object_get(item, "id"));
    }
    return map;
}

/* The id of a piece in tokenizer.json, or -1. */
static json_int_t id_of(const json_t *vocab, const json_t *added, const scored_piece *piece)
{
    const char *text = (const char *)piece->bytes;
    const json_t *id = json_object_getn(vocab, text, piece->n_bytes);
    id = id ? id : json_object_getn(added, text, piece->n_bytes);
    return json_is_integer(id) ? json_integer_value(id) : -1;
}

static void compare_pieces(const scored_pieces *s, const json_t *root, notes *w)
{
    const json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    json_t *added = map_added(json_object_get(root, "added_tokens"));
    uint32_t n_wrong = 0, first = 0;
    for (uint32_t i = 0; i < s->n && json_is_object(vocab); i++) {
        if (id_of(vocab, added, &s->pieces[i]) != (json_int_t)i) {
            first = n_wrong++ == 0 ? i : first;
        }
    }
    if (n_wrong != 0) {
        const scored_piece *p = &s->pieces[first];
        json_int_t there = id_of(vocab, added, p);
        char here[32] = "no token";
        if (there >= 0) {
            snprintf(here, sizeof here, "token %lld", (long long)there);
        }
        note(w,
             "tokenizer.model and tokenizer.json disagree on %u of %u tokens, such as \"%.*s\": "
             "token %u there, %s here; tokenizer.json is used",
             n_wrong, s->n, (int)(p->n_bytes < 60 ? p->n_bytes : 60), (const char *)p->bytes, first,
             here);
    }
    json_decref(added);
}

void hf_check_pieces(const char *folder, const char *json, size_t n_json, notes *w)
{
    failure ignored = {0};
    json_t *root = NULL;
    scored_pieces pieces = {0};
    size_t n = 0;
    char *text = read_file(folder, "tokenizer.model", MODEL_LIMIT, &n);
    if (text && sentencepiece_parse("", (const uint8_t *)text, n, &pieces, &ignored) == EXIT_OK &&
        json_in_parse("", json, n_json, &root, &ignored) == EXIT_OK) {
        compare_pieces(&pieces, root, w);
    }
    scored_pieces_free(&pieces);
    json_decref(root);
    free(text);
}
