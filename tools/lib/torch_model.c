/* torch_model.c - opens checkpoints; see torch_model.h. */
#include "lib/torch_model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/llama2c.h"
#include "lib/torch_file.h"

/* ---- llama2.c's names, also those of Meta's own checkpoints ---------------------------------- */

static const char *const MODEL_ARGS[HF_N_KEYS] = {
    [HF_VOCAB] = "vocab_size",  [HF_WIDTH] = "dim",           [HF_LAYERS] = "n_layers",
    [HF_HEADS] = "n_heads",     [HF_KV_HEADS] = "n_kv_heads", [HF_CONTEXT] = "max_seq_len",
    [HF_NORM_EPS] = "norm_eps",
};

#define EMBEDDING "tok_embeddings.weight"
#define OUTPUT "output.weight"

static const hf_name LLAMA2C_NAMES[] = {
    {.ours = "token_embd.weight", .theirs = EMBEDDING},
    {.ours = "blk.#.attn_norm.weight", .theirs = "layers.#.attention_norm.weight"},
    {.ours = "blk.#.attn_q.weight", .theirs = "layers.#.attention.wq.weight"},
    {.ours = "blk.#.attn_k.weight", .theirs = "layers.#.attention.wk.weight"},
    {.ours = "blk.#.attn_v.weight", .theirs = "layers.#.attention.wv.weight"},
    {.ours = "blk.#.attn_output.weight", .theirs = "layers.#.attention.wo.weight"},
    {.ours = "blk.#.ffn_norm.weight", .theirs = "layers.#.ffn_norm.weight"},
    {.ours = "blk.#.ffn_gate.weight", .theirs = "layers.#.feed_forward.w1.weight"},
    {.ours = "blk.#.ffn_up.weight", .theirs = "layers.#.feed_forward.w3.weight"},
    {.ours = "blk.#.ffn_down.weight", .theirs = "layers.#.feed_forward.w2.weight"},
    {.ours = "output_norm.weight", .theirs = "norm.weight"},
    {.ours = "output.weight", .theirs = OUTPUT},
    {0},
};

static const hf_family LLAMA2C = {
    .architecture = "llama",
    .model_type = "llama2.c",
    .keys = MODEL_ARGS,
    .names = {LLAMA2C_NAMES},
    .prefix = "",
};

/* ---- Two parts of a file's tensors ----------------------------------------------------------- */

/* Room for n tensors with their names; dims, dtypes and places follow. */
static int begin_header(safetensors *st, uint32_t n, uint64_t n_names, failure *f)
{
    st->tensors = calloc((size_t)n + 1, sizeof *st->tensors);
    st->text = malloc((size_t)n_names + 1);
    return st->tensors && st->text ? EXIT_OK
                                   : fail(f, EXIT_RESOURCE, "no memory for the list of tensors");
}

static uint8_t dtype_index(const char *name)
{
    uint8_t i = 0;
    while (strcmp(safetensors_dtype_name(i), name) != 0) {
        i++; /* every name that is asked for is in the table */
    }
    return i;
}

/* Names must come in ascending order. *text: where the next name goes. */
static safetensors_tensor *add_tensor(safetensors *st, char **text, const char *name, uint8_t dtype,
                                      uint32_t rank, const uint64_t *dims)
{
    size_t n = strlen(name);
    safetensors_tensor *t = &st->tensors[st->n_tensors++];
    memcpy(*text, name, n + 1);
    *t = (safetensors_tensor){
        .name = *text, .name_bytes = (uint16_t)n, .rank = (uint8_t)rank, .dtype = dtype};
    memcpy(t->dims, dims, rank * sizeof *dims);
    *text += n + 1;
    return t;
}

static int allocate_part(hf_file *file, const hf_file *of, uint64_t n_bytes, failure *f)
{
    file->name = strdup(of->name);
    file->path = strdup(of->path);
    file->memory = n_bytes < SIZE_MAX ? malloc((size_t)n_bytes + 1) : NULL;
    file->n_bytes = n_bytes;
    return file->name && file->path && file->memory
               ? EXIT_OK
               : fail(f, EXIT_RESOURCE, "%s: no memory for %" PRIu64 " bytes of tensors", of->path,
                      n_bytes);
}

