/* tokenizer_encode_cli.c - command line of `slm-tokenizer encode`. */
#include "lib/tokenizer_encode_cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/cli.h"
#include "lib/input.h"
#include "lib/json_out.h"
#include "lib/tokenizer_offsets.h"
#include "lib/utf8.h"

enum { MAX_TEXT = 1 << 28 };

typedef struct encode_options {
    const char *operands[2]; /* MODEL, TEXT */
    bool special, control, ids, offsets, binary, json, quiet;
} encode_options;

typedef struct encoding {
    const encode_options *o;
    text_model m;
    char *text;
    size_t n_text, n_ids;
    int32_t *ids;
    token_span *spans; /* NULL unless asked for */
} encoding;

static const char *text_name(const encode_options *o)
{
    return o->operands[1] ? o->operands[1] : "-";
}

/* Text between quotes on one line: what would end it or move the cursor is escaped. */
static void print_quoted(const char *text, size_t n)
{
    putchar('"');
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t length = utf8_length(text + i, n - i);
        bool control = c < 0x20 || c == 0x7f ||
                       (length == 2 && c == 0xc2 && (unsigned char)text[i + 1] < 0xa0);
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            printf("\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        } else if (length == 0 || control) {
            printf("\\x%02x", c);
            length = 1;
        } else {
            fwrite(text + i, 1, length, stdout);
        }
        i += length;
    }
    putchar('"');
}

static void print_ids(const encoding *e)
{
    for (size_t i = 0; i < e->n_ids; i++) {
        printf(i ? " %" PRId32 : "%" PRId32, e->ids[i]);
    }
    printf("\n");
}

static void print_binary(const encoding *e)
{
    for (size_t i = 0; i < e->n_ids; i++) {
        uint8_t bytes[4];
        store_u32(bytes, (uint32_t)e->ids[i]);
        fwrite(bytes, 1, 4, stdout);
    }
}

/* A line per token: where it begins and ends, its id, its part of the text. */
static void print_spans(const encoding *e)
{
    for (size_t i = 0; i < e->n_ids; i++) {
        const token_span *s = &e->spans[i];
        printf("%" PRIu64 "\t%" PRIu64 "\t%" PRId32, s->begin, s->end, e->ids[i]);
        if (!e->o->ids) {
            putchar('\t');
            print_quoted(e->text + s->begin, (size_t)(s->end - s->begin));
        }
        putchar('\n');
    }
}

static void print_json(const encoding *e)
{
    json_out j;
    json_begin(&j, stdout, true);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-tokenizer");
    json_string(&j, "command", "encode");
    json_string(&j, "model", e->m.path);
    json_u64(&j, "bytes", e->n_text);
    json_u64(&j, "n_ids", e->n_ids);
    json_array(&j, "ids");
    for (size_t i = 0; i < e->n_ids; i++) {
        json_i64(&j, NULL, e->ids[i]);
    }
    json_array_end(&j);
    if (e->spans) {
        json_array(&j, "offsets");
        for (size_t i = 0; i < e->n_ids; i++) {
            json_array(&j, NULL);
            json_u64(&j, NULL, e->spans[i].begin);
            json_u64(&j, NULL, e->spans[i].end);
            json_array_end(&j);
        }
        json_array_end(&j);
    }
    json_object_end(&j);
    json_end(&j);
}

static int read_and_encode(encoding *e, failure *f)
{
    const encode_options *o = e->o;
    uint32_t flags =
        (o->special ? SLM_ENCODE_SPECIAL : 0u) | (o->control ? SLM_ENCODE_CONTROL : 0u);
    int code = input_slurp(text_name(o), MAX_TEXT, &e->text, &e->n_text, f);
    code = code ? code : text_model_encode(&e->m, e->text, e->n_text, flags, &e->ids, &e->n_ids, f);
    if (code == EXIT_OK && o->offsets) {
        e->spans = (token_span *)calloc(e->n_ids + 1, sizeof *e->spans);
        code = e->spans ? tokenizer_offsets(&e->m, e->text, e->n_text, flags, e->ids, e->n_ids,
                                            e->spans, f)
                        : fail(f, EXIT_RESOURCE, "no memory");
    }
    return code;
}

static int encode(cli *c, const encode_options *o)
{
    failure f = {0};
    encoding e = {.o = o, .m = {.file = {.fd = -1}}};
    int code = EXIT_OK;
    if (o->binary && (o->offsets || o->ids || o->json)) {
        code = fail(&f, EXIT_USAGE, "--binary goes without --ids, --offsets and --json");
    }
    code = code ? code : text_model_open(&e.m, o->operands[0], &f);
    if (code == EXIT_OK && e.m.warnings[0] && !o->quiet) {
        fprintf(stderr, "%s", e.m.warnings);
    }
    code = code ? code : read_and_encode(&e, &f);
    if (code != EXIT_OK) {
        code = cli_report(c, &f);
    } else if (o->json) {
        print_json(&e);
        c->json_done = true;
    } else if (o->binary) {
        print_binary(&e);
    } else if (o->offsets) {
        print_spans(&e);
    } else {
        print_ids(&e);
    }
    text_model_close(&e.m);
    free(e.text);
    free(e.ids);
    free(e.spans);
    return cli_finish(c, code);
}

int tokenizer_encode_main(int argc, char **argv)
{
    encode_options o = {.special = true};
    cli_option options[] = {
        {.name = "special",
         .help = "add BOS and EOS as the tokenizer's own flags say (default)",
         .kind = CLI_FLAG,
         .value = &o.special},
        {.name = "control",
         .help = "recognise control tokens written out in the text",
         .kind = CLI_FLAG,
         .value = &o.control},
        {.name = "ids",
         .help = "ids alone: on one line (default), or a line each behind its --offsets",
         .kind = CLI_FLAG,
         .value = &o.ids},
        {.name = "offsets",
         .help = "a line per token: first byte, byte behind the last, id, the text between",
         .kind = CLI_FLAG,
         .value = &o.offsets},
        {.name = "binary",
         .help = "ids as 32-bit little-endian numbers",
         .kind = CLI_FLAG,
         .value = &o.binary},
        {.name = "json", .help = "print one JSON document", .kind = CLI_FLAG, .value = &o.json},
        {.name = "quiet",
         .letter = 'q',
         .help = "no warnings",
         .kind = CLI_FLAG,
         .value = &o.quiet}};
    cli c = {.tool = "slm-tokenizer encode",
             .synopsis = "MODEL [TEXT] [options]",
             .summary = "A text file, or standard input, -> its token ids. MODEL is a .slm file, a "
                        "tokenizer.json,\na GGUF file, a tokenizer.model, a tokenizer.bin, a bare "
                        "payload, or a folder with one.",
             .options = options,
             .n_options = sizeof options / sizeof options[0],
             .min_operands = 1,
             .max_operands = 2,
             .operands = o.operands};
    int code = cli_parse(&c, argc, argv);
    return code >= 0 ? code : encode(&c, &o);
}
