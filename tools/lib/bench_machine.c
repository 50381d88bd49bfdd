/* bench_machine.c - loops that do nothing but load, or nothing but multiply; see bench_machine.h.
 */
#include "lib/bench_machine.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cli.h"
#include "port/port.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- Reading --------------------------------------------------------------------------------- */

enum { PIECE = 1 << 20 };

typedef uint64_t (*read_function)(const uint8_t *bytes, size_t n_lines);

typedef struct reading {
    const uint8_t *bytes;
    size_t n_bytes;
    read_function read;
    _Alignas(64) volatile uint64_t sink[256]; /* keeps the loads from being left out */
} reading;

static uint64_t read_plain(const uint8_t *bytes, size_t n_lines)
{
    uint64_t sums[8] = {0};
    for (size_t i = 0; i < n_lines; i++) {
        uint64_t words[8];
        memcpy(words, bytes + 64 * i, 64);
        for (int k = 0; k < 8; k++) {
            sums[k] ^= words[k];
        }
    }
    return sums[0] ^ sums[1] ^ sums[2] ^ sums[3] ^ sums[4] ^ sums[5] ^ sums[6] ^ sums[7];
}

#if defined(__x86_64__)

enum { AHEAD = 32 }; /* lines: a little further than the processor itself looks */

__attribute__((target("avx2"))) static uint64_t read_avx2(const uint8_t *bytes, size_t n_lines)
{
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i + 2 <= n_lines; i += 2) {
        const __m256i *p = (const __m256i *)(const void *)(bytes + 64 * i);
        _mm_prefetch((const char *)p + 64 * AHEAD, _MM_HINT_T0);
        _mm_prefetch((const char *)p + 64 * AHEAD + 64, _MM_HINT_T0);
        a = _mm256_xor_si256(a, _mm256_load_si256(p));
        b = _mm256_xor_si256(b, _mm256_load_si256(p + 1));
        c = _mm256_xor_si256(c, _mm256_load_si256(p + 2));
        d = _mm256_xor_si256(d, _mm256_load_si256(p + 3));
    }
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    return (uint64_t)_mm256_extract_epi64(a, 0) ^ (uint64_t)_mm256_extract_epi64(a, 3);
}

static read_function best_read(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") ? read_avx2 : read_plain;
}

#else

static read_function best_read(void)
{
    return read_plain;
}

#endif

static void read_item(void *context, uint32_t item, uint32_t thread)
{
    reading *r = (reading *)context;
    size_t at = (size_t)item * PIECE, n = r->n_bytes - at < PIECE ? r->n_bytes - at : PIECE;
    r->sink[thread] = r->sink[thread] ^ r->read(r->bytes + at, n / 64);
}

double machine_read_seconds(slm_team *team, const uint8_t *bytes, size_t n_bytes)
{
    reading r = {.bytes = bytes, .n_bytes = n_bytes, .read = best_read()};
    double start = clock_seconds();
    slm_team_run(team, read_item, &r, (uint32_t)((n_bytes + PIECE - 1) / PIECE));
    return clock_seconds() - start;
}

/* ---- Multiplying ----------------------------------------------------------------------------- */

enum { ROUNDS = 200000, CHAINS = 12, ITEMS_PER_THREAD = 8 };

/* Each gives the multiply-accumulates that it has done. */
typedef uint64_t (*multiply_function)(uint32_t rounds);

#if defined(__x86_64__)

__attribute__((target("avx512f,avx512vnni"))) static uint64_t multiply_avx512(uint32_t rounds)
{
    __m512i sums[CHAINS], a = _mm512_set1_epi32(0x01020304), b = _mm512_set1_epi32(0x04030201);
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) {
        sums[k] = _mm512_setzero_si512();
    }
    for (uint32_t i = 0; i < rounds; i++) {
#pragma GCC unroll 12 /* the sums must stay in registers */
        for (int k = 0; k < CHAINS; k++) {
            sums[k] = _mm512_dpbusd_epi32(sums[k], a, b);
            __asm__ volatile("" : "+v"(sums[k]));
        }
    }
    return (uint64_t)rounds * CHAINS * 64;
}

/* Pairs are summed in 16 bits by one instruction and added by another, as kernels without VNNI do
 * at best. */
__attribute__((target("avx2"))) static uint64_t multiply_avx2(uint32_t rounds)
{
    __m256i sums[CHAINS], a = _mm256_set1_epi32(0x01020304), b = _mm256_set1_epi32(0x04030201);
#pragma GCC unroll 12
    for (int k = 0; k < CHAINS; k++) {
        sums[k] = _mm256_setzero_si256();
    }
    for (uint32_t i = 0; i < rounds; i++) {
#pragma GCC unroll 12 /* the sums must stay in registers */
        for (int k = 0; k < CHAINS; k++) {
            __m256i products = _mm256_maddubs_epi16(a, b);
            __asm__ volatile("" : "+x"(products));
            sums[k] = _mm256_add_epi16(sums[k], products);
            __asm__ volatile("" : "+x"(sums[k]));
        }
    }
    return (uint64_t)rounds * CHAINS * 32;
}

static multiply_function find_multiply(const char *kernels)
{
    return strcmp(kernels, "avx512") == 0 ? multiply_avx512
           : strcmp(kernels, "avx2") == 0 ? multiply_avx2
                                          : NULL;
}

#else

static multiply_function find_multiply(const char *kernels)
{
    (void)kernels;
    return NULL;
}

#endif

typedef struct multiplying {
    multiply_function multiply;
    uint64_t per_item;
} multiplying;

static void multiply_item(void *context, uint32_t item, uint32_t thread)
{
    const multiplying *m = (const multiplying *)context;
    (void)item;
    (void)thread;
    m->multiply(ROUNDS);
}

double machine_integer_peak(slm_team *team, const char *kernels)
{
    multiplying m = {find_multiply(kernels), 0};
    if (!m.multiply) {
        return 0;
    }
    m.per_item = m.multiply(1) * ROUNDS;
    uint32_t n = slm_team_size(team) * ITEMS_PER_THREAD;
    double start = clock_seconds();
    slm_team_run(team, multiply_item, &m, n);
    return (double)m.per_item * n / (clock_seconds() - start);
}

/* ---- Names ----------------------------------------------------------------------------------- */

void machine_name(char *name, size_t capacity)
{
    char line[512];
    FILE *stream = fopen("/proc/cpuinfo", "re");
    name[0] = 0;
    while (stream && fgets(line, sizeof line, stream)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            snprintf(name, capacity, "%s", colon + 2);
            for (char *end = name + strlen(name); end > name && isspace((unsigned char)end[-1]);) {
                *--end = 0;
            }
            break;
        }
    }
    if (stream) {
        fclose(stream);
    }
}

double machine_load(void)
{
    double load = -1;
    return getloadavg(&load, 1) == 1 ? load : -1;
}
