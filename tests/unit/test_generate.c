/* test_generate.c - the generation loop and conversations on an engine that plays a script: what is
 * shown and when, what ends a text, what the session is asked for. The engine's functions that the
 * loop calls are defined here and take the place of the library's.
 */
#include "lib/check.h"
#include "lib/generate.h"
#include "lib/run_chat.h"

/* ---- The scripted engine: token 0 ends, token i stands for WORDS[i]
 * ------------------------------ */

enum { END = 0, N_WORDS = 16 };
static char long_word[5001];
static const char *const WORDS[N_WORDS] = {"",  "He",       "llo",     " ST", "OP", "AR",
                                           "a", "b",        "X",       "Y",   "\n", "user",
                                           ":", "\xc3\xa9", long_word, "."};

static struct engine {
    const int32_t *script; /* what sampling gives, in order */
    size_t at;
    uint32_t length, context;
    int32_t held[256];    /* what the session holds */
    uint32_t n_evaluated; /* ids of the last evaluation */
    size_t n_rows;        /* handed to the sink */
    size_t n_pushed;      /* ids decoded */
    bool rows_in_order;
    char shown[8192];
    size_t n_shown, n_pieces;
} e;

float *slm_session_logits(slm_session *session)
{
    (void)session;
    static float logits[N_WORDS];
    return logits;
}

uint32_t slm_session_length(const slm_session *session, uint32_t sequence)
{
    (void)session, (void)sequence;
    return e.length;
}

uint32_t slm_session_context(const slm_session *session)
{
    (void)session;
    return e.context;
}

slm_status slm_session_truncate(slm_session *session, uint32_t sequence, uint32_t n_tokens)
{
    (void)session, (void)sequence;
    e.length = n_tokens < e.length ? n_tokens : e.length;
    return SLM_OK;
}

slm_status slm_session_eval(slm_session *session, const int32_t *ids, size_t n_ids,
                            const slm_eval_options *options, slm_error *error)
{
    (void)session, (void)error;
    CHECK(e.length + n_ids <= e.context);
    memcpy(e.held + e.length, ids, n_ids * sizeof *ids);
    e.length += (uint32_t)n_ids;
    e.n_evaluated = (uint32_t)n_ids;
    for (size_t i = 0; i < n_ids && options->every_position; i++) {
        options->every_position(options->user, i, slm_session_logits(NULL), N_WORDS);
    }
    return SLM_OK;
}

int32_t slm_sample(slm_sampler *sampler, const float *logits, uint32_t n_vocab)
{
    (void)sampler, (void)logits, (void)n_vocab;
    return e.script[e.at++];
}

int slm_token_is_end(const slm_tokenizer *tokenizer, int32_t id)
{
    (void)tokenizer;
    return id == END;
}

void slm_decoder_init(slm_decoder *decoder, uint32_t flags)
{
    memset(decoder, 0, sizeof *decoder);
    decoder->flags = flags;
}

slm_status slm_decoder_push(slm_decoder *decoder, const slm_tokenizer *tokenizer, int32_t id,
                            char *out, size_t capacity, size_t *n_bytes, slm_error *error)
{
    (void)decoder, (void)tokenizer, (void)error;
    *n_bytes = strlen(WORDS[id]);
    if (*n_bytes > capacity) {
        return SLM_ERR_BUFFER;
    }
    memcpy(out, WORDS[id], *n_bytes);
    e.n_pushed++;
    return SLM_OK;
}

size_t slm_decoder_flush(slm_decoder *decoder, char *out)
{
    (void)decoder, (void)out;
    return 0;
}

size_t slm_encode_scratch_bytes(const slm_tokenizer *tokenizer, size_t n_bytes)
{
    (void)tokenizer;
    return n_bytes;
}

/* Role, text as letters a and b, and at the end the prompt of an answer (11, 12). */
slm_status slm_chat_encode(const slm_model *model, const slm_message *messages, size_t n_messages,
                           uint32_t flags, int32_t *ids, size_t capacity, size_t *n_ids,
                           void *scratch, size_t scratch_bytes, slm_error *error)
{
    (void)model, (void)flags, (void)scratch, (void)scratch_bytes, (void)error;
    size_t n = 0;
    for (size_t i = 0; i < n_messages; i++) {
        ids[n++] = 8 + (int32_t)messages[i].role % 2;
        for (size_t k = 0; k < messages[i].n_bytes; k++) {
            ids[n++] = messages[i].text[k] == 'a' ? 6 : 7;
        }
    }
    ids[n++] = 11;
    ids[n++] = 12;
    CHECK(n <= capacity);
    *n_ids = n;
    return SLM_OK;
}

