/* source_kind.c - see source_kind.h. */
#include "lib/source_kind.h"

#include <string.h>
#include <sys/stat.h>

#include "lib/input.h"
#include "lib/llama2c.h"
#include "lib/torch_file.h"

static bool ends_in(const char *path, const char *ending)
{
    size_t n = strlen(path), k = strlen(ending);
    return n >= k && strcmp(path + n - k, ending) == 0;
}

static bool is_vocabulary(const char *path, const uint8_t *bytes, uint64_t n)
{
    if (torch_recognised(bytes, n) || llama2c_recognised(bytes, n)) {
        return false;
    }
    bool json =
        ends_in(path, ".json") && !ends_in(path, "config.json") && !ends_in(path, ".index.json");
    return json || ends_in(path, ".model") || ends_in(path, ".btok") || ends_in(path, ".bpe1") ||
           (ends_in(path, ".bin") && llama2c_tokens_recognised(bytes, n));
}

int source_kind_of(const char *path, source_kind *kind, failure *f)
{
    static const char magics[][5] = {"GGUF", "FUGG", "\x89SLM"};
    static const source_kind kinds[] = {SOURCE_GGUF, SOURCE_GGUF, SOURCE_SLM};
    struct stat s;
    input in;
    *kind = SOURCE_FOLDER;
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
        return EXIT_OK;
    }
    *kind = SOURCE_OTHER;
    int code = input_open(path, &in, f);
    if (code != EXIT_OK) {
        return code;
    }
    code = input_map(&in, f);
    for (int i = 0; i < 3 && code == EXIT_OK && in.n_bytes >= 4; i++) {
        *kind = memcmp(in.bytes, magics[i], 4) == 0 ? kinds[i] : *kind;
    }
    if (code == EXIT_OK && *kind == SOURCE_OTHER && is_vocabulary(path, in.bytes, in.n_bytes)) {
        *kind = SOURCE_VOCABULARY;
    }
    input_close(&in);
    return code;
}
