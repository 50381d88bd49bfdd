/* hf_model_provenance.c - where a model came from, as one line of JSON: no dates, hosts or paths,
 * so that the same input gives the same bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/hf_model.h"
#include "lib/json_out.h"

static int compare_files(const void *a, const void *b)
{
    const hf_file *x = *(const hf_file *const *)a, *y = *(const hf_file *const *)b;
    return strcmp(x->name, y->name);
}

static void write_files(json_out *j, const hf_file **files, uint32_t n)
{
    json_array(j, "files");
    for (uint32_t i = 0; i < n; i++) {
        json_object(j, NULL);
        json_string(j, "name", files[i]->name);
        json_u64(j, "bytes", files[i]->n_bytes);
        json_string(j, "sha256", files[i]->sha256);
        json_object_end(j);
    }
    json_array_end(j);
}

int hf_model_provenance(const hf_model *m, const char *dtype, char **json, size_t *n_json,
                        failure *f)
{
    uint32_t n = m->n_texts;
    const hf_file **files = calloc((size_t)n + m->n_shards + 1, sizeof *files);
    *json = NULL;
    FILE *stream = files ? json_open_memory(json, n_json) : NULL;
    if (!stream) {
        free(files);
        return fail(f, EXIT_RESOURCE, "no memory for the provenance");
    }
    for (uint32_t i = 0; i < m->n_texts; i++) {
        files[i] = &m->texts[i];
    }
    for (uint32_t i = 0; i < m->n_shards; i++) {
        if (!m->shards[i].memory) {
            files[n++] = &m->shards[i];
        }
    }
    qsort(files, n, sizeof *files, compare_files);
    json_out j;
    json_begin(&j, stream, true);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-convert");
    json_string(&j, "version", SLM_VERSION);
    json_string(&j, "source", m->source);
    json_object(&j, "options");
    json_string(&j, "dtype", dtype);
    json_bool(&j, "tokenizer", m->tokenizer.n_tokenizer != 0);
    json_object_end(&j);
    write_files(&j, files, n);
    json_object_end(&j);
    json_end(&j);
    free(files);
    if (!json_close_memory(stream)) {
        free(*json);
        *json = NULL;
        return fail(f, EXIT_RESOURCE, "no memory for the provenance");
    }
    return EXIT_OK;
}
