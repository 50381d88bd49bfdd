/* cli.c - argv and a table of options -> values, help text, messages; progress lines. */
#include "lib/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/json_out.h"

/* ---- Numbers --------------------------------------------------------------------------------- */

bool parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
    if (*text < '0' || *text > '9') { /* strtoull would take signs and spaces */
        return false;
    }
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0 || *end != 0 || ((min != 0 || max != 0) && (v < min || v > max))) {
        return false;
    }
    *value = v;
    return true;
}

bool parse_f64(const char *text, double min, double max, double *value)
{
    if (*text == 0 || strspn(text, "0123456789+-.eE") != strlen(text)) { /* no hex, nan, inf */
        return false;
    }
    char *end;
    double v = strtod(text, &end);
    if (*end != 0 || !isfinite(v) || ((min < 0 || max > 0) && (v < min || v > max))) {
        return false;
    }
    *value = v;
    return true;
}

static void describe_range(const cli_option *o, char *text, size_t n)
{
    if (o->min < 0 || o->min > 0 || o->max > 0) {
        snprintf(text, n, "%.10g to %.10g", o->min, o->max);
    } else {
        snprintf(text, n, "%s", o->kind == CLI_F32 ? "finite" : "0 or more");
    }
}

/* ---- Misuse ---------------------------------------------------------------------------------- */

static bool *json_flag(const cli *c)
{
    for (uint32_t i = 0; i < c->n_options; i++) {
        if (strcmp(c->options[i].name, "json") == 0 && c->options[i].kind == CLI_FLAG) {
            return (bool *)c->options[i].value;
        }
    }
    return NULL;
}

int cli_report(const cli *c, const failure *f)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", c->tool, f->text);
    const bool *json = json_flag(c);
    if (json && *json && !c->json_done) {
        json_out j;
        json_begin(&j, stdout, false);
        json_object(&j, NULL);
        json_string(&j, "tool", c->tool);
        json_object(&j, "error");
        json_i64(&j, "exit_code", f->exit_code);
        json_string(&j, "text", f->text);
        json_object_end(&j);
        json_object_end(&j);
        json_end(&j);
        fflush(stdout);
    }
    return f->exit_code;
}

/* The message of misuse names the argument; --json counts wherever it stands on the line. */
static int misuse(const cli *c, int argc, char **argv, const failure *f)
{
    bool *json = json_flag(c);
    for (int i = 1; json && i < argc; i++) {
        *json = *json || strcmp(argv[i], "--json") == 0;
    }
    failure full;
    fail(&full, EXIT_USAGE, "%s (%s --help lists the options)", f->text, c->tool);
    return cli_report(c, &full);
}

bool cli_seen(const cli *c, const char *name)
{
    for (uint32_t i = 0; i < c->n_options; i++) {
        if (strcmp(c->options[i].name, name) == 0) {
            return c->options[i].seen;
        }
    }
    return false;
}

/* ---- Help ------------------------------------------------------------------------------------ */

enum { HELP_COLUMN = 28, HELP_WIDTH = 96 };

/* Writes text from HELP_COLUMN on, broken at spaces; the cursor stands at `at`. */
static void print_wrapped(const char *text, int at)
{
    for (;;) {
        printf("%*s", HELP_COLUMN - at, "");
        size_t room = HELP_WIDTH - HELP_COLUMN, n = strlen(text);
        const char *newline = memchr(text, '\n', n < room ? n : room);
        if (newline) {
            n = (size_t)(newline - text);
        } else if (n > room) {
            for (n = room; n > 0 && text[n] != ' '; n--) {
            }
            n = n > 0 ? n : room;
        }
        printf("%.*s\n", (int)n, text);
        text += n;
        text += *text == ' ' || *text == '\n';
        if (*text == 0) {
            return;
        }
        at = 0;
    }
}

static void print_option(char letter, const char *name, const char *argument, const char *help)
{
    char left[128];
    char letter_text[8] = "    ";
    if (letter) {
        snprintf(letter_text, sizeof letter_text, "-%c, ", letter);
    }
    int n = snprintf(left, sizeof left, "  %s--%s%s%s", letter_text, name, argument ? " " : "",
                     argument ? argument : "");
    printf("%s", left);
    if (n >= HELP_COLUMN) {
        printf("\n");
        n = 0;
    }
    print_wrapped(help, n);
}

