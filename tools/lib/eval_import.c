/* eval_import.c - JSON Lines of llm-foundry's evaluations -> the lines of a suite.
 *
 * Three forms of records, told apart by their keys:
 *   query, choices, gold                  multiple choice (ARC, PIQA, HellaSwag): kind choice
 *   context_options, continuation, gold   schema (WinoGrande): kind choice, with prompts
 *   context, continuation                 language modeling (LAMBADA): kind cloze
 * White space around texts is dropped, as llm-foundry does, and the delimiter set between them; its
 * trailing white space goes to what follows, where tokenizers expect it. "category" becomes a tag.
 */
#include "lib/eval_import.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eval_suite_case.h"
#include "lib/input.h"
#include "lib/output.h"

enum { MAX_FILE = 1 << 30, MOST_WARNINGS = 10 };

typedef struct job {
    const import_options *o;
    char *text;
    size_t n_text;
    char delimiter[256]; /* unescaped */
    size_t n_head;       /* of it: what ends the prompt; the rest begins the answer */
    output *out;
    import_counts *counts;
    notes *warnings;
    failure *f;
} job;

static int read_delimiter(job *j)
{
    size_t n = 0;
    for (const char *s = j->o->delimiter; *s; s++) {
        char c = *s;
        if (c == '\\' && (s[1] == 'n' || s[1] == 't' || s[1] == '\\')) {
            s++;
            c = *s == 'n' ? '\n' : *s == 't' ? '\t' : '\\';
        }
        if (n + 1 == sizeof j->delimiter) {
            return fail(j->f, EXIT_USAGE, "--delimiter: more than %zu bytes",
                        sizeof j->delimiter - 1);
        }
        j->delimiter[n++] = c;
    }
    while (n > 0 && (j->delimiter[n - 1] == ' ' || j->delimiter[n - 1] == '\t')) {
        n--;
    }
    j->n_head = n;
    return EXIT_OK;
}

/* ---- Records --------------------------------------------------------------------------------- */

/* before + text without white space around it + after, as a JSON string; NULL if text is none. */
static json_t *joined(const char *before, size_t n_before, const json_t *text, const char *after,
                      size_t n_after)
{
    const char *s = json_string_value(text);
    size_t n = json_string_length(text);
    if (!s) {
        return NULL;
    }
    while (n > 0 && isspace((unsigned char)*s)) {
        s++, n--;
    }
    while (n > 0 && isspace((unsigned char)s[n - 1])) {
        n--;
    }
    size_t total = n == 0 ? 0 : n_before + n + n_after; /* nothing stays nothing, and is refused */
    char *made = (char *)malloc(total + 1);
    json_t *value = NULL;
    if (made && total != 0) {
        memcpy(made, before, n_before);
        memcpy(made + n_before, s, n);
        memcpy(made + n_before + n, after, n_after);
    }
    if (made) {
        value = json_stringn(made, total);
    }
    free(made);
    return value;
}

/* A text that is asked: the delimiter's head follows it. */
static json_t *asked(const job *j, const json_t *text)
{
    return joined("", 0, text, j->delimiter, j->n_head);
}

/* A text that answers: the delimiter's trailing white space comes before it. */
static json_t *answered(const job *j, const json_t *text)
{
    const char *tail = j->delimiter + j->n_head;
    return joined(tail, strlen(tail), text, "", 0);
}

static json_t *each(const job *j, json_t *list, json_t *(*make)(const job *, const json_t *))
{
    json_t *made = json_array(), *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        json_t *value = make(j, item);
        json_array_append_new(made, value ? value : json_null());
    }
    return made;
}

