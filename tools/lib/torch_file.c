/* torch_file.c - finds the state dict in a checkpoint and the bytes of its tensors. */
#include "lib/torch_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"

enum { MAX_RATIO = 100, MAX_SMALL = 32 };

/* ---- What kind of file ----------------------------------------------------------------------- */

static bool begins(const uint8_t *bytes, uint64_t n, uint64_t at, const char *what, size_t n_what)
{
    return n >= at + n_what && memcmp(bytes + at, what, n_what) == 0;
}

bool torch_recognised(const uint8_t *bytes, uint64_t n)
{
    return begins(bytes, n, 0, "PK\3\4", 4) || begins(bytes, n, 0, "\x80\2\x8a\x0a", 4) ||
           begins(bytes, n, 257, "ustar", 5) || begins(bytes, n, 0, "PK\5\6", 4);
}

static int check_kind(const torch_file *t, const uint8_t *bytes, uint64_t n, failure *f)
{
    static const struct {
        uint64_t at;
        const char *magic;
        size_t n_magic;
        const char *what;
    } kinds[] = {
        {0, "\x80\2\x8a\x0a", 4, "PyTorch's format before 1.6; load it there and save it again"},
        {257, "ustar", 5, "a tar archive, PyTorch's format before 0.4; save it again"},
        {0, "7z\xbc\xaf", 4, "a 7z archive; unpack it"},
        {0, "\x1f\x8b", 2, "a gzip file; unpack it"},
        {0, "GGUF", 4, "a GGUF file"},
        {0, "\x80", 1, "a bare pickle; save it again with torch.save"},
        {0, "{", 1, "a JSON file; name the folder that holds it and the weights"},
        {8, "{", 1, "a safetensors file; name the folder that holds it and config.json"},
        {0, "<", 1, "a web page; the download failed"},
        {0, "version https://git-lfs", 23,
         "a Git LFS pointer; fetch the file itself (git lfs pull)"},
    };
    if (begins(bytes, n, 0, "PK\3\4", 4)) {
        return EXIT_OK;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (begins(bytes, n, kinds[i].at, kinds[i].magic, kinds[i].n_magic)) {
            return fail(f, EXIT_INPUT, "%s: is %s", t->name, kinds[i].what);
        }
    }
    return fail(f, EXIT_INPUT, "%s: is no PyTorch checkpoint: it does not begin with a zip member",
                t->name);
}

/* ---- Members --------------------------------------------------------------------------------- */

/* Ends in "/data.pkl" or is it; whatever the case of its letters. */
static bool is_pickle_name(const zip_entry *e)
{
    static const char name[] = "/data.pkl";
    uint32_t n = sizeof name - 1;
    return (e->name_bytes >= n && strncasecmp(e->name + e->name_bytes - n, name, n) == 0) ||
           (e->name_bytes == n - 1 && strncasecmp(e->name, name + 1, n - 1) == 0);
}

static const zip_entry *find_member(const torch_file *t, uint32_t n_prefix, const zip_entry *of,
                                    const char *name, size_t n_name)
{
    char full[ZIP_MAX_NAME];
    if (n_prefix + n_name > sizeof full) {
        return NULL;
    }
    memcpy(full, of->name, n_prefix);
    memcpy(full + n_prefix, name, n_name);
    return zip_find(&t->archive, full, n_prefix + n_name);
}

/* The one data.pkl; its prefix is *n_prefix bytes. */
static int find_pickle(const torch_file *t, const zip_entry **found, uint32_t *n_prefix, failure *f)
{
    const zip *z = &t->archive;
    *found = NULL;
    for (uint64_t i = 0; i < z->n_entries; i++) {
        if (!is_pickle_name(&z->entries[i])) {
            continue;
        }
        if (*found) {
            return fail(f, EXIT_INPUT, "%s: two members are called data.pkl", t->name);
        }
        *found = &z->entries[i];
    }
    const zip_entry *e = *found;
    if (!e || memcmp(e->name + e->name_bytes - 8, "data.pkl", 8) != 0) {
        return fail(f, EXIT_INPUT, "%s: no member is called data.pkl; is it a PyTorch checkpoint?",
                    t->name);
    }
    *n_prefix = e->name_bytes - 8;
    if (find_member(t, *n_prefix, e, "constants.pkl", 13)) {
        return fail(f, EXIT_INPUT,
                    "%s: a TorchScript archive, which is a program; save the model's state_dict()",
                    t->name);
    }
    return EXIT_OK;
}

