/* bench_report.h - measurements -> a table, a JSON document (schemas/bench.schema.json), or rows of
 * an SQLite database (schemas/bench.sql). */
#ifndef SLM_TOOLS_BENCH_REPORT_H
#define SLM_TOOLS_BENCH_REPORT_H

#include "lib/bench_measure.h"

/* What was measured on what. */
typedef struct bench_subject {
    const char *model; /* a path, or the name of a shape */
    const char *type;  /* of a synthetic model, or NULL */
    char machine[128];
    uint32_t cores;
} bench_subject;

void bench_report_table(const bench *b, const bench_subject *s);
void bench_report_json(const bench *b, const bench_subject *s);

/* Appends one row for each case and test, all or none. EXIT_INPUT for a database of another
 * program. */
int bench_store(const bench *b, const bench_subject *s, const char *path, failure *f);

/* "prefill 512", "decode 128 at 512", "batches of 4, ..." */
#define BENCH_TEST_NAME_BYTES 64
void bench_test_name(const bench_test *t, char name[static BENCH_TEST_NAME_BYTES]);
const char *bench_kv_name(slm_kv_type kv);

#endif