static int print_help(const cli *c)
{
    printf("usage: %s %s\n\n%s\n\noptions:\n", c->tool, c->synopsis, c->summary);
    for (uint32_t i = 0; i < c->n_options; i++) {
        const cli_option *o = &c->options[i];
        if (o->help) {
            print_option(o->letter, o->name, o->argument, o->help);
        }
    }
    print_option(0, "help", NULL, "show this text and exit");
    print_option(0, "version", NULL, "show the version and exit");
    if (c->epilog) {
        printf("\n%s\n", c->epilog);
    }
    return cli_finish(c, EXIT_OK);
}

/* ---- Parsing --------------------------------------------------------------------------------- */

static int set_number(const cli_option *o, const char *shown, const char *text, failure *f)
{
    uint64_t u = 0;
    double d = 0;
    bool ok;
    if (o->kind == CLI_F32) {
        ok = parse_f64(text, o->min, o->max, &d) && fabs(d) <= 3.4e38;
    } else {
        uint64_t max = o->kind == CLI_U32 ? UINT32_MAX : UINT64_MAX;
        if (o->max > 0 && o->max < (double)max) {
            max = (uint64_t)o->max;
        }
        ok = parse_u64(text, (uint64_t)o->min, max, &u);
    }
    if (!ok) {
        char range[80];
        describe_range(o, range, sizeof range);
        return fail(f, EXIT_USAGE, "%s: '%s' is not a %snumber in the range %s", shown, text,
                    o->kind == CLI_F32 ? "" : "whole ", range);
    }
    if (o->kind == CLI_F32) {
        *(float *)o->value = (float)d;
    } else if (o->kind == CLI_U32) {
        *(uint32_t *)o->value = (uint32_t)u;
    } else {
        *(uint64_t *)o->value = u;
    }
    return EXIT_OK;
}

static int set_value(cli_option *o, const char *shown, const char *text, failure *f)
{
    if (o->seen && o->kind != CLI_LIST) {
        return fail(f, EXIT_USAGE, "%s: given twice", shown);
    }
    o->seen = true;
    if (o->kind == CLI_STRING) {
        *(const char **)o->value = text;
        return EXIT_OK;
    }
    if (o->kind == CLI_LIST) {
        cli_list *list = (cli_list *)o->value;
        if (list->n == CLI_LIST_MAX) {
            return fail(f, EXIT_USAGE, "%s: given more than %d times", shown, CLI_LIST_MAX);
        }
        list->items[list->n++] = text;
        return EXIT_OK;
    }
    return set_number(o, shown, text, f);
}

/* The option called name (n bytes); *negated for --no-FLAG. */
static cli_option *find_long(const cli *c, const char *name, size_t n, bool *negated)
{
    *negated = false;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < c->n_options; i++) {
            cli_option *o = &c->options[i];
            if (strlen(o->name) == n && memcmp(o->name, name, n) == 0 &&
                (pass == 0 || o->kind == CLI_FLAG)) {
                *negated = pass == 1;
                return o;
            }
        }
        if (n <= 3 || memcmp(name, "no-", 3) != 0) {
            return NULL;
        }
        name += 3;
        n -= 3;
    }
    return NULL;
}

static int parse_long(const cli *c, int argc, char **argv, int *at, failure *f)
{
    const char *text = argv[*at], *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : strlen(text);
    bool negated;
    cli_option *o = find_long(c, text + 2, n - 2, &negated);
    char shown[160];
    snprintf(shown, sizeof shown, "%.*s", (int)(n < 128 ? n : 128), text);
    if (!o) {
        return fail(f, EXIT_USAGE, "%s: unknown option", shown);
    }
    if (o->kind == CLI_FLAG) {
        if (equals) {
            return fail(f, EXIT_USAGE, "%s: takes no value", shown);
        }
        *(bool *)o->value = !negated;
        o->seen = true;
        return EXIT_OK;
    }
    if (!equals && *at + 1 >= argc) {
        return fail(f, EXIT_USAGE, "%s: needs a value (%s)", shown, o->argument);
    }
    return set_value(o, shown, equals ? equals + 1 : argv[++*at], f);
}

