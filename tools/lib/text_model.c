/* text_model.c - opens a tokenizer by itself, without weights. */
#include "lib/text_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "format/slm_file.h"
#include "lib/gguf_model.h"
#include "lib/scored_pieces.h"
#include "lib/tokenizer_merges.h"
#include "text/chat.h"
#include "text/payload.h"
#include "text/tokenizer.h"

enum { MAX_JSON = 256 << 20, MAX_CONFIG = 16 << 20 };

#define GGUF_MAGIC 0x46554747u      /* "GGUF" */
#define GGUF_BIG_ENDIAN 0x47475546u /* which its reader refuses by name */

/* m->payload and m->chat -> a tokenizer. */
static int open_payload(text_model *m, failure *f)
{
    slm_error error = {0};
    slm_tokenizer *t = NULL;
    slm_arena arena = arena_measure();
    slm_status status = slm_tokenizer_open(&t, &arena, m->payload, m->n_payload, &error);
    if (status == SLM_OK) {
        if (posix_memalign(&m->memory, 64, arena.used) != 0) {
            m->memory = NULL;
            return fail(f, EXIT_RESOURCE, "%s: no memory", m->path);
        }
        arena = arena_over(m->memory, arena.used);
        status = slm_tokenizer_open(&t, &arena, m->payload, m->n_payload, &error);
    }
    const slm_chat *opened = NULL;
    if (status == SLM_OK && m->chat) {
        status = slm_chat_open(&opened, m->chat, m->n_chat, t, &error);
    }
    if (status != SLM_OK) {
        return fail_status(f, m->path, &error);
    }
    m->tokenizer = t;
    m->has_chat = opened != NULL;
    m->kind = load_u32(m->payload) == BTOK_MAGIC ? "BTOK" : "BPE1";
    return EXIT_OK;
}

static int open_built(text_model *m, failure *f)
{
    m->payload = m->built.tokenizer;
    m->n_payload = m->built.n_tokenizer;
    m->chat = m->built.chat;
    m->n_chat = m->built.n_chat;
    m->chat_text = m->built.chat_text;
    m->n_chat_text = m->built.n_chat_text;
    return open_payload(m, f);
}

static void clear(text_model *m, const char *path)
{
    memset(m, 0, sizeof *m);
    m->file.fd = -1;
    m->path = path;
}

int text_model_adopt(text_model *m, const char *path, tokenizer_payload *payload, failure *f)
{
    clear(m, path);
    m->built = *payload;
    *payload = (tokenizer_payload){0};
    memcpy(m->warnings, m->built.warnings, sizeof m->warnings);
    return open_built(m, f);
}

static int note_file(text_model *m, const char *path, failure *f)
{
    char *copy = strdup(path);
    if (!copy) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", path);
    }
    m->files[m->n_files++] = copy;
    return EXIT_OK;
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

/* The first n bytes of folder, then name: malloc'd if there is such a file, else NULL. */
static int find_file(const char *folder, size_t n, const char *name, char **path, failure *f)
{
    size_t n_name = strlen(name) + 1;
    *path = (char *)malloc(n + n_name);
    if (!*path) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", folder);
    }
    memcpy(*path, folder, n);
    memcpy(*path + n, name, n_name);
    if (access(*path, F_OK) != 0) {
        free(*path);
        *path = NULL;
    }
    return EXIT_OK;
}

static int open_json(text_model *m, failure *f)
{
    char *json = NULL, *config = NULL, *config_path = NULL;
    const char *slash = strrchr(m->path, '/');
    size_t n_json = 0, n_config = 0, n_folder = slash ? (size_t)(slash - m->path) + 1 : 0;
    int code = find_file(m->path, n_folder, "tokenizer_config.json", &config_path, f);
    code = code ? code : input_slurp(m->path, MAX_JSON, &json, &n_json, f);
    if (code == EXIT_OK && config_path) {
        code = input_slurp(config_path, MAX_CONFIG, &config, &n_config, f);
        code = code ? code : note_file(m, config_path, f);
    }
    if (code == EXIT_OK) {
        code = tokenizer_from_json(m->path, json, n_json, config_path, config, n_config, NULL,
                                   &m->built, f);
    }
    free(json);
    free(config);
    free(config_path);
    if (code != EXIT_OK) {
        return code;
    }
    memcpy(m->warnings, m->built.warnings, sizeof m->warnings);
    return open_built(m, f);
}

/* ---- Other sources --------------------------------------------------------------------------- */

