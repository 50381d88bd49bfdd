#!/usr/bin/env python3
"""Compares two files of little-endian f32 logits, position by position.

compare_logits.py GOT WANT N_VOCAB TOLERANCE

Prints the largest absolute difference and the number of positions whose top token differs; exits 1
if the difference exceeds the tolerance, any top token differs, or the sizes disagree.
"""
import array
import sys


def read(path):
    values = array.array("f")
    with open(path, "rb") as f:
        values.frombytes(f.read())
    if sys.byteorder == "big":
        values.byteswap()
    return values


def main():
    got, want = read(sys.argv[1]), read(sys.argv[2])
    n_vocab, tolerance = int(sys.argv[3]), float(sys.argv[4])
    if len(got) != len(want) or len(got) == 0 or len(got) % n_vocab:
        print(f"sizes differ: {len(got)} and {len(want)} floats, vocabulary {n_vocab}")
        return 1
    worst, tops = 0.0, 0
    for start in range(0, len(got), n_vocab):
        g, w = got[start:start + n_vocab], want[start:start + n_vocab]
        # not (x <= y), so that a NaN counts as a difference
        position = max((abs(a - b) if a == a and b == b else float("inf")) for a, b in zip(g, w))
        worst = max(worst, position)
        tops += max(range(n_vocab), key=g.__getitem__) != max(range(n_vocab), key=w.__getitem__)
    print(f"positions {len(got) // n_vocab}, largest difference {worst:.3g}, "
          f"top tokens differ {tops}")
    return 0 if worst <= tolerance and tops == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
