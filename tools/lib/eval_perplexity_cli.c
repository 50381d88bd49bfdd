/* eval_perplexity_cli.c - slm-eval perplexity: options, text -> ids, the report. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eval_perplexity.h"
#include "lib/json_out.h"

enum { TEXT_LIMIT = 1 << 30, DEFAULT_WINDOW = 512 };

static struct {
    const char *operands[2]; /* model, text */
    const char *kv_name, *kernels, *logits_out;
    uint32_t window, stride, threads;
    bool ids, json, progress;
} given = {.kv_name = "f16"};

/* clang-format off */
static cli_option table[] = {
    {.name = "window", .letter = 'w', .argument = "N", .kind = CLI_U32, .value = &given.window,
     .min = 2, .max = 1 << 24, .help = "tokens a window holds (default: the model's context, at "
     "most 512)"},
    {.name = "stride", .letter = 's', .argument = "N", .kind = CLI_U32, .value = &given.stride,
     .min = 1, .max = 1 << 24, .help = "tokens from the start of one window to the next (default: "
     "half of the window)"},
    {.name = "ids", .kind = CLI_FLAG, .value = &given.ids,
     .help = "FILE holds little-endian int32 token ids, which are scored as they are"},
    {.name = "threads", .letter = 't', .argument = "N", .kind = CLI_U32, .value = &given.threads,
     .min = 1, .max = 256, .help = "threads (default: one per core)"},
    {.name = "kernels", .argument = "NAME", .kind = CLI_STRING, .value = &given.kernels,
     .help = "kernel variant (default: the best)"},
    {.name = "kv", .argument = "f16|f32|q8_0", .kind = CLI_STRING, .value = &given.kv_name,
     .help = "element type of the cache (default f16)"},
    {.name = "logits-out", .argument = "FILE", .kind = CLI_STRING, .value = &given.logits_out,
     .help = "write the row of logits that each scored token is predicted from, as "
     "little-endian f32, in the order of the text"},
    {.name = "json", .kind = CLI_FLAG, .value = &given.json, .help = "print one JSON document"},
    {.name = "progress", .kind = CLI_FLAG, .value = &given.progress,
     .help = "show progress without a terminal too; --no-progress: never"},
};
/* clang-format on */

static const char SUMMARY[] =
    "Measures how well a model predicts a text: mean negative log-likelihood of its tokens.\n"
    "\n"
    "Windows start a stride apart; each scores the tokens that none before it has scored, so "
    "every\n"
    "token is scored once, and (after the first window) with at least window - stride before it. "
    "If\n"
    "the tokenizer begins texts with a start token, every window begins with it; else the first\n"
    "token of the text is not scored. FILE is tokenized as a whole, without control tokens.";

static const char EPILOG[] =
    "Reported: nll = mean of -log p(token) in nats, with its standard error (tokens taken as\n"
    "independent); perplexity = e^nll; bits per byte = all nats / ln 2 / bytes of the scored "
    "text.\n"
    "\n"
    "example:\n"
    "  slm-eval perplexity model.slm text.txt --window 256 --stride 128 --kv f32";

/* Text and how it is to be scored. */
typedef struct job {
    cli c;
    model_file model;
    int32_t *ids;
    size_t n_ids;
    uint64_t n_bytes; /* of the text that is scored; 0: not known */
    perplexity_options o;
    perplexity result;
    output *file;
    logits_out rows;
    failure f;
} job;

static int read_text(job *j)
{
    j->o.bos_id = -1;
    if (given.ids) {
        return read_ids(&j->model, given.operands[1], &j->ids, &j->n_ids, &j->f);
    }
    char *text = NULL;
    size_t n_bytes = 0;
    int code = input_slurp(given.operands[1], TEXT_LIMIT, &text, &n_bytes, &j->f);
    code = code ? code : encode_text(&j->model, text, n_bytes, 0, &j->ids, &j->n_ids, &j->f);
    free(text);
    code = code ? code : text_bos_id(&j->model, &j->o.bos_id, &j->f);
    if (code == EXIT_OK && j->n_ids != 0) {
        j->n_bytes = text_scored_bytes(&j->model, j->ids, j->o.bos_id, n_bytes);
    }
    return code;
}

static int set_windows(job *j)
{
    uint32_t trained = j->model.info.n_context;
    perplexity_options *o = &j->o;
    o->window = given.window ? given.window : trained < DEFAULT_WINDOW ? trained : DEFAULT_WINDOW;
    o->stride = given.stride ? given.stride : o->window / 2;
    if (o->window > trained) {
        return fail(&j->f, EXIT_USAGE, "--window: %u is more than the model's context of %u",
                    o->window, trained);
    }
    if (o->stride >= o->window) {
        return fail(&j->f, EXIT_USAGE, "--stride: %u is not less than the window of %u tokens",
                    o->stride, o->window);
    }
    return EXIT_OK;
}

