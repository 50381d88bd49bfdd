/* Any bytes as a CONF payload; what is accepted must survive being written and read again. */
#include <stdlib.h>
#include <string.h>

#include "format/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slm_config c, again;
    slm_error error;
    uint8_t bytes[SLM_CONFIG_MAX_BYTES];
    if (slm_config_read(&c, data, size, &error) != SLM_OK) {
        return 0;
    }
    size_t n = slm_config_write(&c, bytes, sizeof bytes);
    if (n > sizeof bytes || slm_config_read(&again, bytes, n, &error) != SLM_OK ||
        memcmp(&c, &again, sizeof c) != 0) {
        abort();
    }
    slm_tensor_spec spec;
    slm_config_tensor(&c, slm_config_n_tensors(&c) - 1, &spec);
    return 0;
}
