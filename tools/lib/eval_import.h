/* eval_import.h - other harnesses' cases -> a suite: the subcommand slm-eval import. */
#ifndef SLM_TOOLS_EVAL_IMPORT_H
#define SLM_TOOLS_EVAL_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/convert_notes.h"
#include "lib/failure.h"

typedef struct import_options {
    const char *path, *out;  /* JSON Lines; the suite */
    const char *name;        /* NULL: the file's, without folders and ending */
    const char *description; /* may be NULL */
    const char *delimiter;   /* between question and answer; \n, \t and \\ are escapes */
    uint32_t limit;          /* cases; 0: all */
    bool force;              /* overwrite the suite */
} import_options;

typedef struct import_counts {
    uint64_t n_cases, n_left_out;
} import_counts;

/* llm-foundry's records. What makes no sensible case is left out, counted, and warned of. */
int import_llm_foundry(const import_options *options, import_counts *counts, notes *warnings,
                       failure *f);

/* The subcommand. */
int eval_import_main(int argc, char **argv);

#endif
