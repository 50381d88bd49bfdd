/* tokenizer_train_cli.c - command line of `slm-tokenizer train`. */
#include "lib/tokenizer_train_cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/tokenizer_build_cli.h"
#include "lib/tokenizer_export.h"
#include "lib/tokenizer_merges.h"
#include "lib/tokenizer_train.h"
#include "text/payload.h"

enum { MAX_TEXTS = 1024, MAX_STDIN = 1 << 30 };

typedef struct train_options {
    const char *texts[MAX_TEXTS];
    uint32_t n_texts;
    const char *out, *to, *export;
    uint32_t vocab_size, max_token_bytes, max_memory;
    uint64_t min_frequency;
    bool force, json, quiet, progress;
    rules_options rules;
} train_options;

/* A run of the command. */
typedef struct training {
    const train_options *o;
    vocabulary_form form;
    text_model cutter; /* cuts words, and knows no merges */
    memory_budget memory;
    training_words words;
    training_result result;
    text_model trained;
    output *out, *export;
    uint64_t n_text, n_bytes;
    double seconds;
    progress shown;
    notes *w;
    failure f;
} training;

/* ---- Texts ----------------------------------------------------------------------------------- */

static int open_cutter(training *r)
{
    tokenizer_rules rules = {.pre = r->o->rules.rules.pre, .nfc = r->o->rules.rules.nfc};
    const merges_text none = {"training", "", 0};
    tokenizer_payload made = {0};
    int code = tokenizer_from_merges_text(&none, NULL, &rules, &made, &r->f);
    code = code ? code : text_model_adopt(&r->cutter, "training", &made, &r->f);
    tokenizer_payload_free(&made);
    return code;
}

static bool is_stdin(const char *path)
{
    return strcmp(path, "-") == 0;
}

static int read_stdin(training *r)
{
    char *text = NULL;
    size_t n = 0;
    int code = input_slurp("-", MAX_STDIN, &text, &n, &r->f);
    r->words.n_todo += n;
    r->n_text += n;
    code = code ? code
                : words_add_text(&r->words, r->cutter.tokenizer, &r->o->rules.rules,
                                 (const uint8_t *)text, n, &r->f);
    free(text);
    return code;
}

static int read_file(training *r, const char *path)
{
    input in;
    int code = input_open(path, &in, &r->f);
    code = code ? code : input_map(&in, &r->f);
    if (code == EXIT_OK) {
        r->n_text += in.n_bytes;
        code = words_add_text(&r->words, r->cutter.tokenizer, &r->o->rules.rules, in.bytes,
                              (size_t)in.n_bytes, &r->f);
    }
    code = code ? code : input_unchanged(&in, &r->f);
    input_close(&in);
    return code;
}

static int read_texts(training *r)
{
    int code = EXIT_OK;
    uint32_t n_stdin = 0;
    for (uint32_t i = 0; i < r->o->n_texts && code == EXIT_OK; i++) {
        input in;
        if (is_stdin(r->o->texts[i])) {
            n_stdin++;
            continue;
        }
        code = input_open(r->o->texts[i], &in, &r->f); /* all are there before work begins */
        r->words.n_todo += code == EXIT_OK ? in.n_bytes : 0;
        input_close(&in);
    }
    if (n_stdin > 1) {
        return fail(&r->f, EXIT_USAGE, "-: standard input can be read once only");
    }
    for (uint32_t i = 0; i < r->o->n_texts && code == EXIT_OK; i++) {
        code = is_stdin(r->o->texts[i]) ? read_stdin(r) : read_file(r, r->o->texts[i]);
    }
    return code == EXIT_OK && r->words.n_words == 0
               ? fail(&r->f, EXIT_INPUT, "%s: there is no text to train on", r->o->texts[0])
               : code;
}

/* ---- Outputs --------------------------------------------------------------------------------- */

/* Begun before the work, so that it is not in vain. */
static int begin_outputs(training *r)
{
    const train_options *o = r->o;
    int code = output_create(o->out, o->force, o->texts, o->n_texts, &r->out, &r->f);
    return code == EXIT_OK && o->export
               ? output_create(o->export, o->force, o->texts, o->n_texts, &r->export, &r->f)
               : code;
}

