/* slm_file.c - header, section table and tensor directory: bytes -> checked structure.
 *
 * Order of the checks: magic, version, enough bytes for header and section table, header checksum,
 * and only then the meaning of fields, so that damage is reported as damage. Checksums prove
 * nothing about intent: every field is checked as if they did not exist. check_values.c looks at
 * weights.
 */
#include "format/slm_file.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "base/status.h"

static const uint8_t MAGIC[8] = {0x89, 'S', 'L', 'M', '\r', '\n', 0x1a, '\n'};

enum {
    AT_VERSION = 8,
    AT_HEADER_BYTES = 12,
    AT_FILE_BYTES = 16,
    AT_N_SECTIONS = 24,
    AT_FLAGS = 28,
    AT_TABLE = 32,
    AT_PARAMETERS = 40,
    AT_TOKENIZER = 48,
    AT_LAYOUT = 56,
    AT_CONTENT = 64,
    AT_ARCHITECTURE = 72,
    AT_RESERVED = 104,
    AT_CHECKSUM = 120,
    MIN_ENTRY_BYTES = 48 /* directory entry of rank 1 with the shortest name */
};

/* ---- Header ---------------------------------------------------------------------------------- */

static slm_status check_magic(const uint8_t *bytes, uint64_t n, slm_error *error)
{
    size_t have = n < 8 ? (size_t)n : 8;
    if (have == 0 || memcmp(bytes, MAGIC, have) == 0) {
        return n < SLM_HEADER_BYTES
                   ? slm_fail(error, SLM_ERR_TRUNCATED, n,
                              "the file ends after %l bytes; a .slm header has 128", n)
                   : SLM_OK;
    }
    if (have > 4 && memcmp(bytes, MAGIC, 4) == 0) {
        return slm_fail(error, SLM_ERR_MAGIC, 4,
                        "damaged .slm magic: the file went through a text-mode transfer; copy it "
                        "again in binary mode");
    }
    return slm_fail(error, SLM_ERR_MAGIC, 0, "not a .slm file (wrong magic bytes)");
}

static slm_status check_version(const uint8_t *bytes, slm_error *error)
{
    uint32_t version = load_u32(bytes + AT_VERSION);
    if (version == SLM_FORMAT_VERSION) {
        return SLM_OK;
    }
    const char *why = version == 0             ? "no such version exists"
                      : version == 0x01000000u ? "the file is byte-swapped"
                                               : "a newer slm wrote it; update slm to read it";
    return slm_fail(error, SLM_ERR_VERSION, AT_VERSION,
                    "format version %u; this build reads version %u: %s", version,
                    (uint32_t)SLM_FORMAT_VERSION, why);
}

/* Header fields that have one legal value; all of them are kept free for later versions. */
static slm_status check_fixed_fields(const uint8_t *bytes, slm_error *error)
{
    static const struct {
        uint32_t at, size, want;
        const char *name;
    } fields[] = {{AT_HEADER_BYTES, 4, SLM_HEADER_BYTES, NAMED("header length")},
                  {AT_FLAGS, 4, 0, NAMED("flags")},
                  {AT_TABLE, 8, SLM_HEADER_BYTES, NAMED("section table offset")},
                  {AT_RESERVED, 8, 0, NAMED("reserved word")},
                  {AT_RESERVED + 8, 8, 0, NAMED("reserved word")}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const uint8_t *p = bytes + fields[i].at;
        uint64_t value = fields[i].size == 4 ? load_u32(p) : load_u64(p);
        if (value != fields[i].want) {
            return slm_fail(error, SLM_ERR_LAYOUT, fields[i].at, "header: %s is %l, must be %u",
                            fields[i].name, value, fields[i].want);
        }
    }
    return SLM_OK;
}

static slm_status read_architecture(slm_file *file, slm_error *error)
{
    const uint8_t *name = file->bytes + AT_ARCHITECTURE;
    uint32_t n = 0;
    while (n < SLM_ARCHITECTURE_BYTES && name[n] > 0x20 && name[n] < 0x7f) {
        n++;
    }
    memset(file->architecture, 0, sizeof file->architecture);
    memcpy(file->architecture, name, n);
    for (uint32_t i = n; i < SLM_ARCHITECTURE_BYTES; i++) {
        if (name[i] != 0) {
            n = 0;
        }
    }
    if (n == 0 || n == SLM_ARCHITECTURE_BYTES) {
        return slm_fail(error, SLM_ERR_LAYOUT, AT_ARCHITECTURE,
                        "header: the architecture must be 1 to 31 printable ASCII characters "
                        "followed by zeros");
    }
    return SLM_OK;
}

