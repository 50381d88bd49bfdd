/* pickle_tree.c - the values of a finished pickle -> dictionaries, each once, and the storages. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "lib/pickle_machine.h"

enum { UNSEEN, OPEN, DONE };

typedef struct level {
    uint32_t dict; /* in the pickle */
    uint32_t next; /* entry */
} level;

typedef struct builder {
    machine *m;
    pickle *p;
    pool dicts, entries;
    uint32_t *dict_of;  /* by value: index of its dictionary */
    uint8_t *state;     /* by value */
    uint32_t *value_of; /* by dictionary */
    pool values;
    level levels[PICKLE_MAX_DEPTH];
    uint32_t depth;
} builder;

/* ---- Duplicate keys -------------------------------------------------------------------------- */

typedef struct sort_key {
    uint64_t hash;
    const pickle_entry *entry;
} sort_key;

static uint64_t hash_key(const pickle_entry *e)
{
    uint64_t h = e->key.text ? 1 : 2;
    if (!e->key.text) {
        return mix64_chain(h, (uint64_t)e->integer_key);
    }
    for (uint32_t i = 0; i < e->key.n_bytes; i++) {
        h = (h ^ (uint8_t)e->key.text[i]) * 0x100000001b3u;
    }
    return mix64(h);
}

static int compare_keys(const void *a, const void *b)
{
    const sort_key *x = a, *y = b;
    const pickle_text *s = &x->entry->key, *t = &y->entry->key;
    if (x->hash != y->hash) {
        return x->hash < y->hash ? -1 : 1;
    }
    if (!s->text || !t->text || s->n_bytes != t->n_bytes) {
        int64_t i = s->text ? s->n_bytes : x->entry->integer_key;
        int64_t k = t->text ? t->n_bytes : y->entry->integer_key;
        return !s->text != !t->text ? (s->text ? 1 : -1) : (i > k) - (i < k);
    }
    return s->text == t->text || s->n_bytes == 0 ? 0 : memcmp(s->text, t->text, s->n_bytes);
}

static int check_duplicates(builder *b, const pickle_entry *entries, uint32_t n)
{
    sort_key *keys = malloc(((size_t)n + 1) * sizeof *keys);
    if (!keys) {
        return fail(b->m->f, EXIT_RESOURCE, "%s: no memory", b->m->name);
    }
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = (sort_key){hash_key(&entries[i]), &entries[i]};
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    int code = EXIT_OK;
    for (uint32_t i = 1; i < n && code == EXIT_OK; i++) {
        if (compare_keys(&keys[i - 1], &keys[i]) == 0) {
            const pickle_entry *e = keys[i].entry;
            uint32_t shown = e->key.n_bytes < 200 ? e->key.n_bytes : 200;
            code = e->key.text ? fail(b->m->f, EXIT_INPUT, "%s: the key %.*s appears twice",
                                      b->m->name, (int)shown, e->key.text)
                               : fail(b->m->f, EXIT_INPUT, "%s: the key %" PRId64 " appears twice",
                                      b->m->name, e->integer_key);
        }
    }
    free(keys);
    return code;
}

/* ---- Dictionaries ---------------------------------------------------------------------------- */

enum { MAX_KEY = 4096 };

static int make_entry(builder *b, const cell *c)
{
    const value *key = value_at(b->m, c->key), *v = value_at(b->m, c->value);
    pickle_entry e = {.kind = PICKLE_OTHER};
    if (key->kind == VALUE_TEXT) {
        if (key->as.text.n_bytes > MAX_KEY) {
            return fail(b->m->f, EXIT_INPUT, "%s: a key of more than %d bytes", b->m->name,
                        MAX_KEY);
        }
        e.key = (pickle_text){key->as.text.bytes, key->as.text.n_bytes};
    } else {
        e.integer_key = key->as.integer;
    }
    switch ((value_kind)v->kind) {
    case VALUE_NONE: e.kind = PICKLE_NONE; break;
    case VALUE_FALSE:
    case VALUE_TRUE:
        e.kind = PICKLE_TRUTH;
        e.of.integer = v->kind == VALUE_TRUE;
        break;
    case VALUE_INTEGER:
        e.kind = PICKLE_INTEGER;
        e.of.integer = v->as.integer;
        break;
    case VALUE_FLOAT:
        e.kind = PICKLE_FLOAT;
        e.of.number = v->as.number;
        break;
    case VALUE_TEXT:
        e.kind = PICKLE_TEXT;
        e.of.text = (pickle_text){v->as.text.bytes, v->as.text.n_bytes};
        break;
    case VALUE_DICT:
    case VALUE_ORDERED:
        e.kind = PICKLE_DICT;
        e.of.index = c->value; /* the value's, until enter() gives the dictionary's */
        break;
    case VALUE_TENSOR:
        e.kind = PICKLE_TENSOR;
        e.of.index = v->as.index;
        break;
    default: break;
    }
    pickle_entry *slot = pool_add(b->m, &b->entries, sizeof *slot);
    if (!slot) {
        return EXIT_RESOURCE;
    }
    *slot = e;
    return EXIT_OK;
}

