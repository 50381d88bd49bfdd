/* tokenizer_chat.c - the chat template of tokenizer_config.json -> CHAT payload.
 *
 * chat_template.c finds the turns; here they become pieces, and the payload is proved: the runtime
 * must make of sample conversations the ids that tokenizing the template's own text gives.
 */
#include "lib/tokenizer_chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "text/chat.h"
#include "text/tokenizer.h"

/* ---- Payload --------------------------------------------------------------------------------- */

typedef struct chat_out {
    const tokenizer_build *b;
    uint16_t first[CHAT_SEQUENCES], count[CHAT_SEQUENCES];
    uint32_t ids[CHAT_MAX_PIECES], lengths[CHAT_MAX_PIECES], n_pieces, n_text;
    char text[CHAT_MAX_TEXT];
    bool full;
} chat_out;

static void add_piece(chat_out *o, uint32_t id, uint32_t length)
{
    if (o->n_pieces == CHAT_MAX_PIECES) {
        o->full = true;
        return;
    }
    o->ids[o->n_pieces] = id;
    o->lengths[o->n_pieces++] = length;
}

/* A byte of text, which joins the piece of text before it in its sequence. */
static void add_byte(chat_out *o, uint32_t first, char byte)
{
    if (o->n_text == CHAT_MAX_TEXT) {
        o->full = true;
        return;
    }
    if (o->n_pieces == first || o->ids[o->n_pieces - 1] != BPE1_NO_ID) {
        add_piece(o, BPE1_NO_ID, 0);
    }
    o->text[o->n_text++] = byte;
    o->lengths[o->n_pieces - 1]++;
}

/* Whether a control token swallows the white space behind it when text is tokenized. */
static bool swallows(const tokenizer_build *b, uint32_t id)
{
    for (uint32_t i = 0; i < b->n_added; i++) {
        if (b->added[i].id == id) {
            return b->added[i].flags & ADDED_RSTRIP;
        }
    }
    return false;
}

/* Whether the sequence ends in a token that swallows what follows. */
static bool add_sequence(chat_out *o, uint32_t which, chat_marks marks)
{
    bool swallowing = false;
    o->first[which] = (uint16_t)o->n_pieces;
    for (size_t i = 0; i < marks.n && !o->full; i++) {
        uint32_t mark = marks.items[i];
        if (mark >= 256) {
            add_piece(o, mark - 256, 0);
            swallowing = swallows(o->b, mark - 256);
        } else if (!swallowing || !strchr(" \t\n\r\v\f", (int)mark)) {
            add_byte(o, o->first[which], (char)mark);
            swallowing = false;
        }
    }
    o->count[which] = (uint16_t)(o->n_pieces - o->first[which]);
    return swallowing;
}

static int write_chat(const chat_out *o, uint32_t flags, uint8_t **chat, uint64_t *n_chat,
                      failure *f)
{
    size_t head = CHAT_HEADER_BYTES + 4 * CHAT_SEQUENCES + 4;
    size_t n = (head + 8 * (size_t)o->n_pieces + o->n_text + 7) & ~(size_t)7;
    uint8_t *p = (uint8_t *)calloc(1, n);
    if (!p) {
        return fail(f, EXIT_RESOURCE, "no memory for the chat turns");
    }
    store_u32(p, CHAT_VERSION);
    store_u32(p + 4, flags);
    store_u32(p + 8, o->n_pieces);
    store_u32(p + 12, o->n_text);
    for (size_t i = 0; i < CHAT_SEQUENCES; i++) {
        store_u16(p + CHAT_HEADER_BYTES + 4 * i, o->first[i]);
        store_u16(p + CHAT_HEADER_BYTES + 4 * i + 2, o->count[i]);
    }
    for (size_t i = 0; i < o->n_pieces; i++) {
        store_u32(p + head + 8 * i, o->ids[i]);
        store_u32(p + head + 8 * i + 4, o->lengths[i]);
    }
    memcpy(p + head + 8 * (size_t)o->n_pieces, o->text, o->n_text);
    *chat = p;
    *n_chat = n;
    return EXIT_OK;
}

