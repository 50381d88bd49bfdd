/* test_text_vectors.c - token ids that others published or computed: llama.cpp's vectors, and those
 * of the Hugging Face library (tests/golden/tokenizers). Encoded exactly, and decoded back.
 */
#include "lib/check.h"
#include "lib/text_model.h"

#define MARKER "\n__ggml_vocab_test__\n"

static char *read_file(const char *folder, const char *name, size_t *n)
{
    char path[8192];
    failure f;
    char *text = NULL;
    snprintf(path, sizeof path, "%s%s", folder, name);
    return input_slurp(path, 1 << 24, &text, n, &f) == EXIT_OK ? text : NULL;
}

/* The ids of one line; *line moves to the next. */
static size_t parse_line(char **line, int32_t *ids, size_t capacity)
{
    size_t n = 0;
    char *p = *line;
    while (*p != '\n' && *p != 0) {
        char *end;
        long id = strtol(p, &end, 10);
        if (end == p) {
            p++;
            continue;
        }
        if (n < capacity) {
            ids[n++] = (int32_t)id;
        }
        p = end;
    }
    *line = *p ? p + 1 : p;
    return n;
}

static bool decodes_to(const text_model *m, const int32_t *ids, size_t n, uint32_t flags,
                       const char *text, size_t n_text)
{
    char *out = (char *)malloc(4 * n_text + 65536);
    size_t used = 0, n_bytes;
    slm_decoder d;
    slm_decoder_init(&d, flags);
    for (size_t i = 0; i < n; i++) {
        CHECK(slm_decoder_push(&d, m->tokenizer, ids[i], out + used, 4 * n_text + 65536 - used,
                               &n_bytes, NULL) == SLM_OK);
        used += n_bytes;
    }
    used += slm_decoder_flush(&d, out + used);
    bool same = used == n_text && memcmp(out, text, used) == 0;
    free(out);
    return same;
}

static bool encodes_to(const text_model *m, const char *text, size_t n, uint32_t flags,
                       const int32_t *want, size_t n_want)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    failure f;
    if (text_model_encode(m, text, n, flags, &ids, &n_ids, &f) != EXIT_OK) {
        return false;
    }
    bool same = n_ids == n_want && memcmp(ids, want, n_want * sizeof *ids) == 0;
    for (size_t i = 0; !same && i < n_ids && i < n_want; i++) {
        if (ids[i] != want[i]) {
            printf("# id %zu is %d, not %d\n", i, (int)ids[i], (int)want[i]);
            break;
        }
    }
    free(ids);
    return same;
}

/* A folder with a tokenizer.json, or a file of another kind. */
static bool open_shared(text_model *m, const char *model)
{
    char path[4096];
    failure f;
    if (!test_shared()) {
        test_skip("needs shared");
        return false;
    }
    snprintf(path, sizeof path, "%s/%s%s", test_shared(), model,
             strrchr(model, '.') ? "" : "/tokenizer.json");
    int code = text_model_open(m, path, &f);
    if (code != EXIT_OK) {
        printf("# %s\n", f.text);
    }
    CHECK(code == EXIT_OK);
    return code == EXIT_OK;
}

static void vectors(const char *stem, const char *model, size_t n_wanted)
{
    static char name[256], folder[4096];
    text_model m;
    if (!open_shared(&m, model)) {
        return;
    }
    size_t n_text = 0, n_ids = 0, count = 0;
    snprintf(folder, sizeof folder, "%s/tokenizers/vectors/", test_shared());
    snprintf(name, sizeof name, "ggml-vocab-%s.gguf.inp", stem);
    char *text = read_file(folder, name, &n_text);
    snprintf(name, sizeof name, "ggml-vocab-%s.gguf.out", stem);
    char *lines = read_file(folder, name, &n_ids);
    CHECK(text && lines);
    char *p = text, *line = lines;
    while (text && lines && *line) {
        int32_t want[1024];
        char *end = strstr(p, MARKER);
        size_t n = end ? (size_t)(end - p) : strlen(p), n_want = parse_line(&line, want, 1024);
        CHECK(encodes_to(&m, p, n, 0, want, n_want));
        CHECK(decodes_to(&m, want, n_want, 0, p, n));
        p = end ? end + strlen(MARKER) : p + n;
        count++;
    }
    CHECK_U64(count, n_wanted);
    free(text);
    free(lines);
    text_model_close(&m);
}

