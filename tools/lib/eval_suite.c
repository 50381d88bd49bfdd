/* eval_suite.c - lines of a file -> a suite: split, parsed, checked, hashed, told apart. */
#include "lib/eval_suite.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/eval_suite_case.h"
#include "lib/input.h"
#include "lib/sha256.h"
#include "text/unicode.h"

struct eval_suite {
    const char *path;
    json_t *header;
    eval_case *cases;
    uint32_t *by_id; /* ordinals in order of id, bytewise */
    uint32_t n, room;
    char sha256[65];
    char **texts; /* of files, to be freed: one for each case that names one, else NULL */
};

const char *suite_path(const eval_suite *s)
{
    return s->path;
}

const char *suite_name(const eval_suite *s)
{
    return json_string_value(json_object_get(s->header, "name"));
}

const char *suite_description(const eval_suite *s)
{
    const char *text = json_string_value(json_object_get(s->header, "description"));
    return text ? text : "";
}

const char *suite_sha256(const eval_suite *s)
{
    return s->sha256;
}

uint32_t suite_n_cases(const eval_suite *s)
{
    return s->n;
}

const eval_case *suite_case(const eval_suite *s, uint32_t ordinal)
{
    return &s->cases[ordinal];
}

const eval_case *suite_case_by_id(const eval_suite *s, uint32_t i)
{
    return &s->cases[s->by_id[i]];
}

uint32_t suite_count(const eval_suite *s, eval_kind kind)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        n += s->cases[i].kind == kind;
    }
    return n;
}

static int no_memory(const char *path, failure *f)
{
    return fail(f, EXIT_RESOURCE, "%s: no memory for its cases", path);
}

/* ---- Files that cases name ------------------------------------------------------------------- */

/* Every component of a relative path must be a plain name, every folder a real one. */
static int open_below(const char *suite, const char *where, const char *file, input *in, failure *f)
{
    const char *slash = strrchr(suite, '/');
    size_t n_folder = slash ? (size_t)(slash - suite) + 1 : 0, n = n_folder + strlen(file);
    char *path = (char *)malloc(n + 3);
    if (!path) {
        return no_memory(suite, f);
    }
    size_t base = n_folder ? n_folder : 2;
    memcpy(path, n_folder ? suite : "./", base);
    memcpy(path + base, file, strlen(file) + 1);
    int code = EXIT_OK;
    char *name = path + base;
    for (char *end; code == EXIT_OK && (end = strchr(name, '/')) != NULL; name = end + 1) {
        struct stat st;
        *end = 0;
        if (*name == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
            code = fail(f, EXIT_INPUT,
                        "%s: file: \"%s\" must be a path below the suite's folder, without links",
                        where, file);
        }
        *end = '/';
    }
    if (code == EXIT_OK) {
        char saved = *name; /* the folder is what stands before */
        char *last = strdup(name);
        *name = 0;
        code = last ? input_open_in(path, last, file, in, f) : no_memory(suite, f);
        *name = saved;
        free(last);
    }
    free(path);
    return code;
}

/* Reads the text of a case from its file; hex gets the hash of the bytes. */
static int read_file(eval_suite *s, const char *where, eval_case *c, char hex[65], failure *f)
{
    const char *file = json_string_value(json_object_get(c->definition, "file"));
    input in = {.fd = -1};
    char reason[sizeof f->text];
    int code = open_below(s->path, where, file, &in, f);
    if (code == EXIT_OK && (in.n_bytes == 0 || in.n_bytes > SUITE_MAX_FILE)) {
        code = fail(f, EXIT_INPUT, "%s: %s: has %" PRIu64 " bytes; a text has 1 to %d", where, file,
                    in.n_bytes, SUITE_MAX_FILE);
    }
    char *text = code == EXIT_OK ? (char *)malloc((size_t)in.n_bytes + 1) : NULL;
    if (code == EXIT_OK) {
        code = text ? input_read_at(&in, 0, text, in.n_bytes, f) : no_memory(s->path, f);
    }
    if (code == EXIT_OK) {
        sha256 sha;
        sha256_init(&sha);
        sha256_update(&sha, text, (size_t)in.n_bytes);
        sha256_final_hex(&sha, hex);
        text[in.n_bytes] = 0;
        c->text = text;
        c->n_text = (size_t)in.n_bytes;
        s->texts[c->ordinal] = text;
        text = NULL;
    } else if (strncmp(f->text, where, strlen(where)) != 0) {
        memcpy(reason, f->text, sizeof reason);
        fail(f, code, "%s: %s", where, reason);
    }
    free(text);
    input_close(&in);
    return code;
}

