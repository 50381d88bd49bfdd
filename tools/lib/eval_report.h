/* eval_report.h - runs of a database -> what people, programs and CI systems read. */
#ifndef SLM_TOOLS_EVAL_REPORT_H
#define SLM_TOOLS_EVAL_REPORT_H

#include "lib/eval_run.h"
#include "lib/json_out.h"

typedef struct eval_report {
    eval_store *store;
    const eval_progress *runs;
    uint32_t n_runs;
    const char *shard; /* "1/1" */
    uint32_t limit;    /* 0: none */
} eval_report;

/* The smallest difference from another run that a metric could show; NAN if it has no error. */
double metric_detectable(const store_metric *metric);

int report_text(const eval_report *r, FILE *stream, failure *f);
int report_json(const eval_report *r, FILE *stream, failure *f);

/* JUnit XML: one testsuite for each run that is not a baseline's, one testcase for each result. */
int report_junit(const eval_report *r, const char *path, failure *f);

/* GitHub workflow commands: an annotation for each of the first cases that did not pass, at its
 * line of the suite, and one with the totals. */
int report_github(const eval_report *r, FILE *stream, failure *f);

#endif
