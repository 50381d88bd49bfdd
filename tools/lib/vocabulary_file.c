/* vocabulary_file.c - see vocabulary_file.h; schemas/slm-format.md describes such a file. */
#include "lib/vocabulary_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "lib/json_out.h"
#include "lib/sha256.h"
#include "lib/slm_writer.h"
#include "lib/text_model.h"

enum { BOS_AT = 40 }; /* in a BPE1 payload */

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
    c.bos_id = (int32_t)load_u32(m->payload + BOS_AT);
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

static int write_provenance(const char *path, slm_writer *writer, failure *f)
{
    char *text = NULL, hex[65];
    size_t n_text = 0;
    uint64_t n_bytes = 0;
    const char *slash = strrchr(path, '/');
    int code = source_digest(path, &n_bytes, hex, f);
    FILE *out = code == EXIT_OK ? json_open_memory(&text, &n_text) : NULL;
    if (!out) {
        return code ? code : fail(f, EXIT_RESOURCE, "no memory for the provenance");
    }
    json_out j;
    json_begin(&j, out, true);
    json_object(&j, NULL);
    json_string(&j, "tool", "slm-convert");
    json_string(&j, "version", SLM_VERSION);
    json_string(&j, "source", "vocabulary");
    json_array(&j, "files");
    json_object(&j, NULL);
    json_string(&j, "name", slash ? slash + 1 : path);
    json_u64(&j, "bytes", n_bytes);
    json_string(&j, "sha256", hex);
    json_object_end(&j);
    json_array_end(&j);
    json_object_end(&j);
    json_end(&j);
    code = json_close_memory(out) ? EXIT_OK : fail(f, EXIT_RESOURCE, "no memory");
    code = code ? code : slm_writer_section(writer, SLM_SECTION_PROVENANCE, text, n_text, f);
    free(text);
    return code;
}

static int write_all(const text_model *m, slm_writer *writer, uint64_t *n_bytes, failure *f)
{
    static const uint64_t one[1] = {1};
    static const uint8_t zero[4];
    int code = slm_writer_section(writer, SLM_SECTION_TOKENIZER, m->payload, m->n_payload, f);
    if (code == EXIT_OK && m->built.chat) {
        code = slm_writer_section(writer, SLM_SECTION_CHAT, m->built.chat, m->built.n_chat, f);
    }
    code = code ? code : write_provenance(m->path, writer, f);
    code = code ? code : slm_writer_tensor(writer, "none", SLM_TYPE_F32, 1, one, f);
    code = code ? code : slm_writer_begin(writer, n_bytes, f);
    code = code ? code : slm_writer_data(writer, zero, sizeof zero, f);
    return code ? code : slm_writer_finish(writer, f);
}

int vocabulary_to_slm(const char *in, const char *out_path, bool force, uint32_t *n_tokens,
                      uint64_t *n_bytes, notes *w, failure *f)
{
    text_model m;
    output *out = NULL;
    slm_writer *writer = NULL;
    int code = text_model_open(&m, in, f);
    note_lines(w, m.warnings);
    if (code == EXIT_OK && m.built.n_tokenizer == 0) {
        code = fail(f, EXIT_INPUT, "%s: is a .slm file already", in);
    }
    code = code ? code : output_create(out_path, force, &in, 1, &out, f);
    if (code == EXIT_OK) {
        slm_config config = least_config(&m);
        *n_tokens = config.n_vocab;
        code = slm_writer_create(out, SLM_ARCHITECTURE_TOKENIZER, &config, &writer, f);
    }
    code = code ? code : write_all(&m, writer, n_bytes, f);
    code = code ? code : output_commit(out, f);
    slm_writer_destroy(&writer);
    output_destroy(&out);
    text_model_close(&m);
    return code;
}
