#!/usr/bin/env python3
"""Mean negative log-likelihood of token ids, apart from slm-eval: from logits in files alone.

perplexity.py logits LOGITS IDS N_VOCAB
    LOGITS holds one row (little-endian f32) per id; row i predicts id i + 1.
perplexity.py windows SLM_RUN MODEL IDS N_VOCAB WINDOW STRIDE [BOS]
    Cuts IDS into windows itself, and gets the logits of each from `SLM_RUN MODEL --ids`. Each
    window scores the ids that no window before it has; BOS, if given, stands in front of each.

Prints the mean in nats, the number of ids scored, and the number of windows.
"""
import array
import math
import os
import subprocess
import sys
import tempfile


def read(path, kind):
    values = array.array(kind)
    with open(path, "rb") as f:
        values.frombytes(f.read())
    if sys.byteorder == "big":
        values.byteswap()
    return values


def nll(row, target):
    top = max(row)
    return math.log(math.fsum(math.exp(x - top) for x in row)) + top - row[target]


def window_logits(run, model, ids, folder):
    ids_path, logits_path = os.path.join(folder, "ids"), os.path.join(folder, "logits")
    with open(ids_path, "wb") as f:
        f.write(b"".join(i.to_bytes(4, "little", signed=True) for i in ids))
    subprocess.run([run, model, "--kv", "f32", "--ids", ids_path, "--logits-out", logits_path],
                   check=True)
    return read(logits_path, "f")


def by_windows(run, model, ids, n_vocab, window, stride, bos):
    front = [] if bos is None else [bos]
    losses, done, begin, n_windows = [], 1 - len(front), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        while done < len(ids):
            end = min(len(ids), begin + window - len(front))
            logits = window_logits(run, model, front + list(ids[begin:end]), folder)
            for i in range(done, end):
                row = i - begin + len(front) - 1
                losses.append(nll(logits[row * n_vocab:(row + 1) * n_vocab], ids[i]))
            done, begin, n_windows = end, begin + stride, n_windows + 1
    return losses, n_windows


def main():
    mode, a = sys.argv[1], sys.argv[2:]
    if mode == "logits":
        logits, ids, n = read(a[0], "f"), read(a[1], "i"), int(a[2])
        losses = [nll(logits[i * n:(i + 1) * n], ids[i + 1]) for i in range(len(ids) - 1)]
        n_windows = 1
    else:
        bos = int(a[6]) if len(a) > 6 else None
        losses, n_windows = by_windows(a[0], a[1], read(a[2], "i"), int(a[3]), int(a[4]),
                                       int(a[5]), bos)
    print(f"{math.fsum(losses) / len(losses):.9f} {len(losses)} {n_windows}")


if __name__ == "__main__":
    main()
