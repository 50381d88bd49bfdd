/* test_session.c - logits do not depend on chunking, threads, kernels or how the cache came to be;
 * and every refusal of model and session. */
#include "kernels/kernels.h"
#include "lib/synthetic.h"
#include "slm.h"

enum { N_IDS = 70 };

static const int32_t *prompt(void)
{
    static int32_t ids[N_IDS];
    for (int i = 0; i < N_IDS; i++) {
        ids[i] = (i * 37 + i / 9) % 80;
    }
    return ids;
}

static void *aligned(size_t n)
{
    return aligned_alloc(64, (n + 63) / 64 * 64);
}

typedef struct rig {
    uint8_t *file;
    size_t n_file;
    void *model_memory, *session_memory, *team_memory;
    slm_model *model;
    slm_session *session;
    slm_team *team;
} rig;

static slm_status open_model(rig *g, const char *kernels, slm_error *error)
{
    size_t need;
    slm_status status = slm_model_bytes(g->file, g->n_file, 0, &need, error);
    if (status != SLM_OK) {
        return status;
    }
    g->model_memory = aligned(need);
    return slm_model_init(g->model_memory, need, g->file, g->n_file,
                          SLM_MODEL_CHECK_DATA | SLM_MODEL_CHECK_VALUES, kernels, &g->model, error);
}

static rig open_rig(const slm_config *c, slm_type type, const char *kernels,
                    slm_session_options options)
{
    rig g;
    slm_error error;
    size_t need = 0;
    memset(&g, 0, sizeof g);
    memset(&error, 0, sizeof error);
    g.file = synthetic_bytes("llama", c, type, &g.n_file);
    if (!g.file || open_model(&g, kernels, &error) != SLM_OK ||
        slm_session_bytes(g.model, &options, &need, &error) != SLM_OK) {
        printf("# %s\n", error.text);
        test_failed_here = 1;
        return g;
    }
    if (options.n_threads > 1) {
        g.team_memory = aligned(slm_team_bytes(options.n_threads));
        CHECK(slm_team_start(g.team_memory, slm_team_bytes(options.n_threads), options.n_threads,
                             &g.team, &error) == SLM_OK);
    }
    g.session_memory = aligned(need);
    memset(g.session_memory, 0xa5, need); /* nothing may depend on what the memory held */
    CHECK(slm_session_init(g.session_memory, need, g.model, &options, g.team, &g.session, &error) ==
          SLM_OK);
    return g;
}

static void close_rig(rig *g)
{
    slm_team_stop(&g->team);
    free(g->file);
    free(g->model_memory);
    free(g->session_memory);
    free(g->team_memory);
}

static void absorb(void *user, size_t index, const float *logits, uint32_t n_vocab)
{
    (void)index;
    slm_hash_update((slm_hash *)user, logits, n_vocab * sizeof(float));
}

static uint64_t digest(slm_session *session, uint32_t sequence, const int32_t *ids, size_t n)
{
    slm_hash hash;
    slm_error error;
    slm_hash_init(&hash, 0);
    slm_eval_options o = {sequence, absorb, NULL, &hash};
    CHECK(slm_session_eval(session, ids, n, &o, &error) == SLM_OK);
    return slm_hash_final(&hash);
}

static uint64_t digest_of(const slm_config *c, slm_type type, const char *kernels,
                          slm_session_options options)
{
    rig g = open_rig(c, type, kernels, options);
    uint64_t d = g.session ? digest(g.session, 0, prompt(), N_IDS) : 0;
    CHECK(g.session && slm_session_length(g.session, 0) == N_IDS);
    close_rig(&g);
    return d;
}

static void check_same_bits(const slm_config *c, slm_kv_type kv)
{
    static const uint32_t chunks[] = {1, 7, 64, 70};
    const slm_kernels *const *table;
    uint32_t n_variants = slm_kernels_available(&table);
    for (int type = 0; type < SLM_TYPE_COUNT; type++) {
        slm_session_options o = {.n_chunk = 1, .kv_type = kv, .n_threads = 1};
        uint64_t want = digest_of(c, (slm_type)type, "ref", o);
        for (uint32_t v = 0; v < n_variants; v++) {
            for (uint32_t i = 0; i < 4; i++) {
                o.n_chunk = chunks[i];
                o.n_threads = 1 + 2 * (i % 2);
                uint64_t got = digest_of(c, (slm_type)type, table[v]->name, o);
                if (got != want) {
                    printf("# %s %s chunk %u threads %u\n", slm_type_name((slm_type)type),
                           table[v]->name, o.n_chunk, o.n_threads);
                }
                CHECK_U64(got, want);
            }
        }
    }
}