static int check_ratio(const torch_file *t, const zip_entry *e, failure *f)
{
    if (e->deflated && e->size / MAX_RATIO > e->stored) {
        return fail(f, EXIT_INPUT, "%s: member %.*s grows more than %d-fold when unpacked", t->name,
                    (int)(e->name_bytes < 200 ? e->name_bytes : 200), e->name, MAX_RATIO);
    }
    return EXIT_OK;
}

/* A small text member, without spaces at its end; *there tells whether it exists. */
static int small_text(const torch_file *t, uint32_t n_prefix, const zip_entry *pickle_member,
                      const char *name, char out[MAX_SMALL + 1], bool *there, failure *f)
{
    const zip_entry *e = find_member(t, n_prefix, pickle_member, name, strlen(name));
    *there = e != NULL;
    if (!e) {
        return EXIT_OK;
    }
    if (e->size > MAX_SMALL) {
        return fail(f, EXIT_INPUT, "%s: member %s is too long", t->name, name);
    }
    int code = zip_read(&t->archive, e, (uint8_t *)out, f);
    size_t n = (size_t)e->size;
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == ' ')) {
        n--;
    }
    out[n] = 0;
    return code;
}

static int check_small(const torch_file *t, uint32_t n_prefix, const zip_entry *e, failure *f)
{
    char text[MAX_SMALL + 1];
    bool there;
    int code = small_text(t, n_prefix, e, "byteorder", text, &there, f);
    if (code == EXIT_OK && there && strcmp(text, "little") != 0) {
        return fail(f, EXIT_INPUT, "%s: byteorder is \"%s\"; only little is read", t->name, text);
    }
    code = code ? code : small_text(t, n_prefix, e, "version", text, &there, f);
    if (code == EXIT_OK && there) {
        size_t n = strspn(text, "0123456789");
        unsigned long v = n > 0 && n < 3 && text[n] == 0 ? strtoul(text, NULL, 10) : 0;
        if (v < 1 || v > 10) {
            return fail(f, EXIT_INPUT, "%s: version is \"%s\"; 1 to 10 are known", t->name, text);
        }
    }
    return code;
}

static int read_pickle(torch_file *t, const zip_entry *e, failure *f)
{
    const uint8_t *bytes = NULL;
    int code = check_ratio(t, e, f);
    if (code == EXIT_OK && e->size > PICKLE_MAX_BYTES) {
        code =
            fail(f, EXIT_INPUT, "%s: data.pkl has more than %d bytes", t->name, PICKLE_MAX_BYTES);
    }
    if (code == EXIT_OK && e->deflated) {
        t->unpacked = malloc((size_t)e->size + 1);
        code = t->unpacked ? zip_read(&t->archive, e, t->unpacked, f)
                           : fail(f, EXIT_RESOURCE, "%s: no memory for data.pkl", t->name);
        bytes = t->unpacked;
    } else if (code == EXIT_OK) {
        code = zip_view(&t->archive, e, &bytes, f);
    }
    return code ? code : pickle_parse(t->name, bytes, e->size, &t->content, f);
}

/* Every storage that the pickle speaks of must be there, with its size. */
static int check_storages(torch_file *t, uint32_t n_prefix, const zip_entry *e,
                          const zip_entry **members, notes *w, failure *f)
{
    const pickle *p = &t->content;
    uint64_t n_data = 0;
    for (uint32_t i = 0; i < p->n_storages; i++) {
        const pickle_storage *s = &p->storages[i];
        char name[32] = "data/";
        memcpy(name + 5, s->key.text, s->key.n_bytes);
        members[i] = find_member(t, n_prefix, e, name, 5 + s->key.n_bytes);
        if (!members[i]) {
            return fail(f, EXIT_INPUT, "%s: member data/%.*s is missing", t->name,
                        (int)s->key.n_bytes, s->key.text);
        }
        uint64_t n_bytes = s->n_elements * pickle_dtype_bytes(s->dtype);
        if (members[i]->size != n_bytes) {
            return fail(f, EXIT_INPUT,
                        "%s: member data/%.*s has %" PRIu64 " bytes, data.pkl asks for %" PRIu64,
                        t->name, (int)s->key.n_bytes, s->key.text, members[i]->size, n_bytes);
        }
        if (check_ratio(t, members[i], f) != EXIT_OK) {
            return EXIT_INPUT;
        }
    }
    for (uint64_t i = 0; i < t->archive.n_entries; i++) {
        const zip_entry *m = &t->archive.entries[i];
        n_data += m->name_bytes > n_prefix + 5 && memcmp(m->name, e->name, n_prefix) == 0 &&
                  memcmp(m->name + n_prefix, "data/", 5) == 0;
    }
    if (n_data > p->n_storages) {
        note(w, "%s: %" PRIu64 " members of data/ belong to no tensor", t->name,
             n_data - p->n_storages);
    }
    return EXIT_OK;
}

