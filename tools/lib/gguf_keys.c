/* gguf_keys.c - see gguf_keys.h. */
#include "lib/gguf_keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/half.h"
#include "lib/gguf_pre.h"
#include "lib/tokenizer_view.h"
#include "text/tokenizer.h"
#include "text/tokenizer_state.h"

enum { PRE_NAME = 32 };

void gguf_put(gguf_keys *k, const void *bytes, uint64_t n_bytes)
{
    if (n_bytes > k->room - k->n_bytes) {
        uint64_t room = 2 * (k->n_bytes + n_bytes) + 4096;
        uint8_t *grown = realloc(k->bytes, (size_t)room);
        if (!grown) {
            k->failed = true;
            return;
        }
        k->bytes = grown;
        k->room = room;
    }
    if (n_bytes != 0) {
        memcpy(k->bytes + k->n_bytes, bytes, (size_t)n_bytes);
    }
    k->n_bytes += n_bytes;
}

void gguf_put_u32(gguf_keys *k, uint32_t value)
{
    uint8_t bytes[4];
    store_u32(bytes, value);
    gguf_put(k, bytes, 4);
}

void gguf_put_u64(gguf_keys *k, uint64_t value)
{
    uint8_t bytes[8];
    store_u64(bytes, value);
    gguf_put(k, bytes, 8);
}

void gguf_put_string(gguf_keys *k, const void *text, uint64_t n_bytes)
{
    gguf_put_u64(k, n_bytes);
    gguf_put(k, text, n_bytes);
}

static void put_key(gguf_keys *k, const char *key, gguf_value_type type)
{
    gguf_put_string(k, key, strlen(key));
    gguf_put_u32(k, type);
    k->n_pairs++;
}

void gguf_key_u32(gguf_keys *k, const char *key, uint32_t value)
{
    put_key(k, key, GGUF_U32);
    gguf_put_u32(k, value);
}

void gguf_key_f32(gguf_keys *k, const char *key, float value)
{
    put_key(k, key, GGUF_F32);
    gguf_put_u32(k, f32_bits(value));
}

void gguf_key_bool(gguf_keys *k, const char *key, bool value)
{
    uint8_t byte = value;
    put_key(k, key, GGUF_BOOL);
    gguf_put(k, &byte, 1);
}

void gguf_key_string(gguf_keys *k, const char *key, const char *value)
{
    put_key(k, key, GGUF_STRING);
    gguf_put_string(k, value, strlen(value));
}

void gguf_key_array(gguf_keys *k, const char *key, gguf_value_type element, uint64_t n)
{
    put_key(k, key, GGUF_ARRAY);
    gguf_put_u32(k, element);
    gguf_put_u64(k, n);
}

void gguf_keys_free(gguf_keys *k)
{
    free(k->bytes);
    memset(k, 0, sizeof *k);
}

/* ---- Configuration --------------------------------------------------------------------------- */

typedef struct prefixed {
    char text[128];
} prefixed;

static prefixed under(const gguf_family *family, const char *ending)
{
    prefixed key;
    snprintf(key.text, sizeof key.text, "%s.%s", family->name, ending);
    return key;
}

static void put_sizes(gguf_keys *k, const gguf_family *fam, const slm_config *c)
{
    const struct {
        const char *ending;
        uint32_t value;
    } sizes[] = {{"context_length", c->n_context},
                 {"embedding_length", c->d_model},
                 {"block_count", c->n_layers},
                 {"feed_forward_length", c->d_ff},
                 {"attention.head_count", c->n_heads},
                 {"attention.head_count_kv", c->n_kv_heads},
                 {"attention.key_length", c->head_dim},
                 {"attention.value_length", c->head_dim},
                 {"vocab_size", c->n_vocab}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        gguf_key_u32(k, under(fam, sizes[i].ending).text, sizes[i].value);
    }
    const char *eps = c->norm_kind == SLM_NORM_LAYER ? "attention.layer_norm_epsilon"
                                                     : "attention.layer_norm_rms_epsilon";
    gguf_key_f32(k, under(fam, eps).text, c->norm_eps);
    if (!c->learned_positions) {
        gguf_key_u32(k, under(fam, "rope.dimension_count").text,
                     c->rope_dim ? c->rope_dim : c->head_dim);
        gguf_key_f32(k, under(fam, "rope.freq_base").text, c->rope_theta);
    }
    if (c->rope_scaling == SLM_ROPE_SCALING_LINEAR) {
        gguf_key_string(k, under(fam, "rope.scaling.type").text, "linear");
        gguf_key_f32(k, under(fam, "rope.scaling.factor").text, c->rope_factor);
    }
}