/* ---- Lines ----------------------------------------------------------------------------------- */

static int parse_line(const char *where, const char *text, size_t n, bool last, json_t **value,
                      failure *f)
{
    json_error_t error;
    *value = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    if (!*value && json_error_code(&error) == json_error_out_of_memory) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", where);
    }
    if (!*value) {
        bool cut = last && json_error_code(&error) == json_error_premature_end_of_input;
        return fail(f, EXIT_INPUT, "%s: column %d: %s%s", where, error.column, error.text,
                    cut ? "; the file seems to be cut off" : "");
    }
    if (!json_is_object(*value)) {
        json_decref(*value);
        return fail(f, EXIT_INPUT, "%s: must be a JSON object", where);
    }
    return EXIT_OK;
}

static int check_header(const char *where, json_t *header, failure *f)
{
    const char *key;
    json_t *value, *version = json_object_get(header, "slm_suite");
    if (!json_is_integer(version)) {
        return fail(f, EXIT_INPUT,
                    "%s: the first line must describe the suite: {\"slm_suite\": %d, \"name\": "
                    "\"...\"}",
                    where, SUITE_VERSION);
    }
    if (json_integer_value(version) != SUITE_VERSION) {
        return fail(f, EXIT_INPUT,
                    "%s: slm_suite: version %" JSON_INTEGER_FORMAT
                    " of the format; this slm-eval reads version %d",
                    where, json_integer_value(version), SUITE_VERSION);
    }
    json_object_foreach(header, key, value)
    {
        if (strcmp(key, "slm_suite") != 0 && strcmp(key, "name") != 0 &&
            strcmp(key, "description") != 0) {
            return fail(f, EXIT_INPUT, "%s: the first line of a suite has no key \"%s\"", where,
                        key);
        }
    }
    const json_t *description = json_object_get(header, "description");
    if (description && !json_is_string(description)) {
        return json_in_refuse(where, "description", "a string", description, f);
    }
    return suite_check_name(where, "name", json_object_get(header, "name"), f);
}

static int make_room(eval_suite *s, failure *f)
{
    if (s->n == SUITE_MAX_CASES) {
        return fail(f, EXIT_INPUT, "%s: more than %d cases; split it", s->path, SUITE_MAX_CASES);
    }
    if (s->n < s->room) {
        return EXIT_OK;
    }
    uint32_t room = s->room ? 2 * s->room : 256;
    eval_case *cases = (eval_case *)realloc(s->cases, room * sizeof *cases);
    s->cases = cases ? cases : s->cases;
    char **texts = cases ? (char **)realloc(s->texts, room * sizeof *texts) : NULL;
    s->texts = texts ? texts : s->texts;
    s->room = texts ? room : s->room;
    return texts ? EXIT_OK : no_memory(s->path, f);
}

static int hash_case(eval_suite *s, const char *where, eval_case *c, failure *f)
{
    char file_hex[65] = "";
    c->canonical = json_dumps(c->definition, JSON_COMPACT | JSON_SORT_KEYS);
    if (!c->canonical) {
        return no_memory(s->path, f);
    }
    if (!c->text && json_object_get(c->definition, "file")) {
        int code = read_file(s, where, c, file_hex, f);
        if (code != EXIT_OK) {
            return code;
        }
    }
    sha256 sha;
    sha256_init(&sha);
    sha256_update(&sha, c->canonical, strlen(c->canonical));
    sha256_update(&sha, file_hex, strlen(file_hex));
    sha256_final_hex(&sha, c->sha256);
    return EXIT_OK;
}

static int add_line(eval_suite *s, const char *text, size_t n, uint32_t number, bool last,
                    failure *f)
{
    char where[4096 + 16];
    snprintf(where, sizeof where, "%.4090s:%u", s->path, number);
    json_t *value;
    int code = parse_line(where, text, n, last, &value, f);
    if (code != EXIT_OK) {
        return code;
    }
    if (!s->header) {
        s->header = value;
        return check_header(where, value, f);
    }
    code = make_room(s, f);
    if (code != EXIT_OK) {
        json_decref(value);
        return code;
    }
    eval_case *c = &s->cases[s->n];
    memset(c, 0, sizeof *c);
    c->definition = value;
    c->ordinal = s->n;
    c->line = number;
    s->texts[s->n++] = NULL;
    code = suite_check_case(where, c, f);
    return code ? code : hash_case(s, where, c, f);
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r') {
            return false;
        }
    }
    return true;
}

