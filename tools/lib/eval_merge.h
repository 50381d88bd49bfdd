/* eval_merge.h - databases of shards -> one database: the subcommand slm-eval merge. */
#ifndef SLM_TOOLS_EVAL_MERGE_H
#define SLM_TOOLS_EVAL_MERGE_H

#include "lib/eval_store.h"

typedef struct merge_counts {
    uint64_t n_taken, n_known; /* results: copied, there already */
} merge_counts;

/* Both databases must hold the same runs: models, suites, baselines, settings, versions. */
int merge_check_same(eval_store *a, eval_store *b, failure *f);

/* Copies what `from` holds and `into` lacks, in one transaction. EXIT_INPUT, and nothing copied, if
 * a case has one result here and another there. */
int merge_one(eval_store *into, const char *from, merge_counts *counts, failure *f);

/* The subcommand. */
int eval_merge_main(int argc, char **argv);

#endif
