/* model_file.c - opens what every tool that evaluates a model needs. */
#include "lib/model_file.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMALL_FILE = 64 << 20, MAX_TEAM = 256 };

/* A size beyond the machine's memory would be promised by malloc and end in a kill. */
static int take_memory(uint64_t n_bytes, const char *path, const char *what, void **memory,
                       failure *f)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t physical = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_MAX;
    *memory = NULL;
    if (n_bytes > physical || n_bytes > SIZE_MAX ||
        posix_memalign(memory, 64, (size_t)(n_bytes ? n_bytes : 64)) != 0) {
        return fail(f, EXIT_RESOURCE, "%s: the %s needs %.1f MiB of memory, which are not there",
                    path, what, (double)n_bytes / 1048576.0);
    }
    return EXIT_OK;
}

int model_file_open(model_file *m, const char *path, const char *kernels, model_check check,
                    failure *f)
{
    memset(m, 0, sizeof *m);
    m->path = path;
    int code = input_open(path, &m->file, f);
    code = code ? code : input_map(&m->file, f);
    return code ? code
                : model_file_open_bytes(m, path, m->file.bytes, m->file.n_bytes, kernels, check, f);
}

int model_file_open_bytes(model_file *m, const char *path, const uint8_t *bytes, uint64_t length,
                          const char *kernels, model_check check, failure *f)
{
    slm_error error = {0};
    size_t n_bytes = (size_t)length, need = 0;
    m->path = path;
    bool all = check == MODEL_CHECK_ALL || (check == MODEL_CHECK_SMALL && n_bytes < SMALL_FILE);
    uint32_t flags = all ? SLM_MODEL_CHECK_DATA | SLM_MODEL_CHECK_VALUES : 0;
    if (slm_model_bytes(bytes, n_bytes, flags, &need, &error) != SLM_OK) {
        return fail_status(f, path, &error);
    }
    m->model_bytes = need;
    int code = take_memory(need, path, "model", &m->model_memory, f);
    if (code != EXIT_OK) {
        return code;
    }
    if (slm_model_init(m->model_memory, need, bytes, n_bytes, flags, kernels, &m->model, &error) !=
        SLM_OK) {
        return fail_status(f, path, &error);
    }
    m->tokenizer = slm_model_tokenizer(m->model);
    slm_model_describe(m->model, &m->info);
    return EXIT_OK;
}

int model_file_start(model_file *m, const slm_session_options *options, uint32_t n_threads,
                     failure *f)
{
    slm_error error = {0};
    n_threads = n_threads ? n_threads : cores_available();
    if (n_threads > 1) {
        size_t n = slm_team_bytes(n_threads);
        int code = take_memory(n, m->path, "thread team", &m->team_memory, f);
        if (code != EXIT_OK) {
            return code;
        }
        if (slm_team_start(m->team_memory, n, n_threads, &m->team, &error) != SLM_OK) {
            return fail_status(f, m->path, &error);
        }
    }
    slm_session_options o = *options;
    o.n_threads = slm_team_size(m->team);
    size_t need = 0;
    if (slm_session_bytes(m->model, &o, &need, &error) != SLM_OK) {
        return fail_status(f, m->path, &error);
    }
    m->session_bytes = need;
    int code =
        take_memory(need, m->path, "session (--ctx and --kv set its size)", &m->session_memory, f);
    if (code != EXIT_OK) {
        return code;
    }
    if (slm_session_init(m->session_memory, need, m->model, &o, m->team, &m->session, &error) !=
        SLM_OK) {
        return fail_status(f, m->path, &error);
    }
    return EXIT_OK;
}

void model_file_close(model_file *m)
{
    slm_team_stop(&m->team);
    free(m->session_memory);
    free(m->team_memory);
    free(m->model_memory);
    if (m->file.path) {
        input_close(&m->file);
    }
    memset(m, 0, sizeof *m);
}

int kv_type_parse(const char *option, const char *text, slm_kv_type *type, failure *f)
{
    static const char *const names[] = {"f16", "f32", "q8_0"};
    static const slm_kv_type types[] = {SLM_KV_F16, SLM_KV_F32, SLM_KV_Q8_0};
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *type = types[i];
            return EXIT_OK;
        }
    }
    return fail(f, EXIT_USAGE, "%s: '%s' is not one of f16, f32, q8_0", option, text);
}

uint32_t cores_available(void)
{
    long n = 0;
#ifdef CPU_COUNT
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        n = CPU_COUNT(&set);
    }
#endif
    n = n > 0 ? n : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > MAX_TEAM ? MAX_TEAM : (uint32_t)n;
}

void kernels_describe(char text[static KERNELS_TEXT_BYTES])
{
    size_t used = (size_t)snprintf(text, KERNELS_TEXT_BYTES, "kernels here:");
    for (uint32_t i = 0; slm_kernels_variant(i) && used < KERNELS_TEXT_BYTES; i++) {
        used +=
            (size_t)snprintf(text + used, KERNELS_TEXT_BYTES - used, " %s", slm_kernels_variant(i));
    }
}

int encode_text(const model_file *m, const char *text, size_t n_bytes, uint32_t flags,
                int32_t **ids, size_t *n_ids, failure *f)
{
    if (!m->tokenizer) {
        return fail(f, EXIT_INPUT, "%s: carries no tokenizer; give token ids with --ids", m->path);
    }
    size_t scratch_bytes = slm_encode_scratch_bytes(m->tokenizer, n_bytes);
    size_t capacity = n_bytes < SIZE_MAX / 16 ? 3 * n_bytes + 8 : SIZE_MAX;
    void *scratch = NULL;
    int32_t *made = NULL;
    if (scratch_bytes != SIZE_MAX && capacity != SIZE_MAX &&
        posix_memalign(&scratch, 64, scratch_bytes ? scratch_bytes : 64) == 0) {
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

int read_ids(const model_file *m, const char *path, int32_t **ids, size_t *n_ids, failure *f)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    int code = input_slurp(path, 1u << 30, &bytes, &n_bytes, f);
    if (code != EXIT_OK) {
        return code;
    }
    if (n_bytes == 0 || n_bytes % 4 != 0) {
        free(bytes);
        return fail(f, EXIT_INPUT, "%s: its %zu bytes are not a row of int32 token ids", path,
                    n_bytes);
    }
    int32_t *made = (int32_t *)malloc(n_bytes);
    for (size_t i = 0; made && i < n_bytes / 4; i++) {
        const uint8_t *b = (const uint8_t *)bytes + 4 * i;
        uint32_t id = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        if (id >= m->info.n_vocab) {
            free(made);
            free(bytes);
            return fail(f, EXIT_INPUT,
                        "%s: id %" PRId32 " at place %zu is not in a vocabulary of %u", path,
                        (int32_t)id, i, m->info.n_vocab);
        }
        made[i] = (int32_t)id;
    }
    free(bytes);
    *ids = made;
    *n_ids = n_bytes / 4;
    return made ? EXIT_OK : fail(f, EXIT_RESOURCE, "%s: no memory for its ids", path);
}