/* ---- PyTorch --------------------------------------------------------------------------------- */

/* How a tensor of rope's interleaved order is to be taken; heads 0: it has no such order. */
static int interleaved_heads(const hf_model *m, const torch_tensor *t, uint32_t *heads, failure *f)
{
    bool is_key;
    const slm_config *c = &m->hf.config;
    *heads = 0;
    if (m->hf.family != &LLAMA2C || !llama2c_is_rotated(t->name, &is_key)) {
        return EXIT_OK;
    }
    *heads = is_key ? c->n_kv_heads : c->n_heads;
    if (t->shape->rank != 2 || t->shape->dims[0] != (uint64_t)*heads * c->head_dim) {
        return fail(f, EXIT_INPUT, "tensor %s does not have the rows of %u heads of %u", t->name,
                    *heads, c->head_dim);
    }
    return EXIT_OK;
}

/* Brings a tensor into memory in our order. */
static int rearrange(const torch_file *t, const torch_tensor *tensor, uint32_t heads,
                     uint32_t head_dim, uint8_t *out, failure *f)
{
    if (heads == 0) {
        return torch_read(t, tensor, out, f);
    }
    uint8_t *rows = malloc((size_t)tensor->n_bytes + 1);
    int code = rows ? torch_read(t, tensor, rows, f)
                    : fail(f, EXIT_RESOURCE, "%s: no memory for %s", t->name, tensor->name);
    if (code == EXIT_OK) {
        llama2c_halves(rows, out, heads, head_dim, tensor->n_bytes / tensor->shape->dims[0]);
    }
    free(rows);
    return code;
}

static bool is_float(pickle_dtype dtype)
{
    return dtype == PICKLE_F32 || dtype == PICKLE_F16 || dtype == PICKLE_BF16;
}

/* Sizes of the part in memory; a type that cannot be converted stays where it is. */
static int measure(const hf_model *m, const torch_file *t, uint64_t *n_bytes, uint64_t *n_names,
                   failure *f)
{
    *n_bytes = *n_names = 0;
    for (uint32_t i = 0; i < t->n_tensors; i++) {
        const torch_tensor *tensor = &t->tensors[i];
        uint32_t heads;
        int code = interleaved_heads(m, tensor, &heads, f);
        if (code == EXIT_OK && tensor->name_bytes > SAFETENSORS_MAX_NAME) {
            code = fail(f, EXIT_INPUT, "%s: a tensor's name has more than %d bytes", t->name,
                        SAFETENSORS_MAX_NAME);
        }
        if (code != EXIT_OK) {
            return code;
        }
        *n_bytes += (!tensor->in_place || heads) && is_float(tensor->dtype) ? tensor->n_bytes : 0;
        *n_names += tensor->name_bytes + 1u;
    }
    return EXIT_OK;
}

static int take_tensors(hf_model *m, uint32_t shard, const torch_file *t, failure *f)
{
    uint32_t other = shard + m->n_shards / 2;
    safetensors *there = &m->headers[shard], *here = &m->headers[other];
    uint64_t n_bytes, n_names, used = 0;
    int code = measure(m, t, &n_bytes, &n_names, f);
    code = code ? code : begin_header(there, t->n_tensors, n_names, f);
    code = code ? code : begin_header(here, t->n_tensors, n_names, f);
    code = code ? code : allocate_part(&m->shards[other], &m->shards[shard], n_bytes, f);
    char *text_there = there->text, *text_here = here->text;
    for (uint32_t i = 0; i < t->n_tensors && code == EXIT_OK; i++) {
        const torch_tensor *tensor = &t->tensors[i];
        const pickle_tensor *s = tensor->shape;
        uint32_t heads = 0;
        uint8_t dtype = dtype_index(pickle_dtype_name(tensor->dtype));
        code = interleaved_heads(m, tensor, &heads, f);
        if (code == EXIT_OK && (!tensor->in_place || heads) && is_float(tensor->dtype)) {
            safetensors_tensor *to =
                add_tensor(here, &text_here, tensor->name, dtype, s->rank, s->dims);
            to->begin = used;
            code = rearrange(t, tensor, heads, m->hf.config.head_dim,
                             m->shards[other].memory + used, f);
            used += tensor->n_bytes;
            to->end = used;
        } else if (code == EXIT_OK) {
            safetensors_tensor *to =
                add_tensor(there, &text_there, tensor->name, dtype, s->rank, s->dims);
            to->begin = tensor->offset;
            to->end = tensor->offset + tensor->n_bytes;
            code = tensor->in_place ? torch_check(t, tensor, f) : EXIT_OK;
        }
    }
    return code;
}