static void keep_warnings(text_model *m, const notes *w)
{
    size_t used = 0;
    for (uint32_t i = 0; i < w->n && used < sizeof m->warnings; i++) {
        int n = snprintf(m->warnings + used, sizeof m->warnings - used, "%s\n", w->text[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

static int read_gguf(text_model *m, notes *w, failure *f)
{
    gguf_model g = {0};
    int code = gguf_model_open_tokenizer(m->path, &g, w, f);
    m->built = g.tokenizer;
    g.tokenizer = (tokenizer_payload){0};
    gguf_model_free(&g);
    return code;
}

static int read_pieces(text_model *m, notes *w, failure *f)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    int code = input_slurp(m->path, MAX_JSON, &bytes, &n_bytes, f);
    code = code ? code
                : tokenizer_from_pieces(m->path, (const uint8_t *)bytes, n_bytes, &m->built, w, f);
    free(bytes);
    return code;
}

static int open_vocabulary(text_model *m, int (*read)(text_model *, notes *, failure *), failure *f)
{
    notes *w = (notes *)calloc(1, sizeof *w);
    if (!w) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", m->path);
    }
    int code = read(m, w, f);
    keep_warnings(m, w);
    free(w);
    return code ? code : open_built(m, f);
}

/* ---- .slm ------------------------------------------------------------------------------------ */

static int open_sections(text_model *m, slm_arena *arena, failure *f)
{
    slm_file file;
    slm_error error = {0};
    if (slm_file_open(&file, arena, m->file.bytes, m->file.n_bytes, m->file.n_bytes, &error) !=
        SLM_OK) {
        return fail_status(f, m->path, &error);
    }
    const slm_section *s = slm_file_section(&file, SLM_SECTION_TOKENIZER);
    const slm_section *chat = slm_file_section(&file, SLM_SECTION_CHAT);
    const slm_section *text = slm_file_section(&file, SLM_SECTION_TEMPLATE);
    if (!s) {
        return fail(f, EXIT_INPUT, "%s: carries no tokenizer", m->path);
    }
    m->payload = m->file.bytes + s->offset;
    m->n_payload = s->length;
    m->chat = chat ? m->file.bytes + chat->offset : NULL;
    m->n_chat = chat ? chat->length : 0;
    m->chat_text = text ? (const char *)m->file.bytes + text->offset : NULL;
    m->n_chat_text = text ? text->length : 0;
    return open_payload(m, f);
}

static int open_slm(text_model *m, failure *f)
{
    slm_error error = {0};
    uint64_t need = 0;
    if (slm_file_arena_bytes(m->file.bytes, m->file.n_bytes, &need, &error) != SLM_OK) {
        return fail_status(f, m->path, &error);
    }
    void *memory = NULL;
    if (need > SIZE_MAX - 64 || posix_memalign(&memory, 64, (size_t)need + 64) != 0) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", m->path);
    }
    slm_arena arena = arena_over(memory, need);
    int code = open_sections(m, &arena, f);
    free(memory);
    return code;
}

/* ---- Any ------------------------------------------------------------------------------------- */

/* A TOKN payload that is a file of its own. */
static int open_bare(text_model *m, failure *f)
{
    uint8_t *copy = (uint8_t *)malloc((size_t)m->file.n_bytes);
    if (!copy) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", m->path);
    }
    memcpy(copy, m->file.bytes, (size_t)m->file.n_bytes);
    m->built.tokenizer = copy;
    m->built.n_tokenizer = m->file.n_bytes;
    return open_built(m, f);
}

/* What the first bytes say that it is. */
static int open_by_magic(text_model *m, failure *f)
{
    int code = input_open(m->path, &m->file, f);
    code = code ? code : input_map(&m->file, f);
    if (code != EXIT_OK) {
        return code;
    }
    uint32_t magic = m->file.n_bytes >= 4 ? load_u32(m->file.bytes) : 0;
    if (magic == GGUF_MAGIC || magic == GGUF_BIG_ENDIAN) {
        input_close(&m->file);
        return open_vocabulary(m, read_gguf, f);
    }
    return magic == BTOK_MAGIC || magic == BPE1_MAGIC ? open_bare(m, f) : open_slm(m, f);
}

static bool ends_in(const char *path, const char *ending)
{
    size_t n = strlen(path), k = strlen(ending);
    return n > k && strcmp(path + n - k, ending) == 0;
}

static int open_file(text_model *m, failure *f)
{
    if (ends_in(m->path, ".json")) {
        return open_json(m, f);
    }
    if (ends_in(m->path, ".model") || ends_in(m->path, ".bin")) {
        return open_vocabulary(m, read_pieces, f);
    }
    return open_by_magic(m, f);
}

/* The list that a folder of GPT-2's age has. */
static int open_merges(text_model *m, failure *f)
{
    char *vocab = NULL;
    tokenizer_rules rules = {.pre = PRE_GPT2};
    size_t n_folder = (size_t)(strrchr(m->path, '/') - m->path) + 1;
    int code = find_file(m->path, n_folder, "vocab.json", &vocab, f);
    if (code == EXIT_OK && !vocab) {
        return fail(f, EXIT_INPUT, "%s: vocab.json is missing beside it", m->path);
    }
    code = code ? code : tokenizer_from_merges(m->path, vocab, &rules, &m->built, f);
    code = code ? code : note_file(m, vocab, f);
    memcpy(m->warnings, m->built.warnings, sizeof m->warnings);
    free(vocab);
    return code ? code : open_built(m, f);
}

