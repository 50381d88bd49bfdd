/* merge_long.c - merges many symbols: a linked list, and over the ranks of its pairs a tree of
 * minima, 16 to a node. The tree finds the least rank, leftmost of equals, and a merge changes at
 * most three ranks, so that n symbols take n log n steps with a logarithm to base 16; the ranks of
 * one node are worked off before the tree above them is brought up to date, which makes long runs
 * of one letter linear.
 */
#include "text/tokenizer_state.h"

enum { WIDTH = 16, MAX_LEVELS = 9 };

#define END 0xffffffffu

#define NO_PAIR ((int32_t)NO_MERGE * WIDTH)

typedef struct tree {
    int32_t *levels[MAX_LEVELS]; /* 0: the ranks; each padded to a multiple of WIDTH */
    uint32_t n_levels;           /* the last one is a single node */
} tree;

/* The entries of a node carry their place in it: rank << 4 | place. This is the least of them. */
static int32_t node_least(const int32_t *node)
{
    int32_t least = node[0];
    for (int i = 1; i < WIDTH; i++) {
        least = node[i] < least ? node[i] : least;
    }
    return least;
}

/* The entry that says of a node's least what it is and where the node is among its siblings. */
static int32_t entry_of(const int32_t *node, uint32_t place)
{
    return (node_least(node) & ~(WIDTH - 1)) | (int32_t)(place % WIDTH);
}

static void tree_build(tree *t, int32_t *ranks, uint32_t n, int32_t *memory)
{
    t->levels[0] = ranks;
    t->n_levels = 1;
    for (;;) {
        int32_t *level = t->levels[t->n_levels - 1];
        for (; n % WIDTH != 0; n++) {
            level[n] = NO_PAIR;
        }
        if (n == WIDTH) {
            return;
        }
        for (uint32_t i = 0; i < n / WIDTH; i++) {
            memory[i] = entry_of(level + (size_t)i * WIDTH, i);
        }
        n /= WIDTH;
        t->levels[t->n_levels++] = memory;
        memory += (n + WIDTH - 1) / WIDTH * WIDTH;
    }
}

/* Brings the tree above a node of level 0 up to date. */
static void tree_update(const tree *t, uint32_t node)
{
    for (uint32_t k = 0; k + 1 < t->n_levels; k++) {
        int32_t entry = entry_of(t->levels[k] + (size_t)node * WIDTH, node);
        if (t->levels[k + 1][node] == entry) {
            return;
        }
        t->levels[k + 1][node] = entry;
        node /= WIDTH;
    }
}

/* The node of level 0 that holds the leftmost least rank. */
static uint32_t tree_find(const tree *t)
{
    uint32_t node = 0;
    for (uint32_t k = t->n_levels - 1; k > 0; k--) {
        int32_t least = node_least(t->levels[k] + (size_t)node * WIDTH);
        node = node * WIDTH + (uint32_t)(least & (WIDTH - 1));
    }
    return node;
}

static void note_pair(const slm_tokenizer *t, const encode_scratch *s, uint32_t i)
{
    const merge_slot *slot =
        s->next[i] != END ? merge_find(t, s->ids[i], s->ids[s->next[i]]) : NULL;
    s->ranks[i] = (int32_t)((slot ? slot->rank : NO_MERGE) * WIDTH + i % WIDTH);
    s->made[i] = slot ? slot->result : 0;
}

/* Joins symbol i with the next one. Returns the symbol before it, or END. */
static uint32_t join(const slm_tokenizer *t, const encode_scratch *s, uint32_t i)
{
    uint32_t right = s->next[i], before = s->previous[i];
    s->ids[i] = s->made[i];
    s->next[i] = s->next[right];
    s->ranks[right] = NO_PAIR;
    if (s->next[i] != END) {
        s->previous[s->next[i]] = i;
    }
    note_pair(t, s, i);
    if (before != END) {
        note_pair(t, s, before);
    }
    return before;
}

/* Merges in one node as long as its least rank is the least of all: no more than `rank`, which the
 * other nodes have at least, those to the left more. A pair in another node may come before that:
 * then the tree is asked again. */
static void work_off(const slm_tokenizer *t, const encode_scratch *s, const tree *ranks,
                     uint32_t node, int32_t rank)
{
    bool alone = true;
    while (alone) {
        int32_t least = node_least(s->ranks + (size_t)node * WIDTH);
        if (least / WIDTH > rank) {
            break;
        }
        uint32_t i = node * WIDTH + (uint32_t)(least & (WIDTH - 1)), right = s->next[i];
        uint32_t before = join(t, s, i);
        if (right / WIDTH != node) {
            tree_update(ranks, right / WIDTH);
        }
        if (before != END && before / WIDTH != node) {
            tree_update(ranks, before / WIDTH);
            alone = s->ranks[before] / WIDTH > rank;
        }
    }
    tree_update(ranks, node);
}

size_t slm_merge_long(const slm_tokenizer *t, const encode_scratch *s, uint32_t n)
{
    tree ranks;
    for (uint32_t i = 0; i < n; i++) {
        s->previous[i] = i ? i - 1 : END;
        s->next[i] = i + 1 < n ? i + 1 : END;
        note_pair(t, s, i);
    }
    tree_build(&ranks, s->ranks, n, s->least);
    for (;;) {
        uint32_t node = tree_find(&ranks);
        int32_t least = node_least(s->ranks + (size_t)node * WIDTH);
        if (least >= NO_PAIR) {
            break;
        }
        work_off(t, s, &ranks, node, least / WIDTH);
    }
    size_t n_left = 0;
    for (uint32_t i = 0; i != END; i = s->next[i]) {
        s->ids[n_left++] = s->ids[i];
    }
    return n_left;
}
