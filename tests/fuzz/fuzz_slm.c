/* Any bytes as a .slm file. The fuzzer cannot guess checksums, so each input is tried twice: as it
 * is, and with the checksums of header and sections made right, which lets mutants through to the
 * directory and the configuration. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "format/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_file(const uint8_t *bytes, size_t size)
{
    static slm_file file;
    slm_error error;
    slm_config config;
    uint64_t need = 0;
    if (slm_file_arena_bytes(bytes, size, &need, &error) != SLM_OK || need > 1 << 24) {
        return;
    }
    void *memory = aligned_alloc(64, ((size_t)need + 63) / 64 * 64);
    slm_arena arena = arena_over(memory, need);
    if (slm_file_open(&file, &arena, bytes, size, size, &error) == SLM_OK) {
        const slm_section *s = slm_file_section(&file, SLM_SECTION_CONFIG);
        if (slm_config_read(&config, bytes + s->offset, (size_t)s->length, &error) == SLM_OK) {
            slm_config_check_tensors(&config, &file, &error);
        }
        for (uint32_t i = 0; i < file.n_tensors; i++) {
            slm_file_check_tensor(&file, i, &error);
            slm_file_check_values(&file, i, &error);
        }
    }
    free(memory);
}

static void seal(uint8_t *bytes, size_t size)
{
    uint32_t n = load_u32(bytes + 24);
    if (n > SLM_MAX_SECTIONS || size < 128 + 40 * (size_t)n) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *e = bytes + 128 + 40 * (size_t)i;
        uint64_t at = load_u64(e + 8), length = load_u64(e + 16);
        if (at <= size && length <= size - at && load_u32(e) != SLM_SECTION_DATA) {
            store_u64(e + 24, slm_hash_bytes(0, bytes + at, (size_t)length));
        }
    }
    slm_hash hash;
    slm_hash_init(&hash, 0);
    slm_hash_update(&hash, bytes, 120);
    slm_hash_update(&hash, bytes + 128, 40 * (size_t)n);
    store_u64(bytes + 120, slm_hash_final(&hash));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_file(data, size);
    if (size < 128) {
        return 0;
    }
    uint8_t *copy = malloc(size);
    memcpy(copy, data, size);
    store_u64(copy + 16, size);
    seal(copy, size);
    open_file(copy, size);
    free(copy);
    return 0;
}
