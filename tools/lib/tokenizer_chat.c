/* tokenizer_chat.c - the chat template of tokenizer_config.json -> CHAT payload.
 *
 * Templates are programs in a template language; they are not run. The common families are told
 * apart by the markers that they write, and each has its turns described here.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/tokenizer_build.h"

/* Pieces of sequences: text in which names between U+0001 stand for control tokens. */
#define T(name) "\x01" name "\x01"
#define BOS T("bos")
#define EOS T("eos")

typedef struct chat_family {
    const char *name;
    const char *markers[3];                /* all must occur in the template */
    const char *sequences[CHAT_SEQUENCES]; /* BEGIN, NO_SYSTEM, GENERATE, prefixes, suffixes */
    uint32_t flags;
    bool always_bos; /* else BOS is written if the template mentions it */
    const char *end; /* of an assistant's turn; NULL: EOS */
} chat_family;

#define CHATML(role) T("<|im_start|>") role "\n"
#define LLAMA3(role) T("<|start_header_id|>") role T("<|end_header_id|>") "\n\n"
#define GEMMA(role) T("<start_of_turn>") role "\n"

static const chat_family families[] = {
    {.name = "ChatML",
     .markers = {"<|im_start|>", "<|im_end|>"},
     .sequences = {"", "", CHATML("assistant"), CHATML("system"), CHATML("user"),
                   CHATML("assistant"), T("<|im_end|>") "\n", T("<|im_end|>") "\n",
                   T("<|im_end|>") "\n"},
     .end = "<|im_end|>"},
    {.name = "Llama 3",
     .markers = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     .sequences = {"", "", LLAMA3("assistant"), LLAMA3("system"), LLAMA3("user"),
                   LLAMA3("assistant"), T("<|eot_id|>"), T("<|eot_id|>"), T("<|eot_id|>")},
     .end = "<|eot_id|>"},
    {.name = "Gemma",
     .markers = {"<start_of_turn>", "<end_of_turn>", "model"},
     .sequences = {"", "", GEMMA("model"), "", GEMMA("user"), GEMMA("model"), "\n\n",
                   T("<end_of_turn>") "\n", T("<end_of_turn>") "\n"},
     .flags = CHAT_SYSTEM_IN_USER,
     .end = "<end_of_turn>"},
    {.name = "Phi-3",
     .markers = {"<|user|>", "<|assistant|>", "<|end|>"},
     .sequences = {"", "", T("<|assistant|>") "\n", T("<|system|>") "\n", T("<|user|>") "\n",
                   T("<|assistant|>") "\n", T("<|end|>") "\n", T("<|end|>") "\n",
                   T("<|end|>") "\n"},
     .end = "<|end|>"},
    {.name = "Zephyr",
     .markers = {"<|user|>", "<|assistant|>", "eos_token"},
     .sequences = {"", "", T("<|assistant|>") "\n", T("<|system|>") "\n", T("<|user|>") "\n",
                   T("<|assistant|>") "\n", EOS "\n", EOS "\n", EOS "\n"}},
    {.name = "Llama 2",
     .markers = {"[INST]", "[/INST]", "<<SYS>>"},
     .sequences = {"", "", "", "<<SYS>>\n", BOS "[INST] ", " ", "\n<</SYS>>\n\n", " [/INST]",
                   " " EOS},
     .flags = CHAT_SYSTEM_IN_USER | CHAT_TRIM,
     .always_bos = true},
};

static const chat_family *find_family(const char *template)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        bool all = true;
        for (size_t k = 0; k < 3 && families[i].markers[k]; k++) {
            all = all && strstr(template, families[i].markers[k]);
        }
        if (all) {
            return &families[i];
        }
    }
    return NULL;
}

/* ---- Payload --------------------------------------------------------------------------------- */

typedef struct chat_out {
    const tokenizer_build *b;
    uint16_t first[CHAT_SEQUENCES], count[CHAT_SEQUENCES];
    uint32_t ids[CHAT_MAX_PIECES], lengths[CHAT_MAX_PIECES], n_pieces, n_text;
    char text[CHAT_MAX_TEXT];
    bool full;
} chat_out;

static void add_id(chat_out *o, uint32_t id)
{
    if (o->n_pieces == CHAT_MAX_PIECES) {
        o->full = true;
        return;
    }
    o->ids[o->n_pieces] = id;
    o->lengths[o->n_pieces++] = 0;
}

static void add_text(chat_out *o, const char *text, size_t n)
{
    if (n > CHAT_MAX_TEXT - o->n_text || o->n_pieces == CHAT_MAX_PIECES) {
        o->full = true;
        return;
    }
    memcpy(o->text + o->n_text, text, n);
    o->n_text += (uint32_t)n;
    o->ids[o->n_pieces] = BPE1_NO_ID;
    o->lengths[o->n_pieces++] = (uint32_t)n;
}

