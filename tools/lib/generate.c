/* generate.c - the loop evaluate, sample, decode, and what ends it. */
#include "lib/generate.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"

typedef struct run {
    model_file *m;
    const generate_options *o;
    generation *g;
    slm_decoder decoder;
    size_t n_emitted; /* bytes of g->text handed on; the rest may be the start of a stop string */
    size_t text_capacity, ids_capacity;
    size_t n_positions; /* handed to the sink so far */
} run;

const char *generate_end_name(generate_end end)
{
    static const char *const names[] = {"end_token", "stop_string", "max_tokens", "context_full"};
    return names[end];
}

static int no_memory(failure *f)
{
    return fail(f, EXIT_RESOURCE, "no memory for the generated text");
}

/* Room for n more bytes and a NUL. */
static int reserve_text(run *r, size_t n, failure *f)
{
    if (r->text_capacity - r->g->n_text > n) {
        return EXIT_OK;
    }
    size_t capacity = (r->g->n_text + n + 1) * 2;
    char *grown = (char *)realloc(r->g->text, capacity);
    if (!grown) {
        return no_memory(f);
    }
    r->g->text = grown;
    r->text_capacity = capacity;
    return EXIT_OK;
}

static int append_id(run *r, int32_t id, failure *f)
{
    if (r->g->n_ids == r->ids_capacity) {
        size_t capacity = r->ids_capacity ? r->ids_capacity * 2 : 256;
        int32_t *grown = (int32_t *)realloc(r->g->ids, capacity * sizeof *grown);
        if (!grown) {
            return no_memory(f);
        }
        r->g->ids = grown;
        r->ids_capacity = capacity;
    }
    r->g->ids[r->g->n_ids++] = id;
    return EXIT_OK;
}

/* Decodes one id to the end of the text. */
static int append_text(run *r, int32_t id, failure *f)
{
    if (!r->m->tokenizer) {
        return EXIT_OK;
    }
    slm_error error = {0};
    size_t n = 0, room = 64;
    slm_status status;
    do {
        int code = reserve_text(r, room, f);
        if (code != EXIT_OK) {
            return code;
        }
        status = slm_decoder_push(&r->decoder, r->m->tokenizer, id, r->g->text + r->g->n_text, room,
                                  &n, &error);
        room = n > room ? n : room * 2; /* with SLM_ERR_BUFFER, n is what it needs */
    } while (status == SLM_ERR_BUFFER);
    if (status == SLM_ERR_TOKEN_ID) { /* a row of the embedding that has no token */
        return EXIT_OK;
    }
    if (status != SLM_OK) {
        return fail_status(f, r->m->path, &error);
    }
    r->g->n_text += n;
    r->g->text[r->g->n_text] = 0;
    return EXIT_OK;
}

static void emit_until(run *r, size_t end)
{
    if (end > r->n_emitted && r->o->emit) {
        r->o->emit(r->o->user, r->g->text + r->n_emitted, end - r->n_emitted);
    }
    r->n_emitted = end > r->n_emitted ? end : r->n_emitted;
}

/* Length of the longest end of text that is a beginning, but not all, of stop. */
static size_t partial_match(const char *text, size_t n_text, const char *stop)
{
    size_t n = strlen(stop) - 1;
    for (n = n < n_text ? n : n_text; n > 0; n--) {
        if (memcmp(text + n_text - n, stop, n) == 0) {
            break;
        }
    }
    return n;
}

/* Hands on what no stop string can claim any more. True if one stands in the text, which is then
 * cut before the first. */
static bool emit_certain(run *r)
{
    generation *g = r->g;
    const char *first = NULL;
    size_t held = 0, n = g->n_text - r->n_emitted;
    const char *pending = g->text + r->n_emitted;
    for (uint32_t i = 0; i < r->o->n_stops; i++) {
        const char *stop = r->o->stops[i];
        const char *at = (const char *)memmem(pending, n, stop, strlen(stop));
        first = at && (!first || at < first) ? at : first;
        size_t partial = partial_match(pending, n, stop);
        held = partial > held ? partial : held;
    }
    if (first) {
        g->n_text = (size_t)(first - g->text);
        g->text[g->n_text] = 0;
        emit_until(r, g->n_text);
        return true;
    }
    emit_until(r, g->n_text - held);
    return false;
}

static void on_logits(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    run *r = (run *)user;
    (void)index;
    r->o->every_position(r->o->user, r->n_positions++, logits, n_vocab);
}

static int on_progress(void *user, size_t n_done, size_t n_total)
{
    run *r = (run *)user;
    return r->o->progress(r->o->user, n_done, n_total);
}