/* The case that a record makes, without id; NULL if it is none of the forms. */
static json_t *convert(const job *j, json_t *record)
{
    json_t *query = json_object_get(record, "query"), *choices = json_object_get(record, "choices");
    json_t *contexts = json_object_get(record, "context_options");
    json_t *context = json_object_get(record, "context");
    json_t *continuation = json_object_get(record, "continuation");
    json_t *gold = json_object_get(record, "gold"), *made = json_object();
    if (query && choices && gold) {
        json_object_set_new(made, "kind", json_string("choice"));
        json_object_set_new(made, "prompt", asked(j, query));
        json_object_set_new(made, "choices", each(j, choices, answered));
        json_object_set(made, "answer", gold);
    } else if (contexts && continuation && gold) {
        json_object_set_new(made, "kind", json_string("choice"));
        json_object_set_new(made, "prompts", each(j, contexts, asked));
        json_object_set_new(made, "continuation", answered(j, continuation));
        json_object_set(made, "answer", gold);
    } else if (context && continuation) {
        json_object_set_new(made, "kind", json_string("cloze"));
        json_object_set_new(made, "prompt", asked(j, context));
        json_object_set_new(made, "continuation", answered(j, continuation));
    } else {
        json_decref(made);
        return NULL;
    }
    json_t *category = json_object_get(record, "category");
    if (json_is_string(category)) {
        json_object_set_new(made, "tags", json_pack("[O]", category));
    }
    return made;
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static int write_line(job *j, json_t *value)
{
    char *line = json_dumps(value, JSON_COMPACT);
    int code = line ? output_write(j->out, line, strlen(line), j->f)
                    : fail(j->f, EXIT_RESOURCE, "no memory for a line");
    free(line);
    return code ? code : output_write(j->out, "\n", 1, j->f);
}

static int import_record(job *j, json_t *record, uint32_t number)
{
    char where[1024], id[32];
    snprintf(where, sizeof where, "%.1000s:%u", j->o->path, number);
    json_t *made = convert(j, record);
    if (!made) {
        return fail(j->f, EXIT_INPUT,
                    "%s: neither query, choices and gold, nor context_options, continuation and "
                    "gold, nor context and continuation",
                    where);
    }
    snprintf(id, sizeof id, "line-%05u", number);
    json_object_set_new(made, "id", json_string(id));
    eval_case c = {.definition = made};
    failure why = {0};
    int code = suite_check_case(where, &c, &why);
    if (code == EXIT_OK) {
        code = write_line(j, made);
        j->counts->n_cases++;
    } else if (code == EXIT_INPUT) {
        if (j->counts->n_left_out++ < MOST_WARNINGS) {
            note(j->warnings, "left out: %.400s", why.text);
        }
        code = EXIT_OK;
    } else {
        *j->f = why;
    }
    json_decref(made);
    return code;
}

static int import_lines(job *j)
{
    uint32_t number = 1;
    int code = EXIT_OK;
    for (size_t at = 0; at < j->n_text && code == EXIT_OK; number++) {
        const char *line = j->text + at, *end = (const char *)memchr(line, '\n', j->n_text - at);
        size_t n = end ? (size_t)(end - line) : j->n_text - at;
        at += n + 1;
        if (strspn(line, " \t\r") >= n) {
            continue;
        }
        json_error_t error;
        json_t *record = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error);
        if (!json_is_object(record)) {
            code = fail(j->f, EXIT_INPUT, "%s:%u: column %d: %s", j->o->path, number,
                        record ? 1 : error.column, record ? "must be an object" : error.text);
        } else {
            code = import_record(j, record, number);
        }
        json_decref(record);
        if (j->o->limit != 0 && j->counts->n_cases == j->o->limit) {
            break;
        }
    }
    if (code == EXIT_OK && j->counts->n_cases == 0) {
        code = fail(j->f, EXIT_INPUT, "%s: holds no case", j->o->path);
    }
    return code;
}

/* The name of a file without folders and ending. */
static json_t *default_name(const job *j)
{
    const char *slash = strrchr(j->o->path, '/');
    const char *name = slash ? slash + 1 : j->o->path, *dot = strrchr(name, '.');
    return json_stringn(name, dot && dot != name ? (size_t)(dot - name) : strlen(name));
}

static int import_all(job *j)
{
    json_t *name = j->o->name ? json_string(j->o->name) : default_name(j);
    json_t *header = json_pack("{s:i, s:o*}", "slm_suite", SUITE_VERSION, "name", name);
    if (j->o->description) {
        json_object_set_new(header, "description", json_string(j->o->description));
    }
    int code =
        suite_check_name("--name", "the suite's name", json_object_get(header, "name"), j->f);
    if (code == EXIT_OK && j->o->description && !json_object_get(header, "description")) {
        code = fail(j->f, EXIT_USAGE, "--description: is not UTF-8");
    }
    code = code ? code : input_slurp(j->o->path, MAX_FILE, &j->text, &j->n_text, j->f);
    code = code ? code : output_create(j->o->out, j->o->force, &j->o->path, 1, &j->out, j->f);
    code = code ? code : write_line(j, header);
    code = code ? code : import_lines(j);
    json_decref(header);
    return code ? code : output_commit(j->out, j->f);
}

int import_llm_foundry(const import_options *options, import_counts *counts, notes *warnings,
                       failure *f)
{
    job j = {.o = options, .counts = counts, .warnings = warnings, .f = f};
    memset(counts, 0, sizeof *counts);
    int code = read_delimiter(&j);
    code = code ? code : import_all(&j);
    output_destroy(&j.out);
    free(j.text);
    return code;
}