static int read_lines(eval_suite *s, const char *text, size_t n, failure *f)
{
    size_t bom = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (n >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0 ||
                   text[0] == 0 || text[1] == 0)) {
        return fail(f, EXIT_INPUT, "%s: looks like UTF-16; save it as UTF-8", s->path);
    }
    uint32_t number = 1;
    int code = EXIT_OK;
    for (size_t at = bom; at < n && code == EXIT_OK; number++) {
        const char *newline = (const char *)memchr(text + at, '\n', n - at);
        size_t length = newline ? (size_t)(newline - text) - at : n - at;
        if (length > SUITE_MAX_LINE) {
            code = fail(f, EXIT_INPUT, "%s:%u: the line has %zu bytes; the limit is %d", s->path,
                        number, length, SUITE_MAX_LINE);
        } else if (!is_blank(text + at, length)) {
            code = add_line(s, text + at, length, number, at + length == n, f);
        }
        at += length + 1;
    }
    if (code == EXIT_OK && s->n == 0) {
        code = fail(f, EXIT_INPUT, "%s: holds no case", s->path);
    }
    return code;
}

/* ---- All lines together ---------------------------------------------------------------------- */

static int by_id(const void *a, const void *b, void *user)
{
    const eval_suite *s = (const eval_suite *)user;
    return strcmp(s->cases[*(const uint32_t *)a].id, s->cases[*(const uint32_t *)b].id);
}

static int sort_ids(eval_suite *s, failure *f)
{
    s->by_id = (uint32_t *)malloc(s->n * sizeof *s->by_id);
    if (!s->by_id) {
        return no_memory(s->path, f);
    }
    for (uint32_t i = 0; i < s->n; i++) {
        s->by_id[i] = i;
    }
    qsort_r(s->by_id, s->n, sizeof *s->by_id, by_id, s);
    for (uint32_t i = 1; i < s->n; i++) {
        const eval_case *a = &s->cases[s->by_id[i - 1]], *b = &s->cases[s->by_id[i]];
        if (strcmp(a->id, b->id) == 0) {
            uint32_t first = a->line < b->line ? a->line : b->line;
            return fail(f, EXIT_INPUT, "%s:%u: id \"%s\" stands on line %u already", s->path,
                        first == a->line ? b->line : a->line, a->id, first);
        }
    }
    return EXIT_OK;
}

static void hash_suite(eval_suite *s)
{
    sha256 sha;
    sha256_init(&sha);
    sha256_update(&sha, suite_name(s), strlen(suite_name(s)));
    sha256_update(&sha, "\n", 1);
    for (uint32_t i = 0; i < s->n; i++) {
        sha256_update(&sha, s->cases[s->by_id[i]].sha256, 64);
    }
    sha256_final_hex(&sha, s->sha256);
}

/* ---- Warnings -------------------------------------------------------------------------------- */

typedef struct alike {
    uint64_t key; /* hash of what is compared */
    uint32_t ordinal;
} alike;