static void gpt2_vectors(void)
{
    vectors("gpt-2", "tokenizers/gpt2", 46);
}

static void llama3_vectors(void)
{
    vectors("llama-bpe", "tokenizers/llama3", 46);
}

static void qwen2_vectors(void)
{
    vectors("qwen2", "tokenizers/qwen3", 46);
}

static void gemma_vectors(void)
{
    vectors("gemma-4", "tokenizers/gemma3", 46);
}

static void gguf_vectors(void)
{
    vectors("llama-spm", "tokenizers/vectors/ggml-vocab-llama-spm.gguf", 46);
    vectors("phi-3", "tokenizers/vectors/ggml-vocab-phi-3.gguf", 46);
    vectors("gpt-2", "tokenizers/vectors/ggml-vocab-gpt-2.gguf", 46);
    vectors("deepseek-llm", "tokenizers/vectors/ggml-vocab-deepseek-llm.gguf", 46);
}

static void sentencepiece_vectors(void)
{
    vectors("llama-spm", "tokenizers/llama2/tokenizer.model", 46);
}

static void llama2c_vectors(void)
{
    vectors("llama-spm", "tokenizers/llama2/tokenizer.bin", 46);
}

/* ---- Ids of the Hugging Face library --------------------------------------------------------- */

static const char golden[] = "tests/golden/tokenizers/";

static void compare_golden(const text_model *m, const char *ids_name, bool back)
{
    size_t n_text = 0, n_lines = 0;
    static int32_t want[4096];
    char *text = read_file(golden, "text.txt", &n_text),
         *lines = read_file(golden, ids_name, &n_lines);
    CHECK(text && lines);
    if (text && lines) {
        char *line = lines;
        size_t n = parse_line(&line, want, 4096);
        CHECK(n > 250);
        CHECK(encodes_to(m, text, n_text, SLM_ENCODE_CONTROL, want, n));
        if (back) {
            CHECK(decodes_to(m, want, n, SLM_DECODE_CONTROL, text, n_text));
        }
    }
    free(text);
    free(lines);
}

static void demo_golden(void)
{
    text_model m;
    failure f;
    CHECK(text_model_open(&m, "evals/models/tinystories-2.6m/tokenizer.json", &f) == EXIT_OK);
    compare_golden(&m, "demo.ids", true);
    text_model_close(&m);
}

static void shared_golden(const char *model, const char *ids_name, bool back)
{
    text_model m;
    if (open_shared(&m, model)) {
        compare_golden(&m, ids_name, back);
        text_model_close(&m);
    }
}

static void gpt2_golden(void)
{
    shared_golden("tokenizers/gpt2", "gpt2.ids", true);
}

static void llama3_golden(void)
{
    shared_golden("tokenizers/llama3", "llama3.ids", true);
}

static void qwen3_golden(void) /* NFC changes the text: it does not come back as it was */
{
    shared_golden("tokenizers/qwen3", "qwen3.ids", false);
}

static void gemma3_golden(void) /* U+2581 in a text comes back as a space */
{
    shared_golden("tokenizers/gemma3", "gemma3.ids", false);
}

static void stories656k_golden(void)
{
    shared_golden("models/TinyStories-656K", "stories656k.ids", false);
}

int main(void)
{
    RUN(gpt2_vectors);
    RUN(llama3_vectors);
    RUN(qwen2_vectors);
    RUN(gemma_vectors);
    RUN(gguf_vectors);
    RUN(sentencepiece_vectors);
    RUN(llama2c_vectors);
    RUN(demo_golden);
    RUN(gpt2_golden);
    RUN(llama3_golden);
    RUN(qwen3_golden);
    RUN(gemma3_golden);
    RUN(stories656k_golden);
    return test_finish();
}
