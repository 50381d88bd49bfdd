/* slm_file.h - the bytes of a .slm file -> a validated directory of sections and tensors.
 *
 * schemas/slm-format.md is the normative description. This is the only reader: tools, runtime and
 * wasm module share it. It reads structure; what a configuration or tokenizer means is config.h and
 * text/. Nothing here changes or copies the file.
 */
#ifndef SLM_FORMAT_SLM_FILE_H
#define SLM_FORMAT_SLM_FILE_H

#include <stdbool.h>

#include "base/arena.h"
#include "slm.h"

enum {
    SLM_FORMAT_VERSION = 1,
    SLM_HEADER_BYTES = 128,
    SLM_SECTION_ENTRY_BYTES = 40,
    SLM_ALIGN = 64, /* of sections, and of tensors within DATA */
    SLM_MAX_SECTIONS = 64,
    SLM_MAX_TENSORS = 1 << 20,
    SLM_MAX_DIMS = 4,
    SLM_MAX_NAME = 256, /* bytes of a tensor name */
    SLM_ARCHITECTURE_BYTES = 32
};

/* Section kinds: four ASCII characters, little-endian. */
#define SLM_FOURCC(a, b, c, d)                                                                     \
    ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define SLM_SECTION_CONFIG SLM_FOURCC('C', 'O', 'N', 'F')     /* model configuration, required */
#define SLM_SECTION_TOKENIZER SLM_FOURCC('T', 'O', 'K', 'N')  /* BTOK or BPE1 payload */
#define SLM_SECTION_CHAT SLM_FOURCC('C', 'H', 'A', 'T')       /* chat turns */
#define SLM_SECTION_TEMPLATE SLM_FOURCC('T', 'M', 'P', 'L')   /* chat template, text */
#define SLM_SECTION_PROVENANCE SLM_FOURCC('P', 'R', 'O', 'V') /* where it came from, JSON */
#define SLM_SECTION_DIRECTORY SLM_FOURCC('T', 'D', 'I', 'R')  /* tensor directory */
#define SLM_SECTION_DATA SLM_FOURCC('D', 'A', 'T', 'A')       /* tensor data, always last */

enum { SLM_SECTION_REQUIRED = 1 }; /* section flag: a reader that does not know it must refuse */

/* How a tensor's elements are stored. */
typedef enum slm_layout {
    SLM_LAYOUT_ROWS = 0, /* F32, F16, BF16: row after row, padded to 16 elements if rank 2 */
    SLM_LAYOUT_T16 = 1   /* block types: 16 rows side by side (quant/blocks.h) */
} slm_layout;

typedef struct slm_section {
    uint32_t kind, flags;
    uint64_t offset, length, checksum;
} slm_section;

typedef struct slm_tensor {
    const char *name; /* borrows from the file; not NUL-terminated */
    uint32_t name_bytes;
    slm_type type;
    slm_layout layout;
    uint32_t rank;
    uint64_t dims[SLM_MAX_DIMS]; /* as in the sources: dims[0] rows, dims[1] columns; unused: 1 */
    uint64_t offset;             /* in the file */
    uint64_t length;             /* stored bytes, padding of rows and row groups included */
    uint64_t checksum;           /* slm_hash_bytes(0, data, length) */
} slm_tensor;

typedef struct slm_file {
    const uint8_t *bytes;
    uint64_t n_bytes; /* of the whole file */
    uint32_t version;
    char architecture[SLM_ARCHITECTURE_BYTES + 1];
    uint64_t n_parameters;
    uint64_t tokenizer_checksum; /* 0 without a tokenizer */
    uint64_t layout_checksum;
    uint64_t content_checksum;
    slm_section sections[SLM_MAX_SECTIONS];
    uint32_t n_sections;
    slm_tensor *tensors; /* n_tensors, directory order; in the arena */
    uint32_t n_tensors;
    uint32_t *by_name; /* tensor indices sorted by name; in the arena */
} slm_file;

/* Bytes of arena that slm_file_open takes for this file (header and section table are read).
 * n_available: how many bytes of the file are at hand; DATA may be missing.
 * Errors: TRUNCATED, MAGIC, VERSION, CHECKSUM, LAYOUT, SECTION, DIRECTORY, TOO_LARGE. */
slm_status slm_file_arena_bytes(const void *bytes, uint64_t n_available, uint64_t *need,
                                slm_error *error);

/* Reads and validates header, section table, the checksum of every section but DATA, the tensor
 * directory, the layout checksum, and that the content checksum is the chain over the tensors'
 * checksums. Everything up to DATA must be available; n_total is the
 * length of the whole file and must equal what the header says.
 * file: caller's, filled on success; borrows bytes and the arena's memory. On a measuring arena
 * everything but tensors and by_name (NULL then) is filled and only header and section table are
 * checked.
 * Errors: as slm_file_arena_bytes, and MEMORY. */
slm_status slm_file_open(slm_file *file, slm_arena *arena, const void *bytes, uint64_t n_available,
                         uint64_t n_total, slm_error *error);

/* The section of that kind, or NULL. */
const slm_section *slm_file_section(const slm_file *file, uint32_t kind);

/* The tensor of that name (name_bytes long), or NULL. O(log n). */
const slm_tensor *slm_file_tensor(const slm_file *file, const char *name, size_t name_bytes);

/* Where a tensor's stored bytes begin (64-byte aligned if the file is). */
static inline const uint8_t *slm_tensor_data(const slm_file *file, const slm_tensor *tensor)
{
    return file->bytes + tensor->offset;
}

/* Verifies one tensor's checksum, and that the padding between it and the next one is zero.
 * Errors: CHECKSUM, LAYOUT. */
slm_status slm_file_check_tensor(const slm_file *file, uint32_t index, slm_error *error);

/* Verifies that the content checksum is the chain over the tensors' checksums. Errors: CHECKSUM. */
slm_status slm_file_check_content(const slm_file *file, slm_error *error);

/* Refuses NaN and infinity in a tensor's elements or block scales, and non-zero padding of rows and
 * row groups. Errors: NOT_FINITE, naming tensor and row; LAYOUT for padding. */
slm_status slm_file_check_values(const slm_file *file, uint32_t index, slm_error *error);

/* Stored bytes of a tensor of this type and shape, row and group padding included. False if the
 * combination is illegal (block type with rank != 2 or columns not a multiple of 32; rank 0 or > 4;
 * a zero dimension) or does not fit 64 bits. Block types are T16, the others ROWS. */
bool slm_tensor_stored_bytes(slm_type type, uint32_t rank, const uint64_t dims[SLM_MAX_DIMS],
                             uint64_t *bytes);

/* The tensor layout checksum of section 4 of the format: mix64 chain over name, rank, dims. */
uint64_t slm_layout_checksum_begin(void);
uint64_t slm_layout_checksum_add(uint64_t h, const char *name, size_t name_bytes, uint32_t rank,
                                 const uint64_t *dims);
/* The content checksum: mix64 chain over tensor checksums in directory order. */
uint64_t slm_content_checksum_begin(void);
uint64_t slm_content_checksum_add(uint64_t h, uint64_t tensor_checksum);

#endif
