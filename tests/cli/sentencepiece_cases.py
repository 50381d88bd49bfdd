#!/usr/bin/env python3
"""Malformed SentencePiece models: each must be refused with exit code 3 and the given words.

    sentencepiece_cases.py FOLDER     writes the files there and runs slm-tokenizer (in $SLM_BIN)
"""
import os
import struct
import subprocess
import sys


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def num(field, n):
    return varint(field << 3) + varint(n)


def raw(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


def piece(text, score=0.0, kind=None):
    body = raw(1, text) + varint(2 << 3 | 5) + struct.pack("<f", score)
    return raw(1, body + (num(3, kind) if kind is not None else b""))


MARK = "\u2581".encode()
HEAD = piece(b"<unk>", 0, 2) + piece(b"<s>", 0, 3) + piece(b"</s>", 0, 3)
BYTES = b"".join(piece(b"<0x%02X>" % i, 0, 6) for i in range(256))
LETTERS = piece(b"a", -3.0) + piece(b"b", -4.0) + piece(MARK, -5.0)
MERGED = piece(b"ab", -1.0) + piece(b"aba", -0.5)
TRAINER = raw(2, num(3, 2))
NORMALIZER = raw(3, raw(1, b"identity") + num(4, 0))
GOOD = HEAD + BYTES + LETTERS + MERGED + TRAINER + NORMALIZER

CASES = {
    "empty": (b"", "no pieces"),
    "TK55 cut in a length": (GOOD[:1], "cut short"),
    "TK55 cut in a piece": (GOOD[:8], "past the end"),
    "TK55 length": (varint(1 << 3 | 2) + varint(1 << 62) + GOOD, "past the end"),
    "TK55 varint of 11 bytes": (varint(1 << 3) + b"\xff" * 10 + b"\x01", "longer than 64 bits"),
    "TK55 varint of 65 bits": (varint(4 << 3) + b"\xff" * 9 + b"\x02", "longer than 64 bits"),
    "TK55 wire of pieces": (num(1, 5) + GOOD, "wrong wire type"),
    "TK55 wire of a score": (raw(1, raw(1, b"x") + num(2, 1)) + GOOD, "wrong wire type"),
    "TK55 wire of a flag": (HEAD + TRAINER + raw(3, raw(4, b"x")), "wrong wire type"),
    "group": (b"\x0b" + GOOD, "impossible number or wire type"),
    "field_0": (b"\x00\x01" + GOOD, "impossible number or wire type"),
    "TK56 type 7": (HEAD + piece(b"x", 0, 7) + TRAINER + NORMALIZER, "unknown type"),
    "TK56 type 0": (HEAD + piece(b"x", 0, 0) + TRAINER + NORMALIZER, "unknown type"),
    "TK46 NaN": (HEAD + piece(b"x", float("nan")) + TRAINER + NORMALIZER, "not finite"),
    "TK46 Inf": (HEAD + piece(b"x", float("inf")) + TRAINER + NORMALIZER, "not finite"),
    "TK46 -Inf": (HEAD + piece(b"x", -float("inf")) + TRAINER + NORMALIZER, "not finite"),
    "TK56 empty piece": (HEAD + piece(b"", 0, 4) + TRAINER + NORMALIZER, "1 to 65535 bytes"),
    "long_piece": (HEAD + piece(b"x" * 65536) + TRAINER + NORMALIZER, "1 to 65535 bytes"),
    "TK56 twice": (HEAD + LETTERS + piece(b"a") + TRAINER + NORMALIZER, "pieces 3 and 6"),
    "not_utf8": (HEAD + piece(b"\xff") + TRAINER + NORMALIZER, "UTF-8"),
    "unigram": (HEAD + LETTERS + NORMALIZER, "unigram"),
    "word": (HEAD + LETTERS + raw(2, num(3, 3)) + NORMALIZER, "kind word"),
    "squeezes": (HEAD + LETTERS + TRAINER, "remove_extra_whitespaces"),
    "squeezes_too": (HEAD + LETTERS + TRAINER + raw(3, b""), "remove_extra_whitespaces"),
    "charsmap": (HEAD + LETTERS + TRAINER + raw(3, raw(2, b"xyz") + num(4, 0)), "charsmap"),
    "no_escape": (HEAD + LETTERS + TRAINER + raw(3, num(4, 0) + num(5, 0)), "escape_whitespaces"),
    "suffix": (HEAD + LETTERS + raw(2, num(3, 2) + num(24, 1)) + NORMALIZER, "as_suffix"),
    "bos_beyond": (HEAD + raw(2, num(3, 2) + num(41, 99)) + NORMALIZER, "bos_id"),
}


def run(path, text):
    program = os.path.join(os.environ.get("SLM_BIN", "bin"), "slm-tokenizer")
    return subprocess.run([program, "encode", path, "-q"], input=text, capture_output=True)


def main():
    path, failed = os.path.join(sys.argv[1], "t.model"), 0
    for name, (data, words) in CASES.items():
        with open(path, "wb") as f:
            f.write(data)
        r = run(path, b"ab")
        if r.returncode != 3 or words not in r.stderr.decode():
            failed += 1
            print(name, r.returncode, r.stdout, r.stderr, "wanted:", words)
    with open(path, "wb") as f:
        f.write(GOOD)
    # by hand: the leftmost "ab" is made first; "aba" has the better score where its parts meet then
    a, b, mark, ab, aba = 259, 260, 261, 262, 263
    for text, ids in {b"": [1], b"ab": [1, mark, ab], b"abab": [1, mark, aba, b],
                      b"aba": [1, mark, aba], b"b!": [1, mark, b, 3 + 33]}.items():
        r = run(path, text)
        if r.stdout.split() != [b"%d" % i for i in ids]:
            failed += 1
            print("good", text, r.stdout, r.stderr, "wanted", ids)
    with open(path, "wb") as f:
        f.write(HEAD + BYTES + LETTERS + piece(b"ba", -1) + piece(b"ab", -1) + TRAINER + NORMALIZER)
    # "ba" (262) and "ab" (263) have one score: the leftmost comes first, whatever its id
    for text, ids in {b"aba": [1, mark, 263, a], b"bab": [1, mark, 262, b],
                      b"abab": [1, mark, 263, 263], b"a" + b"ba" * 20: [1, mark] + [263] * 20 + [a],
                      b"b" + b"ab" * 20: [1, mark] + [262] * 20 + [b]}.items():
        r = run(path, text)
        if r.stdout.split() != [b"%d" % i for i in ids]:
            failed += 1
            print("equal scores", text, r.stdout, r.stderr, "wanted", ids)
    # TK46: a score that is positive is one, a missing one is 0
    with open(path, "wb") as f:
        f.write(HEAD + BYTES + LETTERS + piece(b"ab", 5.0) + raw(1, raw(1, b"ba")) + TRAINER
                + NORMALIZER)
    for text, ids in {b"aba": [1, mark, 262, a], b"ba": [1, mark, 263]}.items():
        r = run(path, text)
        if r.stdout.split() != [b"%d" % i for i in ids]:
            failed += 1
            print("odd scores", text, r.stdout, r.stderr, "wanted", ids)
    for cut in range(0, len(GOOD), 97):
        with open(path, "wb") as f:
            f.write(GOOD[:cut])
        r = run(path, b"ab")
        if r.returncode not in (0, 3):
            failed += 1
            print("cut at", cut, r.returncode, r.stderr)
    print(f"{len(CASES)} malformed files, {failed} failures")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
