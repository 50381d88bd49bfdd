/* char_set.c - unions, complements and intersections of ranges; properties from Unicode's table. */
#include "lib/char_set.h"

#include <stdlib.h>
#include <string.h>

#include "lib/unicode_categories.h"

static void append(char_set *a, uint32_t first, uint32_t last)
{
    if (a->n == a->room) {
        size_t room = a->room ? 2 * a->room : 16;
        char_range *grown = a->failed ? NULL : realloc(a->ranges, room * sizeof *grown);
        if (!grown) {
            a->failed = true;
            return;
        }
        a->ranges = grown;
        a->room = room;
    }
    a->ranges[a->n++] = (char_range){first, last};
}

static int compare_ranges(const void *x, const void *y)
{
    const char_range *a = x, *b = y;
    return (a->first > b->first) - (a->first < b->first);
}

static void tidy(char_set *a)
{
    size_t n = 0;
    if (a->n != 0) {
        qsort(a->ranges, a->n, sizeof *a->ranges, compare_ranges);
    }
    for (size_t i = 0; i < a->n; i++) {
        char_range r = a->ranges[i];
        if (n != 0 && r.first <= a->ranges[n - 1].last + 1) {
            a->ranges[n - 1].last = r.last > a->ranges[n - 1].last ? r.last : a->ranges[n - 1].last;
        } else {
            a->ranges[n++] = r;
        }
    }
    a->n = n;
}

void set_add(char_set *a, uint32_t first, uint32_t last)
{
    append(a, first, last);
    tidy(a);
}

void set_add_all(char_set *a, const char_set *b)
{
    a->failed = a->failed || b->failed;
    for (size_t i = 0; i < b->n; i++) {
        append(a, b->ranges[i].first, b->ranges[i].last);
    }
    tidy(a);
}

void set_complement(char_set *a)
{
    char_set made = {.failed = a->failed};
    uint32_t next = 0;
    for (size_t i = 0; i < a->n; i++) {
        if (a->ranges[i].first > next) {
            append(&made, next, a->ranges[i].first - 1);
        }
        next = a->ranges[i].last + 1;
    }
    if (next <= SET_BAD) {
        append(&made, next, SET_BAD);
    }
    free(a->ranges);
    *a = made;
}

void set_intersect(char_set *a, const char_set *b) /* what neither complement has */
{
    char_set other = {0};
    set_add_all(&other, b);
    set_complement(&other);
    set_complement(a);
    set_add_all(a, &other);
    set_complement(a);
    set_free(&other);
}

bool set_has(const char_set *a, uint32_t c)
{
    size_t low = 0, high = a->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (a->ranges[middle].last < c) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < a->n && a->ranges[low].first <= c;
}

bool set_equal(const char_set *a, const char_set *b)
{
    return a->n == b->n &&
           (a->n == 0 || memcmp(a->ranges, b->ranges, a->n * sizeof *a->ranges) == 0);
}

void set_free(char_set *a)
{
    free(a->ranges);
    *a = (char_set){0};
}

/* ---- Properties ------------------------------------------------------------------------------ */

/* Adds the characters whose category is among `categories` (a bit each) or whose script it is. */
static void add_where(char_set *a, uint32_t categories, uint32_t script)
{
    const uint8_t *p = unicode_categories;
    uint32_t start = 0, value = 0;
    for (uint32_t i = 0; i <= unicode_n_categories; i++) {
        uint32_t distance = 0, before = value, end = SET_BAD;
        if (i < unicode_n_categories) {
            for (int shift = 0;; shift += 7) {
                distance |= (uint32_t)(*p & 127) << shift;
                if (*p++ < 128) {
                    break;
                }
            }
            end = start + distance;
            value = *p++;
        }
        if (end > start && (categories >> (before & 31) & 1 || (script && before >> 5 == script))) {
            append(a, start, end - 1);
        }
        start = end;
    }
    tidy(a);
}

static bool is_name(const char *name, size_t n, const char *wanted)
{
    return strlen(wanted) == n && memcmp(name, wanted, n) == 0;
}

bool set_add_property(char_set *a, const char *name, size_t n)
{
    uint32_t categories = 0;
    if (is_name(name, n, "space")) { /* White_Space */
        static const char_range spaces[] = {{9, 13},          {32, 32},         {0x85, 0x85},
                                            {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
                                            {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f},
                                            {0x3000, 0x3000}};
        for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
            append(a, spaces[i].first, spaces[i].last);
        }
        tidy(a);
        return true;
    }
    if (is_name(name, n, "+P")) {
        set_add(a, '!', '/');
        set_add(a, ':', '@');
        set_add(a, '[', '`');
        set_add(a, '{', '~');
        n = 1;
        name = "P";
    }
    for (uint32_t i = 0; unicode_category_names[2 * i]; i++) {
        const char *its = unicode_category_names + 2 * i;
        bool same = (n == 1 || n == 2) && its[0] == name[0] && (n == 1 || its[1] == name[1]);
        categories |= same ? 1u << i : 0;
    }
    if (categories != 0) {
        add_where(a, categories, 0);
        return true;
    }
    for (uint32_t i = 0; unicode_script_names[i]; i++) {
        if (is_name(name, n, unicode_script_names[i])) {
            add_where(a, 0, i + 1);
            return true;
        }
    }
    return false;
}