/* Adds a dictionary with its entries and makes it the one at hand. */
static int enter(builder *b, uint32_t index)
{
    const value *v = value_at(b->m, index);
    if (b->depth == PICKLE_MAX_DEPTH) {
        return fail(b->m->f, EXIT_INPUT, "%s: dictionaries are nested more than %d deep",
                    b->m->name, PICKLE_MAX_DEPTH);
    }
    uint32_t *owner = pool_add(b->m, &b->values, sizeof *owner);
    pickle_dict *d = owner ? pool_add(b->m, &b->dicts, sizeof *d) : NULL;
    if (!d) {
        return EXIT_RESOURCE;
    }
    *owner = index;
    *d = (pickle_dict){b->entries.n, v->as.items.n};
    uint32_t number = b->dicts.n - 1, first = d->first, n = d->n, at = v->as.items.head;
    for (uint32_t i = 0; i < n; i++, at = cell_at(b->m, at)->next) {
        int code = make_entry(b, cell_at(b->m, at));
        if (code != EXIT_OK) {
            return code;
        }
    }
    b->state[index] = OPEN;
    b->dict_of[index] = number;
    b->levels[b->depth++] = (level){number, first};
    return n == 0 ? EXIT_OK
                  : check_duplicates(b, (const pickle_entry *)b->entries.items + first, n);
}

static int walk(builder *b, uint32_t root)
{
    int code = enter(b, root);
    while (b->depth > 0 && code == EXIT_OK) {
        level *l = &b->levels[b->depth - 1];
        const pickle_dict *d = (const pickle_dict *)b->dicts.items + l->dict;
        if (l->next == d->first + d->n) {
            b->state[((const uint32_t *)b->values.items)[l->dict]] = DONE;
            b->depth--;
            continue;
        }
        pickle_entry *e = (pickle_entry *)b->entries.items + l->next++;
        if (e->kind != PICKLE_DICT) {
            continue;
        }
        uint32_t index = e->of.index;
        if (b->state[index] == OPEN) {
            return fail(b->m->f, EXIT_INPUT, "%s: a dictionary contains itself", b->m->name);
        }
        e->of.index = b->state[index] == DONE ? b->dict_of[index] : b->dicts.n;
        if (b->state[index] == UNSEEN) {
            code = enter(b, index);
        }
    }
    return code;
}

/* ---- Storages -------------------------------------------------------------------------------- */

typedef struct named_storage {
    pickle_storage s;
    uint32_t old;
} named_storage;

static int compare_storages(const void *a, const void *b)
{
    const pickle_text *s = &((const named_storage *)a)->s.key,
                      *t = &((const named_storage *)b)->s.key;
    uint32_t n = s->n_bytes < t->n_bytes ? s->n_bytes : t->n_bytes;
    int order = memcmp(s->text, t->text, n);
    return order ? order : (s->n_bytes > t->n_bytes) - (s->n_bytes < t->n_bytes);
}

/* One entry for each key, which must always be described alike. */
static int settle_storages(machine *m, pickle *p)
{
    uint32_t n = m->storages.n, kept = 0;
    named_storage *all = calloc((size_t)n + 1, sizeof *all);
    uint32_t *moved = calloc((size_t)n + 1, sizeof *moved);
    p->storages = calloc((size_t)n + 1, sizeof *p->storages);
    int code =
        all && moved && p->storages ? EXIT_OK : fail(m->f, EXIT_RESOURCE, "%s: no memory", m->name);
    for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
        all[i] = (named_storage){((const pickle_storage *)m->storages.items)[i], i};
    }
    if (code == EXIT_OK) {
        qsort(all, n, sizeof *all, compare_storages);
    }
    for (uint32_t i = 0; i < n && code == EXIT_OK; i++) {
        const pickle_storage *s = &all[i].s;
        if (i == 0 || compare_storages(&all[i - 1], &all[i]) != 0) {
            p->storages[kept++] = *s;
        } else if (s->dtype != p->storages[kept - 1].dtype ||
                   s->n_elements != p->storages[kept - 1].n_elements) {
            code = fail(m->f, EXIT_INPUT, "%s: storage %.*s has two types or two sizes", m->name,
                        (int)s->key.n_bytes, s->key.text);
        }
        moved[all[i].old] = kept - 1;
    }
    for (uint32_t i = 0; i < p->n_tensors && code == EXIT_OK; i++) {
        p->tensors[i].storage = moved[p->tensors[i].storage];
    }
    p->n_storages = kept;
    free(all);
    free(moved);
    return code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

int pickle_make_tree(machine *m, uint32_t root, pickle *p)
{
    builder b = {.m = m, .p = p};
    value_kind kind = (value_kind)value_at(m, root)->kind;
    if (kind != VALUE_DICT && kind != VALUE_ORDERED) {
        return fail(m->f, EXIT_INPUT,
                    "%s: holds no dictionary; save the model's state_dict(), or safetensors",
                    m->name);
    }
    b.dict_of = calloc(m->values.n, sizeof *b.dict_of);
    b.state = calloc(m->values.n, sizeof *b.state);
    int code =
        b.dict_of && b.state ? walk(&b, root) : fail(m->f, EXIT_RESOURCE, "%s: no memory", m->name);
    p->dicts = b.dicts.items;
    p->n_dicts = b.dicts.n;
    p->entries = b.entries.items;
    p->n_entries = b.entries.n;
    p->tensors = m->tensors.items;
    p->n_tensors = m->tensors.n;
    m->tensors = (pool){NULL, 0, 0};
    code = code ? code : settle_storages(m, p);
    free(b.dict_of);
    free(b.state);
    free(b.values.items);
    if (code != EXIT_OK) {
        pickle_free(p);
    }
    return code;
}

void pickle_free(pickle *p)
{
    free(p->dicts);
    free(p->entries);
    free(p->tensors);
    free(p->storages);
    memset(p, 0, sizeof *p);
}

const pickle_entry *pickle_find(const pickle *p, uint32_t dict, const char *key)
{
    const pickle_dict *d = &p->dicts[dict];
    size_t n = strlen(key);
    for (uint32_t i = 0; i < d->n; i++) {
        const pickle_entry *e = &p->entries[d->first + i];
        if (e->key.text && e->key.n_bytes == n && memcmp(e->key.text, key, n) == 0) {
            return e;
        }
    }
    return NULL;
}