static void same_bits_f16_kv(void)
{
    slm_config c = synthetic_config();
    check_same_bits(&c, SLM_KV_F16);
}

static void same_bits_odd_shape_q8_kv(void)
{
    slm_config c = synthetic_config();
    c.d_model = 96;
    c.n_heads = 3;
    c.n_kv_heads = 1;
    c.head_dim = 32;
    c.d_ff = 544;
    c.tied_output = 0;
    c.qkv_bias = 1;
    c.qk_norm = 1;
    check_same_bits(&c, SLM_KV_Q8_0);
}

/* Widths that no kernel line fits: only unquantized types can hold them. */
static void same_bits_ragged_f32(void)
{
    slm_config c = synthetic_config();
    c.d_model = 44;
    c.n_heads = 3;
    c.n_kv_heads = 3;
    c.head_dim = 10;
    c.d_ff = 37;
    c.qk_norm = 1;
    for (int type = SLM_TYPE_F32; type <= SLM_TYPE_BF16; type++) {
        slm_session_options o = {.n_chunk = 1, .kv_type = SLM_KV_F32};
        uint64_t want = digest_of(&c, (slm_type)type, "ref", o);
        o.n_chunk = 33;
        o.n_threads = 2;
        CHECK_U64(digest_of(&c, (slm_type)type, NULL, o), want);
        o.kv_type = SLM_KV_Q8_0;
        want = digest_of(&c, (slm_type)type, "ref", o);
        CHECK_U64(digest_of(&c, (slm_type)type, NULL, o), want);
    }
}

static void fork_and_rollback_change_nothing(void)
{
    slm_config c = synthetic_config();
    slm_session_options o = {.n_sequences = 3, .n_chunk = 16};
    rig g = open_rig(&c, SLM_TYPE_Q4_K, NULL, o);
    const int32_t *ids = prompt();
    digest(g.session, 0, ids, 40);
    CHECK(slm_session_fork(g.session, 0, 1) == SLM_OK);
    CHECK(slm_session_fork(g.session, 0, 2) == SLM_OK);
    uint64_t want = digest(g.session, 0, ids + 40, 30);
    digest(g.session, 1, ids, 20); /* another continuation beside it */
    CHECK_U64(digest(g.session, 2, ids + 40, 30), want);
    CHECK(slm_session_truncate(g.session, 1, 40) == SLM_OK);
    CHECK_U64(slm_session_length(g.session, 1), 40);
    CHECK_U64(digest(g.session, 1, ids + 40, 30), want);
    slm_stats stats;
    slm_session_stats(g.session, &stats);
    CHECK_U64(stats.copies_on_write, 2);
    CHECK_U64(stats.prompt_tokens, 40 + 30 + 20 + 30 + 30);
    close_rig(&g);
}

static void last_logits_equal_every_position(void)
{
    slm_config c = synthetic_config();
    slm_session_options o = {.n_sequences = 2};
    rig g = open_rig(&c, SLM_TYPE_Q6_K, NULL, o);
    slm_error error;
    float want[80];
    digest(g.session, 0, prompt(), N_IDS);
    memcpy(want, slm_session_logits(g.session), sizeof want);
    slm_eval_options second = {1, NULL, NULL, NULL};
    CHECK(slm_session_eval(g.session, prompt(), N_IDS, &second, &error) == SLM_OK);
    CHECK(memcmp(want, slm_session_logits(g.session), sizeof want) == 0);
    close_rig(&g);
}

static int stop_at_once(void *user, size_t done, size_t total)
{
    (void)total;
    *(size_t *)user = done;
    return 1;
}

static void progress_can_stop_a_prefill(void)
{
    slm_config c = synthetic_config();
    slm_session_options o = {.n_chunk = 16};
    rig g = open_rig(&c, SLM_TYPE_Q8_0, NULL, o);
    slm_error error;
    size_t done = 0;
    slm_eval_options e = {0, NULL, stop_at_once, &done};
    CHECK(slm_session_eval(g.session, prompt(), N_IDS, &e, &error) == SLM_OK);
    CHECK_U64(done, 16);
    CHECK_U64(slm_session_length(g.session, 0), 16);
    close_rig(&g);
}

