/* generate.h - prompt ids -> text, piece by piece: sampling, stop strings, the end of the context.
 */
#ifndef SLM_TOOLS_GENERATE_H
#define SLM_TOOLS_GENERATE_H

#include "lib/model_file.h"

typedef enum generate_end {
    GENERATE_END_TOKEN, /* the model ended its text */
    GENERATE_STOP_STRING,
    GENERATE_MAX_TOKENS,
    GENERATE_CONTEXT_FULL
} generate_end;

const char *generate_end_name(generate_end end); /* "end_token", "stop_string", ... */

typedef struct generate_options {
    const char *const *stops; /* n_stops of them, none empty; text from the first on is left out */
    uint32_t n_stops;
    uint32_t max_tokens; /* 0: only evaluate the prompt */
    uint32_t decode_flags;
    uint32_t n_reuse; /* leading ids of the prompt that the session holds already; < n_ids */
    bool echo;        /* the text begins with the prompt's */
    /* Receives text as soon as it is certain, always whole UTF-8 characters; may be NULL. */
    void (*emit)(void *user, const char *text, size_t n_bytes);
    /* Receives the logits of every position evaluated, in order; NULL spares computing them. */
    slm_logits_sink every_position;
    slm_progress progress; /* of the prompt; may be NULL */
    void *user;
} generate_options;

typedef struct generation {
    int32_t *ids; /* generated; an end token is the last of them */
    size_t n_ids;
    char *text; /* n_text bytes, NUL-terminated */
    size_t n_text;
    generate_end end;
    double prompt_seconds, first_token_seconds, decode_seconds;
    uint64_t n_evaluated; /* generated tokens evaluated in decode_seconds */
} generation;

/* Runs until one of the ends above. *g is the caller's to free, also on failure. The session holds
 * prompt and generated tokens afterwards, except the last generated one. */
int generate(model_file *m, slm_sampler *sampler, const int32_t *prompt, size_t n_prompt,
             const generate_options *options, generation *g, failure *f);

void generation_free(generation *g);

#endif