int torch_read_shard(hf_model *m, uint32_t shard, input *in, notes *w, failure *f)
{
    torch_file t = {0};
    int code = input_map(in, f);
    code = code ? code : torch_open(m->shards[shard].path, in->bytes, in->n_bytes, &t, w, f);
    code = code ? code : take_tensors(m, shard, &t, f);
    torch_close(&t);
    return code;
}

/* ---- Single files ---------------------------------------------------------------------------- */

/* The file and the part of it that will be rearranged. */
static int begin_file(hf_model *m, const char *path, const input *in, failure *f)
{
    const char *slash = strrchr(path, '/');
    m->shards = calloc(2, sizeof *m->shards);
    m->headers = calloc(2, sizeof *m->headers);
    if (!m->shards || !m->headers) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", path);
    }
    m->n_shards = 2;
    m->shards[0] = (hf_file){.name = strdup(slash ? slash + 1 : path),
                             .path = strdup(path),
                             .n_bytes = in->n_bytes,
                             .mtime_ns = in->mtime_ns,
                             .inode = in->inode,
                             .device = in->device};
    return m->shards[0].name && m->shards[0].path ? EXIT_OK
                                                  : fail(f, EXIT_RESOURCE, "%s: no memory", path);
}

/* What llama2.c's models have in common. Text begins with token 1 and ends with 2, or with the 1
 * that begins the next one. */
static void common_config(hf_model *m)
{
    slm_config *c = &m->hf.config;
    m->hf.family = &LLAMA2C;
    *c = slm_config_default();
    c->norm_eps = 1e-5f;
    c->rope_theta = 10000.0f;
    c->bos_id = 1;
    c->stop_ids[0] = 2;
    c->stop_ids[1] = 1;
    c->n_stop_ids = 2;
}

static void settle_ids(slm_config *c)
{
    if (c->n_vocab < 3) {
        c->bos_id = -1;
        c->n_stop_ids = 0;
    }
}

static int match_parts(hf_model *m, notes *w, failure *f)
{
    const char *names[2] = {m->shards[0].name, m->shards[1].name};
    int code = safetensors_merge(m->headers, names, 2, &m->all, f);
    return code ? code : hf_model_match(m, w, f);
}

/* A whole number of model_args; *value stays if the key is absent or None. */
static int argument(const torch_file *t, uint32_t dict, const char *key, uint32_t *value,
                    failure *f)
{
    const pickle_entry *e = pickle_find(&t->content, dict, key);
    if (!e || e->kind == PICKLE_NONE) {
        return *value ? EXIT_OK : fail(f, EXIT_INPUT, "%s: model_args has no %s", t->name, key);
    }
    if (e->kind != PICKLE_INTEGER || e->of.integer < 1 || e->of.integer > 1 << 24) {
        return fail(f, EXIT_INPUT, "%s: model_args: %s must be a whole number of 1 to %d", t->name,
                    key, 1 << 24);
    }
    *value = (uint32_t)e->of.integer;
    return EXIT_OK;
}

static int real_argument(const torch_file *t, uint32_t dict, const char *key, float *value,
                         failure *f)
{
    const pickle_entry *e = pickle_find(&t->content, dict, key);
    if (!e || e->kind == PICKLE_NONE) {
        return EXIT_OK;
    }
    double x = e->kind == PICKLE_FLOAT     ? e->of.number
               : e->kind == PICKLE_INTEGER ? (double)e->of.integer
                                           : -1;
    if (!(x > 0 && x <= 1e9)) {
        return fail(f, EXIT_INPUT, "%s: model_args: %s must be a number above 0", t->name, key);
    }
    *value = (float)x;
    return EXIT_OK;
}

