/* test_session_steps.c - evaluation in steps, stopped half way; states saved and restored, or
 * refused; models whose weights arrive after their directory. What is expected is what a plain
 * evaluation of the whole gives. */
#include "lib/synthetic.h"
#include "slm.h"

enum { N_IDS = 70 };

typedef struct rig {
    uint8_t *file;
    size_t n_file;
    void *model_memory, *session_memory;
    slm_model *model;
    slm_session *session;
} rig;

static const int32_t *prompt(void)
{
    static int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) {
        ids[i] = (i * 29 + i / 7) % 80;
    }
    return ids;
}

static void *aligned(size_t n)
{
    return aligned_alloc(64, (n + 63) / 64 * 64);
}

static void open_session(rig *g, slm_session_options o)
{
    size_t need = 0;
    CHECK(slm_session_bytes(g->model, &o, &need, NULL) == SLM_OK);
    g->session_memory = aligned(need);
    memset(g->session_memory, 0xa5, need);
    CHECK(slm_session_init(g->session_memory, need, g->model, &o, NULL, &g->session, NULL) ==
          SLM_OK);
}

static rig open_rig(slm_config c, slm_type type, slm_session_options o)
{
    rig g;
    size_t need = 0;
    memset(&g, 0, sizeof g);
    g.file = synthetic_bytes("llama", &c, type, &g.n_file);
    CHECK(slm_model_bytes(g.file, g.n_file, 0, &need, NULL) == SLM_OK);
    g.model_memory = aligned(need);
    CHECK(slm_model_init(g.model_memory, need, g.file, g.n_file, 0, NULL, &g.model, NULL) ==
          SLM_OK);
    open_session(&g, o);
    return g;
}

static void close_rig(rig *g)
{
    free(g->file);
    free(g->model_memory);
    free(g->session_memory);
}

/* Digest of the logits that the session holds. */
static uint64_t last_logits(slm_session *s)
{
    return slm_hash_bytes(0, slm_session_logits(s), 80 * sizeof(float));
}

static uint64_t plain(slm_session *s, uint32_t sequence, uint32_t n_ids)
{
    slm_eval_options o = {.sequence = sequence};
    CHECK(slm_session_eval(s, prompt(), n_ids, &o, NULL) == SLM_OK);
    return last_logits(s);
}

static void steps_give_the_same_bits(void)
{
    slm_config c = synthetic_config();
    c.n_layers = 5;
    c.pre_norm = 1;
    c.post_norm = 1; /* what a layer leaves pending must survive the pause */
    slm_session_options o = {.n_chunk = 16, .n_sequences = 2};
    rig g = open_rig(c, SLM_TYPE_Q4_K, o);
    uint64_t want = plain(g.session, 0, N_IDS);
    static const uint32_t layers[] = {1, 2, 3, 5, UINT32_MAX};
    static const uint32_t steps[] = {25, 15, 10, 5, 5}; /* 5 chunks of ceil(5 / layers) steps */
    for (size_t i = 0; i < 5; i++) {
        uint32_t n = 1;
        CHECK(slm_session_truncate(g.session, 0, 0) == SLM_OK);
        CHECK(slm_session_begin(g.session, prompt(), N_IDS, NULL, NULL) == SLM_OK);
        CHECK_U64(slm_session_length(g.session, 0), 0);
        while (slm_session_step(g.session, layers[i])) {
            n++;
        }
        CHECK_U64(n, steps[i]);
        CHECK_U64(slm_session_length(g.session, 0), N_IDS);
        CHECK_U64(last_logits(g.session), want);
        CHECK(slm_session_step(g.session, 1) == 0); /* nothing is left to do */
    }
    close_rig(&g);
}

