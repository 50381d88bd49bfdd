/* quantize_report.h - a quantization plan and its outcome, for people and for programs. */
#ifndef SLM_TOOLS_QUANTIZE_REPORT_H
#define SLM_TOOLS_QUANTIZE_REPORT_H

#include <stdio.h>

#include "lib/quantize_plan.h"

typedef struct quantize_report {
    const char *input, *output; /* output NULL: dry run */
    const quantize_mix *mix;
    const slm_file *file;
    const tensor_plan *plan;
    uint64_t input_bytes, output_bytes; /* whole files */
    double seconds;
    uint32_t n_threads;
} quantize_report;

/* "NAME: warning" lines for matrices that stay in 16 bits and for sections left out. */
void quantize_report_warnings(const quantize_report *r, FILE *stream);

/* The table at the end; a dry run lists every tensor before it. */
void quantize_report_text(const quantize_report *r, FILE *stream);

/* The same as one JSON document. */
void quantize_report_json(const quantize_report *r, FILE *stream);

#endif
