/* eval_run.h - a model, perhaps a baseline, and suites -> runs in a database: slm-eval run.
 */
#ifndef SLM_TOOLS_EVAL_RUN_H
#define SLM_TOOLS_EVAL_RUN_H

#include "lib/cli.h"
#include "lib/eval_engine.h"

/* A model with its row and its engine. */
typedef struct eval_subject {
    model_file file;
    const char *name;                          /* the file's, without folders */
    char sha256[65], digest[17], settings[96]; /* digest: see run_identity */
    int64_t row;
    eval_engine engine;
} eval_subject;

/* What has been done on one run. */
typedef struct eval_progress {
    int64_t run_id;
    const eval_suite *suite;
    const eval_subject *subject, *baseline; /* the latter NULL: none */
    bool is_baseline;
    bool created;
    char note[160];                     /* why an earlier run was not gone on with; or "" */
    uint64_t n_new, n_reused, n_before; /* results: made now, taken from other runs, found */
    double seconds;
} eval_progress;

/* The part of the cases that this process does: those whose place in the file is index modulo
 * count, of them the first `limit` (0: all). */
typedef struct eval_share {
    uint32_t index, count, limit;
} eval_share;

/* Does what is still to be done of one run, whose subject's engine is ready. */
int eval_run_suite(eval_store *store, const eval_suite *suite, eval_subject *subject,
                   const eval_subject *baseline, const eval_share *share, bool again, progress *bar,
                   eval_progress *done, failure *f);

/* The subcommand: slm-eval run. */
int eval_run_main(int argc, char **argv);

#endif
