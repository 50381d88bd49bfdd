/* quantize_report.c - plan and outcome of a quantization -> tables or JSON. */
#include "lib/quantize_report.h"

#include <inttypes.h>
#include <math.h>

#include "base/bytes.h"
#include "lib/json_out.h"
#include "lib/slm_writer.h"

/* ---- Sums ------------------------------------------------------------------------------------ */

typedef struct plan_sum {
    uint64_t n_tensors, n_parameters, from_bytes, to_bytes;
    double error, power;
} plan_sum;

static void add(plan_sum *sum, const tensor_plan *p)
{
    sum->n_tensors++;
    sum->n_parameters += p->n_parameters;
    sum->from_bytes += p->from_bytes;
    sum->to_bytes += p->to_bytes;
    sum->error += p->error;
    sum->power += p->power;
}

/* type: SLM_TYPE_COUNT for all. */
static plan_sum sum_of(const quantize_report *r, slm_type type)
{
    plan_sum sum = {0};
    for (uint32_t i = 0; i < r->file->n_tensors; i++) {
        if (type == SLM_TYPE_COUNT || r->plan[i].to == type) {
            add(&sum, &r->plan[i]);
        }
    }
    return sum;
}

static double bits(const plan_sum *sum)
{
    return 8.0 * (double)sum->to_bytes / (double)sum->n_parameters;
}

/* Root of error over power; < 0 if nothing was measured. */
static double relative_error(const plan_sum *sum)
{
    return sum->power > 0 ? sqrt(sum->error / sum->power) : -1;
}

static bool is_dropped(const slm_section *s)
{
    return s->kind != SLM_SECTION_CONFIG && s->kind != SLM_SECTION_TOKENIZER &&
           s->kind != SLM_SECTION_CHAT && s->kind != SLM_SECTION_TEMPLATE &&
           s->kind != SLM_SECTION_PROVENANCE && s->kind != SLM_SECTION_DIRECTORY &&
           s->kind != SLM_SECTION_DATA;
}

/* ---- Text ------------------------------------------------------------------------------------ */

/* One warning, or none: i counts tensors, then sections. */
static bool warning(const quantize_report *r, uint32_t i, char *text, size_t n)
{
    const slm_file *f = r->file;
    if (i < f->n_tensors) {
        const slm_tensor *t = &f->tensors[i];
        snprintf(text, n,
                 "tensor '%.*s' stays %s: its rows of %" PRIu64 " are not a multiple of 32",
                 (int)t->name_bytes, t->name, slm_type_name(r->plan[i].to), t->dims[1]);
        return r->plan[i].kept;
    }
    const slm_section *s = &f->sections[i - f->n_tensors];
    char kind[4];
    store_u32(kind, s->kind);
    snprintf(text, n, "section '%.4s' is unknown to this version and is left out", kind);
    return is_dropped(s);
}

void quantize_report_warnings(const quantize_report *r, FILE *stream)
{
    char text[512];
    for (uint32_t i = 0; i < r->file->n_tensors + r->file->n_sections; i++) {
        if (warning(r, i, text, sizeof text)) {
            failure f; /* makes it printable */
            fail(&f, EXIT_INPUT, "%s", text);
            fprintf(stream, "slm-quantize: warning: %s: %s\n", r->input, f.text);
        }
    }
}

static void print_tensors(const quantize_report *r, FILE *out)
{
    fprintf(out, "%-32s %15s  %-4s    %-4s  %12s  %6s\n", "tensor", "shape", "from", "to", "bytes",
            "bpw");
    for (uint32_t i = 0; i < r->file->n_tensors; i++) {
        const slm_tensor *t = &r->file->tensors[i];
        const tensor_plan *p = &r->plan[i];
        char shape[48];
        if (t->rank == 1) {
            snprintf(shape, sizeof shape, "%" PRIu64, t->dims[0]);
        } else {
            snprintf(shape, sizeof shape, "%" PRIu64 " x %" PRIu64, t->dims[0], t->dims[1]);
        }
        fprintf(out, "%-32.*s %15s  %-4s -> %-4s  %12" PRIu64 "  %6.3f%s\n", (int)t->name_bytes,
                t->name, shape, slm_type_name(p->from), slm_type_name(p->to), p->to_bytes,
                8.0 * (double)p->to_bytes / (double)p->n_parameters,
                p->kept ? "  rows are not a multiple of 32" : "");
    }
    fprintf(out, "\n");
}

