/* slm_quantize.c - slm-quantize: F32, F16 and BF16 .slm files to block types and mixes of them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/input.h"
#include "lib/json_in.h"
#include "lib/quantize.h"
#include "lib/quantize_report.h"

typedef struct settings {
    const char *type;
    uint32_t n_threads;
    bool dry_run, json, force, quiet, progress;
} settings;

/* Everything that main cleans up. */
typedef struct quantizer {
    settings s;
    int progress_mode;
    input in;
    void *arena_memory;
    slm_file file;
    slm_config config;
    tensor_plan *plan;
    output *out;
    slm_writer *writer;
    void *team_memory;
    slm_team *team;
    quantize_report report;
} quantizer;

/* Opens and checks the source, all but its tensor data. */
static int open_source(quantizer *q, const char *path, failure *f)
{
    slm_error error;
    uint64_t need = 0;
    int code = input_open(path, &q->in, f);
    code = code ? code : input_map(&q->in, f);
    if (code != EXIT_OK) {
        return code;
    }
    slm_status status = slm_file_arena_bytes(q->in.bytes, q->in.n_bytes, &need, &error);
    if (status == SLM_OK) {
        if (need > SIZE_MAX || posix_memalign(&q->arena_memory, 64, (size_t)need) != 0) {
            return fail(f, EXIT_RESOURCE, "%s: no memory for its directory", path);
        }
        slm_arena arena = arena_over(q->arena_memory, need);
        status = slm_file_open(&q->file, &arena, q->in.bytes, q->in.n_bytes, q->in.n_bytes, &error);
    }
    if (status == SLM_OK) {
        const slm_section *s = slm_file_section(&q->file, SLM_SECTION_CONFIG);
        status = slm_config_read(&q->config, q->in.bytes + s->offset, (size_t)s->length, &error);
    }
    if (status == SLM_OK) {
        status = slm_config_check_tensors(&q->config, &q->file, &error);
    }
    return status == SLM_OK ? EXIT_OK : fail_status(f, path, &error);
}

/* The source's provenance with this step appended to its list "steps". *text: malloc'd. */
static int extend_provenance(const quantizer *q, char **text, failure *f)
{
    const slm_section *s = slm_file_section(&q->file, SLM_SECTION_PROVENANCE);
    json_t *root = NULL;
    char checksum[17];
    snprintf(checksum, sizeof checksum, "%016" PRIx64, q->file.content_checksum);
    if (!s) {
        root = json_pack("{}");
    } else if (json_in_parse("section PROV", (const char *)q->in.bytes + s->offset,
                             (size_t)s->length, &root, f) != EXIT_OK) {
        return f->exit_code;
    }
    json_t *steps = json_in_get(root, "steps");
    int failed = 0;
    if (!json_is_array(steps)) {
        steps = json_pack("[]");
        failed |= json_object_set_new(root, "steps", steps);
    }
    failed |= json_array_append_new(
        steps, json_pack("{s:s, s:s, s:s, s:s}", "tool", "slm-quantize", "version", SLM_VERSION,
                         "type", q->report.mix->name, "source_content_checksum", checksum));
    *text = failed ? NULL : json_in_text(root);
    json_decref(root);
    return *text ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory for the provenance");
}

/* Declares all sections and tensors of the output; *n_bytes: its length. */
static int declare(quantizer *q, uint64_t *n_bytes, failure *f)
{
    char *provenance = NULL;
    int code = slm_writer_create(q->out, q->file.architecture, &q->config, &q->writer, f);
    code = code ? code : extend_provenance(q, &provenance, f);
    if (code == EXIT_OK) {
        code = slm_writer_section(q->writer, SLM_SECTION_PROVENANCE, provenance, strlen(provenance),
                                  f);
    }
    free(provenance);
    static const uint32_t copied[] = {SLM_SECTION_TOKENIZER, SLM_SECTION_CHAT,
                                      SLM_SECTION_TEMPLATE};
    for (int i = 0; i < 3 && code == EXIT_OK; i++) {
        const slm_section *s = slm_file_section(&q->file, copied[i]);
        if (s) {
            code = slm_writer_section(q->writer, s->kind, q->in.bytes + s->offset, s->length, f);
        }
    }
    for (uint32_t i = 0; i < q->file.n_tensors && code == EXIT_OK; i++) {
        const slm_tensor *t = &q->file.tensors[i];
        char name[SLM_MAX_NAME + 1];
        memcpy(name, t->name, t->name_bytes);
        name[t->name_bytes] = 0;
        code = slm_writer_tensor(q->writer, name, q->plan[i].to, t->rank, t->dims, f);
    }
    return code ? code : slm_writer_begin(q->writer, n_bytes, f);
}

static int start_team(quantizer *q, failure *f)
{
    slm_error error;
    uint32_t n = q->s.n_threads;
    if (n == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online < 1 ? 1 : online > 256 ? 256 : (uint32_t)online;
    }
    size_t need = slm_team_bytes(n);
    if (posix_memalign(&q->team_memory, 64, need) != 0) {
        return fail(f, EXIT_RESOURCE, "no memory for %" PRIu32 " threads", n);
    }
    if (slm_team_start(q->team_memory, need, n, &q->team, &error) != SLM_OK) {
        return fail_status(f, "threads", &error);
    }
    q->report.n_threads = slm_team_size(q->team);
    return EXIT_OK;
}

