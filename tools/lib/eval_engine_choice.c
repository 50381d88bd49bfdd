/* eval_engine_choice.c - likelihoods of continuations: choice and cloze.
 *
 * Prompt and option are tokenized as one text, as the model would meet them. All options are scored
 * from the first token at which any of them departs from the prompt alone, so that each is
 * conditioned on the same tokens; nearly always that is where the prompt ends. The prompt is
 * evaluated once, and one row of logits predicts the first token of every option.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eval_engine_parts.h"
#include "lib/eval_perplexity.h"

/* A continuation that is to be scored: text[from..n) given text[0..from). */
typedef struct option {
    id_list text;
    size_t from, n_bytes;
    double nll;  /* nats */
    bool greedy; /* each token is the likeliest one, the lower id among equals */
} option;

typedef struct sink {
    const int32_t *targets;
    option *o;
} sink;

static bool is_top(const float *logits, uint32_t n_vocab, int32_t target)
{
    float x = logits[target];
    for (uint32_t i = 0; i < n_vocab; i++) {
        if (logits[i] > x || (logits[i] == x && i < (uint32_t)target)) {
            return false;
        }
    }
    return true;
}

static void on_row(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    sink *s = (sink *)user;
    int32_t target = s->targets[index];
    s->o->nll += token_nll(logits, n_vocab, target);
    s->o->greedy = s->o->greedy && is_top(logits, n_vocab, target);
}

/* The rest of an option, whose first token is accounted for: the session holds text[0..from). */
static int score_rest(eval_engine *e, option *o, failure *f)
{
    size_t n = o->text.n - o->from - 1;
    slm_error error = {0};
    sink s = {.targets = o->text.ids + o->from + 1, .o = o};
    slm_eval_options options = {.every_position = on_row, .user = &s};
    slm_session_truncate(e->model->session, 0, (uint32_t)o->from);
    e->n_held = o->from;
    if (n != 0 &&
        slm_session_eval(e->model->session, o->text.ids + o->from, n, &options, &error) != SLM_OK) {
        return fail_status(f, e->model->path, &error);
    }
    e->n_tokens += n;
    return EXIT_OK;
}

/* Options with the same text[0..from): one row predicts the first token of each. */
static int score_group(eval_engine *e, option *options, size_t n, failure *f)
{
    int code = engine_advance(e, options[0].text.ids, options[0].from, f);
    if (code != EXIT_OK) {
        return code;
    }
    uint32_t n_vocab = e->model->info.n_vocab;
    const float *row = slm_session_logits(e->model->session);
    row_scale scale = row_scale_of(row, n_vocab);
    for (size_t i = 0; i < n; i++) {
        int32_t first = options[i].text.ids[options[i].from];
        options[i].nll = row_nll(scale, row, first);
        options[i].greedy = is_top(row, n_vocab, first);
    }
    for (size_t i = 0; i < n && code == EXIT_OK; i++) {
        code = score_rest(e, &options[i], f);
    }
    return code;
}

/* Tokens that two texts begin with in common. */
static size_t common(const id_list *a, const id_list *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->ids[n] == b->ids[n]) {
        n++;
    }
    return n;
}

/* Tokenizes prompt and continuation; from is where the two part from the prompt alone. */
static int encode_option(const eval_engine *e, const json_t *prompt, const json_t *continuation,
                         option *o, failure *f)
{
    size_t n_prompt = json_string_length(prompt), n = json_string_length(continuation);
    char *both = (char *)malloc(n_prompt + n + 1);
    if (!both) {
        return fail(f, EXIT_RESOURCE, "no memory for a prompt");
    }
    memcpy(both, json_string_value(prompt), n_prompt);
    memcpy(both + n_prompt, json_string_value(continuation), n);
    id_list alone = {0};
    o->n_bytes = n;
    int code = encode_case(e, both, n_prompt + n, &o->text, f);
    code = code ? code : encode_case(e, both, n_prompt, &alone, f);
    o->from = code == EXIT_OK ? common(&alone, &o->text) : 0;
    free(alone.ids);
    free(both);
    return code;
}

/* What makes an option impossible to score with this model. */
static bool refuse_option(const eval_engine *e, const option *o, size_t index, case_result *result)
{
    if (o->from == 0) {
        case_error(result, "option %zu: no token of the prompt stands before it", index);
    } else if (o->from >= o->text.n) {
        case_error(result, "option %zu adds no token to the prompt", index);
    } else if (o->text.n > engine_context(e)) {
        case_error(result, "option %zu: %zu tokens exceed the context of %u", index, o->text.n,
                   engine_context(e));
    }
    return result->r.error;
}

/* ---- choice ---------------------------------------------------------------------------------- */

typedef struct question {
    option options[SUITE_MAX_CHOICES];
    size_t n;
    bool shared; /* one prompt, several choices */
} question;