/* Header and section table as one checksummed unit. *table_end: the first byte behind them. */
static slm_status check_header(const uint8_t *bytes, uint64_t n_available, uint64_t *table_end,
                               slm_error *error)
{
    slm_status status = check_magic(bytes, n_available, error);
    if (status == SLM_OK) {
        status = check_version(bytes, error);
    }
    if (status != SLM_OK) {
        return status;
    }
    uint32_t n_sections = load_u32(bytes + AT_N_SECTIONS);
    if (n_sections == 0 || n_sections > SLM_MAX_SECTIONS) {
        return slm_fail(error, SLM_ERR_SECTION, AT_N_SECTIONS,
                        "header: %u sections; 1 to %u are possible", n_sections,
                        (uint32_t)SLM_MAX_SECTIONS);
    }
    uint64_t end = SLM_HEADER_BYTES + (uint64_t)n_sections * SLM_SECTION_ENTRY_BYTES;
    if (end > n_available) {
        return slm_fail(error, SLM_ERR_TRUNCATED, n_available,
                        "the file ends inside the section table, after %l of %l bytes", n_available,
                        end);
    }
    slm_hash hash;
    slm_hash_init(&hash, 0);
    slm_hash_update(&hash, bytes, AT_CHECKSUM);
    slm_hash_update(&hash, bytes + SLM_HEADER_BYTES, (size_t)(end - SLM_HEADER_BYTES));
    uint64_t computed = slm_hash_final(&hash), stored = load_u64(bytes + AT_CHECKSUM);
    if (computed != stored) {
        return slm_fail(error, SLM_ERR_CHECKSUM, AT_CHECKSUM,
                        "header checksum is %x, computed %x: the header or section table is "
                        "damaged",
                        stored, computed);
    }
    *table_end = end;
    return check_fixed_fields(bytes, error);
}

static slm_status check_length(uint64_t declared, uint64_t n_total, slm_error *error)
{
    if (declared == n_total) {
        return n_total > SIZE_MAX
                   ? slm_fail(error, SLM_ERR_TOO_LARGE, AT_FILE_BYTES,
                              "%l bytes do not fit this machine's address space", n_total)
                   : SLM_OK;
    }
    if (n_total < declared) {
        return slm_fail(error, SLM_ERR_TRUNCATED, n_total,
                        "the file has %l of the %l bytes that its header announces; fetch it again",
                        n_total, declared);
    }
    return slm_fail(error, SLM_ERR_LAYOUT, declared,
                    "%l bytes follow the end of the file that its header announces (%l)",
                    n_total - declared, declared);
}

/* ---- Sections -------------------------------------------------------------------------------- */

static slm_status section_fail(slm_error *error, slm_status code, uint64_t offset, uint32_t kind,
                               const char *what)
{
    uint8_t name[4];
    store_u32(name, kind);
    return slm_fail(error, code, offset, "section '%n': %s", (const char *)name, (size_t)4, what);
}

static bool known_kind(uint32_t kind)
{
    return kind == SLM_SECTION_CONFIG || kind == SLM_SECTION_TOKENIZER ||
           kind == SLM_SECTION_CHAT || kind == SLM_SECTION_TEMPLATE ||
           kind == SLM_SECTION_PROVENANCE || kind == SLM_SECTION_DIRECTORY ||
           kind == SLM_SECTION_DATA;
}

