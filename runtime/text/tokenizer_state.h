/* tokenizer_state.h - what a tokenizer is in memory, shared by the files of text/.
 *
 *     payload (borrowed)           arena
 *     token bytes, kinds    <--    offsets, index: bytes -> id
 *     merges                <--    table: (left, right) -> rank, result
 *     added tokens          <--    offsets of their patterns
 */
#ifndef SLM_TEXT_TOKENIZER_STATE_H
#define SLM_TEXT_TOKENIZER_STATE_H

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "text/payload.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

#define NO_MERGE 0x1000000u /* above every rank; 4 bits of position fit beside it */
#define SPACE_MARK 0x2581u  /* U+2581, e2 96 81 in UTF-8 */

typedef struct merge_slot {
    uint64_t pair; /* left << 32 | right; all ones: empty */
    uint32_t rank, result;
} merge_slot;

/* Added tokens that are looked for in raw text, or in normalized text: ascending by pattern. */
typedef struct added_table {
    const uint8_t *entries; /* 8 bytes each: u32 id, u16 pattern bytes, u16 flags */
    const uint8_t *patterns;
    const uint32_t *offsets; /* n + 1, into patterns */
    uint32_t n;
    uint64_t first[4]; /* bit set of the first bytes of all patterns */
} added_table;

/* One stage of a program: entries of 2 bytes, n_columns + 1 to a state. */
typedef struct split_automaton {
    const uint8_t *table;
    uint32_t flags, n_states;
} split_automaton;

typedef struct split_program {
    uint32_t n_stages, n_starts, n_columns;
    const uint8_t *byte_columns; /* of bytes, for STAGE_BYTES */
    const uint8_t *starts;       /* u32 each: first code point << 8 | column */
    uint8_t ascii[128];          /* columns */
    split_automaton stages[PROGRAM_MAX_STAGES];
} split_program;

struct slm_tokenizer {
    uint32_t magic; /* BTOK_MAGIC or BPE1_MAGIC */
    uint32_t flags, pre, prefix;
    uint32_t n_tokens, n_merges;
    int32_t unk_id, bos_id, eos_id; /* -1: none */
    uint32_t n_stops;
    int32_t stops[BPE1_MAX_STOPS];
    const uint8_t *blob;     /* token bytes, one after the other */
    const uint32_t *offsets; /* n_tokens + 1, into blob */
    const uint8_t *kinds;
    const uint8_t *merges; /* pairs of ids of id_bytes each, in rank order */
    uint32_t id_bytes;
    const uint32_t *index; /* hash of token bytes -> id + 1 */
    const merge_slot *table;
    const uint64_t *filter; /* of pairs that merge: filter_mask + 1 bits */
    uint32_t index_mask, table_mask, filter_mask;
    uint32_t longest_probe;   /* of either table: a longer search has failed */
    added_table added[2];     /* in raw text, in normalized text */
    uint32_t longest;         /* bytes of the longest token */
    uint32_t byte_ids[256];   /* tokens of single bytes, or BPE1_NO_ID */
    uint32_t ascii_ids[128];  /* tokens that merge of ASCII characters, or BPE1_NO_ID */
    const uint64_t *adjacent; /* which bytes stand side by side inside a token; see words.c */
    split_program program;
    slm_unicode unicode;
};

static inline const uint8_t *token_text(const slm_tokenizer *t, uint32_t id, uint32_t *n)
{
    *n = t->offsets[id + 1] - t->offsets[id];
    return t->blob + t->offsets[id];
}

/* The ids of a merge, by rank. */
static inline void merge_ids(const slm_tokenizer *t, uint32_t rank, uint32_t *left, uint32_t *right)
{
    if (t->id_bytes == 2) {
        const uint8_t *p = t->merges + (size_t)rank * 4;
        *left = load_u16(p);
        *right = load_u16(p + 2);
    } else {
        const uint8_t *p = t->merges + (size_t)rank * 6;
        *left = load_u16(p) | (uint32_t)p[2] << 16;
        *right = load_u16(p + 3) | (uint32_t)p[5] << 16;
    }
}

static inline uint64_t pair_key(uint32_t left, uint32_t right)
{
    return (uint64_t)left << 32 | right;
}