/* No output matrix, or the embedding again. */
static bool is_tied(const torch_file *t)
{
    const torch_tensor *a = torch_find(t, EMBEDDING), *b = torch_find(t, OUTPUT);
    if (!a || !b) {
        return !b;
    }
    const pickle_tensor *x = a->shape, *y = b->shape;
    if (a->member == b->member && x->offset == y->offset && x->rank == y->rank &&
        memcmp(x->dims, y->dims, sizeof x->dims) == 0 &&
        memcmp(x->strides, y->strides, sizeof x->strides) == 0) {
        return true;
    }
    const uint8_t *bytes = t->archive.bytes;
    return a->in_place && b->in_place && a->dtype == b->dtype && a->n_bytes == b->n_bytes &&
           memcmp(bytes + a->offset, bytes + b->offset, (size_t)a->n_bytes) == 0;
}

static int config_of_checkpoint(hf_model *m, const torch_file *t, failure *f)
{
    slm_config *c = &m->hf.config;
    const pickle_entry *args = pickle_find(&t->content, 0, "model_args");
    const torch_tensor *w1 = torch_find(t, "layers.0.feed_forward.w1.weight");
    if (!w1 || !torch_find(t, EMBEDDING)) {
        return fail(f, EXIT_INPUT,
                    "%s: does not say which model it is; name the folder that holds it beside "
                    "config.json, as pytorch_model.bin",
                    t->name);
    }
    if (!args || args->kind != PICKLE_DICT || w1->shape->rank != 2 ||
        w1->shape->dims[0] > 1 << 24) {
        return fail(f, EXIT_INPUT, "%s: has llama2.c's tensors, but no model_args with their sizes",
                    t->name);
    }
    common_config(m);
    m->config_name = "model_args";
    uint32_t d = args->of.index;
    c->n_context = 2048;
    int code = argument(t, d, "dim", &c->d_model, f);
    code = code ? code : argument(t, d, "n_layers", &c->n_layers, f);
    code = code ? code : argument(t, d, "n_heads", &c->n_heads, f);
    c->n_kv_heads = c->n_heads;
    code = code ? code : argument(t, d, "n_kv_heads", &c->n_kv_heads, f);
    code = code ? code : argument(t, d, "vocab_size", &c->n_vocab, f);
    code = code ? code : argument(t, d, "max_seq_len", &c->n_context, f);
    code = code ? code : real_argument(t, d, "norm_eps", &c->norm_eps, f);
    code = code ? code : real_argument(t, d, "rope_theta", &c->rope_theta, f);
    if (code != EXIT_OK) {
        return code;
    }
    c->d_ff = (uint32_t)w1->shape->dims[0];
    c->head_dim = c->d_model / c->n_heads;
    c->tied_output = is_tied(t);
    settle_ids(c);
    return EXIT_OK;
}

static int open_torch(hf_model *m, const char *path, const input *in, notes *w, failure *f)
{
    torch_file t = {0};
    m->source = "pytorch";
    int code = torch_open(path, in->bytes, in->n_bytes, &t, w, f);
    code = code ? code : config_of_checkpoint(m, &t, f);
    code = code ? code : take_tensors(m, 0, &t, f);
    torch_close(&t);
    return code ? code : match_parts(m, w, f);
}

/* ---- llama2.c -------------------------------------------------------------------------------- */

static void config_of_llama2c(hf_model *m, const llama2c *l)
{
    slm_config *c = &m->hf.config;
    common_config(m);
    m->config_name = "the header";
    c->n_vocab = l->n_vocab;
    c->n_context = l->n_context;
    c->d_model = l->dim;
    c->n_layers = l->n_layers;
    c->n_heads = l->n_heads;
    c->n_kv_heads = l->n_kv_heads;
    c->head_dim = l->dim / l->n_heads;
    c->d_ff = l->hidden_dim;
    c->tied_output = l->shared;
    settle_ids(c);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const llama2c_tensor *)a)->name, ((const llama2c_tensor *)b)->name);
}

