/* fuzz_tokenizer_json.c - any bytes as tokenizer.json, and what follows a zero byte as
 * tokenizer_config.json: payloads that the runtime opens, or a refusal.
 */
#include "lib/tokenizer_json.h"

#include <stdlib.h>
#include <string.h>

#include "text/chat.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_again(const tokenizer_payload *p)
{
    slm_tokenizer *t = NULL;
    const slm_chat *chat = NULL;
    void *memory = NULL;
    slm_arena arena = arena_measure();
    if (slm_tokenizer_open(&t, &arena, p->tokenizer, p->n_tokenizer, NULL) != SLM_OK ||
        posix_memalign(&memory, 64, arena.used) != 0) {
        abort();
    }
    arena = arena_over(memory, arena.used);
    if (slm_tokenizer_open(&t, &arena, p->tokenizer, p->n_tokenizer, NULL) != SLM_OK ||
        (p->chat && slm_chat_open(&chat, p->chat, p->n_chat, t, NULL) != SLM_OK)) {
        abort();
    }
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    failure f;
    tokenizer_payload p;
    char *text = (char *)malloc(size + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = 0;
    size_t n = strlen(text);
    const char *config = n < size ? text + n + 1 : NULL;
    if (tokenizer_from_json("t", text, n, "c", config, config ? size - n - 1 : 0, NULL, &p, &f) ==
        EXIT_OK) {
        open_again(&p);
        tokenizer_payload_free(&p);
    }
    free(text);
    return 0;
}
