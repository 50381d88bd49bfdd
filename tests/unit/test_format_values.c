/* Weights that are not numbers, and padding that is not zero, planted at places computed by hand
 * from the layouts in schemas/slm-format.md; checksums are right. */
#include "format/slm_file.h"
#include "lib/check.h"
#include "lib/tiny_model.h"

static uint8_t arena_memory[65536] __attribute__((aligned(64)));

static slm_status check_tensor(const tiny_model *m, uint32_t index, slm_error *error)
{
    slm_file file;
    slm_arena arena = arena_over(arena_memory, sizeof arena_memory);
    slm_status status = slm_file_open(&file, &arena, m->bytes, m->n_bytes, m->n_bytes, error);
    return status == SLM_OK ? slm_file_check_values(&file, index, error) : status;
}

enum { TOKEN_EMBD, ATTN_NORM, Q, K, V, OUT, FFN_NORM, GATE, UP, DOWN, OUTPUT_NORM, OUTPUT };

static const struct {
    const char *what;
    uint32_t tensor, at, size, value;
    slm_status want;
    const char *row; /* in the message */
} CASES[] = {
    {"F32 NaN", ATTN_NORM, 4 * 31, 4, 0x7fc00000, SLM_ERR_NOT_FINITE, "row 0"},
    {"F32 -infinity", V, 128 + 4 * 7, 4, 0xff800000, SLM_ERR_NOT_FINITE, "row 1"},
    {"F32 largest", V, 0, 4, 0x7f7fffff, SLM_OK, NULL},
    {"F16 infinity", Q, 64, 2, 0x7c00, SLM_ERR_NOT_FINITE, "row 1"},
    {"F16 NaN", Q, 62, 2, 0xfe01, SLM_ERR_NOT_FINITE, "row 0"},
    {"F16 largest", Q, 62, 2, 0x7bff, SLM_OK, NULL},
    {"BF16 NaN", K, 64, 2, 0x7f81, SLM_ERR_NOT_FINITE, "row 1"},
    {"BF16 of F16's infinity", K, 64, 2, 0x7c00, SLM_OK, NULL},
    {"row padding", OUT, 32 * 5 + 4, 2, 1, SLM_ERR_LAYOUT, "row 5"},
    {"row element beside it", OUT, 32 * 5 + 2, 2, 1, SLM_OK, NULL},
    {"SL46 Q4_K d NaN", TOKEN_EMBD, 0, 2, 0x7e00, SLM_ERR_NOT_FINITE, "row 0"},
    {"SL17 Q4_K d negative", TOKEN_EMBD, 4, 2, 0xbc00, SLM_OK, NULL},
    {"SL17 Q4_K dmin infinity", TOKEN_EMBD, 4 + 2, 2, 0xfc00, SLM_ERR_NOT_FINITE, "row 1"},
    {"Q4_K d of a padding row", TOKEN_EMBD, 8, 2, 0x3c00, SLM_ERR_LAYOUT, "row 2"},
    {"Q4_K scales of a padding row", TOKEN_EMBD, 64 + 8, 1, 1, SLM_ERR_LAYOUT, "row 2"},
    {"Q4_K codes of a padding row", TOKEN_EMBD, 256 + 60, 1, 1, SLM_ERR_LAYOUT, "row 15"},
    {"Q4_K scale 0", TOKEN_EMBD, 64, 1, 0x3f, SLM_OK, NULL},
    {"Q4_K scale 1 of 1 sub-block", TOKEN_EMBD, 65, 1, 1, SLM_ERR_LAYOUT, "row 0"},
    {"Q4_K scale 4 of 1 sub-block", TOKEN_EMBD, 64, 1, 0x40, SLM_ERR_LAYOUT, "row 0"},
    {"Q4_K min 5 of 1 sub-block", TOKEN_EMBD, 128 + 1, 1, 0x80, SLM_ERR_LAYOUT, "row 0"},
    {"Q4_K low bits 4-7", TOKEN_EMBD, 192 + 4, 1, 1, SLM_ERR_LAYOUT, "row 1"},
    {"Q4_K code", TOKEN_EMBD, 256, 1, 0x0f, SLM_OK, NULL},
    {"Q4_K absent half", TOKEN_EMBD, 256 + 4 + 64 * 7, 1, 0x10, SLM_ERR_LAYOUT, "row 1"},
    {"Q5_K d NaN, second group", DOWN, 896 + 4 * 15, 2, 0x7e00, SLM_ERR_NOT_FINITE, "row 31"},
    {"Q5_K fifth bits", DOWN, 64 * 12, 4, 0xffffffff, SLM_OK, NULL},
    {"Q5_K absent fifth bits", DOWN, 64 * 13, 1, 1, SLM_ERR_LAYOUT, "row 0"},
    {"Q5_K absent half", DOWN, 64 * 11, 1, 0x10, SLM_ERR_LAYOUT, "row 0"},
    {"Q6_K d infinity", GATE, 2 * 3, 2, 0x7c00, SLM_ERR_NOT_FINITE, "row 3"},
    {"Q6_K plane padding", GATE, 32, 1, 1, SLM_ERR_LAYOUT, "row 0"},
    {"Q6_K scale -128", GATE, 64, 1, 0x80, SLM_OK, NULL},
    {"Q6_K absent scale", GATE, 64 + 2, 1, 1, SLM_ERR_LAYOUT, "row 0"},
    {"Q6_K absent half", GATE, 128, 1, 0x10, SLM_ERR_LAYOUT, "row 0"},
    {"Q6_K upper bits", GATE, 128 + 64 * 9, 4, 0xffffffff, SLM_OK, NULL},
    {"Q6_K absent upper bits", GATE, 128 + 64 * 10, 1, 1, SLM_ERR_LAYOUT, "row 0"},
    {"Q6_K second group", GATE, 896 + 2, 2, 0x7c00, SLM_ERR_NOT_FINITE, "row 17"},
    {"Q8_0 d NaN", UP, 576 + 2 * 4, 2, 0x7fff, SLM_ERR_NOT_FINITE, "row 20"},
    {"Q8_0 code -128", UP, 64, 1, 0x80, SLM_OK, NULL},
    {"Q8_0 plane padding", UP, 63, 1, 1, SLM_ERR_LAYOUT, "row 0"},
    {"Q4_0 d NaN", OUTPUT, 2, 2, 0x7e00, SLM_ERR_NOT_FINITE, "row 1"},
    {"Q4_0 d of a padding row", OUTPUT, 4, 2, 1, SLM_ERR_LAYOUT, "row 2"},
    {"Q4_0 codes of a padding row", OUTPUT, 64 + 8, 1, 1, SLM_ERR_LAYOUT, "row 2"},
    {"Q4_0 codes", OUTPUT, 64, 1, 0xff, SLM_OK, NULL},
};