/* ---- The state dict -------------------------------------------------------------------------- */

static uint32_t count_tensors(const pickle *p, uint32_t dict)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->dicts[dict].n; i++) {
        n += p->entries[p->dicts[dict].first + i].kind == PICKLE_TENSOR;
    }
    return n;
}

static int find_state(torch_file *t, notes *w, failure *f)
{
    static const char *const wrappers[] = {"model", "state_dict", "model_state_dict", "module"};
    const pickle *p = &t->content;
    bool deeper = true;
    for (int depth = 0; depth < 4 && deeper; depth++) {
        deeper = false;
        for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0] && !deeper; i++) {
            const pickle_entry *e = pickle_find(p, t->dict, wrappers[i]);
            if (e && e->kind == PICKLE_DICT) {
                uint32_t n_beside = p->dicts[t->dict].n - 1;
                note(w, "%s: the weights are those of \"%s\"; %u entries beside it are left out",
                     t->name, wrappers[i], n_beside);
                t->dict = e->of.index;
                deeper = true;
            }
        }
    }
    if (pickle_find(p, t->dict, "param_groups") && pickle_find(p, t->dict, "state")) {
        return fail(f, EXIT_INPUT, "%s: is an optimizer's state, not a model's", t->name);
    }
    if (count_tensors(p, t->dict) == 0) {
        return fail(f, EXIT_INPUT, "%s: there are no tensors where the state dict should be",
                    t->name);
    }
    return EXIT_OK;
}

/* Bytes that every tensor's name begins with and that belong to a wrapper. */
static uint32_t shared_prefix(const torch_file *t)
{
    static const char *const prefixes[] = {"module.", "_orig_mod."};
    const pickle *p = &t->content;
    const pickle_dict *d = &p->dicts[t->dict];
    uint32_t cut = 0;
    for (bool again = true; again;) {
        again = false;
        for (size_t k = 0; k < 2 && !again; k++) {
            uint32_t n = (uint32_t)strlen(prefixes[k]);
            bool all = true;
            for (uint32_t i = 0; i < d->n && all; i++) {
                const pickle_entry *e = &p->entries[d->first + i];
                all = e->kind != PICKLE_TENSOR ||
                      (e->key.n_bytes > cut + n && memcmp(e->key.text + cut, prefixes[k], n) == 0);
            }
            again = all;
            cut += all ? n : 0;
        }
    }
    return cut;
}

static bool is_in_rows(const pickle_tensor *s)
{
    uint64_t expected = 1;
    for (uint32_t i = s->rank; i-- > 0;) {
        if (s->dims[i] != 1 && s->strides[i] != expected) {
            return false;
        }
        expected *= s->dims[i]; /* below the storage's size */
    }
    return true;
}

static int add_tensor(torch_file *t, const pickle_entry *e, const char *name, uint32_t n_name,
                      const zip_entry *const *members, failure *f)
{
    const pickle *p = &t->content;
    if (!e->key.text || memchr(name, 0, n_name) || n_name == 0) {
        return fail(f, EXIT_INPUT, "%s: a tensor's name is no text, empty, or has a NUL in it",
                    t->name);
    }
    torch_tensor *out = &t->tensors[t->n_tensors++];
    const pickle_tensor *s = &p->tensors[e->of.index];
    *out = (torch_tensor){.name = name,
                          .name_bytes = n_name,
                          .dtype = p->storages[s->storage].dtype,
                          .shape = s,
                          .member = members[s->storage]};
    uint64_t n = pickle_dtype_bytes(out->dtype);
    out->in_place = !out->member->deflated && is_in_rows(s);
    out->offset = out->member->data_offset + s->offset * n;
    for (uint32_t i = 0; i < s->rank; i++) {
        n *= s->dims[i];
    }
    out->n_bytes = n;
    return EXIT_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const torch_tensor *)a)->name, ((const torch_tensor *)b)->name);
}

