/* char_set.h - sets of characters as sorted ranges. The domain is every code point and, above them,
 * SET_BAD: a byte that belongs to no character, which is in a set only if that set is a complement.
 */
#ifndef SLM_TOOLS_CHAR_SET_H
#define SLM_TOOLS_CHAR_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SET_BAD 0x110000u

typedef struct char_range {
    uint32_t first, last;
} char_range;

typedef struct char_set {
    char_range *ranges; /* owned; ascending, apart from each other */
    size_t n, room;
    bool failed; /* out of memory; the set is then of no use */
} char_set;

/* All of these keep ranges sorted and merged; a is changed, b is not. */
void set_add(char_set *a, uint32_t first, uint32_t last);
void set_add_all(char_set *a, const char_set *b);
void set_complement(char_set *a);
void set_intersect(char_set *a, const char_set *b);
bool set_has(const char_set *a, uint32_t c);
bool set_equal(const char_set *a, const char_set *b);
void set_free(char_set *a);

/* Adds the characters of a property by its name: a category ("L", "Lu"), a script ("Han"), or one
 * of "space", "+P" (category P and ASCII's). False: no such name. */
bool set_add_property(char_set *a, const char *name, size_t n);

#endif