static void print_sum(const char *name, const plan_sum *s, FILE *out)
{
    double error = relative_error(s);
    fprintf(out, "%-6s %7" PRIu64 "  %13" PRIu64 "  %13" PRIu64 "  %13" PRIu64 "  %6.3f", name,
            s->n_tensors, s->n_parameters, s->from_bytes, s->to_bytes, bits(s));
    if (error >= 0) {
        fprintf(out, "  %.5f", error);
    }
    fprintf(out, "\n");
}

void quantize_report_text(const quantize_report *r, FILE *out)
{
    if (!r->output) {
        print_tensors(r, out);
    }
    fprintf(out, "%-6s %7s  %13s  %13s  %13s  %6s%s\n", "type", "tensors", "parameters", "bytes in",
            "bytes out", "bpw", r->output ? "  rel. RMSE" : "");
    for (int i = 0; i < SLM_TYPE_COUNT; i++) {
        plan_sum sum = sum_of(r, (slm_type)i);
        if (sum.n_tensors != 0) {
            print_sum(slm_type_name((slm_type)i), &sum, out);
        }
    }
    plan_sum all = sum_of(r, SLM_TYPE_COUNT);
    print_sum("all", &all, out);
    fprintf(out, "%s: %" PRIu64 " -> %" PRIu64 " bytes, %.2f times smaller, %.3f bits per weight",
            r->output ? r->output : "dry run, nothing written", r->input_bytes, r->output_bytes,
            (double)r->input_bytes / (double)r->output_bytes, bits(&all));
    if (r->output) {
        fprintf(out, ", %.2f s", r->seconds);
    }
    fprintf(out, "\n");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_tensors(json_out *j, const quantize_report *r)
{
    json_array(j, "tensors");
    for (uint32_t i = 0; i < r->file->n_tensors; i++) {
        const slm_tensor *t = &r->file->tensors[i];
        const tensor_plan *p = &r->plan[i];
        json_object(j, NULL);
        json_string_n(j, "name", t->name, t->name_bytes);
        json_array(j, "shape");
        for (uint32_t k = 0; k < t->rank; k++) {
            json_u64(j, NULL, t->dims[k]);
        }
        json_array_end(j);
        json_string(j, "from", slm_type_name(p->from));
        json_string(j, "to", slm_type_name(p->to));
        json_u64(j, "bytes", p->to_bytes);
        json_bool(j, "kept", p->kept);
        json_object_end(j);
    }
    json_array_end(j);
}

static void json_sums(json_out *j, const quantize_report *r)
{
    json_array(j, "types");
    for (int i = 0; i < SLM_TYPE_COUNT; i++) {
        plan_sum s = sum_of(r, (slm_type)i);
        if (s.n_tensors != 0) {
            json_object(j, NULL);
            json_string(j, "type", slm_type_name((slm_type)i));
            json_u64(j, "tensors", s.n_tensors);
            json_u64(j, "parameters", s.n_parameters);
            json_u64(j, "bytes_in", s.from_bytes);
            json_u64(j, "bytes_out", s.to_bytes);
            json_f64(j, "bits_per_weight", bits(&s));
            if (relative_error(&s) >= 0) {
                json_f64(j, "relative_rmse", relative_error(&s));
            }
            json_object_end(j);
        }
    }
    json_array_end(j);
}

void quantize_report_json(const quantize_report *r, FILE *stream)
{
    json_out j;
    char text[512];
    plan_sum all = sum_of(r, SLM_TYPE_COUNT);
    json_begin(&j, stream, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-quantize");
    json_string(&j, "version", SLM_VERSION);
    json_string(&j, "input", r->input);
    json_bool(&j, "dry_run", r->output == NULL);
    if (r->output) {
        json_string(&j, "output", r->output);
        json_f64(&j, "seconds", r->seconds);
        json_u64(&j, "threads", r->n_threads);
    }
    json_string(&j, "type", r->mix->name);
    json_u64(&j, "input_bytes", r->input_bytes);
    json_u64(&j, "output_bytes", r->output_bytes);
    json_u64(&j, "parameters", all.n_parameters);
    json_f64(&j, "bits_per_weight", bits(&all));
    json_sums(&j, r);
    json_tensors(&j, r);
    json_array(&j, "warnings");
    for (uint32_t i = 0; i < r->file->n_tensors + r->file->n_sections; i++) {
        if (warning(r, i, text, sizeof text)) {
            json_string(&j, NULL, text);
        }
    }
    json_array_end(&j);
    json_object_end(&j);
    json_end(&j);
}
