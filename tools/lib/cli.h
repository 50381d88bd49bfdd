/* cli.h - command lines: one table of options yields parser, usage and error messages.
 *
 * Results go to stdout, all else to stderr. --help and --version (stdout, exit 0) come by
 * themselves, as does "--" to end options. Numbers are parsed whole and range-checked. Options may
 * follow operands; only flags and lists may be repeated.
 *
 * A table with a flag named "json" gets the rest of the rule for free: where the command line asks
 * for it, cli_parse and cli_report print {"tool", "error": {"exit_code", "text"}} on stdout, unless
 * the tool has set json_done because its own document is already out.
 */
#ifndef SLM_TOOLS_CLI_H
#define SLM_TOOLS_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/failure.h"

typedef enum cli_kind {
    CLI_FLAG,   /* bool *: set to true; --no-NAME sets false */
    CLI_STRING, /* const char ** */
    CLI_U32,    /* uint32_t *, min..max */
    CLI_U64,    /* uint64_t *, min..max */
    CLI_F32,    /* float *, finite, min..max */
    CLI_LIST    /* cli_list *: may be repeated */
} cli_kind;

enum { CLI_LIST_MAX = 64 };
typedef struct cli_list {
    const char *items[CLI_LIST_MAX];
    uint32_t n;
} cli_list;

typedef struct cli_option {
    const char *name;     /* long, without dashes */
    char letter;          /* short, or 0 */
    const char *argument; /* shown in help: "N", "FILE", "f16|f32"; NULL for flags */
    const char *help;
    cli_kind kind;
    void *value;
    double min, max; /* numbers; both 0: any */
    bool seen;       /* set by cli_parse */
} cli_option;

typedef struct cli {
    const char *tool;     /* "slm-run" */
    const char *synopsis; /* "MODEL.slm [options]" */
    const char *summary;  /* one or more lines */
    cli_option *options;
    uint32_t n_options;
    uint32_t min_operands, max_operands;
    const char **operands; /* filled: max_operands pointers */
    uint32_t n_operands;
    const char *epilog; /* examples; may be NULL */
    bool json_done;     /* set by the tool: a JSON document has been written to stdout */
} cli;

/* Parses. Returns -1 to go on, or the exit code (0 after --help, 2 after misuse, with the message
 * already on stderr). Call it first in main: it also makes sure that descriptors 0-2 are open, so
 * that no data file can take their place. */
int cli_parse(cli *c, int argc, char **argv);

/* Was the option of that name on the command line? */
bool cli_seen(const cli *c, const char *name);

/* "slm-run: TEXT" on stderr (and the JSON document, see above); returns f->exit_code. */
int cli_report(const cli *c, const failure *f);

/* Flushes stdout and turns a failed write into EXIT_IO with a message; otherwise `code`. */
int cli_finish(const cli *c, int code);

/* Progress on stderr: shown if it is a terminal or forced, at most 6 times a second. */
typedef struct progress {
    bool on, terminal, shown;
    double last, start;
} progress;
enum { PROGRESS_AUTO = -1, PROGRESS_OFF = 0, PROGRESS_ON = 1 };
void progress_begin(progress *p, int mode);
void progress_update(progress *p, const char *what, uint64_t done, uint64_t total);
void progress_end(progress *p);

double clock_seconds(void); /* monotonic */

/* Parses a whole string as a decimal number in min..max (both 0: any); false if it is not one. */
bool parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *value);
bool parse_f64(const char *text, double min, double max, double *value);

#endif
