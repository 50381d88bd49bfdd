/* hf_model_files.h - which files of a Hugging Face folder hold the weights. */
#ifndef SLM_TOOLS_HF_MODEL_FILES_H
#define SLM_TOOLS_HF_MODEL_FILES_H

#include "lib/hf_model.h"

/* "FOLDER/NAME", malloc'd; NULL if there is no memory. */
char *hf_path(const char *folder, const char *name);

/* Reads a text file of the folder whole and notes its digest in m->texts. *text: malloc'd, or NULL
 * if the file does not exist and is not `required`. */
int hf_read_text(hf_model *m, const char *folder, const char *name, bool required, char **text,
                 size_t *n_bytes, failure *f);

/* Notes in m->texts a file that was read from elsewhere: its digest, and that the output must not
 * be it. */
int hf_note_file(hf_model *m, const char *path, failure *f);

/* Finds the weight files, reads their headers, merges them. Fills shards, headers, all. */
int hf_find_weights(hf_model *m, const char *folder, notes *w, failure *f);

#endif
