/* tokenizer_train.c - see tokenizer_train.h.
 *
 * The bytes of all words lie one after the other. A symbol is a run of them: symbols[] has its id
 * where it begins, begins[] its beginning where it ends, so that both neighbours are one step away.
 * For each pair that ever stood side by side: how often it does, and a list of the places where it
 * was put together (some of them stale: a place is looked at before it is merged). A heap holds the
 * counts, at least one entry for each pair that is not below its count; an entry that is above is
 * put back with the true count when it comes up.
 */
#include "lib/tokenizer_train.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "lib/byte_alphabet.h"
#include "lib/tokenizer_build.h"

#define INSIDE 0xffffffffu /* not the beginning of a symbol */
#define NO_PLACE 0xffffffffu

typedef struct place {
    uint32_t position, next;
} place;

typedef struct pair_slot {
    uint64_t pair; /* left << 32 | right; all ones: empty */
    uint64_t count;
    uint32_t places, n_places; /* a list */
    uint32_t step;             /* that last raised the count */
    uint32_t is_merge;         /* it is in the list of merges */
} pair_slot;

typedef struct heap_item {
    uint64_t count, pair;
} heap_item;

typedef struct token {
    uint64_t offset; /* into pool */
    uint32_t n_bytes;
} token;

typedef struct trainer {
    const training_options *o;
    training_words *words;
    memory_budget *memory;
    failure *f;
    uint32_t *symbols, *begins, *word_of;
    pair_slot *pairs;
    uint64_t n_pairs, n_pair_slots;
    place *places;
    uint64_t n_places, room_places;
    uint32_t free_place;
    heap_item *heap;
    uint64_t n_heap, room_heap;
    uint64_t *raised; /* pairs whose count rose in this step */
    uint64_t n_raised, room_raised;
    uint32_t *hits; /* the places of one pair */
    uint64_t room_hits;
    token *tokens;
    uint8_t *pool;
    uint32_t *ids; /* open addressing over token bytes: id + 1 */
    uint64_t n_pool, room_pool, n_ids;
    uint32_t n_tokens, step;
    uint32_t *merges;
    uint64_t n_merges, room_merges;
} trainer;

static void *new_block(trainer *t, uint64_t n, uint64_t size)
{
    void *block = budget_resize(t->memory, NULL, 0, n * size);
    if (!block) {
        budget_fail(t->memory, t->f);
    }
    return block;
}

/* The block with room for at least `need` items; as it was, and the failure set, without memory. */
static void *grow(trainer *t, void *block, uint64_t *room, uint64_t need, uint64_t size)
{
    if (need <= *room) {
        return block;
    }
    uint64_t grown = 2 * *room > need ? 2 * *room : need + 1024;
    void *made = budget_resize(t->memory, block, *room * size, grown * size);
    if (!made) {
        budget_fail(t->memory, t->f);
        return block;
    }
    *room = grown;
    return made;
}

#define RESERVE(t, block, room, need)                                                              \
    ((block) = grow(t, block, &(room), need, sizeof *(block)), (t)->f->exit_code == EXIT_OK)

/* ---- Tokens ---------------------------------------------------------------------------------- */

/* The slot of a token with these bytes, or the empty one where it belongs. */
static uint32_t *id_slot(const trainer *t, const uint8_t *bytes, uint32_t n)
{
    uint64_t at = slm_hash_bytes(0, bytes, n) & (t->n_ids - 1);
    while (t->ids[at] != 0) {
        const token *k = &t->tokens[t->ids[at] - 1];
        if (k->n_bytes == n && memcmp(t->pool + k->offset, bytes, n) == 0) {
            break;
        }
        at = (at + 1) & (t->n_ids - 1);
    }
    return &t->ids[at];
}

/* Bytes that already lie at the end of the pool become a token, if they are none: its id. */
static uint32_t take_token(trainer *t, uint32_t n)
{
    uint32_t *slot = id_slot(t, t->pool + t->n_pool, n);
    if (*slot == 0) {
        t->tokens[t->n_tokens] = (token){t->n_pool, n};
        t->n_pool += n;
        *slot = ++t->n_tokens;
    }
    return *slot - 1;
}