static void refuses_bad_tokens_and_overflow(void)
{
    slm_config c = synthetic_config();
    slm_session_options o = {.n_context = 8};
    rig g = open_rig(&c, SLM_TYPE_F32, NULL, o);
    slm_error error;
    int32_t bad[2] = {3, 80}, negative[1] = {-1};
    CHECK(slm_session_eval(g.session, bad, 2, NULL, &error) == SLM_ERR_TOKEN_ID);
    CHECK(slm_session_eval(g.session, negative, 1, NULL, &error) == SLM_ERR_TOKEN_ID);
    CHECK(slm_session_eval(g.session, prompt(), 9, NULL, &error) == SLM_ERR_CONTEXT_FULL);
    CHECK_U64(slm_session_length(g.session, 0), 0);
    CHECK(slm_session_eval(g.session, prompt(), 8, NULL, &error) == SLM_OK);
    CHECK(slm_session_eval(g.session, prompt(), 1, NULL, &error) == SLM_ERR_CONTEXT_FULL);
    slm_eval_options e = {1, NULL, NULL, NULL};
    CHECK(slm_session_eval(g.session, prompt(), 1, &e, &error) == SLM_ERR_ARGUMENT);
    CHECK(slm_session_truncate(g.session, 1, 0) == SLM_ERR_ARGUMENT);
    CHECK(slm_session_fork(g.session, 0, 1) == SLM_ERR_ARGUMENT);
    close_rig(&g);
}

static void refuses_bad_sessions(void)
{
    slm_config c = synthetic_config();
    slm_session_options o = {.n_threads = 1};
    rig g = open_rig(&c, SLM_TYPE_F32, NULL, o);
    slm_error error;
    size_t need = 0;
    static const slm_session_options bad[] = {{.n_context = (1 << 24) + 1},
                                              {.n_chunk = 4097},
                                              {.n_sequences = 65},
                                              {.n_threads = 257},
                                              {.kv_type = (slm_kv_type)3}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(slm_session_bytes(g.model, &bad[i], &need, &error) == SLM_ERR_ARGUMENT);
    }
    CHECK(slm_session_bytes(g.model, &o, &need, &error) == SLM_OK);
    slm_session *session = NULL;
    CHECK(slm_session_init(g.session_memory, need - 1, g.model, &o, NULL, &session, &error) ==
          SLM_ERR_MEMORY);
    void *memory = aligned(slm_team_bytes(2));
    slm_team *team = NULL;
    CHECK(slm_team_start(memory, slm_team_bytes(2), 2, &team, &error) == SLM_OK);
    CHECK(slm_session_init(g.session_memory, need, g.model, &o, team, &session, &error) ==
          SLM_ERR_ARGUMENT);
    CHECK(session == NULL);
    slm_team_stop(&team);
    free(memory);
    close_rig(&g);
}

static void refuses_bad_models(void)
{
    slm_config c = synthetic_config();
    slm_error error;
    rig g;
    size_t need = 0;
    memset(&g, 0, sizeof g);
    g.file = synthetic_bytes("llama", &c, SLM_TYPE_F32, &g.n_file);
    CHECK(open_model(&g, "no such kernels", &error) == SLM_ERR_KERNELS);
    CHECK(slm_model_bytes(g.file, g.n_file, 0, &need, &error) == SLM_OK);
    CHECK(slm_model_init(g.model_memory, 4096, g.file, g.n_file, 0, NULL, &g.model, &error) ==
          SLM_ERR_MEMORY);
    CHECK(slm_model_init((char *)g.model_memory + 8, need, g.file, g.n_file, 0, NULL, &g.model,
                         &error) == SLM_ERR_ARGUMENT);
    g.file[g.n_file - 5] ^= 1;
    free(g.model_memory);
    CHECK(open_model(&g, NULL, &error) == SLM_ERR_CHECKSUM);
    close_rig(&g);
    memset(&g, 0, sizeof g);
    g.file = synthetic_bytes("gpt-9", &c, SLM_TYPE_F32, &g.n_file);
    CHECK(open_model(&g, NULL, &error) == SLM_ERR_ARCHITECTURE);
    close_rig(&g);
}

int main(void)
{
    RUN(same_bits_f16_kv);
    RUN(same_bits_odd_shape_q8_kv);
    RUN(same_bits_ragged_f32);
    RUN(fork_and_rollback_change_nothing);
    RUN(last_logits_equal_every_position);
    RUN(progress_can_stop_a_prefill);
    RUN(refuses_bad_tokens_and_overflow);
    RUN(refuses_bad_sessions);
    RUN(refuses_bad_models);
    return test_finish();
}
