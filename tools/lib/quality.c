/* quality.c - manifest, model, machine -> do they belong together; see quality.h. */
#include "lib/quality.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "lib/canonical_json.h"
#include "lib/sha256.h"

enum { HEADER_CHECKSUM_AT = 120, DRAWN_IDS = 32, TEXT_IDS = 64 };

static const char DIGEST_TEXT[] =
    "Two foxes met at the river. \"It is 7 degrees,\" said one, \"and the water is cold.\" The "
    "other "
    "laughed, jumped in, and swam to the island where the old boat lay.";

char *quality_path(const char *model_path)
{
    size_t n = strlen(model_path);
    char *path = (char *)malloc(n + sizeof QUALITY_SUFFIX);
    if (path) {
        memcpy(path, model_path, n);
        memcpy(path + n, QUALITY_SUFFIX, sizeof QUALITY_SUFFIX);
    }
    return path;
}

/* ---- The document ---------------------------------------------------------------------------- */

int quality_hash(const char *name, const json_t *manifest, char hex[static 65], failure *f)
{
    json_t *hashed = json_copy((json_t *)(uintptr_t)manifest);
    char *text = NULL;
    size_t n = 0;
    if (!hashed) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", name);
    }
    json_object_del(hashed, "manifest_sha256");
    json_object_del(hashed, "volatile");
    int code = canonical_json(name, hashed, &text, &n, f);
    if (code == EXIT_OK) {
        sha256 s;
        sha256_init(&s);
        sha256_update(&s, text, n);
        sha256_final_hex(&s, hex);
    }
    free(text);
    json_decref(hashed);
    return code;
}

/* A text that must be there; "" and *code set if it is not. */
static const char *text_of(const char *name, json_t *object, const char *key, int *code, failure *f)
{
    const char *text = "";
    bool found;
    if (*code == EXIT_OK) {
        *code = json_in_string(name, object, key, &text, &found, f);
        if (*code == EXIT_OK && !found) {
            *code = fail(f, EXIT_INPUT, "%s: %s is missing", name, key);
        }
    }
    return text;
}

static json_t *object_of(const char *name, const json_t *root, const char *key, int *code,
                         failure *f)
{
    json_t *object = json_object_get(root, key);
    if (*code == EXIT_OK && !json_is_object(object)) {
        *code = fail(f, EXIT_INPUT, "%s: %s must be an object", name, key);
    }
    return object;
}

static int check_document(const char *path, json_t *manifest, failure *f)
{
    char hex[65];
    int code = EXIT_OK;
    const char *schema = text_of(path, manifest, "schema", &code, f);
    if (code == EXIT_OK && strcmp(schema, QUALITY_SCHEMA) != 0) {
        code = fail(f, EXIT_INPUT, "%s: schema is \"%s\"; this version reads \"%s\"", path, schema,
                    QUALITY_SCHEMA);
    }
    const char *stated = text_of(path, manifest, "manifest_sha256", &code, f);
    code = code ? code : quality_hash(path, manifest, hex, f);
    if (code == EXIT_OK && strcmp(stated, hex) != 0) {
        code = fail(f, EXIT_CHECK,
                    "%s: the manifest was changed after it was written (its hash is %s, not %s); "
                    "run slm-eval gate again",
                    path, hex, stated);
    }
    return code;
}

int quality_read(const char *path, json_t **manifest, failure *f)
{
    char *text = NULL;
    size_t n = 0;
    json_t *root = NULL;
    int code = input_slurp(path, QUALITY_MAX_BYTES, &text, &n, f);
    code = code ? code : json_in_parse(path, text, n, &root, f);
    free(text);
    code = code ? code : check_document(path, root, f);
    if (code != EXIT_OK) {
        json_decref(root);
        return code;
    }
    *manifest = root;
    return EXIT_OK;
}

/* ---- The model ------------------------------------------------------------------------------- */

static int hash_file(input *in, char hex[static 65], failure *f)
{
    int code = input_map(in, f);
    if (code == EXIT_OK) {
        sha256 s;
        sha256_init(&s);
        sha256_update(&s, in->bytes, (size_t)in->n_bytes);
        sha256_final_hex(&s, hex);
        code = input_unchanged(in, f);
    }
    return code;
}

