/* eval_report_ci.c - results as JUnit XML and as GitHub annotations; whatever a model wrote is
 * escaped so that it can neither end an element nor begin a command. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eval_report.h"
#include "lib/output.h"
#include "lib/utf8.h"

enum { MOST_ANNOTATIONS = 10, /* GitHub shows no more of a step */ MOST_TEXT = 2000 };

/* One result with its case. */
typedef struct shown {
    const char *name, *kind, *error, *output;
    size_t n_output;
    int64_t ordinal;
    int passed; /* -1: no verdict */
    double seconds;
} shown;

/* Calls `each` with the results of a run in order of the file; failed_only: those that did not
 * pass. */
static int for_results(eval_store *s, int64_t run_id, bool failed_only, void *user,
                       int (*each)(void *user, const shown *, failure *), failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row;
    int code = store_prepare(s,
                             "SELECT c.name, c.kind, x.error, x.output, c.ordinal, x.passed, "
                             "x.seconds FROM results x JOIN cases c ON c.id = x.case_id "
                             "WHERE x.run_id = ?1 AND (?2 = 0 OR x.passed = 0 OR x.error IS NOT "
                             "NULL) ORDER BY c.ordinal",
                             &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    sqlite3_bind_int(q, 2, failed_only);
    while (code == EXIT_OK && (code = store_step(s, q, &row, f)) == EXIT_OK && row) {
        bool verdict = sqlite3_column_type(q, 5) != SQLITE_NULL;
        shown x = {.name = (const char *)sqlite3_column_text(q, 0),
                   .kind = (const char *)sqlite3_column_text(q, 1),
                   .error = (const char *)sqlite3_column_text(q, 2),
                   .output = (const char *)sqlite3_column_blob(q, 3),
                   .n_output = (size_t)sqlite3_column_bytes(q, 3),
                   .ordinal = sqlite3_column_int64(q, 4),
                   .passed = verdict ? sqlite3_column_int(q, 5) : -1,
                   .seconds = sqlite3_column_double(q, 6)};
        code = each(user, &x, f);
    }
    sqlite3_finalize(q);
    return code;
}

/* ---- JUnit ----------------------------------------------------------------------------------- */

typedef struct xml {
    output *out;
    const char *suite;
} xml;

static int put(xml *x, const char *text, failure *f)
{
    return output_write(x->out, text, strlen(text), f);
}

/* Characters that XML 1.0 cannot hold become U+FFFD, also bytes that are not UTF-8. */
static int put_escaped(xml *x, const char *text, size_t n, failure *f)
{
    int code = EXIT_OK;
    for (size_t i = 0, length; i < n && code == EXIT_OK; i += length) {
        unsigned char c = (unsigned char)text[i];
        length = utf8_length(text + i, n - i);
        bool outside = length == 0 || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') ||
                       (length == 3 && c == 0xef && (unsigned char)text[i + 1] == 0xbf &&
                        (unsigned char)text[i + 2] >= 0xbe);
        const char *entity = outside     ? "\xef\xbf\xbd"
                             : c == '&'  ? "&amp;"
                             : c == '<'  ? "&lt;"
                             : c == '>'  ? "&gt;"
                             : c == '"'  ? "&quot;"
                             : c == '\n' ? "&#10;"
                             : c == '\r' ? "&#13;"
                             : c == '\t' ? "&#9;"
                                         : NULL;
        length = length ? length : 1;
        code = entity ? put(x, entity, f) : output_write(x->out, text + i, length, f);
    }
    return code;
}

static int put_attribute(xml *x, const char *name, const char *value, failure *f)
{
    int code = put(x, " ", f);
    code = code ? code : put(x, name, f);
    code = code ? code : put(x, "=\"", f);
    code = code ? code : put_escaped(x, value, strlen(value), f);
    return code ? code : put(x, "\"", f);
}

static int put_case(void *user, const shown *s, failure *f)
{
    xml *x = (xml *)user;
    char seconds[32];
    snprintf(seconds, sizeof seconds, "%.6f", s->seconds);
    int code = put(x, "    <testcase", f);
    code = code ? code : put_attribute(x, "classname", x->suite, f);
    code = code ? code : put_attribute(x, "name", s->name, f);
    code = code ? code : put_attribute(x, "time", seconds, f);
    if (s->error) {
        code = code ? code : put(x, "><error", f);
        code = code ? code : put_attribute(x, "message", s->error, f);
        return code ? code : put(x, "/></testcase>\n", f);
    }
    if (s->passed != 0) {
        return code ? code : put(x, "/>\n", f);
    }
    code = code ? code : put(x, "><failure message=\"did not pass\">", f);
    if (s->output) {
        size_t n = s->n_output < MOST_TEXT ? s->n_output : MOST_TEXT;
        code = code ? code : put_escaped(x, s->output, n, f);
    }
    return code ? code : put(x, "</failure></testcase>\n", f);
}

static int count_failed(eval_store *s, int64_t run_id, int64_t *n, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(s,
                             "SELECT count(*) FROM results WHERE run_id = ? AND passed = 0 "
                             "AND status = 'ok'",
                             &q, f);
    sqlite3_bind_int64(q, 1, run_id);
    code = code ? code : store_step(s, q, &row, f);
    *n = row ? sqlite3_column_int64(q, 0) : 0;
    sqlite3_finalize(q);
    return code;
}

static int put_run(const eval_report *r, const eval_progress *p, xml *x, failure *f)
{
    store_run run;
    bool found = false;
    int64_t n_failed = 0;
    char counts[160];
    int code = store_read_run(r->store, p->run_id, &run, &found, f);
    code = code ? code : count_failed(r->store, p->run_id, &n_failed, f);
    if (code != EXIT_OK || !found) {
        return code;
    }
    x->suite = run.suite_name;
    snprintf(counts, sizeof counts,
             " tests=\"%" PRIu64 "\" failures=\"%" PRId64 "\" errors=\"%" PRIu64
             "\" time=\"%.3f\">\n",
             run.n_done, n_failed, run.n_errors, p->seconds);
    code = put(x, "  <testsuite", f);
    code = code ? code : put_attribute(x, "name", run.suite_name, f);
    code = code ? code : put(x, counts, f);
    code = code ? code : for_results(r->store, run.id, false, x, put_case, f);
    return code ? code : put(x, "  </testsuite>\n", f);
}

int report_junit(const eval_report *r, const char *path, failure *f)
{
    xml x = {0};
    int code = output_create(path, true, NULL, 0, &x.out, f);
    code = code ? code : put(&x, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n", f);
    for (uint32_t i = 0; i < r->n_runs && code == EXIT_OK; i++) {
        if (!r->runs[i].is_baseline) {
            code = put_run(r, &r->runs[i], &x, f);
        }
    }
    code = code ? code : put(&x, "</testsuites>\n", f);
    code = code ? code : output_commit(x.out, f);
    output_destroy(&x.out);
    return code;
}

/* ---- GitHub ---------------------------------------------------------------------------------- */

typedef struct annotations {
    FILE *stream;
    const eval_suite *suite;
    uint32_t n;
} annotations;

/* The data of a workflow command; in properties ':' and ',' end a value too. */
static void print_data(FILE *stream, const char *text, size_t n, bool property)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '%' || c < 0x20 || c == 0x7f || (property && (c == ':' || c == ','))) {
            fprintf(stream, "%%%02X", c);
        } else {
            fputc(c, stream);
        }
    }
}