/* ---- Helpers
 * --------------------------------------------------------------------------------------- */

static void on_text(void *user, const char *text, size_t n_bytes)
{
    (void)user;
    CHECK(n_bytes > 0 && e.n_shown + n_bytes < sizeof e.shown);
    memcpy(e.shown + e.n_shown, text, n_bytes);
    e.n_shown += n_bytes;
    e.n_pieces++;
}

static void on_row(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    (void)user, (void)logits;
    e.rows_in_order = e.rows_in_order && index == e.n_rows && n_vocab == N_WORDS;
    e.n_rows++;
}

/* Any address serves: the fakes do not look behind it. */
static model_file fake_model(void)
{
    static char place;
    model_file m = {.path = "fake", .tokenizer = (const slm_tokenizer *)(const void *)&place};
    m.info.n_vocab = N_WORDS;
    return m;
}

static void reset(const int32_t *script)
{
    memset(&e, 0, sizeof e);
    e.script = script;
    e.context = 100;
    e.rows_in_order = true;
}

static generate_end run(const int32_t *script, const generate_options *given, uint32_t context,
                        const char *want)
{
    static const int32_t prompt[3] = {6, 7, 4};
    reset(script);
    e.context = context;
    generate_options o = *given;
    o.emit = on_text;
    model_file m = fake_model();
    slm_sampler sampler = {0};
    generation g;
    failure f = {0};
    CHECK_U64(generate(&m, &sampler, prompt, 3, &o, &g, &f), EXIT_OK);
    CHECK_STRING(g.text, want);
    CHECK_STRING(e.shown, want); /* shown is exactly the text: nothing after a stop string */
    CHECK_U64(g.n_text, strlen(want));
    CHECK_U64(g.n_ids, e.at);
    generate_end end = g.end;
    generation_free(&g);
    return end;
}

/* ---- Tests
 * ------------------------------------------------------------------------------------------ */

static void ends(void)
{
    generate_options o = {.max_tokens = 5};
    static const int32_t hello[] = {1, 2, END};
    CHECK_U64(run(hello, &o, 100, "Hello"), GENERATE_END_TOKEN);
    CHECK_U64(e.length, 5); /* prompt, He, llo; not the end token */
    static const int32_t many[] = {6, 7, 6, 7, 6, 7, 6};
    CHECK_U64(run(many, &o, 100, "ababa"), GENERATE_MAX_TOKENS);
    CHECK_U64(e.length, 7); /* the last one is not fed back */
    CHECK_U64(run(many, &o, 5, "aba"), GENERATE_CONTEXT_FULL);
    CHECK_U64(e.length, 5);
    CHECK_U64(run(many, &o, 3, "a"), GENERATE_CONTEXT_FULL);
    o.max_tokens = 0;
    CHECK_U64(run(many, &o, 100, ""), GENERATE_MAX_TOKENS);
    CHECK_U64(e.length, 3);
}

static void stop_strings(void)
{
    static const char *const stop[] = {"STOP"}, *const overlap[] = {"aab"};
    static const char *const two[] = {"user:", "\nus"}, *const accent[] = {"b\xc3\xa9"};
    generate_options o = {.max_tokens = 9, .stops = stop, .n_stops = 1};
    static const int32_t split[] = {1, 2, 3, 4, 6};
    CHECK_U64(run(split, &o, 100, "Hello "), GENERATE_STOP_STRING);
    CHECK_U64(e.at, 4);
    static const int32_t start_only[] = {1, 3, 5, 6, END};
    CHECK_U64(run(start_only, &o, 100, "He STARa"), GENERATE_END_TOKEN);
    CHECK_U64(e.n_pieces, 4); /* He, " ", STAR, a: held back only while it could be a stop */
    static const int32_t cut_off[] = {1, 3, END};
    CHECK_U64(run(cut_off, &o, 100, "He ST"), GENERATE_END_TOKEN);
    static const int32_t inside[] = {3, 4, END}; /* more in the same piece as the stop is dropped */
    CHECK_U64(run(inside, &o, 100, " "), GENERATE_STOP_STRING);
    o.stops = overlap;
    static const int32_t aaab[] = {6, 6, 6, 7, 6};
    CHECK_U64(run(aaab, &o, 100, "a"), GENERATE_STOP_STRING);
    o.stops = two;
    o.n_stops = 2;
    static const int32_t turn[] = {1, 10, 11, 12, 6}; /* the one that begins first counts */
    CHECK_U64(run(turn, &o, 100, "He"), GENERATE_STOP_STRING);
    o.stops = accent;
    o.n_stops = 1;
    static const int32_t letters[] = {7, 7, 13, 6};
    CHECK_U64(run(letters, &o, 100, "b"), GENERATE_STOP_STRING);
}

