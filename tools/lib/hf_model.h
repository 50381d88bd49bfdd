/* hf_model.h - a Hugging Face folder, or a checkpoint that says itself what it is -> a
 * configuration, where each tensor of it lies, and the tokenizer: everything that is needed to
 * write a .slm file, checked before a byte is written.
 *
 * The folder's files may be links to regular files, as in the library's download cache. File names
 * that model.safetensors.index.json gives must be plain names in the folder.
 */
#ifndef SLM_TOOLS_HF_MODEL_H
#define SLM_TOOLS_HF_MODEL_H

#include "lib/cli.h"
#include "lib/convert.h"
#include "lib/hf_config.h"
#include "lib/safetensors.h"
#include "lib/tokenizer_json.h"

typedef struct hf_file {
    char *name; /* within the folder */
    char *path;
    uint64_t n_bytes, mtime_ns, inode, device;
    char sha256[65]; /* "" until known */
    uint8_t *memory; /* not a file: tensors of one, brought into our order; owned */
} hf_file;

typedef struct hf_tensor {
    slm_tensor_spec spec;             /* in the .slm file */
    const safetensors_tensor *source; /* in all */
    slm_type type;                    /* of the source */
    uint64_t first_row, source_rows;  /* ours in the source's, which may hold more */
    bool turned;                      /* stored inputs x outputs */
    bool less_one;                    /* stored less one */
} hf_tensor;

typedef struct hf_model {
    const char *source;      /* "huggingface", "pytorch" or "llama2.c", for the provenance */
    const char *config_name; /* what the configuration comes from, for messages */
    hf_config hf;            /* config.n_vocab: rows of the embedding */
    hf_file *shards;
    uint32_t n_shards;
    hf_file texts[12]; /* other files that were read, with their digests */
    uint32_t n_texts;
    safetensors *headers; /* one for each shard */
    safetensors all;      /* their tensors */
    hf_tensor *tensors;   /* n_tensors, canonical order */
    uint32_t n_tensors;
    uint64_t n_parameters, n_source_bytes; /* of the tensors that are used */
    tokenizer_payload tokenizer;           /* zeroed if there is none */
    input rearranged;                      /* the view of a shard in memory */
    input open; /* the shard at hand, one at a time, since there may be thousands */
    uint32_t open_index;
} hf_model;

/* Reads and checks everything but the values of the weights. A folder without tokenizer.json is
 * refused unless want_tokenizer is false. *m: the caller's to free, also on failure. */
int hf_model_open(const char *folder, bool want_tokenizer, hf_model *m, notes *w, failure *f);

/* Gives each tensor that the configuration calls for its source in m->all, and refuses whatever
 * does not fit. Called by hf_model_open and by what opens single files. */
int hf_model_match(hf_model *m, notes *w, failure *f);

/* Digests of the weight files. */
int hf_model_hash(hf_model *m, progress *p, failure *f);

/* The shard, open; valid until the next call. Refuses a file that changed since hf_model_open. */
int hf_model_shard(hf_model *m, uint32_t index, const input **in, failure *f);

/* Closes what is open and makes sure once more that no shard has changed. */
int hf_model_finish(hf_model *m, failure *f);

/* The provenance section: files with sizes and digests, tool, version, options; the same for the
 * same input. Needs hf_model_hash. *json: malloc'd, n_json bytes. */
int hf_model_provenance(const hf_model *m, const char *dtype, char **json, size_t *n_json,
                        failure *f);

void hf_model_free(hf_model *m); /* accepts a zeroed one */

#endif