void gguf_keys_config(gguf_keys *k, const gguf_family *fam, const slm_config *c)
{
    gguf_key_string(k, "general.architecture", fam->name);
    gguf_key_string(k, "general.type", "model");
    gguf_key_u32(k, "general.quantization_version", 2);
    put_sizes(k, fam, c);
    if (c->window != 0 || fam->full_period != 0) {
        gguf_key_u32(k, under(fam, "attention.sliding_window").text,
                     c->window ? c->window : c->n_context);
    }
    if (c->rope_local_theta > 0) {
        gguf_key_f32(k, under(fam, "rope.freq_base_swa").text, c->rope_local_theta);
    }
    if (fam->scale_keys) {
        gguf_key_f32(k, under(fam, "embedding_scale").text, c->embedding_scale);
        gguf_key_f32(k, under(fam, "residual_scale").text, c->residual_scale);
        gguf_key_f32(k, under(fam, "logit_scale").text, 1 / c->logit_scale);
        if (c->attention_scale > 0) {
            gguf_key_f32(k, under(fam, "attention.scale").text, c->attention_scale);
        }
    }
    if (fam->root_embedding && c->attention_softcap > 0) {
        gguf_key_f32(k, under(fam, "attn_logit_softcapping").text, c->attention_softcap);
    }
    if (fam->root_embedding && c->logit_softcap > 0) {
        gguf_key_f32(k, under(fam, "final_logit_softcapping").text, c->logit_softcap);
    }
}

/* ---- Tokenizer ------------------------------------------------------------------------------- */

/* Bytes as the characters of the byte-level alphabet. Returns the length; out: 2 n bytes. */
static uint32_t to_alphabet(const uint8_t *bytes, uint32_t n, uint8_t *out)
{
    uint32_t used = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t b = bytes[i], c = b;
        if (b < 33) {
            c = 256 + b;
        } else if (b >= 127 && b <= 160) {
            c = 256 + b - 127 + 33;
        } else if (b == 173) {
            c = 256 + 67;
        }
        if (c < 0x80) {
            out[used++] = (uint8_t)c;
        } else {
            out[used++] = (uint8_t)(0xc0 | c >> 6);
            out[used++] = (uint8_t)(0x80 | (c & 0x3f));
        }
    }
    return used;
}

typedef struct exporting {
    gguf_keys *k;
    const slm_tokenizer *t;
    const slm_config *c;
    uint8_t text[2 * 65536], pair[4 * 65536 + 1];
} exporting;

/* A token as GGUF writes it, into e->text. */
static uint32_t token_text_of(exporting *e, uint32_t id)
{
    uint32_t n, kind = e->t->kinds[id] & TOKEN_KIND_MASK;
    const uint8_t *bytes = token_text(e->t, id, &n);
    if (kind == TOKEN_BYTE) {
        return (uint32_t)snprintf((char *)e->text, 8, "<0x%02X>", bytes[0]);
    }
    if (kind == TOKEN_UNUSED) {
        return (uint32_t)snprintf((char *)e->text, 32, "[PAD%u]", id);
    }
    if ((e->t->flags & TOK_BYTE_LEVEL) && (e->t->kinds[id] & TOKEN_MERGES)) {
        return to_alphabet(bytes, n, e->text);
    }
    memcpy(e->text, bytes, n);
    return n;
}

static void put_tokens(exporting *e)
{
    static const uint8_t types[8] = {[TOKEN_UNUSED] = 5,
                                     [TOKEN_NORMAL] = 1,
                                     [TOKEN_BYTE] = 6,
                                     [TOKEN_ADDED] = 4,
                                     [TOKEN_CONTROL] = 3};
    gguf_key_array(e->k, "tokenizer.ggml.tokens", GGUF_STRING, e->c->n_vocab);
    for (uint32_t i = 0; i < e->c->n_vocab; i++) {
        uint32_t n = i < e->t->n_tokens ? token_text_of(e, i)
                                        : (uint32_t)snprintf((char *)e->text, 32, "[PAD%u]", i);
        gguf_put_string(e->k, e->text, n);
    }
    gguf_key_array(e->k, "tokenizer.ggml.token_type", GGUF_I32, e->c->n_vocab);
    for (uint32_t i = 0; i < e->c->n_vocab; i++) {
        uint32_t type = i < e->t->n_tokens ? types[e->t->kinds[i] & TOKEN_KIND_MASK] : 5;
        gguf_put_u32(e->k, (int32_t)i == e->t->unk_id ? 2 : type);
    }
}

