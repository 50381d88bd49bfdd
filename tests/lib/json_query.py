#!/usr/bin/env python3
"""json_query.py EXPRESSION < DOCUMENT: evaluates a Python expression about a JSON document, `d`.

A truth value becomes the exit code (and the document is shown if it is false); anything else is
printed as compact JSON.
"""
import json
import math
import sys

text = sys.stdin.read()
d = json.loads(text)  # fails on anything but one document
result = eval(sys.argv[1], {"d": d, "math": math})
if not isinstance(result, bool):
    print(json.dumps(result, separators=(",", ":")))
elif not result:
    print(f"not so: {sys.argv[1]}\n{text}")
    sys.exit(1)
