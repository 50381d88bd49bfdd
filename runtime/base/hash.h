/* hash.h - the mix64 chain that .slm files use for identities. Public digests are in slm.h. */
#ifndef SLM_BASE_HASH_H
#define SLM_BASE_HASH_H

#include "slm.h"

/* Finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection on 64 bits. */
static inline uint64_t mix64(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* One link of a chain: order matters. */
static inline uint64_t mix64_chain(uint64_t h, uint64_t word)
{
    return mix64(h ^ word);
}

#endif