/* Kind and flags of section i, and that no earlier one is of the same kind. */
static slm_status check_kind(const slm_file *file, uint32_t i, uint64_t at, slm_error *error)
{
    const slm_section *s = &file->sections[i];
    if (s->flags & ~(uint32_t)SLM_SECTION_REQUIRED) {
        return section_fail(error, SLM_ERR_SECTION, at + 4, s->kind, "unknown flag bits are set");
    }
    if (!known_kind(s->kind) && (s->flags & SLM_SECTION_REQUIRED)) {
        return section_fail(error, SLM_ERR_SECTION, at, s->kind,
                            "required, but unknown to this build; update slm");
    }
    for (uint32_t j = 0; j < i; j++) {
        if (file->sections[j].kind == s->kind) {
            return section_fail(error, SLM_ERR_SECTION, at, s->kind, "stands in the file twice");
        }
    }
    if ((s->kind == SLM_SECTION_DATA) != (i + 1 == file->n_sections)) {
        return slm_fail(error, SLM_ERR_SECTION, at,
                        "section DATA (tensor data) must be there, as the last one");
    }
    if (s->length == 0) {
        return section_fail(error, SLM_ERR_SECTION, at + 16, s->kind, "is empty");
    }
    return SLM_OK;
}

static slm_status check_zero(const uint8_t *bytes, uint64_t from, uint64_t to, slm_error *error)
{
    for (uint64_t i = from; i < to; i++) {
        if (bytes[i] != 0) {
            return slm_fail(error, SLM_ERR_LAYOUT, i, "the padding byte at %l is not zero", i);
        }
    }
    return SLM_OK;
}

/* Sections stand end to end, each at the next multiple of 64; zero bytes between; DATA ends the
 * file. There is therefore exactly one place that each section can have. */
static slm_status read_sections(slm_file *file, uint64_t table_end, slm_error *error)
{
    uint64_t end = table_end;
    for (uint32_t i = 0; i < file->n_sections; i++) {
        uint64_t at = SLM_HEADER_BYTES + (uint64_t)i * SLM_SECTION_ENTRY_BYTES;
        const uint8_t *entry = file->bytes + at;
        slm_section *s = &file->sections[i];
        *s = (slm_section){load_u32(entry), load_u32(entry + 4), load_u64(entry + 8),
                           load_u64(entry + 16), load_u64(entry + 24)};
        slm_status status = check_kind(file, i, at, error);
        if (status != SLM_OK) {
            return status;
        }
        uint64_t start = (end + SLM_ALIGN - 1) & ~(uint64_t)(SLM_ALIGN - 1);
        if (s->offset != start || load_u64(entry + 32) != 0) {
            return section_fail(error, SLM_ERR_LAYOUT, at + 8, s->kind,
                                s->offset != start ? "is not at the next multiple of 64"
                                                   : "the reserved word is not 0");
        }
        if (start > file->n_bytes || s->length > file->n_bytes - start) {
            return section_fail(error, SLM_ERR_LAYOUT, at + 16, s->kind,
                                "reaches past the end of the file");
        }
        end = start + s->length;
    }
    if (end != file->n_bytes) {
        return slm_fail(error, SLM_ERR_LAYOUT, end, "the last section ends at %l, the file at %l",
                        end, file->n_bytes);
    }
    return SLM_OK;
}

static slm_status require_sections(const slm_file *file, uint64_t n_available, slm_error *error)
{
    if (!slm_file_section(file, SLM_SECTION_CONFIG)) {
        return slm_fail(error, SLM_ERR_SECTION, 0, "section CONF (configuration) is missing");
    }
    if (!slm_file_section(file, SLM_SECTION_DIRECTORY)) {
        return slm_fail(error, SLM_ERR_SECTION, 0, "section TDIR (tensor directory) is missing");
    }
    uint64_t data = file->sections[file->n_sections - 1].offset;
    if (n_available < data) {
        return slm_fail(error, SLM_ERR_TRUNCATED, n_available,
                        "%l of the %l bytes before the tensor data are there", n_available, data);
    }
    return SLM_OK;
}

/* Everything that header and section table tell. */
static slm_status open_header(slm_file *file, const void *bytes, uint64_t n_available,
                              uint64_t n_total, slm_error *error)
{
    uint64_t table_end = 0;
    memset(file, 0, sizeof *file);
    file->bytes = (const uint8_t *)bytes;
    file->n_bytes = n_total;
    slm_status status = check_header(file->bytes, n_available, &table_end, error);
    if (status == SLM_OK) {
        status = check_length(load_u64(file->bytes + AT_FILE_BYTES), n_total, error);
    }
    if (status == SLM_OK) {
        status = read_architecture(file, error);
    }
    if (status != SLM_OK) {
        return status;
    }
    file->version = SLM_FORMAT_VERSION;
    file->n_parameters = load_u64(file->bytes + AT_PARAMETERS);
    file->tokenizer_checksum = load_u64(file->bytes + AT_TOKENIZER);
    file->layout_checksum = load_u64(file->bytes + AT_LAYOUT);
    file->content_checksum = load_u64(file->bytes + AT_CONTENT);
    file->n_sections = load_u32(file->bytes + AT_N_SECTIONS);
    status = read_sections(file, table_end, error);
    return status == SLM_OK ? require_sections(file, n_available, error) : status;
}