/* "-qv", "-n 5", "-n5". */
static int parse_short(const cli *c, int argc, char **argv, int *at, failure *f)
{
    for (const char *letter = argv[*at] + 1; *letter; letter++) {
        cli_option *o = NULL;
        for (uint32_t i = 0; i < c->n_options && !o; i++) {
            o = c->options[i].letter == *letter ? &c->options[i] : NULL;
        }
        char shown[4] = {'-', *letter, 0};
        if (!o) {
            return fail(f, EXIT_USAGE, "%s in '%s': unknown option", shown, argv[*at]);
        }
        if (o->kind == CLI_FLAG) {
            *(bool *)o->value = true;
            o->seen = true;
            continue;
        }
        if (letter[1]) {
            return set_value(o, shown, letter + 1, f);
        }
        if (*at + 1 >= argc) {
            return fail(f, EXIT_USAGE, "%s: needs a value (%s)", shown, o->argument);
        }
        return set_value(o, shown, argv[++*at], f);
    }
    return EXIT_OK;
}

static int add_operand(cli *c, const char *text, failure *f)
{
    if (c->n_operands == c->max_operands) {
        return fail(f, EXIT_USAGE, "'%s': one argument too many; usage: %s %s", text, c->tool,
                    c->synopsis);
    }
    c->operands[c->n_operands++] = text;
    return EXIT_OK;
}

/* A closed standard descriptor is opened the wrong way round: using it stays an error, but no file
 * opened later gets its number. */
static void hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
            int got = open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
            if (got > 2) {
                close(got);
            }
        }
    }
}

int cli_parse(cli *c, int argc, char **argv)
{
    hold_standard_descriptors();
    failure f = {0};
    bool options = true;
    c->n_operands = 0;
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        if (options && strcmp(text, "--") == 0) {
            options = false;
        } else if (!options || text[0] != '-' || text[1] == 0) {
            add_operand(c, text, &f);
        } else if (strcmp(text, "--help") == 0) {
            return print_help(c);
        } else if (strcmp(text, "--version") == 0) {
            printf("%s %s\n", c->tool, SLM_VERSION);
            return cli_finish(c, EXIT_OK);
        } else if (text[1] == '-') {
            parse_long(c, argc, argv, &i, &f);
        } else {
            parse_short(c, argc, argv, &i, &f);
        }
        if (f.exit_code != EXIT_OK) {
            return misuse(c, argc, argv, &f);
        }
    }
    if (c->n_operands < c->min_operands) {
        fail(&f, EXIT_USAGE, "an argument is missing; usage: %s %s", c->tool, c->synopsis);
        return misuse(c, argc, argv, &f);
    }
    return -1;
}

int cli_finish(const cli *c, int code)
{
    /* a copy is closed: some file systems report a failed write only then */
    bool failed = fflush(stdout) != 0 || ferror(stdout);
    int error = errno;
    int copy = failed ? -1 : dup(STDOUT_FILENO);
    if (!failed && copy >= 0 && close(copy) != 0) {
        failed = true;
        error = errno;
    }
    if (!failed) {
        return code;
    }
    fprintf(stderr, "%s: standard output cannot be written: %s\n", c->tool, strerror(error));
    return code == EXIT_OK ? EXIT_IO : code;
}

/* ---- Progress -------------------------------------------------------------------------------- */

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_begin(progress *p, int mode)
{
    memset(p, 0, sizeof *p);
    p->terminal = isatty(STDERR_FILENO) != 0;
    p->on = mode == PROGRESS_ON || (mode == PROGRESS_AUTO && p->terminal);
    p->start = clock_seconds();
}

/* "what  42 %  (0:12 left)": a line that is rewritten on a terminal, a line of its own elsewhere.
 */
void progress_update(progress *p, const char *what, uint64_t done, uint64_t total)
{
    double now = p->on ? clock_seconds() : 0;
    if (!p->on || (p->shown && now - p->last < 1.0 / 6)) {
        return;
    }
    double part = total != 0 ? (double)done / (double)total : 0;
    char left[32] = "";
    if (part > 0.02 && part < 1 && now - p->start > 2) {
        double seconds = (now - p->start) / part * (1 - part);
        unsigned whole = seconds < 3e6 ? (unsigned)(seconds + 0.5) : 3000000u;
        snprintf(left, sizeof left, "  (%u:%02u left)", whole / 60, whole % 60);
    }
    fprintf(stderr, "%s%s %3.0f %%%s%s", p->terminal ? "\r\033[K" : "", what, 100 * part, left,
            p->terminal ? "" : "\n");
    fflush(stderr);
    p->last = now;
    p->shown = true;
}

void progress_end(progress *p)
{
    if (p->shown && p->terminal) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
    p->shown = false;
}
