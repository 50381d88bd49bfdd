-- bench.sql - what slm-bench --db keeps: a row for each setting that was measured, all rows of one
-- command in one transaction. pragma application_id is 0x534c4d42 ("SLMB"), user_version 1.
-- Rates are per second; a figure that is not known is NULL.

CREATE TABLE IF NOT EXISTS results (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    version TEXT NOT NULL,
    model TEXT NOT NULL,
    synthetic TEXT,
    content_checksum TEXT NOT NULL,
    weight_bytes INTEGER NOT NULL,
    processor TEXT NOT NULL,
    cores INTEGER NOT NULL,
    load REAL,
    kernels TEXT NOT NULL,
    kv TEXT NOT NULL,
    threads INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('prefill', 'decode')),
    tokens INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    repeats INTEGER NOT NULL,
    tokens_per_second REAL NOT NULL,
    lowest REAL NOT NULL,
    highest REAL NOT NULL,
    bytes REAL,
    read_bytes REAL NOT NULL,
    macs REAL NOT NULL,
    peak_macs REAL,
    outside_matrices REAL
) STRICT;
