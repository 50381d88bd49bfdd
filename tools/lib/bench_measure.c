/* bench_measure.c - runs the settings in turns; see bench_measure.h. */
#include "lib/bench_measure.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/bench_machine.h"
#include "model/model.h"

/* ---- Samples --------------------------------------------------------------------------------- */

static void add_sample(bench_samples *s, double value)
{
    if (s->n < BENCH_MAX_REPEATS) {
        s->values[s->n++] = value;
    }
}

static int compare_values(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double samples_median(const bench_samples *s)
{
    double sorted[BENCH_MAX_REPEATS];
    if (s->n == 0) {
        return 0;
    }
    memcpy(sorted, s->values, s->n * sizeof sorted[0]);
    qsort(sorted, s->n, sizeof sorted[0], compare_values);
    return s->n % 2 ? sorted[s->n / 2] : (sorted[s->n / 2 - 1] + sorted[s->n / 2]) / 2;
}

double samples_low(const bench_samples *s)
{
    double low = s->n ? s->values[0] : 0;
    for (uint32_t i = 1; i < s->n; i++) {
        low = s->values[i] < low ? s->values[i] : low;
    }
    return low;
}

double samples_high(const bench_samples *s)
{
    double high = s->n ? s->values[0] : 0;
    for (uint32_t i = 1; i < s->n; i++) {
        high = s->values[i] > high ? s->values[i] : high;
    }
    return high;
}

/* ---- Opening --------------------------------------------------------------------------------- */

static bool is_named(const slm_tensor *t, const char *name)
{
    return t->name_bytes == strlen(name) && memcmp(t->name, name, t->name_bytes) == 0;
}

static void count_weights(bench *b, const slm_model *m)
{
    const char *output = m->config.tied_output ? "token_embd.weight" : "output.weight";
    for (uint32_t i = 0; i < m->file.n_tensors; i++) {
        const slm_tensor *t = &m->file.tensors[i];
        bool is_output = is_named(t, output);
        if (t->rank != 2 || (!is_output && t->name[0] != 'b')) {
            continue; /* of an embedding one row is read, and nothing multiplied */
        }
        b->weight_bytes += t->length;
        *(is_output ? &b->output_weights : &b->layer_weights) += t->dims[0] * t->dims[1];
    }
}

static uint32_t context_needed(const bench *b)
{
    uint32_t most = 1;
    for (uint32_t i = 0; i < b->n_tests; i++) {
        uint32_t need = b->tests[i].depth + b->tests[i].n_tokens + b->tests[i].batch;
        most = need > most ? need : most;
    }
    return most;
}

int bench_open(bench *b, failure *f)
{
    int code = EXIT_OK;
    for (uint32_t i = 0; i < b->n_cases && code == EXIT_OK; i++) {
        bench_case *c = &b->cases[i];
        slm_session_options o = {
            .n_context = context_needed(b), .n_chunk = b->n_chunk, .kv_type = c->kv};
        code = model_file_open_bytes(&c->model, b->name, b->bytes, b->n_bytes, c->kernels,
                                     MODEL_CHECK_NONE, f);
        code = code ? code : model_file_start(&c->model, &o, c->threads, f);
        if (code == EXIT_OK) {
            c->threads = slm_team_size(c->model.team);
            c->kernels = c->model.info.kernels;
        }
    }
    if (code == EXIT_OK && b->n_cases != 0) {
        count_weights(b, b->cases[0].model.model);
    }
    return code;
}

void bench_close(bench *b)
{
    for (uint32_t i = 0; i < b->n_cases; i++) {
        free(b->cases[i].profiles);
        model_file_close(&b->cases[i].model);
    }
}

/* ---- One measurement ------------------------------------------------------------------------- */

/* Ids that jump about in the vocabulary, the same in every run. */
static int32_t any_id(const model_file *m, uint32_t position)
{
    return (int32_t)((uint64_t)position * 2654435761u % m->info.n_vocab);
}

static void ignore_logits(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    (void)user;
    (void)index;
    (void)logits;
    (void)n_vocab;
}

static int evaluate(model_file *m, uint32_t n, bool all_logits, failure *f)
{
    int32_t ids[4096];
    slm_error error = {0};
    slm_eval_options o = {.every_position = all_logits ? ignore_logits : NULL};
    uint32_t at = slm_session_length(m->session, 0);
    while (n > 0) {
        uint32_t piece = n < 4096 ? n : 4096;
        for (uint32_t i = 0; i < piece; i++) {
            ids[i] = any_id(m, at + i);
        }
        if (slm_session_eval(m->session, ids, piece, &o, &error) != SLM_OK) {
            return fail_status(f, m->path, &error);
        }
        at += piece;
        n -= piece;
    }
    return EXIT_OK;
}

/* A token at a time, each the likeliest one after the last. */
static int generate(model_file *m, uint32_t n, double *sampling, failure *f)
{
    slm_sampler sampler;
    slm_error error = {0};
    int32_t id = any_id(m, slm_session_length(m->session, 0));
    slm_sampler_init(&sampler, 0, 0, 1, 0, 0, NULL);
    for (uint32_t i = 0; i < n; i++) {
        if (slm_session_eval(m->session, &id, 1, NULL, &error) != SLM_OK) {
            return fail_status(f, m->path, &error);
        }
        double start = clock_seconds();
        id = slm_sample(&sampler, slm_session_logits(m->session), m->info.n_vocab);
        *sampling += clock_seconds() - start;
    }
    return EXIT_OK;
}

/* Processor time of all threads so far. */
static double cpu_seconds(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* p: NULL, or filled. */
static int measure(bench_case *c, const bench_test *t, double *seconds, double *cpu, profile *p,
                   failure *f)
{
    model_file *m = &c->model;
    uint32_t length = slm_session_length(m->session, 0);
    double sampling = 0;
    slm_session_truncate(m->session, 0, length < t->depth ? 0 : t->depth);
    int code = evaluate(m, t->depth - slm_session_length(m->session, 0), false, f);
    if (p) {
        profile_begin(p, m);
    }
    double start = clock_seconds(), cpu_start = cpu_seconds();
    if (t->is_prefill) {
        code = code ? code : evaluate(m, t->n_tokens, false, f);
    } else if (t->batch == 1) {
        code = code ? code : generate(m, t->n_tokens, &sampling, f);
    }
    for (uint32_t i = 0; !t->is_prefill && t->batch > 1 && i < t->n_tokens; i += t->batch) {
        code = code ? code : evaluate(m, t->batch, true, f);
    }
    *seconds = clock_seconds() - start;
    *cpu = cpu_seconds() - cpu_start;
    if (p) {
        p->seconds[PROFILE_SAMPLING] = sampling;
        profile_end(p);
    }
    return code;
}

/* Tokens that a test really evaluates: whole batches. */
static double tokens_of(const bench_test *t)
{
    uint32_t step = t->is_prefill ? t->n_tokens : t->batch;
    return (double)((t->n_tokens + step - 1) / step) * step;
}

double bench_macs_per_token(const bench *b, const bench_test *t)
{
    double output = (double)b->output_weights;
    return (double)b->layer_weights + (t->is_prefill ? output / t->n_tokens : output);
}

double bench_bytes_per_token(const bench *b, const bench_test *t)
{
    return t->is_prefill ? 0 : (double)b->weight_bytes / t->batch;
}

static int measure_case(bench *b, bench_case *c, failure *f)
{
    slm_team *team = c->model.team;
    uint64_t data = c->model.model->file.sections[c->model.model->file.n_sections - 1].offset;
    size_t n = (size_t)(b->n_bytes - data);
    add_sample(&c->read_rate, (double)n / machine_read_seconds(team, b->bytes + data, n));
    double peak = machine_integer_peak(team, c->kernels);
    if (peak > 0) {
        add_sample(&c->integer_rate, peak);
    }
    int code = EXIT_OK;
    for (uint32_t i = 0; i < b->n_tests && code == EXIT_OK; i++) {
        double seconds, cpu;
        code = measure(c, &b->tests[i], &seconds, &cpu, NULL, f);
        add_sample(&c->tokens_per_second[i], tokens_of(&b->tests[i]) / seconds);
        add_sample(&c->cpu_share[i], cpu / (seconds * c->threads));
    }
    return code;
}

static int profile_case(bench *b, bench_case *c, failure *f)
{
    int code = EXIT_OK;
    c->profiles = (profile *)calloc(b->n_tests, sizeof *c->profiles);
    if (!c->profiles) {
        return fail(f, EXIT_RESOURCE, "no memory for profiles");
    }
    profile_attach(&c->model);
    for (uint32_t i = 0; i < b->n_tests && code == EXIT_OK; i++) {
        double seconds, cpu;
        code = measure(c, &b->tests[i], &seconds, &cpu, &c->profiles[i], f);
    }
    profile_detach(&c->model);
    return code;
}

/* The first touch of everything, untimed. */
static int warm_up(bench *b, failure *f)
{
    int code = EXIT_OK;
    for (uint32_t i = 0; i < b->n_cases && code == EXIT_OK; i++) {
        model_file *m = &b->cases[i].model;
        machine_read_seconds(m->team, b->bytes, (size_t)b->n_bytes);
        code = evaluate(m, context_needed(b) < 32 ? context_needed(b) : 32, false, f);
        slm_session_truncate(m->session, 0, 0);
    }
    return code;
}

int bench_run(bench *b, bool with_profile, progress *p, failure *f)
{
    b->load[0] = machine_load();
    int code = warm_up(b, f);
    uint32_t n = b->repeats * b->n_cases;
    for (uint32_t k = 0; k < n && code == EXIT_OK; k++) {
        progress_update(p, "measuring", k, n);
        code = measure_case(b, &b->cases[k % b->n_cases], f);
    }
    for (uint32_t i = 0; with_profile && i < b->n_cases && code == EXIT_OK; i++) {
        code = profile_case(b, &b->cases[i], f);
    }
    progress_end(p);
    b->load[1] = machine_load();
    return code;
}
