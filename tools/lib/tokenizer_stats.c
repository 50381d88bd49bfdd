/* tokenizer_stats.c - counts over a text and its tokens. */
#include "lib/tokenizer_stats.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/tokenizer_view.h"
#include "lib/utf8.h"

static void count_text(const char *text, size_t n, tokenizer_stats *s)
{
    bool in_word = false;
    s->bytes = n;
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length(text + i, n - i);
        bool space = strchr(" \t\n\v\f\r", text[i]) && text[i] != 0;
        s->words += !space && !in_word;
        in_word = !space;
        s->characters++;
        i += length ? length : 1;
    }
}

/* Enters an id into the list of the longest. */
static void note_length(const tokenizer_view *v, uint32_t id, tokenizer_stats *s)
{
    uint32_t n, n_other, at = s->n_longest;
    (void)view_token(v, id, &n);
    while (at > 0) {
        (void)view_token(v, (uint32_t)s->longest[at - 1], &n_other);
        if (n_other >= n) {
            break;
        }
        at--;
    }
    if (at == STATS_LONGEST) {
        return;
    }
    uint32_t last = s->n_longest < STATS_LONGEST ? s->n_longest : STATS_LONGEST - 1;
    memmove(s->longest + at + 1, s->longest + at, (last - at) * sizeof s->longest[0]);
    s->longest[at] = (int32_t)id;
    s->n_longest = last + 1;
}

static void count_tokens(const tokenizer_view *v, const int32_t *ids, size_t n, bool *used,
                         tokenizer_stats *s)
{
    s->tokens = n;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)ids[i], n_bytes, kind = v->kinds[id] & TOKEN_KIND_MASK;
        const uint8_t *bytes = view_token(v, id, &n_bytes);
        s->unknown += ids[i] == v->unk_id;
        s->control += kind == TOKEN_CONTROL && ids[i] != v->unk_id;
        s->byte_tokens += n_bytes == 1 && bytes[0] >= 0x80;
        used[id] = true;
    }
    for (uint32_t id = 0; id < v->n_tokens; id++) {
        s->n_vocab += v->kinds[id] != TOKEN_UNUSED;
        s->n_used += used[id];
        if (used[id] && (v->kinds[id] & TOKEN_KIND_MASK) != TOKEN_CONTROL) {
            note_length(v, id, s);
        }
    }
}

int tokenizer_measure(const text_model *m, const char *text, size_t n_bytes, uint32_t flags,
                      uint32_t repeat, tokenizer_stats *s, failure *f)
{
    tokenizer_view v;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    memset(s, 0, sizeof *s);
    int code = tokenizer_view_open(&v, m->payload, f);
    bool *used = code == EXIT_OK ? (bool *)calloc(v.n_tokens, sizeof *used) : NULL;
    code = code == EXIT_OK && !used ? fail(f, EXIT_RESOURCE, "no memory") : code;
    for (uint32_t i = 0; i < repeat && code == EXIT_OK; i++) {
        free(ids);
        ids = NULL;
        double begun = clock_seconds();
        code = text_model_encode(m, text, n_bytes, flags, &ids, &n_ids, f);
        double seconds = clock_seconds() - begun;
        s->seconds = i == 0 || seconds < s->seconds ? seconds : s->seconds;
    }
    if (code == EXIT_OK) {
        count_text(text, n_bytes, s);
        count_tokens(&v, ids, n_ids, used, s);
    }
    free(ids);
    free(used);
    tokenizer_view_close(&v);
    return code;
}