/* Padding and checksum of every section but DATA, whose checksum is the content checksum. */
static slm_status check_sections(const slm_file *file, slm_error *error)
{
    uint64_t end = SLM_HEADER_BYTES + (uint64_t)file->n_sections * SLM_SECTION_ENTRY_BYTES;
    for (uint32_t i = 0; i < file->n_sections; i++) {
        const slm_section *s = &file->sections[i];
        slm_status status = check_zero(file->bytes, end, s->offset, error);
        if (status != SLM_OK) {
            return status;
        }
        end = s->offset + s->length;
        uint64_t computed = s->kind == SLM_SECTION_DATA
                                ? file->content_checksum
                                : slm_hash_bytes(0, file->bytes + s->offset, (size_t)s->length);
        if (computed != s->checksum) {
            return section_fail(error, SLM_ERR_CHECKSUM, s->offset, s->kind,
                                "checksum differs: the section is damaged");
        }
    }
    const slm_section *tokenizer = slm_file_section(file, SLM_SECTION_TOKENIZER);
    if (file->tokenizer_checksum != (tokenizer ? tokenizer->checksum : 0)) {
        return slm_fail(error, SLM_ERR_CHECKSUM, AT_TOKENIZER,
                        "header: the tokenizer checksum is not that of section TOKN");
    }
    return SLM_OK;
}

/* ---- Tensor directory ------------------------------------------------------------------------ */

/* Well-formed UTF-8 (RFC 3629) without control characters. */
static bool legal_name(const uint8_t *s, uint32_t n)
{
    uint32_t i = 0;
    while (i < n) {
        uint8_t c = s[i];
        uint32_t more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        uint32_t code = c < 0x80 ? c : (uint32_t)(c & (0x3f >> more));
        if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || more >= n - i) {
            return false;
        }
        for (uint32_t j = 1; j <= more; j++) {
            if ((s[i + j] & 0xc0) != 0x80) {
                return false;
            }
            code = code << 6 | (s[i + j] & 0x3f);
        }
        if (code < 0x20 || (code >= 0x7f && code < 0xa0) || (more == 2 && code < 0x800) ||
            (code >= 0xd800 && code < 0xe000) || (more == 3 && code < 0x10000) || code > 0x10ffff) {
            return false;
        }
        i += more + 1;
    }
    return n != 0;
}

static slm_status tensor_fail(slm_error *error, uint64_t at, const slm_tensor *t, const char *what)
{
    return slm_fail(error, SLM_ERR_DIRECTORY, at, "tensor '%n': %s", t->name, (size_t)t->name_bytes,
                    what);
}

/* Reads one entry; what does not depend on other entries is checked here. at: its file offset. */
static slm_status read_entry(byte_reader *r, uint64_t at, slm_tensor *t, slm_error *error)
{
    memset(t, 0, sizeof *t);
    t->name_bytes = read_u16(r);
    uint8_t type = read_u8(r), rank = read_u8(r), layout = read_u8(r);
    uint32_t reserved = read_u8(r);
    reserved |= read_u16(r);
    if (rank == 0 || rank > SLM_MAX_DIMS) {
        return slm_fail(error, SLM_ERR_DIRECTORY, at + 3, "a tensor of rank %u; 1 to 4 are legal",
                        (uint32_t)rank);
    }
    for (uint32_t i = 0; i < SLM_MAX_DIMS; i++) {
        t->dims[i] = i < rank ? read_u64(r) : 1;
    }
    t->rank = rank;
    t->offset = read_u64(r);
    t->length = read_u64(r);
    t->checksum = read_u64(r);
    if (t->name_bytes == 0 || t->name_bytes > SLM_MAX_NAME) {
        return slm_fail(error, SLM_ERR_DIRECTORY, at,
                        "a tensor name of %u bytes; 1 to 256 are legal", t->name_bytes);
    }
    const uint8_t *name = read_bytes(r, t->name_bytes);
    const uint8_t *padding = read_bytes(r, (8 - t->name_bytes % 8) % 8);
    if (!name || !padding) {
        return slm_fail(error, SLM_ERR_DIRECTORY, at, "the tensor directory ends inside an entry");
    }
    t->name = (const char *)name;
    if (!legal_name(name, t->name_bytes)) {
        return tensor_fail(error, at, t, "the name is not UTF-8 or holds control characters");
    }
    for (uint32_t i = 0; i < (8 - t->name_bytes % 8) % 8; i++) {
        reserved |= padding[i];
    }
    if (reserved != 0) {
        return tensor_fail(error, at, t, "reserved bytes of its entry are not 0");
    }
    if (type >= SLM_TYPE_COUNT) {
        return tensor_fail(error, at + 2, t, "unknown element type");
    }
    t->type = (slm_type)type;
    t->layout = t->type >= SLM_TYPE_Q8_0 ? SLM_LAYOUT_T16 : SLM_LAYOUT_ROWS;
    return layout == t->layout ? SLM_OK
                               : tensor_fail(error, at + 4, t, "storage layout unfit for its type");
}

