/* eval_engine.h - one case and a model (for divergence, two) -> its result.
 *
 * The engine keeps in mind which token ids the session holds, and evaluates of a prompt only what
 * the one before it did not have: options of a choice share their prompt, cases their common
 * beginning. Logits do not depend on it (docs/numerics.md), so neither does any result.
 */
#ifndef SLM_TOOLS_EVAL_ENGINE_H
#define SLM_TOOLS_EVAL_ENGINE_H

#include "lib/eval_store_write.h"
#include "lib/model_file.h"

typedef struct eval_engine {
    model_file *model;
    model_file *baseline; /* NULL: there is none */
    int32_t bos_id;       /* of the tokenizer, which both share; -1: none */
    int32_t *held;        /* ids in the model's session: n_held, room for its context */
    size_t n_held;
    float *rows; /* the baseline's logits of some positions, for divergence: n_rows */
    uint32_t n_rows;
    uint64_t n_tokens; /* evaluated by the model so far */
} eval_engine;

/* model and baseline (may be NULL) are started, borrowed. EXIT_INPUT if a model has no tokenizer or
 * the two are not of one vocabulary. e is the caller's to free, also on failure. */
int eval_engine_init(eval_engine *e, model_file *model, model_file *baseline, failure *f);
void eval_engine_free(eval_engine *e);

enum { DIGEST_IDS = 64 };

/* The digest of the logits of fixed token ids: 16 hexadecimal digits. It tells builds apart that
 * compute differently. */
int eval_engine_digest(eval_engine *e, char hex[17], failure *f);

/* To be called when something else has used the model's session. */
void engine_forget(eval_engine *e);

/* What a case gave; owns its parts. */
typedef struct case_result {
    new_result r; /* points into what follows */
    char reason[512];
    char *output, *detail;
    double *vectors[RESULT_VECTORS];
} case_result;

/* Evaluates a case. What is wrong with the case for this model (too long, no token) becomes an
 * error result and EXIT_OK; only what would meet every case is a failure. result is the caller's to
 * free, also on failure. */
int eval_engine_run(eval_engine *e, const eval_case *c, case_result *result, failure *f);
void case_result_free(case_result *result);

#endif
