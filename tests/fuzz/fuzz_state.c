/* fuzz_state.c - any bytes as a saved state, also with identity, length and checksum made right:
 * what is restored goes on, and is as long as it says. Keys and values may be anything.
 */
#include "base/bytes.h"
#include "lib/synthetic.h"
#include "slm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER = 48, AT_LENGTH = 32, AT_CHECKSUM = 40, N_CONTEXT = 96 };

static slm_session *make_session(void)
{
    slm_config c = synthetic_config();
    slm_session_options o = {.n_context = N_CONTEXT};
    slm_model *model = NULL;
    slm_session *session = NULL;
    size_t n_file = 0, need = 0;
    uint8_t *file = synthetic_bytes("llama", &c, SLM_TYPE_Q8_0, &n_file);
    if (!file || slm_model_bytes(file, n_file, 0, &need, NULL) != SLM_OK) {
        abort();
    }
    void *memory = aligned_alloc(64, (need + 63) / 64 * 64);
    if (slm_model_init(memory, need, file, n_file, 0, "ref", &model, NULL) != SLM_OK ||
        slm_session_bytes(model, &o, &need, NULL) != SLM_OK) {
        abort();
    }
    memory = aligned_alloc(64, (need + 63) / 64 * 64);
    if (slm_session_init(memory, need, model, &o, NULL, &session, NULL) != SLM_OK) {
        abort();
    }
    return session;
}

static void restore(slm_session *s, const uint8_t *state, size_t n_bytes)
{
    const int32_t *ids = NULL;
    uint32_t n_ids = 0, n_kept = 0;
    slm_error error;
    uint32_t before = slm_session_length(s, 0);
    if (slm_session_restore(s, 0, state, n_bytes, &ids, &n_ids, &n_kept, &error) != SLM_OK) {
        if (slm_session_length(s, 0) != before || error.text[0] == 0) {
            abort();
        }
        return;
    }
    if (slm_session_length(s, 0) != n_kept || n_kept > n_ids || n_ids > N_CONTEXT) {
        abort();
    }
    if (slm_session_eval(s, ids + n_kept, n_ids - n_kept, NULL, &error) != SLM_OK ||
        slm_session_state_bytes(s, 0) != n_bytes) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static slm_session *session; /* made once: what a state leaves must not harm the next one */
    if (!session) {
        session = make_session();
    }
    uint8_t *state = (uint8_t *)aligned_alloc(8, (size + 8) / 8 * 8);
    if (!state) {
        return 0;
    }
    memcpy(state, data, size);
    restore(session, state, size);
    if (size >= HEADER) {
        uint8_t empty[HEADER];
        slm_session_truncate(session, 0, 0);
        slm_session_save(session, 0, NULL, empty);
        memcpy(state, empty, 20); /* magic and shape */
        memcpy(state + 24, empty + 24, 8);
        store_u64(state + AT_LENGTH, size);
        slm_hash hash;
        slm_hash_init(&hash, 0);
        slm_hash_update(&hash, state, AT_CHECKSUM);
        slm_hash_update(&hash, state + HEADER, size - HEADER);
        store_u64(state + AT_CHECKSUM, slm_hash_final(&hash));
        restore(session, state, size);
    }
    free(state);
    return 0;
}
