/* zip.c - reads zip archives without trusting any of their three copies of the truth. */
#include "lib/zip.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"

enum {
    END_BYTES = 22,
    LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    FLAG_ENCRYPTED = 1,
    FLAG_DESCRIPTOR = 8,
    KNOWN_FLAGS = 0x0806 | FLAG_DESCRIPTOR, /* deflate effort, descriptor, UTF-8 names */
    METHOD_STORED = 0,
    METHOD_DEFLATED = 8,
    EXTRA_ZIP64 = 1
};

static const uint32_t SIGNATURE_END = 0x06054b50u, SIGNATURE_LOCATOR = 0x07064b50u,
                      SIGNATURE_END64 = 0x06064b50u, SIGNATURE_CENTRAL = 0x02014b50u,
                      SIGNATURE_LOCAL = 0x04034b50u, SIGNATURE_DESCRIPTOR = 0x08074b50u;

typedef struct directory {
    uint64_t offset, n_bytes, n_entries;
    uint64_t end; /* where the records that follow it begin */
} directory;

static int refuse(const zip *z, uint64_t offset, const char *what, failure *f)
{
    return fail(f, EXIT_INPUT, "%s: offset %" PRIu64 ": %s", z->name, offset, what);
}

static int refuse_entry(const zip *z, const zip_entry *e, const char *what, failure *f)
{
    return fail(f, EXIT_INPUT, "%s: member %.*s: %s", z->name,
                (int)(e->name_bytes < 200 ? e->name_bytes : 200), e->name, what);
}

/* ---- The end of the archive ---------------------------------------------------------------------
 */

/* The end record closes the file: its comment must reach exactly to the last byte. */
static int find_end(const zip *z, uint64_t *offset, failure *f)
{
    if (z->n_bytes < END_BYTES) {
        return refuse(z, 0, "too short for a zip archive", f);
    }
    uint64_t last = z->n_bytes - END_BYTES;
    uint64_t first = last > 65535 ? last - 65535 : 0;
    for (uint64_t at = last + 1; at-- > first;) {
        if (load_u32(z->bytes + at) == SIGNATURE_END &&
            load_u16(z->bytes + at + 20) == z->n_bytes - at - END_BYTES) {
            *offset = at;
            return EXIT_OK;
        }
    }
    return refuse(z, 0, "no end of central directory: not a zip archive, or cut short", f);
}

static int read_end64(const zip *z, uint64_t end, directory *d, failure *f)
{
    uint64_t at = end - LOCATOR_BYTES;
    uint64_t record = load_u64(z->bytes + at + 8);
    if (load_u32(z->bytes + at + 4) != 0 || load_u32(z->bytes + at + 16) > 1 || record > at ||
        at - record < END64_BYTES || load_u32(z->bytes + record) != SIGNATURE_END64) {
        return refuse(z, at, "the zip64 locator leads nowhere", f);
    }
    const uint8_t *r = z->bytes + record;
    uint64_t entries = load_u64(r + 32), n_bytes = load_u64(r + 40), offset = load_u64(r + 48);
    if (load_u64(r + 24) != entries || load_u32(r + 16) != 0 || load_u32(r + 20) != 0) {
        return refuse(z, record, "an archive split over several disks", f);
    }
    if ((d->n_entries != 0xffff && d->n_entries != entries) ||
        (d->n_bytes != 0xffffffffu && d->n_bytes != n_bytes) ||
        (d->offset != 0xffffffffu && d->offset != offset)) {
        return refuse(z, record, "the zip64 end record contradicts the plain one", f);
    }
    d->n_entries = entries;
    d->n_bytes = n_bytes;
    d->offset = offset;
    d->end = record;
    return EXIT_OK;
}

static int find_directory(const zip *z, directory *d, failure *f)
{
    uint64_t end = 0;
    if (find_end(z, &end, f) != EXIT_OK) {
        return EXIT_INPUT;
    }
    const uint8_t *r = z->bytes + end;
    d->n_entries = load_u16(r + 10);
    d->n_bytes = load_u32(r + 12);
    d->offset = load_u32(r + 16);
    d->end = end;
    if (load_u16(r + 4) != 0 || load_u16(r + 6) != 0 || load_u16(r + 8) != d->n_entries) {
        return refuse(z, end, "an archive split over several disks", f);
    }
    if (end >= LOCATOR_BYTES && load_u32(z->bytes + end - LOCATOR_BYTES) == SIGNATURE_LOCATOR &&
        read_end64(z, end, d, f) != EXIT_OK) {
        return EXIT_INPUT;
    }
    if (d->offset > d->end || d->n_bytes != d->end - d->offset) {
        return refuse(z, end, "the central directory does not end where its end record begins", f);
    }
    if (d->n_entries > d->n_bytes / CENTRAL_BYTES || d->n_entries > ZIP_MAX_ENTRIES) {
        return refuse(z, end, "more members are announced than the directory can hold", f);
    }
    return EXIT_OK;
}

