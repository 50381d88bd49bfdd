/* slm_tokenizer.c - text to token ids, ids to text, and what a tokenizer is. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/cli.h"
#include "lib/input.h"
#include "lib/json_out.h"
#include "lib/text_model.h"
#include "lib/tokenizer_build_cli.h"
#include "lib/tokenizer_encode_cli.h"
#include "lib/tokenizer_train_cli.h"

enum { MAX_TEXT = 1 << 28 };

typedef struct settings {
    const char *operands[2]; /* MODEL, and for decode IDS */
    bool control, ids, binary, json, quiet;
} settings;

static int no_memory(failure *f)
{
    return fail(f, EXIT_RESOURCE, "no memory");
}

/* ---- decode ---------------------------------------------------------------------------------- */

static const char *ids_name(const settings *s)
{
    return s->operands[1] && strcmp(s->operands[1], "-") != 0 ? s->operands[1] : "standard input";
}

static int decode_id(const settings *s, const text_model *m, slm_decoder *decoder, int32_t id,
                     char *out, size_t capacity, failure *f)
{
    size_t n = 0;
    slm_error error = {0};
    if (slm_decoder_push(decoder, m->tokenizer, id, out, capacity, &n, &error) != SLM_OK) {
        return fail(f, EXIT_INPUT, "%s: %s", ids_name(s), error.text);
    }
    fwrite(out, 1, n, stdout);
    return EXIT_OK;
}

/* Whole numbers separated by white space. */
static int decode_text(const settings *s, const text_model *m, char *text, size_t n, char *out,
                       size_t capacity, failure *f)
{
    slm_decoder decoder;
    slm_decoder_init(&decoder, s->control ? SLM_DECODE_CONTROL : 0);
    static const char space[] = " \t\r\n";
    for (char *p = text + strspn(text, space); *p; p += strspn(p, space)) {
        size_t length = strcspn(p, space);
        char *end = p + length, after = *end;
        uint64_t id;
        *end = 0;
        if (!parse_u64(p, 0, INT32_MAX, &id)) {
            return fail(f, EXIT_INPUT, "%s: \"%.32s\" is not a token id", ids_name(s), p);
        }
        *end = after;
        int code = decode_id(s, m, &decoder, (int32_t)id, out, capacity, f);
        if (code != EXIT_OK) {
            return code;
        }
        p = end;
    }
    if (strlen(text) != n) {
        return fail(f, EXIT_INPUT, "%s: not text", ids_name(s));
    }
    fwrite(out, 1, slm_decoder_flush(&decoder, out), stdout);
    return EXIT_OK;
}

/* 32-bit little-endian numbers. */
static int decode_binary(const settings *s, const text_model *m, const char *bytes, size_t n,
                         char *out, size_t capacity, failure *f)
{
    slm_decoder decoder;
    slm_decoder_init(&decoder, s->control ? SLM_DECODE_CONTROL : 0);
    if (n % 4 != 0) {
        return fail(f, EXIT_INPUT, "%s: %zu bytes are no whole number of 32-bit ids", ids_name(s),
                    n);
    }
    for (size_t i = 0; i < n; i += 4) {
        int32_t id = (int32_t)load_u32((const uint8_t *)bytes + i);
        int code = decode_id(s, m, &decoder, id, out, capacity, f);
        if (code != EXIT_OK) {
            return code;
        }
    }
    fwrite(out, 1, slm_decoder_flush(&decoder, out), stdout);
    return EXIT_OK;
}

static int decode(const settings *s, const text_model *m, failure *f)
{
    char *text = NULL;
    size_t n = 0, capacity = UINT16_MAX + 16;
    int code = input_slurp(s->operands[1] ? s->operands[1] : "-", MAX_TEXT, &text, &n, f);
    char *out = (char *)malloc(capacity);
    if (code == EXIT_OK) {
        code = !out        ? no_memory(f)
               : s->binary ? decode_binary(s, m, text, n, out, capacity, f)
                           : decode_text(s, m, text, n, out, capacity, f);
    }
    free(out);
    free(text);
    return code;
}

/* ---- info ------------------------------------------------------------------------------------ */

static void json_info(cli *c, const text_model *m)
{
    json_out j;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-tokenizer");
    json_string(&j, "file", m->path);
    json_string(&j, "kind", m->kind);
    json_u64(&j, "n_tokens", slm_token_count(m->tokenizer));
    json_u64(&j, "n_bytes", m->n_payload);
    json_hex64(&j, "checksum", slm_hash_bytes(0, m->payload, m->n_payload));
    json_array(&j, "stop_ids");
    for (uint32_t id = 0; id < slm_token_count(m->tokenizer); id++) {
        if (slm_token_is_end(m->tokenizer, (int32_t)id)) {
            json_u64(&j, NULL, id);
        }
    }
    json_array_end(&j);
    json_bool(&j, "chat", m->has_chat);
    json_object_end(&j);
    json_end(&j);
    c->json_done = true;
}

