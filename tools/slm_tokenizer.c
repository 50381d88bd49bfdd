/* slm_tokenizer.c - text to token ids, ids to text, and what a tokenizer is. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/input.h"
#include "lib/json_out.h"
#include "lib/text_model.h"
#include "lib/tokenizer_build_cli.h"
#include "lib/tokenizer_train_cli.h"

enum { MAX_TEXT = 1 << 28 };

typedef struct settings {
    const char *operands[1];
    bool special, control, json, quiet;
} settings;

static int no_memory(failure *f)
{
    return fail(f, EXIT_RESOURCE, "no memory");
}

/* ---- encode ---------------------------------------------------------------------------------- */

static void print_ids(const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        printf(i ? " %" PRId32 : "%" PRId32, ids[i]);
    }
    printf("\n");
}

static int encode(const settings *s, const text_model *m, failure *f)
{
    char *text = NULL;
    size_t n_bytes = 0, n_ids = 0;
    int code = input_slurp("-", MAX_TEXT, &text, &n_bytes, f);
    if (code != EXIT_OK) {
        return code;
    }
    uint32_t flags =
        (s->special ? SLM_ENCODE_SPECIAL : 0u) | (s->control ? SLM_ENCODE_CONTROL : 0u);
    int32_t *ids = NULL;
    code = text_model_encode(m, text, n_bytes, flags, &ids, &n_ids, f);
    if (code == EXIT_OK) {
        print_ids(ids, n_ids);
    }
    free(ids);
    free(text);
    return code;
}

/* ---- decode ---------------------------------------------------------------------------------- */

static int decode_id(const text_model *m, slm_decoder *decoder, int32_t id, char *out,
                     size_t capacity, failure *f)
{
    size_t n = 0;
    slm_error error = {0};
    if (slm_decoder_push(decoder, m->tokenizer, id, out, capacity, &n, &error) != SLM_OK) {
        return fail(f, EXIT_INPUT, "standard input: %s", error.text);
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
            return fail(f, EXIT_INPUT, "standard input: \"%.32s\" is not a token id", p);
        }
        *end = after;
        int code = decode_id(m, &decoder, (int32_t)id, out, capacity, f);
        if (code != EXIT_OK) {
            return code;
        }
        p = end;
    }
    if (strlen(text) != n) {
        return fail(f, EXIT_INPUT, "standard input: not text");
    }
    fwrite(out, 1, slm_decoder_flush(&decoder, out), stdout);
    return EXIT_OK;
}

static int decode(const settings *s, const text_model *m, failure *f)
{
    char *text = NULL;
    size_t n = 0, capacity = UINT16_MAX + 16;
    int code = input_slurp("-", MAX_TEXT, &text, &n, f);
    char *out = (char *)malloc(capacity);
    if (code == EXIT_OK) {
        code = out ? decode_text(s, m, text, n, out, capacity, f) : no_memory(f);
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
        code = command == 'e'   ? encode(s, &m, &f)
               : command == 'd' ? decode(s, &m, &f)
                                : info(c, s, &m);
    }
    text_model_close(&m);
    return cli_finish(c, code == EXIT_OK ? code : cli_report(c, &f));
}

static int encode_main(int argc, char **argv)
{
    settings s = {.special = true};
    cli_option options[] = {{.name = "special",
                             .help = "add BOS and EOS as the tokenizer's own flags say (default)",
                             .kind = CLI_FLAG,
                             .value = &s.special},
                            {.name = "control",
                             .help = "recognise control tokens written out in the text",
                             .kind = CLI_FLAG,
                             .value = &s.control},
                            {.name = "quiet",
                             .letter = 'q',
                             .help = "no warnings",
                             .kind = CLI_FLAG,
                             .value = &s.quiet}};
    cli c = {.tool = "slm-tokenizer encode",
             .synopsis = "MODEL [options] < TEXT",
             .summary =
                 "Text on standard input -> its token ids on one line. MODEL is a .slm file, "
                 "a\ntokenizer.json, a GGUF file, a tokenizer.model or a tokenizer.bin.",
             .options = options,
             .n_options = sizeof options / sizeof options[0],
             .min_operands = 1,
             .max_operands = 1,
             .operands = s.operands};
    int code = cli_parse(&c, argc, argv);
    return code >= 0 ? code : run(&c, &s, 'e');
}

static int decode_main(int argc, char **argv)
{
    settings s = {0};
    cli_option options[] = {{.name = "control",
                             .help = "write control tokens out by name instead of dropping them",
                             .kind = CLI_FLAG,
                             .value = &s.control},
                            {.name = "quiet",
                             .letter = 'q',
                             .help = "no warnings",
                             .kind = CLI_FLAG,
                             .value = &s.quiet}};
    cli c = {.tool = "slm-tokenizer decode",
             .synopsis = "MODEL [options] < IDS",
             .summary = "Token ids on standard input, separated by white space -> exactly their "
                        "text.",
             .options = options,
             .n_options = sizeof options / sizeof options[0],
             .min_operands = 1,
             .max_operands = 1,
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
    } commands[] = {{"encode", encode_main},
                    {"decode", decode_main},
                    {"info", info_main},
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
             .synopsis = "encode|decode|info MODEL [options]",
             .summary = "Text to token ids and back. Each command has its own --help.",
             .operands = &operand,
             .max_operands = 1,
             .epilog = "  slm-tokenizer encode model.slm --no-special < story.txt > ids\n"
                       "  slm-tokenizer decode model.slm < ids\n"
                       "  slm-tokenizer info tokenizer.json --json"};
    int code = cli_parse(&c, argc, argv);
    if (code >= 0) {
        return code;
    }
    failure f = {0};
    fail(&f, EXIT_USAGE,
         operand ? "there is no command \"%.64s\"; encode, decode and info exist"
                 : "a command is missing: encode, decode or info%.0s",
         operand ? operand : "");
    return cli_report(&c, &f);
}
