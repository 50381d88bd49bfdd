/* tokenizer_chat.h - the chat template of a tokenizer_config.json -> CHAT payload and the text. */
#ifndef SLM_TOOLS_TOKENIZER_CHAT_H
#define SLM_TOOLS_TOKENIZER_CHAT_H

#include "lib/chat_template.h"

typedef struct chat_build {
    tokenizer_build *b;
    chat_template *template; /* NULL: there are no turns */
    chat_turns turns;
    const char *text; /* of the template, borrowed from the configuration; NULL: none is kept */
    size_t n_text;
} chat_build;

/* Finds the turns of the chat template of a parsed tokenizer_config.json (NULL: none), and adds the
 * end of an answer to the stop ids. What has no turns is a warning, not a failure. */
int chat_begin(chat_build *c, tokenizer_build *b, json_t *config, failure *f);

/* With the BPE1 payload made: fills payload->chat if the turns prove to give the template's ids,
 * and payload->chat_text. */
int chat_finish(chat_build *c, tokenizer_payload *payload, failure *f);

void chat_end(chat_build *c);

#endif
