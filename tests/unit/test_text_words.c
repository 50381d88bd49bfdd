/* test_text_words.c - words, stretches, caches and trees against merging as it is defined: look at
 * all pairs, join the one of the least rank, the leftmost of equals, and begin again. Random and
 * hostile texts over small alphabets, so that merges meet. `--bench TEXT TOKENIZER...` times.
 */
#include "lib/check.h"
#include "lib/cli.h"
#include "lib/small_tokenizer.h"
#include "lib/text_model.h"
#include "text/tokenizer_state.h"

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 11;
}

/* ---- Merging as it is defined ---------------------------------------------------------------- */

static const merge_slot *find_slowly(const slm_tokenizer *t, uint32_t left, uint32_t right)
{
    for (uint32_t i = 0; i <= t->table_mask; i++) {
        if (t->table[i].pair == pair_key(left, right)) {
            return &t->table[i];
        }
    }
    return NULL;
}

static size_t merge_slowly(const slm_tokenizer *t, uint32_t *ids, size_t n)
{
    for (;;) {
        const merge_slot *best = NULL;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const merge_slot *slot = find_slowly(t, ids[i], ids[i + 1]);
            if (slot && (!best || slot->rank < best->rank)) {
                best = slot;
                at = i;
            }
        }
        if (!best) {
            return n;
        }
        ids[at] = best->result;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}

/* ---- Random vocabularies --------------------------------------------------------------------- */

enum { MAX_MERGES = 60, MAX_TEXT = 700 };

static const char *const letters[] = {"a", "b", "c", "\xe2\x96\x81", "\xc3\xa9"};
enum { LETTERS = 5, UNK = LETTERS };

typedef struct random_vocab {
    char json[32768];
    char tokens[LETTERS + 1 + MAX_MERGES][128];
    size_t n_tokens;
} random_vocab;

