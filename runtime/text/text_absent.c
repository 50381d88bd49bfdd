/* text_absent.c - stands in for the tokenizer and chat turns until they are there, so that programs
 * link: files with a tokenizer are refused. Delete this file in the commit that adds them.
 */
#include <string.h>

#include "base/status.h"
#include "text/chat.h"
#include "text/tokenizer.h"

static slm_status absent(slm_error *error)
{
    return slm_fail(error, SLM_ERR_TOKENIZER, 0, "this build reads no tokenizer yet");
}

slm_status slm_tokenizer_open(slm_tokenizer **tokenizer, slm_arena *arena, const void *payload,
                              uint64_t n_bytes, slm_error *error)
{
    (void)tokenizer, (void)arena, (void)payload, (void)n_bytes;
    return absent(error);
}

size_t slm_encode_scratch_bytes(const slm_tokenizer *tokenizer, size_t n_bytes)
{
    (void)tokenizer;
    return n_bytes;
}

slm_status slm_encode(const slm_tokenizer *tokenizer, const char *text, size_t n_bytes,
                      uint32_t flags, int32_t *ids, size_t capacity, size_t *n_ids, void *scratch,
                      size_t scratch_bytes, slm_error *error)
{
    (void)tokenizer, (void)text, (void)n_bytes, (void)flags, (void)ids, (void)capacity;
    (void)n_ids, (void)scratch, (void)scratch_bytes;
    return absent(error);
}

const char *slm_token_bytes(const slm_tokenizer *tokenizer, int32_t id, size_t *n_bytes)
{
    (void)tokenizer, (void)id, (void)n_bytes;
    return NULL;
}

uint32_t slm_token_count(const slm_tokenizer *tokenizer)
{
    (void)tokenizer;
    return 0;
}

int32_t slm_token_find(const slm_tokenizer *tokenizer, const char *text, size_t n_bytes)
{
    (void)tokenizer, (void)text, (void)n_bytes;
    return -1;
}

int slm_token_is_end(const slm_tokenizer *tokenizer, int32_t id)
{
    (void)tokenizer, (void)id;
    return 0;
}

void slm_decoder_init(slm_decoder *decoder, uint32_t flags)
{
    memset(decoder, 0, sizeof *decoder);
    decoder->flags = flags;
}

slm_status slm_decoder_push(slm_decoder *decoder, const slm_tokenizer *tokenizer, int32_t id,
                            char *out, size_t capacity, size_t *n_bytes, slm_error *error)
{
    (void)decoder, (void)tokenizer, (void)id, (void)out, (void)capacity, (void)n_bytes;
    return absent(error);
}

size_t slm_decoder_flush(slm_decoder *decoder, char *out)
{
    (void)decoder, (void)out;
    return 0;
}

slm_status slm_chat_open(const slm_chat **chat, const void *payload, uint64_t n_bytes,
                         const slm_tokenizer *tokenizer, slm_error *error)
{
    (void)chat, (void)payload, (void)n_bytes, (void)tokenizer;
    return absent(error);
}

slm_status slm_chat_write(const slm_chat *chat, const slm_tokenizer *tokenizer,
                          const slm_message *messages, size_t n_messages, int add_generation_prompt,
                          int32_t *ids, size_t capacity, size_t *n_ids, void *scratch,
                          size_t scratch_bytes, slm_error *error)
{
    (void)chat, (void)tokenizer, (void)messages, (void)n_messages, (void)add_generation_prompt;
    (void)ids, (void)capacity, (void)n_ids, (void)scratch, (void)scratch_bytes;
    return absent(error);
}