static void stop_takes_back_what_is_half_done(void)
{
    slm_config c = synthetic_config();
    slm_session_options o = {.n_chunk = 16, .n_sequences = 2};
    rig g = open_rig(c, SLM_TYPE_Q6_K, o);
    uint64_t want = plain(g.session, 1, N_IDS);
    slm_session_stop(g.session); /* of nothing */
    CHECK(slm_session_begin(g.session, prompt(), N_IDS, NULL, NULL) == SLM_OK);
    for (int i = 0; i < 5; i++) { /* two chunks of two layers, and a half */
        CHECK(slm_session_step(g.session, 1) == 1);
    }
    slm_session_stop(g.session);
    CHECK_U64(slm_session_length(g.session, 0), 32);
    CHECK(slm_session_step(g.session, 1) == 0);
    CHECK(slm_session_begin(g.session, prompt() + 32, N_IDS - 32, NULL, NULL) == SLM_OK);
    CHECK(slm_session_step(g.session, 1) == 1);
    /* Another evaluation ends this one. */
    CHECK(slm_session_begin(g.session, prompt() + 32, N_IDS - 32, NULL, NULL) == SLM_OK);
    CHECK_U64(slm_session_length(g.session, 0), 32);
    while (slm_session_step(g.session, 1)) {
    }
    CHECK_U64(last_logits(g.session), want);
    slm_stats stats;
    slm_session_stats(g.session, &stats);
    CHECK_U64(stats.prompt_tokens, N_IDS + N_IDS);
    CHECK_U64(stats.kv_blocks_used, 2 * 3);
    int32_t bad = 80;
    CHECK(slm_session_begin(g.session, &bad, 1, NULL, NULL) == SLM_ERR_TOKEN_ID);
    close_rig(&g);
}

static void one_token_may_be_a_prompt(void)
{
    slm_session_options o = {0};
    rig g = open_rig(synthetic_config(), SLM_TYPE_F32, o);
    slm_stats stats;
    for (int i = 0; i < 3; i++) {
        CHECK(slm_session_eval(g.session, prompt() + i, 1, NULL, NULL) == SLM_OK);
    }
    slm_session_stats(g.session, &stats);
    CHECK_U64(stats.prompt_tokens, 1);
    CHECK_U64(stats.generated_tokens, 2);
    close_rig(&g);
}

static void a_saved_state_goes_on_elsewhere(void)
{
    for (int kv = SLM_KV_F16; kv <= SLM_KV_Q8_0; kv++) {
        slm_session_options o = {.n_sequences = 2, .kv_type = (slm_kv_type)kv};
        rig g = open_rig(synthetic_config(), SLM_TYPE_Q5_K, o), h;
        uint64_t want = plain(g.session, 0, N_IDS);
        size_t n_bytes = slm_session_state_bytes(g.session, 0);
        /* 2 of 3 blocks are whole; a layer's keys and values of a block follow each other */
        uint8_t *state = (uint8_t *)aligned(n_bytes);
        slm_session_save(g.session, 0, prompt(), state);
        o.n_sequences = 3;
        h = open_rig(synthetic_config(), SLM_TYPE_Q5_K, o);
        plain(h.session, 2, 40); /* to be replaced */
        const int32_t *ids = NULL;
        uint32_t n_ids = 0, n_kept = 0;
        CHECK(slm_session_restore(h.session, 2, state, n_bytes, &ids, &n_ids, &n_kept, NULL) ==
              SLM_OK);
        CHECK_U64(n_ids, N_IDS);
        CHECK_U64(n_kept, 64);
        CHECK_U64(slm_session_length(h.session, 2), 64);
        CHECK(memcmp(ids, prompt(), N_IDS * sizeof *ids) == 0);
        slm_eval_options to2 = {.sequence = 2};
        CHECK(slm_session_eval(h.session, ids + 64, N_IDS - 64, &to2, NULL) == SLM_OK);
        CHECK_U64(last_logits(h.session), want);
        free(state);
        close_rig(&g);
        close_rig(&h);
    }
}

static slm_status restored(rig *g, uint32_t sequence, const uint8_t *state, size_t n_bytes)
{
    const int32_t *ids;
    uint32_t n_ids, n_kept;
    slm_error error;
    slm_status status =
        slm_session_restore(g->session, sequence, state, n_bytes, &ids, &n_ids, &n_kept, &error);
    CHECK(status == SLM_OK || error.text[0] != 0);
    return status;
}

