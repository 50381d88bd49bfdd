/* run_options.h - the command line of slm-run. */
#ifndef SLM_TOOLS_RUN_OPTIONS_H
#define SLM_TOOLS_RUN_OPTIONS_H

#include "lib/cli.h"
#include "lib/model_file.h"

typedef struct run_options {
    const char *model;
    const char *prompt, *file, *system, *ids, *logits_out, *kernels, *kv_name, *manifest;
    float temperature, top_p, min_p;
    uint32_t top_k, max_tokens, threads, context, chunk;
    uint64_t seed;
    cli_list stops;
    bool chat, echo, no_special, control, stats, json, digest, quiet, require_quality;
    bool check_flag, progress_flag;
    /* Derived from the above. */
    slm_kv_type kv;
    model_check check;
    int progress; /* PROGRESS_... */
} run_options;

/* The command line, made for one process: *options points to where cli_parse puts the values. */
cli *run_options_cli(run_options **options);

/* After cli_parse: refuses what makes no sense together, and derives the rest. */
int run_options_check(run_options *o, const cli *c, failure *f);

/* Settings given on the command line, else stored with the weights, else greedy. */
int run_options_sampler(const run_options *o, const cli *c, const model_file *m,
                        slm_sampler *sampler, failure *f);

#endif
