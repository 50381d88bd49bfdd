/* tokenizer_words.c - cutting texts into words and counting them in a hash table. */
#include "lib/tokenizer_words.h"

#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_state.h" /* where words end, and NFC, must be what encoding does */

/* ---- Memory ---------------------------------------------------------------------------------- */

void *budget_resize(memory_budget *m, void *block, uint64_t old_bytes, uint64_t new_bytes)
{
    if (new_bytes > SIZE_MAX || m->used - old_bytes > m->limit ||
        new_bytes > m->limit - (m->used - old_bytes)) {
        return NULL;
    }
    void *made = realloc(block, new_bytes ? (size_t)new_bytes : 1);
    if (made) {
        m->used = m->used - old_bytes + new_bytes;
        m->peak = m->used > m->peak ? m->used : m->peak;
    }
    return made;
}

void budget_free(memory_budget *m, void *block, uint64_t bytes)
{
    if (block) {
        m->used -= bytes;
        free(block);
    }
}

int budget_fail(const memory_budget *m, failure *f)
{
    return fail(f, EXIT_RESOURCE,
                "training takes more than the %llu MiB that it may: give less text, or more with "
                "--max-memory",
                (unsigned long long)(m->limit >> 20));
}

/* ---- Words ----------------------------------------------------------------------------------- */

static int grow_slots(training_words *w, failure *f)
{
    uint64_t n = w->n_slots ? 2 * w->n_slots : 1 << 16;
    uint32_t *slots = (uint32_t *)budget_resize(w->memory, NULL, 0, n * sizeof *slots);
    if (!slots) {
        return budget_fail(w->memory, f);
    }
    memset(slots, 0, n * sizeof *slots);
    for (uint64_t i = 0; i < w->n_words; i++) {
        const training_word *word = &w->words[i];
        uint64_t at = slm_hash_bytes(0, w->bytes + word->offset, word->n_bytes) & (n - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (n - 1);
        }
        slots[at] = (uint32_t)i + 1;
    }
    budget_free(w->memory, w->slots, w->n_slots * sizeof *slots);
    w->slots = slots;
    w->n_slots = n;
    return EXIT_OK;
}

/* Makes *block hold at least `need` items; room at least doubles. */
static int reserve(training_words *w, void **block, uint64_t *room, uint64_t need, uint64_t size,
                   failure *f)
{
    if (need <= *room) {
        return EXIT_OK;
    }
    uint64_t grown = 2 * *room > need ? 2 * *room : need + 4096;
    void *made = budget_resize(w->memory, *block, *room * size, grown * size);
    if (!made) {
        return budget_fail(w->memory, f);
    }
    *block = made;
    *room = grown;
    return EXIT_OK;
}

static int append(training_words *w, const uint8_t *text, size_t n, uint32_t *slot, failure *f)
{
    if (n > UINT32_MAX / 2 || w->n_bytes + n > UINT32_MAX - 1) { /* the trainer's positions */
        return fail(f, EXIT_RESOURCE, "the different words of the text exceed 4 GiB");
    }
    void *bytes = w->bytes, *words = w->words;
    int code = reserve(w, &bytes, &w->room_bytes, w->n_bytes + n, 1, f);
    w->bytes = (uint8_t *)bytes;
    code =
        code ? code : reserve(w, &words, &w->room_words, w->n_words + 1, sizeof(training_word), f);
    w->words = (training_word *)words;
    if (code == EXIT_OK) {
        memcpy(w->bytes + w->n_bytes, text, n);
        w->words[w->n_words++] = (training_word){w->n_bytes, 1, (uint32_t)n};
        w->n_bytes += n;
        *slot = (uint32_t)w->n_words;
    }
    return code;
}

