/* eval_perplexity.c - negative log-likelihood of a text, token by token. */
#include "lib/eval_perplexity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mathf.h"

row_scale row_scale_of(const float *logits, uint32_t n_vocab)
{
    float top = logits[0];
    for (uint32_t i = 1; i < n_vocab; i++) {
        top = logits[i] > top ? logits[i] : top;
    }
    double sum = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        double x = (double)logits[i] - (double)top;
        sum += x > -700 ? slm_exp64(x) : x <= -700 ? 0 : (double)NAN;
    }
    return (row_scale){.top = (double)top, .log_sum = sum > 0 ? slm_log(sum) : (double)NAN};
}

double row_nll(row_scale scale, const float *logits, int32_t target)
{
    return scale.log_sum + (scale.top - (double)logits[target]);
}

double token_nll(const float *logits, uint32_t n_vocab, int32_t target)
{
    return row_nll(row_scale_of(logits, n_vocab), logits, target);
}

int text_bos_id(const model_file *m, int32_t *bos_id, failure *f)
{
    int32_t *ids = NULL;
    size_t n = 0;
    int code = encode_text(m, "", 0, SLM_ENCODE_SPECIAL, &ids, &n, f);
    if (code == EXIT_OK) {
        *bos_id = n != 0 && ids[0] == m->info.bos_id ? ids[0] : -1;
        free(ids);
    }
    return code;
}

uint64_t text_scored_bytes(const model_file *m, const int32_t *ids, int32_t bos_id,
                           uint64_t n_bytes)
{
    slm_decoder decoder;
    slm_decoder_init(&decoder, SLM_DECODE_CONTROL);
    char text[1024];
    size_t n = 0;
    if (bos_id >= 0) {
        return n_bytes;
    }
    if (slm_decoder_push(&decoder, m->tokenizer, ids[0], text, sizeof text, &n, NULL) == SLM_OK) {
        n += decoder.n_pending;
    }
    return n_bytes > n ? n_bytes - n : 0;
}

/* One pass over windows; mean and squared deviations are kept up to date (Welford). */
typedef struct scorer {
    const perplexity_options *o;
    const int32_t *targets; /* of the rows that the current evaluation emits */
    perplexity *result;
    double mean, squares;
    uint64_t n_total;
} scorer;

static void on_row(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    scorer *s = (scorer *)user;
    double nll = token_nll(logits, n_vocab, s->targets[index]);
    uint64_t n = ++s->result->n_scored;
    double change = nll - s->mean;
    s->result->nll_sum += nll;
    if (s->o->nll) {
        s->o->nll[n - 1] = nll;
    }
    s->mean += change / (double)n;
    s->squares += change * (nll - s->mean);
    if (s->o->rows) {
        logits_out_row(s->o->rows, index, logits, n_vocab);
    }
    if (s->o->bar) {
        progress_update(s->o->bar, "perplexity", n, s->n_total);
    }
}

static int evaluate(model_file *m, const int32_t *ids, size_t n_ids, scorer *s, failure *f)
{
    slm_eval_options options = {.every_position = s ? on_row : NULL, .user = s};
    slm_error error = {0};
    if (n_ids != 0 && slm_session_eval(m->session, ids, n_ids, &options, &error) != SLM_OK) {
        return fail_status(f, m->path, &error);
    }
    return EXIT_OK;
}

/* ids[0..n) is a window, of which ids[from..n) are scored: from the rows of ids[from-1..n-1).
 * Logits of the context before them are never computed, nor those of the last token. */
static int score_window(model_file *m, const int32_t *ids, size_t n, size_t from, scorer *s,
                        failure *f)
{
    slm_session_truncate(m->session, 0, 0);
    int code = evaluate(m, ids, from - 1, NULL, f);
    s->targets = ids + from;
    code = code ? code : evaluate(m, ids + from - 1, n - from, s, f);
    if (code == EXIT_OK && s->o->rows && s->o->rows->failure.exit_code != EXIT_OK) {
        *f = s->o->rows->failure;
        code = f->exit_code;
    }
    s->result->n_windows++;
    return code;
}

static void conclude(const scorer *s, perplexity *r)
{
    double n = (double)r->n_scored;
    r->nll_mean = r->nll_sum / n;
    r->nll_error = r->n_scored > 1 ? sqrt(s->squares / (n - 1) / n) : (double)NAN;
    r->perplexity = r->nll_mean < 700 ? slm_exp64(r->nll_mean) : (double)INFINITY;
    r->perplexity_error = r->perplexity * r->nll_error;
}

int perplexity_measure(model_file *m, const int32_t *ids, size_t n_ids, const perplexity_options *o,
                       perplexity *result, failure *f)
{
    memset(result, 0, sizeof *result);
    size_t n_bos = o->bos_id >= 0 ? 1 : 0, span = o->window - n_bos, scored = 1 - n_bos;
    if (n_ids < 1 + scored) {
        return fail(f, EXIT_INPUT, "the text has %zu tokens: nothing to predict", n_ids);
    }
    scorer s = {.o = o, .result = result, .n_total = n_ids - scored};
    int32_t *window = (int32_t *)malloc(o->window * sizeof *window);
    int code = window ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory for a window");
    result->n_tokens = n_ids;
    for (size_t begin = 0; scored < n_ids && code == EXIT_OK; begin += o->stride) {
        size_t n = n_ids - begin < span ? n_ids - begin : span;
        window[0] = o->bos_id;
        memcpy(window + n_bos, ids + begin, n * sizeof *ids);
        code = score_window(m, window, n_bos + n, n_bos + scored - begin, &s, f);
        scored = begin + n;
    }
    free(window);
    if (code == EXIT_OK) {
        conclude(&s, result);
    }
    return code;
}
