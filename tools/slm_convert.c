/* slm_convert.c - slm-convert: a model's source files -> one .slm file with 16- or 32-bit weights.
 *
 * The source is opened and checked whole before the output is begun; then tensors are streamed one
 * after the other, and the output takes its name when it is complete.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/convert.h"
#include "lib/convert_report.h"
#include "lib/gguf_convert.h"
#include "lib/hf_model_files.h"
#include "lib/inspect_source.h"
#include "lib/source_kind.h"
#include "lib/text_model.h"
#include "lib/torch_model.h"
#include "lib/vocabulary_file.h"

typedef struct options {
    const char *folder, *out, *dtype, *format, *to, *tokenizer;
    bool force, json, quiet, progress, no_tokenizer, vocab_only, inspect;
} options;

static slm_type target_type(const options *o, const hf_tensor *t)
{
    if (t->spec.rank == 1) {
        return SLM_TYPE_F32; /* norms and biases: the format has them no other way */
    }
    return strcmp(o->dtype, "f32") == 0    ? SLM_TYPE_F32
           : strcmp(o->dtype, "f16") == 0  ? SLM_TYPE_F16
           : strcmp(o->dtype, "bf16") == 0 ? SLM_TYPE_BF16
                                           : t->type;
}

/* Everything that precedes the tensors' data. */
static int write_head(const options *o, const hf_model *m, slm_writer *writer, convert_summary *r,
                      failure *f)
{
    const tokenizer_payload *t = &m->tokenizer;
    char *provenance = NULL;
    size_t n_provenance = 0;
    int code = EXIT_OK;
    if (t->n_tokenizer != 0) {
        code = slm_writer_section(writer, SLM_SECTION_TOKENIZER, t->tokenizer, t->n_tokenizer, f);
    }
    if (code == EXIT_OK && t->chat) {
        code = slm_writer_section(writer, SLM_SECTION_CHAT, t->chat, t->n_chat, f);
    }
    if (code == EXIT_OK && t->chat_text) {
        code = slm_writer_section(writer, SLM_SECTION_TEMPLATE, t->chat_text, t->n_chat_text, f);
    }
    code = code ? code : hf_model_provenance(m, o->dtype, &provenance, &n_provenance, f);
    code = code ? code
                : slm_writer_section(writer, SLM_SECTION_PROVENANCE, provenance, n_provenance, f);
    free(provenance);
    for (uint32_t i = 0; i < m->n_tensors && code == EXIT_OK; i++) {
        const hf_tensor *tensor = &m->tensors[i];
        slm_type type = target_type(o, tensor);
        r->n_of_type[type]++;
        code = slm_writer_tensor(writer, tensor->spec.name, type, tensor->spec.rank,
                                 tensor->spec.dims, f);
    }
    return code ? code : slm_writer_begin(writer, &r->n_bytes, f);
}

static int write_tensors(const options *o, hf_model *m, slm_writer *writer, progress *p, failure *f)
{
    convert_buffers *buffers = malloc(sizeof *buffers);
    convert_progress shown = {p, 0, m->n_source_bytes};
    int code = buffers ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory for buffers");
    for (uint32_t i = 0; i < m->n_tensors && code == EXIT_OK; i++) {
        const hf_tensor *t = &m->tensors[i];
        uint32_t shard = t->source->shard;
        convert_tensor job = {.name = t->source->name,
                              .from = t->type,
                              .to = target_type(o, t),
                              .rank = t->spec.rank,
                              .dims = {t->spec.dims[0], t->spec.dims[1]},
                              .offset = m->headers[shard].data_offset + t->source->begin,
                              .turned_width = t->turned ? t->source_rows : 0,
                              .less_one = t->less_one};
        uint64_t row = t->spec.rank == 2 && !t->turned ? t->spec.dims[1] : 1;
        job.offset += t->first_row * row * (t->type == SLM_TYPE_F32 ? 4 : 2);
        code = hf_model_shard(m, shard, &job.in, f);
        code = code ? code : convert_write(writer, &job, buffers, &shown, f);
    }
    free(buffers);
    return code;
}

/* The files that the output must not be. */
static const char **input_paths(const hf_model *m, uint32_t *n)
{
    *n = m->n_texts + m->n_shards;
    const char **paths = calloc((size_t)*n + 1, sizeof *paths);
    for (uint32_t i = 0; paths && i < *n; i++) {
        paths[i] = i < m->n_texts ? m->texts[i].path : m->shards[i - m->n_texts].path;
    }
    return paths;
}

