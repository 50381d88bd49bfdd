#!/usr/bin/env python3
"""A byte-level tokenizer.json with NFC, a text with every character, and what becomes of it.

    nfc_tokenizer.py FOLDER    writes tokenizer.json, text, normal

Every character stands alone, after a letter, and between combining marks; `normal` is Python's own
normalization of the text. Characters that Python's Unicode version does not know are left out.
"""
import json
import sys
import unicodedata


def alphabet():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return printable + [0x100 + i for i in range(68)]


def main():
    known = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    lines = ["".join(known), *known, *("a" + c for c in known if unicodedata.combining(c))]
    lines += ["e\u0323" + c + "\u0301\u0327\u1161\u11a8" for c in known]
    text = "\n".join(lines)
    model = {"type": "BPE", "merges": [], "vocab": {chr(c): i for i, c in enumerate(alphabet())}}
    steps = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    document = {"version": "1.0", "normalizer": {"type": "NFC"}, "pre_tokenizer": steps,
                "decoder": steps, "model": model}
    with open(sys.argv[1] + "/tokenizer.json", "w", encoding="utf-8") as f:
        json.dump(document, f)
    for name, content in (("text", text), ("normal", unicodedata.normalize("NFC", text))):
        with open(sys.argv[1] + "/" + name, "wb") as f:
            f.write(content.encode())


main()
