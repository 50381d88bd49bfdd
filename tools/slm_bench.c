/* slm_bench.c - how fast a model is here, beside what the machine could do at most. */
#include <stdlib.h>
#include <string.h>

#include "lib/bench_machine.h"
#include "lib/bench_memory.h"
#include "lib/bench_report.h"
#include "lib/bench_synthetic.h"

enum { MAX_LIST = 16, MAX_TOKENS = 1 << 20, DEFAULT_REPEATS = 5 };

static struct {
    const char *model;
    const char *synthetic, *type, *write, *db;
    const char *prompt, *depth, *batch, *threads, *kernels, *kv;
    uint32_t n_generate, chunk, repeats;
    bool json, profile, progress, force;
} given = {.type = "Q4_K_M",
           .prompt = "512",
           .depth = "0",
           .batch = "1",
           .kv = "f16",
           .n_generate = 128,
           .repeats = DEFAULT_REPEATS};

/* clang-format off */
static cli_option table[] = {
    {.name = "synthetic", .letter = 's', .argument = "SHAPE", .kind = CLI_STRING,
     .value = &given.synthetic, .help = "measure a model of random weights of this shape, made in "
     "memory: smollm2-135m, qwen2.5-0.5b or llama-3.2-1b (tiny, for trying)"},
    {.name = "type", .argument = "TYPE", .kind = CLI_STRING, .value = &given.type,
     .help = "its types, as slm-quantize --type; F32, F16 and BF16 too (default Q4_K_M)"},
    {.name = "write", .letter = 'o', .argument = "FILE.slm", .kind = CLI_STRING,
     .value = &given.write, .help = "write the synthetic model to a file and measure nothing"},
    {.name = "force", .letter = 'f', .kind = CLI_FLAG, .value = &given.force,
     .help = "replace that file if it is there"},
    {.name = "prompt", .letter = 'p', .argument = "N,...", .kind = CLI_STRING,
     .value = &given.prompt, .help = "tokens of a prefill (default 512; 0: none)"},
    {.name = "gen", .letter = 'n', .argument = "N", .kind = CLI_U32, .value = &given.n_generate,
     .max = MAX_TOKENS, .help = "tokens to decode (default 128; 0: none)"},
    {.name = "depth", .letter = 'd', .argument = "N,...", .kind = CLI_STRING, .value = &given.depth,
     .help = "tokens that stand before what is measured (default 0)"},
    {.name = "batch", .letter = 'b', .argument = "N,...", .kind = CLI_STRING, .value = &given.batch,
     .help = "tokens of a decoding step (default 1); more than one, as when a draft is verified: "
     "the logits of all are computed"},
    {.name = "threads", .letter = 't', .argument = "N,...", .kind = CLI_STRING,
     .value = &given.threads, .help = "threads (default: one per core)"},
    {.name = "kernels", .argument = "NAME,...", .kind = CLI_STRING, .value = &given.kernels,
     .help = "kernel variants (default: the best)"},
    {.name = "kv", .argument = "TYPE,...", .kind = CLI_STRING, .value = &given.kv,
     .help = "element types of the cache: f16, f32, q8_0 (default f16)"},
    {.name = "chunk", .argument = "N", .kind = CLI_U32, .value = &given.chunk, .min = 1,
     .max = 4096, .help = "tokens of a prefill step (default: the runtime's)"},
    {.name = "repeat", .letter = 'r', .argument = "N", .kind = CLI_U32, .value = &given.repeats,
     .min = 1, .max = BENCH_MAX_REPEATS, .help = "times that each setting is measured (default 5)"},
    {.name = "profile", .kind = CLI_FLAG, .value = &given.profile,
     .help = "then run each setting once more and show where the time goes"},
    {.name = "db", .argument = "FILE", .kind = CLI_STRING, .value = &given.db,
     .help = "append the results to an SQLite database (schemas/bench.sql)"},
    {.name = "json", .kind = CLI_FLAG, .value = &given.json, .help = "print one JSON document"},
    {.name = "progress", .kind = CLI_FLAG, .value = &given.progress,
     .help = "show progress without a terminal too; --no-progress: never"},
};
/* clang-format on */

static const char SUMMARY[] =
    "Measures how fast a model's prompts are read (prefill) and its tokens made (decode), in all\n"
    "combinations of the settings given, taken in turns; reports medians and their spread.\n"
    "Decoding includes choosing the likeliest token.\n"
    "\n"
    "Beside them stands what the machine can do: GB/s of weights used by decoding against those\n"
    "that merely reading the model's bytes reaches with the same threads, and "
    "multiply-accumulates\n"
    "per second against those of the kernel's own instruction on nothing but registers. cpu: the\n"
    "share of their time in which the threads had a core; less than 100 % means that others did.";

