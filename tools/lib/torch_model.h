/* torch_model.h - checkpoints as models: PyTorch files of a Hugging Face folder, and single files
 * that say themselves what they are (llama2.c's training checkpoints and its .bin files).
 *
 * A tensor whose elements lie in the file row after row is read from there, as safetensors are.
 * What is transposed, compressed, quantized, or in rope's interleaved order is brought into order
 * in memory, and forms a second part of the file's tensors.
 */
#ifndef SLM_TOOLS_TORCH_MODEL_H
#define SLM_TOOLS_TORCH_MODEL_H

#include "lib/hf_model.h"

/* Tensors of shard `shard` (open as `in`) of m->n_shards / 2: fills its header and the one of what
 * was rearranged, m->n_shards / 2 further on. */
int torch_read_shard(hf_model *m, uint32_t shard, input *in, notes *w, failure *f);

/* Opens a single file. format: "auto", "torch" or "llama2c". Like hf_model_open. */
int checkpoint_open(const char *path, const char *format, bool want_tokenizer, hf_model *m,
                    notes *w, failure *f);

#endif
