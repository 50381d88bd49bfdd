/* test_zip.c - malformed archives (PT02-PT16 of the project's checklist): one valid archive of two
 * members, laid out by hand after APPNOTE 6.3, with one field changed at a time.
 */
#include "lib/zip.h"

#include <zlib.h>

#include "base/bytes.h"
#include "lib/check.h"

enum { /* offsets in the archive: members "a" (4 bytes) and "bb" (3 bytes), directory, end */
       LOCAL_A = 0,
       DATA_A = 31,
       LOCAL_B = 35,
       CENTRAL_A = 70,
       CENTRAL_B = 117,
       END = 165,
       LENGTH = 187
};

static uint8_t bytes[LENGTH + 64];

static void put_headers(size_t local, size_t central, const char *name, const char *data)
{
    size_t n_name = strlen(name), n = strlen(data);
    uint32_t crc = (uint32_t)crc32(0, (const Bytef *)data, (uInt)n);
    uint8_t *l = bytes + local, *c = bytes + central;
    store_u32(l, 0x04034b50u);
    store_u16(l + 4, 20);
    store_u32(l + 14, crc);
    store_u32(l + 18, (uint32_t)n);
    store_u32(l + 22, (uint32_t)n);
    store_u16(l + 26, (uint16_t)n_name);
    memcpy(l + 30, name, n_name);
    memcpy(l + 30 + n_name, data, n);
    store_u32(c, 0x02014b50u);
    store_u32(c + 16, crc);
    store_u32(c + 20, (uint32_t)n);
    store_u32(c + 24, (uint32_t)n);
    store_u16(c + 28, (uint16_t)n_name);
    store_u32(c + 42, (uint32_t)local);
    memcpy(c + 46, name, n_name);
}

static void valid(void)
{
    memset(bytes, 0, sizeof bytes);
    put_headers(LOCAL_A, CENTRAL_A, "a", "1234");
    put_headers(LOCAL_B, CENTRAL_B, "bb", "xyz");
    store_u32(bytes + END, 0x06054b50u);
    store_u16(bytes + END + 8, 2);
    store_u16(bytes + END + 10, 2);
    store_u32(bytes + END + 12, END - CENTRAL_A);
    store_u32(bytes + END + 16, CENTRAL_A);
}

static int open_copy(size_t n, zip *z, failure *f)
{
    static uint8_t *copy;
    free(copy);
    copy = (uint8_t *)malloc(n ? n : 1);
    memcpy(copy, bytes, n);
    memset(f, 0, sizeof *f);
    return zip_open("m.zip", copy, n, z, f);
}

static void refused(size_t n, const char *fragment)
{
    zip z;
    failure f;
    CHECK_U64(open_copy(n, &z, &f), EXIT_INPUT);
    if (!strstr(f.text, fragment)) {
        printf("# message '%s' lacks '%s'\n", f.text, fragment);
        test_failed_here = 1;
    }
    zip_close(&z);
}

static void reads_a_valid_archive(void)
{
    zip z;
    failure f;
    uint8_t out[4];
    const uint8_t *view;
    valid();
    CHECK_U64(open_copy(LENGTH, &z, &f), EXIT_OK);
    CHECK_STRING(f.text, "");
    CHECK_U64(z.n_entries, 2);
    const zip_entry *a = zip_find(&z, "a", 1);
    CHECK(a && a->data_offset == DATA_A && a->size == 4);
    CHECK(!zip_find(&z, "b", 1));
    if (a) {
        CHECK_U64(zip_read(&z, a, out, &f), EXIT_OK);
        CHECK(memcmp(out, "1234", 4) == 0);
    }
    zip_close(&z);
    bytes[DATA_A] ^= 1; /* PT10 */
    CHECK_U64(open_copy(LENGTH, &z, &f), EXIT_OK);
    a = zip_find(&z, "a", 1);
    CHECK(a && zip_read(&z, a, out, &f) == EXIT_INPUT && strstr(f.text, "CRC-32"));
    CHECK(a && zip_view(&z, a, &view, &f) == EXIT_INPUT);
    zip_close(&z);
}

