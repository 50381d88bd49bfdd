/* quantize.c - tensors of a mapped .slm file -> tensors of another, in batches of units through
 * three stages: one batch is read and checked while the one before it is computed and the one
 * before that is written. The stages of a step are shared out to a team; which thread does what
 * does not show in the file.
 */
#include "lib/quantize.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/quantize_unit.h"
#include "port/port.h"

enum { BATCH_BYTES = 2 << 20 }; /* of the source, unless the units are larger */

typedef struct batch {
    unit_source source;
    uint32_t tensor;
    uint64_t first;
    uint32_t n; /* units; 0: there is none */
    uint8_t *out;
    unit_result *results;
} batch;

enum { N_STAGES = 3 };

typedef struct pipeline {
    const input *in;
    const slm_file *file;
    tensor_plan *plan;
    slm_writer *writer;
    failure *f;
    const slm_quantizer *quantizer;
    uint32_t n_threads;
    uint32_t next_tensor; /* where the next batch begins */
    uint64_t next_unit;
    slm_hash hash; /* of the tensor being read */
    batch batches[N_STAGES], *reading, *computing, *writing;
    bool damaged; /* the tensor just read */
    int write_code;
} pipeline;

/* ---- Batches --------------------------------------------------------------------------------- */

static uint32_t batch_units(const pipeline *p, const unit_source *s)
{
    uint64_t fit = BATCH_BYTES / s->unit_in, least = 2 * (uint64_t)p->n_threads;
    uint64_t n = fit > least ? fit : least;
    return (uint32_t)(n < s->n_units ? n : s->n_units);
}

static void next_batch(pipeline *p, batch *b)
{
    b->n = 0;
    if (p->next_tensor == p->file->n_tensors) {
        return;
    }
    const slm_tensor *t = &p->file->tensors[p->next_tensor];
    b->source = unit_source_of(p->file, t, &p->plan[p->next_tensor], p->quantizer);
    b->tensor = p->next_tensor;
    b->first = p->next_unit;
    uint64_t left = b->source.n_units - b->first, n = batch_units(p, &b->source);
    b->n = (uint32_t)(n < left ? n : left);
    p->next_unit += b->n;
    if (p->next_unit == b->source.n_units) {
        p->next_tensor++;
        p->next_unit = 0;
    }
}

static int allocate(pipeline *p)
{
    uint64_t out_bytes = 0, units = 0;
    for (uint32_t i = 0; i < p->file->n_tensors; i++) {
        unit_source s = unit_source_of(p->file, &p->file->tensors[i], &p->plan[i], p->quantizer);
        uint64_t n = batch_units(p, &s), n_bytes = unit_bytes_out(&s, 0, n);
        out_bytes = n_bytes > out_bytes ? n_bytes : out_bytes;
        units = n > units ? n : units;
    }
    for (int i = 0; i < N_STAGES; i++) {
        batch *b = &p->batches[i];
        void *out = NULL;
        b->results = (unit_result *)calloc((size_t)units, sizeof *b->results);
        if (out_bytes > SIZE_MAX || posix_memalign(&out, SLM_LINE_BYTES, (size_t)out_bytes) != 0 ||
            !b->results) {
            return fail(p->f, EXIT_RESOURCE, "%s: out of memory for %" PRIu64 " bytes of rows",
                        p->in->path, out_bytes);
        }
        b->out = (uint8_t *)out;
    }
    return EXIT_OK;
}

/* ---- Stages ---------------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *p, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    return true;
}

/* The first touch of a batch's pages: its part of the tensor's checksum. */
static void read_batch(pipeline *p, const batch *b)
{
    const slm_tensor *t = b->source.tensor;
    uint64_t offset = b->first * b->source.unit_in;
    uint64_t n_bytes = unit_bytes_in(&b->source, b->first, b->n), end = t->offset + t->length;
    if (b->first == 0) {
        slm_hash_init(&p->hash, 0);
    }
    input_expect(p->in, t->offset + offset, n_bytes + BATCH_BYTES);
    slm_hash_update(&p->hash, b->source.bytes + offset, (size_t)n_bytes);
    if (b->first + b->n == b->source.n_units) {
        bool last = b->tensor + 1 == p->file->n_tensors;
        uint64_t next = last ? end : p->file->tensors[b->tensor + 1].offset;
        p->damaged =
            slm_hash_final(&p->hash) != t->checksum || !is_zero(p->file->bytes + end, next - end);
    }
}

