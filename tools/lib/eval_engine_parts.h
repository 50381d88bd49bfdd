/* eval_engine_parts.h - what the files of the evaluation engine share. */
#ifndef SLM_TOOLS_EVAL_ENGINE_PARTS_H
#define SLM_TOOLS_EVAL_ENGINE_PARTS_H

#include "lib/eval_engine.h"
#include "lib/eval_perplexity.h"

/* Makes an error result of the case; returns EXIT_OK. */
int case_error(case_result *result, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "detail" from a new reference to a JSON object, which is released. */
int case_detail(case_result *result, json_t *detail, failure *f);

/* Token ids of a case; the caller's to free. */
typedef struct id_list {
    int32_t *ids;
    size_t n;
} id_list;

/* Text -> ids, after the start token if the tokenizer has one. */
int encode_case(const eval_engine *e, const char *text, size_t n_bytes, id_list *list, failure *f);

/* Brings the session to ids[0..n), evaluating what it does not hold yet, at least the last id,
 * whose logits slm_session_logits then has. n >= 1, and fits the context. */
int engine_advance(eval_engine *e, const int32_t *ids, size_t n, failure *f);

uint32_t engine_context(const eval_engine *e);

/* KL(base || model) in nats, of two rows of logits with their scales p and q. Rounding can make it
 * a hair less than 0. */
double row_divergence(row_scale p, const float *base, row_scale q, const float *row,
                      uint32_t n_vocab);

/* One function for each kind. */
int run_generate(eval_engine *e, const eval_case *c, case_result *result, failure *f);
int run_choice(eval_engine *e, const eval_case *c, case_result *result, failure *f);
int run_cloze(eval_engine *e, const eval_case *c, case_result *result, failure *f);
int run_perplexity(eval_engine *e, const eval_case *c, case_result *result, failure *f);
int run_divergence(eval_engine *e, const eval_case *c, case_result *result, failure *f);
int run_tokenize(eval_engine *e, const eval_case *c, case_result *result, failure *f);

#endif
