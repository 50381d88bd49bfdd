/* jinja.h - chat templates: the part of Jinja that they use, run in bounded steps and memory.
 *
 * Behaves as Hugging Face's renderer does: trim_blocks and lstrip_blocks are on, `break`,
 * `continue` and {% generation %} are known, raise_exception and strftime_now are there. What is
 * not known is an error when it is run (syntax: when it is parsed), never a guess. A template
 * reaches nothing but the values it is given.
 */
#ifndef SLM_TOOLS_JINJA_H
#define SLM_TOOLS_JINJA_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

enum {
    JINJA_MAX_TEMPLATE = 1 << 20, /* bytes */
    JINJA_MAX_OUTPUT = 1 << 18,
    JINJA_MAX_MEMORY = 16 << 20,
    JINJA_MAX_STEPS = 1 << 18, /* of one rendering */
    JINJA_MAX_DEPTH = 200,     /* of nested expressions, statements and calls */
    JINJA_WHY = 128
};

typedef enum jinja_status {
    JINJA_OK,
    JINJA_REFUSED,  /* malformed, not supported, or beyond a limit */
    JINJA_RAISED,   /* the template itself called raise_exception */
    JINJA_NO_MEMORY /* the machine's, not a limit of this renderer */
} jinja_status;

typedef struct jinja_template jinja_template;

/* Parses; the text is copied. why: JINJA_WHY bytes, set on failure. */
jinja_status jinja_parse(jinja_template **t, const char *text, size_t n, char *why);
void jinja_destroy(jinja_template **t);

/* What a rendering shows besides its text; entries stay once they are set. */
typedef struct jinja_notes {
    bool used_date;   /* the date was asked for */
    char missing[48]; /* a special token ("..._token") written out that is not defined; "": none */
} jinja_notes;

/* Renders with an object of globals (strings, whole numbers, booleans, null, arrays, objects).
 * *out: malloc'd, NUL-terminated. The date is always 26 July 2024, the day that Llama 3
 * templates fall back on. */
jinja_status jinja_render(const jinja_template *t, json_t *globals, char **out, size_t *n,
                          jinja_notes *notes, char *why);

#endif
