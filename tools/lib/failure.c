/* failure.c - failures of the tools in words that are safe to print. */
#include "lib/failure.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/utf8.h"

/* Whatever could move a terminal's cursor becomes '?': control bytes, C1 controls (U+0080 to
 * U+009F) and bytes that are not UTF-8. */
static void make_printable(char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t length = utf8_length(text + i, n - i);
        if (length == 0 || c < 0x20 || c == 0x7f) {
            text[i] = '?';
            length = 1;
        } else if (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0) {
            text[i] = '?';
            text[i + 1] = '?';
        }
        i += length;
    }
}

int fail(failure *f, int exit_code, const char *format, ...)
{
    char text[sizeof f->text]; /* the arguments may point into f->text */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    make_printable(text);
    memcpy(f->text, text, sizeof text);
    f->exit_code = exit_code;
    return exit_code;
}

int fail_status(failure *f, const char *path, const slm_error *error)
{
    int code = error->code >= 50   ? EXIT_RESOURCE
               : error->code >= 40 ? EXIT_USAGE
               : error->code >= 10 ? EXIT_INPUT
                                   : EXIT_INTERNAL;
    const char *name = slm_status_name(error->code);
    if (error->offset != 0) {
        return fail(f, code, "%s: %s (byte %" PRIu64 ", %s)", path, error->text, error->offset,
                    name);
    }
    return fail(f, code, "%s: %s (%s)", path, error->text, name);
}

int fail_errno(failure *f, const char *path, const char *action)
{
    int number = errno;
    return fail(f, number == ENOMEM ? EXIT_RESOURCE : EXIT_IO, "%s: %s: %s", path, action,
                strerror(number));
}
