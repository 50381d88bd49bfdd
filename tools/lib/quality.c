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

/* The digest of all logits of one prompt, evaluated from an empty session. */
static int digest_prompt(model_file *m, const json_t *prompt, char digest[static 17], failure *f)
{
    int32_t ids[QUALITY_MAX_PROMPT];
    size_t n = json_array_size(prompt);
    slm_hash hash;
    slm_error error;
    slm_eval_options options = {.every_position = add_row, .user = &hash};
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(prompt, i));
    }
    slm_hash_init(&hash, 0);
    slm_session_truncate(m->session, 0, 0);
    if (slm_session_eval(m->session, ids, n, &options, &error) != SLM_OK) {
        return fail_status(f, m->path, &error);
    }
    snprintf(digest, 17, "%016" PRIx64, slm_hash_final(&hash));
    return EXIT_OK;
}

static int start_session(model_file *m, uint32_t n_threads, failure *f)
{
    uint32_t trained = m->info.n_context;
    slm_session_options options = {.n_context =
                                       trained < QUALITY_MAX_PROMPT ? trained : QUALITY_MAX_PROMPT};
    return model_file_start(m, &options, n_threads, f);
}

/* Prompts as a manifest must have them: every id in the vocabulary, every length in the context. */
static int check_prompts(const char *path, const json_t *prompts, const slm_model_info *info,
                         failure *f)
{
    size_t i, k, n = json_array_size(prompts);
    json_t *prompt, *id;
    if (n < 1 || n > QUALITY_MAX_PROMPTS) {
        return fail(f, EXIT_INPUT, "%s: logits_digest.prompts must be a list of 1 to %d", path,
                    QUALITY_MAX_PROMPTS);
    }
    json_array_foreach(prompts, i, prompt)
    {
        const json_t *ids = json_object_get(prompt, "ids");
        size_t length = json_array_size(ids);
        if (length < 1 || length > QUALITY_MAX_PROMPT || length > info->n_context) {
            return fail(f, EXIT_INPUT, "%s: logits_digest.prompts[%zu] has %zu ids", path, i,
                        length);
        }
        json_array_foreach(ids, k, id)
        {
            json_int_t value = json_integer_value(id);
            if (!json_is_integer(id) || value < 0 || value >= (json_int_t)info->n_vocab) {
                return fail(f, EXIT_INPUT,
                            "%s: logits_digest.prompts[%zu].ids[%zu] is no token id of the model",
                            path, i, k);
            }
        }
    }
    return EXIT_OK;
}

static int check_prompt(const char *path, model_file *m, json_t *prompt, failure *f)
{
    char got[17];
    int code = EXIT_OK;
    const char *want = text_of(path, prompt, "digest", &code, f);
    code = code ? code : digest_prompt(m, json_object_get(prompt, "ids"), got, f);
    if (code == EXIT_OK && strcmp(got, want) != 0) {
        code = fail(f, EXIT_CHECK,
                    "%s: this machine (kernels %s) does not compute what the manifest promises: "
                    "logits digest %s, not %s",
                    path, m->info.kernels, got, want);
    }
    return code;
}

int quality_check_digest(const char *path, const json_t *manifest, const char *model_path,
                         const char *kernels, uint32_t n_threads, failure *f)
{
    model_file m = {.path = model_path, .file = {.fd = -1}};
    int code = EXIT_OK;
    json_t *stated = object_of(path, manifest, "logits_digest", &code, f);
    const json_t *prompts = json_object_get(stated, "prompts");
    code = code ? code : model_file_open(&m, model_path, kernels, MODEL_CHECK_ALL, f);
    code = code ? code : check_prompts(path, prompts, &m.info, f);
    code = code ? code : start_session(&m, n_threads, f);
    for (size_t i = 0; i < json_array_size(prompts) && code == EXIT_OK; i++) {
        code = check_prompt(path, &m, json_array_get(prompts, i), f);
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

/* Appends a prompt with its digest. ids: a new reference, or NULL without memory. */
static int add_prompt(model_file *m, json_t *prompts, json_t *ids, failure *f)
{
    char digest[17];
    int code = digest_prompt(m, ids, digest, f);
    if (code == EXIT_OK && json_array_append_new(prompts, json_pack("{s:o, s:s}", "ids", ids,
                                                                    "digest", digest)) != 0) {
        code = fail(f, EXIT_RESOURCE, "%s: no memory", m->path);
    }
    return code;
}

static int make_prompts(model_file *m, json_t *prompts, failure *f)
{
    int code = EXIT_OK;
    if (m->tokenizer) {
        int32_t *ids = NULL;
        size_t n = 0;
        code = encode_text(m, DIGEST_TEXT, sizeof DIGEST_TEXT - 1, SLM_ENCODE_SPECIAL, &ids, &n, f);
        n = n > TEXT_IDS ? TEXT_IDS : n;
        n = n > m->info.n_context ? m->info.n_context : n;
        if (code == EXIT_OK && n != 0) {
            code = add_prompt(m, prompts, ids_json(ids, n), f);
        }
        free(ids);
    }
    return code ? code : add_prompt(m, prompts, drawn_prompt(&m->info), f);
}

int quality_digest(const char *model_path, const char *kernels, uint32_t n_threads, json_t **digest,
                   failure *f)
{
    model_file m = {.path = model_path, .file = {.fd = -1}};
    json_t *prompts = json_array();
    int code = model_file_open(&m, model_path, kernels, MODEL_CHECK_ALL, f);
    code = code ? code : start_session(&m, n_threads, f);
    code = code ? code : make_prompts(&m, prompts, f);
    model_file_close(&m);
    if (code == EXIT_OK) {
        *digest = json_pack("{s:s, s:O}", "kv", "f16", "prompts", prompts);
        code = *digest ? EXIT_OK : fail(f, EXIT_RESOURCE, "%s: no memory", model_path);
    }
    json_decref(prompts);
    return code;
}