static int write_file(const options *o, hf_model *m, convert_summary *r, progress *p, failure *f)
{
    output *out = NULL;
    slm_writer *writer = NULL;
    uint32_t n_inputs;
    const char **inputs = input_paths(m, &n_inputs);
    int code = inputs ? output_create(o->out, o->force, inputs, n_inputs, &out, f)
                      : fail(f, EXIT_RESOURCE, "no memory");
    code = code ? code : hf_model_hash(m, p, f);
    code =
        code ? code : slm_writer_create(out, m->hf.family->architecture, &m->hf.config, &writer, f);
    code = code ? code : write_head(o, m, writer, r, f);
    code = code ? code : write_tensors(o, m, writer, p, f);
    code = code ? code : slm_writer_finish(writer, f);
    code = code ? code : hf_model_finish(m, f);
    code = code ? code : output_commit(out, f);
    slm_writer_destroy(&writer);
    output_destroy(&out);
    free(inputs);
    r->architecture = m->hf.family ? m->hf.family->architecture : NULL;
    r->config = &m->hf.config;
    r->tokenizer = &m->tokenizer;
    r->n_parameters = m->n_parameters;
    r->n_tensors = m->n_tensors;
    return code;
}

/* ---- Command line ---------------------------------------------------------------------------- */

#define TOKENIZER_ELSEWHERE "--tokenizer: is for sources without one, and for them alone"

static int check_options(const options *o, failure *f)
{
    static const char *const dtypes[] = {"keep", "f32", "f16", "bf16"};
    if (o->inspect && (o->out || o->vocab_only || strcmp(o->to, "slm") != 0)) {
        return fail(f, EXIT_USAGE, "--inspect writes nothing: leave out -o, --to and --vocab-only");
    }
    if (!o->out && !o->inspect) {
        return fail(f, EXIT_USAGE, "-o is missing: name the .slm file to write");
    }
    if (o->out && strcmp(o->out, "-") == 0) {
        return fail(f, EXIT_USAGE, "-o -: the header is written last, so a file is needed");
    }
    if (strcmp(o->format, "auto") != 0 && strcmp(o->format, "torch") != 0 &&
        strcmp(o->format, "llama2c") != 0) {
        return fail(f, EXIT_USAGE, "--format %s: must be auto, torch or llama2c", o->format);
    }
    if (o->tokenizer && (o->no_tokenizer || o->vocab_only || strcmp(o->to, "gguf") == 0)) {
        return fail(f, EXIT_USAGE, "%s", TOKENIZER_ELSEWHERE);
    }
    if (strcmp(o->to, "slm") != 0 && strcmp(o->to, "gguf") != 0) {
        return fail(f, EXIT_USAGE, "--to %s: must be slm or gguf", o->to);
    }
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(o->dtype, dtypes[i]) == 0) {
            return EXIT_OK;
        }
    }
    return fail(f, EXIT_USAGE, "--dtype %s: must be keep, f32, f16 or bf16", o->dtype);
}

/* The tokenizer that --tokenizer names; the output must not be one of its files. */
static int take_tokenizer(const char *path, hf_model *m, notes *w, failure *f)
{
    text_model t;
    int code = text_model_open(&t, path, f);
    note_lines(w, t.warnings);
    code = code ? code : text_model_take(&t, m->hf.config.n_vocab, &m->tokenizer, w, f);
    for (uint32_t i = 0; i < t.n_files && code == EXIT_OK; i++) {
        code = hf_note_file(m, t.files[i], f);
    }
    text_model_close(&t);
    return code;
}

/* A folder is Hugging Face's; a single file says itself what it is. */
static int open_source(const options *o, source_kind kind, hf_model *m, notes *w, failure *f)
{
    bool own = !o->no_tokenizer && !o->tokenizer;
    if (kind == SOURCE_VOCABULARY && strcmp(o->format, "auto") == 0) {
        return fail(f, EXIT_INPUT, "%s: holds a tokenizer and no model; --vocab-only converts it",
                    o->folder);
    }
    int code = kind == SOURCE_FOLDER ? hf_model_open(o->folder, own, m, w, f)
                                     : checkpoint_open(o->folder, o->format, own, m, w, f);
    return code == EXIT_OK && o->tokenizer ? take_tokenizer(o->tokenizer, m, w, f) : code;
}

/* A file that only tokenizes. */
static int convert_vocabulary(const cli *c, const options *o)
{
    failure f = {0};
    notes *w = calloc(1, sizeof *w);
    uint32_t n_tokens = 0;
    uint64_t n_bytes = 0;
    int code = w ? check_options(o, &f) : fail(&f, EXIT_RESOURCE, "no memory");
    code = code ? code : vocabulary_to_slm(o->folder, o->out, o->force, &n_tokens, &n_bytes, w, &f);
    if (w && !o->quiet) {
        convert_report_warnings(w);
    }
    if (code != EXIT_OK) {
        code = cli_report(c, &f);
    } else if (o->json) {
        convert_report_vocabulary(w, o->folder, o->out, n_tokens, n_bytes);
    } else if (!o->quiet) {
        fprintf(stderr, "%s: %u tokens, no model, %.2f MB\n", o->out, n_tokens,
                (double)n_bytes / 1e6);
    }
    free(w);
    return code;
}

static int inspect(cli *c, const options *o)
{
    failure f = {0};
    source_job job = {o->folder, o->format, !o->no_tokenizer && !o->tokenizer, o->json, o->quiet};
    return check_options(o, &f) == EXIT_OK ? source_inspect(c, &job) : cli_report(c, &f);
}