static void planted_values(void)
{
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        tiny_model m;
        slm_error error = {0};
        uint8_t value[4];
        tiny_build(&m);
        store_u32(value, CASES[i].value);
        memcpy(m.bytes + m.tensor[CASES[i].tensor] + CASES[i].at, value, CASES[i].size);
        tiny_seal(&m);
        slm_status got = check_tensor(&m, CASES[i].tensor, &error);
        if (got != CASES[i].want) {
            printf("# %s: %s\n", CASES[i].what, error.text);
        }
        CHECK_STRING(slm_status_name(got), slm_status_name(CASES[i].want));
        if (CASES[i].row && !strstr(error.text, CASES[i].row)) {
            printf("# %s: \"%s\" lacks \"%s\"\n", CASES[i].what, error.text, CASES[i].row);
            CHECK(false);
        }
        if (CASES[i].row) {
            CHECK(strstr(error.text, TINY[CASES[i].tensor].name) != NULL);
        }
        tiny_free(&m);
    }
}

/* Sizes by hand: lines of 64 bytes as the document counts them. */
static void stored_bytes(void)
{
    static const struct {
        slm_type type;
        uint32_t rank;
        uint64_t dims[4], bytes; /* 0: illegal */
    } sizes[] = {
        {SLM_TYPE_F32, 1, {5, 1, 1, 1}, 20},
        {SLM_TYPE_F16, 1, {5, 1, 1, 1}, 10},
        {SLM_TYPE_F32, 2, {3, 5, 1, 1}, 3 * 64},
        {SLM_TYPE_BF16, 2, {3, 17, 1, 1}, 3 * 64},
        {SLM_TYPE_F32, 3, {3, 5, 7, 1}, 420},
        {SLM_TYPE_F16, 4, {3, 5, 7, 2}, 420},
        {SLM_TYPE_Q4_K, 2, {16, 256, 1, 1}, 16 * 144},
        {SLM_TYPE_Q4_K, 2, {17, 576, 1, 1}, 2 * (2 * 2304 + 64 * (4 + 8))},
        {SLM_TYPE_Q5_K, 2, {16, 256, 1, 1}, 16 * 176},
        {SLM_TYPE_Q6_K, 2, {16, 512, 1, 1}, 16 * 2 * 210}, /* 2 scales: one line exactly */
        {SLM_TYPE_Q6_K, 2, {16, 256, 1, 1}, 64 + 64 * (4 + 48)},
        {SLM_TYPE_Q8_0, 2, {16, 64, 1, 1}, 16 * 2 * 34},
        {SLM_TYPE_Q4_0, 2, {1, 96, 1, 1}, 128 + 3 * 256},
        {SLM_TYPE_Q4_0, 2, {1, 48, 1, 1}, 0},
        {SLM_TYPE_Q4_K, 1, {256, 1, 1, 1}, 0},
        {SLM_TYPE_Q4_K, 3, {1, 1, 256, 1}, 0},
        {SLM_TYPE_F32, 2, {0, 5, 1, 1}, 0},
        {SLM_TYPE_F32, 0, {1, 1, 1, 1}, 0},
        {SLM_TYPE_F32, 5, {1, 1, 1, 1}, 0},
        {SLM_TYPE_COUNT, 1, {1, 1, 1, 1}, 0},
        {SLM_TYPE_F32, 1, {1ull << 62, 1, 1, 1}, 0},
        {SLM_TYPE_F16, 4, {1 << 16, 1 << 16, 1 << 16, 1 << 16}, 0},
        {SLM_TYPE_Q8_0, 2, {UINT64_MAX, 32, 1, 1}, 0},
        {SLM_TYPE_Q8_0, 2, {1ull << 62, 1 << 20, 1, 1}, 0},
        {SLM_TYPE_Q8_0, 2, {1, 1 << 24, 1, 1}, 0},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t bytes = 0;
        bool legal = slm_tensor_stored_bytes(sizes[i].type, sizes[i].rank, sizes[i].dims, &bytes);
        CHECK(legal == (sizes[i].bytes != 0));
        CHECK_U64(bytes, sizes[i].bytes);
    }
}

int main(void)
{
    RUN(planted_values);
    RUN(stored_bytes);
    return test_finish();
}
