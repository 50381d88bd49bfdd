/* slm_run.c - runs a model in a terminal: a prompt continued, a chat, or logits for given ids. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cli.h"
#include "lib/generate.h"
#include "lib/logits_out.h"
#include "lib/quality.h"
#include "lib/run_chat.h"
#include "lib/run_options.h"
#include "lib/run_report.h"

enum { PROMPT_LIMIT = 1 << 28, PROGRESS_TOKENS = 256 };

/* Everything that one run of the program holds. */
typedef struct program {
    run_options *options;
    cli *c;
    model_file model;
    slm_sampler sampler;
    logits_out logits;
    output *logits_file;
    progress bar;
    int32_t *prompt;
    size_t n_prompt;
    generation generated;
    failure f;
} program;

/* ---- Streaming out --------------------------------------------------------------------------- */

static void on_text(void *user, const char *text, size_t n_bytes)
{
    program *p = (program *)user;
    progress_end(&p->bar);
    fwrite(text, 1, n_bytes, stdout);
    fflush(stdout);
}

static void on_row(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    program *p = (program *)user;
    logits_out_row(&p->logits, index, logits, n_vocab);
}

/* Also stops early once the logits or the text cannot be written. */
static int on_prompt(void *user, size_t n_done, size_t n_total)
{
    program *p = (program *)user;
    if (n_total >= PROGRESS_TOKENS || p->options->progress == PROGRESS_ON) {
        progress_update(&p->bar, "prompt", n_done, n_total);
    }
    return p->logits.failure.exit_code != EXIT_OK;
}

static generate_options make_options(program *p)
{
    const run_options *s = p->options;
    bool rows = s->digest || p->logits_file;
    generate_options o = {.stops = s->stops.items,
                          .n_stops = s->stops.n,
                          .max_tokens = s->max_tokens,
                          .decode_flags = s->control ? SLM_DECODE_CONTROL : 0,
                          .echo = s->echo,
                          .emit = s->json ? NULL : on_text,
                          .every_position = rows ? on_row : NULL,
                          .progress = on_prompt,
                          .user = p};
    return o;
}

/* ---- Setting up ------------------------------------------------------------------------------ */

static int open_model(program *p)
{
    const run_options *s = p->options;
    slm_session_options o = {.n_context = s->context, .n_chunk = s->chunk, .kv_type = s->kv};
    int code = EXIT_OK;
    if (s->require_quality || s->manifest) {
        code = quality_prove(s->manifest, s->model, s->kernels, s->threads, &p->f);
    }
    code = code ? code : model_file_open(&p->model, s->model, s->kernels, s->check, &p->f);
    if (code == EXIT_OK && s->chat && !slm_model_has_chat(p->model.model)) {
        code = conversation_refuse(&p->model, &p->f);
    }
    code = code ? code : run_options_sampler(s, p->c, &p->model, &p->sampler, &p->f);
    code = code ? code : model_file_start(&p->model, &o, s->threads, &p->f);
    if (code == EXIT_OK && s->logits_out) {
        const char *inputs[] = {s->model, s->ids, s->file};
        code = output_create(s->logits_out, true, inputs, 3, &p->logits_file, &p->f);
    }
    logits_out_init(&p->logits, p->logits_file);
    if (code == EXIT_OK && !s->quiet && s->context > p->model.info.n_context) {
        fprintf(stderr, "note: the model was trained for %u positions, the context has %u\n",
                p->model.info.n_context, s->context);
    }
    return code;
}

/* The prompt's text: malloc'd. */
static int read_text(program *p, char **text, size_t *n_bytes)
{
    if (p->options->prompt) {
        *text = strdup(p->options->prompt);
        *n_bytes = strlen(p->options->prompt);
        return *text ? EXIT_OK : fail(&p->f, EXIT_RESOURCE, "no memory for the prompt");
    }
    if (!p->options->file && isatty(STDIN_FILENO) && !p->options->quiet) {
        fprintf(stderr, "the prompt, ended by Ctrl-D:\n");
    }
    int code =
        input_slurp(p->options->file ? p->options->file : "-", PROMPT_LIMIT, text, n_bytes, &p->f);
    if (code == EXIT_OK && *n_bytes != 0 && (*text)[*n_bytes - 1] == '\n') {
        (*text)[--*n_bytes] = 0;
    }
    return code;
}

/* ---- Modes ----------------------------------------------------------------------------------- */