static int check_bytes(const char *path, json_t *subject, const char *model_path, failure *f)
{
    char sha[65], checksum[17] = "";
    uint8_t header[128];
    input in = {.fd = -1};
    int code = EXIT_OK;
    const char *want_sha = text_of(path, subject, "sha256", &code, f);
    const char *want_checksum = text_of(path, subject, "header_checksum", &code, f);
    code = code ? code : input_open(model_path, &in, f);
    code = code ? code : input_read_at(&in, 0, header, sizeof header, f);
    if (code == EXIT_OK) {
        snprintf(checksum, sizeof checksum, "%016" PRIx64, load_u64(header + HEADER_CHECKSUM_AT));
        if (strcmp(checksum, want_checksum) != 0) { /* tells other files in no time */
            code =
                fail(f, EXIT_CHECK, "%s: is for other bytes than %s (header checksum %s, not %s)",
                     path, model_path, want_checksum, checksum);
        }
    }
    code = code ? code : hash_file(&in, sha, f);
    if (code == EXIT_OK && strcmp(sha, want_sha) != 0) {
        code = fail(f, EXIT_CHECK, "%s: is for other bytes than %s (SHA-256 %s, not %s)", path,
                    model_path, want_sha, sha);
    }
    input_close(&in);
    return code;
}

int quality_check_subject(const char *path, const json_t *manifest, const char *model_path,
                          failure *f)
{
    int code = EXIT_OK;
    json_t *root = (json_t *)(uintptr_t)manifest;
    json_t *subject = object_of(path, root, "subject", &code, f);
    const char *result = text_of(path, root, "result", &code, f);
    code = code ? code : check_bytes(path, subject, model_path, f);
    if (code == EXIT_OK && strcmp(result, "passed") != 0) {
        code = fail(f, EXIT_CHECK, "%s: the quality gate's verdict on %s is \"%s\", not \"passed\"",
                    path, model_path, result);
    }
    return code;
}

/* ---- The machine ----------------------------------------------------------------------------- */

static void add_row(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    (void)index;
    slm_hash_update((slm_hash *)user, logits, (size_t)n_vocab * sizeof *logits);
}

/* Evaluates each prompt from an empty session; the hash takes every position's logits. */
static int hash_prompts(model_file *m, const json_t *prompts, slm_hash *hash, failure *f)
{
    slm_eval_options options = {.every_position = add_row, .user = hash};
    size_t i, k;
    json_t *prompt, *id;
    json_array_foreach(prompts, i, prompt)
    {
        int32_t ids[QUALITY_MAX_PROMPT];
        slm_error error;
        json_array_foreach(prompt, k, id)
        {
            ids[k] = (int32_t)json_integer_value(id);
        }
        slm_session_truncate(m->session, 0, 0);
        if (slm_session_eval(m->session, ids, json_array_size(prompt), &options, &error) !=
            SLM_OK) {
            return fail_status(f, m->path, &error);
        }
    }
    return EXIT_OK;
}

static int run_prompts(model_file *m, const json_t *prompts, uint32_t n_threads, uint64_t *digest,
                       failure *f)
{
    slm_session_options options = {.n_context = QUALITY_MAX_PROMPT};
    if (options.n_context > m->info.n_context) {
        options.n_context = m->info.n_context;
    }
    slm_hash hash;
    slm_hash_init(&hash, 0);
    int code = model_file_start(m, &options, n_threads, f);
    code = code ? code : hash_prompts(m, prompts, &hash, f);
    *digest = slm_hash_final(&hash);
    return code;
}

/* Prompts as a manifest must have them: every id in the vocabulary, every length in the context. */
static int check_prompts(const char *path, const json_t *prompts, const slm_model_info *info,
                         failure *f)
{
    size_t i, k, n = json_array_size(prompts);
    json_t *prompt, *id;
    if (n < 1 || n > QUALITY_MAX_PROMPTS) {
        return fail(f, EXIT_INPUT, "%s: logits_digest.prompts must be 1 to %d lists of token ids",
                    path, QUALITY_MAX_PROMPTS);
    }
    json_array_foreach(prompts, i, prompt)
    {
        size_t length = json_array_size(prompt);
        if (length < 1 || length > QUALITY_MAX_PROMPT || length > info->n_context) {
            return fail(f, EXIT_INPUT, "%s: logits_digest.prompts[%zu] has %zu token ids", path, i,
                        length);
        }
        json_array_foreach(prompt, k, id)
        {
            json_int_t value = json_integer_value(id);
            if (!json_is_integer(id) || value < 0 || value >= (json_int_t)info->n_vocab) {
                return fail(f, EXIT_INPUT,
                            "%s: logits_digest.prompts[%zu][%zu] is no token id of the model", path,
                            i, k);
            }
        }
    }
    return EXIT_OK;
}