static int encode_question(const eval_engine *e, const eval_case *c, question *q, failure *f)
{
    json_t *d = c->definition, *choices = json_object_get(d, "choices");
    json_t *prompts = json_object_get(d, "prompts");
    q->shared = choices != NULL;
    q->n = json_array_size(choices ? choices : prompts);
    size_t from = SIZE_MAX;
    int code = EXIT_OK;
    for (size_t i = 0; i < q->n && code == EXIT_OK; i++) {
        const json_t *prompt = choices ? json_object_get(d, "prompt") : json_array_get(prompts, i);
        const json_t *rest =
            choices ? json_array_get(choices, i) : json_object_get(d, "continuation");
        code = encode_option(e, prompt, rest, &q->options[i], f);
        from = q->options[i].from < from ? q->options[i].from : from;
    }
    for (size_t i = 0; i < q->n && q->shared; i++) {
        q->options[i].from = from;
    }
    return code;
}

/* -nll, per token, per byte. */
static double weight(const option *o, int normalize)
{
    double by = normalize == 1   ? (double)(o->text.n - o->from)
                : normalize == 2 ? (double)o->n_bytes
                                 : 1;
    return -o->nll / by;
}

static size_t best(const question *q, int normalize)
{
    size_t at = 0;
    for (size_t i = 1; i < q->n; i++) {
        at = weight(&q->options[i], normalize) > weight(&q->options[at], normalize) ? i : at;
    }
    return at;
}

static int judge(const eval_case *c, const question *q, case_result *result, failure *f)
{
    static const char *const ways[3] = {"none", "token", "byte"};
    json_t *d = c->definition, *correct = json_object(), *picked = json_object();
    json_t *logprobs = json_array(), *tokens = json_array();
    size_t answer = (size_t)json_integer_value(json_object_get(d, "answer"));
    const char *by = json_string_value(json_object_get(d, "normalize"));
    for (int k = 0; k < 3; k++) {
        size_t at = best(q, k);
        json_object_set_new(picked, ways[k], json_integer((json_int_t)at));
        json_object_set_new(correct, ways[k], json_boolean(at == answer));
        if (strcmp(by ? by : ways[0], ways[k]) == 0) {
            result->r.passed = at == answer;
        }
    }
    result->r.score = result->r.passed;
    for (size_t i = 0; i < q->n; i++) {
        json_array_append_new(logprobs, json_real(-q->options[i].nll));
        json_array_append_new(
            tokens, json_integer((json_int_t)(q->options[i].text.n - q->options[i].from)));
    }
    return case_detail(result,
                       json_pack("{s:o, s:o, s:o, s:o}", "correct", correct, "picked", picked,
                                 "logprobs", logprobs, "tokens", tokens),
                       f);
}

int run_choice(eval_engine *e, const eval_case *c, case_result *result, failure *f)
{
    question *q = (question *)calloc(1, sizeof *q);
    if (!q) {
        return fail(f, EXIT_RESOURCE, "no memory for a question");
    }
    int code = encode_question(e, c, q, f);
    for (size_t i = 0; i < q->n && code == EXIT_OK && !result->r.error; i++) {
        refuse_option(e, &q->options[i], i, result);
    }
    bool go = code == EXIT_OK && !result->r.error;
    if (go && q->shared) {
        code = score_group(e, q->options, q->n, f);
    }
    for (size_t i = 0; i < q->n && go && !q->shared && code == EXIT_OK; i++) {
        code = score_group(e, &q->options[i], 1, f);
    }
    for (size_t i = 0; i < q->n && go && code == EXIT_OK && !result->r.error; i++) {
        if (!isfinite(q->options[i].nll)) {
            case_error(result, "option %zu: the model's logits are not finite", i);
        }
    }
    if (code == EXIT_OK && !result->r.error) {
        code = judge(c, q, result, f);
    }
    for (size_t i = 0; i < q->n; i++) {
        free(q->options[i].text.ids);
    }
    free(q);
    return code;
}

/* ---- cloze ----------------------------------------------------------------------------------- */

int run_cloze(eval_engine *e, const eval_case *c, case_result *result, failure *f)
{
    option o = {0};
    json_t *d = c->definition;
    int code =
        encode_option(e, json_object_get(d, "prompt"), json_object_get(d, "continuation"), &o, f);
    if (code == EXIT_OK && !refuse_option(e, &o, 0, result)) {
        code = score_group(e, &o, 1, f);
        if (code == EXIT_OK && !isfinite(o.nll)) {
            code = case_error(result, "the model's logits are not finite");
        } else if (code == EXIT_OK) {
            size_t n = o.text.n - o.from;
            result->r.passed = o.greedy;
            result->r.score = o.nll / (double)n;
            code = case_detail(
                result, json_pack("{s:f, s:I}", "logprob", -o.nll, "tokens", (json_int_t)n), f);
        }
    }
    free(o.text.ids);
    return code;
}
