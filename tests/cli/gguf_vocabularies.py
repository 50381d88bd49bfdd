#!/usr/bin/env python3
"""Small GGUF vocabularies that leave out or misstate what others say, against llama.cpp's ids.

    gguf_vocabularies.py FOLDER     writes NAME.gguf and texts.json there, runs slm-tokenizer (in
                                    $SLM_BIN) and compares with tests/golden/tokenizers/gguf.jsonl
    gguf_vocabularies.py -w FOLDER  writes only, for make_gguf.mjs beside that file
"""
import json
import os
import struct
import subprocess
import sys

from gguf_cases import ARRAY, F32, I32, STRING, U32, text, value

NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6
MARK = "\u2581"


def alphabet():
    """Characters that stand for bytes in byte-level vocabularies."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) if b in kept else chr(256 + n)
            for b in range(256) for n in [sum(o not in kept for o in range(b))]]


def head(name):
    """What llama.cpp wants to know even of a vocabulary."""
    sizes = {"context_length": 8, "embedding_length": 32, "block_count": 1,
             "feed_forward_length": 32, "attention.head_count": 1}
    return {"general.architecture": (STRING, "llama"),
            **({"general.name": (STRING, name)} if name else {}),
            **{f"llama.{key}": (U32, size) for key, size in sizes.items()},
            "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5)}


def bpe(pre, added, name=None, merges=("t h", "th e", "Ġ the", "Ġ Ġ", "1 2", "12 3", "! !")):
    """added: texts and types of the tokens behind bytes and merges."""
    words = alphabet() + [m.replace(" ", "") for m in merges]
    types = [NORMAL] * len(words) + [t for _, t in added]
    pairs = head(name)
    pairs["tokenizer.ggml.model"] = (STRING, "gpt2")
    if pre:
        pairs["tokenizer.ggml.pre"] = (STRING, pre)
    pairs["tokenizer.ggml.tokens"] = (ARRAY, (STRING, words + [w for w, _ in added]))
    pairs["tokenizer.ggml.token_type"] = (ARRAY, (I32, types))
    pairs["tokenizer.ggml.merges"] = (ARRAY, (STRING, list(merges)))
    return pairs


def spm(added, name=None, ids=True):
    words = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256
    pieces = [MARK, "t", "h", "e", "th", "the", MARK + "the", "1", MARK + MARK]
    words += pieces + [w for w, _ in added]
    types += [NORMAL] * len(pieces) + [t for _, t in added]
    pairs = head(name)
    pairs["tokenizer.ggml.model"] = (STRING, "llama")
    pairs["tokenizer.ggml.tokens"] = (ARRAY, (STRING, words))
    pairs["tokenizer.ggml.scores"] = (ARRAY, (F32, [float(-i) for i in range(len(words))]))
    pairs["tokenizer.ggml.token_type"] = (ARRAY, (I32, types))
    if ids:
        pairs["tokenizer.ggml.bos_token_id"] = (U32, 1)
        pairs["tokenizer.ggml.eos_token_id"] = (U32, 2)
    return pairs


def gemma4():
    """Pieces with merges instead of scores."""
    pairs = spm([("ththe", NORMAL), ("\n\n", NORMAL), ("<end_of_turn>", USER), ("\t\t", USER)])
    del pairs["tokenizer.ggml.scores"]
    pairs["tokenizer.ggml.model"] = (STRING, "gemma4")
    pairs["tokenizer.ggml.merges"] = (ARRAY, (STRING, ["t h", "th e", f"{MARK} {MARK}", "th the",
                                                       f"{MARK} the", "\n \n"]))
    pairs["tokenizer.ggml.tokens"][1][1].append("\n")
    pairs["tokenizer.ggml.token_type"][1][1].append(NORMAL)
    return pairs


CHAT = [("<|im_start|>", USER), ("<|im_end|>", USER), ("</s>", NORMAL), ("<mask>", CONTROL),
        ("[MASK]", CONTROL), ("<extra>", USER)]
TURNS = [("<|user|>", CONTROL), ("<|end|>", CONTROL), ("<|endoftext|>", CONTROL)]
FILES = {
    "no-pre": bpe(None, CHAT),
    "default": bpe("default", CHAT),
    "user-defined": bpe("gpt-2", CHAT),
    "made-by-merges": bpe("gpt-2", [], merges=("< /", "</ s", "</s >", "t h")),
    "jina-v2-de": bpe("jina-v2-de", CHAT),
    "modern-bert": bpe("modern-bert", CHAT, "modern-bert"),
    "phi-3-bpe": bpe("gpt-2", [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)] + TURNS,
                     "Tiny Phi-3"),
    "phi-3": spm(TURNS, "phi3-tiny"),
    "not-phi": spm(TURNS, "phi 4"),
    "no-ids": spm([("</turn>", USER)], ids=False),
    "gemma4": gemma4(),
    "chameleon": bpe("chameleon", CHAT), "exaone-moe": bpe("exaone-moe", CHAT),
    "spark2_5": bpe("spark2_5", CHAT), "laguna": bpe("laguna", CHAT),
    "ufakzeka": bpe("ufakzeka", CHAT), "hy_v4": bpe("hy_v4", CHAT),
    "solar-open": bpe("solar-open", CHAT), "minimax-m2": bpe("minimax-m2", CHAT),
}
TEXTS = ["", "the the 1234 the!!!", "  the   the",
         "<|im_start|>the\n<|im_end|>\nthe</s> the", "\n\nthe",
         "the <mask> the  <mask>\n<mask>the", "the [MASK]the", "a<extra> b", "</s",
         "123123 \t!!\n!!",
         "<|user|>\n the<|end|>  \n<|user|> the<|endoftext|> \n<s> the</s> the",
         "</turn> the </turn>", "The the's THE'S \u00e9\u4e00 the\u0301"]


def write(folder):
    for name, pairs in FILES.items():
        out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
        for key, (kind, v) in pairs.items():
            out += text(key) + struct.pack("<I", kind) + value(kind, v)
        with open(os.path.join(folder, name + ".gguf"), "wb") as f:
            f.write(out + bytes(-len(out) % 32))
    with open(os.path.join(folder, "texts.json"), "w", encoding="utf-8") as f:
        json.dump(TEXTS, f)


def encode(path, control, wanted):
    program = os.path.join(os.environ.get("SLM_BIN", "bin"), "slm-tokenizer")
    arguments = [program, "encode", path, "-q"] + ["--control"] * control
    r = subprocess.run(arguments, input=wanted.encode(), capture_output=True)
    return [int(i) for i in r.stdout.split()] if r.returncode == 0 else r.stderr.decode()


def main():
    folder = sys.argv[-1]
    write(folder)
    if sys.argv[1] == "-w":
        return 0
    # llama.cpp finds a control token in text that merges make into it, too; here it is text then
    skipped = ("made-by-merges", True)
    failed = count = 0
    golden = os.path.join(os.path.dirname(__file__), "..", "golden", "tokenizers", "gguf.jsonl")
    with open(golden, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if (line["name"], line["control"]) == skipped:
                continue
            path = os.path.join(folder, line["name"] + ".gguf")
            for i, ids in enumerate(line["ids"]):
                count += 1
                made = encode(path, line["control"], TEXTS[i])
                if made != line["bos"] + ids:
                    failed += 1
                    print(line["name"], line["control"], repr(TEXTS[i]), made, "wanted",
                          line["bos"] + ids)
    print(f"{count} texts, {failed} failures")
    return failed != 0 or count != (2 * len(FILES) - 1) * len(TEXTS)


if __name__ == "__main__":
    sys.exit(main())