static void refuses_states(void)
{
    slm_config c = synthetic_config();
    slm_session_options o = {0}, small = {.n_context = 69}, other = {.kv_type = SLM_KV_F32};
    rig g = open_rig(c, SLM_TYPE_F16, o);
    plain(g.session, 0, N_IDS);
    size_t n = slm_session_state_bytes(g.session, 0);
    uint8_t *state = (uint8_t *)aligned(n);
    slm_session_save(g.session, 0, prompt(), state);
    CHECK(restored(&g, 0, state, 47) == SLM_ERR_TRUNCATED);
    CHECK(restored(&g, 0, state, n - 1) == SLM_ERR_TRUNCATED);
    CHECK(restored(&g, 1, state, n) == SLM_ERR_ARGUMENT);
    static const struct {
        size_t at;
        slm_status want;
    } damage[] = {{0, SLM_ERR_MAGIC},     {8, SLM_ERR_ARGUMENT},   {12, SLM_ERR_ARGUMENT},
                  {16, SLM_ERR_ARGUMENT}, {20, SLM_ERR_TRUNCATED}, {23, SLM_ERR_TRUNCATED},
                  {24, SLM_ERR_ARGUMENT}, {32, SLM_ERR_TRUNCATED}, {40, SLM_ERR_CHECKSUM},
                  {48, SLM_ERR_CHECKSUM}};
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        state[damage[i].at] ^= 1;
        CHECK(restored(&g, 0, state, n) == damage[i].want);
        state[damage[i].at] ^= 1;
    }
    CHECK_U64(slm_session_length(g.session, 0), N_IDS); /* untouched by all of that */
    rig h = open_rig(c, SLM_TYPE_F16, small), i = open_rig(c, SLM_TYPE_F16, other);
    CHECK(restored(&h, 0, state, n) == SLM_ERR_CONTEXT_FULL);
    CHECK(restored(&i, 0, state, n) == SLM_ERR_ARGUMENT);
    close_rig(&h);
    close_rig(&i);
    rig j = open_rig(c, SLM_TYPE_F32, o);
    CHECK(restored(&j, 0, state, n) == SLM_ERR_ARGUMENT); /* other weights */
    close_rig(&j);
    int32_t wrong[N_IDS];
    memcpy(wrong, prompt(), sizeof wrong);
    wrong[3] = 80;
    slm_session_save(g.session, 0, wrong, state);
    CHECK(restored(&g, 0, state, n) == SLM_ERR_TOKEN_ID);
    CHECK(slm_session_truncate(g.session, 0, 0) == SLM_OK);
    CHECK_U64(slm_session_state_bytes(g.session, 0), 48);
    slm_session_save(g.session, 0, wrong, state);
    CHECK(restored(&g, 0, state, 48) == SLM_OK); /* an empty one */
    free(state);
    close_rig(&g);
}

/* The file arrives in pieces over a memory that holds something else; d_model 44 makes vectors be
 * copied. */
static void weights_may_come_later(void)
{
    slm_config c = synthetic_config();
    c.d_model = 44;
    c.d_ff = 37;
    slm_session_options o = {0};
    rig want = open_rig(c, SLM_TYPE_F32, o), g = {.n_file = want.n_file};
    uint32_t check = SLM_MODEL_CHECK_DATA | SLM_MODEL_CHECK_VALUES;
    size_t need = 0, head = 0;
    memcpy(&head, want.file + 128 + 2 * 40 + 8, 8); /* CONF, TDIR, DATA: its offset */
    g.file = (uint8_t *)aligned(g.n_file);
    memset(g.file, 0xff, g.n_file); /* read as weights, NaN */
    memcpy(g.file, want.file, head);
    CHECK(slm_model_bytes(g.file, g.n_file, SLM_MODEL_DATA_LATER, &need, NULL) == SLM_OK);
    g.model_memory = aligned(need);
    CHECK(slm_model_init(g.model_memory, need, g.file, g.n_file, SLM_MODEL_DATA_LATER, NULL,
                         &g.model, NULL) == SLM_OK);
    open_session(&g, o);
    uint64_t good = 0;
    for (size_t at = head; at < g.n_file;) {
        size_t n = g.n_file - at < 1000 ? g.n_file - at : 1000;
        memcpy(g.file + at, want.file + at, n);
        if (at == head + 20000) { /* a byte of the next piece is damaged, and comes again */
            g.file[at + 500] ^= 4;
            CHECK(slm_model_arrived(g.model, at + n, check, &good, NULL) == SLM_OK);
            CHECK(slm_model_arrived(g.model, g.n_file, check, &good, NULL) == SLM_ERR_CHECKSUM);
            CHECK(good > head && good <= at + 500 && good % 64 == 0);
            g.file[at + 500] ^= 4;
        }
        at += n;
        CHECK(slm_model_arrived(g.model, at, check, &good, NULL) == SLM_OK);
        CHECK(good <= at || at == g.n_file);
    }
    CHECK_U64(good, g.n_file);
    CHECK_U64(plain(g.session, 0, N_IDS), plain(want.session, 0, N_IDS));
    close_rig(&g);
    close_rig(&want);
}

int main(void)
{
    RUN(steps_give_the_same_bits);
    RUN(stop_takes_back_what_is_half_done);
    RUN(one_token_may_be_a_prompt);
    RUN(a_saved_state_goes_on_elsewhere);
    RUN(refuses_states);
    RUN(weights_may_come_later);
    return test_finish();
}