static int open_all(job *j)
{
    slm_session_options so = {0};
    int code = kv_type_parse("--kv", given.kv_name, &so.kv_type, &j->f);
    code = code ? code
                : model_file_open(&j->model, given.operands[0], given.kernels, MODEL_CHECK_SMALL,
                                  &j->f);
    code = code ? code : read_text(j);
    code = code ? code : set_windows(j);
    so.n_context = j->o.window;
    code = code ? code : model_file_start(&j->model, &so, given.threads, &j->f);
    if (code == EXIT_OK && given.logits_out) {
        code = output_create(given.logits_out, true, given.operands, 2, &j->file, &j->f);
        logits_out_init(&j->rows, j->file);
        j->o.rows = &j->rows;
    }
    return code;
}

static double bits_per_byte(const job *j)
{
    const double ln2 = 0.69314718055994530942;
    return j->n_bytes != 0 ? j->result.nll_sum / ln2 / (double)j->n_bytes : (double)NAN;
}

static void print_json(job *j)
{
    const perplexity *r = &j->result;
    json_out out;
    json_begin(&out, stdout, false);
    json_object(&out, NULL);
    json_string(&out, "tool", "slm-eval");
    json_string(&out, "command", "perplexity");
    json_string(&out, "version", SLM_VERSION);
    json_object(&out, "model");
    json_string(&out, "path", j->model.path);
    json_string(&out, "architecture", j->model.info.architecture);
    json_hex64(&out, "content_checksum", j->model.info.content_checksum);
    json_hex64(&out, "tokenizer_checksum", j->model.info.tokenizer_checksum);
    json_object_end(&out);
    json_string(&out, "file", given.operands[1]);
    json_string(&out, "kv", given.kv_name);
    json_u64(&out, "window", j->o.window);
    json_u64(&out, "stride", j->o.stride);
    if (j->o.bos_id >= 0) {
        json_i64(&out, "bos_id", j->o.bos_id);
    } else {
        json_null(&out, "bos_id");
    }
    json_u64(&out, "tokens", r->n_tokens);
    json_u64(&out, "scored", r->n_scored);
    json_u64(&out, "windows", r->n_windows);
    json_f64(&out, "nll", r->nll_mean);
    json_f64(&out, "nll_error", r->nll_error);
    json_f64(&out, "perplexity", r->perplexity);
    json_f64(&out, "perplexity_error", r->perplexity_error);
    json_f64(&out, "bits_per_byte", bits_per_byte(j));
    json_object_end(&out);
    json_end(&out);
    j->c.json_done = true;
}

static void print_text(const job *j)
{
    const perplexity *r = &j->result;
    printf("window          %u, stride %u, %s\n", j->o.window, j->o.stride,
           j->o.bos_id >= 0 ? "each begins with the start token" : "no start token");
    printf("tokens          %llu, scored %llu, in %llu windows\n", (unsigned long long)r->n_tokens,
           (unsigned long long)r->n_scored, (unsigned long long)r->n_windows);
    printf("nll             %.6f +- %.6f nats per token\n", r->nll_mean, r->nll_error);
    printf("perplexity      %.4f +- %.4f\n", r->perplexity, r->perplexity_error);
    if (j->n_bytes != 0) {
        printf("bits per byte   %.4f\n", bits_per_byte(j));
    }
}

static int measure(job *j)
{
    progress bar;
    progress_begin(&bar, !cli_seen(&j->c, "progress") ? PROGRESS_AUTO
                         : given.progress             ? PROGRESS_ON
                                                      : PROGRESS_OFF);
    j->o.bar = &bar;
    int code = perplexity_measure(&j->model, j->ids, j->n_ids, &j->o, &j->result, &j->f);
    progress_end(&bar);
    if (code == EXIT_OK && j->file) {
        code = output_commit(j->file, &j->f);
    }
    if (code == EXIT_OK) {
        given.json ? print_json(j) : print_text(j);
    }
    return code;
}

int eval_perplexity_main(int argc, char **argv)
{
    static job j = {.c = {.tool = "slm-eval perplexity",
                          .synopsis = "MODEL.slm FILE [options]",
                          .summary = SUMMARY,
                          .options = table,
                          .n_options = sizeof table / sizeof table[0],
                          .min_operands = 2,
                          .max_operands = 2,
                          .operands = given.operands,
                          .epilog = EPILOG}};
    int code = cli_parse(&j.c, argc, argv);
    if (code >= 0) {
        return code;
    }
    code = open_all(&j);
    code = code ? code : measure(&j);
    if (code != EXIT_OK) {
        cli_report(&j.c, &j.f);
    }
    output_destroy(&j.file);
    model_file_close(&j.model);
    free(j.ids);
    return cli_finish(&j.c, code);
}
