#!/usr/bin/env python3
"""eval_choice.py SLM_RUN SLM_TOKENIZER MODEL SUITE DATABASE: choice, computed another way.

Each option of each case is tokenized and evaluated by itself, from the first token on, with the
logits of every position written to a file; log-likelihoods, picks and accuracies are computed here
and must be those of the database: log-likelihoods to 1e-4, picks and accuracies exactly.
"""
import array
import json
import math
import sqlite3
import subprocess
import sys
import tempfile

RUN, TOKENIZER, MODEL, SUITE, DATABASE = sys.argv[1:]


def encode(text):
    out = subprocess.run([TOKENIZER, "encode", MODEL], input=text.encode(), check=True,
                         capture_output=True).stdout
    return [int(x) for x in out.split()]


def rows(ids, folder):
    with open(f"{folder}/ids", "wb") as f:
        array.array("i", ids).tofile(f)
    subprocess.run([RUN, MODEL, "--ids", f"{folder}/ids", "-n", "0", "--kv", "f32", "-q",
                    "--logits-out", f"{folder}/logits"], check=True,
                   capture_output=True)
    logits = array.array("f")
    with open(f"{folder}/logits", "rb") as f:
        logits.frombytes(f.read())
    n = len(logits) // len(ids)
    return [logits[i * n:(i + 1) * n] for i in range(len(ids))]


def log_softmax(row, target):
    top = max(row)
    return row[target] - top - math.log(math.fsum(math.exp(x - top) for x in row))


def score(case, folder):
    prompt = encode(case["prompt"])
    options = [encode(case["prompt"] + c) for c in case["choices"]]

    def shared(ids):
        n = 0
        while n < min(len(ids), len(prompt)) and ids[n] == prompt[n]:
            n += 1
        return n

    start = min(shared(ids) for ids in options)
    likelihoods = []
    for ids in options:
        logits = rows(ids, folder)
        likelihoods.append(sum(log_softmax(logits[i - 1], ids[i]) for i in range(start, len(ids))))
    weights = {"none": likelihoods,
               "token": [x / (len(ids) - start) for x, ids in zip(likelihoods, options)],
               "byte": [x / len(c.encode()) for x, c in zip(likelihoods, case["choices"])]}
    return likelihoods, {k: max(range(len(w)), key=w.__getitem__) for k, w in weights.items()}


def main():
    db = sqlite3.connect(DATABASE)
    results = {name: (status, json.loads(detail)) for name, status, detail in db.execute(
        "SELECT c.name, x.status, x.detail FROM results x JOIN cases c ON c.id = x.case_id")}
    n = compared = 0
    right = {"none": 0, "token": 0, "byte": 0}
    with open(SUITE, encoding="utf-8") as f, tempfile.TemporaryDirectory() as folder:
        for line in f:
            case = json.loads(line)
            if "kind" not in case:
                continue
            n += 1
            status, detail = results[case["id"]]
            if max(len(encode(case["prompt"] + c)) for c in case["choices"]) > 256:
                assert status == "error", case["id"]
                continue
            likelihoods, picked = score(case, folder)
            for mine, its in zip(likelihoods, detail["logprobs"]):
                assert abs(mine - its) < 1e-4, (case["id"], mine, its)
            assert picked == detail["picked"], (case["id"], picked, detail["picked"])
            compared += 1
            for k in right:
                right[k] += picked[k] == case["answer"]
    for name, k in (("accuracy", "none"), ("accuracy_per_token", "token"),
                    ("accuracy_per_byte", "byte")):
        value, = db.execute("SELECT value FROM metrics WHERE slice = '' AND name = ?",
                            (f"choice.{name}",)).fetchone()
        assert value == right[k] / n, (name, value, right[k], n)
    print(f"{compared} of {n} compared, right: {right}")
    assert compared > n / 2


main()
