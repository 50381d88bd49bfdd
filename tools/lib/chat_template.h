/* chat_template.h - a chat template -> the turns that write the same conversations.
 *
 * The template is run on small conversations; what it writes around the messages gives the turns;
 * then the turns write these and other conversations, which must come out the same. A template of
 * which that is not true has no turns.
 */
#ifndef SLM_TOOLS_CHAT_TEMPLATE_H
#define SLM_TOOLS_CHAT_TEMPLATE_H

#include "lib/jinja.h"
#include "lib/tokenizer_build.h"

/* Text in which a control token is one mark: 256 + its id; else a byte. */
typedef struct chat_marks {
    const uint32_t *items;
    size_t n;
} chat_marks;

enum { CHAT_WHY = 256, CHAT_MAX_RENDERINGS = 128 };

typedef struct chat_template chat_template;

typedef struct chat_turns {
    chat_marks sequences[CHAT_SEQUENCES]; /* owned by the template */
    uint32_t flags;                       /* as in the payload */
    char missing[48];    /* a special token that the template writes and there is none of; "" */
    bool writes_date;    /* the template asks for the day's date */
    bool answers_differ; /* conversations that end with an answer come out otherwise */
} chat_turns;

/* globals: what the template sees besides the messages; borrowed. *t: for chat_template_turns.
 * EXIT_OK with *t NULL: the template cannot be read, why says so (CHAT_WHY bytes). */
int chat_template_open(chat_template **t, const tokenizer_build *b, const char *text, size_t n,
                       json_t *globals, char *why, failure *f);
void chat_template_close(chat_template **t);

/* EXIT_CHECK: it has no turns, why says why not. */
int chat_template_turns(chat_template *t, chat_turns *turns, char *why, failure *f);

/* The conversations that turns must reproduce: n_messages messages (texts in `texts`), and what the
 * template writes of them with the beginning of an answer; borrowed until the template closes. */
typedef struct chat_sample {
    slm_message messages[8];
    char texts[8][96];
    size_t n_messages;
    const char *text;
    size_t n_text;
} chat_sample;
uint32_t chat_template_n_samples(const chat_template *t);
int chat_template_sample(chat_template *t, uint32_t i, bool has_system, chat_sample *sample,
                         char *why, failure *f);

#endif
