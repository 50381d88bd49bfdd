/* inspect.h - proves a .slm file: structure, checksums, configuration, tokenizer, weights; and sums
 * up what is in it. slm-validate prints the result.
 */
#ifndef SLM_TOOLS_INSPECT_H
#define SLM_TOOLS_INSPECT_H

#include "format/config.h"
#include "lib/cli.h"
#include "lib/failure.h"

enum { INSPECT_MAX_PROBLEMS = 32 };

typedef struct problem {
    int exit_code;
    slm_status code; /* SLM_OK: not from the runtime (reading the file failed) */
    uint64_t offset; /* in the file, 0 if none */
    char text[1024];
} problem;

typedef struct type_sum {
    uint64_t n_tensors, n_parameters, n_bytes;
} type_sum;

typedef struct inspection {
    const char *path; /* borrowed */
    int exit_code;    /* EXIT_OK: valid */
    uint64_t n_bytes;
    bool has_structure; /* file is filled; tensors, by_name and bytes are gone */
    slm_file file;
    bool has_config;
    slm_config config;
    type_sum types[SLM_TYPE_COUNT];
    bool has_tokenizer, has_chat, has_provenance;
    char tokenizer_kind[5]; /* "BPE1", "BTOK" */
    uint32_t n_tokens;
    bool data_checked;   /* tensor checksums and values */
    uint64_t n_problems; /* found; the first INSPECT_MAX_PROBLEMS are kept */
    problem problems[INSPECT_MAX_PROBLEMS];
    const char *manifest; /* NULL: none was asked for; else whether it proved the file's quality */
    failure quality;
} inspection;

/* Never fails: what goes wrong becomes a problem. quick: leaves the tensor data alone. */
void inspect_file(const char *path, bool quick, progress *p, inspection *result);

/* Stored bits of all tensors over parameters. */
double inspect_bits_per_weight(const inspection *result);

#endif
