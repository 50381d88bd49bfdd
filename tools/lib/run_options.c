/* run_options.c - the table of slm-run's options, and the rules among them. */
#include "lib/run_options.h"

#include <string.h>

static const char SUMMARY[] =
    "Continues a prompt with a .slm model, and streams the text to standard output.\n"
    "The prompt comes from -p, -f or standard input (one newline at its end is dropped).";

static const char EPILOG[] =
    "The logits digest is slm_hash (seed 0; schemas/slm-format.md) over little-endian f32 rows of\n"
    "n_vocab logits: of each prompt position in order, then of each generated token that was fed\n"
    "back, which all but the last one are. It is the last line, 16 hexadecimal digits.\n\n"
    "examples:\n"
    "  slm-run model.slm -p 'once upon a time' -n 100 --temp 0.8 --seed 7\n"
    "  slm-run model.slm --chat --system 'Answer in one sentence.'\n"
    "  slm-run model.slm --ids tokens.i32 --logits-out logits.f32 --kv f32\n\n";

static run_options given = {.max_tokens = 256, .seed = 1, .kv_name = "f16"};

/* clang-format off */
static cli_option table[] = {
    {.name = "prompt", .letter = 'p', .argument = "TEXT", .kind = CLI_STRING,
     .value = &given.prompt, .help = "the text to continue"},
    {.name = "file", .letter = 'f', .argument = "FILE", .kind = CLI_STRING, .value = &given.file,
     .help = "read the prompt from FILE ('-': standard input)"},
    {.name = "max-tokens", .letter = 'n', .argument = "N", .kind = CLI_U32,
     .value = &given.max_tokens, .help = "stop after N tokens (default 256; 0: only evaluate)"},
    {.name = "temp", .argument = "T", .kind = CLI_F32, .value = &given.temperature, .max = 100,
     .help = "temperature, 0 to 100; 0 takes the likeliest token (default: the model's own, else "
             "0)"},
    {.name = "top-k", .argument = "K", .kind = CLI_U32, .value = &given.top_k,
     .max = SLM_MAX_CANDIDATES,
     .help = "draw from the K likeliest; 0: 1024 (default: the model's own, else 0)"},
    {.name = "top-p", .argument = "P", .kind = CLI_F32, .value = &given.top_p, .max = 1,
     .help = "then from those that hold P of the weight (default: the model's own, else 1)"},
    {.name = "min-p", .argument = "P", .kind = CLI_F32, .value = &given.min_p, .max = 1,
     .help = "and are at least P as likely as the likeliest (default: the model's own, else 0)"},
    {.name = "seed", .argument = "N", .kind = CLI_U64, .value = &given.seed,
     .help = "of the random numbers (default 1); a seed gives the same text on every machine"},
    {.name = "stop", .argument = "TEXT", .kind = CLI_LIST, .value = &given.stops,
     .help = "end before TEXT is shown; may be repeated"},
    {.name = "echo", .kind = CLI_FLAG, .value = &given.echo,
     .help = "show the prompt in front of its continuation"},
    {.name = "chat", .kind = CLI_FLAG, .value = &given.chat,
     .help = "hold a conversation, a line a turn, or answer -p; needs a model with chat turns"},
    {.name = "system", .argument = "TEXT", .kind = CLI_STRING, .value = &given.system,
     .help = "the system message of --chat"},
    {.name = "no-special", .kind = CLI_FLAG, .value = &given.no_special,
     .help = "put no start token before the prompt"},
    {.name = "control", .kind = CLI_FLAG, .value = &given.control,
     .help = "recognise control tokens in the prompt or in the messages of --chat, and show those "
             "generated"},
    {.name = "ids", .argument = "FILE", .kind = CLI_STRING, .value = &given.ids,
     .help = "the prompt as little-endian int32 token ids"},
    {.name = "logits-out", .argument = "FILE", .kind = CLI_STRING, .value = &given.logits_out,
     .help = "write the logits of every position as little-endian f32, replacing FILE "
             "('-': standard output); generates only if -n is given"},
    {.name = "logits-digest", .kind = CLI_FLAG, .value = &given.digest,
     .help = "end with a digest of all logits (see below)"},
    {.name = "threads", .letter = 't', .argument = "N", .kind = CLI_U32, .value = &given.threads,
     .min = 1, .max = 256, .help = "threads (default: one per core)"},
    {.name = "ctx", .letter = 'c', .argument = "N", .kind = CLI_U32, .value = &given.context,
     .min = 1, .max = 1 << 24, .help = "positions of context (default: the model's, at most 4096)"},
    {.name = "chunk", .argument = "N", .kind = CLI_U32, .value = &given.chunk, .min = 1,
     .max = 4096, .help = "tokens of a prefill step (default 64)"},
    {.name = "kernels", .argument = "NAME", .kind = CLI_STRING, .value = &given.kernels,
     .help = "kernel variant (default: the best; listed below)"},
    {.name = "kv", .argument = "f16|f32|q8_0", .kind = CLI_STRING, .value = &given.kv_name,
     .help = "element type of the cache (default f16)"},
    {.name = "check", .kind = CLI_FLAG, .value = &given.check_flag,
     .help = "verify checksums and values of all weights first (default: if the file is smaller "
             "than 64 MiB; --no-check: never)"},
    {.name = "require-quality", .kind = CLI_FLAG, .value = &given.require_quality,
     .help = "refuse a model whose quality manifest (MODEL.slm.quality.json) is missing, for other "
             "bytes, not passed, or not reproduced by this machine"},
    {.name = "manifest", .argument = "FILE", .kind = CLI_STRING, .value = &given.manifest,
     .help = "the quality manifest of --require-quality, if it lies elsewhere"},
    {.name = "stats", .kind = CLI_FLAG, .value = &given.stats,
     .help = "speed and memory on standard error"},
    {.name = "json", .kind = CLI_FLAG, .value = &given.json,
     .help = "print one JSON document with text, ids and figures"},
    {.name = "progress", .kind = CLI_FLAG, .value = &given.progress_flag,
     .help = "show progress of the prompt without a terminal too; --no-progress: never"},
    {.name = "quiet", .letter = 'q', .kind = CLI_FLAG, .value = &given.quiet,
     .help = "no notes and no progress"},
};
/* clang-format on */

