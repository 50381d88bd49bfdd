/* eval_show_cli.c - slm-eval show: one case, and what each model made of it, side by side. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "lib/eval_compare_cli.h"
#include "lib/eval_select.h"
#include "lib/json_out.h"
#include "lib/utf8.h"

enum { MAX_SHOWN = 16, COLUMN = 38 };

static struct {
    const char *operands[MAX_SHOWN];
    const char *db, *suite, *name;
    bool json;
} given;

static cli_option table[] = {
    {.name = "case",
     .argument = "ID",
     .help = "the case (required)",
     .kind = CLI_STRING,
     .value = &given.name},
    {.name = "db",
     .argument = "FILE",
     .help = "the database that slm-eval run wrote (required)",
     .kind = CLI_STRING,
     .value = &given.db},
    {.name = "suite",
     .argument = "NAME",
     .help = "the suite, if several have such a case",
     .kind = CLI_STRING,
     .value = &given.suite},
    {.name = "json", .help = "print one JSON document", .kind = CLI_FLAG, .value = &given.json},
};

/* What one run made of the case. */
typedef struct answer {
    char *definition, *output, *detail, *error;
    int passed; /* -1: no verdict */
    double score;
    bool has_score;
    const store_run *run;
} answer;

typedef struct answers {
    answer items[MAX_SHOWN];
    uint32_t n;
} answers;

static char *text_column(sqlite3_stmt *q, int column)
{
    const void *bytes = sqlite3_column_blob(q, column);
    size_t n = (size_t)sqlite3_column_bytes(q, column);
    char *text = (char *)calloc(1, n + 1);
    if (text && bytes) {
        memcpy(text, bytes, n);
    }
    return text;
}

static int read_answer(eval_store *store, const store_run *run, answers *all, failure *f)
{
    sqlite3_stmt *q = NULL;
    bool row = false;
    int code = store_prepare(store,
                             "SELECT c.definition, x.output, x.detail, x.error, x.passed, x.score "
                             "FROM results x JOIN cases c ON c.id = x.case_id "
                             "WHERE x.run_id = ? AND c.name = ?",
                             &q, f);
    sqlite3_bind_int64(q, 1, run->id);
    sqlite3_bind_text(q, 2, given.name, -1, SQLITE_STATIC);
    code = code ? code : store_step(store, q, &row, f);
    if (code == EXIT_OK && row && all->n == MAX_SHOWN) {
        code = fail(f, EXIT_USAGE, "more than %d runs have this case; name the models", MAX_SHOWN);
    } else if (code == EXIT_OK && row) {
        answer *a = &all->items[all->n++];
        *a = (answer){text_column(q, 0),
                      text_column(q, 1),
                      text_column(q, 2),
                      text_column(q, 3),
                      sqlite3_column_type(q, 4) == SQLITE_NULL ? -1 : sqlite3_column_int(q, 4),
                      sqlite3_column_double(q, 5),
                      sqlite3_column_type(q, 5) != SQLITE_NULL,
                      run};
        if (!a->definition || !a->output || !a->detail || !a->error) {
            code = fail(f, EXIT_RESOURCE, "no memory for the case");
        }
    }
    sqlite3_finalize(q);
    return code;
}

static void free_answers(answers *all)
{
    for (uint32_t i = 0; i < all->n; i++) {
        free(all->items[i].definition);
        free(all->items[i].output);
        free(all->items[i].detail);
        free(all->items[i].error);
    }
}

/* ---- For people ------------------------------------------------------------------------------ */

/* The next line of at most COLUMN characters: printed, padded; *text moves on. Control characters
 * and broken UTF-8 become '?'. */
static void print_line(const char **text, bool last)
{
    const char *s = *text;
    uint32_t width = 0;
    while (*s && *s != '\n' && width < COLUMN) {
        size_t n = utf8_length(s, strlen(s));
        bool control = (unsigned char)*s < 32 || *s == 127 ||
                       (n == 2 && (unsigned char)s[0] == 0xc2 && (unsigned char)s[1] < 0xa0);
        if (n == 0 || control) {
            putchar('?');
            n = n ? n : 1;
        } else {
            fwrite(s, 1, n, stdout);
        }
        s += n;
        width++;
    }
    s += *s == '\n';
    *text = s;
    printf("%*s%s", last ? 0 : (int)(COLUMN - width), "", last ? "\n" : " | ");
}

/* Texts in columns, as many as there are; each is wrapped. */
static void print_columns(const char *texts[2], uint32_t n)
{
    do {
        for (uint32_t i = 0; i < n; i++) {
            print_line(&texts[i], i + 1 == n);
        }
    } while (*texts[0] || (n > 1 && *texts[1]));
}

static void describe(const answer *a, char text[static 512])
{
    int n = snprintf(text, 512, "%.200s, run %" PRId64 "\n%s", a->run->model_name, a->run->id,
                     *a->error        ? "could not be evaluated"
                     : a->passed == 1 ? "passed"
                     : a->passed == 0 ? "failed"
                                      : "no verdict");
    if (a->has_score && n < 480) {
        snprintf(text + n, 512 - (size_t)n, ", score %.6g", a->score);
    }
}