static int by_key(const void *a, const void *b)
{
    const alike *x = (const alike *)a, *y = (const alike *)b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key)
                            : (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

/* Ids after normalization form C and with ASCII letters lowered. */
static uint64_t folded_id(const slm_unicode *u, const char *id)
{
    uint8_t folded[3 * SUITE_MAX_NAME + 4];
    size_t n = slm_nfc(u, (const uint8_t *)id, strlen(id), folded);
    for (size_t i = 0; i < n; i++) {
        folded[i] = folded[i] >= 'A' && folded[i] <= 'Z' ? (uint8_t)(folded[i] + 32) : folded[i];
    }
    return slm_hash_bytes(0, folded, n);
}

static void warn_ids(const eval_suite *s, alike *list, notes *w)
{
    slm_unicode u;
    slm_arena arena = arena_measure();
    slm_unicode_init(&u, &arena, true);
    void *memory = NULL;
    if (posix_memalign(&memory, 64, (size_t)arena.used) != 0) {
        return; /* only a warning is lost */
    }
    arena = arena_over(memory, arena.used);
    slm_unicode_init(&u, &arena, true);
    for (uint32_t i = 0; i < s->n; i++) {
        list[i] = (alike){folded_id(&u, s->cases[i].id), i};
    }
    free(memory);
    qsort(list, s->n, sizeof *list, by_key);
    for (uint32_t i = 1; i < s->n; i++) {
        if (list[i].key == list[i - 1].key) {
            const eval_case *a = &s->cases[list[i - 1].ordinal], *b = &s->cases[list[i].ordinal];
            note(w, "%s:%u: id \"%s\" differs from that of line %u in case or Unicode form only",
                 s->path, b->line, b->id, a->line);
        }
    }
}

/* What is asked, and what is expected: two cases with one question and two answers are a mistake
 * more often than not. */
static uint64_t hash_keys(const eval_case *c, const char *const *keys, uint32_t n)
{
    uint64_t hash = (uint64_t)c->kind;
    for (uint32_t i = 0; i < n; i++) {
        char *text = json_dumps(json_object_get(c->definition, keys[i]),
                                JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
        hash = slm_hash_bytes(hash, text ? text : "", text ? strlen(text) : 0);
        free(text);
    }
    return hash;
}

static void warn_prompts(const eval_suite *s, alike *list, notes *w)
{
    static const char *const asked[] = {"prompt", "messages",    "prompts", "choices",
                                        "seed",   "temperature", "top_k",   "max_tokens"};
    static const char *const expected[] = {"checks", "answer", "continuation"};
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        const eval_case *c = &s->cases[i];
        if (c->kind == EVAL_GENERATE || c->kind == EVAL_CHOICE || c->kind == EVAL_CLOZE) {
            list[n++] = (alike){hash_keys(c, asked, 8), i};
        }
    }
    qsort(list, n, sizeof *list, by_key);
    for (uint32_t i = 1; i < n; i++) {
        const eval_case *a = &s->cases[list[i - 1].ordinal], *b = &s->cases[list[i].ordinal];
        if (list[i].key == list[i - 1].key &&
            hash_keys(a, expected, 3) != hash_keys(b, expected, 3)) {
            note(w, "%s:%u: \"%s\" asks what line %u asks, and expects something else", s->path,
                 b->line, b->id, a->line);
        }
    }
}

/* ---- Life ------------------------------------------------------------------------------------ */

static int read_suite(eval_suite *s, const char *text, size_t n_bytes, notes *warnings, failure *f)
{
    int code = read_lines(s, text, n_bytes, f);
    code = code ? code : sort_ids(s, f);
    if (code != EXIT_OK) {
        return code;
    }
    hash_suite(s);
    alike *list = (alike *)malloc(s->n * sizeof *list);
    if (list) {
        warn_ids(s, list, warnings);
        warn_prompts(s, list, warnings);
    }
    free(list);
    return EXIT_OK;
}

int suite_from_text(const char *path, const char *text, size_t n_bytes, eval_suite **suite,
                    notes *warnings, failure *f)
{
    eval_suite *s = (eval_suite *)calloc(1, sizeof *s);
    if (!s) {
        return no_memory(path, f);
    }
    s->path = path;
    int code = read_suite(s, text, n_bytes, warnings, f);
    if (code != EXIT_OK) {
        suite_close(&s);
        return code;
    }
    *suite = s;
    return EXIT_OK;
}

int suite_open(const char *path, eval_suite **suite, notes *warnings, failure *f)
{
    input in = {.fd = -1};
    eval_suite *s = NULL;
    int code = input_open(path, &in, f);
    code = code ? code : input_map(&in, f);
    if (code == EXIT_OK) {
        code = suite_from_text(path, (const char *)in.bytes, (size_t)in.n_bytes, &s, warnings, f);
    }
    code = code ? code : input_unchanged(&in, f);
    input_close(&in);
    if (code != EXIT_OK) {
        suite_close(&s);
        return code;
    }
    *suite = s;
    return EXIT_OK;
}

void suite_close(eval_suite **suite)
{
    eval_suite *s = *suite;
    for (uint32_t i = 0; s && i < s->n; i++) {
        json_decref(s->cases[i].definition);
        free(s->cases[i].canonical);
        free(s->texts[i]);
    }
    if (s) {
        json_decref(s->header);
        free(s->cases);
        free(s->texts);
        free(s->by_id);
        free(s);
        *suite = NULL;
    }
}
