/* inspect_source.c - opens a source of any kind as a conversion would, and goes on to list what is
 * there when the conversion would be refused.
 */
#include "lib/inspect_source.h"

#include <stdlib.h>
#include <string.h>

#include "lib/hf_model_files.h"
#include "lib/source_kind.h"
#include "lib/torch_model.h"
#include "text/tokenizer.h"

/* ---- Lists ----------------------------------------------------------------------------------- */

static int order_names(const char *a, uint64_t n_a, const char *b, uint64_t n_b)
{
    int order = memcmp(a, b, (size_t)(n_a < n_b ? n_a : n_b));
    return order ? order : (n_a > n_b) - (n_a < n_b);
}

static int by_name(const void *a, const void *b)
{
    const source_tensor *x = a, *y = b;
    return order_names(x->name, x->n_name, y->name, y->n_name);
}

static int reserve(source_view *v, uint64_t n, failure *f)
{
    v->tensors = n < UINT32_MAX ? calloc((size_t)n + 1, sizeof *v->tensors) : NULL;
    return v->tensors ? EXIT_OK
                      : fail(f, EXIT_RESOURCE, "%s: no memory for the list of tensors", v->path);
}

static void add_sum(source_view *v, const source_tensor *t)
{
    uint32_t i = 0;
    while (i < v->n_types && strcmp(v->types[i].type, t->type) != 0) {
        i++;
    }
    if (i < SOURCE_MAX_TYPES) {
        v->n_types += i == v->n_types;
        v->types[i].type = t->type;
        v->types[i].n_tensors++;
        v->types[i].n_bytes += t->n_bytes;
    }
}

static void add(source_view *v, source_tensor t)
{
    t.use = UINT32_MAX;
    add_sum(v, &t);
    v->tensors[v->n_tensors++] = t;
}

static int reserve_uses(source_view *v, uint32_t n, failure *f)
{
    v->uses = calloc((size_t)n + 1, sizeof *v->uses);
    v->missing = calloc((size_t)n + 1, sizeof *v->missing);
    return v->uses && v->missing ? EXIT_OK : fail(f, EXIT_RESOURCE, "%s: no memory", v->path);
}

/* Our tensor comes from theirs; NULL: from none that is there. The list stays in our order. */
static void add_use(source_view *v, const char *ours, const char *theirs, uint64_t n_theirs)
{
    source_tensor wanted = {.name = theirs, .n_name = (uint32_t)n_theirs};
    source_tensor *t =
        theirs ? bsearch(&wanted, v->tensors, v->n_tensors, sizeof wanted, by_name) : NULL;
    if (!t) {
        v->missing[v->n_missing++] = ours;
        return;
    }
    uint32_t *link = &t->use;
    while (*link != UINT32_MAX) {
        link = &v->uses[*link].next;
    }
    *link = v->n_uses;
    v->uses[v->n_uses++] = (source_use){ours, UINT32_MAX};
}

/* ---- Hugging Face folders and single checkpoints --------------------------------------------- */

static int list_folder(source_view *v, failure *f)
{
    const hf_model *m = &v->hf;
    int code = reserve(v, m->all.n_tensors, f);
    for (uint32_t i = 0; i < m->all.n_tensors && code == EXIT_OK; i++) {
        const safetensors_tensor *t = &m->all.tensors[i];
        source_tensor row = {.name = t->name,
                             .n_name = t->name_bytes,
                             .type = safetensors_dtype_name(t->dtype),
                             .file = m->shards[t->shard].name,
                             .rank = t->rank,
                             .n_bytes = t->end - t->begin};
        if (!row.file && t->shard >= m->n_shards / 2) {
            row.file = m->shards[t->shard - m->n_shards / 2].name;
        }
        memcpy(row.dims, t->dims, sizeof row.dims);
        add(v, row);
    }
    return code;
}

static int list_torch(source_view *v, failure *f)
{
    int code = reserve(v, v->torch.n_tensors, f);
    for (uint32_t i = 0; i < v->torch.n_tensors && code == EXIT_OK; i++) {
        const torch_tensor *t = &v->torch.tensors[i];
        source_tensor row = {.name = t->name,
                             .n_name = t->name_bytes,
                             .type = pickle_dtype_name(t->dtype),
                             .rank = t->shape->rank,
                             .n_bytes = t->n_bytes};
        memcpy(row.dims, t->shape->dims, sizeof row.dims);
        add(v, row);
    }
    return code;
}

