/* convert_notes.c - the list of warnings of one conversion. */
#include "lib/convert_notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/failure.h"

void note(notes *w, const char *format, ...)
{
    if (w->n == NOTES_MAX) {
        w->n_dropped++;
        return;
    }
    char text[NOTE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    failure printable; /* makes names from a file safe for a terminal */
    fail(&printable, EXIT_OK, "%s", text);
    snprintf(w->text[w->n++], NOTE_BYTES, "%.*s", NOTE_BYTES - 1, printable.text);
}

void note_lines(notes *w, const char *lines)
{
    while (*lines) {
        const char *end = strchr(lines, '\n');
        size_t n = end ? (size_t)(end - lines) : strlen(lines);
        if (n > 0) {
            note(w, "%.*s", (int)n, lines);
        }
        lines += n + (end != NULL);
    }
}
