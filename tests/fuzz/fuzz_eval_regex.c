/* fuzz_eval_regex.c - the first line as a pattern, the rest as the text: an answer or a refusal,
 * soon.
 */
#include "lib/eval_regex.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    const char *end = size ? (const char *)memchr(bytes, '\n', size) : NULL;
    size_t n = end ? (size_t)(end - bytes) : size, skip = end ? n + 1 : n;
    regex *r = NULL;
    failure f;
    if (size && regex_compile("fuzz", bytes, n, &r, &f) == EXIT_OK) {
        if (regex_matches(r, "", 0)) {
            __builtin_trap(); /* such patterns are refused */
        }
        regex_matches(r, bytes + skip, size - skip);
    }
    regex_free(&r);
    return 0;
}
