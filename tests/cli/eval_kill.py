#!/usr/bin/env python3
"""eval_kill.py SLM_EVAL MODEL BASELINE N_KILLS SEED N_CASES: kill -9 at random moments of a run.

After every kill the database must be whole, and every result that was there before the kill must
still be there, in its own row, of the same attempt: none lost, none done again. When the run is
complete its figures must be those of an undisturbed run, bit for bit. Works in the current folder.
"""
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time

EVAL, MODEL, BASELINE = sys.argv[1:4]
N_KILLS, SEED, N_CASES = map(int, sys.argv[4:])
FIGURES = """SELECT r.model_name, c.name, x.status, x.passed, x.score, x.error, x.output, x.detail,
    (SELECT group_concat(name || hex(data)) FROM vectors v WHERE v.result_id = x.id)
    FROM results x JOIN cases c ON c.id = x.case_id JOIN runs r ON r.id = x.run_id ORDER BY 1, 2"""
METRICS = """SELECT r.model_name, m.slice, m.name, m.n, m.value, m.stderr, m.low, m.high
    FROM metrics m JOIN runs r ON r.id = m.run_id ORDER BY 1, 2, 3"""


def write_suite(path):
    text = "once upon a time there was a red boat on the lake. the duck wanted to swim."
    with open(path, "w", encoding="utf-8") as f:
        print(json.dumps({"slm_suite": 1, "name": "killed"}), file=f)
        for i in range(N_CASES):
            case = {"id": f"case-{i}", "tags": [f"tag-{i % 3}"]}
            if i % 10 == 0:
                case |= {"kind": "divergence", "text": f"{i} {text}", "window": 16, "stride": 8}
            elif i % 10 == 1:
                case |= {"kind": "generate", "prompt": f"{i} birds", "max_tokens": 8,
                         "temperature": 1, "seed": i, "checks": [{"type": "regex", "value": "a"}]}
            elif i % 10 == 2:
                case |= {"kind": "perplexity", "text": f"{i} {text}", "window": 16, "stride": 8}
            else:
                case |= {"kind": "choice", "prompt": f"{i} cats were very", "answer": i % 2,
                         "choices": [" happy.", " table."]}
            print(json.dumps(case), file=f)


def command(db):
    return [EVAL, "run", MODEL, "suite.jsonl", "--db", db, "--baseline", BASELINE, "--threads", "1"]


def query(db, sql):
    connection = sqlite3.connect(db, timeout=30)
    try:
        return connection.execute(sql).fetchall()
    except sqlite3.OperationalError as e:
        assert "no such table" in str(e), e  # killed before the tables were made
        return []
    finally:
        connection.close()


def rows(db):
    return set(query(db, "SELECT id, run_id, case_id, attempt_id, detail FROM results"))


def kill_once(db, rng):
    """True if the run was killed, False if it was faster."""
    process = subprocess.Popen(command(db), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(rng.uniform(0.005, 0.6))
    before = rows(db)  # committed before the kill
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    if code == -signal.SIGKILL:
        after = rows(db)
        assert before <= after, "a committed result was lost or done again"
        assert query(db, "PRAGMA integrity_check") == [("ok",)]
        assert query(db, "PRAGMA foreign_key_check") == []
        return True
    assert code == 0, process.stderr.read()
    return False


def finish(db):
    subprocess.run(command(db), check=True, stdout=subprocess.DEVNULL)
    assert query(db, "SELECT DISTINCT status FROM runs") == [("complete",)]
    assert query(db, FIGURES) == query("whole.db", FIGURES), "other results"
    assert query(db, METRICS) == query("whole.db", METRICS), "other metrics"
    return query(db, "SELECT count(DISTINCT attempt_id) FROM results")[0][0]


def main():
    rng = random.Random(SEED)
    write_suite("suite.jsonl")
    finish_whole = time.monotonic()
    subprocess.run(command("whole.db"), check=True, stdout=subprocess.DEVNULL)
    assert len(query("whole.db", FIGURES)) == N_CASES + N_CASES - N_CASES // 10
    kills, runs, attempts = 0, 0, []
    while kills < N_KILLS:
        db = f"killed-{runs}.db"
        runs += 1
        killed = True
        while killed and kills < N_KILLS:
            killed = kill_once(db, rng)
            kills += killed
        attempts.append(finish(db))
    print(f"{kills} kills in {runs} runs of {2 * N_CASES} results; processes that left results: "
          f"{attempts}; seconds {time.monotonic() - finish_whole:.0f}")
    assert sum(attempts) > runs, "no kill came between two results"


main()
