/* tokenizer_build_cli.c - command lines of `slm-tokenizer build` and `export`. */
#include "lib/tokenizer_build_cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/tokenizer_export.h"
#include "lib/tokenizer_merges.h"
#include "text/payload.h"

static const char *const FORMS[] = {"slm", "json", "payload"};

/* ---- Rules ----------------------------------------------------------------------------------- */

void rules_options_table(rules_options *o, cli_option table[RULES_OPTIONS])
{
    const cli_option made[RULES_OPTIONS] = {
        {.name = "pre",
         .argument = "NAME",
         .help = "how text is cut into words: gpt2 (default), llama3, qwen2, digits or none",
         .kind = CLI_STRING,
         .value = &o->pre},
        {.name = "special",
         .argument = "TOKEN",
         .help = "a control token, which no text becomes; may be repeated",
         .kind = CLI_LIST,
         .value = &o->specials},
        {.name = "bos",
         .argument = "TOKEN",
         .help = "the control token that begins a text",
         .kind = CLI_STRING,
         .value = &o->rules.bos},
        {.name = "eos",
         .argument = "TOKEN",
         .help = "the control token that ends a text, and generation",
         .kind = CLI_STRING,
         .value = &o->rules.eos},
        {.name = "add-bos",
         .help = "encoding puts BOS before a text",
         .kind = CLI_FLAG,
         .value = &o->rules.add_bos},
        {.name = "add-eos",
         .help = "encoding puts EOS behind a text",
         .kind = CLI_FLAG,
         .value = &o->rules.add_eos},
        {.name = "nfc",
         .help = "text is brought into normalization form C first",
         .kind = CLI_FLAG,
         .value = &o->rules.nfc},
        {.name = "prefix-space",
         .help = "a text that does not begin with a space gets one",
         .kind = CLI_FLAG,
         .value = &o->rules.prefix_space}};
    memcpy(table, made, sizeof made);
}

int rules_options_read(rules_options *o, failure *f)
{
    o->rules.n_specials = o->specials.n;
    memcpy(o->rules.specials, o->specials.items, o->specials.n * sizeof o->specials.items[0]);
    int code = rules_pre(o->pre ? o->pre : "gpt2", &o->rules.pre, f);
    return code ? code : rules_check(&o->rules, f);
}

/* ---- Report ---------------------------------------------------------------------------------- */

static void report_json(const build_report *r, const notes *w,
                        void (*more)(void *user, json_out *j), void *user)
{
    json_out j;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-tokenizer");
    json_string(&j, "command", r->command);
    json_string(&j, "output", r->output);
    json_string(&j, "form", r->form);
    json_u64(&j, "bytes", r->n_bytes);
    json_string(&j, "kind", r->model->kind);
    json_u64(&j, "n_tokens", slm_token_count(r->model->tokenizer));
    json_hex64(&j, "checksum", slm_hash_bytes(0, r->model->payload, r->model->n_payload));
    if (more) {
        more(user, &j);
    }
    json_array(&j, "warnings");
    for (uint32_t i = 0; i < w->n; i++) {
        json_string(&j, NULL, w->text[i]);
    }
    json_array_end(&j);
    json_object_end(&j);
    json_end(&j);
}

void build_report_write(cli *c, const build_report *r, const notes *w,
                        void (*more)(void *user, json_out *j), void *user)
{
    for (uint32_t i = 0; i < w->n && !r->quiet; i++) {
        fprintf(stderr, "slm-tokenizer: warning: %s\n", w->text[i]);
    }
    if (r->json) {
        report_json(r, w, more, user);
        c->json_done = true;
    } else if (!r->quiet) {
        fprintf(stderr, "%s: %s, %" PRIu32 " tokens, %" PRIu64 " bytes\n", r->output,
                r->model->kind, slm_token_count(r->model->tokenizer), r->n_bytes);
    }
}

/* ---- build ----------------------------------------------------------------------------------- */

typedef struct build_options {
    const char *source, *out, *to, *merges, *vocab;
    bool bytes, force, json, quiet;
    rules_options rules;
} build_options;

static int check_build(const cli *c, build_options *o, failure *f)
{
    static const char *const merges_only[] = {"vocab", "pre", "special",     "bos",
                                              "eos",   "nfc", "prefix-space"};
    if ((o->source != NULL) + (o->merges != NULL) + o->bytes != 1) {
        return fail(f, EXIT_USAGE, "give one of SOURCE, --merges FILE and --bytes");
    }
    if (!o->out) {
        return fail(f, EXIT_USAGE, "-o FILE is missing: where to write the tokenizer");
    }
    for (size_t i = 0; i < sizeof merges_only / sizeof merges_only[0]; i++) {
        if (!o->merges && cli_seen(c, merges_only[i])) {
            return fail(f, EXIT_USAGE, "--%s goes with --merges", merges_only[i]);
        }
    }
    if (o->source && (cli_seen(c, "add-bos") || cli_seen(c, "add-eos"))) {
        return fail(f, EXIT_USAGE, "--add-bos and --add-eos go with --merges and --bytes");
    }
    return o->merges ? rules_options_read(&o->rules, f) : EXIT_OK;
}

