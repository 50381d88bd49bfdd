#!/usr/bin/env python3
"""readme_queries.py DATABASE [--write]: the README's questions to results.db, asked again.

Exits 1 if an answer is not the one that stands there; --write puts the answers into the README.
"""
import re
import sqlite3
import sys

FIRST, LAST = "<!-- queries:", "<!-- end of queries -->"
QUESTIONS = [
    ("How good is each model now?",
     "select model, metric, n, value, low, high from latest "
     "where suite = 'text' and metric like 'p%y'"),
    ("Which cases passed before and fail now?",
     "select suite, case_name, against from regressions"),
    ("Which figures moved, and for better or worse?",
     "select metric, round(before, 4), round(after, 4), verdict from changes "
     "where suite = 'stories' and model like '%q4km%'"),
    ("What has become of one case, run by run?",
     "select run, model, passed, change from case_history where case_name = 'bird-flies'"),
    ("Which model is best, and what does it weigh?",
     "select place, model, value, bytes from leaderboard where metric = 'perplexity.perplexity'"),
]


def answers(path):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    out = []
    for question, sql in QUESTIONS:
        rows = db.execute(sql).fetchall()
        out += [question, "", f'    sqlite3 results.db "{sql}"']
        out += ["    " + "|".join("" if v is None else str(v) for v in row) for row in rows]
        out += [] if rows else ["    (none)"]
        out.append("")
    return out


def main():
    with open("README.md", encoding="utf-8") as f:
        lines = f.read().split("\n")
    first = next(i for i, line in enumerate(lines) if line.startswith(FIRST)) + 1
    last = lines.index(LAST)
    want = [""] + answers(sys.argv[1])
    if "--write" in sys.argv:
        lines[first:last] = want
        with open("README.md", "w", encoding="utf-8") as f:
            f.write("\n".join(lines))
        return 0
    for line in want:
        if line not in lines[first:last]:
            print(f"the README does not say: {line}")
    return lines[first:last] != want


if __name__ == "__main__":
    sys.exit(main())
