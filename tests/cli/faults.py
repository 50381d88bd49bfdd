"""Runs a command again and again, failing its 0th, 1st, 2nd ... call of one kind.

    faults.py KIND FAIL_NTH.so OUTPUT[,OUTPUT...] COMMAND...

After every failure the command either did its work all the same (exit 0, the same outputs and the
same standard output as undisturbed), or said what was wrong in one line on standard error and left
with 5 (memory, map, thread) or 4 (all other kinds); then no output exists, or all of it whole (the
folder could not be synced after the rename), and nothing else was left in the folder. A crash, a
hang, a half-written file and a leftover are failures. Runs in an empty
folder of its own. Long series are thinned out after the first 300 calls.
"""
import os
import subprocess
import sys

kind, library, outputs, command = sys.argv[1], sys.argv[2], sys.argv[3].split(","), sys.argv[4:]
outputs = [name for name in outputs if name != "-"]
wanted = 5 if kind in ("memory", "map", "thread") else 4
before = sorted(os.listdir("."))


def run(at):
    env = dict(os.environ, FAIL_MARK="mark")
    if at is not None:
        env.update(LD_PRELOAD=library, FAIL_KIND=kind, FAIL_AT=str(at))
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60)
    hit = os.path.exists("mark")
    if hit:
        os.unlink("mark")
    files = {name: open(name, "rb").read() for name in os.listdir(".") if name not in before}
    for name in files:
        os.unlink(name)
    return hit, done, files


def check(at, done, files, expected):
    where = f"{kind} call {at}: exit {done.returncode}, {done.stderr!r}, left {sorted(files)}"
    if done.returncode == 0:
        assert (files, done.stdout) == expected, f"{where}: not what the undisturbed run gave"
        return
    assert done.returncode == wanted, f"{where}: exit {wanted} is due"
    assert not files or files == expected[0], f"{where}: nothing may be left"
    lines = done.stderr.decode().strip().splitlines()
    assert len(lines) == 1 and ": " in lines[0], f"{where}: one line is due"


_, done, files = run(None)
assert done.returncode == 0, done.stderr
assert sorted(files) == sorted(outputs), sorted(files)
expected = (files, done.stdout)
at = failed = runs = 0
while True:
    hit, done, files = run(at)
    if not hit:
        assert done.returncode == 0 and (files, done.stdout) == expected, done.stderr
        break
    check(at, done, files, expected)
    failed += done.returncode != 0
    runs += 1
    at += 1 if at < 300 else at // 20
print(f"{runs} of {at} {kind} calls failed: {failed} times an error, else no difference")
assert runs > 0, "this kind of call is never made"
