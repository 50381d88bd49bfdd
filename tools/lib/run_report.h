/* run_report.h - what a run did, as lines for people and as the JSON document of slm-run. */
#ifndef SLM_TOOLS_RUN_REPORT_H
#define SLM_TOOLS_RUN_REPORT_H

#include <stdio.h>

#include "lib/cli.h"
#include "lib/generate.h"

typedef struct run_report {
    const model_file *model;
    const slm_sampler *sampler; /* as it was set up */
    uint64_t seed;
    const int32_t *prompt;
    size_t n_prompt;
    const generation *generated;
    const uint64_t *digest; /* NULL: none was asked for */
    uint64_t digest_rows;
} run_report;

/* Tokens, speeds, memory: several lines on `stream`. */
void run_report_stats(const run_report *r, FILE *stream);

/* The document of schemas/run.schema.json on stdout. */
void run_report_json(const run_report *r);

#endif
