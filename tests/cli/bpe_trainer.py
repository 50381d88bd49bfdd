#!/usr/bin/env python3
"""Trains a byte-level BPE by counting everything anew for each merge, to compare with.

    bpe_trainer.py VOCAB_SIZE MIN_FREQUENCY SPLIT [SPECIAL...] < TEXT

Prints the vocabulary and the merges as tokenizer.json holds them.

SPLIT is "gpt2" (ASCII only: the expression below knows no other letters) or "none".
"""
import collections
import json
import re
import sys

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"
ORDER = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTES = ORDER + [b for b in range(256) if b not in ORDER]
CHARACTER = {b: chr(b) if b in ORDER else chr(0x100 + i - len(ORDER)) for i, b in enumerate(BYTES)}


def cut(text, split, specials):
    pieces = [text]
    if specials:
        longest_first = sorted(specials, key=len, reverse=True)
        pieces = re.split("|".join(map(re.escape, longest_first)), text)
    words = collections.Counter()
    for piece in pieces:
        found = re.findall(GPT2, piece) if split == "gpt2" else [piece] if piece else []
        assert "".join(found) == piece
        words.update(word.encode("latin-1") for word in found)
    return words


def merged(ids, pair, whole):
    out, i = [], 0
    while i < len(ids):
        if tuple(ids[i:i + 2]) == pair:
            out.append(whole)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def main():
    size, least, split, *specials = sys.argv[1:]
    tokens = [s.encode() for s in specials] + [bytes([b]) for b in BYTES]
    id_of = {t: i for i, t in enumerate(tokens) if i >= len(specials)}
    text = sys.stdin.buffer.read().decode("latin-1")
    words = [([id_of[bytes([b])] for b in word], n)
             for word, n in cut(text, split, specials).items()]
    merges = []
    while len(tokens) < int(size):
        counts = collections.Counter()
        for ids, n in words:
            for pair in zip(ids, ids[1:]):
                counts[pair] += n
        best = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if best is None or counts[best] < int(least):
            break
        joined = tokens[best[0]] + tokens[best[1]]
        if joined not in id_of:
            id_of[joined] = len(tokens)
            tokens.append(joined)
        if best not in merges:
            merges.append(best)
        words = [(merged(ids, best, id_of[joined]), n) for ids, n in words]
    names = specials + ["".join(CHARACTER[b] for b in t) for t in tokens[len(specials):]]
    json.dump({"vocab": {name: i for i, name in enumerate(names)},
               "merges": [f"{names[a]} {names[b]}" for a, b in merges]}, sys.stdout)


main()
