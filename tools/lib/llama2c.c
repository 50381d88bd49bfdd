/* llama2c.c - the weights; see llama2c.h. */
#include "lib/llama2c.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/half.h"

static const uint32_t MAGIC = 0x616b3432u;

enum {
    V0_HEADER = 28,
    V1_HEADER = 256,
    /* The .slm format's limits; with them no product below leaves 64 bits. */
    MAX_WIDTH = 1 << 20,
    MAX_LAYERS = 1024,
    MAX_HEADS = 4096,
    MAX_COUNT = 1 << 24
};

/* ---- Header ---------------------------------------------------------------------------------- */

static int read_sizes(llama2c *l, uint64_t at, failure *f)
{
    const struct {
        const char *name;
        uint32_t *to, max;
    } fields[] = {{"dim", &l->dim, MAX_WIDTH},
                  {"hidden_dim", &l->hidden_dim, MAX_WIDTH},
                  {"n_layers", &l->n_layers, MAX_LAYERS},
                  {"n_heads", &l->n_heads, MAX_HEADS},
                  {"n_kv_heads", &l->n_kv_heads, MAX_HEADS},
                  {"vocab_size", &l->n_vocab, MAX_COUNT},
                  {"seq_len", &l->n_context, MAX_COUNT}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        uint32_t bits = load_u32(l->bytes + at + 4 * i);
        int64_t v = bits < 0x80000000u ? (int64_t)bits : (int64_t)bits - 0x100000000;
        if (i == 5 && l->version == 0) {
            l->shared = v > 0;
            v = v < 0 ? -v : v;
        }
        if (v < 1 || v > fields[i].max) {
            return fail(f, EXIT_INPUT, "%s: offset %" PRIu64 ": %s is %" PRId64 ", must be 1 to %u",
                        l->name, at + 4 * i, fields[i].name, v, fields[i].max);
        }
        *fields[i].to = (uint32_t)v;
    }
    if (l->dim % l->n_heads != 0 || l->dim / l->n_heads % 2 != 0) {
        return fail(f, EXIT_INPUT, "%s: dim %u is not n_heads %u times an even number", l->name,
                    l->dim, l->n_heads);
    }
    if (l->n_heads % l->n_kv_heads != 0) {
        return fail(f, EXIT_INPUT, "%s: n_kv_heads %u does not divide n_heads %u", l->name,
                    l->n_kv_heads, l->n_heads);
    }
    return EXIT_OK;
}

static int read_group(llama2c *l, failure *f)
{
    uint32_t group = load_u32(l->bytes + 37);
    if (group < 1 || group > MAX_WIDTH || l->dim % group != 0 || l->hidden_dim % group != 0) {
        return fail(f, EXIT_INPUT,
                    "%s: offset 37: group_size %d does not divide dim %u and hidden_dim %u",
                    l->name, (int)group, l->dim, l->hidden_dim);
    }
    l->group = group;
    return EXIT_OK;
}

static int read_header(llama2c *l, notes *w, failure *f)
{
    if (l->n_bytes >= 4 && load_u32(l->bytes) != MAGIC) {
        if (memcmp(l->bytes, "ak42", 4) == 0) {
            return fail(f, EXIT_INPUT, "%s: the magic is reversed: a big-endian file", l->name);
        }
        return l->n_bytes < V0_HEADER
                   ? fail(f, EXIT_INPUT, "%s: shorter than llama2.c's header", l->name)
                   : read_sizes(l, 0, f);
    }
    if (l->n_bytes < V1_HEADER) {
        return fail(f, EXIT_INPUT, "%s: shorter than llama2.c's header", l->name);
    }
    l->version = load_u32(l->bytes + 4);
    if (l->version != 1 && l->version != 2) {
        return fail(f, EXIT_INPUT, "%s: offset 4: version %d; 1 and 2 are known", l->name,
                    (int)l->version);
    }
    int code = read_sizes(l, 8, f);
    if (code == EXIT_OK && l->bytes[36] > 1) {
        return fail(f, EXIT_INPUT, "%s: offset 36: the flag for a shared output is %u", l->name,
                    l->bytes[36]);
    }
    l->shared = l->bytes[36] == 1;
    if (code == EXIT_OK && l->version == 2) {
        code = read_group(l, f);
    }
    for (uint32_t i = l->version == 1 ? 37 : 41; i < V1_HEADER && code == EXIT_OK; i++) {
        if (l->bytes[i] != 0) {
            note(w, "%s: the header's padding is not zero, at byte %u", l->name, i);
            break;
        }
    }
    return code;
}

/* ---- Layout ---------------------------------------------------------------------------------- */

typedef enum part {
    EMBEDDING,
    ATTENTION_NORM,
    WQ,
    WK,
    WV,
    WO,
    FFN_NORM,
    W1,
    W2,
    W3,
    FINAL_NORM,
    ROPE,
    OUTPUT,
    N_PARTS
} part;