static int list_llama(source_view *v, failure *f)
{
    int code = reserve(v, v->llama.n_tensors, f);
    for (uint32_t i = 0; i < v->llama.n_tensors && code == EXIT_OK; i++) {
        const llama2c_tensor *t = &v->llama.tensors[i];
        uint64_t n = t->n_elements;
        add(v, (source_tensor){.name = t->name,
                               .n_name = (uint32_t)strlen(t->name),
                               .type = t->quantized ? "I8 with F32 scales" : "F32",
                               .rank = t->rank,
                               .dims = {t->dims[0], t->dims[1]},
                               .n_bytes = t->quantized ? n + n / v->llama.group * 4 : 4 * n});
    }
    return code;
}

/* Which of the listed tensors ours are made from. */
static int link_hf(source_view *v, failure *f)
{
    const hf_model *m = &v->hf;
    qsort(v->tensors, v->n_tensors, sizeof *v->tensors, by_name);
    if (!m->tensors) {
        return EXIT_OK;
    }
    v->config = &m->hf.config;
    int code = reserve_uses(v, m->n_tensors, f);
    for (uint32_t i = 0; i < m->n_tensors && code == EXIT_OK; i++) {
        const hf_tensor *t = &m->tensors[i];
        if (*t->spec.name) { /* matching may have ended early */
            add_use(v, t->spec.name, t->source ? t->source->name : NULL,
                    t->source ? t->source->name_bytes : 0);
        }
    }
    return code;
}

static int view_folder(source_view *v, bool want_tokenizer, failure *f)
{
    v->kind = "huggingface";
    notes *unused = calloc(1, sizeof *unused);
    failure second;
    if (!unused) {
        return fail(f, EXIT_RESOURCE, "%s: no memory", v->path);
    }
    int code = hf_model_open(v->path, want_tokenizer, &v->hf, &v->warnings, f);
    if (code == EXIT_INPUT && v->hf.n_shards == 0) { /* at config.json: the weights may be good */
        hf_find_weights(&v->hf, v->path, unused, &second);
    } else if (code == EXIT_OK || v->hf.n_shards != 0) {
        v->config = &v->hf.hf.config;
    }
    free(unused);
    v->architecture = v->hf.hf.family ? v->hf.hf.family->architecture : NULL;
    if (code != EXIT_OK && code != EXIT_INPUT) {
        return code;
    }
    int listed = v->hf.all.tensors ? list_folder(v, &second) : EXIT_OK;
    listed = listed || !v->tensors ? listed : link_hf(v, &second);
    if (listed != EXIT_OK) {
        *f = second;
    }
    return listed ? listed : code;
}

/* Reads a single file again, in the terms of its format. False: it is not well-formed. */
static bool read_again(source_view *v, bool llama, notes *unused)
{
    failure second;
    return llama ? llama2c_parse(v->path, v->in.bytes, v->in.n_bytes, &v->llama, unused, &second) ==
                       EXIT_OK
                 : torch_open(v->path, v->in.bytes, v->in.n_bytes, &v->torch, unused, &second) ==
                       EXIT_OK;
}

static int view_checkpoint(source_view *v, const char *format, bool want_tokenizer, failure *f)
{
    bool torch = torch_recognised(v->in.bytes, v->in.n_bytes);
    bool llama = !torch && llama2c_recognised(v->in.bytes, v->in.n_bytes);
    if (strcmp(format, "auto") != 0) {
        llama = strcmp(format, "llama2c") == 0;
        torch = !llama;
    }
    v->kind = llama ? "llama2.c" : torch ? "pytorch" : "unknown";
    int code = checkpoint_open(v->path, format, want_tokenizer, &v->hf, &v->warnings, f);
    notes *unused = calloc(1, sizeof *unused);
    int listed = unused ? EXIT_OK : fail(f, EXIT_RESOURCE, "%s: no memory", v->path);
    if (listed == EXIT_OK && (code == EXIT_OK || code == EXIT_INPUT) && (llama || torch) &&
        read_again(v, llama, unused)) {
        failure second;
        listed = llama ? list_llama(v, &second) : list_torch(v, &second);
        listed = listed ? listed : link_hf(v, &second);
        if (listed != EXIT_OK) {
            *f = second;
        }
    }
    free(unused);
    v->architecture = v->config ? v->hf.hf.family->architecture : NULL;
    return listed ? listed : code;
}

/* ---- GGUF ------------------------------------------------------------------------------------ */