static void put_merges(exporting *e)
{
    gguf_key_array(e->k, "tokenizer.ggml.merges", GGUF_STRING, e->t->n_merges);
    for (uint32_t i = 0; i < e->t->n_merges; i++) {
        uint32_t ids[2];
        merge_ids(e->t, i, &ids[0], &ids[1]);
        uint32_t n = token_text_of(e, ids[0]);
        memcpy(e->pair, e->text, n);
        e->pair[n++] = ' ';
        uint32_t m = token_text_of(e, ids[1]);
        memcpy(e->pair + n, e->text, m);
        gguf_put_string(e->k, e->pair, n + m);
    }
}

/* A piece's score is minus the rank of the first merge that makes it: the order of merging. False
 * if the merges of a piece are not neighbours, which no order of pieces can say. */
static bool put_scores(exporting *e)
{
    float *scores = calloc(e->c->n_vocab, sizeof *scores);
    uint32_t previous = UINT32_MAX;
    bool exact = true;
    if (!scores) {
        e->k->failed = true;
        return true;
    }
    for (uint32_t i = 0; i < e->t->n_merges; i++) {
        uint32_t left, right;
        merge_ids(e->t, i, &left, &right);
        const merge_slot *made = merge_find(e->t, left, right);
        uint32_t id = made ? made->result : UINT32_MAX;
        if (id < e->c->n_vocab && id != previous) {
            float score = -(float)(made->rank + 1);
            exact = exact && (!(scores[id] < 0) || !(scores[id] > score));
            scores[id] = scores[id] < 0 ? scores[id] : score;
        }
        previous = id;
    }
    gguf_key_array(e->k, "tokenizer.ggml.scores", GGUF_F32, e->c->n_vocab);
    for (uint32_t i = 0; i < e->c->n_vocab; i++) {
        gguf_put_u32(e->k, f32_bits(scores[i]));
    }
    free(scores);
    return exact;
}

/* What is told of a pre-tokenizer, and whether its name says that text is brought into form C. */
typedef struct pre_words {
    char name[PRE_NAME]; /* "": there is none */
    bool nfc;
} pre_words;

/* The first name of a compiled pre-tokenizer's kind. */
static int name_program(const uint8_t *payload, bool direct, pre_words *words, failure *f)
{
    const pre_kind *kind = NULL;
    tokenizer_view v;
    int code = tokenizer_view_open(&v, payload, f);
    code = code ? code : gguf_pre_of_program(v.program, v.n_program, &kind, f);
    tokenizer_view_close(&v);
    size_t n = kind ? strcspn(kind->names + 1, " ") : 0;
    if (n < PRE_NAME && kind && (direct || !kind->ignore_merges)) {
        memcpy(words->name, kind->names + 1, n);
        words->name[n] = 0;
        words->nfc = kind->nfc;
    }
    return code;
}

/* What tokenizer.ggml.pre says. */
static int pre_name(const slm_tokenizer *t, const uint8_t *payload, pre_words *words, failure *f)
{
    bool direct = true; /* every token at once: ignore_merges */
    for (uint32_t i = 0; i < t->n_tokens; i++) {
        direct = direct && (!(t->kinds[i] & TOKEN_MERGES) || (t->kinds[i] & TOKEN_DIRECT));
    }
    const char *known = t->pre == PRE_GPT2     ? "gpt-2"
                        : t->pre == PRE_LLAMA3 ? (direct ? "llama-bpe" : "dbrx")
                        : t->pre == PRE_QWEN2  ? (t->flags & TOK_NFC ? "qwen2" : "hunyuan")
                        : t->pre == PRE_DIGITS ? "smollm"
                                               : "";
    memcpy(words->name, known, strlen(known) + 1);
    words->nfc = t->pre == PRE_QWEN2;
    return t->pre == PRE_PROGRAM ? name_program(payload, direct, words, f) : EXIT_OK;
}

