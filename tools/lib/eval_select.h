/* eval_select.h - how people name runs: a number, or a model's file name -> runs of a database. */
#ifndef SLM_TOOLS_EVAL_SELECT_H
#define SLM_TOOLS_EVAL_SELECT_H

#include "lib/eval_store.h"

enum { SELECT_MAX = 256 };

typedef struct run_list {
    store_run runs[SELECT_MAX];
    uint32_t n;
} run_list;

/* what: "17" is run 17; anything else a model by its name in the database, its path or the first 8
 * or more digits of its SHA-256: its newest run on each suite. suite: NULL for all. EXIT_INPUT if
 * there is none. */
int select_runs(eval_store *store, const char *what, const char *suite, run_list *list, failure *f);

/* The newest run of each model on each suite (NULL: all suites); what NULL of select_runs. */
int select_newest(eval_store *store, const char *suite, run_list *list, failure *f);

#endif
