/* run_chat.h - a conversation: messages -> ids in the model's turn format, of which the session
 * keeps what did not change since the turn before.
 */
#ifndef SLM_TOOLS_RUN_CHAT_H
#define SLM_TOOLS_RUN_CHAT_H

#include "lib/generate.h"

typedef struct conversation {
    slm_message *messages; /* texts are malloc'd */
    size_t n_messages, capacity;
    bool control;  /* control tokens are recognised in the messages' texts */
    int32_t *held; /* ids that the session holds */
    size_t n_held;
} conversation;

int conversation_add(conversation *c, slm_role role, const char *text, size_t n_bytes, failure *f);

/* The messages as the model's own turns, ready for its answer: malloc'd ids, the caller's to free.
 */
int conversation_encode(const conversation *c, const model_file *m, int32_t **ids, size_t *n_ids,
                        failure *f);

/* Lets the model answer the last message; the answer is added to the conversation. prompt_ids: a
 * malloc'd copy of what was evaluated, the caller's to free; may be NULL. */
int conversation_answer(conversation *c, model_file *m, slm_sampler *sampler,
                        const generate_options *options, generation *g, int32_t **prompt_ids,
                        size_t *n_prompt, failure *f);

/* Fails with what to do with a model that has no chat turns. */
int conversation_refuse(const model_file *m, failure *f);

void conversation_free(conversation *c);

#endif
