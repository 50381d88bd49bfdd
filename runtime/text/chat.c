/* chat.c - messages -> token ids, by the turn format of a CHAT payload.
 *
 * Text of the format and of messages that stand side by side is encoded together, as if the whole
 * had been rendered to one string; but only the format's own control tokens come out as such,
 * unless the caller asks for those in messages too.
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

/* How texts of a kind (a role, or CHAT_TRIM_IN_USER) are trimmed. */
static uint32_t trim_of(const uint8_t *p, uint32_t kind)
{
    return load_u32(p + 4) >> (CHAT_TRIM_SHIFT + 4 * kind) & 15;
}

static bool flags_are_known(const uint8_t *p)
{
    uint32_t flags = load_u32(p + 4) & 0xffff;
    bool inside = flags & CHAT_SYSTEM_IN_USER, last = flags & CHAT_SYSTEM_LAST;
    bool good = flags <= CHAT_FLAGS_ALL && (inside || !last) &&
                !(inside && (flags & CHAT_NO_SYSTEM_TURN)) &&
                ((flags & CHAT_DROP_THOUGHT) || !(flags & CHAT_DROP_NEWLINES));
    for (uint32_t i = 0; i <= CHAT_TRIM_IN_USER; i++) {
        good = good && (trim_of(p, i) & 3) != 3 && trim_of(p, i) >> 2 != 3;
    }
    return good;
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
    uint32_t used = 0, once = 0, each = 0;
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
        *(i < CHAT_PREFIX ? &once : &each) += sequence_text(p, i);
    }
    /* sequences may share pieces; a turn must still fit the room that slm_chat_encode promises */
    return once <= CHAT_MAX_ONCE_TEXT && each <= CHAT_MAX_TURN_TEXT
               ? SLM_OK
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
    if (!flags_are_known(p) || load_u32(p + PIECES_AT - 4) != 0) {
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
    uint32_t encode_flags;
    uint8_t *text; /* what stands between two control tokens */
    size_t n_text;
} writer;

