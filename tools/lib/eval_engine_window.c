/* eval_engine_window.c - texts in windows: perplexity, and divergence from a baseline in lockstep.
 *
 * Both cut the text as eval_perplexity.h says, so that each token is scored once. For divergence
 * the baseline goes ahead by a few positions, whose rows of logits are kept until the model has its
 * own for them: no logits are ever stored.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mathf.h"
#include "lib/eval_engine_parts.h"
#include "lib/eval_perplexity.h"

static uint32_t number(const eval_case *c, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(c->definition, key));
}

/* The text's ids; an error result if it cannot be windowed. */
static int begin_text(eval_engine *e, const eval_case *c, int32_t **ids, size_t *n_ids,
                      case_result *result, failure *f)
{
    uint32_t window = number(c, "window");
    int code = encode_text(e->model, c->text, c->n_text, 0, ids, n_ids, f);
    if (code == EXIT_OK && window > engine_context(e)) {
        return case_error(result, "the window of %u tokens exceeds the context of %u", window,
                          engine_context(e));
    }
    if (code == EXIT_OK && *n_ids < (e->bos_id >= 0 ? 1u : 2u)) {
        return case_error(result, "the text has %zu tokens: nothing to predict", *n_ids);
    }
    return code;
}

static int no_memory(failure *f)
{
    return fail(f, EXIT_RESOURCE, "no memory for the figures of a text");
}

static bool all_finite(const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i])) {
            return false;
        }
    }
    return true;
}

/* ---- perplexity ------------------------------------------------------------------------------ */

static int keep_perplexity(eval_engine *e, const eval_case *c, const int32_t *ids,
                           const perplexity *p, case_result *result, failure *f)
{
    size_t n = (size_t)p->n_scored;
    if (!all_finite(result->vectors[0], n)) {
        return case_error(result, "the model's logits are not finite");
    }
    e->n_tokens += p->n_tokens;
    result->r.vectors[0] = (result_vector){"nll", result->vectors[0], n};
    result->r.score = p->nll_mean;
    uint64_t bytes = text_scored_bytes(e->model, ids, e->bos_id, c->n_text);
    return case_detail(result,
                       json_pack("{s:I, s:I, s:I, s:I, s:f}", "tokens", (json_int_t)p->n_tokens,
                                 "scored", (json_int_t)n, "windows", (json_int_t)p->n_windows,
                                 "bytes", (json_int_t)bytes, "nll", p->nll_mean),
                       f);
}

int run_perplexity(eval_engine *e, const eval_case *c, case_result *result, failure *f)
{
    int32_t *ids = NULL;
    size_t n = 0;
    int code = begin_text(e, c, &ids, &n, result, f);
    if (code == EXIT_OK && !result->r.error) {
        perplexity p;
        result->vectors[0] = (double *)malloc(n * sizeof(double));
        perplexity_options o = {.window = number(c, "window"),
                                .stride = number(c, "stride"),
                                .bos_id = e->bos_id,
                                .nll = result->vectors[0]};
        engine_forget(e);
        code = o.nll ? perplexity_measure(e->model, ids, n, &o, &p, f) : no_memory(f);
        code = code ? code : keep_perplexity(e, c, ids, &p, result, f);
    }
    free(ids);
    return code;
}

/* ---- divergence ------------------------------------------------------------------------------ */

typedef struct lockstep {
    eval_engine *e;
    const int32_t *targets; /* of the rows at hand */
    double *kl, *difference;
    size_t n; /* scored so far */
    uint64_t agreements;
    double delta_p_squares, nll_sum, base_nll_sum;
} lockstep;

static uint32_t top_of(const float *row, uint32_t n_vocab)
{
    uint32_t at = 0;
    for (uint32_t i = 1; i < n_vocab; i++) {
        at = row[i] > row[at] ? i : at;
    }
    return at;
}

static double exp_of(double x)
{
    return x > -700 ? slm_exp64(x) : 0;
}

double row_divergence(row_scale p, const float *base, row_scale q, const float *row,
                      uint32_t n_vocab)
{
    double sum = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        double log_p = ((double)base[i] - p.top) - p.log_sum;
        double log_q = ((double)row[i] - q.top) - q.log_sum;
        sum += exp_of(log_p) * (log_p - log_q);
    }
    return sum;
}

static void keep_row(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    lockstep *s = (lockstep *)user;
    memcpy(s->e->rows + index * n_vocab, logits, n_vocab * sizeof *logits);
}