static int evaluate(run *r, const int32_t *ids, size_t n_ids, failure *f)
{
    slm_eval_options options = {.every_position = r->o->every_position ? on_logits : NULL,
                                .progress = r->o->progress && n_ids > 1 ? on_progress : NULL,
                                .user = r};
    slm_error error = {0};
    if (slm_session_eval(r->m->session, ids, n_ids, &options, &error) != SLM_OK) {
        return fail_status(f, r->m->path, &error);
    }
    return EXIT_OK;
}

/* The decoder sees the prompt first, so that a first generated word keeps the space before it. */
static int read_prompt(run *r, const int32_t *prompt, size_t n_prompt, failure *f)
{
    for (size_t i = 0; i < n_prompt; i++) {
        int code = append_text(r, prompt[i], f);
        if (code != EXIT_OK) {
            return code;
        }
    }
    if (!r->o->echo) {
        r->g->n_text = 0;
        r->g->text[0] = 0;
    }
    emit_until(r, r->g->n_text); /* stop strings are for generated text */
    slm_session *s = r->m->session;
    size_t room = slm_session_context(s) - r->o->n_reuse;
    if (n_prompt - r->o->n_reuse > room) {
        return fail(f, EXIT_USAGE,
                    "the prompt has %zu tokens, the context %u; shorten it or raise --ctx",
                    n_prompt, slm_session_context(s));
    }
    slm_session_truncate(s, 0, r->o->n_reuse);
    return evaluate(r, prompt + r->o->n_reuse, n_prompt - r->o->n_reuse, f);
}

/* One token: sampled, recorded, decoded. *done: what it ended, if it did. */
static int step(run *r, slm_sampler *sampler, bool *done, failure *f)
{
    generation *g = r->g;
    int32_t id = slm_sample(sampler, slm_session_logits(r->m->session), r->m->info.n_vocab);
    int code = append_id(r, id, f);
    *done = true;
    if (code != EXIT_OK) {
        return code;
    }
    if (r->m->tokenizer && slm_token_is_end(r->m->tokenizer, id)) {
        g->end = GENERATE_END_TOKEN;
        return EXIT_OK;
    }
    code = append_text(r, id, f);
    if (code != EXIT_OK) {
        return code;
    }
    if (emit_certain(r)) {
        g->end = GENERATE_STOP_STRING;
    } else if (g->n_ids == r->o->max_tokens) {
        g->end = GENERATE_MAX_TOKENS;
    } else if (slm_session_length(r->m->session, 0) == slm_session_context(r->m->session)) {
        g->end = GENERATE_CONTEXT_FULL;
    } else {
        *done = false;
    }
    return EXIT_OK;
}

/* An unfinished character and held back text come out, unless a stop string ended it. */
static int finish(run *r, failure *f)
{
    generation *g = r->g;
    if (g->end != GENERATE_STOP_STRING && (g->n_ids != 0 || r->o->echo)) {
        int code = reserve_text(r, 8, f);
        if (code != EXIT_OK) {
            return code;
        }
        g->n_text += slm_decoder_flush(&r->decoder, g->text + g->n_text);
        g->text[g->n_text] = 0;
        emit_until(r, g->n_text);
    }
    return EXIT_OK;
}

int generate(model_file *m, slm_sampler *sampler, const int32_t *prompt, size_t n_prompt,
             const generate_options *options, generation *g, failure *f)
{
    memset(g, 0, sizeof *g);
    g->end = GENERATE_MAX_TOKENS;
    run r = {.m = m, .o = options, .g = g};
    slm_decoder_init(&r.decoder, options->decode_flags);
    int code = reserve_text(&r, 1, f);
    if (code == EXIT_OK) {
        g->text[0] = 0;
    }
    double start = clock_seconds();
    code = code ? code : read_prompt(&r, prompt, n_prompt, f);
    double ready = clock_seconds();
    g->prompt_seconds = ready - start;
    bool done = options->max_tokens == 0;
    while (code == EXIT_OK && !done) {
        code = step(&r, sampler, &done, f);
        if (g->n_ids == 1) {
            g->first_token_seconds = clock_seconds() - start;
        }
        if (code == EXIT_OK && !done) {
            code = evaluate(&r, &g->ids[g->n_ids - 1], 1, f);
            g->n_evaluated++;
        }
    }
    g->decode_seconds = clock_seconds() - ready;
    return code ? code : finish(&r, f);
}

void generation_free(generation *g)
{
    free(g->ids);
    free(g->text);
    memset(g, 0, sizeof *g);
}
