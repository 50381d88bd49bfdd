/* zip.h - a zip archive in memory -> a checked list of members (APPNOTE 6.3, zip64 included).
 *
 * One view of the archive: the central directory says what is there, and every local header must
 * say the same. Members are stored or deflated, not encrypted, not split over disks; they do not
 * overlap each other or the directory; names are relative paths without "..", "\", NUL or control
 * bytes and appear once. CRC-32 is always checked.
 */
#ifndef SLM_TOOLS_ZIP_H
#define SLM_TOOLS_ZIP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/failure.h"

enum { ZIP_MAX_ENTRIES = 1 << 20, ZIP_MAX_NAME = 4096 };

typedef struct zip_entry {
    const char *name; /* borrows; not NUL-terminated */
    uint32_t name_bytes;
    uint32_t crc;
    uint64_t stored, size; /* bytes in the archive, and unpacked */
    uint64_t local_offset; /* of the local header */
    uint64_t data_offset;
    uint64_t end_offset; /* after the data and its descriptor */
    bool deflated;
} zip_entry;

typedef struct zip {
    const char *name; /* of the archive, for messages */
    const uint8_t *bytes;
    uint64_t n_bytes;
    zip_entry *entries; /* sorted by name; owned */
    uint64_t n_entries;
} zip;

/* bytes: borrowed as long as *z is used. Errors: EXIT_INPUT, EXIT_RESOURCE; *z is then zero. */
int zip_open(const char *name, const uint8_t *bytes, uint64_t n_bytes, zip *z, failure *f);
void zip_close(zip *z); /* accepts a zeroed one; clears */

/* The member of that name, or NULL. */
const zip_entry *zip_find(const zip *z, const char *name, uint64_t name_bytes);

/* Unpacks a member and checks its CRC. out: entry->size bytes. A deflated member that yields
 * another number of bytes than announced is refused. */
int zip_read(const zip *z, const zip_entry *entry, uint8_t *out, failure *f);

/* Checks the CRC of a stored member in place and gives its bytes, borrowed from the archive. */
int zip_view(const zip *z, const zip_entry *entry, const uint8_t **bytes, failure *f);

#endif
