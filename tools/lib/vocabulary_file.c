/* vocabulary_file.c - see vocabulary_file.h; schemas/slm-format.md describes such a file. */
#include "lib/vocabulary_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/sha256.h"
#include "lib/slm_writer.h"
#include "lib/tokenizer_export.h"
#include "text/payload.h"

enum { BOS_AT = 40 }; /* in a BPE1 payload */

static bool ends_in(const char *path, const char *ending)
{
    size_t n = strlen(path), k = strlen(ending);
    return n > k && strcmp(path + n - k, ending) == 0;
}

int vocabulary_form_of(const char *name, const char *out_path, vocabulary_form *form, failure *f)
{
    static const char *const names[] = {"slm", "json", "payload"};
    if (!name) {
        bool bare = ends_in(out_path, ".btok") || ends_in(out_path, ".bpe1");
        *form = ends_in(out_path, ".json") ? VOCABULARY_JSON
                : bare                     ? VOCABULARY_PAYLOAD
                                           : VOCABULARY_SLM;
        return EXIT_OK;
    }
    for (uint32_t i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) == 0) {
            *form = (vocabulary_form)i;
            return EXIT_OK;
        }
    }
    return fail(f, EXIT_USAGE, "--to: '%.64s' is none of slm, json, payload", name);
}

/* ---- .slm ------------------------------------------------------------------------------------ */

/* The least legal numbers, and what is known of the tokens. */
static slm_config least_config(const text_model *m)
{
    slm_config c = slm_config_default();
    c.n_vocab = slm_token_count(m->tokenizer);
    c.n_context = c.d_model = c.n_layers = c.n_heads = c.n_kv_heads = c.d_ff = 1;
    c.head_dim = 2;
    c.norm_eps = 1e-5f;
    c.rope_theta = 10000;
    c.tied_output = 1;
    c.bos_id =
        load_u32(m->payload) == BTOK_MAGIC ? BTOK_BOS : (int32_t)load_u32(m->payload + BOS_AT);
    for (uint32_t id = 0; id < c.n_vocab && c.n_stop_ids < SLM_MAX_STOP_IDS; id++) {
        if (slm_token_is_end(m->tokenizer, (int32_t)id)) {
            c.stop_ids[c.n_stop_ids++] = (int32_t)id;
        }
    }
    return c;
}

static int source_digest(const char *path, uint64_t *n_bytes, char hex[65], failure *f)
{
    input in;
    int code = input_open(path, &in, f);
    code = code ? code : input_map(&in, f);
    if (code == EXIT_OK) {
        sha256 digest;
        sha256_init(&digest);
        sha256_update(&digest, in.bytes, (size_t)in.n_bytes);
        sha256_final_hex(&digest, hex);
        *n_bytes = in.n_bytes;
    }
    input_close(&in);
    return code;
}

static int write_files(json_out *j, const vocabulary_origin *origin, failure *f)
{
    int code = EXIT_OK;
    json_array(j, "files");
    for (uint32_t i = 0; i < origin->n_paths && code == EXIT_OK; i++) {
        char hex[65] = "";
        uint64_t n_bytes = 0;
        const char *slash = strrchr(origin->paths[i], '/');
        code = source_digest(origin->paths[i], &n_bytes, hex, f);
        json_object(j, NULL);
        json_string(j, "name", slash ? slash + 1 : origin->paths[i]);
        json_u64(j, "bytes", n_bytes);
        json_string(j, "sha256", hex);
        json_object_end(j);
    }
    json_array_end(j);
    return code;
}

static int write_provenance(const vocabulary_origin *origin, slm_writer *writer, failure *f)
{
    char *text = NULL;
    size_t n_text = 0;
    FILE *out = json_open_memory(&text, &n_text);
    if (!out) {
        return fail(f, EXIT_RESOURCE, "no memory for the provenance");
    }
    json_out j;
    json_begin(&j, out, true);
    json_object(&j, NULL);
    json_string(&j, "tool", origin->tool);
    json_string(&j, "version", SLM_VERSION);
    json_string(&j, "source", origin->source);
    for (uint32_t i = 0; i < origin->n_settings; i++) {
        const vocabulary_setting *s = &origin->settings[i];
        if (s->text) {
            json_string(&j, s->key, s->text);
        } else {
            json_u64(&j, s->key, s->number);
        }
    }
    int code = write_files(&j, origin, f);
    json_object_end(&j);
    json_end(&j);
    bool written = json_close_memory(out);
    code = code == EXIT_OK && !written ? fail(f, EXIT_RESOURCE, "no memory") : code;
    code = code ? code : slm_writer_section(writer, SLM_SECTION_PROVENANCE, text, n_text, f);
    free(text);
    return code;
}

