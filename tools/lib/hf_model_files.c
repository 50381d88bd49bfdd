/* hf_model_files.c - model.safetensors or pytorch_model.bin, or the shards that their index files
 * name, opened and merged into one list of tensors.
 */
#include "lib/hf_model_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/json_in.h"
#include "lib/sha256.h"
#include "lib/torch_model.h"

typedef struct weights {
    const char *single, *index;
    int (*read)(hf_model *m, uint32_t shard, input *in, notes *w, failure *f);
    uint32_t n_parts; /* headers that reading a file fills: of it, and of what was rearranged */
} weights;

static int read_safetensors(hf_model *m, uint32_t shard, input *in, notes *w, failure *f);

/* In order of preference. */
static const weights KINDS[] = {
    {"model.safetensors", "model.safetensors.index.json", read_safetensors, 1},
    {"pytorch_model.bin", "pytorch_model.bin.index.json", torch_read_shard, 2},
};
enum { N_KINDS = 2 };

/* Real files stay far below: the largest vocabularies take 35 MB, the largest indices 10 MB. */
enum { MAX_TOKENIZER = 256 << 20, MAX_TEXT = 32 << 20, MAX_SHARDS = 100000 };

char *hf_path(const char *folder, const char *name)
{
    size_t n = strlen(folder), k = strlen(name);
    char *path = malloc(n + k + 2);
    if (path) {
        bool slash = n > 0 && folder[n - 1] == '/';
        snprintf(path, n + k + 2, "%s%s%s", folder, slash ? "" : "/", name);
    }
    return path;
}

static bool exists(const char *path)
{
    struct stat s;
    return lstat(path, &s) == 0;
}

int hf_read_text(hf_model *m, const char *folder, const char *name, bool required, char **text,
                 size_t *n_bytes, failure *f)
{
    char *path = hf_path(folder, name), *copy = strdup(name);
    *text = NULL;
    *n_bytes = 0;
    int code = EXIT_OK;
    if (!path || !copy) {
        code = fail(f, EXIT_RESOURCE, "%s: no memory", name);
    } else if (!exists(path)) {
        code = required ? fail(f, EXIT_INPUT, "%s: there is no %s", folder, name) : EXIT_OK;
    } else {
        uint64_t limit = strcmp(name, "tokenizer.json") == 0 ? MAX_TOKENIZER : MAX_TEXT;
        code = input_slurp(path, limit, text, n_bytes, f);
    }
    if (code != EXIT_OK || !*text) {
        free(path);
        free(copy);
        return code;
    }
    hf_file *file = &m->texts[m->n_texts++];
    *file = (hf_file){.name = copy, .path = path, .n_bytes = *n_bytes};
    sha256 digest;
    sha256_init(&digest);
    sha256_update(&digest, *text, *n_bytes);
    sha256_final_hex(&digest, file->sha256);
    return EXIT_OK;
}

int hf_note_file(hf_model *m, const char *path, failure *f)
{
    input in = {.fd = -1};
    const char *slash = strrchr(path, '/');
    char *copy = strdup(path), *name = strdup(slash ? slash + 1 : path);
    int code =
        copy && name ? input_open(path, &in, f) : fail(f, EXIT_RESOURCE, "%s: no memory", path);
    code = code ? code : input_map(&in, f);
    if (code != EXIT_OK) {
        free(copy);
        free(name);
    } else {
        hf_file *file = &m->texts[m->n_texts++];
        *file = (hf_file){.name = name, .path = copy, .n_bytes = in.n_bytes};
        sha256 digest;
        sha256_init(&digest);
        sha256_update(&digest, in.bytes, (size_t)in.n_bytes);
        sha256_final_hex(&digest, file->sha256);
    }
    if (in.path) {
        input_close(&in);
    }
    return code;
}

/* ---- Names of the shards --------------------------------------------------------------------- */

/* A plain name in the folder, so that an index cannot reach elsewhere. */
static bool is_plain_name(const char *name)
{
    size_t n = strlen(name);
    bool drive = n >= 2 && name[1] == ':';
    return n > 0 && n <= 255 && !strpbrk(name, "/\\") && !drive && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct values of weight_map, sorted; *names: malloc'd, its strings borrowed from map. */
static int distinct_shards(const char *index, json_t *map, const char ***names, uint32_t *n_names,
                           failure *f)
{
    size_t n = json_object_size(map), used = 0;
    const char *key;
    json_t *value;
    if (!json_is_object(map) || n == 0) {
        return fail(f, EXIT_INPUT, "%s: weight_map must be an object that names tensors", index);
    }
    *names = calloc(n, sizeof **names);
    if (!*names) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", index);
    }
    json_object_foreach(map, key, value)
    {
        const char *name = json_string_value(value);
        if (!name || !is_plain_name(name)) {
            return json_in_refuse(index, key, "the plain name of a file in the folder", value, f);
        }
        (*names)[used++] = name;
    }
    qsort(*names, n, sizeof **names, compare_text);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++) {
        if (strcmp((*names)[i], (*names)[kept - 1]) != 0) {
            (*names)[kept++] = (*names)[i];
        }
    }
    if (kept > MAX_SHARDS) {
        return fail(f, EXIT_INPUT, "%s: more than %d files", index, MAX_SHARDS);
    }
    *n_names = (uint32_t)kept;
    return EXIT_OK;
}

