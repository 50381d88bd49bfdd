/* synthetic.h - small models with random weights, written through the tools' own writer, for tests
 * that need a model of some shape and type rather than a trained one.
 */
#ifndef SLM_TESTS_SYNTHETIC_H
#define SLM_TESTS_SYNTHETIC_H

#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "format/config.h"
#include "lib/check.h"
#include "lib/input.h"
#include "lib/slm_writer.h"
#include "quant/blocks.h"

static inline slm_config synthetic_config(void)
{
    slm_config c = slm_config_default();
    c.n_vocab = 80;
    c.n_context = 128;
    c.d_model = 64;
    c.n_layers = 2;
    c.n_heads = 4;
    c.n_kv_heads = 2;
    c.head_dim = 16;
    c.d_ff = 288; /* one super-block and a short one of a single sub-block */
    c.norm_eps = 1e-5f;
    c.rope_theta = 10000.0f;
    c.tied_output = 1;
    return c;
}

static inline float synthetic_value(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (float)((double)(*state >> 11) * 0x1p-53 - 0.5) * 0.4f;
}

/* The stored bytes of one tensor: norms near 1, matrices in [-0.2, 0.2]. malloc'd. */
static inline uint8_t *synthetic_tensor(const slm_tensor_spec *spec, slm_type type, uint64_t *state,
                                        uint64_t *n_bytes)
{
    uint64_t dims[SLM_MAX_DIMS] = {spec->dims[0], spec->rank > 1 ? spec->dims[1] : 1, 1, 1};
    if (!slm_tensor_stored_bytes(type, spec->rank, dims, n_bytes)) {
        return NULL;
    }
    uint32_t rows = spec->rank > 1 ? (uint32_t)dims[0] : 1;
    uint32_t cols = (uint32_t)(spec->rank > 1 ? dims[1] : dims[0]);
    uint8_t *bytes = (uint8_t *)aligned_alloc(64, (size_t)(*n_bytes + 63) / 64 * 64);
    float *x = (float *)malloc((size_t)rows * cols * sizeof(float));
    memset(bytes, 0, (size_t)*n_bytes);
    for (size_t i = 0; i < (size_t)rows * cols; i++) {
        x[i] = synthetic_value(state) + (spec->rank == 1 ? 1.0f : 0.0f);
    }
    for (uint32_t r = 0; slm_type_is_block(type) && r < rows; r += 16) {
        slm_quantize_group(type, x + (size_t)r * cols, cols, rows - r < 16 ? rows - r : 16, cols,
                           bytes + r / 16 * slm_t16_group_bytes(type, cols));
    }
    for (size_t i = 0; !slm_type_is_block(type) && i < (size_t)rows * cols; i++) {
        size_t at = i / cols * (size_t)slm_row_bytes(type, cols);
        uint16_t half = type == SLM_TYPE_F16 ? half_from_f32(x[i]) : bf16_from_f32(x[i]);
        if (type == SLM_TYPE_F32) {
            memcpy(bytes + at + i % cols * 4, &x[i], 4);
        } else {
            memcpy(bytes + at + i % cols * 2, &half, 2);
        }
    }
    free(x);
    return bytes;
}

static inline int synthetic_write(slm_writer *w, const slm_config *c, slm_type type, failure *f)
{
    slm_tensor_spec spec;
    uint64_t state = 88172645463325252u, n_bytes;
    for (uint32_t i = 0; i < slm_config_n_tensors(c); i++) {
        slm_config_tensor(c, i, &spec);
        slm_type t = spec.rank == 1 ? SLM_TYPE_F32 : type;
        if (slm_writer_tensor(w, spec.name, t, spec.rank, spec.dims, f) != EXIT_OK) {
            return f->exit_code;
        }
    }
    if (slm_writer_begin(w, &n_bytes, f) != EXIT_OK) {
        return f->exit_code;
    }
    for (uint32_t i = 0; i < slm_config_n_tensors(c); i++) {
        slm_config_tensor(c, i, &spec);
        uint8_t *bytes =
            synthetic_tensor(&spec, spec.rank == 1 ? SLM_TYPE_F32 : type, &state, &n_bytes);
        int code = bytes ? slm_writer_data(w, bytes, n_bytes, f)
                         : fail(f, EXIT_INTERNAL, "%s cannot be stored so", spec.name);
        free(bytes);
        if (code != EXIT_OK) {
            return code;
        }
    }
    return slm_writer_finish(w, f);
}

/* Writes a model without tokenizer to `path`. */
static inline int synthetic_file(const char *path, const char *architecture, const slm_config *c,
                                 slm_type type, failure *f)
{
    output *out = NULL;
    slm_writer *w = NULL;
    int code = output_create(path, true, NULL, 0, &out, f);
    if (code == EXIT_OK) {
        code = slm_writer_create(out, architecture, c, &w, f);
    }
    if (code == EXIT_OK) {
        code = synthetic_write(w, c, type, f);
    }
    slm_writer_destroy(&w);
    if (code == EXIT_OK) {
        code = output_commit(out, f);
    }
    output_destroy(&out);
    return code;
}

/* The bytes of such a file in 64-byte aligned memory; NULL (with the reason printed) on failure. */
static inline uint8_t *synthetic_bytes(const char *architecture, const slm_config *c, slm_type type,
                                       size_t *n_bytes)
{
    char path[] = "/tmp/slm-synthetic-XXXXXX";
    failure f = {0};
    input in;
    uint8_t *bytes = NULL;
    int fd = mkstemp(path);
    memset(&in, 0, sizeof in);
    if (fd < 0 || synthetic_file(path, architecture, c, type, &f) != EXIT_OK ||
        input_open(path, &in, &f) != EXIT_OK) {
        printf("# synthetic model: %s\n", f.text);
        return NULL;
    }
    bytes = (uint8_t *)aligned_alloc(64, (size_t)(in.n_bytes + 63) / 64 * 64);
    *n_bytes = (size_t)in.n_bytes;
    if (input_read_at(&in, 0, bytes, in.n_bytes, &f) != EXIT_OK) {
        printf("# synthetic model: %s\n", f.text);
        free(bytes);
        bytes = NULL;
    }
    input_close(&in);
    remove(path);
    return bytes;
}

#endif