/* ---- Members ------------------------------------------------------------------------------------
 */

static bool name_is_safe(const zip_entry *e)
{
    if (e->name_bytes == 0 || e->name_bytes > ZIP_MAX_NAME || e->name[0] == '/') {
        return false;
    }
    uint32_t start = 0;
    for (uint32_t i = 0; i <= e->name_bytes; i++) {
        unsigned char c = i < e->name_bytes ? (unsigned char)e->name[i] : '/';
        if (c < 0x20 || c == 0x7f || c == '\\' || c == ':') {
            return false;
        }
        if (c == '/') {
            if (i - start == 2 && e->name[start] == '.' && e->name[start + 1] == '.') {
                return false;
            }
            start = i + 1;
        }
    }
    return true;
}

/* Takes the 64-bit values of a zip64 extra field for the fields that overflowed 32 bits. */
static bool read_zip64_extra(const uint8_t *extra, uint32_t n, uint64_t *fields[3],
                             uint32_t n_fields)
{
    byte_reader r = byte_reader_view(extra, n);
    while (!r.failed && r.n_bytes - r.pos >= 4) { /* a field may claim more than there is */
        uint16_t id = read_u16(&r), size = read_u16(&r);
        const uint8_t *body = read_bytes(&r, size);
        if (!body || id != EXTRA_ZIP64) {
            continue;
        }
        byte_reader b = byte_reader_view(body, size);
        for (uint32_t i = 0; i < n_fields; i++) {
            *fields[i] = read_u64(&b);
        }
        return !b.failed;
    }
    return n_fields == 0;
}

static int read_central(const zip *z, byte_reader *r, zip_entry *e, uint16_t *flags, failure *f)
{
    uint64_t at = r->pos;
    const uint8_t *c = read_bytes(r, CENTRAL_BYTES);
    if (!c || load_u32(c) != SIGNATURE_CENTRAL) {
        return refuse(z, at, "the central directory is damaged", f);
    }
    uint16_t n_name = load_u16(c + 28), n_extra = load_u16(c + 30), n_comment = load_u16(c + 32);
    e->name = (const char *)read_bytes(r, n_name);
    e->name_bytes = n_name;
    const uint8_t *extra = read_bytes(r, n_extra);
    if (!read_bytes(r, n_comment)) {
        return refuse(z, at, "the central directory is cut short", f);
    }
    if (!name_is_safe(e)) {
        return refuse(z, at, "a member's name is empty, too long, or leaves the archive", f);
    }
    *flags = load_u16(c + 8);
    uint16_t method = load_u16(c + 10);
    if (*flags & FLAG_ENCRYPTED) {
        return refuse_entry(z, e, "it is encrypted", f);
    }
    if ((*flags & ~KNOWN_FLAGS) != 0 || (method != METHOD_STORED && method != METHOD_DEFLATED)) {
        return refuse_entry(z, e, "only stored and deflated members are read", f);
    }
    e->deflated = method == METHOD_DEFLATED;
    e->crc = load_u32(c + 16);
    e->stored = load_u32(c + 20);
    e->size = load_u32(c + 24);
    e->local_offset = load_u32(c + 42);
    uint64_t *wide[3];
    uint32_t n_wide = 0;
    uint64_t *candidates[3] = {&e->size, &e->stored, &e->local_offset};
    for (int i = 0; i < 3; i++) {
        if (*candidates[i] == 0xffffffffu) {
            wide[n_wide++] = candidates[i];
        }
    }
    if (n_wide != 0 && !read_zip64_extra(extra, n_extra, wide, n_wide)) {
        return refuse_entry(z, e, "its zip64 sizes are missing", f);
    }
    if (load_u16(c + 34) != 0 || (!e->deflated && e->stored != e->size)) {
        return refuse_entry(z, e, "its sizes contradict each other", f);
    }
    return EXIT_OK;
}