static const char EPILOG[] =
    "examples:\n"
    "  slm-bench model.slm --threads 1,2\n"
    "  slm-bench --synthetic llama-3.2-1b --type Q4_K_M --depth 0,2048 --profile";

/* One run of the program. */
typedef struct program {
    cli c;
    bench b;
    bench_subject subject;
    input file;
    bench_memory memory; /* a synthetic model */
    char *lists[6];      /* copies that are cut at commas */
    uint32_t n_lists;
    failure f;
} program;

/* ---- Lists ----------------------------------------------------------------------------------- */

/* "a,b" -> items, borrowed until the end. */
static int split(program *p, const char *option, const char *text, const char *items[MAX_LIST],
                 uint32_t *n)
{
    char *copy = strdup(text), *rest = copy;
    if (!copy) {
        return fail(&p->f, EXIT_RESOURCE, "no memory for %s", option);
    }
    p->lists[p->n_lists++] = copy;
    *n = 0;
    for (char *item = strsep(&rest, ","); item; item = strsep(&rest, ",")) {
        if (*n == MAX_LIST) {
            return fail(&p->f, EXIT_USAGE, "%s: more than %d values", option, MAX_LIST);
        }
        items[(*n)++] = item;
    }
    return EXIT_OK;
}

static int split_numbers(program *p, const char *option, const char *text, uint32_t min,
                         uint32_t max, uint32_t numbers[MAX_LIST], uint32_t *n)
{
    const char *items[MAX_LIST];
    int code = split(p, option, text, items, n);
    for (uint32_t i = 0; code == EXIT_OK && i < *n; i++) {
        uint64_t value;
        if (!parse_u64(items[i], min, max, &value) || value < min) {
            return fail(&p->f, EXIT_USAGE, "%s: '%s' is not a number from %u to %u", option,
                        items[i], min, max);
        }
        numbers[i] = (uint32_t)value;
    }
    return code;
}

/* ---- What to measure ------------------------------------------------------------------------- */

static void add_test(bench *b, bench_test t)
{
    if (t.n_tokens != 0 && b->n_tests < BENCH_MAX_TESTS) {
        b->tests[b->n_tests++] = t;
    }
}

static int plan_tests(program *p)
{
    uint32_t prompts[MAX_LIST], depths[MAX_LIST], batches[MAX_LIST];
    uint32_t n_prompts, n_depths, n_batches;
    int code = split_numbers(p, "--prompt", given.prompt, 0, MAX_TOKENS, prompts, &n_prompts);
    code = code ? code : split_numbers(p, "--depth", given.depth, 0, MAX_TOKENS, depths, &n_depths);
    code = code ? code : split_numbers(p, "--batch", given.batch, 1, 4096, batches, &n_batches);
    if (code != EXIT_OK) {
        return code;
    }
    if ((n_prompts + n_batches) * n_depths > BENCH_MAX_TESTS) {
        return fail(&p->f, EXIT_USAGE, "more than %d combinations of --prompt, --batch and --depth",
                    BENCH_MAX_TESTS);
    }
    for (uint32_t d = 0; d < n_depths; d++) {
        for (uint32_t i = 0; i < n_prompts; i++) {
            add_test(&p->b, (bench_test){true, prompts[i], 1, depths[d]});
        }
        for (uint32_t i = 0; i < n_batches; i++) {
            add_test(&p->b, (bench_test){false, given.n_generate, batches[i], depths[d]});
        }
    }
    return p->b.n_tests ? EXIT_OK
                        : fail(&p->f, EXIT_USAGE, "--prompt 0 --gen 0: nothing to measure");
}

static int plan_cases(program *p)
{
    const char *kernels[MAX_LIST] = {NULL}, *kv_names[MAX_LIST];
    uint32_t threads[MAX_LIST] = {cores_available()}, n_kernels = 1, n_threads = 1, n_kv;
    int code = split(p, "--kv", given.kv, kv_names, &n_kv);
    if (code == EXIT_OK && given.kernels) {
        code = split(p, "--kernels", given.kernels, kernels, &n_kernels);
    }
    if (code == EXIT_OK && given.threads) {
        code = split_numbers(p, "--threads", given.threads, 1, 256, threads, &n_threads);
    }
    uint32_t n = n_kernels * n_threads * (code ? 0 : n_kv);
    if (code == EXIT_OK && n > BENCH_MAX_CASES) {
        code = fail(&p->f, EXIT_USAGE, "more than %d combinations of --kernels, --threads and --kv",
                    BENCH_MAX_CASES);
    }
    p->b.cases = code ? NULL : (bench_case *)calloc(n, sizeof *p->b.cases);
    if (code == EXIT_OK && !p->b.cases) {
        code = fail(&p->f, EXIT_RESOURCE, "no memory for %u settings", n);
    }
    for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
        bench_case *c = &p->b.cases[p->b.n_cases++];
        c->kernels = kernels[i / (n_kv * n_threads)];
        c->threads = threads[i % n_threads];
        code = kv_type_parse("--kv", kv_names[i / n_threads % n_kv], &c->kv, &p->f);
    }
    return code;
}

