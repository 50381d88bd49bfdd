/* fuzz_gguf_model.c - any bytes as a GGUF model: metadata, tensors and tokenizer checked as
 * slm-convert does before it writes, or refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/gguf_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    failure f = {0};
    gguf_model m = {0};
    notes *w = calloc(1, sizeof *w);
    int fd = memfd_create("model", MFD_CLOEXEC);
    if (w && fd >= 0 && write(fd, data, size) == (ssize_t)size) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int code = gguf_model_open(path, true, &m, w, &f);
        if (code == EXIT_OK && m.n_tensors != slm_config_n_tensors(&m.config)) {
            abort();
        }
        gguf_model_free(&m);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(w);
    return 0;
}
