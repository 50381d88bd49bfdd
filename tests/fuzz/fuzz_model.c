/* fuzz_model.c - any bytes as a model that runs: whoever makes a file by hand makes its checksums
 * right too, so every checksum and count is made right here, and what then opens as a model
 * tokenizes a text, evaluates a few tokens and samples. Weights may be NaN: nothing may be indexed
 * by them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/slm_file.h"
#include "slm.h"

enum { MEMORY_LIMIT = 1 << 26 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct section {
    uint64_t at, length;
} section;

static section find_section(const uint8_t *b, size_t size, uint32_t n, uint32_t kind)
{
    section none = {0, 0};
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *e = b + SLM_HEADER_BYTES + SLM_SECTION_ENTRY_BYTES * (size_t)i;
        section s = {load_u64(e + 8), load_u64(e + 16)};
        if (load_u32(e) == kind && s.at <= size && s.length <= size - s.at) {
            return s;
        }
    }
    return none;
}

/* Checksums of the tensors, and what the header says about all of them. */
static void seal_tensors(uint8_t *b, section directory, section data)
{
    uint64_t layout = slm_layout_checksum_begin(), content = slm_content_checksum_begin();
    uint64_t parameters = 0, at = 8;
    uint32_t n = directory.length >= 8 ? load_u32(b + directory.at) : 0;
    for (uint32_t i = 0; i < n && at + 8 <= directory.length; i++) {
        uint8_t *e = b + directory.at + at;
        uint64_t name = load_u16(e), rank = e[3], end = at + 8 + 8 * rank + 24 + (name + 7) / 8 * 8;
        if (rank > SLM_MAX_DIMS || end > directory.length) {
            break;
        }
        uint64_t dims[SLM_MAX_DIMS] = {1, 1, 1, 1}, elements = 1;
        for (uint32_t k = 0; k < rank; k++) {
            dims[k] = load_u64(e + 8 + 8 * k);
            elements *= dims[k];
        }
        uint8_t *tail = e + 8 + 8 * rank;
        uint64_t offset = load_u64(tail), length = load_u64(tail + 8), sum = 0;
        if (offset <= data.length && length <= data.length - offset) {
            sum = slm_hash_bytes(0, b + data.at + offset, (size_t)length);
            store_u64(tail + 16, sum);
        }
        parameters += elements;
        layout =
            slm_layout_checksum_add(layout, (const char *)tail + 24, name, (uint32_t)rank, dims);
        content = slm_content_checksum_add(content, load_u64(tail + 16));
        at = end;
    }
    store_u64(b + 40, parameters);
    store_u64(b + 56, layout);
    store_u64(b + 64, content);
}

static void seal(uint8_t *b, size_t size)
{
    uint32_t n = load_u32(b + 24);
    if (n > SLM_MAX_SECTIONS || size < SLM_HEADER_BYTES + SLM_SECTION_ENTRY_BYTES * (size_t)n) {
        return;
    }
    store_u64(b + 16, size);
    seal_tensors(b, find_section(b, size, n, SLM_SECTION_DIRECTORY),
                 find_section(b, size, n, SLM_SECTION_DATA));
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *e = b + SLM_HEADER_BYTES + SLM_SECTION_ENTRY_BYTES * (size_t)i;
        uint64_t at = load_u64(e + 8), length = load_u64(e + 16);
        if (load_u32(e) == SLM_SECTION_DATA) {
            store_u64(e + 24, load_u64(b + 64));
        } else if (at <= size && length <= size - at) {
            store_u64(e + 24, slm_hash_bytes(0, b + at, (size_t)length));
        }
        if (load_u32(e) == SLM_SECTION_TOKENIZER) {
            store_u64(b + 48, load_u64(e + 24));
        }
    }
    slm_hash hash;
    slm_hash_init(&hash, 0);
    slm_hash_update(&hash, b, 120);
    slm_hash_update(&hash, b + SLM_HEADER_BYTES, SLM_SECTION_ENTRY_BYTES * (size_t)n);
    store_u64(b + 120, slm_hash_final(&hash));
}

static void *aligned(size_t n)
{
    return aligned_alloc(64, (n + 63) / 64 * 64 + 64);
}

static void use_text(const slm_tokenizer *t)
{
    static const char text[] = "Once upon\n a t\xc3\xa9me \xff <|endoftext|> 12345  ";
    int32_t ids[3 * sizeof text];
    char piece[4096];
    slm_error error;
    slm_decoder decoder;
    size_t n = 0, n_bytes, need = slm_encode_scratch_bytes(t, sizeof text - 1);
    void *scratch = aligned(need);
    if (slm_encode(t, text, sizeof text - 1, SLM_ENCODE_SPECIAL | SLM_ENCODE_CONTROL, ids,
                   sizeof ids / sizeof ids[0], &n, scratch, need, &error) == SLM_OK) {
        slm_decoder_init(&decoder, SLM_DECODE_CONTROL);
        for (size_t i = 0; i < n; i++) {
            slm_decoder_push(&decoder, t, ids[i], piece, sizeof piece, &n_bytes, &error);
        }
        slm_decoder_flush(&decoder, piece);
    }
    free(scratch);
}

static void use_model(const slm_model *m)
{
    slm_session_options o = {.n_context = 40, .n_chunk = 5};
    slm_model_info info;
    slm_error error;
    size_t need = 0;
    slm_model_describe(m, &info);
    if (slm_model_tokenizer(m)) {
        use_text(slm_model_tokenizer(m));
    }
    if (slm_session_bytes(m, &o, &need, &error) != SLM_OK || need > MEMORY_LIMIT) {
        return;
    }
    void *memory = aligned(need);
    slm_session *session = NULL;
    slm_sampler sampler;
    int32_t ids[7] = {0, 1, 2, 3, 4, 5, (int32_t)info.n_vocab - 1};
    if (slm_session_init(memory, need, m, &o, NULL, &session, &error) == SLM_OK &&
        slm_session_eval(session, ids, 7, NULL, &error) == SLM_OK &&
        slm_sampler_init(&sampler, 0.8f, 40, 0.9f, 0.05f, 1, &error) == SLM_OK) {
        int32_t id = slm_sample(&sampler, slm_session_logits(session), info.n_vocab);
        if (id < 0 || (uint32_t)id >= info.n_vocab) {
            abort();
        }
    }
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < SLM_HEADER_BYTES || size > 1 << 20) {
        return 0;
    }
    uint8_t *copy = (uint8_t *)aligned(size);
    memcpy(copy, data, size);
    seal(copy, size);
    slm_error error;
    slm_model *model = NULL;
    size_t need = 0;
    if (slm_model_bytes(copy, size, 0, &need, &error) == SLM_OK && need <= MEMORY_LIMIT) {
        void *memory = aligned(need);
        if (slm_model_init(memory, need, copy, size, 0, NULL, &model, &error) == SLM_OK) {
            use_model(model);
        }
        free(memory);
    }
    free(copy);
    return 0;
}