static int annotate(void *user, const shown *s, failure *f)
{
    (void)f;
    annotations *a = (annotations *)user;
    const char *path = suite_path(a->suite), *why = s->error ? s->error : "did not pass";
    if (a->n++ >= MOST_ANNOTATIONS) {
        return EXIT_OK;
    }
    fputs("::error file=", a->stream);
    print_data(a->stream, path, strlen(path), true);
    for (uint32_t i = 0; i < suite_n_cases(a->suite); i++) {
        if (strcmp(suite_case(a->suite, i)->id, s->name) == 0) {
            fprintf(a->stream, ",line=%u", suite_case(a->suite, i)->line);
            break;
        }
    }
    fputs(",title=", a->stream);
    print_data(a->stream, s->name, strlen(s->name), true);
    fputs("::", a->stream);
    print_data(a->stream, why, strlen(why), false);
    if (s->output && !s->error) {
        size_t n = s->n_output < 200 ? s->n_output : 200;
        fputs("; the model wrote: ", a->stream);
        print_data(a->stream, s->output, n, false);
    }
    fputc('\n', a->stream);
    return EXIT_OK;
}

int report_github(const eval_report *r, FILE *stream, failure *f)
{
    int code = EXIT_OK;
    for (uint32_t i = 0; i < r->n_runs && code == EXIT_OK; i++) {
        const eval_progress *p = &r->runs[i];
        annotations a = {.stream = stream, .suite = p->suite};
        if (p->is_baseline) {
            continue;
        }
        code = for_results(r->store, p->run_id, true, &a, annotate, f);
        fputs("::notice title=", stream);
        print_data(stream, suite_name(p->suite), strlen(suite_name(p->suite)), true);
        fprintf(stream, "::%u of %u cases did not pass\n", a.n, suite_n_cases(p->suite));
    }
    return code;
}
