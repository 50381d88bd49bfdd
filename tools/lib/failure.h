/* failure.h - how the tools' library reports failure: an exit code and a sentence for people. */
#ifndef SLM_TOOLS_FAILURE_H
#define SLM_TOOLS_FAILURE_H

#include "slm.h"

/* Exit codes of every tool. */
enum {
    EXIT_OK = 0,
    EXIT_CHECK = 1,     /* a gate or check failed */
    EXIT_USAGE = 2,     /* misuse of the command line */
    EXIT_INPUT = 3,     /* an input is invalid */
    EXIT_IO = 4,        /* reading or writing failed */
    EXIT_RESOURCE = 5,  /* memory, threads, address space */
    EXIT_UNDECIDED = 6, /* a gate could not be decided: too little was measured */
    EXIT_INTERNAL = 7   /* a bug */
};

typedef struct failure {
    int exit_code; /* EXIT_OK: nothing failed */
    char text[1024];
} failure;

/* Fills *f (never NULL) and returns exit_code. printf format; control bytes in the result are
 * replaced by '?', so that a file cannot write to the terminal. */
int fail(failure *f, int exit_code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same for a runtime error in a named file. Codes 10-39 are EXIT_INPUT, 40-49 EXIT_USAGE,
 * 50-59 EXIT_RESOURCE. */
int fail_status(failure *f, const char *path, const slm_error *error);

/* The same for errno after a failed call on a path: EXIT_IO, or EXIT_RESOURCE for ENOMEM. */
int fail_errno(failure *f, const char *path, const char *action);

#endif