static const struct {
    const char *name;
    bool per_layer;
} PARTS[N_PARTS] = {
    [EMBEDDING] = {"tok_embeddings.weight", false},
    [ATTENTION_NORM] = {"attention_norm.weight", true},
    [WQ] = {"attention.wq.weight", true},
    [WK] = {"attention.wk.weight", true},
    [WV] = {"attention.wv.weight", true},
    [WO] = {"attention.wo.weight", true},
    [FFN_NORM] = {"ffn_norm.weight", true},
    [W1] = {"feed_forward.w1.weight", true},
    [W2] = {"feed_forward.w2.weight", true},
    [W3] = {"feed_forward.w3.weight", true},
    [FINAL_NORM] = {"norm.weight", false},
    [ROPE] = {NULL, false},
    [OUTPUT] = {"output.weight", false},
};

static void part_dims(const llama2c *l, part p, uint64_t dims[2])
{
    uint64_t kv = (uint64_t)l->dim / l->n_heads * l->n_kv_heads, dim = l->dim;
    dims[0] = dim;
    dims[1] = 1;
    switch (p) {
    case EMBEDDING:
    case OUTPUT:
        dims[0] = l->n_vocab;
        dims[1] = dim;
        break;
    case WQ:
    case WO: dims[1] = dim; break;
    case WK:
    case WV:
        dims[0] = kv;
        dims[1] = dim;
        break;
    case W1:
    case W3:
        dims[0] = l->hidden_dim;
        dims[1] = dim;
        break;
    case W2: dims[1] = l->hidden_dim; break;
    case ROPE:
        dims[0] = l->n_context;
        dims[1] = dim / l->n_heads; /* half of it, twice */
        break;
    default: break;
    }
}

static bool is_norm(part p)
{
    return p == ATTENTION_NORM || p == FFN_NORM || p == FINAL_NORM;
}

/* Walks the parts in file order; fills `out` unless it is NULL. Returns the end of the last. */
static uint64_t lay_out(const llama2c *l, llama2c_tensor *out, uint64_t *rope_at)
{
    static const part v0[] = {EMBEDDING, ATTENTION_NORM, WQ,   WK,    WV, WO, FFN_NORM, W1, W2,
                              W3,        FINAL_NORM,     ROPE, OUTPUT};
    static const part v1[] = {
        ATTENTION_NORM, FFN_NORM, FINAL_NORM, EMBEDDING, WQ, WK, WV, WO, W1, W2, W3, OUTPUT};
    const part *order = l->version == 0 ? v0 : v1;
    size_t n = l->version == 0 ? sizeof v0 / sizeof v0[0] : sizeof v1 / sizeof v1[0];
    uint64_t at = l->version == 0 ? V0_HEADER : V1_HEADER, dims[2];
    for (size_t k = 0; k < n; k++) {
        part p = order[k];
        if (p == OUTPUT && l->shared) {
            continue;
        }
        part_dims(l, p, dims);
        uint64_t elements = dims[0] * dims[1];
        bool quantized = l->version == 2 && !is_norm(p);
        uint64_t n_bytes = quantized ? elements + elements / l->group * 4 : elements * 4;
        *rope_at = p == ROPE ? at : *rope_at;
        for (uint32_t i = 0; i < (PARTS[p].per_layer ? l->n_layers : 1); i++, at += n_bytes) {
            if (!out || p == ROPE) {
                continue;
            }
            *out = (llama2c_tensor){.rank = is_norm(p) ? 1 : 2,
                                    .dims = {dims[0], dims[1]},
                                    .offset = at,
                                    .n_elements = elements,
                                    .quantized = quantized};
            if (PARTS[p].per_layer) {
                snprintf(out->name, sizeof out->name, "layers.%u.%s", i, PARTS[p].name);
            } else {
                snprintf(out->name, sizeof out->name, "%s", PARTS[p].name);
            }
            out++;
        }
    }
    return at;
}

static int check_length(const llama2c *l, failure *f)
{
    uint64_t rope, end = lay_out(l, NULL, &rope);
    if (end == l->n_bytes) {
        return EXIT_OK;
    }
    uint64_t tables = 4ull * l->n_context * (l->dim / l->n_heads);
    uint64_t output = 4ull * l->n_vocab * l->dim;
    const char *hint = "";
    if (l->version == 0 && end - tables == l->n_bytes) {
        hint = ": the two tables for rope are missing; export it again";
    } else if (l->version == 0 && l->shared && end + output == l->n_bytes) {
        hint = ": there is an output matrix, but vocab_size is positive";
    } else if (l->version == 0 && !l->shared && end - output == l->n_bytes) {
        hint = ": vocab_size is negative, but there is no output matrix";
    } else if (l->n_bytes > V1_HEADER && l->version != 0) {
        llama2c other = *l;
        other.version = 3 - l->version;
        other.group = 64;
        hint = lay_out(&other, NULL, &rope) == l->n_bytes ? ": this is the length of the other "
                                                            "version"
                                                          : "";
    }
    return fail(f, EXIT_INPUT,
                "%s: has %" PRIu64 " bytes, the header of version %u implies %" PRIu64 "%s",
                l->name, l->n_bytes, l->version, end, hint);
}