static void changed_fields(void)
{
    static const struct {
        size_t at;
        uint32_t width, value;
        const char *message;
    } cases[] = {
        {END, 4, 0, "no end of central directory"}, /* PT02 */
        {END + 20, 2, 1, "no end of central directory"},
        {END + 4, 2, 1, "several disks"},
        {END + 8, 2, 1, "several disks"},
        {END + 16, 4, 0xffffff00u, "does not end where"}, /* PT04 */
        {END + 16, 4, CENTRAL_B, "does not end where"},
        {END + 12, 4, 1, "does not end where"},
        {CENTRAL_A, 4, 0, "is damaged"},
        {LOCAL_A + 30, 1, 'b', "another name"}, /* PT05 */
        {CENTRAL_A + 46, 1, 'b', "another name"},
        {LOCAL_A + 26, 2, 2, "another name"},
        {LOCAL_A + 22, 4, 5, "contradicts"}, /* PT06 */
        {LOCAL_A + 18, 4, 5, "contradicts"},
        {LOCAL_A + 14, 4, 5, "contradicts"},
        {LOCAL_A + 8, 2, 8, "contradicts"},
        {CENTRAL_A + 24, 4, 5, "sizes contradict"},
        {LOCAL_A + 6, 2, 8, "contradicts"},
        {CENTRAL_A + 8, 2, 1, "encrypted"}, /* PT07 */
        {CENTRAL_A + 8, 2, 0x8000, "only stored and deflated"},
        {CENTRAL_A + 10, 2, 99, "only stored and deflated"}, /* PT08 */
        {CENTRAL_A + 10, 2, 12, "only stored and deflated"},
        {CENTRAL_A + 46, 1, '/', "leaves the archive"}, /* PT11 */
        {CENTRAL_A + 46, 1, '\\', "leaves the archive"},
        {CENTRAL_A + 46, 1, 0, "leaves the archive"},
        {CENTRAL_A + 46, 1, ':', "leaves the archive"},
        {CENTRAL_B + 46, 2, '.' | '.' << 8, "leaves the archive"},
        {CENTRAL_B + 42, 4, LOCAL_A, "another name"},           /* PT15 */
        {CENTRAL_A + 42, 4, 0x7fffffff, "outside the archive"}, /* PT16 */
        {CENTRAL_A + 42, 4, 0xffffffffu, "zip64"},              /* PT03 */
        {CENTRAL_A + 20, 4, 0xffffffffu, "zip64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        valid();
        for (uint32_t k = 0; k < cases[i].width; k++) {
            bytes[cases[i].at + k] = (uint8_t)(cases[i].value >> (8 * k));
        }
        refused(LENGTH, cases[i].message);
    }
}

static void counts(void) /* PT04 */
{
    valid();
    store_u16(bytes + END + 8, 0xfffe);
    store_u16(bytes + END + 10, 0xfffe);
    refused(LENGTH, "more members");
    valid();
    store_u16(bytes + END + 8, 1);
    store_u16(bytes + END + 10, 1);
    refused(LENGTH, "between the last directory entry");
}

static void same_member_twice(void) /* PT11, PT15 */
{
    valid();
    memmove(bytes + CENTRAL_B, bytes + CENTRAL_A, 47);
    bytes[CENTRAL_B + 32] = 1; /* a comment of one byte fills the place */
    bytes[CENTRAL_B + 47] = 'c';
    refused(LENGTH, "overlaps");
}

static void every_truncation_is_refused(void)
{
    valid();
    for (size_t n = 0; n < LENGTH; n++) {
        zip z;
        failure f;
        CHECK_U64(open_copy(n, &z, &f), EXIT_INPUT);
    }
}

int main(void)
{
    RUN(reads_a_valid_archive);
    RUN(changed_fields);
    RUN(counts);
    RUN(same_member_twice);
    RUN(every_truncation_is_refused);
    return test_finish();
}
