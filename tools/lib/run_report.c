/* run_report.c - prints what slm-run measured. */
#include "lib/run_report.h"

#include <inttypes.h>
#include <sys/resource.h>

#include "lib/json_out.h"

static double rate(uint64_t n, double seconds)
{
    return n != 0 && seconds > 0 ? (double)n / seconds : 0;
}

static double mib(uint64_t n_bytes)
{
    return (double)n_bytes / 1048576.0;
}

static uint64_t peak_bytes(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

void run_report_stats(const run_report *r, FILE *stream)
{
    const generation *g = r->generated;
    const model_file *m = r->model;
    slm_stats s;
    slm_session_stats(m->session, &s);
    fprintf(stream, "prompt     %7zu tokens %9.1f tokens/s\n", r->n_prompt,
            rate(r->n_prompt, g->prompt_seconds));
    fprintf(stream,
            "generated  %7zu tokens %9.1f tokens/s   first token after %.1f ms, ended by %s\n",
            g->n_ids, rate(g->n_evaluated, g->decode_seconds), 1e3 * g->first_token_seconds,
            generate_end_name(g->end));
    fprintf(
        stream,
        "memory     file %.1f MiB, model %.1f MiB, session %.1f MiB (context %u), peak %.1f MiB\n",
        mib(m->file.n_bytes), mib(m->model_bytes), mib(m->session_bytes),
        slm_session_context(m->session), mib(peak_bytes()));
    fprintf(stream, "kv blocks  %u of %u used\n", s.kv_blocks_used, s.kv_blocks_total);
    fprintf(stream, "engine     kernels %s, %u thread%s\n", s.kernels, s.n_threads,
            s.n_threads == 1 ? "" : "s");
}

static void json_ids(json_out *j, const char *key, const int32_t *ids, size_t n)
{
    json_array(j, key);
    for (size_t i = 0; i < n; i++) {
        json_i64(j, NULL, ids[i]);
    }
    json_array_end(j);
}

static void json_model(json_out *j, const model_file *m)
{
    json_object(j, "model");
    json_string(j, "path", m->path);
    json_string(j, "architecture", m->info.architecture);
    json_u64(j, "parameters", m->info.n_parameters);
    json_hex64(j, "content_checksum", m->info.content_checksum);
    json_hex64(j, "tokenizer_checksum", m->info.tokenizer_checksum);
    json_object_end(j);
}

static void json_stats(json_out *j, const run_report *r)
{
    const generation *g = r->generated;
    const model_file *m = r->model;
    slm_stats s;
    slm_session_stats(m->session, &s);
    json_object(j, "stats");
    json_u64(j, "prompt_tokens", r->n_prompt);
    json_f64(j, "prompt_seconds", g->prompt_seconds);
    json_f64(j, "prompt_tokens_per_second", rate(r->n_prompt, g->prompt_seconds));
    json_u64(j, "generated_tokens", g->n_ids);
    json_f64(j, "first_token_seconds", g->first_token_seconds);
    json_f64(j, "decode_seconds", g->decode_seconds);
    json_f64(j, "decode_tokens_per_second", rate(g->n_evaluated, g->decode_seconds));
    json_u64(j, "file_bytes", m->file.n_bytes);
    json_u64(j, "model_bytes", m->model_bytes);
    json_u64(j, "session_bytes", m->session_bytes);
    json_u64(j, "peak_bytes", peak_bytes());
    json_u64(j, "context", slm_session_context(m->session));
    json_u64(j, "kv_blocks_used", s.kv_blocks_used);
    json_u64(j, "kv_blocks_total", s.kv_blocks_total);
    json_string(j, "kernels", s.kernels);
    json_u64(j, "threads", s.n_threads);
    json_object_end(j);
}

void run_report_json(const run_report *r)
{
    const generation *g = r->generated;
    json_out j;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-run");
    json_string(&j, "version", SLM_VERSION);
    json_model(&j, r->model);
    json_object(&j, "sampling");
    json_f32(&j, "temperature", r->sampler->temperature);
    json_u64(&j, "top_k", r->sampler->top_k);
    json_f32(&j, "top_p", r->sampler->top_p);
    json_f32(&j, "min_p", r->sampler->min_p);
    json_u64(&j, "seed", r->seed);
    json_object_end(&j);
    json_ids(&j, "prompt_ids", r->prompt, r->n_prompt);
    json_ids(&j, "ids", g->ids, g->n_ids);
    json_string_n(&j, "text", g->text, g->n_text);
    json_string(&j, "end", generate_end_name(g->end));
    if (r->digest) {
        json_hex64(&j, "logits_digest", *r->digest);
        json_u64(&j, "logits_rows", r->digest_rows);
    }
    json_stats(&j, r);
    json_object_end(&j);
    json_end(&j);
}