cli *run_options_cli(run_options **options)
{
    static char epilog[sizeof EPILOG + KERNELS_TEXT_BYTES];
    static cli c = {.tool = "slm-run",
                    .synopsis = "MODEL.slm [options]",
                    .summary = SUMMARY,
                    .options = table,
                    .n_options = sizeof table / sizeof table[0],
                    .min_operands = 1,
                    .max_operands = 1,
                    .operands = &given.model,
                    .epilog = epilog};
    char kernels[KERNELS_TEXT_BYTES];
    kernels_describe(kernels);
    snprintf(epilog, sizeof epilog, "%s%s", EPILOG, kernels);
    *options = &given;
    return &c;
}

static int check_output(run_options *o, const cli *c, failure *f)
{
    if (o->logits_out && !cli_seen(c, "max-tokens")) {
        o->max_tokens = 0;
    }
    if (o->logits_out && strcmp(o->logits_out, "-") == 0 &&
        (o->max_tokens != 0 || o->json || o->digest || o->echo)) {
        return fail(
            f, EXIT_USAGE,
            "--logits-out -: standard output can hold nothing else; leave out --max-tokens, "
            "--json, --logits-digest, --echo");
    }
    return EXIT_OK;
}

int run_options_check(run_options *o, const cli *c, failure *f)
{
    if ((o->prompt != NULL) + (o->file != NULL) + (o->ids != NULL) > 1) {
        return fail(f, EXIT_USAGE, "--prompt, --file, --ids: give one of them");
    }
    if (o->chat && (o->ids || o->logits_out || o->echo)) {
        return fail(f, EXIT_USAGE, "--chat: does not go with --ids, --logits-out or --echo");
    }
    if (o->system && !o->chat) {
        return fail(f, EXIT_USAGE, "--system: needs --chat");
    }
    for (uint32_t i = 0; i < o->stops.n; i++) {
        if (o->stops.items[i][0] == 0) {
            return fail(f, EXIT_USAGE, "--stop: the text is empty");
        }
    }
    o->progress = cli_seen(c, "progress") ? (o->progress_flag ? PROGRESS_ON : PROGRESS_OFF)
                  : o->quiet              ? PROGRESS_OFF
                                          : PROGRESS_AUTO;
    o->check = !cli_seen(c, "check") ? MODEL_CHECK_SMALL
               : o->check_flag       ? MODEL_CHECK_ALL
                                     : MODEL_CHECK_NONE;
    int code = kv_type_parse("--kv", o->kv_name, &o->kv, f);
    return code ? code : check_output(o, c, f);
}

int run_options_sampler(const run_options *o, const cli *c, const model_file *m,
                        slm_sampler *sampler, failure *f)
{
    const slm_model_info *i = &m->info;
    float temperature = i->temperature >= 0 ? i->temperature : 0;
    uint32_t top_k = i->top_k < SLM_MAX_CANDIDATES ? i->top_k : SLM_MAX_CANDIDATES;
    float top_p = i->top_p > 0 ? i->top_p : 1;
    temperature = cli_seen(c, "temp") ? o->temperature : temperature;
    top_k = cli_seen(c, "top-k") ? o->top_k : top_k;
    top_p = cli_seen(c, "top-p") ? o->top_p : top_p;
    float min_p = cli_seen(c, "min-p") ? o->min_p : i->min_p;
    slm_error error = {0};
    if (slm_sampler_init(sampler, temperature, top_k, top_p, min_p, o->seed, &error) != SLM_OK) {
        return fail_status(f, m->path, &error);
    }
    return EXIT_OK;
}