static bool make_tokens(trainer *t)
{
    const tokenizer_rules *rules = t->o->rules;
    t->n_ids = 1024;
    while (t->n_ids < 2 * (uint64_t)t->o->vocab_size) {
        t->n_ids *= 2;
    }
    t->tokens = (token *)new_block(t, t->o->vocab_size, sizeof *t->tokens);
    t->ids = t->tokens ? (uint32_t *)new_block(t, t->n_ids, sizeof *t->ids) : NULL;
    if (!t->ids || !RESERVE(t, t->pool, t->room_pool, 65536)) {
        return false;
    }
    memset(t->ids, 0, t->n_ids * sizeof *t->ids);
    for (uint32_t i = 0; i < rules->n_specials; i++) { /* no text makes them: not in ids */
        size_t n = strlen(rules->specials[i]);
        if (!RESERVE(t, t->pool, t->room_pool, t->n_pool + n)) {
            return false;
        }
        memcpy(t->pool + t->n_pool, rules->specials[i], n);
        t->tokens[t->n_tokens++] = (token){t->n_pool, (uint32_t)n};
        t->n_pool += n;
    }
    if (!RESERVE(t, t->pool, t->room_pool, t->n_pool + 256)) {
        return false;
    }
    for (uint32_t c = 0x21; c <= 0x143; c++) {
        if (alphabet_byte(c) >= 0) {
            t->pool[t->n_pool] = (uint8_t)alphabet_byte(c);
            take_token(t, 1);
        }
    }
    return true;
}

/* ---- Pairs ----------------------------------------------------------------------------------- */

static uint64_t pair_of(uint32_t left, uint32_t right)
{
    return (uint64_t)left << 32 | right;
}

static pair_slot *find_pair(const trainer *t, uint64_t pair)
{
    uint64_t at = mix64(pair) & (t->n_pair_slots - 1);
    while (t->pairs[at].pair != pair && t->pairs[at].pair != UINT64_MAX) {
        at = (at + 1) & (t->n_pair_slots - 1);
    }
    return &t->pairs[at];
}

static bool grow_pairs(trainer *t)
{
    pair_slot *old = t->pairs;
    uint64_t n_old = t->n_pair_slots, n = n_old ? 2 * n_old : 1 << 16;
    pair_slot *made = (pair_slot *)new_block(t, n, sizeof *made);
    if (!made) {
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        made[i] = (pair_slot){UINT64_MAX, 0, NO_PLACE, 0, 0, 0};
    }
    t->pairs = made;
    t->n_pair_slots = n;
    for (uint64_t i = 0; i < n_old; i++) {
        if (old[i].pair != UINT64_MAX) {
            *find_pair(t, old[i].pair) = old[i];
        }
    }
    budget_free(t->memory, old, n_old * sizeof *old);
    return true;
}

static bool add_place(trainer *t, pair_slot *slot, uint32_t position)
{
    uint32_t at = t->free_place;
    if (at != NO_PLACE) {
        t->free_place = t->places[at].next;
    } else if (t->n_places >= NO_PLACE || !RESERVE(t, t->places, t->room_places, t->n_places + 1)) {
        return false;
    } else {
        at = (uint32_t)t->n_places++;
    }
    t->places[at] = (place){position, slot->places};
    slot->places = at;
    slot->n_places++;
    return true;
}

/* A pair now stands at a position, `count` times. */
static bool raise_pair(trainer *t, uint32_t left, uint32_t right, uint32_t position, uint64_t count)
{
    if (t->n_pair_slots - t->n_pair_slots / 4 <= t->n_pairs && !grow_pairs(t)) {
        return false;
    }
    pair_slot *slot = find_pair(t, pair_of(left, right));
    if (slot->pair == UINT64_MAX) {
        slot->pair = pair_of(left, right);
        t->n_pairs++;
    }
    slot->count += count;
    if (slot->step != t->step) {
        slot->step = t->step;
        if (!RESERVE(t, t->raised, t->room_raised, t->n_raised + 1)) {
            return false;
        }
        t->raised[t->n_raised++] = slot->pair;
    }
    return add_place(t, slot, position);
}

static void lower_pair(trainer *t, uint32_t left, uint32_t right, uint64_t count)
{
    find_pair(t, pair_of(left, right))->count -= count;
}

/* ---- Heap ------------------------------------------------------------------------------------ */

/* More often first; then the smaller ids. */
static bool before(const heap_item *a, const heap_item *b)
{
    return a->count != b->count ? a->count > b->count : a->pair < b->pair;
}