static int write_output(quantizer *q, const char *path, failure *f)
{
    progress p;
    progress_begin(&p, q->progress_mode);
    int code = start_team(q, f);
    code = code ? code : quantize_run(&q->in, &q->file, q->plan, q->team, q->writer, &p, f);
    code = code ? code : slm_writer_finish(q->writer, f);
    code = code ? code : input_unchanged(&q->in, f);
    code = code ? code : output_commit(q->out, f);
    progress_end(&p);
    q->report.output = path;
    return code;
}

static int quantize(quantizer *q, const char *in_path, const char *out_path, failure *f)
{
    double start = clock_seconds();
    const char *inputs[1] = {in_path};
    int code = EXIT_OK;
    q->report.input = in_path;
    q->report.file = &q->file;
    if (!q->s.dry_run) {
        if (strcmp(out_path, "-") == 0) {
            return fail(f, EXIT_USAGE, "the output must be a file: its front is written last");
        }
        code = output_create(out_path, q->s.force, inputs, 1, &q->out, f);
    }
    code = code ? code : open_source(q, in_path, f);
    if (code != EXIT_OK) {
        return code;
    }
    q->plan = (tensor_plan *)calloc(q->file.n_tensors, sizeof *q->plan);
    if (!q->plan) {
        return fail(f, EXIT_RESOURCE, "%s: no memory for the plan", in_path);
    }
    q->report.plan = q->plan;
    q->report.input_bytes = q->in.n_bytes;
    code = quantize_plan_make(in_path, &q->file, &q->config, q->report.mix, q->plan, f);
    code = code ? code : declare(q, &q->report.output_bytes, f);
    if (code == EXIT_OK && !q->s.quiet) {
        quantize_report_warnings(&q->report, stderr);
    }
    if (code == EXIT_OK && !q->s.dry_run) {
        code = write_output(q, out_path, f);
    }
    q->report.seconds = clock_seconds() - start;
    return code;
}

static int run(cli *c, quantizer *q)
{
    failure f = {0};
    q->report.mix = quantize_mix_find(q->s.type ? q->s.type : "");
    if (!q->report.mix) {
        fail(&f, EXIT_USAGE, "--type %s; choose one of %s", q->s.type ? q->s.type : "is missing",
             quantize_mix_names());
        return cli_report(c, &f);
    }
    if (c->n_operands < 2 && !q->s.dry_run) {
        fail(&f, EXIT_USAGE, "the output file is missing (only --dry-run goes without)");
        return cli_report(c, &f);
    }
    int code = quantize(q, c->operands[0], c->n_operands > 1 ? c->operands[1] : NULL, &f);
    if (code != EXIT_OK) {
        return cli_report(c, &f);
    }
    if (q->s.json) {
        quantize_report_json(&q->report, stdout);
        c->json_done = true;
    } else if (!q->s.quiet) {
        quantize_report_text(&q->report, stdout);
    }
    return EXIT_OK;
}

static void clean_up(quantizer *q)
{
    slm_team_stop(&q->team);
    free(q->team_memory);
    slm_writer_destroy(&q->writer);
    output_destroy(&q->out);
    free(q->plan);
    free(q->arena_memory);
    input_close(&q->in);
}

static const char EPILOG[] =
    "TYPE is one type for every matrix:   Q8_0, Q4_0, Q4_K, Q5_K, Q6_K\n"
    "or a mix that spends more bits where they matter:   Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M\n"
    "Vectors stay F32. A matrix whose rows are not a multiple of 32 stays in 16 bits.\n\n"
    "  slm-quantize model.slm model-q4.slm --type Q4_K_M\n"
    "  slm-quantize model.slm --type Q4_K_M --dry-run";

int main(int argc, char **argv)
{
    static quantizer q = {.in = {.fd = -1}};
    static const char *operands[2];
    settings *s = &q.s;
    cli_option options[] = {
        {.name = "type",
         .letter = 't',
         .argument = "TYPE",
         .help = "what to quantize to (see below)",
         .kind = CLI_STRING,
         .value = &s->type},
        {.name = "threads",
         .argument = "N",
         .help = "threads, 1 to 256 (all processors)",
         .kind = CLI_U32,
         .value = &s->n_threads,
         .min = 1,
         .max = 256},
        {.name = "dry-run",
         .help = "show the plan and write nothing",
         .kind = CLI_FLAG,
         .value = &s->dry_run},
        {.name = "json", .help = "print one JSON document", .kind = CLI_FLAG, .value = &s->json},
        {.name = "force",
         .help = "replace an output file that exists",
         .kind = CLI_FLAG,
         .value = &s->force},
        {.name = "quiet",
         .letter = 'q',
         .help = "print errors only",
         .kind = CLI_FLAG,
         .value = &s->quiet},
        {.name = "progress",
         .help = "show progress even if stderr is no terminal",
         .kind = CLI_FLAG,
         .value = &s->progress}};
    cli c = {.tool = "slm-quantize",
             .synopsis = "IN.slm OUT.slm --type TYPE [options]",
             .summary =
                 "Makes a model smaller: its matrices become blocks of 4, 5, 6 or 8 bit codes.",
             .options = options,
             .n_options = sizeof options / sizeof options[0],
             .min_operands = 1,
             .max_operands = 2,
             .operands = operands,
             .epilog = EPILOG};
    int code = cli_parse(&c, argc, argv);
    if (code >= 0) {
        return code;
    }
    q.progress_mode = s->quiet ? PROGRESS_OFF : PROGRESS_AUTO;
    if (options[6].seen) {
        q.progress_mode = s->progress ? PROGRESS_ON : PROGRESS_OFF;
    }
    code = run(&c, &q);
    clean_up(&q);
    return cli_finish(&c, code);
}