static int info(cli *c, const settings *s, const text_model *m)
{
    if (s->json) {
        json_info(c, m);
        return EXIT_OK;
    }
    printf("%s\n  kind       %s, %" PRIu32 " tokens, %" PRIu64 " bytes\n  ends with ", m->path,
           m->kind, slm_token_count(m->tokenizer), m->n_payload);
    for (uint32_t id = 0; id < slm_token_count(m->tokenizer); id++) {
        if (slm_token_is_end(m->tokenizer, (int32_t)id)) {
            size_t n;
            const char *text = slm_token_bytes(m->tokenizer, (int32_t)id, &n);
            printf(" %" PRIu32 " %.*s", id, (int)n, text);
        }
    }
    printf("\n  chat turns %s\n", m->has_chat ? "yes" : "no");
    return EXIT_OK;
}

/* ---- Commands -------------------------------------------------------------------------------- */

static int run(cli *c, const settings *s, char command)
{
    failure f = {0};
    text_model m;
    int code = text_model_open(&m, s->operands[0], &f);
    if (code == EXIT_OK && m.warnings[0] && !s->quiet) {
        fprintf(stderr, "%s", m.warnings);
    }
    if (code == EXIT_OK) {
        code = command == 'd' ? decode(s, &m, &f) : info(c, s, &m);
    }
    text_model_close(&m);
    return cli_finish(c, code == EXIT_OK ? code : cli_report(c, &f));
}

static int decode_main(int argc, char **argv)
{
    settings s = {0};
    cli_option options[] = {{.name = "control",
                             .help = "write control tokens out by name instead of dropping them",
                             .kind = CLI_FLAG,
                             .value = &s.control},
                            {.name = "ids",
                             .help = "the input is ids as text (default)",
                             .kind = CLI_FLAG,
                             .value = &s.ids},
                            {.name = "binary",
                             .help = "the input is ids as 32-bit little-endian numbers",
                             .kind = CLI_FLAG,
                             .value = &s.binary},
                            {.name = "quiet",
                             .letter = 'q',
                             .help = "no warnings",
                             .kind = CLI_FLAG,
                             .value = &s.quiet}};
    cli c = {.tool = "slm-tokenizer decode",
             .synopsis = "MODEL [IDS] [options]",
             .summary = "A file of token ids, or standard input, separated by white space -> "
                        "exactly their text.",
             .options = options,
             .n_options = sizeof options / sizeof options[0],
             .min_operands = 1,
             .max_operands = 2,
             .operands = s.operands};
    int code = cli_parse(&c, argc, argv);
    return code >= 0 ? code : run(&c, &s, 'd');
}

static int info_main(int argc, char **argv)
{
    settings s = {0};
    cli_option options[] = {
        {.name = "json", .help = "print one JSON document", .kind = CLI_FLAG, .value = &s.json},
        {.name = "quiet",
         .letter = 'q',
         .help = "no warnings",
         .kind = CLI_FLAG,
         .value = &s.quiet}};
    cli c = {.tool = "slm-tokenizer info",
             .synopsis = "MODEL [options]",
             .summary = "What kind of tokenizer a .slm file, tokenizer.json or GGUF file holds.",
             .options = options,
             .n_options = sizeof options / sizeof options[0],
             .min_operands = 1,
             .max_operands = 1,
             .operands = s.operands};
    int code = cli_parse(&c, argc, argv);
    return code >= 0 ? code : run(&c, &s, 'i');
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"encode", tokenizer_encode_main},
                    {"decode", decode_main},
                    {"info", info_main},
                    {"stats", tokenizer_stats_main},
                    {"build", tokenizer_build_main},
                    {"export", tokenizer_export_main},
                    {"train", tokenizer_train_main}};
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    const char *operand = NULL;
    cli c = {.tool = "slm-tokenizer",
             .synopsis = "COMMAND ...",
             .summary = "encode  text -> token ids\ndecode  ids -> text\n"
                        "info    what kind of tokenizer a file holds\n"
                        "stats   how a tokenizer does on a text\n"
                        "build   a tokenizer from any source -> a file of its own\n"
                        "export  a tokenizer -> tokenizer.json\n"
                        "train   texts -> a tokenizer\n\nEach command has its own --help.",
             .operands = &operand,
             .max_operands = 1,
             .epilog = "slm-tokenizer encode model.slm --no-special < story.txt > ids\n"
                       "slm-tokenizer decode model.slm < ids\n"
                       "slm-tokenizer train story.txt --vocab-size 2048 -o vocabulary.slm"};
    int code = cli_parse(&c, argc, argv);
    if (code >= 0) {
        return code;
    }
    failure f = {0};
    fail(&f, EXIT_USAGE,
         operand ? "there is no command \"%.64s\"; --help lists them"
                 : "a command is missing: encode, decode, info, stats, build, export, train%.0s",
         operand ? operand : "");
    return cli_report(&c, &f);
}
