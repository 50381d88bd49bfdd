/* chat.c - messages -> token ids, by the turn format of a CHAT payload.
 *
 * Text of the format and of messages that stand side by side is encoded together, as if the whole
 * had been rendered to one string; but only the format's own control tokens come out as such.
 */
#include "text/chat.h"

#include "base/status.h"
#include "text/tokenizer_state.h"

enum { SEQUENCES_AT = CHAT_HEADER_BYTES, PIECES_AT = SEQUENCES_AT + 4 * CHAT_SEQUENCES + 4 };

static const uint8_t *bytes_of(const slm_chat *chat)
{
    return (const uint8_t *)chat;
}

static uint32_t n_pieces_of(const uint8_t *p)
{
    return load_u32(p + 8);
}

static slm_status refuse(slm_error *error, uint64_t offset, const char *what)
{
    return slm_fail(error, SLM_ERR_CHAT, offset, "chat turns: %s", what);
}

/* Bytes of text in a sequence. */
static uint32_t sequence_text(const uint8_t *p, uint32_t sequence)
{
    uint32_t first = load_u16(p + SEQUENCES_AT + 4 * sequence), n = 0;
    uint32_t count = load_u16(p + SEQUENCES_AT + 4 * sequence + 2);
    for (uint32_t i = first; i < first + count; i++) {
        n += load_u32(p + PIECES_AT + 8 * (size_t)i + 4);
    }
    return n;
}

static slm_status check_pieces(const uint8_t *p, uint32_t n_pieces, uint32_t n_text,
                               const slm_tokenizer *t, slm_error *error)
{
    uint32_t used = 0, written = 0;
    for (uint32_t i = 0; i < n_pieces; i++) {
        const uint8_t *piece = p + PIECES_AT + 8 * (size_t)i;
        uint32_t id = load_u32(piece), n = load_u32(piece + 4);
        if (id != BPE1_NO_ID ? id >= t->n_tokens || n != 0 : n == 0 || n > n_text - used) {
            return refuse(error, PIECES_AT + 8 * (uint64_t)i, "a piece has a wrong id or length");
        }
        used += n;
    }
    if (used != n_text) {
        return refuse(error, 12, "the pieces do not use up the text");
    }
    for (uint32_t i = 0; i < CHAT_SEQUENCES; i++) {
        uint32_t first = load_u16(p + SEQUENCES_AT + 4 * i);
        uint32_t count = load_u16(p + SEQUENCES_AT + 4 * i + 2);
        if (first > n_pieces || count > n_pieces - first) {
            return refuse(error, SEQUENCES_AT + 4 * i, "a sequence goes beyond the pieces");
        }
        written += sequence_text(p, i);
    }
    /* sequences may share pieces; a turn must still fit the room that slm_chat_encode promises */
    return written <= CHAT_MAX_TEXT ? SLM_OK
                                    : refuse(error, SEQUENCES_AT, "the sequences are too long");
}

slm_status slm_chat_open(const slm_chat **chat, const void *payload, uint64_t n_bytes,
                         const slm_tokenizer *tokenizer, slm_error *error)
{
    const uint8_t *p = (const uint8_t *)payload;
    if (!tokenizer) {
        return refuse(error, 0, "there is no tokenizer to write them with");
    }
    if (n_bytes < PIECES_AT) {
        return refuse(error, n_bytes, "cut short");
    }
    uint32_t n_pieces = n_pieces_of(p), n_text = load_u32(p + 12);
    if (load_u32(p) != CHAT_VERSION) {
        return refuse(error, 0, "of a version that this build does not read");
    }
    if (load_u32(p + 4) > CHAT_FLAGS_ALL || load_u32(p + PIECES_AT - 4) != 0) {
        return refuse(error, 4, "unknown flags or reserved bits");
    }
    if (n_pieces > CHAT_MAX_PIECES || n_text > CHAT_MAX_TEXT) {
        return refuse(error, 8, "too many pieces or too much text");
    }
    uint64_t used = PIECES_AT + 8 * (uint64_t)n_pieces + n_text;
    if (n_bytes != ((used + 7) & ~(uint64_t)7)) {
        return refuse(error, n_bytes, "the length disagrees with the number of pieces");
    }
    for (uint64_t i = used; i < n_bytes; i++) {
        if (p[i] != 0) {
            return refuse(error, i, "padding is not zero");
        }
    }
    slm_status status = check_pieces(p, n_pieces, n_text, tokenizer, error);
    if (status == SLM_OK) {
        *chat = (const slm_chat *)payload;
    }
    return status;
}

/* ---- Writing --------------------------------------------------------------------------------- */

typedef struct writer {
    const uint8_t *chat;
    const slm_tokenizer *t;
    const encode_scratch *scratch;
    id_sink *sink;
    uint8_t *text; /* what stands between two control tokens */
    size_t n_text;
} writer;

static void flush_text(writer *w)
{
    slm_encode_text(w->t, w->text, w->n_text, 0, w->sink->n == 0, w->scratch, w->sink);
    w->n_text = 0;
}

static void add_text(writer *w, const uint8_t *text, size_t n)
{
    memcpy(w->text + w->n_text, text, n);
    w->n_text += n;
}