/* Place in DATA (*end: where the previous tensor ended), size, and the sums over all tensors. */
static slm_status place_tensor(slm_tensor *t, const slm_section *data, uint64_t at, uint64_t *end,
                               uint64_t *n_parameters, slm_error *error)
{
    uint64_t start = 0, bytes = 0, elements = 1;
    for (uint32_t i = 0; i < t->rank; i++) {
        if (!checked_mul_u64(elements, t->dims[i], &elements)) {
            return tensor_fail(error, at + 8, t, "its dimensions overflow");
        }
    }
    if (!slm_tensor_stored_bytes(t->type, t->rank, t->dims, &bytes)) {
        return tensor_fail(error, at + 8, t, "its dimensions are impossible for its type");
    }
    if (bytes != t->length) {
        return slm_fail(error, SLM_ERR_DIRECTORY, at,
                        "tensor '%n': %l bytes, but shape and type "
                        "need %l",
                        t->name, (size_t)t->name_bytes, t->length, bytes);
    }
    if (!checked_align_u64(*end, SLM_ALIGN, &start) || start != t->offset) {
        return slm_fail(error, SLM_ERR_LAYOUT, at,
                        "tensor '%n': offset %l in DATA, must be %l (the next multiple of 64)",
                        t->name, (size_t)t->name_bytes, t->offset, start);
    }
    if (start > data->length || t->length > data->length - start) {
        return slm_fail(error, SLM_ERR_LAYOUT, at, "tensor '%n' reaches past the end of DATA",
                        t->name, (size_t)t->name_bytes);
    }
    if (!checked_add_u64(*n_parameters, elements, n_parameters)) {
        return tensor_fail(error, at + 8, t, "the number of parameters overflows");
    }
    t->offset += data->offset;
    *end = start + t->length;
    return SLM_OK;
}

static slm_status read_directory(slm_file *file, slm_error *error)
{
    const slm_section *s = slm_file_section(file, SLM_SECTION_DIRECTORY);
    const slm_section *data = slm_file_section(file, SLM_SECTION_DATA);
    byte_reader r = byte_reader_view(file->bytes + s->offset, s->length);
    uint64_t end = 0, n_parameters = 0, layout = slm_layout_checksum_begin();
    read_u32(&r);
    if (read_u32(&r) != 0) {
        return slm_fail(error, SLM_ERR_DIRECTORY, s->offset + 4,
                        "tensor directory: the reserved word is not 0");
    }
    for (uint32_t i = 0; i < file->n_tensors; i++) {
        slm_tensor *t = &file->tensors[i];
        uint64_t at = s->offset + r.pos;
        slm_status status = read_entry(&r, at, t, error);
        if (status == SLM_OK) {
            status = place_tensor(t, data, at, &end, &n_parameters, error);
        }
        if (status != SLM_OK) {
            return status;
        }
        layout = slm_layout_checksum_add(layout, t->name, t->name_bytes, t->rank, t->dims);
    }
    if (r.pos != s->length) {
        return slm_fail(error, SLM_ERR_DIRECTORY, s->offset + r.pos,
                        "%l bytes follow the last entry of the tensor directory",
                        s->length - r.pos);
    }
    if (end != data->length) {
        return slm_fail(error, SLM_ERR_LAYOUT, data->offset + end,
                        "the tensors end %l bytes before section DATA does", data->length - end);
    }
    if (n_parameters != file->n_parameters) {
        return slm_fail(error, SLM_ERR_DIRECTORY, AT_PARAMETERS,
                        "header: %l parameters; the tensors have %l", file->n_parameters,
                        n_parameters);
    }
    if (layout != file->layout_checksum) {
        return slm_fail(error, SLM_ERR_CHECKSUM, AT_LAYOUT,
                        "header: layout checksum %x; the tensors give %x", file->layout_checksum,
                        layout);
    }
    return slm_file_check_content(file, error);
}