static int rearrange_llama2c(const llama2c *l, const llama2c_tensor *t, bool rotated, bool is_key,
                             uint8_t *out, failure *f)
{
    if (!rotated) {
        return llama2c_read(l, t, out, f);
    }
    uint8_t *rows = malloc((size_t)(4 * t->n_elements));
    int code = rows ? llama2c_read(l, t, rows, f)
                    : fail(f, EXIT_RESOURCE, "%s: no memory for %s", l->name, t->name);
    if (code == EXIT_OK) {
        llama2c_halves(rows, out, is_key ? l->n_kv_heads : l->n_heads, l->dim / l->n_heads,
                       4 * t->dims[1]);
    }
    free(rows);
    return code;
}

static int take_llama2c(hf_model *m, llama2c *l, failure *f)
{
    safetensors *there = &m->headers[0], *here = &m->headers[1];
    uint64_t n_bytes = 0, used = 0, n_names = (uint64_t)l->n_tensors * sizeof l->tensors[0].name;
    uint8_t dtype = dtype_index("F32");
    bool is_key;
    qsort(l->tensors, l->n_tensors, sizeof *l->tensors, by_name);
    for (uint32_t i = 0; i < l->n_tensors; i++) {
        const llama2c_tensor *t = &l->tensors[i];
        bool moved = t->quantized || llama2c_is_rotated(t->name, &is_key);
        n_bytes += moved ? 4 * t->n_elements : 0;
    }
    int code = begin_header(there, l->n_tensors, n_names, f);
    code = code ? code : begin_header(here, l->n_tensors, n_names, f);
    code = code ? code : allocate_part(&m->shards[1], &m->shards[0], n_bytes, f);
    char *text_there = there->text, *text_here = here->text;
    for (uint32_t i = 0; i < l->n_tensors && code == EXIT_OK; i++) {
        const llama2c_tensor *t = &l->tensors[i];
        bool rotated = llama2c_is_rotated(t->name, &is_key);
        if (!rotated && !t->quantized) {
            safetensors_tensor *to =
                add_tensor(there, &text_there, t->name, dtype, t->rank, t->dims);
            to->begin = t->offset;
            to->end = t->offset + 4 * t->n_elements;
            continue;
        }
        safetensors_tensor *to = add_tensor(here, &text_here, t->name, dtype, t->rank, t->dims);
        to->begin = used;
        code = rearrange_llama2c(l, t, rotated, is_key, m->shards[1].memory + used, f);
        used += 4 * t->n_elements;
        to->end = used;
    }
    return code;
}

static int open_llama2c(hf_model *m, const char *path, const input *in, notes *w, failure *f)
{
    llama2c l = {0};
    m->source = "llama2.c";
    int code = llama2c_parse(path, in->bytes, in->n_bytes, &l, w, f);
    if (code == EXIT_OK) {
        config_of_llama2c(m, &l);
        code = take_llama2c(m, &l, f);
    }
    llama2c_free(&l);
    return code ? code : match_parts(m, w, f);
}

/* ---- Which of them --------------------------------------------------------------------------- */

int checkpoint_open(const char *path, const char *format, bool want_tokenizer, hf_model *m,
                    notes *w, failure *f)
{
    input in = {.fd = -1};
    *m = (hf_model){.open = {.fd = -1}, .open_index = UINT32_MAX, .config_name = "the header"};
    int code = input_open(path, &in, f);
    if (code != EXIT_OK) {
        return code;
    }
    code = input_map(&in, f);
    code = code ? code : begin_file(m, path, &in, f);
    if (code == EXIT_OK) {
        bool torch = strcmp(format, "torch") == 0;
        bool llama = !torch &&
                     (strcmp(format, "llama2c") == 0 || (!torch_recognised(in.bytes, in.n_bytes) &&
                                                         llama2c_recognised(in.bytes, in.n_bytes)));
        code = llama ? open_llama2c(m, path, &in, w, f) : open_torch(m, path, &in, w, f);
    }
    if (code == EXIT_OK && want_tokenizer) {
        code = fail(f, EXIT_INPUT,
                    "%s: there is no tokenizer in it; --tokenizer FILE names one, --no-tokenizer "
                    "converts the weights alone",
                    path);
    }
    input_close(&in);
    return code;
}
