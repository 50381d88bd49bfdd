/* eval_store_write.h - the side of the store that a run writes through. */
#ifndef SLM_TOOLS_EVAL_STORE_WRITE_H
#define SLM_TOOLS_EVAL_STORE_WRITE_H

#include "lib/eval_store.h"

/* All that a figure depends on: what the key of a run is made of. */
typedef struct run_identity {
    int64_t model_id, suite_id, baseline_id;                   /* rows; baseline_id 0: none */
    const char *model_sha256, *suite_sha256, *baseline_sha256; /* the last: NULL without one */
    /* Of the logits of some fixed token ids, 16 hexadecimal digits: two builds may share a run only
     * if they compute the same. */
    const char *logits_digest, *baseline_digest;
    const char *model_name;
    const char *settings; /* JSON, keys sorted */
    uint32_t n_cases;     /* that are to be done */
} run_identity;

/* Finds the newest run of this identity, or makes it (*created). again: makes a new one even if
 * there is one already. */
int store_enter_run(eval_store *store, const run_identity *identity, bool again, int64_t *run_id,
                    bool *created, failure *f);

/* Says why an earlier run of these names that is not complete was not gone on with; "" if there is
 * none. */
int store_explain_new(eval_store *store, int64_t run_id, char *why, size_t room, failure *f);

/* Takes over results that the same model has given on the same cases under the same settings in
 * other runs (an earlier content of the suite, or without a baseline). *n: how many. */
int store_reuse(eval_store *store, int64_t run_id, uint64_t *n, failure *f);

int store_begin_attempt(eval_store *store, int64_t run_id, uint32_t threads, const char *kernels,
                        const char *shard, int64_t *attempt_id, failure *f);
int store_end_attempt(eval_store *store, int64_t attempt_id, double seconds, uint64_t peak_bytes,
                      failure *f);

/* ids[ordinal] and done[ordinal]: the row of each of the suite's cases, and whether the run has a
 * result of it. Both have room for all cases. */
int store_cases(eval_store *store, int64_t run_id, int64_t suite_id, const eval_suite *suite,
                int64_t *ids, bool *done, failure *f);

/* Claims a case for this process until store_release, or its end. False: another process has it.
 * wait: until that one is done with it. The result may be there afterwards: ask store_has. */
bool store_claim(eval_store *store, int64_t run_id, int64_t case_id, bool wait);
void store_release(eval_store *store, int64_t run_id, int64_t case_id);

typedef struct result_vector {
    const char *name;
    const double *values;
    size_t n; /* 0: none */
} result_vector;

enum { RESULT_VECTORS = 3 };

typedef struct new_result {
    bool error;
    const char *reason; /* if error */
    int8_t passed;      /* 0, 1, -1: no verdict */
    double score;       /* NAN: none */
    const char *output; /* may be NULL */
    size_t n_output;
    const char *detail; /* JSON */
    uint64_t n_tokens;
    double seconds;
    result_vector vectors[RESULT_VECTORS];
} new_result;

/* Statements that a run uses over and over. Zeroed, then the caller's to free. */
typedef struct result_writer {
    sqlite3_stmt *has, *insert, *vector;
} result_writer;

int result_writer_init(result_writer *w, eval_store *store, failure *f);
void result_writer_free(result_writer *w);

int store_has(eval_store *store, result_writer *w, int64_t run_id, int64_t case_id, bool *has,
              failure *f);

/* One transaction. A result that is there already stays as it is. */
int store_put_result(eval_store *store, result_writer *w, int64_t run_id, int64_t attempt_id,
                     int64_t case_id, const new_result *result, failure *f);

#endif
