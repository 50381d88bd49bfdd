/* model_file.h - a path -> a model with its threads and a session, ready to evaluate. */
#ifndef SLM_TOOLS_MODEL_FILE_H
#define SLM_TOOLS_MODEL_FILE_H

#include "lib/input.h"

typedef enum model_check {
    MODEL_CHECK_SMALL = 0, /* checksums and values if the file is below 64 MiB */
    MODEL_CHECK_NONE,
    MODEL_CHECK_ALL
} model_check;

typedef struct model_file {
    const char *path; /* borrowed */
    input file;
    slm_model *model;
    const slm_tokenizer *tokenizer; /* NULL if the file has none */
    slm_model_info info;
    slm_team *team; /* NULL: one thread */
    slm_session *session;
    uint64_t model_bytes, session_bytes;
    void *model_memory, *team_memory, *session_memory;
} model_file;

/* Opens and validates. kernels: NULL for the best, or a variant's name. m is then the caller's to
 * close, also on failure. */
int model_file_open(model_file *m, const char *path, const char *kernels, model_check check,
                    failure *f);

/* The same for a file's bytes that are at hand: borrowed, 64-byte aligned. m: zeroed. */
int model_file_open_bytes(model_file *m, const char *path, const uint8_t *bytes, uint64_t length,
                          const char *kernels, model_check check, failure *f);

/* Starts the threads (0: one per core that this process may use) and makes a session;
 * options->n_threads is set from the threads that did start. */
int model_file_start(model_file *m, const slm_session_options *options, uint32_t n_threads,
                     failure *f);

void model_file_close(model_file *m); /* accepts a zeroed one */

/* "f16", "f32", "q8_0" -> *type. */
int kv_type_parse(const char *option, const char *text, slm_kv_type *type, failure *f);

uint32_t cores_available(void); /* 1..256 */

#define KERNELS_TEXT_BYTES 128
/* "kernels here: ref avx2 ...", for the end of help texts. */
void kernels_describe(char text[static KERNELS_TEXT_BYTES]);

/* Text -> malloc'd ids (the caller's to free). flags: SLM_ENCODE_*. */
int encode_text(const model_file *m, const char *text, size_t n_bytes, uint32_t flags,
                int32_t **ids, size_t *n_ids, failure *f);

/* A file of little-endian int32 -> malloc'd ids, each checked against the vocabulary. */
int read_ids(const model_file *m, const char *path, int32_t **ids, size_t *n_ids, failure *f);

#endif