static int make_bytes(const build_options *o, tokenizer_payload *payload, failure *f)
{
    payload->tokenizer = (uint8_t *)calloc(1, BTOK_BYTES);
    if (!payload->tokenizer) {
        return fail(f, EXIT_RESOURCE, "no memory");
    }
    payload->n_tokenizer = BTOK_BYTES;
    store_u32(payload->tokenizer, BTOK_MAGIC);
    store_u32(payload->tokenizer + 4, BTOK_VERSION);
    store_u32(payload->tokenizer + 8, (o->rules.rules.add_bos ? TOK_ADD_BOS : 0u) |
                                          (o->rules.rules.add_eos ? TOK_ADD_EOS : 0u));
    return EXIT_OK;
}

static int open_source(const build_options *o, text_model *m, failure *f)
{
    tokenizer_payload made = {0};
    if (o->source) {
        return text_model_open(m, o->source, f);
    }
    int code = o->bytes ? make_bytes(o, &made, f)
                        : tokenizer_from_merges(o->merges, o->vocab, &o->rules.rules, &made, f);
    code = code ? code : text_model_adopt(m, o->bytes ? "bytes" : o->merges, &made, f);
    tokenizer_payload_free(&made);
    return code;
}

static int write_build(const build_options *o, const text_model *m, vocabulary_form form,
                       uint64_t *n_bytes, notes *w, failure *f)
{
    const char *paths[TEXT_MODEL_FILES] = {o->merges ? o->merges : m->files[0],
                                           o->merges ? o->vocab : m->files[1]};
    const vocabulary_setting settings[] = {{"pre", rules_pre_name(o->rules.rules.pre), 0}};
    vocabulary_origin origin = {.tool = "slm-tokenizer",
                                .source = o->merges  ? "merges"
                                          : o->bytes ? "bytes"
                                                     : "vocabulary",
                                .paths = paths,
                                .n_paths = !o->merges ? m->n_files
                                           : o->vocab ? 2
                                                      : 1,
                                .settings = settings,
                                .n_settings = o->merges ? 1 : 0};
    output *out = NULL;
    int code = output_create(o->out, o->force, paths, 2, &out, f);
    code = code ? code : vocabulary_write(m, form, &origin, out, n_bytes, w, f);
    output_destroy(&out);
    return code;
}

static int build(cli *c, build_options *o)
{
    failure f = {0};
    vocabulary_form form = VOCABULARY_SLM;
    text_model m = {.file = {.fd = -1}};
    notes *w = (notes *)calloc(1, sizeof *w);
    uint64_t n_bytes = 0;
    int code = w ? check_build(c, o, &f) : fail(&f, EXIT_RESOURCE, "no memory");
    code = code ? code : vocabulary_form_of(o->to, o->out, &form, &f);
    code = code ? code : open_source(o, &m, &f);
    if (w) {
        note_lines(w, m.warnings);
    }
    code = code ? code : write_build(o, &m, form, &n_bytes, w, &f);
    if (code == EXIT_OK) {
        build_report r = {"build", o->out, FORMS[form], &m, n_bytes, o->json, o->quiet};
        build_report_write(c, &r, w, NULL, NULL);
    } else {
        code = cli_report(c, &f);
    }
    text_model_close(&m);
    free(w);
    return cli_finish(c, code);
}

/* Options that build, export and train share. */
static const cli_option quiet_option = {
    .name = "quiet", .letter = 'q', .help = "no report and no warnings", .kind = CLI_FLAG};

int tokenizer_build_main(int argc, char **argv)
{
    build_options o = {0};
    cli_option table[8 + RULES_OPTIONS] = {
        {.name = "output",
         .letter = 'o',
         .argument = "FILE",
         .help = "the file to write",
         .kind = CLI_STRING,
         .value = &o.out},
        {.name = "to",
         .argument = "slm|json|payload",
         .help = "its form: a .slm that only tokenizes, tokenizer.json, or the bare BTOK or BPE1 "
                 "payload (default: by its name's ending .json, .btok or .bpe1, else slm)",
         .kind = CLI_STRING,
         .value = &o.to},
        {.name = "merges",
         .argument = "FILE",
         .help = "instead of SOURCE: a merges list such as GPT-2's merges.txt",
         .kind = CLI_STRING,
         .value = &o.merges},
        {.name = "vocab",
         .argument = "FILE",
         .help = "with --merges: the vocab.json that numbers the tokens (default: bytes, merges, "
                 "special tokens)",
         .kind = CLI_STRING,
         .value = &o.vocab},
        {.name = "bytes",
         .help = "instead of SOURCE: bytes as tokens 0 to 255, BOS 256, EOS 257",
         .kind = CLI_FLAG,
         .value = &o.bytes},
        {.name = "force",
         .help = "replace an existing output file",
         .kind = CLI_FLAG,
         .value = &o.force},
        {.name = "json",
         .help = "report as one JSON document on standard output",
         .kind = CLI_FLAG,
         .value = &o.json},
        quiet_option};
    table[7].value = &o.quiet;
    rules_options_table(&o.rules, table + 8);
    cli c = {.tool = "slm-tokenizer build",
             .synopsis = "SOURCE|--merges FILE|--bytes -o FILE [options]",
             .summary = "A tokenizer -> a file of its own. SOURCE is a tokenizer.json, "
                        "tokenizer.model,\ntokenizer.bin, GGUF or .slm file, a bare payload, or a "
                        "folder with one of them.",
             .options = table,
             .n_options = sizeof table / sizeof table[0],
             .max_operands = 1,
             .operands = &o.source,
             .epilog = "slm-tokenizer build tokenizer.model -o vocabulary.slm\n"
                       "slm-tokenizer build --merges merges.txt --eos '<|endoftext|>' -o gpt2.slm\n"
                       "slm-tokenizer build --bytes --add-bos -o bytes.btok"};
    int code = cli_parse(&c, argc, argv);
    return code >= 0 ? code : build(&c, &o);
}