/* ---- The model ------------------------------------------------------------------------------- */

static int open_model(program *p)
{
    int code;
    if (given.synthetic) {
        code = bench_memory_make(&p->memory, given.synthetic, given.type, &p->f);
        p->b.bytes = p->memory.bytes;
        p->b.n_bytes = p->memory.n_bytes;
    } else {
        code = input_open(given.model, &p->file, &p->f);
        code = code ? code : input_map(&p->file, &p->f);
        p->b.bytes = p->file.bytes;
        p->b.n_bytes = p->file.n_bytes;
    }
    p->subject.model = p->b.name = given.synthetic ? given.synthetic : given.model;
    p->subject.type = given.synthetic ? given.type : NULL;
    p->subject.cores = cores_available();
    machine_name(p->subject.machine, sizeof p->subject.machine);
    return code ? code : bench_open(&p->b, &p->f);
}

static int write_model(program *p)
{
    output *out = NULL;
    uint64_t n_bytes;
    int code = output_create(given.write, given.force, NULL, 0, &out, &p->f);
    code = code ? code : synthetic_write(given.synthetic, given.type, out, &n_bytes, &p->f);
    code = code ? code : output_commit(out, &p->f);
    output_destroy(&out);
    return code;
}

/* ---- The program ----------------------------------------------------------------------------- */

static int check_options(program *p)
{
    if (!given.model == !given.synthetic) {
        return fail(&p->f, EXIT_USAGE, "name a model, or a shape with --synthetic");
    }
    if (given.write && !given.synthetic) {
        return fail(&p->f, EXIT_USAGE, "--write: only a model of --synthetic is written");
    }
    if (given.write && given.json) {
        return fail(&p->f, EXIT_USAGE, "--write measures nothing that --json could tell");
    }
    if (cli_seen(&p->c, "type") && !given.synthetic) {
        return fail(&p->f, EXIT_USAGE, "--type: only a model of --synthetic is made here");
    }
    return EXIT_OK;
}

static int measure(program *p)
{
    progress bar;
    p->b.n_chunk = given.chunk;
    p->b.repeats = given.repeats;
    int code = plan_tests(p);
    code = code ? code : plan_cases(p);
    code = code ? code : open_model(p);
    if (code == EXIT_OK) {
        progress_begin(&bar, cli_seen(&p->c, "progress") ? given.progress : PROGRESS_AUTO);
        code = bench_run(&p->b, given.profile, &bar, &p->f);
    }
    if (code == EXIT_OK && given.db) {
        code = bench_store(&p->b, &p->subject, given.db, &p->f);
    }
    if (code == EXIT_OK && given.json) {
        bench_report_json(&p->b, &p->subject);
        p->c.json_done = true;
    } else if (code == EXIT_OK) {
        bench_report_table(&p->b, &p->subject);
    }
    return code;
}

int main(int argc, char **argv)
{
    static program p; /* a bench is large */
    p.c = (cli){.tool = "slm-bench",
                .synopsis = "[MODEL.slm | --synthetic SHAPE] [options]",
                .summary = SUMMARY,
                .options = table,
                .n_options = sizeof table / sizeof table[0],
                .max_operands = 1,
                .operands = &given.model,
                .epilog = EPILOG};
    int code = cli_parse(&p.c, argc, argv);
    if (code >= 0) {
        return code;
    }
    code = check_options(&p);
    code = code ? code : given.write ? write_model(&p) : measure(&p);
    if (code != EXIT_OK) {
        cli_report(&p.c, &p.f);
    }
    bench_close(&p.b);
    free(p.b.cases);
    bench_memory_release(&p.memory);
    if (p.file.path) {
        input_close(&p.file);
    }
    for (uint32_t i = 0; i < p.n_lists; i++) {
        free(p.lists[i]);
    }
    return cli_finish(&p.c, code);
}
