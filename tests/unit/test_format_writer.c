/* The writer against the file that tiny_model.h builds by hand; misuse; 10^5 tensors. */
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/input.h"
#include "lib/slm_writer.h"
#include "lib/tiny_model.h"

static char folder[] = "/tmp/slm-test-XXXXXX";
static char path[64];
static failure f;

static slm_config tiny_config(void)
{
    slm_config c = slm_config_default();
    c.n_vocab = 2;
    c.n_context = 8;
    c.d_model = c.d_ff = 32;
    c.n_layers = c.n_heads = c.n_kv_heads = 1;
    c.head_dim = 2;
    c.norm_eps = 1e-5f;
    c.rope_theta = 10000;
    return c;
}

/* piece: bytes given to slm_writer_data at a time. */
static int write_tiny(const tiny_model *m, uint64_t piece)
{
    slm_config c = tiny_config();
    output *out = NULL;
    slm_writer *w = NULL;
    uint64_t n_bytes = 0, dims[2];
    int code = output_create(path, true, NULL, 0, &out, &f);
    code = code ? code : slm_writer_create(out, "llama", &c, &w, &f);
    for (int i = 0; i < TINY_TENSORS && !code; i++) {
        dims[0] = TINY[i].dims[0];
        dims[1] = TINY[i].dims[1];
        code = slm_writer_tensor(w, TINY[i].name, (slm_type)TINY[i].type, TINY[i].rank, dims, &f);
    }
    code = code ? code : slm_writer_begin(w, &n_bytes, &f);
    CHECK_U64(n_bytes, m->n_bytes);
    for (int i = 0; i < TINY_TENSORS && !code; i++) {
        for (uint64_t at = 0; at < TINY[i].bytes && !code; at += piece) {
            uint64_t n = TINY[i].bytes - at < piece ? TINY[i].bytes - at : piece;
            code = slm_writer_data(w, m->bytes + m->tensor[i] + at, n, &f);
        }
    }
    code = code ? code : slm_writer_finish(w, &f);
    code = code ? code : output_commit(out, &f);
    slm_writer_destroy(&w);
    output_destroy(&out);
    return code;
}

static void writes_the_bytes_of_the_document(void)
{
    tiny_model m;
    tiny_build(&m);
    for (uint32_t i = m.tensor[2]; i < m.tensor[2] + 128; i++) {
        m.bytes[i] = (uint8_t)(i % 0x70); /* finite halves */
    }
    tiny_seal(&m);
    static const uint64_t pieces[] = {1 << 20, 1, 63};
    for (int i = 0; i < 3; i++) {
        input in = {0};
        CHECK_U64(write_tiny(&m, pieces[i]), EXIT_OK);
        CHECK_U64(input_open(path, &in, &f), EXIT_OK);
        CHECK_U64(input_map(&in, &f), EXIT_OK);
        CHECK_U64(in.n_bytes, m.n_bytes);
        CHECK(in.n_bytes == m.n_bytes && memcmp(in.bytes, m.bytes, m.n_bytes) == 0);
        input_close(&in);
    }
    tiny_free(&m);
}