/* Turns -> payload; *chat stays NULL if they do not fit. */
static int make_payload(tokenizer_build *b, const chat_turns *turns, uint8_t **chat,
                        uint64_t *n_chat, failure *f)
{
    chat_out *o = (chat_out *)calloc(1, sizeof *o);
    uint32_t flags = turns->flags;
    if (!o) {
        return fail(f, EXIT_RESOURCE, "no memory for the chat turns");
    }
    o->b = b;
    bool swallows_next[CHAT_SEQUENCES];
    for (uint32_t i = 0; i < CHAT_SEQUENCES; i++) {
        swallows_next[i] = add_sequence(o, i, turns->sequences[i]);
    }
    /* What a message begins with is then swallowed too. An answer may follow a user's turn at once:
     * that has its prefix at its end. */
    for (uint32_t i = CHAT_PREFIX; i < CHAT_SUFFIX; i++) {
        bool answer = i == CHAT_PREFIX + SLM_ROLE_ASSISTANT && o->count[i] == 0;
        if (swallows_next[i] || (answer && swallows_next[CHAT_SUFFIX + SLM_ROLE_USER])) {
            uint32_t shift = CHAT_TRIM_SHIFT + 4 * (i - CHAT_PREFIX);
            flags = (flags & ~(3u << shift)) | (uint32_t)CHAT_TRIM_SPACE << shift;
        }
    }
    int code = o->full ? EXIT_OK : write_chat(o, flags, chat, n_chat, f);
    free(o);
    return code;
}

/* ---- Template -------------------------------------------------------------------------------- */

/* The template's text: a string, or the entry "default" of a list of named ones. NULL: none. */
static json_t *template_value(tokenizer_build *b, json_t *config)
{
    json_t *value = config ? json_in_get(config, "chat_template") : NULL, *found = NULL;
    if (json_is_string(value)) {
        return value;
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *entry = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        json_t *text = json_object_get(entry, "template");
        if (name && json_is_string(text) && strcmp(name, "default") == 0) {
            found = text;
        }
    }
    if (value && !found) {
        build_warn(b, json_is_array(value) && json_array_size(value) != 0
                          ? "none of the chat templates is named \"default\"; none is used"
                          : "chat_template is neither a text nor a list of named texts");
    }
    return found;
}

