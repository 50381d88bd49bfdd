/* eval_suite_case.h - one line of a suite: is it a case, and a sensible one? */
#ifndef SLM_TOOLS_EVAL_SUITE_CASE_H
#define SLM_TOOLS_EVAL_SUITE_CASE_H

#include "lib/eval_suite.h"

/* Checks a case's keys and values; fills id, kind and, if the case holds it itself, text. where:
 * "FILE:LINE". c->definition must be set; everything filled is borrowed from it. */
int suite_check_case(const char *where, eval_case *c, failure *f);

/* An id, a tag or a name: 1 to SUITE_MAX_NAME bytes without control characters. */
int suite_check_name(const char *where, const char *key, const json_t *value, failure *f);

#endif