static void prompt_is_no_stop(void)
{
    static const char *const stop[] = {"b"};
    generate_options o = {.max_tokens = 4, .stops = stop, .n_stops = 1, .echo = true};
    static const int32_t script[] = {6, 6, 7};
    CHECK_U64(run(script, &o, 100, "abOPaa"), GENERATE_STOP_STRING);
    o.max_tokens = 0;
    CHECK_U64(run(script, &o, 100, "abOP"), GENERATE_MAX_TOKENS);
}

static void long_token(void)
{
    memset(long_word, 'z', sizeof long_word - 1);
    generate_options o = {.max_tokens = 1};
    static const int32_t script[] = {14};
    CHECK_U64(run(script, &o, 100, long_word), GENERATE_MAX_TOKENS);
    long_word[0] = 0;
}

static void rows_are_numbered_on(void)
{
    generate_options o = {.max_tokens = 4, .every_position = on_row};
    static const int32_t script[] = {6, 6, 6, 6};
    run(script, &o, 100, "aaaa");
    CHECK(e.rows_in_order);
    CHECK_U64(e.n_rows, 3 + 3);
}

static void prompt_too_long(void)
{
    static const int32_t prompt[4] = {6, 6, 6, 6};
    reset(prompt);
    e.context = 3;
    generate_options o = {.max_tokens = 1};
    model_file m = fake_model();
    slm_sampler sampler = {0};
    generation g;
    failure f = {0};
    CHECK_U64(generate(&m, &sampler, prompt, 4, &o, &g, &f), EXIT_USAGE);
    CHECK(strstr(f.text, "4 tokens") && strstr(f.text, "context 3"));
    generation_free(&g);
}

/* What a later turn repeats is not evaluated again; what the session then holds is the whole. */
static void conversation_reuses(void)
{
    static const int32_t script[] = {6, 7, END, 7, END};
    reset(script);
    model_file m = fake_model();
    slm_sampler sampler = {0};
    generate_options o = {.max_tokens = 9};
    conversation c = {0};
    failure f = {0};
    generation g;
    size_t n = 0;
    CHECK_U64(conversation_add(&c, SLM_ROLE_USER, "aab", 3, &f), EXIT_OK);
    CHECK_U64(conversation_answer(&c, &m, &sampler, &o, &g, NULL, &n, &f), EXIT_OK);
    CHECK_STRING(g.text, "ab");
    CHECK_U64(n, 6);        /* role a a b 11 12 */
    CHECK_U64(e.length, 8); /* and the answer's two words */
    generation_free(&g);
    CHECK_U64(c.n_messages, 2);
    CHECK_U64(conversation_add(&c, SLM_ROLE_USER, "b", 1, &f), EXIT_OK);
    uint32_t before = e.length;
    int32_t *ids = NULL;
    CHECK_U64(conversation_answer(&c, &m, &sampler, &o, &g, &ids, &n, &f), EXIT_OK);
    CHECK_STRING(g.text, "b");
    /* role a a b | role a b | role b 11 12: the first four are the same as before */
    CHECK_U64(n, 11);
    CHECK_U64(before, 8);
    CHECK_U64(e.length, 12);
    CHECK(memcmp(e.held, ids, 11 * sizeof *ids) == 0 && e.held[11] == 7);
    free(ids);
    generation_free(&g);
    conversation_free(&c);
}

int main(void)
{
    RUN(ends);
    RUN(stop_strings);
    RUN(prompt_is_no_stop);
    RUN(long_token);
    RUN(rows_are_numbered_on);
    RUN(prompt_too_long);
    RUN(conversation_reuses);
    return test_finish();
}
