/* string.h - the few string functions that the runtime uses, for builds without a C library. The
 * names stand for the compiler's own operations, so that a copy of known size stays one
 * instruction; wasm.c defines what the compiler calls when it cannot expand one in place.
 */
#ifndef SLM_FREESTANDING_STRING_H
#define SLM_FREESTANDING_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n_bytes);
void *memmove(void *to, const void *from, size_t n_bytes);
void *memset(void *to, int value, size_t n_bytes);
int memcmp(const void *a, const void *b, size_t n_bytes);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);

#define memcpy __builtin_memcpy
#define memmove __builtin_memmove
#define memset __builtin_memset
#define memcmp __builtin_memcmp
#define strlen __builtin_strlen
#define strcmp __builtin_strcmp

#endif
