#!/usr/bin/env python3
"""Published tokenizer vectors: every text must encode to the published ids and decode back.

    tokenizer_vectors.py VECTOR_STEM MODEL [NORMALIZATION]

VECTOR_STEM.inp holds texts separated by a marker line, VECTOR_STEM.out one line of ids for each.
MODEL is given to slm-tokenizer (in $SLM_BIN); ids are compared without BOS. Texts that the
tokenizer normalizes are compared after NORMALIZATION (such as NFC).
"""
import os
import subprocess
import sys
import unicodedata


def tool(command, model, data, *options):
    program = os.path.join(os.environ.get("SLM_BIN", "bin"), "slm-tokenizer")
    run = subprocess.run([program, command, model, "-q", *options], input=data,
                         capture_output=True, check=True)
    return run.stdout


def main():
    stem, model = sys.argv[1], sys.argv[2]
    form = sys.argv[3] if len(sys.argv) > 3 else None
    with open(stem + ".inp", "rb") as f:
        texts = f.read().split(b"\n__ggml_vocab_test__\n")
    with open(stem + ".out", encoding="ascii") as f:
        wanted = [[int(x) for x in line.split()] for line in f]
    # the last text is followed by the marker and nothing more, or by nothing at all
    texts = texts[:len(wanted)]
    assert len(texts) == len(wanted) > 40, (len(texts), len(wanted))
    failed = 0
    for text, ids in zip(texts, wanted):
        got = [int(x) for x in tool("encode", model, text, "--no-special").split()]
        back = tool("decode", model, " ".join(map(str, got)).encode())
        expected = unicodedata.normalize(form, text.decode()).encode() if form else text
        if got != ids or back != expected:
            failed += 1
            print(repr(text), "\n  got   ", got, "\n  wanted", ids, "\n  back  ", repr(back))
    print(f"{len(texts)} texts, {failed} differ")
    return failed != 0


sys.exit(main())
