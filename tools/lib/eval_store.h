/* eval_store.h - the SQLite database of evaluation results (schemas/eval.sql).
 *
 * What a run is: one model, one suite, at most one baseline, one set of settings, one version of
 * this tool and of its scorers. Their hash is the run's key; the same key resumes the same run.
 * Each result is a transaction (WAL, synchronous=FULL): what was reported done stays done, whatever
 * happens to the process or the power. A case at work is claimed by a lock on one byte far behind
 * the database's end, which the kernel releases with the process: any number of processes share a
 * run and never do the same case.
 *
 * What score means, by kind (NULL for errors, except where an error counts as 0):
 *   generate    share of the checks that passed; error: 0
 *   choice      1 if the likeliest option is the answer, else 0; error: 0
 *   cloze       nll of the continuation in nats, per token
 *   perplexity  nll in nats, per token
 *   divergence  mean KL(baseline || model) in nats
 *   tokenize    1 or 0; error: 0
 *
 * A database is refused and left as it is when it belongs to another program or a newer version,
 * has other tables under our names, has triggers, is damaged, is a link's second name (hard link),
 * or is not a regular file. Locked ones are waited for.
 */
#ifndef SLM_TOOLS_EVAL_STORE_H
#define SLM_TOOLS_EVAL_STORE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/eval_stats.h"
#include "lib/eval_suite.h"
#include "lib/failure.h"

#define STORE_APPLICATION_ID 0x534c4d45
#define STORE_VERSION 2

typedef enum store_mode {
    STORE_READ, /* must exist; nothing is written to it, and all reads see one state of it */
    STORE_WRITE /* created if absent or empty; an older version is migrated, after a copy to
                 * PATH.v<N>.bak */
} store_mode;

typedef struct eval_store eval_store;

/* Opens and proves a database. wait_seconds: how long another process's lock is waited for. *store:
 * the caller's (store_close). EXIT_USAGE for a path that cannot be one, EXIT_INPUT for a file that
 * is not ours or damaged, EXIT_IO for locked, read-only, unreadable, full. */
int store_open(const char *path, store_mode mode, uint32_t wait_seconds, eval_store **store,
               failure *f);
void store_close(eval_store **store); /* accepts NULL; clears */

sqlite3 *store_database(eval_store *store); /* borrowed, for queries of one's own */
const char *store_path(const eval_store *store);
uint64_t store_bytes(const eval_store *store); /* of the file and its write-ahead log */

/* The last SQLite failure as one of ours: "PATH: ACTION: why"; its exit code is returned. */
int store_fail(eval_store *store, const char *action, failure *f);

/* Prepares; *statement is the caller's to finalize. */
int store_prepare(eval_store *store, const char *sql, sqlite3_stmt **statement, failure *f);
/* Steps: *row says whether there is one. */
int store_step(eval_store *store, sqlite3_stmt *statement, bool *row, failure *f);
/* Steps a statement that gives no rows, and resets it. */
int store_do(eval_store *store, sqlite3_stmt *statement, failure *f);
int store_exec(eval_store *store, const char *sql, failure *f);
/* BEGIN IMMEDIATE and COMMIT; a failure rolls back. */
int store_begin(eval_store *store, failure *f);
int store_commit(eval_store *store, failure *f);
void store_rollback(eval_store *store);

/* ---- Who and what ---------------------------------------------------------------------------- */

typedef struct store_model {
    char sha256[65];
    const char *name; /* file name without folders */
    const char *architecture;
    uint64_t n_parameters, bytes;
    uint64_t content_checksum, layout_checksum, tokenizer_checksum;
} store_model;

/* Rows of these, made unless they are there already. */
int store_put_model(eval_store *store, const store_model *model, int64_t *id, failure *f);
int store_put_suite(eval_store *store, const eval_suite *suite, int64_t *id, failure *f);

/* A model's row by its file's hash: *id is 0 if there is none. */
int store_find_model(eval_store *store, const char *sha256, int64_t *id, failure *f);

/* ---- Runs ------------------------------------------------------------------------------------ */

typedef struct store_run {
    int64_t id;
    int64_t model_id, suite_id, baseline_id; /* baseline_id 0: none */
    char model_name[256], suite_name[SUITE_MAX_NAME + 1];
    char suite_sha256[65];
    uint64_t n_cases, n_done, n_errors;
    bool complete; /* every case has a result */
} store_run;

/* The newest run of a model on a suite's name, or with suite_name NULL on any; with complete_only,
 * only such. *run is written if *found. */
int store_newest_run(eval_store *store, int64_t model_id, const char *suite_name,
                     bool complete_only, store_run *run, bool *found, failure *f);
int store_read_run(eval_store *store, int64_t run_id, store_run *run, bool *found, failure *f);

/* ---- Results --------------------------------------------------------------------------------- */

typedef struct store_result {
    int64_t id, case_id;
    char *name; /* the case's id */
    char sha256[65];
    char *tags; /* JSON array */
    eval_kind kind;
    bool error;
    int8_t passed; /* 0, 1, or -1: no verdict */
    double score;  /* NAN: none */
    char *detail;  /* JSON */
} store_result;

typedef struct store_results {
    store_result *items; /* in order of name, bytewise */
    size_t n;
} store_results;

/* All results of a run. slice: NULL for all, or a tag. */
int store_load_results(eval_store *store, int64_t run_id, const char *slice, store_results *results,
                       failure *f);
void store_results_free(store_results *results); /* accepts a zeroed one */

/* Two runs on the cases that both have, by name and content. The indices of before[i] and after[i]
 * are of one case. only_before and only_after count what has no partner. */
typedef struct store_pairs {
    uint32_t *before, *after;
    size_t n;
    size_t only_before, only_after;
} store_pairs;

int store_pair(const store_results *before, const store_results *after, store_pairs *pairs,
               failure *f);
void store_pairs_free(store_pairs *pairs);

/* The values of a result's vector ("nll", "kl"), malloc'd; *n is 0 if it has none. */
int store_load_vector(eval_store *store, int64_t result_id, const char *name, double **values,
                      size_t *n, failure *f);

/* ---- Metrics --------------------------------------------------------------------------------- */

/* Names: generate.passed, choice.accuracy, choice.accuracy_per_token, choice.accuracy_per_byte,
 * cloze.accuracy, cloze.nll, perplexity.nll, perplexity.perplexity, perplexity.bits_per_byte,
 * divergence.kl_mean, .kl_median, .kl_p99, .kl_p999, .kl_max, .top1_agreement, .rms_delta_p,
 * .perplexity_ratio, tokenize.round_trip, errors (cases that could not be evaluated). */
typedef struct store_metric {
    char name[48], slice[SUITE_MAX_NAME + 1];
    estimate e; /* value NAN: not defined; stderr_, low, high NAN: none */
    bool higher_is_better;
} store_metric;

/* Computes a run's metrics anew from its results and stores them; marks it complete if it is. The
 * figures depend on the results alone, not on the order in which they came. */
int store_update_metrics(eval_store *store, int64_t run_id, failure *f);

/* A stored metric. *found: there is a row (its value may still be NAN). */
int store_read_metric(eval_store *store, int64_t run_id, const char *slice, const char *name,
                      store_metric *metric, bool *found, failure *f);

/* Which kinds of cases a run's suite has, and which of them the run has results of that are no
 * errors: EVAL_KINDS flags each. slice: NULL for all, or a tag. */
int store_measured_kinds(eval_store *store, int64_t run_id, const char *slice, bool *of_suite,
                         bool *measured, failure *f);

#endif
