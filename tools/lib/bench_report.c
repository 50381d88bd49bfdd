/* bench_report.c - measurements for people and programs; see bench_report.h. */
#include "lib/bench_report.h"

#include <string.h>

#include "lib/json_out.h"

const char *bench_kv_name(slm_kv_type kv)
{
    return kv == SLM_KV_F16 ? "f16" : kv == SLM_KV_F32 ? "f32" : "q8_0";
}

void bench_test_name(const bench_test *t, char name[static BENCH_TEST_NAME_BYTES])
{
    char depth[32] = "";
    if (t->depth != 0) {
        snprintf(depth, sizeof depth, " at %u", t->depth);
    }
    if (t->is_prefill || t->batch == 1) {
        snprintf(name, BENCH_TEST_NAME_BYTES, "%s %u%s", t->is_prefill ? "prefill" : "decode",
                 t->n_tokens, depth);
    } else {
        snprintf(name, BENCH_TEST_NAME_BYTES, "batches of %u%s", t->batch, depth);
    }
}

/* ---- The table ------------------------------------------------------------------------------- */

static void print_rate(double rate, double peak)
{
    if (rate > 0 && peak > 0) {
        printf(" %7.1f %7.1f %4.0f%%", rate / 1e9, peak / 1e9, 100 * rate / peak);
    } else if (rate > 0) {
        printf(" %7.1f %7s %5s", rate / 1e9, "-", "-");
    } else {
        printf(" %7s %7s %5s", "-", "-", "-");
    }
}

static void print_case(const bench *b, const bench_case *c)
{
    for (uint32_t i = 0; i < b->n_tests; i++) {
        const bench_test *t = &b->tests[i];
        char name[BENCH_TEST_NAME_BYTES];
        double rate = samples_median(&c->tokens_per_second[i]);
        bench_test_name(t, name);
        printf("%-9s %-5s %3u  %-20s %9.2f %9.2f %9.2f %4.0f%%", c->kernels, bench_kv_name(c->kv),
               c->threads, name, rate, samples_low(&c->tokens_per_second[i]),
               samples_high(&c->tokens_per_second[i]), 100 * samples_median(&c->cpu_share[i]));
        print_rate(rate * bench_bytes_per_token(b, t), samples_median(&c->read_rate));
        print_rate(rate * bench_macs_per_token(b, t), samples_median(&c->integer_rate));
        printf("\n");
    }
}

static void print_profile(const bench *b, const bench_case *c)
{
    for (uint32_t i = 0; c->profiles && i < b->n_tests; i++) {
        const profile *p = &c->profiles[i];
        char name[BENCH_TEST_NAME_BYTES];
        bench_test_name(&b->tests[i], name);
        printf("\nprofile: %s, %s, KV %s, %u threads; outside of matrices %.1f %%\n", name,
               c->kernels, bench_kv_name(c->kv), c->threads, 100 * profile_outside(p));
        for (uint32_t part = 0; part < PROFILE_N_PARTS; part++) {
            if (p->seconds[part] > 0) {
                printf("  %-24s %6.2f %%  %9.3f ms\n", profile_part_name((profile_part)part),
                       100 * p->seconds[part] / (p->wall * p->n_threads), 1e3 * p->seconds[part]);
            }
        }
    }
}

void bench_report_table(const bench *b, const bench_subject *s)
{
    printf("%s%s%s, %.1f MB of weights for each token\n", s->model, s->type ? " " : "",
           s->type ? s->type : "", (double)b->weight_bytes / 1e6);
    printf("%s, %u cores, load %.1f to %.1f; medians of %u, GB and GMAC per second\n\n",
           s->machine[0] ? s->machine : "unknown processor", s->cores, b->load[0], b->load[1],
           b->repeats);
    printf("%-9s %-5s %3s  %-20s %9s %9s %9s %5s %7s %7s %5s %7s %7s %5s\n", "kernels", "KV", "thr",
           "measured", "tokens/s", "lowest", "highest", "cpu", "GB/s", "reading", "", "GMAC/s",
           "peak", "");
    for (uint32_t i = 0; i < b->n_cases; i++) {
        print_case(b, &b->cases[i]);
    }
    for (uint32_t i = 0; i < b->n_cases; i++) {
        print_profile(b, &b->cases[i]);
    }
}