static void flush_text(writer *w)
{
    slm_encode_text(w->t, w->text, w->n_text, w->encode_flags, w->sink->n == 0, w->scratch,
                    w->sink);
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

typedef struct stretch {
    const uint8_t *text;
    size_t n;
} stretch;

/* Whether a character goes that has these bits, at the end of a text. */
static bool is_trimmed(uint32_t how, uint32_t bits, uint8_t byte)
{
    return how == CHAT_TRIM_SPACE ? (bits & CLASS_MASK) == CLASS_SPACE
                                  : how == CHAT_TRIM_NEWLINES && byte == '\n';
}

static stretch trimmed(const slm_tokenizer *t, stretch s, uint32_t trim)
{
    uint32_t length;
    size_t before;
    while ((trim & 3) && s.n > 0 &&
           is_trimmed(trim & 3, slm_unicode_at(&t->unicode, s.text, s.n, &length), s.text[0])) {
        s.text += length;
        s.n -= length;
    }
    while (trim >> 2 && s.n > 0 &&
           is_trimmed(trim >> 2, slm_bits_before(t, s.text, s.n, &before), s.text[s.n - 1])) {
        s.n = before;
    }
    return s;
}

/* What follows the last "</think>", if there is one. */
static stretch without_thought(stretch s, bool newlines)
{
    static const char mark[] = "</think>";
    size_t n_mark = sizeof mark - 1;
    for (size_t end = s.n; end >= n_mark; end--) {
        if (memcmp(s.text + end - n_mark, mark, n_mark) == 0) {
            s.text += end;
            s.n -= end;
            while (newlines && s.n > 0 && s.text[0] == '\n') {
                s.text++;
                s.n--;
            }
            break;
        }
    }
    return s;
}

static void add_message(writer *w, const slm_message *m, uint32_t trim)
{
    uint32_t flags = load_u32(w->chat + 4);
    stretch s = {(const uint8_t *)m->text, m->n_bytes};
    if (m->role == SLM_ROLE_ASSISTANT && (flags & CHAT_DROP_THOUGHT)) {
        s = without_thought(s, flags & CHAT_DROP_NEWLINES);
    }
    s = trimmed(w->t, s, trim_of(w->chat, trim));
    if (s.n != 0) {
        add_text(w, s.text, s.n);
    }
}

static void add_turn(writer *w, const slm_message *system, const slm_message *m)
{
    add_sequence(w, CHAT_PREFIX + (uint32_t)m->role);
    if (system) {
        add_sequence(w, CHAT_PREFIX + SLM_ROLE_SYSTEM);
        add_message(w, system, SLM_ROLE_SYSTEM);
        add_sequence(w, CHAT_SUFFIX + SLM_ROLE_SYSTEM);
    }
    add_message(w, m, system ? CHAT_TRIM_IN_USER : (uint32_t)m->role);
    add_sequence(w, CHAT_SUFFIX + (uint32_t)m->role);
}

static size_t last_user(const slm_message *messages, size_t n_messages)
{
    size_t last = 0;
    for (size_t i = 0; i < n_messages; i++) {
        last = messages[i].role == SLM_ROLE_USER ? i : last;
    }
    return last;
}

static void write_all(writer *w, const slm_message *messages, size_t n_messages, bool generate)
{
    uint32_t flags = load_u32(w->chat + 4);
    const slm_message *system = NULL; /* waits for a user turn */
    size_t last = flags & CHAT_SYSTEM_LAST ? last_user(messages, n_messages) : 0;
    add_sequence(w, CHAT_BEGIN);
    if (messages[0].role != SLM_ROLE_SYSTEM) {
        add_sequence(w, CHAT_NO_SYSTEM);
    }
    for (size_t i = 0; i < n_messages; i++) {
        const slm_message *m = &messages[i];
        bool takes = m->role == SLM_ROLE_USER && i >= last;
        if ((flags & CHAT_SYSTEM_IN_USER) && m->role == SLM_ROLE_SYSTEM) {
            system = m;
            continue;
        }
        add_turn(w, takes ? system : NULL, m);
        system = takes ? NULL : system;
    }
    if (generate) {
        add_sequence(w, CHAT_GENERATE);
    }
    flush_text(w);
}

/* Bytes of text that the messages may make: 512 more than their own, each, and 4096. */
static slm_status text_bytes(const slm_chat *chat, const slm_message *messages, size_t n_messages,
                             uint64_t *total, slm_error *error)
{
    bool no_system = load_u32(bytes_of(chat) + 4) & CHAT_NO_SYSTEM_TURN;
    *total = 4096;
    for (size_t i = 0; i < n_messages; i++) {
        if (no_system && messages[i].role == SLM_ROLE_SYSTEM) {
            return slm_fail(error, SLM_ERR_ARGUMENT, 0,
                            "the model's chat turns have no place for a system message; put its "
                            "text into the first user message");
        }
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
                          const slm_message *messages, size_t n_messages, uint32_t flags,
                          int32_t *ids, size_t capacity, size_t *n_ids, void *scratch,
                          size_t scratch_bytes, slm_error *error)
{
    uint64_t total;
    encode_scratch s = {0};
    id_sink sink = {ids, capacity, 0};
    slm_status status = text_bytes(chat, messages, n_messages, &total, error);
    if (status != SLM_OK) {
        return status;
    }
    if (flags > (SLM_CHAT_ANSWER | SLM_CHAT_CONTROL)) {
        return slm_fail(error, SLM_ERR_ARGUMENT, 0, "unknown flags %l", (uint64_t)flags);
    }
    if (!slm_scratch_carve(tokenizer, total, scratch, &s)) {
        return slm_fail(error, SLM_ERR_TOO_LARGE, 0, "the messages are too long");
    }
    if (s.n_bytes > scratch_bytes) {
        return slm_fail(error, SLM_ERR_MEMORY, 0, "the messages take %l bytes of scratch, not %l",
                        s.n_bytes, (uint64_t)scratch_bytes);
    }
    uint32_t encode_flags = flags & SLM_CHAT_CONTROL ? SLM_ENCODE_CONTROL : 0;
    writer w = {bytes_of(chat), tokenizer, &s, &sink, encode_flags, s.spare, 0};
    write_all(&w, messages, n_messages, flags & SLM_CHAT_ANSWER);
    *n_ids = sink.n;
    if (sink.n > capacity) {
        return slm_fail(error, SLM_ERR_BUFFER, 0, "the conversation has %l tokens, room is for %l",
                        (uint64_t)sink.n, (uint64_t)capacity);
    }
    return SLM_OK;
}
