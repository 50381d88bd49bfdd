/* eval_schema.h - schemas/eval.sql, as lines of SQL, version by version. */
#ifndef SLM_TOOLS_EVAL_SCHEMA_H
#define SLM_TOOLS_EVAL_SCHEMA_H

#include <stddef.h>

/* EVAL_SCHEMA[v]: the lines that lead from version v to version v + 1, NULL after the last; NULL
 * after the last version. */
extern const char *const *const EVAL_SCHEMA[];

#endif