/* A token of tokenizer_config.json: its text, or an object that has it. */
static const char *token_text(json_t *value)
{
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

static int set_token(json_t *globals, const tokenizer_build *b, json_t *config, const char *key,
                     int32_t id)
{
    const char *text = config ? token_text(json_object_get(config, key)) : NULL;
    if (text) {
        return json_object_set_new(globals, key, json_string(text));
    }
    if (id < 0) {
        return 0;
    }
    for (uint32_t i = 0; i < b->n_added; i++) {
        if (b->added[i].id == (uint32_t)id) {
            return json_object_set_new(globals, key, json_string(b->added[i].content));
        }
    }
    const build_token *t = &b->tokens[id];
    return json_object_set_new(globals, key, json_stringn((const char *)t->bytes, t->n_bytes));
}

/* What a template may look at besides the messages. */
static json_t *make_globals(const tokenizer_build *b, json_t *config)
{
    static const char *const others[] = {"unk_token", "pad_token", "sep_token", "cls_token"};
    json_t *globals = json_pack("{s:n,s:n}", "tools", "documents");
    int failed = !globals || set_token(globals, b, config, "bos_token", b->bos_id) ||
                 set_token(globals, b, config, "eos_token", b->eos_id);
    for (size_t i = 0; !failed && i < sizeof others / sizeof others[0]; i++) {
        failed = set_token(globals, b, config, others[i], -1);
    }
    if (failed) {
        json_decref(globals);
        return NULL;
    }
    return globals;
}

/* The control token that ends an answer, or EOS. */
static int32_t end_of_answer(const tokenizer_build *b, const chat_turns *turns)
{
    chat_marks s = turns->sequences[CHAT_SUFFIX + SLM_ROLE_ASSISTANT];
    size_t i = 0;
    while (i < s.n && (s.items[i] == ' ' || s.items[i] == '\n')) {
        i++;
    }
    return i < s.n && s.items[i] >= 256 ? (int32_t)(s.items[i] - 256) : b->eos_id;
}

static void no_turns(chat_build *c, const char *why)
{
    build_warn(c->b,
               "the chat template is kept as text, without chat turns: %s; slm-run --chat will not "
               "work",
               why);
}

int chat_begin(chat_build *c, tokenizer_build *b, json_t *config, failure *f)
{
    char why[CHAT_WHY] = "";
    json_t *value = template_value(b, config);
    memset(c, 0, sizeof *c);
    c->b = b;
    if (!value) {
        return EXIT_OK;
    }
    c->text = json_string_value(value);
    c->n_text = json_string_length(value);
    if (c->n_text > CHAT_MAX_TEMPLATE || c->n_text == 0 || memchr(c->text, 0, c->n_text)) {
        build_warn(b, "the chat template is empty, longer than 1 MiB or has a NUL; it is left out");
        c->text = NULL;
        return EXIT_OK;
    }
    json_t *globals = make_globals(b, config);
    int code = globals ? chat_template_open(&c->template, b, c->text, c->n_text, globals, why, f)
                       : fail(f, EXIT_RESOURCE, "no memory for the chat template");
    json_decref(globals);
    if (code == EXIT_OK) {
        code = c->template ? chat_template_turns(c->template, &c->turns, why, f) : EXIT_CHECK;
    }
    if (code == EXIT_CHECK) {
        chat_template_close(&c->template);
        no_turns(c, why);
        return EXIT_OK;
    }
    build_stop(b, code == EXIT_OK ? end_of_answer(b, &c->turns) : -1);
    return code;
}

/* ---- Proof ----------------------------------------------------------------------------------- */

typedef struct proof {
    slm_tokenizer *tokenizer;
    const slm_chat *chat;
    void *memory;
    int32_t *ids[2];
    void *scratch;
    size_t capacity, scratch_bytes;
} proof;

static int proof_room(proof *p, const chat_sample *s, failure *f)
{
    size_t n = s->n_text + 4096;
    for (size_t i = 0; i < s->n_messages; i++) {
        n += s->messages[i].n_bytes + 512;
    }
    p->capacity = 3 * n + 8;
    p->scratch_bytes = slm_encode_scratch_bytes(p->tokenizer, n);
    p->ids[0] = (int32_t *)malloc(p->capacity * sizeof **p->ids);
    p->ids[1] = (int32_t *)malloc(p->capacity * sizeof **p->ids);
    if (!p->ids[0] || !p->ids[1] || posix_memalign(&p->scratch, 64, p->scratch_bytes) != 0) {
        p->scratch = NULL;
        return fail(f, EXIT_RESOURCE, "no memory for the chat turns");
    }
    return EXIT_OK;
}

static int same_ids(proof *p, const chat_sample *s, bool *same, failure *f)
{
    size_t n[2] = {0, 0};
    slm_error error = {0};
    int code = proof_room(p, s, f);
    if (code == EXIT_OK) {
        slm_status status =
            slm_encode(p->tokenizer, s->text, s->n_text, SLM_ENCODE_CONTROL, p->ids[0], p->capacity,
                       &n[0], p->scratch, p->scratch_bytes, &error);
        if (status == SLM_OK) {
            status =
                slm_chat_write(p->chat, p->tokenizer, s->messages, s->n_messages, SLM_CHAT_ANSWER,
                               p->ids[1], p->capacity, &n[1], p->scratch, p->scratch_bytes, &error);
        }
        *same = status == SLM_OK && n[0] == n[1] &&
                memcmp(p->ids[0], p->ids[1], n[0] * sizeof **p->ids) == 0;
    }
    free(p->ids[0]);
    free(p->ids[1]);
    free(p->scratch);
    p->ids[0] = p->ids[1] = NULL;
    p->scratch = NULL;
    return code;
}

/* EXIT_CHECK: the ids differ. */
static int prove(chat_build *c, proof *p, char *why, failure *f)
{
    bool has_system = !(c->turns.flags & CHAT_NO_SYSTEM_TURN);
    for (uint32_t i = 0; i < chat_template_n_samples(c->template); i++) {
        chat_sample s;
        bool same = true;
        int code = chat_template_sample(c->template, i, has_system, &s, why, f);
        if (code == EXIT_OK && s.n_messages != 0) {
            code = same_ids(p, &s, &same, f);
        }
        if (code != EXIT_OK || !same) {
            snprintf(why, CHAT_WHY, "its text tokenizes otherwise than turns do");
            return code ? code : EXIT_CHECK;
        }
    }
    return EXIT_OK;
}

static int open_proof(proof *p, const tokenizer_payload *payload, failure *f)
{
    slm_error error = {0};
    slm_arena arena = arena_measure();
    slm_status status =
        slm_tokenizer_open(&p->tokenizer, &arena, payload->tokenizer, payload->n_tokenizer, &error);
    if (status == SLM_OK) {
        if (posix_memalign(&p->memory, 64, arena.used) != 0) {
            p->memory = NULL;
            return fail(f, EXIT_RESOURCE, "no memory for the chat turns");
        }
        arena = arena_over(p->memory, arena.used);
        status = slm_tokenizer_open(&p->tokenizer, &arena, payload->tokenizer, payload->n_tokenizer,
                                    &error);
    }
    if (status == SLM_OK) {
        status = slm_chat_open(&p->chat, payload->chat, payload->n_chat, p->tokenizer, &error);
    }
    return status == SLM_OK ? EXIT_OK : fail_status(f, "chat turns", &error);
}

/* payload->chat stays if it proves right. */
static int make_turns(chat_build *c, tokenizer_payload *payload, failure *f)
{
    char why[CHAT_WHY] = "its own text is too long";
    proof p = {0};
    int code = make_payload(c->b, &c->turns, &payload->chat, &payload->n_chat, f);
    if (code == EXIT_OK && payload->chat) {
        code = open_proof(&p, payload, f);
        code = code ? code : prove(c, &p, why, f);
        free(p.memory);
    }
    if (code != EXIT_OK) {
        free(payload->chat);
        payload->chat = NULL;
        payload->n_chat = 0;
    }
    if (code == EXIT_CHECK || (code == EXIT_OK && !payload->chat)) {
        no_turns(c, why);
        return EXIT_OK;
    }
    if (code == EXIT_OK && c->turns.writes_date) {
        build_warn(c->b, "the chat template writes the day's date; the chat turns always write "
                         "that of 26 July 2024");
    }
    if (code == EXIT_OK && c->turns.missing[0] != 0) {
        build_warn(c->b, "the chat template writes %s, which there is none of", c->turns.missing);
    }
    if (code == EXIT_OK && (c->turns.flags & CHAT_NO_SYSTEM_TURN)) {
        build_warn(c->b, "the chat template has no place for a system message");
    }
    return code;
}

int chat_finish(chat_build *c, tokenizer_payload *payload, failure *f)
{
    int code = c->template ? make_turns(c, payload, f) : EXIT_OK;
    if (code != EXIT_OK || !c->text) {
        return code;
    }
    payload->chat_text = (char *)malloc(c->n_text);
    if (!payload->chat_text) {
        return fail(f, EXIT_RESOURCE, "no memory for the chat template");
    }
    memcpy(payload->chat_text, c->text, c->n_text);
    payload->n_chat_text = c->n_text;
    return EXIT_OK;
}

void chat_end(chat_build *c)
{
    chat_template_close(&c->template);
}