/* ---- Name index ------------------------------------------------------------------------------ */

static int compare_names(const char *a, size_t n_a, const char *b, size_t n_b)
{
    int order = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return order != 0 ? order : (n_a > n_b) - (n_a < n_b);
}

static int compare_tensors(const slm_file *file, uint32_t a, uint32_t b)
{
    const slm_tensor *x = &file->tensors[a], *y = &file->tensors[b];
    return compare_names(x->name, x->name_bytes, y->name, y->name_bytes);
}

/* Bottom-up merge sort: n log n whatever the names are, no recursion, nearly linear on the almost
 * sorted order that files have. spare: n_tensors indices. */
static void sort_names(slm_file *file, uint32_t *spare)
{
    uint32_t n = file->n_tensors, *from = file->by_name, *to = spare;
    for (uint32_t i = 0; i < n; i++) {
        from[i] = i;
    }
    for (uint32_t width = 1; width < n; width *= 2) {
        for (uint32_t start = 0; start < n; start += 2 * width) {
            uint32_t middle = n - start < width ? n : start + width;
            uint32_t end = n - start < 2 * width ? n : start + 2 * width;
            uint32_t i = start, j = middle;
            if (middle == end || compare_tensors(file, from[middle - 1], from[middle]) <= 0) {
                memcpy(to + start, from + start, (end - start) * sizeof *to);
                continue;
            }
            for (uint32_t k = start; k < end; k++) {
                bool left =
                    j >= end || (i < middle && compare_tensors(file, from[i], from[j]) <= 0);
                to[k] = left ? from[i++] : from[j++];
            }
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != file->by_name) {
        memcpy(file->by_name, from, n * sizeof *from);
    }
}

static slm_status index_names(slm_file *file, uint32_t *spare, slm_error *error)
{
    sort_names(file, spare);
    for (uint32_t i = 1; i < file->n_tensors; i++) {
        if (compare_tensors(file, file->by_name[i - 1], file->by_name[i]) == 0) {
            const slm_tensor *t = &file->tensors[file->by_name[i]];
            uint64_t at = (uint64_t)((const uint8_t *)t->name - file->bytes);
            return tensor_fail(error, at, t, "stands in the directory twice");
        }
    }
    return SLM_OK;
}

/* ---- Interface ------------------------------------------------------------------------------- */

/* The number of tensors, from the directory's first word. */
static slm_status count_tensors(slm_file *file, slm_error *error)
{
    const slm_section *s = slm_file_section(file, SLM_SECTION_DIRECTORY);
    if (s->length < 8) {
        return slm_fail(error, SLM_ERR_DIRECTORY, s->offset, "the tensor directory is too short");
    }
    uint32_t n = load_u32(file->bytes + s->offset);
    if (n == 0 || n > SLM_MAX_TENSORS || n > (s->length - 8) / MIN_ENTRY_BYTES) {
        return slm_fail(error, SLM_ERR_DIRECTORY, s->offset,
                        "%u tensors; 1 to %u are legal and must fit the directory's %l bytes", n,
                        (uint32_t)SLM_MAX_TENSORS, s->length);
    }
    file->n_tensors = n;
    return SLM_OK;
}

slm_status slm_file_arena_bytes(const void *bytes, uint64_t n_available, uint64_t *need,
                                slm_error *error)
{
    slm_file file;
    slm_arena arena = arena_measure();
    uint64_t n_total =
        n_available >= SLM_HEADER_BYTES ? load_u64((const uint8_t *)bytes + AT_FILE_BYTES) : 0;
    slm_status status = slm_file_open(&file, &arena, bytes, n_available, n_total, error);
    if (status == SLM_OK) {
        *need = arena.used;
    }
    return status;
}

slm_status slm_file_open(slm_file *file, slm_arena *arena, const void *bytes, uint64_t n_available,
                         uint64_t n_total, slm_error *error)
{
    slm_status status = open_header(file, bytes, n_available, n_total, error);
    if (status == SLM_OK) {
        status = count_tensors(file, error);
    }
    if (status != SLM_OK) {
        return status;
    }
    file->tensors = (slm_tensor *)arena_take(arena, file->n_tensors, sizeof(slm_tensor));
    file->by_name = (uint32_t *)arena_take(arena, file->n_tensors, sizeof(uint32_t));
    uint32_t *spare = (uint32_t *)arena_take(arena, file->n_tensors, sizeof(uint32_t));
    if (arena->failed) {
        return slm_fail(error, SLM_ERR_MEMORY, 0, "no room for a directory of %u tensors",
                        file->n_tensors);
    }
    if (!arena->base) {
        return SLM_OK;
    }
    status = check_sections(file, error);
    if (status == SLM_OK) {
        status = read_directory(file, error);
    }
    return status == SLM_OK ? index_names(file, spare, error) : status;
}

const slm_section *slm_file_section(const slm_file *file, uint32_t kind)
{
    for (uint32_t i = 0; i < file->n_sections; i++) {
        if (file->sections[i].kind == kind) {
            return &file->sections[i];
        }
    }
    return NULL;
}

const slm_tensor *slm_file_tensor(const slm_file *file, const char *name, size_t name_bytes)
{
    uint32_t low = 0, high = file->n_tensors;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const slm_tensor *t = &file->tensors[file->by_name[middle]];
        int order = compare_names(name, name_bytes, t->name, t->name_bytes);
        if (order == 0) {
            return t;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

slm_status slm_file_check_tensor(const slm_file *file, uint32_t index, slm_error *error)
{
    const slm_tensor *t = &file->tensors[index];
    uint64_t end = t->offset + t->length;
    uint64_t next = index + 1 < file->n_tensors ? file->tensors[index + 1].offset : end;
    uint64_t computed = slm_hash_bytes(0, slm_tensor_data(file, t), (size_t)t->length);
    if (computed != t->checksum) {
        return slm_fail(error, SLM_ERR_CHECKSUM, t->offset,
                        "tensor '%n': checksum is %x, computed %x: the data is damaged", t->name,
                        (size_t)t->name_bytes, t->checksum, computed);
    }
    return check_zero(file->bytes, end, next, error);
}

slm_status slm_file_check_content(const slm_file *file, slm_error *error)
{
    uint64_t h = slm_content_checksum_begin();
    for (uint32_t i = 0; i < file->n_tensors; i++) {
        h = slm_content_checksum_add(h, file->tensors[i].checksum);
    }
    return h == file->content_checksum
               ? SLM_OK
               : slm_fail(error, SLM_ERR_CHECKSUM, AT_CONTENT,
                          "header: content checksum %x; the tensors' checksums give %x",
                          file->content_checksum, h);
}

/* ---- Identities ------------------------------------------------------------------------------ */

uint64_t slm_layout_checksum_begin(void)
{
    return 0x74656e736f722d6cu;
}

uint64_t slm_layout_checksum_add(uint64_t h, const char *name, size_t name_bytes, uint32_t rank,
                                 const uint64_t *dims)
{
    h = mix64_chain(h, name_bytes);
    for (size_t i = 0; i < name_bytes; i += 8) {
        uint8_t word[8] = {0};
        memcpy(word, name + i, name_bytes - i < 8 ? name_bytes - i : 8);
        h = mix64_chain(h, load_u64(word));
    }
    h = mix64_chain(h, rank);
    for (uint32_t i = 0; i < rank; i++) {
        h = mix64_chain(h, dims[i]);
    }
    return h;
}

uint64_t slm_content_checksum_begin(void)
{
    return 0x736c6d2d64617461u;
}

uint64_t slm_content_checksum_add(uint64_t h, uint64_t tensor_checksum)
{
    return mix64_chain(h, tensor_checksum);
}