static void print_pair(const answer *a, uint32_t n)
{
    char heads[2][512];
    const char *texts[2], *bodies[2];
    for (uint32_t i = 0; i < n; i++) {
        describe(&a[i], heads[i]);
        texts[i] = heads[i];
        bodies[i] = *a[i].error ? a[i].error : *a[i].output ? a[i].output : a[i].detail;
    }
    print_columns(texts, n);
    printf("%.*s\n", n == 1 ? COLUMN : 2 * COLUMN + 3,
           "--------------------------------------------------------------------------------");
    print_columns(bodies, n);
}

static void print_answers(const answers *all)
{
    failure safe; /* its text has no control bytes */
    fail(&safe, EXIT_CHECK, "%s", all->items[0].definition);
    printf("%s: %s\n%s\n", all->items[0].run->suite_name, given.name, safe.text);
    for (uint32_t i = 0; i < all->n; i += 2) {
        printf("\n");
        print_pair(&all->items[i], all->n - i < 2 ? 1 : 2);
    }
}

/* ---- For programs ---------------------------------------------------------------------------- */

static void print_json(const answers *all)
{
    json_out j;
    json_begin(&j, stdout, false);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-eval");
    json_string(&j, "command", "show");
    json_string(&j, "version", SLM_VERSION);
    json_string(&j, "suite", all->items[0].run->suite_name);
    json_string(&j, "case", given.name);
    json_string(&j, "definition", all->items[0].definition); /* JSON text */
    json_array(&j, "answers");
    for (uint32_t i = 0; i < all->n; i++) {
        const answer *a = &all->items[i];
        json_object(&j, NULL);
        json_string(&j, "model", a->run->model_name);
        json_i64(&j, "run", a->run->id);
        if (a->passed < 0) {
            json_null(&j, "passed");
        } else {
            json_bool(&j, "passed", a->passed == 1);
        }
        if (a->has_score) {
            json_f64(&j, "score", a->score);
        } else {
            json_null(&j, "score");
        }
        json_string(&j, "output", a->output);
        json_string(&j, "detail", a->detail); /* JSON text */
        json_string(&j, "error", a->error);
        json_object_end(&j);
    }
    json_array_end(&j);
    json_object_end(&j);
    json_end(&j);
}

/* ---- Main ------------------------------------------------------------------------------------ */

static int read_answers(eval_store *store, run_list lists[MAX_SHOWN], uint32_t n, answers *all,
                        failure *f)
{
    int code = n != 0 ? EXIT_OK : select_newest(store, given.suite, &lists[0], f);
    for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
        code = select_runs(store, given.operands[i], given.suite, &lists[i], f);
    }
    for (uint32_t i = 0; i < (n ? n : 1) && code == EXIT_OK; i++) {
        for (uint32_t k = 0; k < lists[i].n && code == EXIT_OK; k++) {
            code = read_answer(store, &lists[i].runs[k], all, f);
        }
    }
    if (code == EXIT_OK && all->n == 0) {
        code = fail(f, EXIT_INPUT, "%s: there is no result of a case \"%s\"", store_path(store),
                    given.name);
    }
    for (uint32_t i = 1; i < all->n && code == EXIT_OK; i++) {
        const char *first = all->items[0].run->suite_name, *other = all->items[i].run->suite_name;
        if (strcmp(first, other) != 0) {
            code = fail(f, EXIT_USAGE, "--suite: both %s and %s have a case \"%s\"", first, other,
                        given.name);
        }
    }
    return code;
}

int eval_show_main(int argc, char **argv)
{
    static run_list lists[MAX_SHOWN];
    static answers all;
    static cli c = {.tool = "slm-eval show",
                    .synopsis = "[MODEL|RUN]... --case ID --db FILE [options]",
                    .summary = "Shows a case and what models made of it, side by side; without "
                               "names, the newest run\nof each model.",
                    .options = table,
                    .n_options = sizeof table / sizeof table[0],
                    .min_operands = 0,
                    .max_operands = MAX_SHOWN,
                    .operands = given.operands,
                    .epilog =
                        "example:\n"
                        "  slm-eval show model.slm model-q4.slm --case fox-1 --db results.db"};
    failure f = {0};
    eval_store *store = NULL;
    int code = cli_parse(&c, argc, argv);
    if (code >= 0) {
        return code;
    }
    if (!given.db || !given.name) {
        code = fail(&f, EXIT_USAGE, "%s is missing", given.db ? "--case" : "--db");
    } else {
        code = store_open(given.db, STORE_READ, 30, &store, &f);
    }
    code = code ? code : read_answers(store, lists, c.n_operands, &all, &f);
    if (code != EXIT_OK) {
        cli_report(&c, &f);
    } else if (given.json) {
        print_json(&all);
    } else {
        print_answers(&all);
    }
    free_answers(&all);
    store_close(&store);
    return cli_finish(&c, code);
}