static int write_outputs(training *r)
{
    const train_options *o = r->o;
    const tokenizer_rules *rules = &o->rules.rules;
    const char *paths[MAX_TEXTS];
    uint32_t n_paths = 0;
    for (uint32_t i = 0; i < o->n_texts; i++) {
        if (!is_stdin(o->texts[i])) {
            paths[n_paths++] = o->texts[i];
        }
    }
    const vocabulary_setting settings[] = {{"vocab_size", NULL, o->vocab_size},
                                           {"min_frequency", NULL, o->min_frequency},
                                           {"max_token_bytes", NULL, o->max_token_bytes},
                                           {"pre", rules_pre_name(rules->pre), 0},
                                           {"nfc", NULL, rules->nfc},
                                           {"prefix_space", NULL, rules->prefix_space}};
    vocabulary_origin origin = {.tool = "slm-tokenizer",
                                .source = "training",
                                .paths = paths,
                                .n_paths = n_paths,
                                .settings = settings,
                                .n_settings = sizeof settings / sizeof settings[0]};
    tokenizer_texts texts = {0};
    int code = EXIT_OK;
    if (r->export) {
        code = tokenizer_export("training", r->trained.payload, &texts, r->w, &r->f);
        code = code ? code : output_write(r->export, texts.json, texts.n_json, &r->f);
        tokenizer_texts_free(&texts);
    }
    code = code ? code
                : vocabulary_write(&r->trained, r->form, &origin, r->out, &r->n_bytes, r->w, &r->f);
    return code == EXIT_OK && r->export ? output_commit(r->export, &r->f) : code;
}

/* ---- Run ------------------------------------------------------------------------------------- */

static int train(training *r)
{
    const train_options *o = r->o;
    tokenizer_payload payload = {0};
    training_options options = {.vocab_size = o->vocab_size,
                                .min_frequency = o->min_frequency,
                                .max_token_bytes = o->max_token_bytes,
                                .rules = &o->rules.rules};
    double begun = clock_seconds();
    int code = read_texts(r);
    code = code ? code : tokenizer_train(&options, &r->words, &payload, &r->result, &r->f);
    r->seconds = clock_seconds() - begun;
    code = code ? code : text_model_adopt(&r->trained, "training", &payload, &r->f);
    tokenizer_payload_free(&payload);
    if (code == EXIT_OK && r->result.n_tokens < o->vocab_size) {
        note(r->w,
             "%" PRIu32 " tokens instead of %" PRIu32 ": no further pair occurs %" PRIu64 " times",
             r->result.n_tokens, o->vocab_size, o->min_frequency);
    }
    return code;
}

static void report_training(void *user, json_out *j)
{
    const training *r = (const training *)user;
    json_object(j, "training");
    json_u64(j, "texts", r->o->n_texts);
    json_u64(j, "text_bytes", r->n_text);
    json_u64(j, "words", r->words.n_total);
    json_u64(j, "different_words", r->words.n_words);
    json_u64(j, "merges", r->result.n_merges);
    json_u64(j, "vocab_size", r->o->vocab_size);
    json_u64(j, "min_frequency", r->o->min_frequency);
    json_string(j, "pre", rules_pre_name(r->o->rules.rules.pre));
    json_u64(j, "memory_bytes", r->memory.peak);
    json_f64(j, "seconds", r->seconds);
    json_object_end(j);
}

static int check_options(const cli *c, train_options *o, training *r)
{
    if (!o->out) {
        return fail(&r->f, EXIT_USAGE, "-o FILE is missing: where to write the tokenizer");
    }
    if (!cli_seen(c, "vocab-size")) {
        return fail(&r->f, EXIT_USAGE, "--vocab-size N is missing: how many tokens to make");
    }
    int code = vocabulary_form_of(o->to, o->out, &r->form, &r->f);
    return code ? code : rules_options_read(&o->rules, &r->f);
}