/* A marker is the control token of that name, or plain text if the vocabulary has none. */
static void add_marker(chat_out *o, const char *name, size_t n)
{
    char text[64];
    memcpy(text, name, n);
    text[n] = 0;
    int32_t id = strcmp(text, "bos") == 0   ? o->b->bos_id
                 : strcmp(text, "eos") == 0 ? o->b->eos_id
                                            : build_find(o->b, text);
    if (id >= 0) {
        add_id(o, (uint32_t)id);
    } else if (name[0] == '<') {
        add_text(o, text, n);
    }
}

static void add_sequence(chat_out *o, uint32_t which, const char *pieces)
{
    for (const char *p = pieces; *p;) {
        size_t n = strcspn(p, "\x01");
        if (n != 0) {
            add_text(o, p, n);
            p += n;
            continue;
        }
        n = strcspn(p + 1, "\x01");
        add_marker(o, p + 1, n);
        p += n + 2;
    }
    o->count[which] = (uint16_t)(o->n_pieces - o->first[which]);
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

/* ---- Template -------------------------------------------------------------------------------- */

/* ChatML templates often write a system turn of their own when the messages have none: a literal
 * that starts with the system marker and ends with the end marker, uninterrupted by code. */
static size_t default_system(const char *template, char *out, size_t capacity)
{
    static const char begin[] = "<|im_start|>system", end[] = "<|im_end|>";
    for (const char *at = template; (at = strstr(at, begin)) != NULL; at++) {
        const char *p = at + sizeof begin - 1;
        size_t n = 0;
        p += *p == '\n' ? 1 : strncmp(p, "\\n", 2) == 0 ? 2 : 0;
        while (*p && *p != '\'' && *p != '"' && *p != '{' && *p != '}' && n < capacity &&
               strncmp(p, end, sizeof end - 1) != 0) {
            bool line = strncmp(p, "\\n", 2) == 0;
            out[n++] = line ? '\n' : *p;
            p += line ? 2 : 1;
        }
        if (n != 0 && n < capacity && strncmp(p, end, sizeof end - 1) == 0) {
            return n;
        }
    }
    return 0;
}

/* The template's text: a string, or the entry "default" of a list of named ones. NULL: none. */
static const char *template_text(json_t *config)
{
    json_t *value = config ? json_in_get(config, "chat_template") : NULL;
    const char *found = json_string_value(value);
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *entry = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *text = json_string_value(json_object_get(entry, "template"));
        if (name && text && strcmp(name, "default") == 0) {
            found = text;
        }
    }
    return found;
}

static void warn_about(tokenizer_build *b, const char *template)
{
    if (strstr(template, "Cutting Knowledge Date")) {
        build_warn(b, "chat template: its lines about dates are left out");
    }
    if (strstr(template, "raise_exception")) {
        build_warn(b, "chat template: its checks of the order of roles are left out");
    }
}

int build_chat(tokenizer_build *b, json_t *config, uint8_t **chat, uint64_t *n_chat, failure *f)
{
    const char *template = template_text(config);
    const chat_family *family = template ? find_family(template) : NULL;
    chat_out o = {.b = b};
    char system[CHAT_MAX_TEXT];
    if (!family) {
        if (template) {
            build_warn(b, "the chat template is of no known family; no chat turns are written");
        }
        return EXIT_OK;
    }
    warn_about(b, template);
    bool trims =
        strstr(template, "| trim") || strstr(template, "|trim") || strstr(template, ".strip()");
    for (uint32_t i = 0; i < CHAT_SEQUENCES; i++) {
        o.first[i] = (uint16_t)o.n_pieces;
        if (i == CHAT_BEGIN && !family->always_bos && b->bos_id >= 0) {
            bool mentions = strstr(template, "bos_token") != NULL;
            add_sequence(&o, i, mentions ? BOS : "");
            continue;
        }
        size_t n = i == CHAT_NO_SYSTEM && strcmp(family->name, "ChatML") == 0
                       ? default_system(template, system, sizeof system)
                       : 0;
        if (n != 0) {
            add_sequence(&o, i, family->sequences[CHAT_PREFIX + SLM_ROLE_SYSTEM]);
            add_text(&o, system, n);
            add_sequence(&o, i, family->sequences[CHAT_SUFFIX + SLM_ROLE_SYSTEM]);
            continue;
        }
        add_sequence(&o, i, family->sequences[i]);
    }
    if (o.full) {
        build_warn(b, "the chat template's own text is too long; no chat turns are written");
        return EXIT_OK;
    }
    build_stop(b, family->end ? build_find(b, family->end) : b->eos_id);
    return write_chat(&o, family->flags | (trims ? CHAT_TRIM : 0u), chat, n_chat, f);
}
