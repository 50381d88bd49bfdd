/* check.h - the smallest unit test harness: TAP on stdout, one line per named test.
 *
 *     static void adds(void) { CHECK_U64(1 + 1, 2); }
 *     int main(void) { RUN(adds); return test_finish(); }
 */
#ifndef SLM_TESTS_CHECK_H
#define SLM_TESTS_CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_count, test_failures, test_failed_here;
static const char *test_skip_reason;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);                               \
            test_failed_here = 1;                                                                  \
        }                                                                                          \
    } while (0)
#define CHECK_U64(got, want)                                                                       \
    do {                                                                                           \
        uint64_t got_ = (uint64_t)(got), want_ = (uint64_t)(want);                                 \
        if (got_ != want_) {                                                                       \
            printf("# %s:%d: %s is %" PRIu64 ", not %" PRIu64 "\n", __FILE__, __LINE__, #got,      \
                   got_, want_);                                                                   \
            test_failed_here = 1;                                                                  \
        }                                                                                          \
    } while (0)
#define CHECK_STRING(got, want)                                                                    \
    do {                                                                                           \
        const char *got_ = (got), *want_ = (want);                                                 \
        if (strcmp(got_, want_) != 0) {                                                            \
            printf("# %s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #got, got_, want_);  \
            test_failed_here = 1;                                                                  \
        }                                                                                          \
    } while (0)

#define RUN(function) test_run(#function, function)

static inline void test_skip(const char *reason) /* call first in a test, then return */
{
    test_skip_reason = reason;
}

static inline void test_run(const char *name, void (*function)(void))
{
    test_failed_here = 0;
    test_skip_reason = NULL;
    function();
    test_count++;
    test_failures += test_failed_here;
    printf("%s %d - %s%s%s\n", test_failed_here ? "not ok" : "ok", test_count, name,
           test_skip_reason ? " # SKIP " : "", test_skip_reason ? test_skip_reason : "");
    fflush(stdout);
}

static inline int test_finish(void)
{
    printf("1..%d\n", test_count);
    return test_failures != 0;
}

/* The folder with shared test data, or NULL if it is not there. */
static inline const char *test_shared(void)
{
    const char *path = getenv("SLM_SHARED");
    static char probe[4096];
    snprintf(probe, sizeof probe, "%s/README.md", path ? path : "../shared");
    FILE *f = fopen(probe, "rb");
    if (!f) {
        return NULL;
    }
    fclose(f);
    return path ? path : "../shared";
}

#endif
