/* eval_perplexity.h - token ids -> how well a model predicts them, over sliding windows.
 *
 * A tokenizer that begins texts with a start token (BOS) begins every window with it; its place
 * counts towards the window. Windows start `stride` tokens apart. A window scores the tokens that
 * no earlier one has scored: so every token is scored exactly once - except the first one of the
 * text if there is no BOS to predict it from - and, but for the first window, each with at least
 * window - stride tokens before it.
 */
#ifndef SLM_TOOLS_EVAL_PERPLEXITY_H
#define SLM_TOOLS_EVAL_PERPLEXITY_H

#include "lib/cli.h"
#include "lib/logits_out.h"
#include "lib/model_file.h"

typedef struct perplexity_options {
    uint32_t window, stride; /* 1 <= stride < window; the window fits the session */
    int32_t bos_id;          /* before every window; -1: none */
    logits_out *rows; /* gets the row that each scored token is predicted from; may be NULL */
    double *nll;      /* gets the figure of each scored token: room for n_ids; may be NULL */
    progress *bar;    /* may be NULL */
} perplexity_options;

typedef struct perplexity {
    uint64_t n_tokens, n_scored, n_windows;
    double nll_sum, nll_mean; /* nats */
    double nll_error; /* standard error of the mean, tokens taken as independent; NAN for 1 */
    double perplexity, perplexity_error; /* e^mean, and its error to first order */
} perplexity;

/* What turns a row of logits into probabilities: log p(i) = (logits[i] - top) - log_sum, in f64,
 * the same bits on every platform. NAN if a logit is not a number, or infinite. */
typedef struct row_scale {
    double top, log_sum;
} row_scale;

row_scale row_scale_of(const float *logits, uint32_t n_vocab);

/* -log softmax(logits)[target] in nats. */
double row_nll(row_scale scale, const float *logits, int32_t target);
double token_nll(const float *logits, uint32_t n_vocab, int32_t target);

/* The id that the tokenizer puts before every text, or -1: what encoding nothing gives. */
int text_bos_id(const model_file *m, int32_t *bos_id, failure *f);

/* Bytes of text that are scored of n_bytes: all but those of the first token, if no start token
 * stands before it. */
uint64_t text_scored_bytes(const model_file *m, const int32_t *ids, int32_t bos_id,
                           uint64_t n_bytes);

int perplexity_measure(model_file *m, const int32_t *ids, size_t n_ids,
                       const perplexity_options *options, perplexity *result, failure *f);

/* The subcommand: slm-eval perplexity. */
int eval_perplexity_main(int argc, char **argv);

#endif
