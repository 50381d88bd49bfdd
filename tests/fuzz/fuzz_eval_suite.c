/* fuzz_eval_suite.c - any bytes as a suite: checked cases with hashes, or a refusal. */
#include "lib/eval_suite.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static notes w; /* large; single-threaded here */
    eval_suite *suite = NULL;
    failure f;
    w.n = w.n_dropped = 0;
    if (suite_from_text("fuzz", (const char *)data, size, &suite, &w, &f) == EXIT_OK) {
        for (uint32_t i = 0; i < suite_n_cases(suite); i++) {
            const eval_case *c = suite_case(suite, i);
            if (strlen(c->sha256) != 64 || !*c->id || c->kind >= EVAL_KINDS || !c->canonical) {
                __builtin_trap();
            }
        }
    }
    suite_close(&suite);
    return 0;
}
