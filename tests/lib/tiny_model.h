/* tiny_model.h - the smallest legal model file, written out by hand from the format document and
 * not through the writer, so that reader and writer are both compared with it. Tests damage it and
 * may then make its checksums right again.
 *
 * One layer, one head of 2, d_model 32, vocabulary 2; all weights zero; one tensor of every type.
 */
#ifndef SLM_TESTS_TINY_MODEL_H
#define SLM_TESTS_TINY_MODEL_H

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "format/slm_file.h"

enum { TINY_TENSORS = 12, TINY_CAPACITY = 32768, TINY_PARAMETERS = 3552 };

typedef struct tiny_tensor {
    const char *name;
    uint8_t type, rank;
    uint16_t dims[2];
    uint16_t bytes; /* by hand, from the layouts of the format document */
} tiny_tensor;

static const tiny_tensor TINY[TINY_TENSORS] = {
    {"token_embd.weight", SLM_TYPE_Q4_K, 2, {2, 32}, 768}, /* 12 lines */
    {"blk.0.attn_norm.weight", SLM_TYPE_F32, 1, {32, 1}, 128},
    {"blk.0.attn_q.weight", SLM_TYPE_F16, 2, {2, 32}, 128},
    {"blk.0.attn_k.weight", SLM_TYPE_BF16, 2, {2, 32}, 128},
    {"blk.0.attn_v.weight", SLM_TYPE_F32, 2, {2, 32}, 256},
    {"blk.0.attn_output.weight", SLM_TYPE_F16, 2, {32, 2}, 1024}, /* rows padded to 16 */
    {"blk.0.ffn_norm.weight", SLM_TYPE_F32, 1, {32, 1}, 128},
    {"blk.0.ffn_gate.weight", SLM_TYPE_Q6_K, 2, {32, 32}, 1792}, /* 2 (1 + 13 lines) */
    {"blk.0.ffn_up.weight", SLM_TYPE_Q8_0, 2, {32, 32}, 1152},   /* 2 (1 + 8 lines) */
    {"blk.0.ffn_down.weight", SLM_TYPE_Q5_K, 2, {32, 32}, 1792}, /* 2 (14 lines) */
    {"output_norm.weight", SLM_TYPE_F32, 1, {32, 1}, 128},
    {"output.weight", SLM_TYPE_Q4_0, 2, {2, 32}, 320}, /* 1 + 4 lines */
};

typedef struct tiny_section {
    uint32_t kind, flags;
    const void *bytes; /* NULL: CONF, TDIR or DATA of the model itself */
    uint32_t n_bytes;
} tiny_section;

typedef struct tiny_model {
    uint8_t *bytes; /* 64-byte aligned */
    uint32_t n_bytes, n_sections;
    uint32_t conf, directory, data; /* where these sections begin */
    uint32_t n_conf, n_directory, n_data;
    uint32_t entry[TINY_TENSORS];  /* directory entries, in the file */
    uint32_t tensor[TINY_TENSORS]; /* tensor data, in the file */
} tiny_model;

static inline uint32_t tiny_conf(uint8_t *out)
{
    static const uint32_t fields[10][3] = {{1, 1, 2},           {2, 1, 8}, {3, 1, 32}, {4, 1, 1},
                                           {5, 1, 1},           {6, 1, 1}, {7, 1, 2},  {8, 1, 32},
                                           {9, 3, 0x3727c5acu},   /* 1e-5 */
                                           {16, 3, 0x461c4000u}}; /* 10000 */
    for (uint32_t i = 0; i < 10; i++) {
        store_u16(out + 12 * i, (uint16_t)fields[i][0]);
        store_u16(out + 12 * i + 2, (uint16_t)fields[i][1]);
        store_u32(out + 12 * i + 4, 1);
        store_u32(out + 12 * i + 8, fields[i][2]);
    }
    return 120;
}

static inline uint32_t tiny_directory(tiny_model *m, uint8_t *out)
{
    uint32_t at = 8, offset = 0;
    store_u32(out, TINY_TENSORS);
    for (uint32_t i = 0; i < TINY_TENSORS; i++) {
        const tiny_tensor *t = &TINY[i];
        uint32_t n = (uint32_t)strlen(t->name), dims = 8u * t->rank;
        m->entry[i] = at;
        m->tensor[i] = offset;
        store_u16(out + at, (uint16_t)n);
        out[at + 2] = t->type;
        out[at + 3] = t->rank;
        out[at + 4] = t->type >= SLM_TYPE_Q8_0;
        for (uint32_t k = 0; k < t->rank; k++) {
            store_u64(out + at + 8 + 8 * k, t->dims[k]);
        }
        store_u64(out + at + 8 + dims, offset);
        store_u64(out + at + 16 + dims, t->bytes);
        memcpy(out + at + 32 + dims, t->name, n);
        at += 32 + dims + (n + 7) / 8 * 8;
        m->n_data = offset + t->bytes;
        offset = (m->n_data + 63) / 64 * 64;
    }
    return at;
}

