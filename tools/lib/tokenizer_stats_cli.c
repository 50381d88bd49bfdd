/* tokenizer_stats_cli.c - command line of `slm-tokenizer stats`. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/input.h"
#include "lib/json_out.h"
#include "lib/tokenizer_encode_cli.h"
#include "lib/tokenizer_stats.h"

enum { MAX_TEXT = 1 << 28 };

typedef struct stats_options {
    const char *operands[2]; /* MODEL, TEXT */
    bool control, json, quiet;
    uint32_t repeat;
} stats_options;

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static void report_json(const text_model *m, const tokenizer_stats *s, const char *text_name)
{
    json_out j;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-tokenizer");
    json_string(&j, "command", "stats");
    json_string(&j, "model", m->path);
    json_string(&j, "text", text_name);
    json_u64(&j, "bytes", s->bytes);
    json_u64(&j, "characters", s->characters);
    json_u64(&j, "words", s->words);
    json_u64(&j, "tokens", s->tokens);
    json_f64(&j, "bytes_per_token", ratio(s->bytes, s->tokens));
    json_f64(&j, "tokens_per_word", ratio(s->tokens, s->words));
    json_u64(&j, "byte_tokens", s->byte_tokens);
    json_u64(&j, "unknown_tokens", s->unknown);
    json_u64(&j, "control_tokens", s->control);
    json_u64(&j, "vocabulary", s->n_vocab);
    json_u64(&j, "vocabulary_used", s->n_used);
    json_array(&j, "longest");
    for (uint32_t i = 0; i < s->n_longest; i++) {
        size_t n;
        const char *bytes = slm_token_bytes(m->tokenizer, s->longest[i], &n);
        json_object(&j, NULL);
        json_i64(&j, "id", s->longest[i]);
        json_u64(&j, "bytes", n);
        json_string_n(&j, "text", bytes, n);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_f64(&j, "seconds", s->seconds);
    json_object_end(&j);
    json_end(&j);
}

static void report_people(const text_model *m, const tokenizer_stats *s)
{
    printf("text        %" PRIu64 " bytes, %" PRIu64 " characters, %" PRIu64 " words\n", s->bytes,
           s->characters, s->words);
    printf("tokens      %" PRIu64 ": %.3f bytes a token, %.3f tokens a word\n", s->tokens,
           ratio(s->bytes, s->tokens), ratio(s->tokens, s->words));
    printf("            %" PRIu64 " are a byte of a character, %" PRIu64 " unknown, %" PRIu64
           " control\n",
           s->byte_tokens, s->unknown, s->control);
    printf("vocabulary  %" PRIu32 " of %" PRIu32 " ids used (%.1f %%)\n", s->n_used, s->n_vocab,
           100 * ratio(s->n_used, s->n_vocab));
    for (uint32_t i = 0; i < s->n_longest; i++) {
        size_t n;
        const char *bytes = slm_token_bytes(m->tokenizer, s->longest[i], &n);
        json_out j; /* escapes what would move the cursor */
        printf("%-12s%6" PRId32 "  %zu bytes  ", i ? "" : "longest", s->longest[i], n);
        json_begin(&j, stdout, true);
        json_string_n(&j, NULL, bytes, n);
        json_end(&j);
    }
    printf("speed       %.1f MB/s\n", s->seconds > 0 ? (double)s->bytes / s->seconds / 1e6 : 0);
}

static int stats(cli *c, const stats_options *o)
{
    failure f = {0};
    text_model m = {.file = {.fd = -1}};
    tokenizer_stats s;
    char *text = NULL;
    size_t n = 0;
    const char *name = o->operands[1] ? o->operands[1] : "-";
    int code = text_model_open(&m, o->operands[0], &f);
    if (code == EXIT_OK && m.warnings[0] && !o->quiet) {
        fprintf(stderr, "%s", m.warnings);
    }
    code = code ? code : input_slurp(name, MAX_TEXT, &text, &n, &f);
    code = code ? code
                : tokenizer_measure(&m, text, n, o->control ? SLM_ENCODE_CONTROL : 0, o->repeat, &s,
                                    &f);
    if (code != EXIT_OK) {
        code = cli_report(c, &f);
    } else if (o->json) {
        report_json(&m, &s, name);
        c->json_done = true;
    } else {
        report_people(&m, &s);
    }
    text_model_close(&m);
    free(text);
    return cli_finish(c, code);
}

int tokenizer_stats_main(int argc, char **argv)
{
    stats_options o = {.repeat = 1};
    cli_option options[] = {
        {.name = "control",
         .help = "recognise control tokens written out in the text",
         .kind = CLI_FLAG,
         .value = &o.control},
        {.name = "repeat",
         .argument = "N",
         .help = "encode that often and time the fastest (default 1)",
         .kind = CLI_U32,
         .value = &o.repeat,
         .min = 1,
         .max = 10000},
        {.name = "json", .help = "print one JSON document", .kind = CLI_FLAG, .value = &o.json},
        {.name = "quiet",
         .letter = 'q',
         .help = "no warnings",
         .kind = CLI_FLAG,
         .value = &o.quiet}};
    cli c = {.tool = "slm-tokenizer stats",
             .synopsis = "MODEL [TEXT] [options]",
             .summary = "How a tokenizer does on a text file or standard input: bytes a token, "
                        "tokens a word,\nhow much of the vocabulary is used, the longest tokens, "
                        "speed.",
             .options = options,
             .n_options = sizeof options / sizeof options[0],
             .min_operands = 1,
             .max_operands = 2,
             .operands = o.operands};
    int code = cli_parse(&c, argc, argv);
    return code >= 0 ? code : stats(&c, &o);
}
