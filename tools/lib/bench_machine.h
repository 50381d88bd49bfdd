/* bench_machine.h - what this machine can do at most: reading memory, multiplying small integers.
 */
#ifndef SLM_TOOLS_BENCH_MACHINE_H
#define SLM_TOOLS_BENCH_MACHINE_H

#include <stddef.h>
#include <stdint.h>

#include "slm.h"

/* Reads all bytes once with the team's threads, as fast as plain loads go; returns seconds.
 * bytes: 64-byte aligned. */
double machine_read_seconds(slm_team *team, const uint8_t *bytes, size_t n_bytes);

/* Multiply-accumulates of 8-bit integers per second that the team's threads reach in registers,
 * with the instructions that the kernel variant of this name uses; 0 if that is not known. */
double machine_integer_peak(slm_team *team, const char *kernels);

/* The processor's own name; "" if the system does not say. */
void machine_name(char *name, size_t capacity);

/* Processes that ran or waited for a core, averaged over the last minute; < 0: not known. */
double machine_load(void);

#endif
