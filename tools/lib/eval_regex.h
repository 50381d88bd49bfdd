/* eval_regex.h - a small regular expression engine whose time is linear in the text.
 *
 * Thompson's construction, simulated: at most (instructions of the pattern) x (bytes of the text)
 * steps, whatever the pattern; no backtracking, no recursion over the text. Answers only whether
 * the pattern matches somewhere; there are no groups to read.
 *
 * Syntax (a subset of what everyone knows, over UTF-8 characters):
 *   x  \x         a character; \ makes any of . [ ] ( ) { } * + ? | ^ $ \ / - plain
 *   \n \t \r      line feed, tab, carriage return
 *   .             any character but a line feed
 *   [abc] [a-z] [^...]   a set; \d \w \s and the escapes above work inside
 *   \d \w \s  \D \W \S   ASCII digit, letter or digit or _, white space; the opposite
 *   \b \B         at a word boundary (of \w); not at one
 *   ^ $           the beginning and the end of the text (never of a line)
 *   ( ) (?: )     grouping        a|b   either
 *   * + ? {n} {n,} {n,m}   repetition, m <= 1000; a following ? changes nothing here: refused
 *   (?i)          at the very beginning: ASCII letters match in either case
 * Back-references, look-around and named groups are refused. A byte that is not part of UTF-8 is a
 * character of its own that only . and negated sets match.
 */
#ifndef SLM_TOOLS_EVAL_REGEX_H
#define SLM_TOOLS_EVAL_REGEX_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/failure.h"

enum { REGEX_MAX_PATTERN = 4096, REGEX_MAX_PROGRAM = 20000 /* instructions */ };

typedef struct regex regex;

/* where: for messages ("FILE:LINE: ..."). EXIT_INPUT names what is wrong and at which byte of the
 * pattern; also for a pattern that matches the empty text: it is nearly always a mistake. *r is
 * the caller's (regex_free). EXIT_RESOURCE if there is no memory. */
int regex_compile(const char *where, const char *pattern, size_t n_pattern, regex **r, failure *f);
void regex_free(regex **r); /* accepts NULL; clears */

bool regex_matches(const regex *r, const char *text, size_t n_text);

#endif
