#!/usr/bin/env python3
"""compare_gguf.py A.gguf B.gguf: every tensor of B must be in A with the same dimensions, type and
bytes, and the other way round. Reads the files from the format's description alone. Prints the
number of tensors; exits 1 on any difference."""
import struct
import sys

BLOCK = {0: (1, 4), 1: (1, 2), 30: (1, 2), 2: (32, 18), 8: (32, 34), 12: (256, 144),
         13: (256, 176), 14: (256, 210)}
SCALAR = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
          12: "d"}


def read(path):
    data = open(path, "rb").read()
    at = 24
    n_tensors, n_pairs = struct.unpack_from("<QQ", data, 8)

    def string():
        nonlocal at
        n, = struct.unpack_from("<Q", data, at)
        at += 8 + n
        return data[at - n:at].decode(errors="replace")

    def value(kind):
        nonlocal at
        if kind == 8:
            return string()
        if kind == 9:
            element, n = struct.unpack_from("<IQ", data, at)
            at += 12
            return [value(element) for _ in range(n)]
        x, = struct.unpack_from("<" + SCALAR[kind], data, at)
        at += struct.calcsize(SCALAR[kind])
        return x

    pairs = {}
    for _ in range(n_pairs):
        key = string()
        kind, = struct.unpack_from("<I", data, at)
        at += 4
        pairs[key] = value(kind)
    entries = []
    for _ in range(n_tensors):
        name = string()
        rank, = struct.unpack_from("<I", data, at)
        dims = struct.unpack_from(f"<{rank}Q", data, at + 4)
        kind, offset = struct.unpack_from("<IQ", data, at + 4 + 8 * rank)
        at += 4 + 8 * rank + 12
        entries.append((name, dims, kind, offset))
    align = pairs.get("general.alignment", 32)
    start = (at + align - 1) // align * align
    tensors = {}
    for name, dims, kind, offset in entries:
        n = 1
        for d in dims:
            n *= d
        elements, size = BLOCK[kind]
        first = start + offset
        body = data[first:first + n // elements * size]
        assert len(body) == n // elements * size, name
        tensors[name] = (dims, kind, body)
    return pairs, tensors


def main():
    a, b = read(sys.argv[1])[1], read(sys.argv[2])[1]
    bad = sorted(set(a) ^ set(b)) + [n for n in a if n in b and a[n] != b[n]]
    for name in bad:
        print("differs:", name)
    print(f"tensors compared {len(a)}, different {len(bad)}")
    sys.exit(1 if bad or not a else 0)


if __name__ == "__main__":
    main()