static int count_word(training_words *w, const uint8_t *text, size_t n, failure *f)
{
    if (w->n_slots - w->n_slots / 4 <= w->n_words && grow_slots(w, f) != EXIT_OK) {
        return f->exit_code;
    }
    w->n_total++;
    uint64_t at = slm_hash_bytes(0, text, n) & (w->n_slots - 1);
    for (; w->slots[at] != 0; at = (at + 1) & (w->n_slots - 1)) {
        training_word *word = &w->words[w->slots[at] - 1];
        if (word->n_bytes == n && memcmp(w->bytes + word->offset, text, n) == 0) {
            word->count++;
            return EXIT_OK;
        }
    }
    return append(w, text, n, &w->slots[at], f);
}

/* ---- Texts ----------------------------------------------------------------------------------- */

static int cut_words(training_words *w, const slm_tokenizer *t, const uint8_t *text, size_t n,
                     failure *f)
{
    int code = EXIT_OK;
    for (size_t pos = 0, end; pos < n && code == EXIT_OK; pos = end) {
        end = slm_word_end(t, text, n, pos);
        code = count_word(w, text + pos, end - pos, f);
        if ((w->n_total & 4095) == 0) {
            uint64_t done = w->n_done + pos;
            progress_update(w->shown, "reading", done < w->n_todo ? done : w->n_todo, w->n_todo);
        }
    }
    return code;
}

static bool is_ascii(const uint8_t *text, size_t n)
{
    uint8_t all = 0;
    for (size_t i = 0; i < n; i++) {
        all |= text[i];
    }
    return all < 0x80;
}

/* A piece of text between special tokens, normalized as encoding would. */
static int add_piece(training_words *w, const slm_tokenizer *t, const tokenizer_rules *rules,
                     const uint8_t *text, size_t n, failure *f)
{
    bool normal = rules->nfc && !is_ascii(text, n);
    bool prefix = rules->prefix_space && n != 0 && text[0] != ' ';
    if (!normal && !prefix) {
        return cut_words(w, t, text, n, f);
    }
    uint64_t room = (normal ? 3 : 1) * (uint64_t)n + 8;
    uint8_t *copy = (uint8_t *)budget_resize(w->memory, NULL, 0, room);
    if (!copy) {
        return budget_fail(w->memory, f);
    }
    size_t n_copy = n;
    copy[0] = ' ';
    if (normal) {
        n_copy = slm_nfc(&t->unicode, text, n, copy + prefix);
    } else {
        memcpy(copy + prefix, text, n);
    }
    int code = cut_words(w, t, copy, n_copy + prefix, f);
    budget_free(w->memory, copy, room);
    return code;
}

/* The longest special token that text begins with, or 0. */
static size_t special_at(const tokenizer_rules *rules, const uint8_t *text, size_t n)
{
    size_t longest = 0;
    for (uint32_t i = 0; i < rules->n_specials; i++) {
        size_t length = strlen(rules->specials[i]);
        if (length > longest && length <= n && memcmp(text, rules->specials[i], length) == 0) {
            longest = length;
        }
    }
    return longest;
}

int words_add_text(training_words *w, const slm_tokenizer *t, const tokenizer_rules *rules,
                   const uint8_t *text, size_t n, failure *f)
{
    bool begins[256] = {false};
    size_t taken = 0;
    int code = EXIT_OK;
    for (uint32_t i = 0; i < rules->n_specials; i++) {
        begins[(uint8_t)rules->specials[i][0]] = true;
    }
    for (size_t pos = 0; pos < n && rules->n_specials != 0 && code == EXIT_OK; pos++) {
        size_t length = begins[text[pos]] ? special_at(rules, text + pos, n - pos) : 0;
        if (length != 0) {
            code = add_piece(w, t, rules, text + taken, pos - taken, f);
            w->n_done += pos + length - taken;
            taken = pos + length;
            pos = taken - 1;
        }
    }
    code = code ? code : add_piece(w, t, rules, text + taken, n - taken, f);
    w->n_done += n - taken;
    return code;
}

void words_free(training_words *w)
{
    budget_free(w->memory, w->bytes, w->room_bytes);
    budget_free(w->memory, w->words, w->room_words * sizeof *w->words);
    budget_free(w->memory, w->slots, w->n_slots * sizeof *w->slots);
    w->bytes = NULL;
    w->words = NULL;
    w->slots = NULL;
}
