/* fuzz_jinja.c - any bytes as a chat template: parsed and run on a conversation, then turned into
 * turns, which must be of a kind that the runtime accepts.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/chat_template.h"

static void render(const char *text, size_t n, json_t *globals)
{
    char why[JINJA_WHY], *out = NULL;
    size_t n_out = 0;
    jinja_notes notes = {0};
    jinja_template *t = NULL;
    if (jinja_parse(&t, text, n, why) != JINJA_OK) {
        return;
    }
    if (jinja_render(t, globals, &out, &n_out, &notes, why) == JINJA_OK &&
        (strlen(out) > n_out || n_out > JINJA_MAX_OUTPUT)) {
        abort();
    }
    free(out);
    jinja_destroy(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const build_added added[] = {{.content = "<s>", .id = 1, .flags = ADDED_CONTROL},
                                        {.content = "</s>", .id = 2, .flags = ADDED_CONTROL}};
    tokenizer_build b = {
        .bos_id = 1, .eos_id = 2, .added = (build_added *)(uintptr_t)added, .n_added = 2};
    json_t *globals =
        json_pack("{s:s,s:s,s:n,s:b,s:[{s:s,s:s},{s:s,s:s}]}", "bos_token", "<s>", "eos_token",
                  "</s>", "tools", "add_generation_prompt", 1, "messages", "role", "user",
                  "content", "a\nb", "role", "assistant", "content", " <think>x</think>y");
    char why[CHAT_WHY] = "";
    failure f = {0};
    chat_template *t = NULL;
    chat_turns turns;
    render((const char *)data, size, globals);
    if (chat_template_open(&t, &b, (const char *)data, size, globals, why, &f) == EXIT_OK && t) {
        int code = chat_template_turns(t, &turns, why, &f);
        if ((code != EXIT_OK && code != EXIT_CHECK) || (code == EXIT_CHECK && why[0] == 0)) {
            abort();
        }
    }
    chat_template_close(&t);
    json_decref(globals);
    return 0;
}