static int convert(const cli *c, options *o, int progress_mode)
{
    failure f = {0};
    hf_model m = {.open = {.fd = -1}, .open_index = UINT32_MAX};
    gguf_model g = {0};
    gguf_job job = {o->folder, o->out, o->dtype, o->force, !o->no_tokenizer};
    convert_summary r = {.input = o->folder, .output = o->out};
    progress p;
    notes *w = calloc(1, sizeof *w);
    source_kind kind = SOURCE_OTHER;
    int code = w ? check_options(o, &f) : fail(&f, EXIT_RESOURCE, "no memory");
    code = code ? code : source_kind_of(o->folder, &kind, &f);
    progress_begin(&p, progress_mode);
    if (code == EXIT_OK && strcmp(o->to, "gguf") == 0) {
        code = slm_to_gguf(&job, &g, &r, &p, w, &f);
    } else if (code == EXIT_OK && kind == SOURCE_GGUF) {
        code = o->tokenizer ? fail(&f, EXIT_USAGE, "%s", TOKENIZER_ELSEWHERE)
                            : gguf_to_slm(&job, &g, &r, &p, w, &f);
    } else {
        code = code ? code : open_source(o, kind, &m, w, &f);
        code = code ? code : write_file(o, &m, &r, &p, &f);
    }
    progress_end(&p);
    if (w && !o->quiet) {
        convert_report_warnings(w);
    }
    if (code != EXIT_OK) {
        code = cli_report(c, &f);
    } else if (o->json) {
        convert_report_json(w, &r);
    } else if (!o->quiet) {
        convert_report_people(&r);
    }
    hf_model_free(&m);
    gguf_model_free(&g);
    free(w);
    return code;
}

int main(int argc, char **argv)
{
    options o = {.dtype = "keep", .format = "auto", .to = "slm"};
    cli_option table[] = {
        /* lint: long because it is one table */
        {.name = "output",
         .letter = 'o',
         .argument = "FILE",
         .help = "the .slm file to write",
         .kind = CLI_STRING,
         .value = &o.out},
        {.name = "dtype",
         .argument = "keep|f32|f16|bf16",
         .help = "type of the weight matrices (default: keep each as it is)",
         .kind = CLI_STRING,
         .value = &o.dtype},
        {.name = "format",
         .argument = "auto|torch|llama2c",
         .help = "what a single file is (default: look into it)",
         .kind = CLI_STRING,
         .value = &o.format},
        {.name = "to",
         .argument = "slm|gguf",
         .help = "gguf: write a .slm file's model as GGUF",
         .kind = CLI_STRING,
         .value = &o.to},
        {.name = "tokenizer",
         .argument = "FILE",
         .help = "for a source without one: tokenizer.json, .model, .bin, or a GGUF file's",
         .kind = CLI_STRING,
         .value = &o.tokenizer},
        {.name = "no-tokenizer",
         .help = "convert the weights alone",
         .kind = CLI_FLAG,
         .value = &o.no_tokenizer},
        {.name = "vocab-only",
         .help = "FILE's tokenizer alone: a GGUF file, tokenizer.json, .model or .bin",
         .kind = CLI_FLAG,
         .value = &o.vocab_only},
        {.name = "inspect",
         .help = "show what is in the input and what would become of it; write nothing",
         .kind = CLI_FLAG,
         .value = &o.inspect},
        {.name = "force",
         .help = "replace an existing output file",
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
         .value = &o.quiet},
    };
    const char *operands[1];
    cli c = {
        .tool = "slm-convert",
        .synopsis = "FOLDER|FILE -o MODEL.slm [options]",
        .summary = "Converts a Hugging Face folder (config.json; model.safetensors,\n"
                   "pytorch_model.bin or their shards; tokenizer.json), a llama2.c checkpoint or\n"
                   "its .bin, or a GGUF file (any part of a split one) into one .slm file; with\n"
                   "--to gguf, a .slm file into GGUF. Values that are not finite are refused.",
        .options = table,
        .n_options = sizeof table / sizeof table[0],
        .min_operands = 1,
        .max_operands = 1,
        .operands = operands,
        .epilog = "slm-convert smollm2-135m/ -o smollm2.slm\n"
                  "slm-convert TinyStories-656K -o tiny.slm --dtype f16\n"
                  "slm-convert model-Q4_K_M.gguf -o model.slm\n"
                  "slm-convert --inspect pytorch_model.bin",
    };
    int code = cli_parse(&c, argc, argv);
    if (code >= 0) {
        return code;
    }
    o.folder = operands[0];
    if (o.inspect) {
        return cli_finish(&c, inspect(&c, &o));
    }
    if (o.vocab_only) {
        return cli_finish(&c, convert_vocabulary(&c, &o));
    }
    int mode = cli_seen(&c, "progress") ? (o.progress ? PROGRESS_ON : PROGRESS_OFF)
               : o.quiet                ? PROGRESS_OFF
                                        : PROGRESS_AUTO;
    return cli_finish(&c, convert(&c, &o, mode));
}
