/* fuzz_hf_config.c - any bytes as config.json, then as generation_config.json of that model: a
 * configuration that passes the format's own checks, or a refusal.
 */
#include "lib/hf_config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static notes w; /* large; single-threaded here */
    hf_config hf;
    failure f;
    char *text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, data, size);
    w.n = w.n_dropped = 0;
    if (hf_config_read("fuzz", text, size, &hf, &w, &f) == EXIT_OK &&
        hf_config_generation("fuzz", text, size, &hf, &w, &f) == EXIT_OK) {
        slm_error error;
        slm_config c = hf.config;
        c.n_vocab = 1 << 24; /* ids are compared with the embedding's rows, elsewhere */
        uint32_t n = slm_config_check(&c, &error) == SLM_OK ? slm_config_n_tensors(&c) : 0;
        if (n == 0) {
            abort();
        }
        for (uint32_t i = 0; i < n; i++) {
            slm_tensor_spec spec;
            char name[SLM_MAX_NAME];
            slm_config_tensor(&c, i, &spec);
            if (!hf_tensor_name(hf.family, spec.name, true, name)) {
                abort();
            }
        }
    }
    free(text);
    return 0;
}