static int list_tensors(torch_file *t, const zip_entry *const *members, notes *w, failure *f)
{
    const pickle *p = &t->content;
    const pickle_dict *d = &p->dicts[t->dict];
    uint32_t cut = shared_prefix(t), n_other = 0;
    uint64_t n_names = 0;
    for (uint32_t i = 0; i < d->n; i++) {
        n_names += p->entries[d->first + i].key.n_bytes + 1u;
    }
    t->names = malloc((size_t)n_names + 1);
    t->tensors = calloc((size_t)d->n + 1, sizeof *t->tensors);
    if (!t->names || !t->tensors) {
        return fail(f, EXIT_RESOURCE, "%s: no memory for the list of tensors", t->name);
    }
    char *name = t->names;
    const char *prefix = "";
    for (uint32_t i = 0; i < d->n; i++) {
        const pickle_entry *e = &p->entries[d->first + i];
        if (e->kind != PICKLE_TENSOR) {
            n_other++;
            continue;
        }
        uint32_t n = e->key.n_bytes - (e->key.text ? cut : 0);
        if (e->key.text) {
            memcpy(name, e->key.text + cut, n);
            prefix = e->key.text;
        }
        name[n] = 0;
        int code = add_tensor(t, e, name, n, members, f);
        if (code != EXIT_OK) {
            return code;
        }
        name += n + 1;
    }
    qsort(t->tensors, t->n_tensors, sizeof *t->tensors, by_name);
    if (cut != 0) {
        note(w, "%s: every name begins with %.*s, which is taken off", t->name, (int)cut, prefix);
    }
    if (n_other != 0) {
        note(w, "%s: %u entries of the state dict are no tensors and are left out", t->name,
             n_other);
    }
    return EXIT_OK;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int open_steps(torch_file *t, const uint8_t *bytes, uint64_t n_bytes, notes *w, failure *f)
{
    const zip_entry *e = NULL, **members = NULL;
    uint32_t n_prefix = 0;
    int code = check_kind(t, bytes, n_bytes, f);
    code = code ? code : zip_open(t->name, bytes, n_bytes, &t->archive, f);
    code = code ? code : find_pickle(t, &e, &n_prefix, f);
    code = code ? code : check_small(t, n_prefix, e, f);
    code = code ? code : read_pickle(t, e, f);
    if (code != EXIT_OK) {
        return code;
    }
    members = calloc((size_t)t->content.n_storages + 1, sizeof(const zip_entry *));
    code = members ? check_storages(t, n_prefix, e, members, w, f)
                   : fail(f, EXIT_RESOURCE, "%s: no memory", t->name);
    code = code ? code : find_state(t, w, f);
    code = code ? code : list_tensors(t, members, w, f);
    free(members);
    return code;
}

int torch_open(const char *name, const uint8_t *bytes, uint64_t n_bytes, torch_file *t, notes *w,
               failure *f)
{
    memset(t, 0, sizeof *t);
    t->name = name;
    int code = open_steps(t, bytes, n_bytes, w, f);
    if (code != EXIT_OK) {
        torch_close(t);
    }
    return code;
}

void torch_close(torch_file *t)
{
    zip_close(&t->archive);
    pickle_free(&t->content);
    free(t->unpacked);
    free(t->names);
    free(t->tensors);
    memset(t, 0, sizeof *t);
}

const torch_tensor *torch_find(const torch_file *t, const char *name)
{
    torch_tensor key = {.name = name};
    return t->n_tensors ? bsearch(&key, t->tensors, t->n_tensors, sizeof key, by_name) : NULL;
}

/* ---- Values ---------------------------------------------------------------------------------- */

int torch_check(const torch_file *t, const torch_tensor *tensor, failure *f)
{
    const uint8_t *bytes;
    return zip_view(&t->archive, tensor->member, &bytes, f);
}

/* Copies the elements in row order, counting the indices up like an odometer. */
static void gather(const torch_tensor *t, const uint8_t *storage, uint8_t *out)
{
    const pickle_tensor *s = t->shape;
    uint64_t index[PICKLE_MAX_DIMS] = {0}, at = s->offset;
    uint32_t size = pickle_dtype_bytes(t->dtype);
    for (uint64_t done = 0; done < t->n_bytes; done += size) {
        memcpy(out + done, storage + at * size, size);
        for (uint32_t k = s->rank; k-- > 0;) {
            at += s->strides[k];
            if (++index[k] < s->dims[k]) {
                break;
            }
            at -= s->strides[k] * s->dims[k];
            index[k] = 0;
        }
    }
}

int torch_read(const torch_file *t, const torch_tensor *tensor, uint8_t *out, failure *f)
{
    const uint8_t *storage = NULL;
    uint8_t *unpacked = NULL;
    int code;
    if (tensor->member->deflated) {
        unpacked = malloc((size_t)tensor->member->size + 1);
        code = unpacked ? zip_read(&t->archive, tensor->member, unpacked, f)
                        : fail(f, EXIT_RESOURCE, "%s: no memory for %s", t->name, tensor->name);
        storage = unpacked;
    } else {
        code = zip_view(&t->archive, tensor->member, &storage, f);
    }
    if (code == EXIT_OK) {
        gather(tensor, storage, out);
    }
    free(unpacked);
    return code;
}
