/* tokenizer_rules.c - see tokenizer_rules.h. */
#include "lib/tokenizer_rules.h"

#include <stdio.h>
#include <string.h>

#include "lib/utf8.h"
#include "text/payload.h"

static const struct {
    const char *name;
    uint32_t pre;
} PRES[] = {{"gpt2", PRE_GPT2},
            {"llama3", PRE_LLAMA3},
            {"qwen2", PRE_QWEN2},
            {"digits", PRE_DIGITS},
            {"none", PRE_NONE}};
enum { N_PRES = sizeof PRES / sizeof PRES[0] };

int rules_pre(const char *name, uint32_t *pre, failure *f)
{
    char known[128] = "";
    size_t used = 0;
    for (size_t i = 0; i < N_PRES; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 PRES[i].name);
        if (strcmp(name, PRES[i].name) == 0) {
            *pre = PRES[i].pre;
            return EXIT_OK;
        }
    }
    return fail(f, EXIT_USAGE, "--pre: '%.64s' is none of %s", name, known);
}

const char *rules_pre_name(uint32_t pre)
{
    for (size_t i = 0; i < N_PRES; i++) {
        if (PRES[i].pre == pre) {
            return PRES[i].name;
        }
    }
    return "?";
}

static int add_special(tokenizer_rules *r, uint32_t *n, const char *text, failure *f)
{
    size_t length = strlen(text);
    if (length == 0 || length > RULES_MAX_SPECIAL_BYTES) {
        return fail(f, EXIT_USAGE, "a special token has 1 to %d bytes, not %zu",
                    RULES_MAX_SPECIAL_BYTES, length);
    }
    for (size_t i = 0, step; i < length; i += step) {
        step = utf8_length(text + i, length - i);
        if (step == 0) {
            return fail(f, EXIT_USAGE, "special token '%s' is not UTF-8", text);
        }
    }
    for (uint32_t i = 0; i < *n; i++) {
        if (strcmp(r->specials[i], text) == 0) {
            return EXIT_OK;
        }
    }
    if (*n == RULES_MAX_SPECIALS) {
        return fail(f, EXIT_USAGE, "more than %d special tokens", RULES_MAX_SPECIALS);
    }
    r->specials[(*n)++] = text;
    return EXIT_OK;
}

int rules_check(tokenizer_rules *r, failure *f)
{
    uint32_t n = 0;
    int code = EXIT_OK;
    if (r->add_bos && !r->bos) {
        return fail(f, EXIT_USAGE, "--add-bos needs --bos TOKEN");
    }
    if (r->add_eos && !r->eos) {
        return fail(f, EXIT_USAGE, "--add-eos needs --eos TOKEN");
    }
    if (r->prefix_space && r->pre != PRE_GPT2 && r->pre != PRE_NONE) {
        return fail(f, EXIT_USAGE, "--prefix-space goes with --pre gpt2 or none");
    }
    for (uint32_t i = 0; i < r->n_specials && code == EXIT_OK; i++) {
        code = add_special(r, &n, r->specials[i], f);
    }
    code = code == EXIT_OK && r->bos ? add_special(r, &n, r->bos, f) : code;
    code = code == EXIT_OK && r->eos ? add_special(r, &n, r->eos, f) : code;
    r->n_specials = n;
    return code;
}

uint32_t rules_flags(const tokenizer_rules *r)
{
    return TOK_BYTE_LEVEL | (r->nfc ? TOK_NFC : 0u) | (r->prefix_space ? TOK_SPACES_LATE : 0u) |
           (r->add_bos ? TOK_ADD_BOS : 0u) | (r->add_eos ? TOK_ADD_EOS : 0u);
}
