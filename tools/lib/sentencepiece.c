/* sentencepiece.c - the protobuf message of a tokenizer.model -> pieces with scores. Only the
 * fields that change how text is cut are looked at; a field that asks for what is not done here is
 * refused.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/scored_pieces.h"

enum { MAX_PIECES = 1 << 24, MAX_PIECE_BYTES = 65535 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2 };

typedef struct message {
    const char *name; /* of the file */
    const uint8_t *bytes;
    uint64_t pos, end; /* in the file */
    failure *f;
} message;

typedef struct field {
    uint32_t number, wire;
    uint64_t at;     /* in the file */
    uint64_t value;  /* varint, or the bits of a fixed one; the length of bytes */
    uint64_t inside; /* where its bytes begin */
} field;

static int refuse(const message *m, uint64_t at, const char *what)
{
    return fail(m->f, EXIT_INPUT, "%s: offset %" PRIu64 ": %s: is this a SentencePiece model?",
                m->name, at, what);
}

static int read_varint(message *m, uint64_t *value)
{
    uint64_t at = m->pos;
    *value = 0;
    for (uint32_t shift = 0; shift < 64; shift += 7) {
        if (m->pos == m->end) {
            return refuse(m, at, "a number is cut short");
        }
        uint8_t byte = m->bytes[m->pos++];
        if (shift == 63 && byte > 1) {
            break;
        }
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            return EXIT_OK;
        }
    }
    return refuse(m, at, "a number is longer than 64 bits");
}

static int read_field(message *m, field *v)
{
    uint64_t tag;
    *v = (field){.at = m->pos};
    int code = read_varint(m, &tag);
    if (code != EXIT_OK) {
        return code;
    }
    v->number = tag >> 3 <= INT32_MAX ? (uint32_t)(tag >> 3) : 0;
    v->wire = (uint32_t)(tag & 7);
    if (v->number == 0 || (v->wire != WIRE_VARINT && v->wire != WIRE_64 && v->wire != WIRE_BYTES &&
                           v->wire != WIRE_32)) {
        return refuse(m, v->at, "a field has an impossible number or wire type");
    }
    if (v->wire == WIRE_VARINT || v->wire == WIRE_BYTES) {
        code = read_varint(m, &v->value);
    }
    v->inside = m->pos;
    uint64_t n = v->wire == WIRE_BYTES ? v->value : v->wire == WIRE_32 ? 4 : 8;
    if (code != EXIT_OK || v->wire == WIRE_VARINT) {
        return code;
    }
    if (n > m->end - m->pos) {
        return refuse(m, v->at, "a field reaches past the end");
    }
    if (v->wire == WIRE_32) {
        v->value = load_u32(m->bytes + m->pos);
    }
    m->pos += n;
    return EXIT_OK;
}

static message inside_of(const message *m, const field *v)
{
    return (message){m->name, m->bytes, v->inside, v->inside + v->value, m->f};
}

static int want_wire(const message *m, const field *v, uint32_t wire)
{
    return v->wire == wire ? EXIT_OK : refuse(m, v->at, "a field has the wrong wire type");
}

/* ---- Pieces ---------------------------------------------------------------------------------- */

static int read_piece(message *m, uint32_t id, scored_piece *p)
{
    *p = (scored_piece){.type = PIECE_NORMAL};
    uint64_t at = m->pos;
    int code = EXIT_OK;
    while (m->pos < m->end && code == EXIT_OK) {
        static const uint32_t wires[4] = {0, WIRE_BYTES, WIRE_32, WIRE_VARINT};
        field v;
        code = read_field(m, &v);
        if (code == EXIT_OK && v.number <= 3) {
            code = want_wire(m, &v, wires[v.number]);
        }
        if (code != EXIT_OK || v.number > 3) {
            continue;
        }
        if (v.number == 1) {
            p->bytes = m->bytes + v.inside;
            p->n_bytes = v.value <= MAX_PIECE_BYTES ? (uint32_t)v.value : MAX_PIECE_BYTES + 1;
        } else if (v.number == 2) {
            uint32_t bits = (uint32_t)v.value;
            memcpy(&p->score, &bits, 4);
        } else {
            p->type = v.value <= PIECE_BYTE ? (uint32_t)v.value : 0;
        }
    }
    if (code == EXIT_OK && (p->n_bytes == 0 || p->n_bytes > MAX_PIECE_BYTES)) {
        return fail(m->f, EXIT_INPUT, "%s: offset %" PRIu64 ": piece %u must have 1 to 65535 bytes",
                    m->name, at, id);
    }
    if (code == EXIT_OK && (p->type == 0 || !isfinite(p->score))) {
        return fail(m->f, EXIT_INPUT, "%s: offset %" PRIu64 ": piece %u has %s", m->name, at, id,
                    p->type == 0 ? "an unknown type" : "a score that is not finite");
    }
    return code;
}