bool llama2c_recognised(const uint8_t *bytes, uint64_t n_bytes)
{
    failure f;
    uint64_t rope;
    llama2c l = {.name = "", .bytes = bytes, .n_bytes = n_bytes};
    if (n_bytes >= 4 && (load_u32(bytes) == MAGIC || memcmp(bytes, "ak42", 4) == 0)) {
        return true;
    }
    return n_bytes >= V0_HEADER && read_sizes(&l, 0, &f) == EXIT_OK &&
           lay_out(&l, NULL, &rope) == n_bytes;
}

/* ---- What can be told from the values -------------------------------------------------------- */

/* The tables for rope are not used; the row of cosines for position 1 tells whether theta was
 * 10000. */
static void check_rope(const llama2c *l, uint64_t at, notes *w)
{
    uint32_t half = l->dim / l->n_heads / 2;
    if (l->n_context < 2 || half < 2) {
        return;
    }
    for (uint32_t i = 0; i < half; i++) {
        float got = f32_from_bits(load_u32(l->bytes + at + 4ull * (half + i)));
        double want = cos(pow(10000.0, -(double)i / half));
        if (!(fabs((double)got - want) < 1e-3)) {
            note(w, "%s: the tables for rope are not those of theta 10000, and are ignored",
                 l->name);
            return;
        }
    }
}

/* Norms of version 1 come first and are near 1; embeddings in their place are near 0. */
static void check_norms(const llama2c *l, notes *w)
{
    double sum = 0;
    uint64_t n = (uint64_t)l->dim * l->n_layers;
    for (uint64_t i = 0; i < n; i++) {
        float x = f32_from_bits(load_u32(l->bytes + V1_HEADER + 4 * i));
        sum += isfinite(x) ? fabs((double)x) : 0;
    }
    if (sum / (double)n < 0.01) {
        note(w, "%s: the attention norms are all near zero: is this the data of version 0?",
             l->name);
    }
}

int llama2c_parse(const char *name, const uint8_t *bytes, uint64_t n_bytes, llama2c *l, notes *w,
                  failure *f)
{
    uint64_t rope = 0;
    *l = (llama2c){.name = name, .bytes = bytes, .n_bytes = n_bytes};
    int code = n_bytes < 4 ? fail(f, EXIT_INPUT, "%s: shorter than llama2.c's header", name)
                           : read_header(l, w, f);
    code = code ? code : check_length(l, f);
    if (code == EXIT_OK) {
        l->n_tensors = 2 + 9 * l->n_layers + !l->shared;
        l->tensors = calloc(l->n_tensors, sizeof *l->tensors);
        code = l->tensors ? EXIT_OK : fail(f, EXIT_RESOURCE, "%s: no memory", name);
    }
    if (code != EXIT_OK) {
        memset(l, 0, sizeof *l);
        return code;
    }
    lay_out(l, l->tensors, &rope);
    if (l->version == 0) {
        check_rope(l, rope, w);
    } else {
        check_norms(l, w);
    }
    return EXIT_OK;
}

void llama2c_free(llama2c *l)
{
    free(l->tensors);
    memset(l, 0, sizeof *l);
}

/* ---- Values ---------------------------------------------------------------------------------- */

int llama2c_read(const llama2c *l, const llama2c_tensor *t, uint8_t *out, failure *f)
{
    const uint8_t *from = l->bytes + t->offset;
    if (!t->quantized) {
        memcpy(out, from, (size_t)(4 * t->n_elements));
        return EXIT_OK;
    }
    const uint8_t *scales = from + t->n_elements;
    for (uint64_t g = 0; g < t->n_elements / l->group; g++) {
        float scale = f32_from_bits(load_u32(scales + 4 * g));
        if (!isfinite(scale) || scale < 0) {
            return fail(f, EXIT_INPUT, "%s: tensor %s: the scale of group %" PRIu64 " is %g",
                        l->name, t->name, g, (double)scale);
        }
        for (uint64_t i = g * l->group; i < (g + 1) * l->group; i++) {
            int q = from[i] < 128 ? from[i] : from[i] - 256;
            store_u32(out + 4 * i, f32_bits((float)q * scale));
        }
    }
    return EXIT_OK;
}

void llama2c_halves(const uint8_t *from, uint8_t *to, uint32_t n_heads, uint32_t head_dim,
                    uint64_t row_bytes)
{
    for (uint32_t h = 0; h < n_heads; h++) {
        for (uint32_t r = 0; r < head_dim; r++) {
            uint64_t target = (uint64_t)h * head_dim + r / 2 + (r % 2) * (head_dim / 2);
            memcpy(to + target * row_bytes, from + ((uint64_t)h * head_dim + r) * row_bytes,
                   (size_t)row_bytes);
        }
    }
}

bool llama2c_is_rotated(const char *name, bool *is_key)
{
    size_t n = strlen(name), k = strlen(".attention.wq.weight");
    *is_key = n >= k && strcmp(name + n - k, ".attention.wk.weight") == 0;
    return *is_key || (n >= k && strcmp(name + n - k, ".attention.wq.weight") == 0);
}