static int list_gguf(source_view *v, failure *f)
{
    const gguf_model *m = &v->gguf;
    int code = reserve(v, m->n_found, f);
    for (uint64_t i = 0; i < m->n_found && code == EXIT_OK; i++) {
        const gguf_tensor *t = m->found[i].tensor;
        const gguf_type *type = gguf_type_of(t->type);
        source_tensor row = {.name = t->name.text,
                             .n_name = (uint32_t)t->name.n_bytes,
                             .type = type ? type->name : "?",
                             .file = m->n_parts > 1 ? m->parts[m->found[i].part].path : NULL,
                             .rank = t->rank,
                             .n_bytes = t->n_bytes};
        for (uint32_t d = 0; d < t->rank; d++) {
            row.dims[d] = t->dims[t->rank - 1 - d];
        }
        add(v, row);
    }
    qsort(v->tensors, v->n_tensors, sizeof *v->tensors, by_name);
    return code;
}

static int link_gguf(source_view *v, failure *f)
{
    const gguf_model *m = &v->gguf;
    int code = reserve_uses(v, m->n_tensors, f);
    for (uint32_t i = 0; i < m->n_tensors && code == EXIT_OK; i++) {
        const gguf_place *p = &m->places[i];
        if (p->tensor) { /* placing ends at the first that is missing */
            add_use(v, p->spec.name, p->tensor->name.text, p->tensor->name.n_bytes);
        } else if (*p->spec.name) {
            add_use(v, p->spec.name, NULL, 0);
        }
    }
    return code;
}

static int view_gguf(source_view *v, bool want_tokenizer, failure *f)
{
    v->kind = "gguf";
    failure second;
    int code = gguf_model_open(v->path, want_tokenizer, &v->gguf, &v->warnings, f),
        listed = EXIT_OK;
    if (code != EXIT_OK && code != EXIT_INPUT) {
        return code;
    }
    v->architecture = v->gguf.family ? v->gguf.family->architecture : NULL;
    if (v->gguf.found) {
        listed = list_gguf(v, &second);
    }
    if (listed == EXIT_OK && v->gguf.places) {
        v->config = &v->gguf.config;
        listed = link_gguf(v, &second);
    }
    if (listed != EXIT_OK) {
        *f = second;
    }
    return listed ? listed : code;
}

/* ---- .slm ------------------------------------------------------------------------------------ */

static int list_slm(source_view *v, failure *f)
{
    int code = reserve(v, v->slm.n_tensors, f);
    code = code ? code : reserve_uses(v, 0, f);
    for (uint32_t i = 0; i < v->slm.n_tensors && code == EXIT_OK; i++) {
        const slm_tensor *t = &v->slm.tensors[i];
        source_tensor row = {.name = t->name,
                             .n_name = t->name_bytes,
                             .type = slm_type_name(t->type),
                             .rank = t->rank,
                             .n_bytes = t->length};
        memcpy(row.dims, t->dims, sizeof row.dims);
        add(v, row);
    }
    qsort(v->tensors, v->n_tensors, sizeof *v->tensors, by_name);
    return code;
}

static void view_tokenizer(source_view *v, const uint8_t *payload, uint64_t n_payload)
{
    slm_error error;
    slm_tokenizer *tokenizer = NULL;
    slm_arena arena = arena_measure();
    void *memory = NULL;
    v->n_tokenizer = n_payload;
    memcpy(v->tokenizer_kind, payload, n_payload < 4 ? (size_t)n_payload : 4);
    if (slm_tokenizer_open(&tokenizer, &arena, payload, n_payload, &error) != SLM_OK ||
        arena.used > SIZE_MAX - 64 || posix_memalign(&memory, 64, (size_t)arena.used + 64) != 0) {
        return;
    }
    arena = arena_over(memory, arena.used);
    if (slm_tokenizer_open(&tokenizer, &arena, payload, n_payload, &error) == SLM_OK) {
        v->n_tokens = slm_token_count(tokenizer);
    }
    free(memory);
}