/* Tells of what GGUF has no words for: whoever reads the file does it otherwise. */
static void note_lost(const exporting *e, const char *path, bool spm, const pre_words *words,
                      notes *w)
{
    const slm_tokenizer *t = e->t;
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->added[0].n + t->added[1].n; i++) {
        const added_table *a = &t->added[i >= t->added[0].n];
        uint32_t at = i >= t->added[0].n ? i - t->added[0].n : i;
        n += (load_u16(a->entries + 8 * (size_t)at + 6) & ~(uint32_t)ADDED_CONTROL) != 0;
    }
    if (n != 0) {
        note(w,
             "%s: %u added tokens take white space or do not stand inside words, which GGUF cannot "
             "say",
             path, n);
    }
    if (t->flags & TOK_NFC && !words->nfc) {
        note(w, "%s: text is brought into normalization form C first, which GGUF cannot say", path);
    }
    if (spm && t->prefix > PREFIX_ALWAYS) {
        note(w,
             "%s: U+2581 is put before fewer pieces of text than readers of GGUF do: before those "
             "that %s",
             path,
             t->prefix == PREFIX_FIRST ? "begin the text" : "do not begin with a space themselves");
    }
    if (spm && !(t->flags & TOK_BYTE_FALLBACK)) {
        note(w, "%s: there are no byte tokens: llama.cpp gives up at a character without a token",
             path);
    }
}

static int put_kind(exporting *e, const char *path, const uint8_t *payload, notes *w, failure *f)
{
    const slm_tokenizer *t = e->t;
    bool spm = (t->flags & TOK_MARK_SPACES) && t->pre == PRE_NONE;
    pre_words pre = {0};
    int code = t->flags & TOK_BYTE_LEVEL ? pre_name(t, payload, &pre, f) : EXIT_OK;
    if (code != EXIT_OK) {
        return code;
    }
    if (!spm && t->prefix != PREFIX_NONE) {
        return fail(f, EXIT_INPUT,
                    "%s: its tokenizer puts a space before a text, which GGUF cannot say; "
                    "--no-tokenizer writes the weights alone",
                    path);
    }
    if (!spm && !pre.name[0]) {
        return fail(f, EXIT_INPUT,
                    "%s: GGUF has no name for this kind of tokenizer; --no-tokenizer writes the "
                    "weights alone",
                    path);
    }
    gguf_key_string(e->k, "tokenizer.ggml.model", spm ? "llama" : "gpt2");
    gguf_key_string(e->k, "tokenizer.ggml.pre", spm ? "default" : pre.name);
    note_lost(e, path, spm, &pre, w);
    put_tokens(e);
    if (spm) {
        gguf_key_bool(e->k, "tokenizer.ggml.add_space_prefix", t->prefix != PREFIX_NONE);
        if (!put_scores(e)) {
            note(w,
                 "%s: the order of merges is not one of pieces: llama.cpp may cut text otherwise",
                 path);
        }
    } else {
        put_merges(e);
    }
    gguf_key_bool(e->k, "tokenizer.ggml.add_bos_token", (t->flags & TOK_ADD_BOS) != 0);
    gguf_key_bool(e->k, "tokenizer.ggml.add_eos_token", (t->flags & TOK_ADD_EOS) != 0);
    if (t->unk_id >= 0) {
        gguf_key_u32(e->k, "tokenizer.ggml.unknown_token_id", (uint32_t)t->unk_id);
    }
    return EXIT_OK;
}

int gguf_keys_tokenizer(gguf_keys *k, const char *path, const void *payload, uint64_t n_payload,
                        const slm_config *c, notes *w, failure *f)
{
    slm_tokenizer *t = NULL;
    slm_error error = {0};
    slm_arena arena = arena_measure();
    void *memory = NULL;
    slm_status status = slm_tokenizer_open(&t, &arena, payload, n_payload, &error);
    exporting *e = malloc(sizeof *e);
    if (!e || (status == SLM_OK && posix_memalign(&memory, 64, (size_t)arena.used) != 0)) {
        free(e);
        return fail(f, EXIT_RESOURCE, "%s: no memory for the tokenizer", path);
    }
    if (status == SLM_OK) {
        arena = arena_over(memory, arena.used);
        status = slm_tokenizer_open(&t, &arena, payload, n_payload, &error);
    }
    int code = status == SLM_OK ? EXIT_OK : fail_status(f, path, &error);
    e->k = k;
    e->t = t;
    e->c = c;
    code = code ? code : put_kind(e, path, payload, w, f);
    free(e);
    free(memory);
    return code;
}