static void add_sequence(writer *w, uint32_t sequence)
{
    const uint8_t *pieces = w->chat + PIECES_AT;
    const uint8_t *text = pieces + 8 * (size_t)n_pieces_of(w->chat);
    uint32_t first = load_u16(w->chat + SEQUENCES_AT + 4 * sequence);
    uint32_t end = first + load_u16(w->chat + SEQUENCES_AT + 4 * sequence + 2);
    for (uint32_t i = 0; i < end; i++) {
        uint32_t id = load_u32(pieces + 8 * (size_t)i), n = load_u32(pieces + 8 * (size_t)i + 4);
        if (i >= first && id == BPE1_NO_ID) {
            add_text(w, text, n);
        } else if (i >= first) {
            flush_text(w);
            sink_put(w->sink, id);
        }
        text += n;
    }
}

static void add_message(writer *w, const slm_message *m)
{
    const uint8_t *text = (const uint8_t *)m->text;
    size_t n = m->n_bytes, before;
    uint32_t length;
    if (load_u32(w->chat + 4) & CHAT_TRIM) {
        while (n > 0 &&
               (slm_unicode_at(&w->t->unicode, text, n, &length) & CLASS_MASK) == CLASS_SPACE) {
            text += length;
            n -= length;
        }
        while (n > 0 && (slm_bits_before(w->t, text, n, &before) & CLASS_MASK) == CLASS_SPACE) {
            n = before;
        }
    }
    if (n != 0) {
        add_text(w, text, n);
    }
}

static void add_turn(writer *w, const slm_message *system, const slm_message *m)
{
    add_sequence(w, CHAT_PREFIX + (uint32_t)m->role);
    if (system) {
        add_sequence(w, CHAT_PREFIX + SLM_ROLE_SYSTEM);
        add_message(w, system);
        add_sequence(w, CHAT_SUFFIX + SLM_ROLE_SYSTEM);
    }
    add_message(w, m);
    add_sequence(w, CHAT_SUFFIX + (uint32_t)m->role);
}

static void write_all(writer *w, const slm_message *messages, size_t n_messages, bool generate)
{
    bool inside = load_u32(w->chat + 4) & CHAT_SYSTEM_IN_USER;
    const slm_message *system = NULL; /* waits for a user turn */
    add_sequence(w, CHAT_BEGIN);
    if (messages[0].role != SLM_ROLE_SYSTEM) {
        add_sequence(w, CHAT_NO_SYSTEM);
    }
    for (size_t i = 0; i < n_messages; i++) {
        const slm_message *m = &messages[i];
        bool is_user = m->role == SLM_ROLE_USER;
        if (inside && m->role == SLM_ROLE_SYSTEM) {
            system = m;
            continue;
        }
        add_turn(w, is_user ? system : NULL, m);
        system = is_user ? NULL : system;
    }
    if (generate) {
        add_sequence(w, CHAT_GENERATE);
    }
    flush_text(w);
}

/* Bytes of text that the messages may make: 512 more than their own, each. */
static slm_status text_bytes(const slm_message *messages, size_t n_messages, uint64_t *total,
                             slm_error *error)
{
    *total = 0;
    for (size_t i = 0; i < n_messages; i++) {
        if ((uint32_t)messages[i].role > SLM_ROLE_ASSISTANT) {
            return slm_fail(error, SLM_ERR_ARGUMENT, 0, "message %l has an unknown role",
                            (uint64_t)i);
        }
        if (!checked_add_u64(*total, (uint64_t)messages[i].n_bytes, total) ||
            !checked_add_u64(*total, 512, total)) {
            return slm_fail(error, SLM_ERR_TOO_LARGE, 0, "the messages are too long");
        }
    }
    return n_messages != 0 ? SLM_OK
                           : slm_fail(error, SLM_ERR_ARGUMENT, 0, "there is no message to write");
}

slm_status slm_chat_write(const slm_chat *chat, const slm_tokenizer *tokenizer,
                          const slm_message *messages, size_t n_messages, int add_generation_prompt,
                          int32_t *ids, size_t capacity, size_t *n_ids, void *scratch,
                          size_t scratch_bytes, slm_error *error)
{
    uint64_t total;
    encode_scratch s = {0};
    id_sink sink = {ids, capacity, 0};
    slm_status status = text_bytes(messages, n_messages, &total, error);
    if (status != SLM_OK) {
        return status;
    }
    if (!slm_scratch_carve(tokenizer, total, scratch, &s)) {
        return slm_fail(error, SLM_ERR_TOO_LARGE, 0, "the messages are too long");
    }
    if (s.n_bytes > scratch_bytes) {
        return slm_fail(error, SLM_ERR_MEMORY, 0, "the messages take %l bytes of scratch, not %l",
                        s.n_bytes, (uint64_t)scratch_bytes);
    }
    writer w = {bytes_of(chat), tokenizer, &s, &sink, s.spare, 0};
    write_all(&w, messages, n_messages, add_generation_prompt != 0);
    *n_ids = sink.n;
    if (sink.n > capacity) {
        return slm_fail(error, SLM_ERR_BUFFER, 0, "the conversation has %l tokens, room is for %l",
                        (uint64_t)sink.n, (uint64_t)capacity);
    }
    return SLM_OK;
}
