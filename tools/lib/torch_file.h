/* torch_file.h - a PyTorch checkpoint (zip of a pickle and raw storages) -> its model's tensors.
 *
 *     PREFIX/data.pkl     what there is (pickle.h)
 *     PREFIX/data/N       storage N, raw
 *     PREFIX/byteorder    "little", or absent
 *     PREFIX/version      1..10
 *
 * The state dict is the outermost dictionary or, inside it, "model", "state_dict",
 * "model_state_dict" or "module"; prefixes that DistributedDataParallel ("module.") and
 * torch.compile ("_orig_mod.") put before every name are taken off. Both are noted. Members may be
 * deflated, at most 100 to 1.
 */
#ifndef SLM_TOOLS_TORCH_FILE_H
#define SLM_TOOLS_TORCH_FILE_H

#include "lib/convert_notes.h"
#include "lib/pickle.h"
#include "lib/zip.h"

typedef struct torch_tensor {
    const char *name; /* NUL-terminated, in the file's names */
    uint32_t name_bytes;
    pickle_dtype dtype;
    const pickle_tensor *shape;
    const zip_entry *member;
    uint64_t n_bytes; /* of the elements, row after row */
    bool in_place;    /* they lie so in the file, from `offset` on */
    uint64_t offset;
} torch_tensor;

typedef struct torch_file {
    const char *name; /* of the file, for messages */
    zip archive;
    uint8_t *unpacked; /* a deflated data.pkl */
    pickle content;
    uint32_t dict; /* of the model, in content */
    char *names;
    torch_tensor *tensors; /* sorted by name */
    uint32_t n_tensors;
} torch_file;

/* True if the bytes begin as a PyTorch checkpoint does, or one of the kinds that torch_open names.
 */
bool torch_recognised(const uint8_t *bytes, uint64_t n_bytes);

/* Parses and checks all but the values. bytes: borrowed as long as *t is used. */
int torch_open(const char *name, const uint8_t *bytes, uint64_t n_bytes, torch_file *t, notes *w,
               failure *f);
void torch_close(torch_file *t); /* accepts a zeroed one; clears */

/* The tensor of that name, or NULL. */
const torch_tensor *torch_find(const torch_file *t, const char *name);

/* Elements of a tensor, row after row, into out (n_bytes of it). Checks the member's CRC. */
int torch_read(const torch_file *t, const torch_tensor *tensor, uint8_t *out, failure *f);

/* The CRC of a tensor's member, without taking its elements. */
int torch_check(const torch_file *t, const torch_tensor *tensor, failure *f);

#endif
