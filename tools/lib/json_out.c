/* json_out.c - values -> one JSON document. */
#include "lib/json_out.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/utf8.h"

void json_begin(json_out *j, FILE *stream, bool compact)
{
    json_out made = {.stream = stream, .depth = 0, .first = true, .compact = compact};
    *j = made;
}

void json_end(json_out *j)
{
    fputc('\n', j->stream);
}

static void new_line(json_out *j)
{
    if (!j->compact) {
        fprintf(j->stream, "\n%*s", 2 * j->depth, "");
    }
}

static void put_string(json_out *j, const char *s, size_t n)
{
    FILE *out = j->stream;
    fputc('"', out);
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t length = utf8_length(s + i, n - i);
        if (length == 0) {
            fputs("\xef\xbf\xbd", out);
            length = 1;
        } else if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c == '\n') {
            fputs("\\n", out);
        } else if (c == '\t') {
            fputs("\\t", out);
        } else if (c < 0x20 || c == 0x7f) {
            fprintf(out, "\\u%04x", c);
        } else if (c == 0xc2 && (unsigned char)s[i + 1] < 0xa0) { /* C1 move cursors too */
            fprintf(out, "\\u%04x", (unsigned char)s[i + 1]);
        } else {
            fwrite(s + i, 1, length, out);
        }
        i += length;
    }
    fputc('"', out);
}

/* What stands before a value: a comma after the previous one, a line break, the key. */
static void lead(json_out *j, const char *key)
{
    if (j->depth > 0) {
        if (!j->first) {
            fputc(',', j->stream);
        }
        new_line(j);
    }
    j->first = false;
    if (key) {
        put_string(j, key, strlen(key));
        fputs(j->compact ? ":" : ": ", j->stream);
    }
}

static void open_container(json_out *j, const char *key, char bracket)
{
    lead(j, key);
    fputc(bracket, j->stream);
    j->depth++;
    j->first = true;
}

static void close_container(json_out *j, char bracket)
{
    j->depth--;
    if (!j->first) {
        new_line(j);
    }
    fputc(bracket, j->stream);
    j->first = false;
}

void json_object(json_out *j, const char *key)
{
    open_container(j, key, '{');
}

void json_object_end(json_out *j)
{
    close_container(j, '}');
}

void json_array(json_out *j, const char *key)
{
    open_container(j, key, '[');
}

void json_array_end(json_out *j)
{
    close_container(j, ']');
}

void json_string(json_out *j, const char *key, const char *value)
{
    json_string_n(j, key, value, strlen(value));
}

void json_string_n(json_out *j, const char *key, const char *value, uint64_t n_bytes)
{
    lead(j, key);
    put_string(j, value, (size_t)n_bytes);
}

void json_u64(json_out *j, const char *key, uint64_t value)
{
    lead(j, key);
    fprintf(j->stream, "%" PRIu64, value);
}

void json_i64(json_out *j, const char *key, int64_t value)
{
    lead(j, key);
    fprintf(j->stream, "%" PRId64, value);
}

void json_f64(json_out *j, const char *key, double value)
{
    if (!isfinite(value)) {
        json_null(j, key);
        return;
    }
    lead(j, key);
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (memcmp(&back, &value, sizeof value) == 0) {
            break;
        }
    }
    fputs(text, j->stream);
}

void json_f32(json_out *j, const char *key, float value)
{
    if (!isfinite(value)) {
        json_null(j, key);
        return;
    }
    lead(j, key);
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        float back = strtof(text, NULL);
        if (memcmp(&back, &value, sizeof value) == 0) {
            break;
        }
    }
    fputs(text, j->stream);
}

void json_bool(json_out *j, const char *key, bool value)
{
    lead(j, key);
    fputs(value ? "true" : "false", j->stream);
}

void json_null(json_out *j, const char *key)
{
    lead(j, key);
    fputs("null", j->stream);
}

void json_hex64(json_out *j, const char *key, uint64_t value)
{
    lead(j, key);
    fprintf(j->stream, "\"%016" PRIx64 "\"", value);
}

/* ---- Text in memory -------------------------------------------------------------------------- */

typedef struct memory_text {
    char **text;
    size_t *n_bytes, room;
} memory_text;

/* Room for n more bytes and a NUL. */
static bool grow(memory_text *m, size_t n)
{
    if (n >= SIZE_MAX / 2 - *m->n_bytes) {
        return false;
    }
    size_t need = *m->n_bytes + n + 1;
    if (need > m->room) {
        char *text = (char *)realloc(*m->text, 2 * need);
        if (!text) {
            return false;
        }
        *m->text = text;
        m->room = 2 * need;
    }
    return true;
}

static ssize_t write_memory(void *cookie, const char *bytes, size_t n)
{
    memory_text *m = (memory_text *)cookie;
    if (!grow(m, n)) {
        return 0; /* the stream's error flag is set */
    }
    memcpy(*m->text + *m->n_bytes, bytes, n);
    *m->n_bytes += n;
    (*m->text)[*m->n_bytes] = 0;
    return (ssize_t)n;
}

static int close_memory(void *cookie)
{
    free(cookie);
    return 0;
}

FILE *json_open_memory(char **text, size_t *n_bytes)
{
    memory_text *m = (memory_text *)malloc(sizeof *m);
    *text = NULL;
    *n_bytes = 0;
    if (!m) {
        return NULL;
    }
    *m = (memory_text){text, n_bytes, 0};
    cookie_io_functions_t io = {.write = write_memory, .close = close_memory};
    FILE *stream = grow(m, 0) ? fopencookie(m, "w", io) : NULL;
    if (!stream) {
        free(*text);
        *text = NULL;
        free(m);
        return NULL;
    }
    **text = 0;
    return stream;
}

bool json_close_memory(FILE *stream)
{
    bool whole = fflush(stream) == 0 && !ferror(stream); /* fclose forgets what failed before */
    return (fclose(stream) == 0) & whole;
}