static int run(cli *c, train_options *o)
{
    static const char *const forms[] = {"slm", "json", "payload"};
    training *r = (training *)calloc(1, sizeof *r);
    notes *w = (notes *)calloc(1, sizeof *w);
    if (!r || !w) {
        free(r);
        free(w);
        failure f;
        fail(&f, EXIT_RESOURCE, "no memory");
        return cli_report(c, &f);
    }
    r->o = o;
    r->w = w;
    r->cutter.file.fd = r->trained.file.fd = -1;
    r->memory.limit = (uint64_t)o->max_memory << 20;
    r->words.memory = &r->memory;
    r->words.shown = &r->shown;
    progress_begin(&r->shown, o->progress ? PROGRESS_ON : o->quiet ? PROGRESS_OFF : PROGRESS_AUTO);
    int code = check_options(c, o, r);
    code = code ? code : begin_outputs(r);
    code = code ? code : open_cutter(r);
    code = code ? code : train(r);
    progress_end(&r->shown);
    code = code ? code : write_outputs(r);
    if (code == EXIT_OK) {
        build_report report = {"train",    o->out,  forms[r->form], &r->trained,
                               r->n_bytes, o->json, o->quiet};
        build_report_write(c, &report, w, report_training, r);
    } else {
        code = cli_report(c, &r->f);
    }
    words_free(&r->words);
    text_model_close(&r->cutter);
    text_model_close(&r->trained);
    output_destroy(&r->out);
    output_destroy(&r->export);
    free(r);
    free(w);
    return cli_finish(c, code);
}

int tokenizer_train_main(int argc, char **argv)
{ /* lint: long because it is one table */
    static train_options o = {
        .min_frequency = 2, .max_token_bytes = UINT16_MAX, .max_memory = 4096};
    cli_option table[11 + RULES_OPTIONS] = {
        {.name = "output",
         .letter = 'o',
         .argument = "FILE",
         .help = "the file to write",
         .kind = CLI_STRING,
         .value = &o.out},
        {.name = "vocab-size",
         .argument = "N",
         .help = "how many tokens to make, special tokens and the 256 bytes included",
         .kind = CLI_U32,
         .value = &o.vocab_size,
         .min = 256,
         .max = BPE1_MAX_TOKENS},
        {.name = "min-frequency",
         .argument = "N",
         .help = "a pair that occurs less often is not merged (default 2)",
         .kind = CLI_U64,
         .value = &o.min_frequency,
         .min = 1,
         .max = 1e15},
        {.name = "max-token-bytes",
         .argument = "N",
         .help = "no token is longer (default 65535)",
         .kind = CLI_U32,
         .value = &o.max_token_bytes,
         .min = 1,
         .max = UINT16_MAX},
        {.name = "export",
         .argument = "FILE",
         .help = "write a tokenizer.json too",
         .kind = CLI_STRING,
         .value = &o.export},
        {.name = "to",
         .argument = "slm|json|payload",
         .help = "the output's form (default: by its name's ending, as build does)",
         .kind = CLI_STRING,
         .value = &o.to},
        {.name = "max-memory",
         .argument = "MIB",
         .help = "give up rather than take more (default 4096)",
         .kind = CLI_U32,
         .value = &o.max_memory,
         .min = 1,
         .max = 1 << 24},
        {.name = "force",
         .help = "replace existing output files",
         .kind = CLI_FLAG,
         .value = &o.force},
        {.name = "json",
         .help = "report as one JSON document on standard output",
         .kind = CLI_FLAG,
         .value = &o.json},
        {.name = "progress",
         .help = "show progress even if stderr is no terminal",
         .kind = CLI_FLAG,
         .value = &o.progress},
        {.name = "quiet",
         .letter = 'q',
         .help = "no report and no warnings",
         .kind = CLI_FLAG,
         .value = &o.quiet}};
    rules_options_table(&o.rules, table + 11);
    cli c = {.tool = "slm-tokenizer train",
             .synopsis = "TEXT... -o FILE --vocab-size N [options]",
             .summary = "Texts -> a byte-level BPE vocabulary: the pair of neighbours that occurs "
                        "most often\nbecomes a token, again and again; of equals the one with the "
                        "smaller ids. Special\ntokens come first, then the bytes. \"-\" is "
                        "standard input.",
             .options = table,
             .n_options = sizeof table / sizeof table[0],
             .min_operands = 1,
             .max_operands = MAX_TEXTS,
             .operands = o.texts,
             .epilog = "slm-tokenizer train stories.txt --vocab-size 4096 --eos '<|endoftext|>' "
                       "-o stories.slm \\\n    --export tokenizer.json"};
    int code = cli_parse(&c, argc, argv);
    o.n_texts = c.n_operands;
    return code >= 0 ? code : run(&c, &o);
}
