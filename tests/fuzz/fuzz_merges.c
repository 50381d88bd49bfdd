/* fuzz_merges.c - any bytes as a merges list, and what follows a zero byte as its vocab.json: a
 * payload that the runtime opens and that tokenizer.json can say, or a refusal.
 */
#include "lib/tokenizer_merges.h"

#include <stdlib.h>
#include <string.h>

#include "lib/text_model.h"
#include "lib/tokenizer_export.h"
#include "text/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(tokenizer_payload *p)
{
    static notes w;
    failure f;
    text_model m;
    tokenizer_texts texts;
    if (text_model_adopt(&m, "m", p, &f) != EXIT_OK) {
        abort();
    }
    w.n = 0;
    if (tokenizer_export("m", m.payload, &texts, &w, &f) == EXIT_INTERNAL) {
        abort();
    }
    tokenizer_texts_free(&texts);
    text_model_close(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    failure f;
    tokenizer_payload p;
    tokenizer_rules rules = {.pre = (uint32_t)(size % 5), .specials = {"<s>"}, .n_specials = 1};
    rules.pre = rules.pre == PRE_MARKS ? PRE_DIGITS : rules.pre;
    char *text = (char *)malloc(size + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = 0;
    size_t n = strlen(text);
    merges_text list = {"m", text, n}, vocab = {"v", text + n + 1, size > n ? size - n - 1 : 0};
    if (tokenizer_from_merges_text(&list, n < size ? &vocab : NULL, &rules, &p, &f) == EXIT_OK) {
        use(&p);
    }
    free(text);
    return 0;
}