static bool heap_push(trainer *t, heap_item item)
{
    if (!RESERVE(t, t->heap, t->room_heap, t->n_heap + 1)) {
        return false;
    }
    uint64_t i = t->n_heap++;
    for (; i > 0 && before(&item, &t->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        t->heap[i] = t->heap[(i - 1) / 2];
    }
    t->heap[i] = item;
    return true;
}

static heap_item heap_pop(trainer *t)
{
    heap_item top = t->heap[0], item = t->heap[--t->n_heap];
    uint64_t i = 0;
    for (;;) {
        uint64_t child = 2 * i + 1;
        if (child + 1 < t->n_heap && before(&t->heap[child + 1], &t->heap[child])) {
            child++;
        }
        if (child >= t->n_heap || !before(&t->heap[child], &item)) {
            break;
        }
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = item;
    return top;
}

static bool push_raised(trainer *t)
{
    for (uint64_t i = 0; i < t->n_raised; i++) {
        const pair_slot *slot = find_pair(t, t->raised[i]);
        if (slot->count != 0 && !heap_push(t, (heap_item){slot->count, slot->pair})) {
            return false;
        }
    }
    t->n_raised = 0;
    return true;
}

static bool too_long(const trainer *t, uint64_t pair)
{
    return t->tokens[pair >> 32].n_bytes + t->tokens[pair & UINT32_MAX].n_bytes >
           t->o->max_token_bytes;
}

/* The pair to merge next; false if there is none, or no memory. */
static bool next_pair(trainer *t, uint64_t *pair)
{
    while (t->n_heap != 0) {
        heap_item top = heap_pop(t);
        uint64_t count = find_pair(t, top.pair)->count;
        if (top.count < t->o->min_frequency) {
            return false;
        }
        if (count == top.count && !too_long(t, top.pair)) {
            *pair = top.pair;
            return true;
        }
        if (count != 0 && count < top.count && !heap_push(t, (heap_item){count, top.pair})) {
            return false;
        }
    }
    return false;
}

/* ---- Symbols --------------------------------------------------------------------------------- */

static bool make_symbols(trainer *t)
{
    uint64_t n = t->words->n_bytes;
    uint32_t byte_ids[256];
    t->symbols = (uint32_t *)new_block(t, n, sizeof *t->symbols);
    t->begins = t->symbols ? (uint32_t *)new_block(t, n, sizeof *t->begins) : NULL;
    t->word_of = t->begins ? (uint32_t *)new_block(t, n, sizeof *t->word_of) : NULL;
    if (!t->word_of) {
        return false;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint8_t text = (uint8_t)byte;
        byte_ids[byte] = *id_slot(t, &text, 1) - 1;
    }
    for (uint64_t i = 0; i < n; i++) {
        t->symbols[i] = byte_ids[t->words->bytes[i]];
        t->begins[i] = (uint32_t)i;
    }
    t->step = 1;
    for (uint64_t w = 0; w < t->words->n_words; w++) {
        const training_word *word = &t->words->words[w];
        uint32_t begin = (uint32_t)word->offset;
        for (uint32_t i = begin; i < begin + word->n_bytes; i++) {
            t->word_of[i] = (uint32_t)w;
            if (i > begin && !raise_pair(t, t->symbols[i - 1], t->symbols[i], i - 1, word->count)) {
                return false;
            }
        }
    }
    return push_raised(t);
}

/* Joins the pair at a position, if it still stands there. */
static bool merge_at(trainer *t, uint32_t position, uint32_t left, uint32_t right, uint32_t whole)
{
    const training_word *word = &t->words->words[t->word_of[position]];
    uint32_t begin = (uint32_t)word->offset, end = begin + word->n_bytes;
    uint32_t middle = position + t->tokens[left].n_bytes, after;
    if (t->symbols[position] != left || middle >= end || t->symbols[middle] != right) {
        return true;
    }
    after = middle + t->tokens[right].n_bytes;
    uint32_t previous = position > begin ? t->begins[position - 1] : position;
    lower_pair(t, left, right, word->count);
    if (position > begin) {
        lower_pair(t, t->symbols[previous], left, word->count);
    }
    if (after < end) {
        lower_pair(t, right, t->symbols[after], word->count);
    }
    t->symbols[position] = whole;
    t->symbols[middle] = INSIDE;
    t->begins[after - 1] = position;
    return (position == begin ||
            raise_pair(t, t->symbols[previous], whole, previous, word->count)) &&
           (after == end || raise_pair(t, whole, t->symbols[after], position, word->count));
}

static int compare_positions(const void *a, const void *b)
{
    const uint32_t *x = (const uint32_t *)a, *y = (const uint32_t *)b;
    return (*x > *y) - (*x < *y);
}

/* Takes the places of a pair off its list, ascending: "aaa" is "aa" and "a". */
static bool take_places(trainer *t, pair_slot *slot, uint64_t *n)
{
    *n = 0;
    if (!RESERVE(t, t->hits, t->room_hits, slot->n_places)) {
        return false;
    }
    for (uint32_t at = slot->places, next; at != NO_PLACE; at = next) {
        next = t->places[at].next;
        t->hits[(*n)++] = t->places[at].position;
        t->places[at].next = t->free_place;
        t->free_place = at;
    }
    slot->places = NO_PLACE;
    slot->n_places = 0;
    if (slot->pair >> 32 == (slot->pair & UINT32_MAX)) {
        qsort(t->hits, *n, sizeof *t->hits, compare_positions);
    }
    return true;
}

/* A token that two pairs make can bring a pair back that was merged before. */
static void list_merge(trainer *t, pair_slot *slot)
{
    if (!slot->is_merge) {
        slot->is_merge = 1;
        t->merges[2 * t->n_merges] = (uint32_t)(slot->pair >> 32);
        t->merges[2 * t->n_merges++ + 1] = (uint32_t)slot->pair;
    }
}

static bool merge_pair(trainer *t, uint64_t pair)
{
    uint32_t left = (uint32_t)(pair >> 32), right = (uint32_t)pair;
    uint32_t n_left = t->tokens[left].n_bytes, n_right = t->tokens[right].n_bytes;
    uint64_t n;
    if (!RESERVE(t, t->pool, t->room_pool, t->n_pool + n_left + n_right) ||
        !RESERVE(t, t->merges, t->room_merges, 2 * t->n_merges + 2) ||
        !take_places(t, find_pair(t, pair), &n)) {
        return false;
    }
    memcpy(t->pool + t->n_pool, t->pool + t->tokens[left].offset, n_left);
    memcpy(t->pool + t->n_pool + n_left, t->pool + t->tokens[right].offset, n_right);
    uint32_t whole = take_token(t, n_left + n_right);
    list_merge(t, find_pair(t, pair));
    t->step++;
    for (uint64_t i = 0; i < n; i++) {
        if (!merge_at(t, t->hits[i], left, right, whole)) {
            return false;
        }
    }
    return push_raised(t);
}

static int train(trainer *t)
{
    uint64_t pair;
    t->free_place = NO_PLACE;
    if (!make_tokens(t) || !grow_pairs(t) || !make_symbols(t)) {
        return t->f->exit_code;
    }
    while (t->n_tokens < t->o->vocab_size && t->n_merges < BPE1_MAX_MERGES && next_pair(t, &pair)) {
        if (!merge_pair(t, pair)) {
            return t->f->exit_code;
        }
        progress_update(t->words->shown, "merging", t->n_tokens, t->o->vocab_size);
    }
    return t->f->exit_code;
}

/* ---- Payload --------------------------------------------------------------------------------- */

static int compare_added(const void *x, const void *y)
{
    const build_added *a = (const build_added *)x, *b = (const build_added *)y;
    return strcmp(a->content, b->content);
}

static int fill_specials(const trainer *t, tokenizer_build *b)
{
    const tokenizer_rules *rules = t->o->rules;
    for (uint32_t i = 0; i < rules->n_specials; i++) {
        const char *text = rules->specials[i];
        build_added *a = &b->added[b->n_added];
        a->content = text;
        a->n_bytes = (uint32_t)strlen(text);
        a->pattern = (uint8_t *)malloc(a->n_bytes);
        a->id = i;
        a->flags = ADDED_CONTROL;
        if (!a->pattern) {
            return fail(t->f, EXIT_RESOURCE, "no memory");
        }
        memcpy(a->pattern, text, a->n_bytes);
        b->n_added++;
        b->tokens[i].kind = TOKEN_CONTROL;
        b->bos_id = rules->bos && strcmp(rules->bos, text) == 0 ? (int32_t)i : b->bos_id;
        b->eos_id = rules->eos && strcmp(rules->eos, text) == 0 ? (int32_t)i : b->eos_id;
    }
    build_stop(b, b->eos_id);
    qsort(b->added, b->n_added, sizeof *b->added, compare_added);
    return EXIT_OK;
}

static int write_payload(const trainer *t, tokenizer_payload *payload)
{
    const tokenizer_rules *rules = t->o->rules;
    tokenizer_build b = {.name = "training",
                         .flags = rules_flags(rules),
                         .pre = rules->pre,
                         .prefix = rules->prefix_space ? PREFIX_UNLESS : PREFIX_NONE,
                         .n_tokens = t->n_tokens,
                         .merges = t->merges,
                         .n_merges = (uint32_t)t->n_merges,
                         .unk_id = -1,
                         .bos_id = -1,
                         .eos_id = -1,
                         .warnings = payload->warnings,
                         .n_warnings = sizeof payload->warnings};
    b.tokens = (build_token *)calloc(t->n_tokens, sizeof *b.tokens);
    b.added = (build_added *)calloc((size_t)rules->n_specials + 1, sizeof *b.added);
    int code = b.tokens && b.added ? EXIT_OK : fail(t->f, EXIT_RESOURCE, "no memory");
    for (uint32_t id = 0; id < t->n_tokens && code == EXIT_OK; id++) {
        b.tokens[id] = (build_token){t->pool + t->tokens[id].offset, t->tokens[id].n_bytes,
                                     TOKEN_NORMAL | TOKEN_MERGES};
    }
    code = code ? code : fill_specials(t, &b);
    code = code ? code : build_payload(&b, &payload->tokenizer, &payload->n_tokenizer, t->f);
    for (uint32_t i = 0; i < b.n_added; i++) {
        free(b.added[i].pattern);
    }
    free(b.added);
    free(b.tokens);
    return code;
}

/* A special token must not look, in a tokenizer.json, like a token of text. */
static int check_specials(const trainer *t)
{
    for (uint32_t i = 0; i < t->o->rules->n_specials; i++) {
        const char *text = t->o->rules->specials[i];
        uint8_t bytes[RULES_MAX_SPECIAL_BYTES];
        uint32_t n = alphabet_decode((const uint8_t *)text, strlen(text), bytes);
        if (n != 0 && *id_slot(t, bytes, n) != 0) {
            return fail(t->f, EXIT_USAGE,
                        "special token '%s' is written as a token of the text is: choose another",
                        text);
        }
    }
    return EXIT_OK;
}

static void free_trainer(trainer *t)
{
    uint64_t n = t->words->n_bytes;
    budget_free(t->memory, t->symbols, n * sizeof *t->symbols);
    budget_free(t->memory, t->begins, n * sizeof *t->begins);
    budget_free(t->memory, t->word_of, n * sizeof *t->word_of);
    budget_free(t->memory, t->pairs, t->n_pair_slots * sizeof *t->pairs);
    budget_free(t->memory, t->places, t->room_places * sizeof *t->places);
    budget_free(t->memory, t->heap, t->room_heap * sizeof *t->heap);
    budget_free(t->memory, t->raised, t->room_raised * sizeof *t->raised);
    budget_free(t->memory, t->hits, t->room_hits * sizeof *t->hits);
    budget_free(t->memory, t->tokens, t->o->vocab_size * sizeof *t->tokens);
    budget_free(t->memory, t->pool, t->room_pool);
    budget_free(t->memory, t->ids, t->n_ids * sizeof *t->ids);
    budget_free(t->memory, t->merges, t->room_merges * sizeof *t->merges);
}

int tokenizer_train(const training_options *o, training_words *words, tokenizer_payload *payload,
                    training_result *result, failure *f)
{
    trainer t = {.o = o, .words = words, .memory = words->memory, .f = f};
    memset(payload, 0, sizeof *payload);
    if (o->vocab_size < 256 + o->rules->n_specials) {
        return fail(f, EXIT_USAGE,
                    "--vocab-size %u is too small: %u special tokens and 256 bytes must be in it",
                    o->vocab_size, o->rules->n_specials);
    }
    f->exit_code = EXIT_OK;
    int code = train(&t);
    code = code ? code : check_specials(&t);
    code = code ? code : write_payload(&t, payload);
    result->n_tokens = t.n_tokens;
    result->n_merges = (uint32_t)t.n_merges;
    free_trainer(&t);
    return code;
}
