/* eval_manifest_model.c - a .slm file -> what a quality manifest says of it; see eval_manifest.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/eval_manifest.h"
#include "lib/sha256.h"

enum { HEADER_CHECKSUM_AT = 120 };

static int open_directory(manifest_model *m, failure *f)
{
    const input *in = &m->opened.file;
    slm_error error;
    uint64_t need;
    slm_status status = slm_file_arena_bytes(in->bytes, in->n_bytes, &need, &error);
    if (status == SLM_OK) {
        if (need > SIZE_MAX || posix_memalign(&m->arena, 64, (size_t)need) != 0) {
            return fail(f, EXIT_RESOURCE, "%s: no memory for its directory", m->path);
        }
        slm_arena arena = arena_over(m->arena, need);
        status = slm_file_open(&m->file, &arena, in->bytes, in->n_bytes, in->n_bytes, &error);
    }
    return status == SLM_OK ? EXIT_OK : fail_status(f, m->path, &error);
}

static int size_memory(manifest_model *m, failure *f)
{
    uint32_t trained = m->opened.info.n_context;
    slm_session_options o = {.n_context = trained < MANIFEST_CONTEXT ? trained : MANIFEST_CONTEXT};
    size_t session;
    slm_error error;
    if (slm_session_bytes(m->opened.model, &o, &session, &error) != SLM_OK) {
        return fail_status(f, m->path, &error);
    }
    m->memory_context = o.n_context;
    m->memory_bytes = m->opened.file.n_bytes + m->opened.model_bytes + session;
    return EXIT_OK;
}

int manifest_model_open(const char *path, manifest_model *m, failure *f)
{
    const char *slash = strrchr(path, '/');
    *m = (manifest_model){.path = path, .name = slash ? slash + 1 : path};
    m->opened.file.fd = -1;
    int code = model_file_open(&m->opened, path, "ref", MODEL_CHECK_ALL, f);
    code = code ? code : open_directory(m, f);
    code = code ? code : size_memory(m, f);
    if (code != EXIT_OK) {
        return code;
    }
    const input *in = &m->opened.file;
    uint64_t stored = 0;
    for (uint32_t i = 0; i < m->file.n_tensors; i++) {
        stored += m->file.tensors[i].length;
    }
    m->bits_per_weight = 8.0 * (double)stored / (double)m->file.n_parameters;
    snprintf(m->header_checksum, sizeof m->header_checksum, "%016" PRIx64,
             load_u64(in->bytes + HEADER_CHECKSUM_AT));
    sha256 s;
    sha256_init(&s);
    sha256_update(&s, in->bytes, (size_t)in->n_bytes);
    sha256_final_hex(&s, m->sha256);
    return EXIT_OK;
}

void manifest_model_close(manifest_model *m)
{
    if (m->path) {
        model_file_close(&m->opened);
        free(m->arena);
    }
    *m = (manifest_model){0};
}