/* After data of a member with a descriptor: signature, CRC and sizes, of 4 or 8 bytes each. */
static bool check_descriptor(const zip *z, zip_entry *e, uint64_t limit)
{
    const uint8_t *d = z->bytes + e->end_offset;
    uint64_t left = limit - e->end_offset;
    if (left < 16 || load_u32(d) != SIGNATURE_DESCRIPTOR || load_u32(d + 4) != e->crc) {
        return false;
    }
    if (left >= 24 && load_u64(d + 8) == e->stored && load_u64(d + 16) == e->size) {
        e->end_offset += 24;
        return true;
    }
    if (load_u32(d + 8) == e->stored && load_u32(d + 12) == e->size) {
        e->end_offset += 16;
        return true;
    }
    return false;
}

/* The local header must say what the central directory says; a member written as a stream has zeros
 * there and the values behind the data. `limit` is where the directory begins. */
static int check_local(const zip *z, zip_entry *e, uint16_t flags, uint64_t limit, failure *f)
{
    if (e->local_offset > limit || limit - e->local_offset < LOCAL_BYTES) {
        return refuse_entry(z, e, "its local header lies outside the archive", f);
    }
    const uint8_t *l = z->bytes + e->local_offset;
    uint64_t n_name = load_u16(l + 26), n_extra = load_u16(l + 28);
    e->data_offset = e->local_offset + LOCAL_BYTES + n_name + n_extra;
    if (load_u32(l) != SIGNATURE_LOCAL || e->data_offset > limit ||
        e->stored > limit - e->data_offset) {
        return refuse_entry(z, e, "its data lies outside the archive", f);
    }
    if (n_name != e->name_bytes || memcmp(l + LOCAL_BYTES, e->name, e->name_bytes) != 0) {
        return refuse_entry(z, e, "its local header has another name", f);
    }
    uint64_t stored = load_u32(l + 18), size = load_u32(l + 22);
    uint64_t *wide[3] = {&size, &stored, NULL};
    if ((size == 0xffffffffu || stored == 0xffffffffu) &&
        !read_zip64_extra(l + LOCAL_BYTES + n_name, (uint32_t)n_extra, wide, 2)) {
        return refuse_entry(z, e, "its zip64 sizes are missing", f);
    }
    bool same = load_u32(l + 14) == e->crc && stored == e->stored && size == e->size;
    bool streamed = (flags & FLAG_DESCRIPTOR) && load_u32(l + 14) == 0 && stored == 0 && size == 0;
    if (load_u16(l + 6) != flags || load_u16(l + 8) != (e->deflated ? METHOD_DEFLATED : 0) ||
        (!same && !streamed)) {
        return refuse_entry(z, e, "its local header contradicts the central directory", f);
    }
    e->end_offset = e->data_offset + e->stored;
    if ((flags & FLAG_DESCRIPTOR) && !check_descriptor(z, e, limit)) {
        return refuse_entry(z, e, "the descriptor behind its data contradicts the directory", f);
    }
    return EXIT_OK;
}