/* ---- export ---------------------------------------------------------------------------------- */

typedef struct export_options {
    const char *source, *out, *config;
    bool force, json, quiet;
} export_options;

/* Both files, or neither if the second cannot be begun. */
static int write_texts(const export_options *o, const text_model *m, const tokenizer_texts *texts,
                       failure *f)
{
    output *json = NULL, *config = NULL;
    const char *inputs[TEXT_MODEL_FILES] = {m->files[0], m->files[1]};
    int code = output_create(o->out, o->force, inputs, 2, &json, f);
    if (code == EXIT_OK && o->config) {
        code = output_create(o->config, o->force, inputs, 2, &config, f);
        code = code ? code : output_write(config, texts->config, texts->n_config, f);
    }
    code = code ? code : output_write(json, texts->json, texts->n_json, f);
    code = code ? code : output_commit(json, f);
    code = code == EXIT_OK && config ? output_commit(config, f) : code;
    output_destroy(&json);
    output_destroy(&config);
    return code;
}

static int export_file(cli *c, const export_options *o)
{
    failure f = {0};
    text_model m = {.file = {.fd = -1}};
    tokenizer_texts texts = {0};
    notes *w = (notes *)calloc(1, sizeof *w);
    int code = !w       ? fail(&f, EXIT_RESOURCE, "no memory")
               : o->out ? text_model_open(&m, o->source, &f)
                        : fail(&f, EXIT_USAGE, "-o FILE is missing: where to write the tokenizer");
    if (w) {
        note_lines(w, m.warnings);
    }
    code = code ? code : tokenizer_export(m.path, m.payload, &texts, w, &f);
    if (code == EXIT_OK && m.chat) {
        note(w, "%s: its chat turns stay behind; only a .slm file holds them", m.path);
    }
    code = code ? code : write_texts(o, &m, &texts, &f);
    if (code == EXIT_OK) {
        build_report r = {"export", o->out, "json", &m, texts.n_json, o->json, o->quiet};
        build_report_write(c, &r, w, NULL, NULL);
    } else {
        code = cli_report(c, &f);
    }
    tokenizer_texts_free(&texts);
    text_model_close(&m);
    free(w);
    return cli_finish(c, code);
}

int tokenizer_export_main(int argc, char **argv)
{
    export_options o = {0};
    cli_option table[] = {
        {.name = "output",
         .letter = 'o',
         .argument = "FILE",
         .help = "the tokenizer.json to write",
         .kind = CLI_STRING,
         .value = &o.out},
        {.name = "config",
         .argument = "FILE",
         .help = "write a tokenizer_config.json too: the names of BOS and EOS, whether they are "
                 "added",
         .kind = CLI_STRING,
         .value = &o.config},
        {.name = "force",
         .help = "replace existing output files",
         .kind = CLI_FLAG,
         .value = &o.force},
        {.name = "json",
         .help = "report as one JSON document on standard output",
         .kind = CLI_FLAG,
         .value = &o.json},
        quiet_option};
    table[4].value = &o.quiet;
    cli c = {.tool = "slm-tokenizer export",
             .synopsis = "MODEL -o tokenizer.json [options]",
             .summary = "Any tokenizer that encode takes -> a tokenizer.json that other programs "
                        "load. It is\nread back before it is written: what it says is what MODEL "
                        "does, or it is refused.",
             .options = table,
             .n_options = sizeof table / sizeof table[0],
             .min_operands = 1,
             .max_operands = 1,
             .operands = &o.source,
             .epilog = "slm-tokenizer export model.slm -o tokenizer.json --config "
                       "tokenizer_config.json"};
    int code = cli_parse(&c, argc, argv);
    return code >= 0 ? code : export_file(&c, &o);
}