/* What follows the text: its newline, notes, figures, the digest. */
static int report(program *p)
{
    const run_options *s = p->options;
    uint64_t digest = slm_hash_final(&p->logits.hash);
    run_report r = {.model = &p->model,
                    .sampler = &p->sampler,
                    .seed = s->seed,
                    .prompt = p->prompt,
                    .n_prompt = p->n_prompt,
                    .generated = &p->generated,
                    .digest = s->digest ? &digest : NULL,
                    .digest_rows = p->logits.n_rows};
    if (s->json) {
        run_report_json(&r);
        p->c->json_done = true;
    } else if (s->max_tokens != 0 || s->echo) {
        printf("\n");
    }
    fflush(stdout);
    if (s->max_tokens != 0 && p->generated.end == GENERATE_CONTEXT_FULL && !s->quiet) {
        fprintf(stderr, "note: the context of %u tokens is full; --ctx makes it larger\n",
                slm_session_context(p->model.session));
    }
    if (s->stats) {
        run_report_stats(&r, stderr);
    }
    if (s->digest && !s->json) {
        printf("%016" PRIx64 "\n", digest);
    }
    return EXIT_OK;
}

static int run_prompt(program *p)
{
    char *text = NULL;
    size_t n_bytes = 0;
    int code;
    if (p->options->ids) {
        code = read_ids(&p->model, p->options->ids, &p->prompt, &p->n_prompt, &p->f);
    } else {
        uint32_t flags = (p->options->no_special ? 0 : (uint32_t)SLM_ENCODE_SPECIAL) |
                         (p->options->control ? (uint32_t)SLM_ENCODE_CONTROL : 0);
        code = read_text(p, &text, &n_bytes);
        code = code ? code
                    : encode_text(&p->model, text, n_bytes, flags, &p->prompt, &p->n_prompt, &p->f);
    }
    free(text);
    if (code == EXIT_OK && p->n_prompt == 0) {
        code = fail(&p->f, EXIT_USAGE, "the prompt is empty, and nothing stands before it");
    }
    if (code != EXIT_OK) {
        return code;
    }
    generate_options o = make_options(p);
    progress_begin(&p->bar, p->options->progress);
    code = generate(&p->model, &p->sampler, p->prompt, p->n_prompt, &o, &p->generated, &p->f);
    progress_end(&p->bar);
    if (code == EXIT_OK && p->logits.failure.exit_code != EXIT_OK) {
        p->f = p->logits.failure;
        code = p->f.exit_code;
    }
    if (code == EXIT_OK && p->logits_file) {
        code = output_commit(p->logits_file, &p->f);
    }
    return code ? code : report(p);
}

static int answer(program *p, conversation *talk, const char *text, size_t n_bytes)
{
    int code = conversation_add(talk, SLM_ROLE_USER, text, n_bytes, &p->f);
    if (code != EXIT_OK) {
        return code;
    }
    free(p->prompt);
    p->prompt = NULL;
    generation_free(&p->generated);
    generate_options o = make_options(p);
    progress_begin(&p->bar, p->options->progress);
    code = conversation_answer(talk, &p->model, &p->sampler, &o, &p->generated, &p->prompt,
                               &p->n_prompt, &p->f);
    progress_end(&p->bar);
    return code ? code : report(p);
}

/* Turns from standard input, a line each. */
static int converse(program *p, conversation *talk)
{
    char *line = NULL;
    size_t capacity = 0;
    int code = EXIT_OK;
    bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    while (code == EXIT_OK) {
        if (terminal) {
            fprintf(stderr, "> ");
        }
        ssize_t n = getline(&line, &capacity, stdin);
        if (n < 0) {
            break;
        }
        n -= n > 0 && line[n - 1] == '\n';
        if (n > 0) {
            code = answer(p, talk, line, (size_t)n);
        }
    }
    if (terminal) {
        fprintf(stderr, "\n");
    }
    free(line);
    return code;
}

static int run_chat(program *p)
{
    conversation talk = {.control = p->options->control};
    char *text = NULL;
    size_t n_bytes = 0;
    int code = EXIT_OK;
    if (p->options->system) {
        code = conversation_add(&talk, SLM_ROLE_SYSTEM, p->options->system,
                                strlen(p->options->system), &p->f);
    }
    if (code == EXIT_OK && (p->options->prompt || p->options->file || p->options->json)) {
        code = read_text(p, &text, &n_bytes);
        code = code ? code : answer(p, &talk, text, n_bytes);
    } else if (code == EXIT_OK) {
        code = converse(p, &talk);
    }
    free(text);
    conversation_free(&talk);
    return code;
}

int main(int argc, char **argv)
{
    program p = {0};
    p.c = run_options_cli(&p.options);
    int code = cli_parse(p.c, argc, argv);
    if (code >= 0) {
        return code;
    }
    code = run_options_check(p.options, p.c, &p.f);
    code = code ? code : open_model(&p);
    if (code == EXIT_OK) {
        code = p.options->chat ? run_chat(&p) : run_prompt(&p);
    }
    if (code != EXIT_OK) {
        cli_report(p.c, &p.f);
    }
    output_destroy(&p.logits_file);
    model_file_close(&p.model);
    generation_free(&p.generated);
    free(p.prompt);
    return cli_finish(p.c, code);
}