static void compare_row(void *user, size_t index, const float *row, uint32_t n_vocab)
{
    lockstep *s = (lockstep *)user;
    const float *base = s->e->rows + index * n_vocab;
    int32_t target = s->targets[index];
    row_scale p = row_scale_of(base, n_vocab), q = row_scale_of(row, n_vocab);
    double base_nll = row_nll(p, base, target), nll = row_nll(q, row, target);
    double delta_p = exp_of(-nll) - exp_of(-base_nll);
    s->kl[s->n] = row_divergence(p, base, q, row, n_vocab);
    s->difference[s->n] = nll - base_nll;
    s->n++;
    s->agreements += top_of(base, n_vocab) == top_of(row, n_vocab);
    s->delta_p_squares += delta_p * delta_p;
    s->nll_sum += nll;
    s->base_nll_sum += base_nll;
}

static int feed(model_file *m, const int32_t *ids, size_t n, slm_logits_sink every, void *user,
                failure *f)
{
    slm_error error = {0};
    slm_eval_options o = {.every_position = every, .user = user};
    if (n != 0 && slm_session_eval(m->session, ids, n, &o, &error) != SLM_OK) {
        return fail_status(f, m->path, &error);
    }
    return EXIT_OK;
}

/* As score_window of eval_perplexity.c, with two models: ids[from..n) are scored. */
static int compare_window(lockstep *s, const int32_t *ids, size_t n, size_t from, failure *f)
{
    eval_engine *e = s->e;
    slm_session_truncate(e->model->session, 0, 0);
    slm_session_truncate(e->baseline->session, 0, 0);
    int code = feed(e->baseline, ids, from - 1, NULL, NULL, f);
    code = code ? code : feed(e->model, ids, from - 1, NULL, NULL, f);
    for (size_t at = from - 1; at + 1 < n && code == EXIT_OK;) {
        size_t rows = n - 1 - at < e->n_rows ? n - 1 - at : e->n_rows;
        s->targets = ids + at + 1;
        code = feed(e->baseline, ids + at, rows, keep_row, s, f);
        code = code ? code : feed(e->model, ids + at, rows, compare_row, s, f);
        at += rows;
    }
    e->n_tokens += n;
    return code;
}

static int compare_windows(lockstep *s, const eval_case *c, const int32_t *ids, size_t n_ids,
                           failure *f)
{
    int32_t bos = s->e->bos_id;
    size_t window = number(c, "window"), stride = number(c, "stride");
    size_t n_bos = bos >= 0 ? 1 : 0, span = window - n_bos, scored = 1 - n_bos;
    int32_t *held = (int32_t *)malloc(window * sizeof *held);
    int code = held ? EXIT_OK : no_memory(f);
    for (size_t begin = 0; scored < n_ids && code == EXIT_OK; begin += stride) {
        size_t n = n_ids - begin < span ? n_ids - begin : span;
        held[0] = bos;
        memcpy(held + n_bos, ids + begin, n * sizeof *ids);
        code = compare_window(s, held, n_bos + n, n_bos + scored - begin, f);
        scored = begin + n;
    }
    free(held);
    return code;
}

static int keep_divergence(const lockstep *s, case_result *result, failure *f)
{
    if (!all_finite(s->kl, s->n) || !all_finite(s->difference, s->n)) {
        return case_error(result, "the logits of model or baseline are not finite");
    }
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        sum += s->kl[i];
    }
    result->r.vectors[0] = (result_vector){"kl", s->kl, s->n};
    result->r.vectors[1] = (result_vector){"nll_difference", s->difference, s->n};
    result->r.score = sum / (double)s->n;
    return case_detail(result,
                       json_pack("{s:I, s:I, s:f, s:f, s:f, s:f}", "scored", (json_int_t)s->n,
                                 "agreements", (json_int_t)s->agreements, "delta_p_squares",
                                 s->delta_p_squares, "kl", result->r.score, "nll",
                                 s->nll_sum / (double)s->n, "base_nll",
                                 s->base_nll_sum / (double)s->n),
                       f);
}

int run_divergence(eval_engine *e, const eval_case *c, case_result *result, failure *f)
{
    int32_t *ids = NULL;
    size_t n = 0;
    if (!e->baseline) {
        return fail(f, EXIT_USAGE, "%s: a case of kind divergence needs --baseline", c->id);
    }
    int code = begin_text(e, c, &ids, &n, result, f);
    if (code == EXIT_OK && !result->r.error) {
        result->vectors[0] = (double *)malloc(n * sizeof(double));
        result->vectors[1] = (double *)malloc(n * sizeof(double));
        lockstep s = {.e = e, .kl = result->vectors[0], .difference = result->vectors[1]};
        engine_forget(e);
        code = s.kl && s.difference ? compare_windows(&s, c, ids, n, f) : no_memory(f);
        code = code ? code : keep_divergence(&s, result, f);
    }
    free(ids);
    return code;
}