static int write_sections(const text_model *m, const vocabulary_origin *origin, slm_writer *writer,
                          uint64_t *n_bytes, failure *f)
{
    static const uint64_t one[1] = {1};
    static const uint8_t zero[4];
    int code = slm_writer_section(writer, SLM_SECTION_TOKENIZER, m->payload, m->n_payload, f);
    if (code == EXIT_OK && m->chat) {
        code = slm_writer_section(writer, SLM_SECTION_CHAT, m->chat, m->n_chat, f);
    }
    if (code == EXIT_OK && m->chat_text) {
        code = slm_writer_section(writer, SLM_SECTION_TEMPLATE, m->chat_text, m->n_chat_text, f);
    }
    code = code ? code : write_provenance(origin, writer, f);
    code = code ? code : slm_writer_tensor(writer, "none", SLM_TYPE_F32, 1, one, f);
    code = code ? code : slm_writer_begin(writer, n_bytes, f);
    code = code ? code : slm_writer_data(writer, zero, sizeof zero, f);
    return code ? code : slm_writer_finish(writer, f);
}

static int write_slm(const text_model *m, const vocabulary_origin *origin, output *out,
                     uint64_t *n_bytes, failure *f)
{
    slm_writer *writer = NULL;
    slm_config config = least_config(m);
    int code = slm_writer_create(out, SLM_ARCHITECTURE_TOKENIZER, &config, &writer, f);
    code = code ? code : write_sections(m, origin, writer, n_bytes, f);
    slm_writer_destroy(&writer);
    return code;
}

/* ---- Any ------------------------------------------------------------------------------------- */

static int write_json(const text_model *m, output *out, uint64_t *n_bytes, notes *w, failure *f)
{
    tokenizer_texts texts;
    int code = tokenizer_export(m->path, m->payload, &texts, w, f);
    *n_bytes = texts.n_json;
    code = code ? code : output_write(out, texts.json, texts.n_json, f);
    tokenizer_texts_free(&texts);
    return code;
}

int vocabulary_write(const text_model *m, vocabulary_form form, const vocabulary_origin *origin,
                     output *out, uint64_t *n_bytes, notes *w, failure *f)
{
    int code;
    if (form == VOCABULARY_SLM) {
        code = write_slm(m, origin, out, n_bytes, f);
    } else if (form == VOCABULARY_JSON) {
        code = write_json(m, out, n_bytes, w, f);
    } else {
        *n_bytes = m->n_payload;
        code = output_write(out, m->payload, m->n_payload, f);
    }
    if (code == EXIT_OK && m->chat && form != VOCABULARY_SLM) {
        note(w, "%s: its chat turns stay behind; only a .slm file holds them", m->path);
    }
    return code ? code : output_commit(out, f);
}

int vocabulary_to_slm(const char *in, const char *out_path, bool force, uint32_t *n_tokens,
                      uint64_t *n_bytes, notes *w, failure *f)
{
    text_model m;
    output *out = NULL;
    int code = text_model_open(&m, in, f);
    note_lines(w, m.warnings);
    if (code == EXIT_OK && m.built.n_tokenizer == 0) {
        code = fail(f, EXIT_INPUT, "%s: is a .slm file already", in);
    }
    const char *files[TEXT_MODEL_FILES] = {m.files[0], m.files[1]};
    vocabulary_origin origin = {"slm-convert", "vocabulary", files, m.n_files, NULL, 0};
    code = code ? code : output_create(out_path, force, files, m.n_files, &out, f);
    if (code == EXIT_OK) {
        *n_tokens = slm_token_count(m.tokenizer);
        code = vocabulary_write(&m, VOCABULARY_SLM, &origin, out, n_bytes, w, f);
    }
    output_destroy(&out);
    text_model_close(&m);
    return code;
}
