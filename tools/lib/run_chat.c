/* run_chat.c - turns of a conversation. */
#include "lib/run_chat.h"

#include <stdlib.h>
#include <string.h>

#include "format/slm_file.h"

int conversation_add(conversation *c, slm_role role, const char *text, size_t n_bytes, failure *f)
{
    if (c->n_messages == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 16;
        slm_message *grown = (slm_message *)realloc(c->messages, capacity * sizeof *grown);
        if (!grown) {
            return fail(f, EXIT_RESOURCE, "no memory for the conversation");
        }
        c->messages = grown;
        c->capacity = capacity;
    }
    char *copy = (char *)malloc(n_bytes + 1);
    if (!copy) {
        return fail(f, EXIT_RESOURCE, "no memory for the conversation");
    }
    memcpy(copy, text, n_bytes);
    copy[n_bytes] = 0;
    slm_message message = {role, copy, n_bytes};
    c->messages[c->n_messages++] = message;
    return EXIT_OK;
}

int conversation_encode(const conversation *c, const model_file *m, int32_t **ids, size_t *n_ids,
                        failure *f)
{
    size_t n_bytes = 4096; /* and 512 a message, which slm_chat_encode asks for */
    for (size_t i = 0; i < c->n_messages; i++) {
        n_bytes += c->messages[i].n_bytes + 512;
    }
    size_t capacity = 3 * n_bytes + 8,
           scratch_bytes = slm_encode_scratch_bytes(m->tokenizer, n_bytes);
    void *scratch = NULL;
    int32_t *made = (int32_t *)malloc(capacity * sizeof *made);
    if (!made || scratch_bytes == SIZE_MAX || posix_memalign(&scratch, 64, scratch_bytes) != 0) {
        free(made);
        return fail(f, EXIT_RESOURCE, "no memory for the conversation");
    }
    slm_error error = {0};
    slm_status status = slm_chat_encode(m->model, c->messages, c->n_messages,
                                        SLM_CHAT_ANSWER | (c->control ? SLM_CHAT_CONTROL : 0u),
                                        made, capacity, n_ids, scratch, scratch_bytes, &error);
    free(scratch);
    if (status != SLM_OK) {
        free(made);
        return fail_status(f, m->path, &error);
    }
    *ids = made;
    return EXIT_OK;
}

/* Leading ids that the session holds already; the last id is always evaluated, for its logits. */
static uint32_t reusable(const conversation *c, const int32_t *ids, size_t n_ids)
{
    size_t n = 0;
    while (n < c->n_held && n + 1 < n_ids && c->held[n] == ids[n]) {
        n++;
    }
    return (uint32_t)n;
}

/* Notes what the session holds: prompt and answer, except the answer's last id. */
static void note_held(conversation *c, int32_t *prompt, size_t n_prompt, const generation *g)
{
    size_t n_more = g->n_ids > 1 ? g->n_ids - 1 : 0;
    free(c->held);
    c->n_held = 0;
    c->held = (int32_t *)malloc((n_prompt + n_more) * sizeof *c->held);
    if (c->held) { /* without it the next turn merely starts from the beginning */
        memcpy(c->held, prompt, n_prompt * sizeof *c->held);
        if (n_more != 0) {
            memcpy(c->held + n_prompt, g->ids, n_more * sizeof *c->held);
        }
        c->n_held = n_prompt + n_more;
    }
}

int conversation_answer(conversation *c, model_file *m, slm_sampler *sampler,
                        const generate_options *options, generation *g, int32_t **prompt_ids,
                        size_t *n_prompt, failure *f)
{
    memset(g, 0, sizeof *g);
    int32_t *ids = NULL;
    size_t n_ids = 0;
    int code = conversation_encode(c, m, &ids, &n_ids, f);
    if (code != EXIT_OK) {
        return code;
    }
    generate_options o = *options;
    o.n_reuse = o.every_position ? 0 : reusable(c, ids, n_ids);
    code = generate(m, sampler, ids, n_ids, &o, g, f);
    if (code == EXIT_OK) {
        note_held(c, ids, n_ids, g);
        code = conversation_add(c, SLM_ROLE_ASSISTANT, g->text, g->n_text, f);
    }
    *n_prompt = n_ids;
    if (prompt_ids) {
        *prompt_ids = ids;
    } else {
        free(ids);
    }
    return code;
}

int conversation_refuse(const model_file *m, failure *f)
{
    slm_file file;
    slm_arena arena = arena_measure();
    slm_status status =
        slm_file_open(&file, &arena, m->file.bytes, m->file.n_bytes, m->file.n_bytes, NULL);
    if (status == SLM_OK && slm_file_section(&file, SLM_SECTION_TEMPLATE)) {
        return fail(f, EXIT_INPUT,
                    "%s: its chat template is one that chat turns do not reproduce (slm-convert "
                    "said why), so there are none; write the turns yourself, control tokens and "
                    "all, and run without --chat, with --control --no-special -p TEXT "
                    "(slm-convert --inspect --json shows the template)",
                    m->path);
    }
    return fail(f, EXIT_INPUT,
                "%s: carries no chat turns; run it without --chat, or convert it again from a "
                "source that has a chat template",
                m->path);
}

void conversation_free(conversation *c)
{
    for (size_t i = 0; i < c->n_messages; i++) {
        free((void *)(uintptr_t)c->messages[i].text);
    }
    free(c->messages);
    free(c->held);
    memset(c, 0, sizeof *c);
}