static int open_folder(text_model *m, failure *f)
{
    static const char *const names[] = {"/tokenizer.json", "/tokenizer.model", "/merges.txt",
                                        "/tokenizer.bin"};
    const char *folder = m->path;
    int code = EXIT_OK;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !m->own_path && !code; i++) {
        code = find_file(folder, strlen(folder), names[i], &m->own_path, f);
    }
    if (code != EXIT_OK || !m->own_path) {
        return code ? code
                    : fail(f, EXIT_INPUT,
                           "%s: holds no tokenizer.json, tokenizer.model, merges.txt or "
                           "tokenizer.bin",
                           folder);
    }
    m->path = m->own_path;
    code = note_file(m, m->path, f);
    return code ? code : ends_in(m->path, ".txt") ? open_merges(m, f) : open_file(m, f);
}

int text_model_open(text_model *m, const char *path, failure *f)
{
    struct stat s;
    clear(m, path);
    if (*path != 0 && stat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
        return open_folder(m, f);
    }
    int code = note_file(m, path, f);
    return code ? code : open_file(m, f);
}

int text_model_encode(const text_model *m, const char *text, size_t n_bytes, uint32_t flags,
                      int32_t **ids, size_t *n_ids, failure *f)
{
    size_t scratch_bytes = slm_encode_scratch_bytes(m->tokenizer, n_bytes);
    size_t capacity = n_bytes < SIZE_MAX / 16 ? 3 * n_bytes + 8 : 0;
    void *scratch = NULL;
    int32_t *made = NULL;
    if (scratch_bytes != SIZE_MAX && capacity != 0 &&
        posix_memalign(&scratch, 64, scratch_bytes) == 0) {
        made = (int32_t *)malloc(capacity * sizeof *made);
    }
    if (!made) {
        free(scratch);
        return fail(f, EXIT_RESOURCE, "no memory to tokenize %zu bytes of text", n_bytes);
    }
    slm_error error = {0};
    slm_status status = slm_encode(m->tokenizer, text, n_bytes, flags, made, capacity, n_ids,
                                   scratch, scratch_bytes, &error);
    free(scratch);
    if (status != SLM_OK) {
        free(made);
        return fail_status(f, m->path, &error);
    }
    *ids = made;
    return EXIT_OK;
}

/* A malloc'd copy, NULL of nothing. */
static void *copied(const void *bytes, uint64_t n, bool *good)
{
    void *copy = bytes ? malloc((size_t)n) : NULL;
    if (copy) {
        memcpy(copy, bytes, (size_t)n);
    }
    *good = *good && (copy || !bytes);
    return copy;
}

/* Copies what a .slm file holds. */
static int copy_sections(text_model *m, failure *f)
{
    tokenizer_payload *p = &m->built;
    bool good = true;
    p->tokenizer = (uint8_t *)copied(m->payload, m->n_payload, &good);
    p->chat = (uint8_t *)copied(m->chat, m->n_chat, &good);
    p->chat_text = (char *)copied(m->chat_text, m->n_chat_text, &good);
    p->n_tokenizer = m->n_payload;
    p->n_chat = m->n_chat;
    p->n_chat_text = m->n_chat_text;
    return good ? EXIT_OK : fail(f, EXIT_RESOURCE, "%s: no memory", m->path);
}

int text_model_take(text_model *m, uint32_t n_vocab, tokenizer_payload *payload, notes *w,
                    failure *f)
{
    uint32_t n = slm_token_count(m->tokenizer);
    if (n > n_vocab) {
        return fail(f, EXIT_INPUT, "%s: has %u tokens, but the model has %u rows", m->path, n,
                    n_vocab);
    }
    int code = m->built.n_tokenizer == 0 ? copy_sections(m, f) : EXIT_OK;
    if (code == EXIT_OK) {
        *payload = m->built;
        m->built = (tokenizer_payload){0};
        if (n < n_vocab) {
            note(w, "%s: %u tokens for %u rows of the model: the rest is padding", m->path, n,
                 n_vocab);
        }
    }
    return code;
}

void text_model_close(text_model *m)
{
    tokenizer_payload_free(&m->built);
    free(m->memory);
    free(m->own_path);
    for (uint32_t i = 0; i < m->n_files; i++) {
        free(m->files[i]);
    }
    if (m->file.fd >= 0) {
        input_close(&m->file);
    }
    clear(m, NULL);
}
