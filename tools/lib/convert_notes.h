/* convert_notes.h - warnings that a conversion gathers, in order, for stderr and --json. */
#ifndef SLM_TOOLS_CONVERT_NOTES_H
#define SLM_TOOLS_CONVERT_NOTES_H

#include <stdint.h>

enum { NOTES_MAX = 64, NOTE_BYTES = 512 };

typedef struct notes {
    char text[NOTES_MAX][NOTE_BYTES]; /* NUL-terminated, without control bytes */
    uint32_t n;                       /* stored */
    uint32_t n_dropped;               /* that found no room */
} notes;

/* printf format; text that does not fit is cut. */
void note(notes *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Each line of `lines` as a note. */
void note_lines(notes *w, const char *lines);

#endif