int quality_check_digest(const char *path, const json_t *manifest, const char *model_path,
                         const char *kernels, uint32_t n_threads, failure *f)
{
    model_file m = {.path = model_path, .file = {.fd = -1}};
    int code = EXIT_OK;
    json_t *stated = object_of(path, manifest, "logits_digest", &code, f);
    const char *want = text_of(path, stated, "value", &code, f);
    const json_t *prompts = json_object_get(stated, "prompts");
    uint64_t digest = 0;
    char got[17];
    code = code ? code : model_file_open(&m, model_path, kernels, MODEL_CHECK_ALL, f);
    code = code ? code : check_prompts(path, prompts, &m.info, f);
    code = code ? code : run_prompts(&m, prompts, n_threads, &digest, f);
    snprintf(got, sizeof got, "%016" PRIx64, digest);
    if (code == EXIT_OK && strcmp(got, want) != 0) {
        code = fail(f, EXIT_CHECK,
                    "%s: this machine (kernels %s) does not compute what the manifest promises: "
                    "logits digest %s, not %s",
                    path, m.info.kernels, got, want);
    }
    model_file_close(&m);
    return code;
}

int quality_prove(const char *path, const char *model_path, const char *kernels, uint32_t n_threads,
                  failure *f)
{
    char *own = path ? NULL : quality_path(model_path);
    json_t *manifest = NULL;
    int code = EXIT_OK;
    if (!path && !own) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", model_path);
    }
    if (!path && access(own, F_OK) != 0) {
        code =
            fail(f, EXIT_CHECK,
                 "%s: has no quality manifest; slm-eval gate writes one as %s after measuring it",
                 model_path, own);
    }
    const char *used = path ? path : own;
    code = code ? code : quality_read(used, &manifest, f);
    code = code ? code : quality_check_subject(used, manifest, model_path, f);
    code = code ? code : quality_check_digest(used, manifest, model_path, kernels, n_threads, f);
    json_decref(manifest);
    free(own);
    return code;
}

/* ---- Making a digest ------------------------------------------------------------------------- */

static json_t *ids_json(const int32_t *ids, size_t n)
{
    json_t *list = json_array();
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        failed |= json_array_append_new(list, json_integer(ids[i]));
    }
    if (failed) {
        json_decref(list);
        return NULL;
    }
    return list;
}

/* SplitMix64 from 1: ids that no text would give reach rows of the embedding that no text does. */
static json_t *drawn_prompt(const slm_model_info *info)
{
    int32_t ids[DRAWN_IDS];
    uint64_t state = 1;
    size_t n = DRAWN_IDS < info->n_context ? DRAWN_IDS : info->n_context;
    for (size_t i = 0; i < n; i++) {
        uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        ids[i] = (int32_t)((z ^ z >> 31) % info->n_vocab);
    }
    return ids_json(ids, n);
}

static int make_prompts(const model_file *m, json_t **prompts, failure *f)
{
    int failed = 0, code = EXIT_OK;
    *prompts = json_array();
    if (m->tokenizer) {
        int32_t *ids = NULL;
        size_t n = 0;
        code = encode_text(m, DIGEST_TEXT, sizeof DIGEST_TEXT - 1, SLM_ENCODE_SPECIAL, &ids, &n, f);
        n = n > TEXT_IDS ? TEXT_IDS : n;
        n = n > m->info.n_context ? m->info.n_context : n;
        if (code == EXIT_OK && n != 0) {
            failed |= json_array_append_new(*prompts, ids_json(ids, n));
        }
        free(ids);
    }
    failed |= json_array_append_new(*prompts, drawn_prompt(&m->info));
    return code || !failed ? code : fail(f, EXIT_RESOURCE, "%s: no memory", m->path);
}

int quality_digest(const char *model_path, const char *kernels, uint32_t n_threads, json_t **digest,
                   failure *f)
{
    model_file m = {.path = model_path, .file = {.fd = -1}};
    json_t *prompts = NULL;
    uint64_t value = 0;
    char text[17];
    int code = model_file_open(&m, model_path, kernels, MODEL_CHECK_ALL, f);
    code = code ? code : make_prompts(&m, &prompts, f);
    code = code ? code : run_prompts(&m, prompts, n_threads, &value, f);
    model_file_close(&m);
    if (code == EXIT_OK) {
        snprintf(text, sizeof text, "%016" PRIx64, value);
        *digest = json_pack("{s:s, s:O, s:s}", "kv", "f16", "prompts", prompts, "value", text);
        code = *digest ? EXIT_OK : fail(f, EXIT_RESOURCE, "%s: no memory", model_path);
    }
    json_decref(prompts);
    return code;
}