/* ---- The document ---------------------------------------------------------------------------- */

static void json_positive(json_out *j, const char *key, double value)
{
    if (value > 0) {
        json_f64(j, key, value);
    } else {
        json_null(j, key);
    }
}

static void json_samples(json_out *j, const char *key, const bench_samples *s)
{
    json_array(j, key);
    for (uint32_t i = 0; i < s->n; i++) {
        json_f64(j, NULL, s->values[i]);
    }
    json_array_end(j);
}

static void json_profile(json_out *j, const profile *p)
{
    json_object(j, "profile");
    json_f64(j, "seconds", p->wall);
    json_f64(j, "outside_matrices", profile_outside(p));
    json_array(j, "parts");
    for (uint32_t part = 0; part < PROFILE_N_PARTS; part++) {
        if (p->seconds[part] > 0) {
            json_object(j, NULL);
            json_string(j, "name", profile_part_name((profile_part)part));
            json_f64(j, "share", p->seconds[part] / (p->wall * p->n_threads));
            json_f64(j, "thread_seconds", p->seconds[part]);
            json_u64(j, "calls", p->calls[part]);
            json_object_end(j);
        }
    }
    json_array_end(j);
    json_object_end(j);
}

static void json_result(json_out *j, const bench *b, const bench_case *c, uint32_t i)
{
    const bench_test *t = &b->tests[i];
    double rate = samples_median(&c->tokens_per_second[i]);
    json_object(j, NULL);
    json_string(j, "kernels", c->kernels);
    json_string(j, "kv", bench_kv_name(c->kv));
    json_u64(j, "threads", c->threads);
    json_string(j, "kind", t->is_prefill ? "prefill" : "decode");
    json_u64(j, "tokens", t->n_tokens);
    json_u64(j, "batch", t->is_prefill ? t->n_tokens : t->batch);
    json_u64(j, "depth", t->depth);
    json_f64(j, "tokens_per_second", rate);
    json_samples(j, "samples", &c->tokens_per_second[i]);
    json_samples(j, "cpu_shares", &c->cpu_share[i]);
    json_positive(j, "bytes_per_second", rate * bench_bytes_per_token(b, t));
    json_f64(j, "read_bytes_per_second", samples_median(&c->read_rate));
    json_f64(j, "macs_per_second", rate * bench_macs_per_token(b, t));
    json_positive(j, "peak_macs_per_second", samples_median(&c->integer_rate));
    if (c->profiles) {
        json_profile(j, &c->profiles[i]);
    }
    json_object_end(j);
}

void bench_report_json(const bench *b, const bench_subject *s)
{
    json_out j;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-bench");
    json_string(&j, "version", SLM_VERSION);
    json_object(&j, "model");
    json_string(&j, "name", s->model);
    if (s->type) {
        json_string(&j, "synthetic", s->type);
    } else {
        json_null(&j, "synthetic");
    }
    json_u64(&j, "bytes", b->n_bytes);
    json_u64(&j, "weight_bytes", b->weight_bytes);
    json_hex64(&j, "content_checksum", b->cases[0].model.info.content_checksum);
    json_object_end(&j);
    json_object(&j, "machine");
    json_string(&j, "processor", s->machine);
    json_u64(&j, "cores", s->cores);
    json_f64(&j, "load_before", b->load[0]);
    json_f64(&j, "load_after", b->load[1]);
    json_object_end(&j);
    json_u64(&j, "repeats", b->repeats);
    json_array(&j, "results");
    for (uint32_t i = 0; i < b->n_cases * b->n_tests; i++) {
        json_result(&j, b, &b->cases[i / b->n_tests], i % b->n_tests);
    }
    json_array_end(&j);
    json_object_end(&j);
    json_end(&j);
}