/* Spreads a pair over 64 bits: the low ones choose a slot, the high ones a bit of the filter. */
static inline uint64_t pair_hash(uint64_t pair)
{
    uint64_t h = (pair ^ pair >> 27) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

/* The slot of a pair, or NULL if the two do not merge. Most do not, which the filter, a bit for
 * each hash value that occurs, tells without a look at the far larger table. */
static inline const merge_slot *merge_find(const slm_tokenizer *t, uint32_t left, uint32_t right)
{
    uint64_t pair = pair_key(left, right), h = pair_hash(pair);
    uint32_t bit = (uint32_t)(h >> 32) & t->filter_mask, slot = (uint32_t)h & t->table_mask;
    if (!(t->filter[bit >> 6] >> (bit & 63) & 1)) {
        return NULL;
    }
    for (uint32_t probe = 0; probe <= t->longest_probe; probe++) {
        const merge_slot *s = &t->table[slot];
        if (s->pair == pair) {
            return s;
        }
        if (s->pair == UINT64_MAX) {
            return NULL;
        }
        slot = (slot + 1) & t->table_mask;
    }
    return NULL;
}

/* A token with exactly these bytes (in two parts) that has one of the attributes, or BPE1_NO_ID.
 * Attributes 0: one that has not TOKEN_MERGES. */
uint32_t slm_token_lookup(const slm_tokenizer *t, const uint8_t *a, size_t n_a, const uint8_t *b,
                          size_t n_b, uint32_t attributes);

/* The hash that the index goes by. */
uint32_t slm_token_hash(const uint8_t *a, size_t n_a, const uint8_t *b, size_t n_b);

/* The end of the word that begins at pos < n; not for PRE_PROGRAM. */
size_t slm_word_end(const slm_tokenizer *t, const uint8_t *text, size_t n, size_t pos);

/* Where ids go: those beyond capacity are counted only. */
typedef struct id_sink {
    int32_t *ids;
    size_t capacity, n;
} id_sink;

static inline void sink_put(id_sink *sink, uint32_t id)
{
    if (sink->n < sink->capacity) {
        sink->ids[sink->n] = (int32_t)id;
    }
    sink->n++;
}

/* A word that was encoded before. */
typedef struct cached_word {
    uint64_t head, tail;
    uint32_t shape; /* its bytes, ids, and whether it is a whole word; 0: nothing */
    uint32_t ids[5];
} cached_word;

/* Scratch of an encoding, carved by slm_scratch_carve. */
typedef struct encode_scratch {
    uint8_t *normal, *spaced;        /* text after NFC, after spaces were marked */
    uint32_t *ids, *previous, *next; /* symbols of a word: a doubly linked list */
    uint32_t *made;                  /* of the pair that begins at a symbol */
    int32_t *ranks;                  /* its rank; merge_long.c tells how */
    int32_t *least;                  /* levels of minima over ranks */
    cached_word *words;              /* cache_mask + 1 */
    uint32_t cache_mask;
    uint8_t *notes;   /* of a program's automata */
    uint8_t *spare;   /* n_bytes, for the caller's own use */
    uint64_t n_bytes; /* of all of it */
} encode_scratch;

/* Reads and checks a program; false if it is none. Then, when t->program is set, its ASCII table.
 */
bool slm_program_open(split_program *s, const uint8_t *program, uint64_t n);
void slm_program_prepare(slm_tokenizer *t);

/* What notes about n bytes of text take. */
uint64_t slm_program_memo_bytes(const split_program *s, uint64_t n);

/* Where one stage of a program is. SIZE_MAX: nothing. */
typedef struct stage_cursor {
    size_t end; /* of its piece */
    size_t match_begin, match_end;
    size_t noted; /* the end of the piece that the notes are about */
    bool drop;
} stage_cursor;

/* A walk over the words of a text. */
typedef struct word_cursor {
    const slm_tokenizer *t;
    const uint8_t *text;
    size_t n, pos;
    uint32_t run_first, run_end, run_column; /* characters that have one column */
    stage_cursor stages[PROGRAM_MAX_STAGES];
    uint8_t *notes[PROGRAM_MAX_STAGES];
} word_cursor;

word_cursor slm_words_begin(const slm_tokenizer *t, const uint8_t *text, size_t n,
                            const encode_scratch *scratch);
bool slm_words_next(word_cursor *c, size_t *begin, size_t *end);

/* Lays out scratch for n_bytes of text; memory may be NULL to count only. False if the sizes do not
 * fit. */
bool slm_scratch_carve(const slm_tokenizer *t, uint64_t n_bytes, void *memory,
                       encode_scratch *scratch);

/* Forgets the cached words; to be called once before slm_encode_word. */
void slm_scratch_clear(const encode_scratch *scratch);

/* Bits of the character that ends at `end` > 0, and where it begins. */
uint32_t slm_bits_before(const slm_tokenizer *t, const uint8_t *text, size_t end, size_t *begin);

/* What slm_encode_word needs to know of the tokens; table: ADJACENT_WORDS numbers. */
enum { ADJACENT_WORDS = 257 * 4 };
void slm_adjacent_build(slm_tokenizer *t, uint64_t *table);

/* A stretch of text that no merge leaves -> ids, left in scratch->ids; returns their number. */
size_t slm_merge_stretch(const slm_tokenizer *t, const uint8_t *text, size_t n,
                         const encode_scratch *scratch);

/* Merges the n symbols in scratch->ids, for long stretches; returns how many are left. */
size_t slm_merge_long(const slm_tokenizer *t, const encode_scratch *scratch, uint32_t n);

/* One word -> ids. */
void slm_encode_word(const slm_tokenizer *t, const uint8_t *word, size_t n,
                     const encode_scratch *scratch, id_sink *sink);

/* Text -> ids, without BOS and EOS. is_first: the text's beginning is that of the whole. */
void slm_encode_text(const slm_tokenizer *t, const uint8_t *text, size_t n, uint32_t flags,
                     bool is_first, const encode_scratch *scratch, id_sink *sink);

#endif
