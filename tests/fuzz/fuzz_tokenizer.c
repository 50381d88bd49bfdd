/* fuzz_tokenizer.c - a TOKN payload, 4 bytes of length before it, then a CHAT payload with its
 * length, then text: whatever opens encodes, decodes and writes turns without harm, within the room
 * that is promised; and byte-level models give the text back.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "text/chat.h"
#include "text/payload.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next part: a length and as many bytes, copied to aligned memory of that size. */
static uint8_t *take_part(const uint8_t **data, size_t *size, size_t *n)
{
    void *part = NULL;
    *n = 0;
    if (*size >= 4) {
        uint32_t wanted = load_u32(*data);
        *data += 4;
        *size -= 4;
        *n = wanted < *size ? wanted : *size;
    }
    if (posix_memalign(&part, 64, *n ? *n : 1) != 0) {
        abort();
    }
    memcpy(part, *data, *n);
    *data += *n;
    *size -= *n;
    return (uint8_t *)part;
}

static void decode(const slm_tokenizer *t, const int32_t *ids, size_t n_ids)
{
    static char out[1 << 17];
    slm_decoder d;
    slm_decoder_init(&d, SLM_DECODE_CONTROL);
    for (size_t i = 0; i < n_ids; i++) {
        size_t n;
        if (slm_decoder_push(&d, t, ids[i], out, sizeof out, &n, NULL) != SLM_OK) {
            abort();
        }
    }
    slm_decoder_flush(&d, out);
}

static void use(const slm_tokenizer *t, const slm_chat *chat, const uint8_t *text, size_t n)
{
    size_t room = n + 512 + 4096, scratch_bytes = slm_encode_scratch_bytes(t, room), n_ids;
    void *scratch = malloc(scratch_bytes);
    int32_t *ids = (int32_t *)malloc((3 * room + 8) * sizeof *ids);
    if (!scratch || !ids) {
        abort();
    }
    for (uint32_t flags = 0; flags < 4; flags++) {
        if (slm_encode(t, (const char *)text, n, flags, ids, 3 * n + 8, &n_ids, scratch,
                       scratch_bytes, NULL) != SLM_OK) {
            abort();
        }
        decode(t, ids, n_ids);
    }
    slm_message m = {(slm_role)(n % 3), (const char *)text, n};
    if (chat && slm_chat_write(chat, t, &m, 1, (uint32_t)(n % 4), ids, 3 * room + 8, &n_ids,
                               scratch, scratch_bytes, NULL) == SLM_OK) {
        decode(t, ids, n_ids);
    }
    free(ids);
    free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n_tokenizer, n_chat;
    uint8_t *payload = take_part(&data, &size, &n_tokenizer);
    uint8_t *turns = take_part(&data, &size, &n_chat);
    slm_tokenizer *t = NULL;
    const slm_chat *chat = NULL;
    void *memory = NULL;
    slm_arena arena = arena_measure();
    if (slm_tokenizer_open(&t, &arena, payload, n_tokenizer, NULL) == SLM_OK &&
        posix_memalign(&memory, 64, arena.used) == 0) {
        arena = arena_over(memory, arena.used);
        if (slm_tokenizer_open(&t, &arena, payload, n_tokenizer, NULL) == SLM_OK) {
            (void)slm_chat_open(&chat, turns, n_chat, t, NULL);
            uint8_t *text = (uint8_t *)malloc(size ? size : 1);
            memcpy(text, data, size);
            use(t, chat, text, size);
            free(text);
        }
    }
    free(memory);
    free(payload);
    free(turns);
    return 0;
}