static int find_token(const random_vocab *v, const char *text)
{
    for (size_t i = 0; i < v->n_tokens; i++) {
        if (strcmp(v->tokens[i], text) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Tokens made of random earlier ones; merges in an order that no training gives. é is a token only
 * of some vocabularies, and x of none. */
static void make_vocab(random_vocab *v, bool fallback)
{
    static char merges[16384], item[512];
    size_t n_letters = LETTERS - next() % 2, n_merges = next() % MAX_MERGES;
    v->n_tokens = 0;
    for (; v->n_tokens <= LETTERS; v->n_tokens++) {
        const char *unused[] = {"z", "<unk>"};
        size_t i = v->n_tokens;
        strcpy(v->tokens[i], i == UNK ? unused[1] : i < n_letters ? letters[i] : unused[0]);
    }
    merges[0] = 0;
    for (size_t i = 0; i < n_merges; i++) {
        size_t a = next() % v->n_tokens, b = next() % v->n_tokens;
        char whole[256];
        snprintf(whole, sizeof whole, "%s%s", v->tokens[a], v->tokens[b]);
        if (a == UNK || b == UNK || strlen(whole) > 40) {
            continue;
        }
        if (find_token(v, whole) < 0) {
            strcpy(v->tokens[v->n_tokens++], whole);
        }
        snprintf(item, sizeof item, "[\"%s\",\"%s\"]", v->tokens[a], v->tokens[b]);
        if (!strstr(merges, item)) {
            size_t n = strlen(merges), n_item = strlen(item);
            bool front = next() % 2; /* before all others, or behind them */
            memmove(merges + (front ? n_item + 1 : 0), merges, n + 1);
            memcpy(merges + (front ? 0 : n), item, n_item);
            merges[front ? n_item : n + n_item] = ',';
            merges[n + n_item + 1] = 0;
        }
    }
    merges[strlen(merges) ? strlen(merges) - 1 : 0] = 0;
    char *p = v->json;
    const char *added = "{\"id\":5,\"content\":\"<unk>\",\"single_word\":false,\"lstrip\":false,"
                        "\"rstrip\":false,\"normalized\":false,\"special\":true}";
    p += sprintf(p,
                 "{\"version\":\"1.0\",\"added_tokens\":[%s],\"decoder\":{\"type\":\"Fuse\"},"
                 "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\",\"fuse_unk\":%s,"
                 "\"byte_fallback\":%s,\"vocab\":{",
                 next() % 4 ? added : "", next() % 4 ? "true" : "false",
                 fallback ? "true" : "false");
    for (size_t i = 0; i < v->n_tokens; i++) {
        p += sprintf(p, "%s\"%s\":%zu", i ? "," : "", v->tokens[i], i);
    }
    for (int i = 0; fallback && i < 256; i++) {
        p += sprintf(p, ",\"<0x%02X>\":%d", (unsigned)i, (int)v->n_tokens + i);
    }
    sprintf(p, "},\"merges\":[%s]}}", merges);
}

static size_t symbols(const random_vocab *v, bool fallback, bool fuse, const char *text, size_t n,
                      uint32_t *ids)
{
    size_t n_ids = 0;
    bool unknown = false;
    for (size_t i = 0, length; i < n; i += length) {
        char c[4] = {text[i]};
        length = (uint8_t)text[i] == 0xe2 ? 3 : (uint8_t)text[i] == 0xc3 ? 2 : 1;
        memcpy(c, text + i, length);
        int id = find_token(v, c);
        bool was_unknown = unknown;
        unknown = id < 0;
        if (id >= 0) {
            ids[n_ids++] = (uint32_t)id;
        } else if (fallback) {
            for (size_t k = 0; k < length; k++) {
                ids[n_ids++] = (uint32_t)v->n_tokens + (uint8_t)c[k];
            }
        } else if (!(was_unknown && fuse)) {
            ids[n_ids++] = UNK;
        }
    }
    return n_ids;
}

static size_t random_text(char *text)
{
    size_t n = 0, limit = next() % 3 ? next() % 60 : next() % (MAX_TEXT - 8);
    while (n < limit) {
        uint64_t r = next() % 32, run = r == 31 ? next() % 100 : 1;
        const char *c = r == 0 ? "x" : letters[r % LETTERS];
        for (; run-- > 0 && n < limit; n += strlen(c)) {
            memcpy(text + n, c, strlen(c));
        }
    }
    return n;
}

static void expect_ids(const char *json, const char *text, size_t n, const int32_t *ids,
                       size_t n_ids, const uint32_t *want, size_t n_want)
{
    if (n_ids != n_want || memcmp(ids, want, n_ids * sizeof *ids) != 0) {
        printf("# %s\n# \"%.*s\": %zu ids, not %zu\n", json, (int)n, text, n_ids, n_want);
        CHECK(false);
    }
}

static void random_vocabularies(void)
{
    static random_vocab v;
    static uint32_t want[3 * MAX_TEXT];
    static char text[MAX_TEXT];
    for (int i = 0; i < 600 && !test_failed_here; i++) {
        small_tokenizer s;
        failure f = {0};
        make_vocab(&v, i % 2);
        CHECK(small_build(&s, v.json, NULL, &f) == EXIT_OK && s.status == SLM_OK);
        if (test_failed_here) {
            printf("# %s: %s\n", f.text, v.json);
            return;
        }
        bool fuse = strstr(v.json, "\"fuse_unk\":true");
        for (int k = 0; k < 6; k++) {
            size_t n = random_text(text), n_ids = 0;
            int32_t *ids;
            CHECK(small_encode(s.t, text, n, 0, &ids, &n_ids) == SLM_OK);
            size_t n_want = symbols(&v, i % 2, fuse, text, n, want);
            n_want = merge_slowly(s.t, want, n_want);
            expect_ids(v.json, text, n, ids, n_ids, want, n_want);
            free(ids);
        }
        small_close(&s);
    }
}

/* ---- Real ones ------------------------------------------------------------------------------- */

/* Bytes of real text without the spaces that would make words short, and runs. */
static void long_words(void)
{
    text_model m;
    failure f;
    char *text = NULL;
    size_t n = 0;
    static uint32_t want[4096];
    CHECK(text_model_open(&m, "evals/models/tinystories-2.6m/tokenizer.json", &f) == EXIT_OK);
    CHECK(input_slurp("README.md", 1 << 20, &text, &n, &f) == EXIT_OK);
    for (size_t from = 0; from + 600 < n && !test_failed_here; from += 1500) {
        char word[600];
        size_t n_word = 0, n_ids = 0;
        for (size_t i = from; i < from + 600; i++) {
            if ((text[i] | 32) >= 'a' && (text[i] | 32) <= 'z') {
                word[n_word++] = text[i];
            }
        }
        for (size_t i = 0; i < n_word; i++) {
            want[i] = m.tokenizer->byte_ids[(uint8_t)word[i]];
        }
        size_t n_want = merge_slowly(m.tokenizer, want, n_word);
        int32_t *ids;
        CHECK(small_encode(m.tokenizer, word, n_word, 0, &ids, &n_ids) == SLM_OK);
        expect_ids("the demo", word, n_word, ids, n_ids, want, n_want);
        free(ids);
    }
    free(text);
    text_model_close(&m);
}

/* ---- Time ------------------------------------------------------------------------------------ */

static void time_text(const text_model *m, const char *what, const char *text, size_t n)
{
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        int32_t *ids = NULL;
        size_t n_ids;
        failure f;
        double start = clock_seconds();
        if (text_model_encode(m, text, n, 0, &ids, &n_ids, &f) != EXIT_OK) {
            printf("%s\n", f.text);
            return;
        }
        double seconds = clock_seconds() - start;
        best = seconds < best ? seconds : best;
        free(ids);
    }
    printf("  %s %.1f MB/s", what, (double)n / best * 1e-6);
}

/* bench TEXT TOKENIZER...: whole calls, memory of scratch and ids included. */
static int bench(int n_args, char **args)
{
    failure f;
    char *text = NULL, *run = (char *)malloc(1 << 20);
    size_t n = 0;
    if (n_args < 2 || input_slurp(args[0], 1 << 28, &text, &n, &f) != EXIT_OK) {
        printf("--bench TEXT TOKENIZER...\n");
        return 2;
    }
    memset(run, 'a', 1 << 20);
    for (int i = 1; i < n_args; i++) {
        text_model m;
        if (text_model_open(&m, args[i], &f) != EXIT_OK) {
            printf("%s\n", f.text);
            continue;
        }
        printf("%s:", args[i]);
        time_text(&m, "text", text, n);
        time_text(&m, "one letter", run, 1 << 20);
        printf("\n");
        text_model_close(&m);
    }
    free(text);
    free(run);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        return bench(argc - 2, argv + 2);
    }
    RUN(random_vocabularies);
    RUN(long_words);
    return test_finish();
}