static void refuses_misuse(void)
{
    slm_config c = tiny_config(), bad = tiny_config();
    output *out = NULL;
    slm_writer *w = NULL;
    uint64_t n = 0, dims[2] = {2, 32}, huge[2] = {1ull << 40, 1 << 23}, odd[2] = {2, 33};
    bad.n_heads = 0;
    CHECK_U64(output_create(path, true, NULL, 0, &out, &f), EXIT_OK);
    CHECK_U64(slm_writer_create(out, "llama", &bad, &w, &f), EXIT_INPUT);
    CHECK_U64(slm_writer_create(out, "", &c, &w, &f), EXIT_INPUT);
    CHECK_U64(slm_writer_create(out, "a-name-of-more-than-thirty-one-bytes", &c, &w, &f),
              EXIT_INPUT);
    CHECK_U64(slm_writer_create(out, "llama", &c, &w, &f), EXIT_OK);
    CHECK_U64(slm_writer_section(w, SLM_SECTION_CHAT, "", 0, &f), EXIT_INTERNAL);
    CHECK_U64(slm_writer_section(w, SLM_SECTION_CONFIG, "x", 1, &f), EXIT_INTERNAL);
    CHECK_U64(slm_writer_section(w, SLM_SECTION_DATA, "x", 1, &f), EXIT_INTERNAL);
    CHECK_U64(slm_writer_begin(w, &n, &f), EXIT_INTERNAL); /* no tensor */
    CHECK_U64(slm_writer_tensor(w, "", SLM_TYPE_F32, 2, dims, &f), EXIT_INTERNAL);
    CHECK_U64(slm_writer_tensor(w, "odd", SLM_TYPE_Q8_0, 2, odd, &f), EXIT_INPUT);
    CHECK_U64(slm_writer_tensor(w, "flat", SLM_TYPE_Q8_0, 1, dims, &f), EXIT_INPUT);
    CHECK_U64(slm_writer_tensor(w, "huge", SLM_TYPE_F32, 2, huge, &f), EXIT_INPUT);
    CHECK_U64(slm_writer_tensor(w, "t", SLM_TYPE_F32, 2, dims, &f), EXIT_OK);
    CHECK_U64(slm_writer_data(w, "x", 1, &f), EXIT_INTERNAL); /* before begin */
    CHECK_U64(slm_writer_begin(w, &n, &f), EXIT_OK);
    CHECK_U64(slm_writer_tensor(w, "late", SLM_TYPE_F32, 2, dims, &f), EXIT_INTERNAL);
    CHECK_U64(slm_writer_finish(w, &f), EXIT_INTERNAL); /* no data */
    uint8_t data[257] = {0};
    CHECK_U64(slm_writer_data(w, data, 257, &f), EXIT_INTERNAL); /* one byte too many */
    slm_writer_destroy(&w);
    CHECK(!w);
    slm_writer_destroy(&w);
    output_destroy(&out);
}

/* SL42: names in an order that is bad for sorting. */
static void opens_a_hundred_thousand_tensors(void)
{
    enum { N = 100000 };
    slm_config c = tiny_config();
    output *out = NULL;
    slm_writer *w = NULL;
    uint64_t n_bytes = 0, need = 0, dims[1] = {1};
    CHECK_U64(output_create(path, true, NULL, 0, &out, &f), EXIT_OK);
    CHECK_U64(slm_writer_create(out, "llama", &c, &w, &f), EXIT_OK);
    for (uint32_t i = 0; i < N; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.some_tensor_with_a_long_name.weight",
                 (unsigned)(i * 2654435761u));
        CHECK_U64(slm_writer_tensor(w, name, SLM_TYPE_F32, 1, dims, &f), EXIT_OK);
    }
    CHECK_U64(slm_writer_begin(w, &n_bytes, &f), EXIT_OK);
    for (uint32_t i = 0; i < N; i++) {
        CHECK_U64(slm_writer_data(w, "\0\0\0\0", 4, &f), EXIT_OK);
    }
    CHECK_U64(slm_writer_finish(w, &f), EXIT_OK);
    CHECK_U64(output_commit(out, &f), EXIT_OK);
    slm_writer_destroy(&w);
    output_destroy(&out);

    input in = {0};
    slm_error error = {0};
    static slm_file file;
    CHECK_U64(input_open(path, &in, &f), EXIT_OK);
    CHECK_U64(input_map(&in, &f), EXIT_OK);
    clock_t start = clock();
    CHECK_U64(slm_file_arena_bytes(in.bytes, in.n_bytes, &need, &error), SLM_OK);
    void *memory = aligned_alloc(64, (size_t)(need + 63) / 64 * 64);
    slm_arena arena = arena_over(memory, need);
    CHECK_U64(slm_file_open(&file, &arena, in.bytes, in.n_bytes, in.n_bytes, &error), SLM_OK);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    printf("# 100000 tensors opened in %.1f ms\n", 1000 * seconds);
    CHECK(seconds < 3); /* far from quadratic, sanitizers included */
    for (uint32_t i = 1; i < N; i++) {
        const slm_tensor *a = &file.tensors[file.by_name[i - 1]];
        const slm_tensor *b = &file.tensors[file.by_name[i]];
        uint32_t n = a->name_bytes < b->name_bytes ? a->name_bytes : b->name_bytes;
        int order = memcmp(a->name, b->name, n);
        CHECK(order < 0 || (order == 0 && a->name_bytes < b->name_bytes));
    }
    free(memory);
    input_close(&in);
}

int main(void)
{
    if (!mkdtemp(folder)) {
        return 1;
    }
    snprintf(path, sizeof path, "%s/t.slm", folder);
    RUN(writes_the_bytes_of_the_document);
    RUN(refuses_misuse);
    RUN(opens_a_hundred_thousand_tensors);
    unlink(path);
    rmdir(folder);
    return test_finish();
}