static int add_shards(hf_model *m, const char *folder, const weights *k, const char *const *names,
                      uint32_t n, failure *f)
{
    m->shards = calloc((size_t)n * k->n_parts, sizeof *m->shards);
    m->headers = calloc((size_t)n * k->n_parts, sizeof *m->headers);
    if (!m->shards || !m->headers) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", folder);
    }
    m->n_shards = n;
    for (uint32_t i = 0; i < n; i++) {
        m->shards[i].name = strdup(names[i]);
        m->shards[i].path = hf_path(folder, names[i]);
        if (!m->shards[i].name || !m->shards[i].path) {
            return fail(f, EXIT_RESOURCE, "%s: no memory", folder);
        }
        if (!exists(m->shards[i].path)) {
            return fail(f, EXIT_INPUT, "%s: %s names %s, which is not there", folder, k->index,
                        names[i]);
        }
    }
    return EXIT_OK;
}

/* ---- Headers --------------------------------------------------------------------------------- */

static int read_safetensors(hf_model *m, uint32_t shard, input *in, notes *w, failure *f)
{
    int code = safetensors_read(in, &m->headers[shard], f);
    if (code == EXIT_OK && m->headers[shard].n_unknown_keys != 0) {
        note(w, "%s: %u keys that the format does not have are ignored, such as \"%s\"",
             m->shards[shard].name, m->headers[shard].n_unknown_keys,
             m->headers[shard].unknown_key);
    }
    return code;
}

static int read_headers(hf_model *m, const weights *k, notes *w, failure *f)
{
    uint32_t n_files = m->n_shards;
    m->n_shards *= k->n_parts;
    for (uint32_t i = 0; i < n_files; i++) {
        hf_file *file = &m->shards[i];
        input in;
        int code = input_open(file->path, &in, f);
        if (code != EXIT_OK) {
            return code;
        }
        file->n_bytes = in.n_bytes;
        file->mtime_ns = in.mtime_ns;
        file->inode = in.inode;
        file->device = in.device;
        code = k->read(m, i, &in, w, f);
        input_close(&in);
        if (code != EXIT_OK) {
            return code;
        }
    }
    const char **names = calloc(m->n_shards, sizeof *names);
    if (!names) {
        return fail(f, EXIT_RESOURCE, "no memory");
    }
    for (uint32_t i = 0; i < m->n_shards; i++) {
        names[i] = m->shards[i % n_files].name;
    }
    int code = safetensors_merge(m->headers, names, m->n_shards, &m->all, f);
    free(names);
    return code;
}

/* Every tensor must lie where the index says, and the index must list it. */
static int check_index(const hf_model *m, const char *index, json_t *map, failure *f)
{
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value)
    {
        const safetensors_tensor *t = safetensors_find(&m->all, key);
        const char *said = json_string_value(value);
        if (!t) {
            return fail(f, EXIT_INPUT, "%s: tensor %.200s is not in %s nor in any other file",
                        index, key, said);
        }
        const char *found = m->shards[t->shard].name;
        if (strcmp(found, said) != 0) {
            return fail(f, EXIT_INPUT, "%s: tensor %.200s should be in %s, but is in %s", index,
                        key, said, found);
        }
    }
    for (uint32_t i = 0; i < m->all.n_tensors; i++) {
        const safetensors_tensor *t = &m->all.tensors[i];
        if (!json_object_get(map, t->name)) {
            return fail(f, EXIT_INPUT, "%s: tensor %.200s is not listed in %s",
                        m->shards[t->shard].name, t->name, index);
        }
    }
    return EXIT_OK;
}

static int check_total_size(const hf_model *m, const char *index, json_t *root, notes *w,
                            failure *f)
{
    json_t *metadata = json_in_get(root, "metadata");
    json_t *said = metadata ? json_in_get(metadata, "total_size") : NULL;
    uint64_t total = 0;
    if (metadata && !json_is_object(metadata)) {
        return json_in_refuse(index, "metadata", "an object", metadata, f);
    }
    if (!said) {
        return EXIT_OK;
    }
    if (!json_is_number(said) || json_number_value(said) < 0) {
        return json_in_refuse(index, "metadata.total_size", "a number of bytes", said, f);
    }
    for (uint32_t i = 0; i < m->all.n_tensors; i++) {
        total += m->all.tensors[i].end - m->all.tensors[i].begin;
    }
    double difference = json_number_value(said) - (double)total;
    if (difference < 0 || difference > 0) {
        note(w, "%s: metadata.total_size is %.0f, but the tensors have %.0f bytes", index,
             json_number_value(said), (double)total);
    }
    return EXIT_OK;
}