static int by_name(const void *a, const void *b)
{
    const zip_entry *x = (const zip_entry *)a, *y = (const zip_entry *)b;
    uint32_t n = x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes;
    int order = memcmp(x->name, y->name, n);
    return order ? order : (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = ((const zip_entry *)a)->local_offset, y = ((const zip_entry *)b)->local_offset;
    return (x > y) - (x < y);
}

static int check_members(zip *z, failure *f)
{
    qsort(z->entries, (size_t)z->n_entries, sizeof(zip_entry), by_offset);
    for (uint64_t i = 1; i < z->n_entries; i++) {
        if (z->entries[i].local_offset < z->entries[i - 1].end_offset) {
            return refuse_entry(z, &z->entries[i], "it overlaps another member", f);
        }
    }
    qsort(z->entries, (size_t)z->n_entries, sizeof(zip_entry), by_name);
    for (uint64_t i = 1; i < z->n_entries; i++) {
        if (by_name(&z->entries[i - 1], &z->entries[i]) == 0) {
            return refuse_entry(z, &z->entries[i], "the name appears twice", f);
        }
    }
    return EXIT_OK;
}

static int read_members(zip *z, const directory *d, failure *f)
{
    byte_reader r = byte_reader_view(z->bytes, d->end);
    r.pos = d->offset;
    for (uint64_t i = 0; i < z->n_entries; i++) {
        uint16_t flags = 0;
        if (read_central(z, &r, &z->entries[i], &flags, f) != EXIT_OK ||
            check_local(z, &z->entries[i], flags, d->offset, f) != EXIT_OK) {
            return EXIT_INPUT;
        }
    }
    if (r.pos != d->end) {
        return refuse(z, r.pos, "bytes between the last directory entry and the end record", f);
    }
    return check_members(z, f);
}

int zip_open(const char *name, const uint8_t *bytes, uint64_t n_bytes, zip *z, failure *f)
{
    zip opened = {.name = name, .bytes = bytes, .n_bytes = n_bytes};
    directory d;
    memset(z, 0, sizeof *z);
    if (find_directory(&opened, &d, f) != EXIT_OK) {
        return EXIT_INPUT;
    }
    opened.n_entries = d.n_entries;
    opened.entries = (zip_entry *)calloc((size_t)d.n_entries + 1, sizeof(zip_entry));
    if (!opened.entries) {
        return fail(f, EXIT_RESOURCE, "%s: no memory for %" PRIu64 " members", name, d.n_entries);
    }
    int code = read_members(&opened, &d, f);
    if (code != EXIT_OK) {
        free(opened.entries);
        return code;
    }
    *z = opened;
    return EXIT_OK;
}

void zip_close(zip *z)
{
    free(z->entries);
    memset(z, 0, sizeof *z);
}

const zip_entry *zip_find(const zip *z, const char *name, uint64_t name_bytes)
{
    if (name_bytes > ZIP_MAX_NAME || z->n_entries == 0) {
        return NULL;
    }
    zip_entry wanted = {.name = name, .name_bytes = (uint32_t)name_bytes};
    return (const zip_entry *)bsearch(&wanted, z->entries, (size_t)z->n_entries, sizeof wanted,
                                      by_name);
}

/* ---- Contents -----------------------------------------------------------------------------------
 */

static int check_crc(const zip *z, const zip_entry *e, const uint8_t *bytes, failure *f)
{
    if (crc32_z(crc32_z(0, NULL, 0), bytes, (z_size_t)e->size) != e->crc) {
        return refuse_entry(z, e, "its CRC-32 is wrong: the file is damaged", f);
    }
    return EXIT_OK;
}

int zip_view(const zip *z, const zip_entry *e, const uint8_t **bytes, failure *f)
{
    if (e->deflated) {
        return refuse_entry(z, e, "it is deflated, not stored", f);
    }
    if (check_crc(z, e, z->bytes + e->data_offset, f) != EXIT_OK) {
        return EXIT_INPUT;
    }
    *bytes = z->bytes + e->data_offset;
    return EXIT_OK;
}

/* Input and output are handed to zlib in pieces that its 32-bit counters hold. */
static bool inflate_exactly(const uint8_t *in, uint64_t n_in, uint8_t *out, uint64_t n_out)
{
    z_stream s;
    memset(&s, 0, sizeof s);
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK) {
        return false;
    }
    int status = Z_OK;
    uint8_t spare; /* zlib wants a non-NULL output even for zero bytes */
    s.next_out = n_out ? out : &spare;
    while (status == Z_OK) {
        if (s.avail_in == 0 && n_in != 0) {
            s.next_in = (z_const Bytef *)(uintptr_t)in;
            s.avail_in = n_in < (1u << 30) ? (uInt)n_in : 1u << 30;
            in += s.avail_in;
            n_in -= s.avail_in;
        }
        if (s.avail_out == 0 && n_out != 0) {
            s.avail_out = n_out < (1u << 30) ? (uInt)n_out : 1u << 30;
            n_out -= s.avail_out;
        }
        status = inflate(&s, Z_NO_FLUSH);
    }
    bool exact =
        status == Z_STREAM_END && s.avail_in == 0 && n_in == 0 && s.avail_out == 0 && n_out == 0;
    inflateEnd(&s);
    return exact;
}

int zip_read(const zip *z, const zip_entry *e, uint8_t *out, failure *f)
{
    if (!e->deflated) {
        memcpy(out, z->bytes + e->data_offset, (size_t)e->size);
    } else if (!inflate_exactly(z->bytes + e->data_offset, e->stored, out, e->size)) {
        return refuse_entry(z, e, "its deflated data is damaged or not of the announced size", f);
    }
    return check_crc(z, e, out, f);
}
