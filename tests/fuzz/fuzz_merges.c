/* fuzz_merges.c - any bytes as a merges list, and what follows a zero byte as its vocab.json: a
 * payload that the runtime opens, that tokenizer.json can say, and whose tokens can be found in a
 * text again; or a refusal.
 */
#include "lib/tokenizer_merges.h"

#include <stdlib.h>
#include <string.h>

#include "lib/text_model.h"
#include "lib/tokenizer_export.h"
#include "lib/tokenizer_offsets.h"
#include "text/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void find_tokens(const text_model *m, const char *text, size_t n)
{
    failure f;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    uint64_t end = 0;
    if (text_model_encode(m, text, n, SLM_ENCODE_CONTROL, &ids, &n_ids, &f) != EXIT_OK) {
        return;
    }
    token_span *spans = (token_span *)calloc(n_ids + 1, sizeof *spans);
    if (spans &&
        tokenizer_offsets(m, text, n, SLM_ENCODE_CONTROL, ids, n_ids, spans, &f) == EXIT_INPUT) {
        abort();
    }
    for (size_t i = 0; spans && i < n_ids; i++) {
        if (spans[i].begin > spans[i].end || spans[i].end < end || spans[i].end > n) {
            abort();
        }
        end = spans[i].end;
    }
    free(spans);
    free(ids);
}

static void use(tokenizer_payload *p, const char *text, size_t n)
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
    find_tokens(&m, text, n);
    text_model_close(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    failure f;
    tokenizer_payload p;
    tokenizer_rules rules = {.pre = (uint32_t)(size % 5), .specials = {"<s>"}, .n_specials = 1};
    rules.pre = rules.pre == PRE_MARKS ? PRE_DIGITS : rules.pre;
    rules.nfc = size & 1;
    rules.prefix_space = size & 2 && rules.pre <= PRE_GPT2;
    char *text = (char *)malloc(size + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = 0;
    size_t n = strlen(text);
    merges_text list = {"m", text, n}, vocab = {"v", text + n + 1, size > n ? size - n - 1 : 0};
    if (tokenizer_from_merges_text(&list, n < size ? &vocab : NULL, &rules, &p, &f) == EXIT_OK) {
        use(&p, (const char *)data, size);
    }
    free(text);
    return 0;
}
