/* convert_report.c - the report of a finished conversion. */
#include "lib/convert_report.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/json_out.h"

/* The double that prints with the fewest digits among those that are this float. */
static double shown(float x)
{
    char text[32];
    for (int digits = 1; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        float back = strtof(text, NULL);
        if (back <= x && back >= x) {
            return strtod(text, NULL);
        }
    }
    return (double)x;
}

static void report_config(json_out *j, const slm_config *c)
{
    static const char *const scaling[] = {"none", "linear", "llama3", "divisors"};
    json_object(j, "config");
    json_u64(j, "n_vocab", c->n_vocab);
    json_u64(j, "n_context", c->n_context);
    json_u64(j, "d_model", c->d_model);
    json_u64(j, "n_layers", c->n_layers);
    json_u64(j, "n_heads", c->n_heads);
    json_u64(j, "n_kv_heads", c->n_kv_heads);
    json_u64(j, "head_dim", c->head_dim);
    json_u64(j, "d_ff", c->d_ff);
    json_f64(j, "norm_eps", shown(c->norm_eps));
    json_f64(j, "rope_theta", shown(c->rope_theta));
    json_string(j, "rope_scaling", scaling[c->rope_scaling]);
    if (c->rope_scaling != SLM_ROPE_SCALING_NONE) {
        json_f64(j, "rope_factor", shown(c->rope_factor));
    }
    json_bool(j, "qkv_bias", c->qkv_bias != 0);
    json_bool(j, "qk_norm", c->qk_norm != 0);
    json_bool(j, "tied_output", c->tied_output != 0);
    json_i64(j, "bos_id", c->bos_id);
    json_array(j, "stop_ids");
    for (uint32_t i = 0; i < c->n_stop_ids; i++) {
        json_i64(j, NULL, c->stop_ids[i]);
    }
    json_array_end(j);
    json_object_end(j);
}

static void report_warnings(json_out *j, const notes *w)
{
    json_array(j, "warnings");
    for (uint32_t i = 0; i < w->n; i++) {
        json_string(j, NULL, w->text[i]);
    }
    json_array_end(j);
}

void convert_report_vocabulary(const notes *w, const char *in, const char *out, uint32_t n_tokens,
                               uint64_t n_bytes)
{
    json_out j;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-convert");
    json_string(&j, "input", in);
    json_string(&j, "output", out);
    json_u64(&j, "bytes", n_bytes);
    json_string(&j, "architecture", "tokenizer");
    json_u64(&j, "n_tokens", n_tokens);
    report_warnings(&j, w);
    json_object_end(&j);
    json_end(&j);
}

void convert_report_json(const notes *w, const convert_summary *r)
{
    json_out j;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-convert");
    json_string(&j, "input", r->input);
    json_string(&j, "output", r->output);
    json_u64(&j, "bytes", r->n_bytes);
    json_string(&j, "architecture", r->architecture);
    json_u64(&j, "n_parameters", r->n_parameters);
    json_u64(&j, "n_tensors", r->n_tensors);
    json_object(&j, "types");
    for (int i = 0; i < SLM_TYPE_COUNT; i++) {
        if (r->n_of_type[i] != 0) {
            json_u64(&j, slm_type_name((slm_type)i), r->n_of_type[i]);
        }
    }
    json_object_end(&j);
    report_config(&j, r->config);
    json_u64(&j, "tokenizer_bytes", r->tokenizer->n_tokenizer);
    json_bool(&j, "chat", r->tokenizer->chat != NULL);
    report_warnings(&j, w);
    json_object_end(&j);
    json_end(&j);
}

void convert_report_people(const convert_summary *r)
{
    fprintf(stderr, "%s: %s, %.2f M parameters, %u tensors (", r->output, r->architecture,
            (double)r->n_parameters / 1e6, r->n_tensors);
    for (int i = 0, n = 0; i < SLM_TYPE_COUNT; i++) {
        if (r->n_of_type[i] != 0) {
            fprintf(stderr, "%s%u %s", n++ ? ", " : "", r->n_of_type[i],
                    slm_type_name((slm_type)i));
        }
    }
    fprintf(stderr, "), vocabulary %u%s, context %u, %.2f MB\n", r->config->n_vocab,
            r->tokenizer->n_tokenizer ? "" : " without tokenizer", r->config->n_context,
            (double)r->n_bytes / 1e6);
}

void convert_report_warnings(const notes *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        fprintf(stderr, "slm-convert: warning: %s\n", w->text[i]);
    }
    if (w->n_dropped != 0) {
        fprintf(stderr, "slm-convert: warning: and %u more\n", w->n_dropped);
    }
}