static int view_slm(source_view *v, failure *f)
{
    slm_error error;
    uint64_t need = 0;
    v->kind = "slm";
    if (slm_file_arena_bytes(v->in.bytes, v->in.n_bytes, &need, &error) != SLM_OK) {
        return fail_status(f, v->path, &error);
    }
    if (need > SIZE_MAX - 64 || posix_memalign(&v->memory, 64, (size_t)need + 64) != 0) {
        v->memory = NULL;
        return fail(f, EXIT_RESOURCE, "%s: no memory", v->path);
    }
    slm_arena arena = arena_over(v->memory, need);
    if (slm_file_open(&v->slm, &arena, v->in.bytes, v->in.n_bytes, v->in.n_bytes, &error) !=
        SLM_OK) {
        return fail_status(f, v->path, &error);
    }
    v->architecture = v->slm.architecture;
    const slm_section *text = slm_file_section(&v->slm, SLM_SECTION_TOKENIZER);
    if (text) {
        view_tokenizer(v, v->in.bytes + text->offset, text->length);
    }
    v->has_chat = slm_file_section(&v->slm, SLM_SECTION_CHAT) != NULL;
    const slm_section *template = slm_file_section(&v->slm, SLM_SECTION_TEMPLATE);
    v->chat_text = template ? (const char *)v->in.bytes + template->offset : NULL;
    v->n_chat_text = template ? template->length : 0;
    int code = list_slm(v, f);
    const slm_section *s = slm_file_section(&v->slm, SLM_SECTION_CONFIG);
    if (code == EXIT_OK && s) {
        if (slm_config_read(&v->stored, v->in.bytes + s->offset, (size_t)s->length, &error) !=
            SLM_OK) {
            return fail_status(f, v->path, &error);
        }
        v->config = &v->stored;
        if (slm_config_check_tensors(&v->stored, &v->slm, &error) != SLM_OK) {
            return fail_status(f, v->path, &error);
        }
    }
    return code;
}

/* ---- Tokenizers ------------------------------------------------------------------------------ */

static int view_vocabulary(source_view *v, failure *f)
{
    int code = text_model_open(&v->text, v->path, f);
    note_lines(&v->warnings, v->text.warnings);
    v->kind = "vocabulary";
    if (code == EXIT_OK) {
        view_tokenizer(v, v->text.payload, v->text.n_payload);
        v->has_chat = v->text.chat != NULL;
        v->chat_text = v->text.chat_text;
        v->n_chat_text = v->text.n_chat_text;
        note(&v->warnings, "%s: holds a tokenizer and no model: --vocab-only converts it", v->path);
    }
    return code;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static int view(source_view *v, const char *format, bool want_tokenizer, failure *f)
{
    source_kind kind;
    int code = source_kind_of(v->path, &kind, f);
    if (code != EXIT_OK || kind == SOURCE_FOLDER) {
        return code ? code : view_folder(v, want_tokenizer, f);
    }
    if (kind == SOURCE_GGUF) {
        return view_gguf(v, want_tokenizer, f);
    }
    code = input_open(v->path, &v->in, f);
    code = code ? code : input_map(&v->in, f);
    if (code != EXIT_OK) {
        return code;
    }
    return kind == SOURCE_SLM          ? view_slm(v, f)
           : kind == SOURCE_VOCABULARY ? view_vocabulary(v, f)
                                       : view_checkpoint(v, format, want_tokenizer, f);
}

int source_view_open(const char *path, const char *format, bool want_tokenizer, source_view *v)
{
    *v = (source_view){.path = path,
                       .kind = "unknown",
                       .hf = {.open = {.fd = -1}, .open_index = UINT32_MAX},
                       .in = {.fd = -1},
                       .text = {.file = {.fd = -1}}};
    int code = view(v, format, want_tokenizer, &v->failed);
    const tokenizer_payload *t =
        v->gguf.tokenizer.tokenizer ? &v->gguf.tokenizer : &v->hf.tokenizer;
    if (t->tokenizer) {
        view_tokenizer(v, t->tokenizer, t->n_tokenizer);
        v->has_chat = t->chat != NULL;
        v->chat_text = t->chat_text;
        v->n_chat_text = t->n_chat_text;
    }
    for (uint32_t i = 0; i < v->n_tensors; i++) {
        v->n_dropped += v->tensors[i].use == UINT32_MAX && strcmp(v->kind, "slm") != 0;
    }
    return code;
}

void source_view_free(source_view *v)
{
    free(v->tensors);
    free(v->uses);
    free(v->missing);
    hf_model_free(&v->hf);
    gguf_model_free(&v->gguf);
    torch_close(&v->torch);
    llama2c_free(&v->llama);
    text_model_close(&v->text);
    if (v->in.path) {
        input_close(&v->in);
    }
    free(v->memory);
}

int source_inspect(cli *c, const source_job *job)
{
    failure f = {0};
    source_view *v = malloc(sizeof *v);
    if (!v) {
        fail(&f, EXIT_RESOURCE, "no memory");
        return cli_report(c, &f);
    }
    int code = source_view_open(job->path, job->format, job->want_tokenizer, v);
    if (code == EXIT_OK || code == EXIT_INPUT) {
        if (job->json) {
            source_view_json(v);
            c->json_done = true;
        } else if (!job->quiet) {
            source_view_people(v);
        }
    }
    if (code != EXIT_OK) {
        fflush(stdout);
        code = cli_report(c, &v->failed);
    }
    source_view_free(v);
    free(v);
    return code;
}