static inline void tiny_seal_header(tiny_model *m)
{
    uint32_t table = 40 * m->n_sections;
    uint8_t *copy = malloc(120 + table);
    memcpy(copy, m->bytes, 120);
    memcpy(copy + 120, m->bytes + 128, table);
    store_u64(m->bytes + 120, slm_hash_bytes(0, copy, 120 + table));
    free(copy);
}

/* Makes every checksum right again, from the bottom up. Places are those of the undamaged file. */
static inline void tiny_seal(tiny_model *m)
{
    uint64_t content = slm_content_checksum_begin(), layout = slm_layout_checksum_begin();
    for (uint32_t i = 0; i < TINY_TENSORS && m->directory && m->data; i++) {
        uint8_t *e = m->bytes + m->entry[i];
        uint64_t dims[2] = {load_u64(e + 8), load_u64(e + 16)};
        uint32_t skip = 8u * TINY[i].rank;
        uint64_t sum = slm_hash_bytes(0, m->bytes + m->tensor[i], TINY[i].bytes);
        store_u64(e + 24 + skip, sum);
        content = slm_content_checksum_add(content, sum);
        layout = slm_layout_checksum_add(layout, (const char *)e + 32 + skip, strlen(TINY[i].name),
                                         TINY[i].rank, dims);
    }
    store_u64(m->bytes + 56, layout);
    store_u64(m->bytes + 64, content);
    for (uint32_t i = 0; i < m->n_sections; i++) {
        uint8_t *e = m->bytes + 128 + 40 * i;
        uint64_t at = load_u64(e + 8), n = load_u64(e + 16);
        if (at + n < at || at + n > m->n_bytes) {
            continue;
        }
        uint32_t kind = load_u32(e);
        uint64_t sum = kind == SLM_SECTION_DATA ? content : slm_hash_bytes(0, m->bytes + at, n);
        store_u64(e + 24, sum);
        if (kind == SLM_SECTION_TOKENIZER) {
            store_u64(m->bytes + 48, sum);
        }
    }
    tiny_seal_header(m);
}

/* sections: in file order, DATA last (or as wrong as the test likes). */
static inline void tiny_build_with(tiny_model *m, const tiny_section *sections, uint32_t n)
{
    static const uint8_t magic[8] = {0x89, 0x53, 0x4c, 0x4d, 0x0d, 0x0a, 0x1a, 0x0a};
    uint8_t conf[256] = {0}, directory[2048] = {0};
    memset(m, 0, sizeof *m);
    m->bytes = aligned_alloc(64, TINY_CAPACITY);
    memset(m->bytes, 0, TINY_CAPACITY);
    m->n_conf = tiny_conf(conf);
    m->n_directory = tiny_directory(m, directory);
    uint32_t at = 128 + 40 * n;
    m->n_sections = n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t kind = sections[i].kind, size = sections[i].n_bytes;
        const void *bytes = sections[i].bytes;
        at = (at + 63) / 64 * 64;
        if (!bytes && kind == SLM_SECTION_CONFIG) {
            m->conf = at, size = m->n_conf, bytes = conf;
        } else if (!bytes && kind == SLM_SECTION_DIRECTORY) {
            m->directory = at, size = m->n_directory, bytes = directory;
        } else if (!bytes && kind == SLM_SECTION_DATA) {
            m->data = at, size = m->n_data;
        }
        uint8_t *e = m->bytes + 128 + 40 * i;
        store_u32(e, kind);
        store_u32(e + 4, sections[i].flags);
        store_u64(e + 8, at);
        store_u64(e + 16, size);
        if (bytes) {
            memcpy(m->bytes + at, bytes, size);
        }
        at += size;
    }
    for (uint32_t i = 0; i < TINY_TENSORS; i++) {
        m->entry[i] += m->directory;
        m->tensor[i] += m->data;
    }
    m->n_bytes = at;
    memcpy(m->bytes, magic, 8);
    store_u32(m->bytes + 8, 1);
    store_u32(m->bytes + 12, 128);
    store_u64(m->bytes + 16, at);
    store_u32(m->bytes + 24, n);
    store_u64(m->bytes + 32, 128);
    store_u64(m->bytes + 40, TINY_PARAMETERS);
    memcpy(m->bytes + 72, "llama", 5);
    tiny_seal(m);
}

#define TINY_CONF                                                                                  \
    {                                                                                              \
        SLM_SECTION_CONFIG, 1, NULL, 0                                                             \
    }
#define TINY_TDIR                                                                                  \
    {                                                                                              \
        SLM_SECTION_DIRECTORY, 1, NULL, 0                                                          \
    }
#define TINY_DATA                                                                                  \
    {                                                                                              \
        SLM_SECTION_DATA, 1, NULL, 0                                                               \
    }
static const tiny_section TINY_SECTIONS[3] = {TINY_CONF, TINY_TDIR, TINY_DATA};

static inline void tiny_build(tiny_model *m)
{
    tiny_build_with(m, TINY_SECTIONS, 3);
}

static inline void tiny_free(tiny_model *m)
{
    free(m->bytes);
    m->bytes = NULL;
}

#endif
