"""cut_while_read.py FILE BYTES COMMAND...: cuts FILE while the command has it open.

The file must be large enough that the command is still at work then. Exits as the command does.
"""
import glob
import os
import signal
import subprocess
import sys
import time


def is_open(pid, path):
    for link in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            if os.path.samefile(link, path):
                return True
        except OSError:
            pass  # closed meanwhile
    return False


path, size, command = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
process = subprocess.Popen(command)
seen, deadline = 0, time.monotonic() + 20
while seen < 5:  # the first looks may come upon what only finds out the kind of the file
    time.sleep(0.004)
    process.send_signal(signal.SIGSTOP)  # looking may take long where others are at work, too
    seen += is_open(process.pid, path)
    if seen == 5:
        os.truncate(path, size)
    process.send_signal(signal.SIGCONT)
    if seen < 5 and (process.poll() is not None or time.monotonic() > deadline):
        sys.exit("the command was done before the file could be cut")
sys.exit(process.wait(60))
