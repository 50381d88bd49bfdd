/* status.h - how a runtime function reports failure: one line that returns the code and fills the
 * caller's slm_error.
 */
#ifndef SLM_BASE_STATUS_H
#define SLM_BASE_STATUS_H

#include "slm.h"

/* Fills *error (if not NULL) and returns code. The format knows %s (string), %n (string with a
 * length: two arguments, const char * and size_t), %u (uint32_t), %i (int32_t), %l (uint64_t),
 * %x (uint64_t as 16 hexadecimal digits) and %%. Control bytes in strings come out as '?', so that
 * a file cannot write to a terminal. Text that does not fit is cut. */
slm_status slm_fail(slm_error *error, slm_status code, uint64_t offset, const char *format, ...);

/* Builds that must be small (the WebAssembly modules) define SLM_SHORT_ERRORS: a text that depends
 * on the code alone; the formats and their arguments are not in the program. slm-validate says more
 * about the same file. */
#ifdef SLM_SHORT_ERRORS
slm_status slm_fail_short(slm_error *error, slm_status code, uint64_t offset);
int slm_format(const char *format, ...); /* not defined: its arguments are used, never run */
#define slm_fail(error, code, offset, ...)                                                         \
    ((void)sizeof slm_format(__VA_ARGS__), slm_fail_short(error, code, offset))
#define NAMED(text) "" /* a name in a table that only messages use */
#else
#define NAMED(text) text
#endif

#endif