static void step_job(void *context, uint32_t item, uint32_t thread)
{
    pipeline *p = (pipeline *)context;
    (void)thread;
    if (item == 0) { /* first, by the thread that waits for the step: it may block */
        const batch *b = p->writing;
        if (b->n != 0) {
            uint64_t n_bytes = unit_bytes_out(&b->source, b->first, b->n);
            p->write_code = slm_writer_data(p->writer, b->out, n_bytes, p->f);
        }
    } else if (item == 1) {
        if (p->reading->n != 0) {
            read_batch(p, p->reading);
        }
    } else {
        batch *b = p->computing;
        uint32_t i = item - 2;
        uint8_t *out = b->out + (size_t)(i * b->source.unit_out);
        b->results[i] = unit_run(&b->source, b->first + i, out);
    }
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

static int refuse_damage(const pipeline *p, uint32_t tensor)
{
    slm_error error;
    return slm_file_check_tensor(p->file, tensor, &error) == SLM_OK
               ? EXIT_OK
               : fail_status(p->f, p->in->path, &error);
}

/* Says what is wrong with a unit: damage if that is what it is, or the values. */
static int refuse_unit(const pipeline *p, const batch *b, const unit_result *r)
{
    const slm_tensor *t = b->source.tensor;
    slm_error error;
    int code = refuse_damage(p, b->tensor);
    if (code != EXIT_OK) {
        return code;
    }
    if (b->source.to == t->type && slm_file_check_values(p->file, b->tensor, &error) != SLM_OK) {
        return fail_status(p->f, p->in->path, &error);
    }
    return fail(p->f, EXIT_INPUT, "%s: tensor '%.*s', row %" PRIu64 ": %s %s", p->in->path,
                (int)t->name_bytes, t->name, r->row,
                r->defect == UNIT_NOT_FINITE
                    ? "NaN or infinity; the weights are broken, not fit for"
                    : "a value is too large for the half-precision scales of",
                slm_type_name(b->source.to));
}

static int collect(const pipeline *p, const batch *b)
{
    tensor_plan *plan = &p->plan[b->tensor];
    for (uint32_t i = 0; i < b->n; i++) {
        const unit_result *r = &b->results[i];
        if (r->defect != UNIT_FINE) {
            return refuse_unit(p, b, r);
        }
        plan->error += r->error;
        plan->power += r->power;
    }
    if (b->n != 0) {
        input_release(p->in, b->source.tensor->offset + b->first * b->source.unit_in,
                      unit_bytes_in(&b->source, b->first, b->n));
    }
    return EXIT_OK;
}

/* Reads, computes and writes one batch each; then every batch moves on a stage. */
static int run_step(pipeline *p, slm_team *team)
{
    next_batch(p, p->reading);
    slm_team_run(team, step_job, p, 2 + p->computing->n);
    if (p->write_code != EXIT_OK) {
        return p->write_code;
    }
    int code = collect(p, p->computing);
    if (code == EXIT_OK && p->damaged) {
        code = refuse_damage(p, p->reading->tensor);
        return code ? code
                    : fail(p->f, EXIT_IO, "%s: changed while it was being read; run again",
                           p->in->path);
    }
    batch *free_one = p->writing;
    p->writing = p->computing;
    p->computing = p->reading;
    p->reading = free_one;
    return code;
}

int quantize_run(const input *in, const slm_file *file, tensor_plan *plan, slm_team *team,
                 slm_writer *writer, progress *bar, failure *f)
{
    const slm_quantizer *const *table;
    uint32_t n = slm_quantizers_available(&table);
    pipeline p = {.in = in,
                  .file = file,
                  .plan = plan,
                  .writer = writer,
                  .f = f,
                  .quantizer = table[n - 1],
                  .n_threads = slm_team_size(team)};
    p.reading = &p.batches[0];
    p.computing = &p.batches[1];
    p.writing = &p.batches[2];
    int code = allocate(&p);
    while (code == EXIT_OK) {
        code = run_step(&p, team);
        if (p.computing->n == 0 && p.writing->n == 0) {
            break;
        }
        if (p.computing->n != 0) {
            progress_update(bar, "quantizing", p.computing->source.tensor->offset, file->n_bytes);
        }
    }
    progress_end(bar);
    for (int i = 0; i < N_STAGES; i++) {
        free(p.batches[i].out);
        free(p.batches[i].results);
    }
    return code;
}