static int open_sharded(hf_model *m, const char *folder, const weights *k, notes *w, failure *f)
{
    char *text;
    size_t n_text;
    json_t *root = NULL;
    const char **names = NULL;
    uint32_t n_names = 0;
    int code = hf_read_text(m, folder, k->index, true, &text, &n_text, f);
    code = code == EXIT_OK ? json_in_parse(k->index, text, n_text, &root, f) : code;
    json_t *map = json_object_get(root, "weight_map");
    code = code == EXIT_OK ? distinct_shards(k->index, map, &names, &n_names, f) : code;
    code = code == EXIT_OK ? add_shards(m, folder, k, names, n_names, f) : code;
    code = code == EXIT_OK ? read_headers(m, k, w, f) : code;
    code = code == EXIT_OK ? check_index(m, k->index, map, f) : code;
    code = code == EXIT_OK ? check_total_size(m, k->index, root, w, f) : code;
    free(names);
    json_decref(root);
    free(text);
    return code;
}

/* ---- The folder ------------------------------------------------------------------------------ */

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), k = strlen(ending);
    return n >= k && strcmp(text + n - k, ending) == 0;
}

static bool is_shard(const hf_model *m, const char *name)
{
    for (uint32_t i = 0; i < m->n_shards; i++) {
        if (m->shards[i].name && strcmp(m->shards[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Files that one might expect to be read. Of weights, the first by name, so that the message does
 * not depend on the order of the folder. */
static void note_other_files(const hf_model *m, const char *folder, notes *w)
{
    char first[256] = "";
    uint32_t n = 0;
    DIR *list = opendir(folder);
    for (struct dirent *e = list ? readdir(list) : NULL; e; e = readdir(list)) {
        if (ends_with(e->d_name, ".safetensors") && !is_shard(m, e->d_name)) {
            if (n++ == 0 || strcmp(e->d_name, first) < 0) {
                memcpy(first, e->d_name, strlen(e->d_name) + 1);
            }
        }
    }
    if (list) {
        closedir(list);
    }
    char *params = hf_path(folder, "params.json");
    if (params && exists(params)) {
        note(w, "params.json is not read, since there is config.json");
    }
    free(params);
    if (n != 0) {
        note(w, "%u other .safetensors file%s in the folder not read, such as %s", n,
             n == 1 ? " is" : "s are", first);
    }
}

/* The folder has neither: say what it has instead. */
static int no_weights(const char *folder, failure *f)
{
    char other[256] = "";
    DIR *list = opendir(folder);
    for (struct dirent *e = list ? readdir(list) : NULL; e; e = readdir(list)) {
        static const char *const endings[] = {".safetensors", ".gguf", ".bin", ".pt", ".pth"};
        for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
            if (ends_with(e->d_name, endings[i]) && (!*other || strcmp(e->d_name, other) < 0)) {
                memcpy(other, e->d_name, strlen(e->d_name) + 1);
            }
        }
    }
    if (list) {
        closedir(list);
    }
    return fail(f, EXIT_INPUT, "%s: there is neither %s nor %s%s%s%s", folder, KINDS[0].single,
                KINDS[0].index, *other ? " (there is " : "", other,
                *other ? ", which is not read)" : "");
}

/* The file, or else its index. *found tells whether there is either. */
static int find_kind(hf_model *m, const char *folder, const weights *k, bool *found, notes *w,
                     failure *f)
{
    char *single = hf_path(folder, k->single), *index = hf_path(folder, k->index);
    int code = EXIT_OK;
    *found = true;
    if (!single || !index) {
        code = fail(f, EXIT_RESOURCE, "%s: no memory", folder);
    } else if (exists(single)) {
        if (exists(index)) {
            note(w, "%s is not read, since there is %s", k->index, k->single);
        }
        code = add_shards(m, folder, k, &k->single, 1, f);
        code = code == EXIT_OK ? read_headers(m, k, w, f) : code;
    } else if (exists(index)) {
        code = open_sharded(m, folder, k, w, f);
    } else {
        *found = false;
    }
    free(single);
    free(index);
    return code;
}

int hf_find_weights(hf_model *m, const char *folder, notes *w, failure *f)
{
    bool found = false;
    int code = EXIT_OK;
    for (int i = 0; i < N_KINDS && !found && code == EXIT_OK; i++) {
        code = find_kind(m, folder, &KINDS[i], &found, w, f);
    }
    if (code == EXIT_OK) {
        code = found ? EXIT_OK : no_weights(folder, f);
    }
    if (code == EXIT_OK) {
        note_other_files(m, folder, w);
    }
    return code;
}
