/* convert_no_tokenizer.c - stands in for the tokenizer.json reader until it is there. Delete this
 * file in the commit that adds tokenizer_json.c.
 */
#include <string.h>

#include "lib/tokenizer_json.h"

int tokenizer_from_json(const char *name, const char *tokenizer_json, size_t n_tokenizer_json,
                        const char *config_name, const char *config_json, size_t n_config_json,
                        const tokenizer_hints *hints, tokenizer_payload *payload, failure *f)
{
    (void)tokenizer_json, (void)n_tokenizer_json, (void)config_name, (void)config_json;
    (void)n_config_json, (void)hints, (void)payload;
    return fail(f, EXIT_INPUT, "%s: cannot be read yet; use --no-tokenizer", name);
}

void tokenizer_payload_free(tokenizer_payload *payload)
{
    memset(payload, 0, sizeof *payload);
}
