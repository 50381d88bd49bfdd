/* convert_report.h - what slm-convert has made, for people and as JSON. */
#ifndef SLM_TOOLS_CONVERT_REPORT_H
#define SLM_TOOLS_CONVERT_REPORT_H

#include "format/config.h"
#include "lib/convert_notes.h"
#include "lib/tokenizer_json.h"

typedef struct convert_summary {
    const char *input, *output; /* as given */
    uint64_t n_bytes;
    uint32_t n_of_type[SLM_TYPE_COUNT];
    const char *architecture;
    const slm_config *config;
    const tokenizer_payload *tokenizer;
    uint64_t n_parameters;
    uint32_t n_tensors;
} convert_summary;

/* One document on stdout. */
void convert_report_json(const notes *w, const convert_summary *r);

/* The document for a file that only tokenizes. */
void convert_report_vocabulary(const notes *w, const char *in, const char *out, uint32_t n_tokens,
                               uint64_t n_bytes);

/* One line on stderr. */
void convert_report_people(const convert_summary *r);

/* A line for each on stderr. */
void convert_report_warnings(const notes *w);

#endif