static int compare_pieces(const void *a, const void *b)
{
    const scored_piece *x = *(const scored_piece *const *)a, *y = *(const scored_piece *const *)b;
    uint32_t n = x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes;
    int order = memcmp(x->bytes, y->bytes, n);
    return order ? order : (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static int refuse_repeated(const message *m, const scored_pieces *s)
{
    const scored_piece **sorted = calloc((size_t)s->n + 1, sizeof(const scored_piece *));
    int code = sorted ? EXIT_OK : fail(m->f, EXIT_RESOURCE, "%s: no memory", m->name);
    for (uint32_t i = 0; i < s->n && sorted; i++) {
        sorted[i] = &s->pieces[i];
    }
    if (sorted && s->n != 0) {
        qsort(sorted, s->n, sizeof(const scored_piece *), compare_pieces);
    }
    for (uint32_t i = 1; i < s->n && code == EXIT_OK; i++) {
        if (compare_pieces(&sorted[i - 1], &sorted[i]) == 0) {
            code = fail(m->f, EXIT_INPUT, "%s: pieces %u and %u have the same text", m->name,
                        (uint32_t)(sorted[i - 1] - s->pieces), (uint32_t)(sorted[i] - s->pieces));
        }
    }
    free(sorted);
    return code;
}

/* ---- What was asked of the trainer and the normalizer ---------------------------------------- */

static int read_trainer(message *m, scored_pieces *s, uint64_t *kind)
{
    int code = EXIT_OK;
    while (m->pos < m->end && code == EXIT_OK) {
        field v;
        code = read_field(m, &v);
        bool wanted = v.number == 3 || v.number == 24 || v.number == 41 || v.number == 42;
        code = code == EXIT_OK && wanted ? want_wire(m, &v, WIRE_VARINT) : code;
        if (code != EXIT_OK || !wanted) {
            continue;
        }
        int32_t id = v.value <= INT32_MAX ? (int32_t)v.value : -1;
        *kind = v.number == 3 ? v.value : *kind;
        s->bos_id = v.number == 41 ? id : s->bos_id;
        s->eos_id = v.number == 42 ? id : s->eos_id;
        if (v.number == 24 && v.value != 0) {
            return fail(m->f, EXIT_INPUT, "%s: treat_whitespace_as_suffix is not supported",
                        m->name);
        }
    }
    return code;
}

static int read_normalizer(message *m, scored_pieces *s)
{
    bool squeeze = true, escape = true, maps = false;
    int code = EXIT_OK;
    while (m->pos < m->end && code == EXIT_OK) {
        field v;
        code = read_field(m, &v);
        bool flag = v.number >= 3 && v.number <= 5;
        code = code == EXIT_OK && flag ? want_wire(m, &v, WIRE_VARINT) : code;
        code = code == EXIT_OK && v.number == 2 ? want_wire(m, &v, WIRE_BYTES) : code;
        if (code != EXIT_OK) {
            return code;
        }
        maps = v.number == 2 ? v.value != 0 : maps;
        s->prefix = v.number == 3 ? v.value != 0 : s->prefix;
        squeeze = v.number == 4 ? v.value != 0 : squeeze;
        escape = v.number == 5 ? v.value != 0 : escape;
    }
    if (maps || squeeze || !escape) {
        return fail(m->f, EXIT_INPUT, "%s: %s is not supported", m->name,
                    maps      ? "a normalizer with precompiled_charsmap"
                    : squeeze ? "remove_extra_whitespaces"
                              : "escape_whitespaces false");
    }
    return code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int add_piece(message *m, scored_pieces *s, uint32_t *room)
{
    if (s->n == *room) {
        uint32_t more = *room ? 2 * *room : 4096;
        scored_piece *grown = more <= MAX_PIECES ? realloc(s->pieces, more * sizeof *grown) : NULL;
        if (!grown) {
            return fail(m->f, EXIT_RESOURCE, "%s: no memory for %u pieces", m->name, more);
        }
        s->pieces = grown;
        *room = more;
    }
    int code = read_piece(m, s->n, &s->pieces[s->n]);
    s->n++;
    return code;
}

static int read_model(message *m, scored_pieces *s)
{
    uint32_t room = 0;
    uint64_t kind = MODEL_UNIGRAM; /* what the field's absence means */
    bool normalizer = false;
    int code = EXIT_OK;
    while (m->pos < m->end && code == EXIT_OK) {
        field v;
        code = read_field(m, &v);
        if (code != EXIT_OK || v.number > 3) {
            continue;
        }
        normalizer = normalizer || v.number == 3;
        code = want_wire(m, &v, WIRE_BYTES);
        message part = inside_of(m, &v);
        if (code == EXIT_OK) {
            code = v.number == 1   ? add_piece(&part, s, &room)
                   : v.number == 2 ? read_trainer(&part, s, &kind)
                                   : read_normalizer(&part, s);
        }
    }
    if (code == EXIT_OK && s->n == 0) {
        return refuse(m, 0, "there are no pieces");
    }
    if (code == EXIT_OK && kind != MODEL_BPE) {
        static const char *const kinds[] = {"unknown", "unigram", "BPE", "word", "char"};
        return fail(m->f, EXIT_INPUT,
                    "%s: a SentencePiece model of kind %s is not supported, only BPE", m->name,
                    kinds[kind <= 4 ? kind : 0]);
    }
    if (code == EXIT_OK && !normalizer) {
        message defaults = {m->name, m->bytes, 0, 0, m->f};
        code = read_normalizer(&defaults, s);
    }
    return code ? code : refuse_repeated(m, s);
}

int sentencepiece_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, scored_pieces *s,
                        failure *f)
{
    message m = {name, bytes, 0, n_bytes, f};
    *s = (scored_pieces){.bos_id = 1, .eos_id = 2, .prefix = true};
    int code = read_model(&m, s);
    if (code == EXIT_OK && (s->bos_id >= (int32_t)s->n || s->eos_id >= (int32_t)s->n)) {
        code = fail(f, EXIT_INPUT, "%s: bos_id or eos_id is not a piece", name);
    }
    if (code != EXIT_OK) {
        scored_pieces_free(s);
    }
    return code;
}

void scored_pieces_free(scored_pieces *s)
{
    free(s->pieces);
    *s = (scored_pieces){0};
}
