-- eval.sql - what slm-eval keeps of its measurements, for programs and for people who type
--     sqlite3 results.db 'select * from latest'
--
-- One file, any number of models, suites and runs. A run is one model on one suite under one set of
-- settings; each of its cases is one row of results, committed by itself. Rows are ordered by id,
-- never by clock. Text is UTF-8; hashes are lower-case hexadecimal text; *_at are seconds since
-- 1970 in UTC, for people only; a figure that could not be had is NULL with a reason beside it,
-- never NaN. pragma application_id is 0x534c4d45 ("SLME"), pragma user_version the version below.
--
-- A line "-- version N" begins the statements that lead from version N - 1 to version N. Statements
-- of a version that was released never change; a new version is appended.

-- version 1

CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE CHECK (length(sha256) = 64), -- of the file
    name TEXT NOT NULL,               -- the file's when first seen, without folders
    architecture TEXT NOT NULL,
    n_parameters INTEGER NOT NULL,
    bytes INTEGER NOT NULL,           -- of the file
    content_checksum TEXT NOT NULL,   -- of the tensor data; 16 digits, as slm-validate has
    layout_checksum TEXT NOT NULL,
    tokenizer_checksum TEXT NOT NULL
) STRICT;

CREATE TABLE suites (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE CHECK (length(sha256) = 64), -- over the cases', by name
    name TEXT NOT NULL,               -- one name, as many rows as it has had contents
    description TEXT NOT NULL,
    n_cases INTEGER NOT NULL
) STRICT;

CREATE TABLE cases (
    id INTEGER PRIMARY KEY,
    suite_id INTEGER NOT NULL REFERENCES suites (id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,         -- place in the file, from 0
    name TEXT NOT NULL,               -- the "id" of the suite's line
    kind TEXT NOT NULL CHECK (kind IN ('generate', 'choice', 'cloze', 'perplexity',
                                       'divergence', 'tokenize')),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64), -- of definition and file
    tags TEXT NOT NULL,               -- JSON array: the slices that the case counts in
    definition TEXT NOT NULL,         -- JSON, keys sorted
    UNIQUE (suite_id, name)
) STRICT;
CREATE INDEX cases_by_content ON cases (sha256);

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL CHECK (length(key) = 64), -- over all that changes figures
    repeat INTEGER NOT NULL,          -- 0; counts up with run --again
    model_id INTEGER NOT NULL REFERENCES models (id),
    model_name TEXT NOT NULL,         -- the file's in this run
    suite_id INTEGER NOT NULL REFERENCES suites (id),
    baseline_id INTEGER REFERENCES models (id),
    logits_digest TEXT NOT NULL,      -- of some fixed token ids, as this build computes them
    baseline_digest TEXT,             -- the same of the baseline
    settings TEXT NOT NULL,           -- JSON: kv, context
    tool_version TEXT NOT NULL,
    scorers INTEGER NOT NULL,         -- version of the rules by which cases are scored
    n_cases INTEGER NOT NULL,         -- to do: divergence only with a baseline
    status TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'complete')),
    created_at INTEGER NOT NULL,
    UNIQUE (key, repeat)
) STRICT;
CREATE INDEX runs_by_model ON runs (model_id, suite_id);
CREATE INDEX runs_by_suite ON runs (suite_id, model_name);

-- Who did it: one process at work on a run. Nothing in here changes a figure.
CREATE TABLE attempts (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    threads INTEGER NOT NULL,
    kernels TEXT NOT NULL,
    shard TEXT NOT NULL,              -- '1/1'
    started_at INTEGER NOT NULL,
    ended_at INTEGER,                 -- NULL: at work, or killed
    seconds REAL,
    peak_bytes INTEGER                -- largest resident memory of the process
) STRICT;
CREATE INDEX attempts_by_run ON attempts (run_id);

CREATE TABLE results (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    case_id INTEGER NOT NULL REFERENCES cases (id),
    attempt_id INTEGER REFERENCES attempts (id) ON DELETE SET NULL,
    source_id INTEGER REFERENCES results (id) ON DELETE SET NULL, -- from an earlier run
    status TEXT NOT NULL CHECK (status IN ('ok', 'error')),
    passed INTEGER CHECK (passed IN (0, 1)), -- NULL: the kind has no verdict; an error has 0
    score REAL,                       -- what means are paired on: see tools/lib/eval_store.h
    error TEXT,                       -- why, if status is 'error'
    output ANY,                       -- what the model wrote: text, or a blob if not UTF-8
    detail TEXT NOT NULL,             -- JSON, by kind
    n_tokens INTEGER NOT NULL,        -- evaluated
    seconds REAL NOT NULL,            -- volatile
    UNIQUE (run_id, case_id)
) STRICT;
CREATE INDEX results_by_case ON results (case_id);

-- One figure per token, for quantiles and paired tests: little-endian f64.
CREATE TABLE vectors (
    result_id INTEGER NOT NULL REFERENCES results (id) ON DELETE CASCADE,
    name TEXT NOT NULL CHECK (name IN ('nll', 'kl', 'nll_difference')),
    n INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (result_id, name)
) STRICT, WITHOUT ROWID;

-- What results come to; written anew whenever a process ends its work on a run.
CREATE TABLE metrics (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    slice TEXT NOT NULL,              -- a tag; '' for all cases
    name TEXT NOT NULL,               -- "choice.accuracy", ...
    n INTEGER NOT NULL,               -- cases or tokens that it is over
    value REAL,                       -- NULL: not defined, such as infinity
    stderr REAL,
    low REAL,                         -- 95 % interval
    high REAL,
    higher_is_better INTEGER NOT NULL CHECK (higher_is_better IN (0, 1)),
    PRIMARY KEY (run_id, slice, name)
) STRICT, WITHOUT ROWID;

-- Verdicts: the rows of one `slm-eval gate` share a decision.
CREATE TABLE gates (
    id INTEGER PRIMARY KEY,
    decision INTEGER NOT NULL,
    model_id INTEGER NOT NULL REFERENCES models (id),
    baseline_id INTEGER REFERENCES models (id),
    policy_name TEXT NOT NULL,
    policy_sha256 TEXT NOT NULL CHECK (length(policy_sha256) = 64),
    gate TEXT NOT NULL,               -- the policy's name for it
    kind TEXT NOT NULL,
    suite TEXT NOT NULL,              -- '' for gates on the model itself
    metric TEXT NOT NULL,
    slice TEXT NOT NULL,
    operator TEXT NOT NULL,
    threshold REAL,
    observed REAL,
    n INTEGER NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('passed', 'failed', 'inconclusive')),
    reason TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (decision, gate)
) STRICT;
CREATE INDEX gates_by_model ON gates (model_id);

-- version 2: views for people

-- The newest run of each model name on each suite name.
CREATE VIEW newest_runs AS
SELECT s.name AS suite, r.model_name AS model, max(r.id) AS run_id
FROM runs r JOIN suites s ON s.id = r.suite_id
GROUP BY s.name, r.model_name;

-- How good is each model now?
CREATE VIEW latest AS
SELECT w.suite, w.model, w.run_id AS run, r.status, m.name AS metric, m.n,
    round(m.value, 6) AS value, round(m.stderr, 6) AS stderr, round(m.low, 6) AS low,
    round(m.high, 6) AS high
FROM newest_runs w JOIN runs r ON r.id = w.run_id
JOIN metrics m ON m.run_id = w.run_id AND m.slice = ''
ORDER BY w.suite, w.model, m.name;

-- Each newest run beside the newest one before it of the same name, and beside its baseline's.
CREATE VIEW compared_runs AS
SELECT w.suite, w.model, 'previous' AS against, w.run_id AS after_run, (
        SELECT max(b.id) FROM runs b JOIN suites s ON s.id = b.suite_id
        WHERE s.name = w.suite AND b.model_name = w.model AND b.id < w.run_id) AS before_run
FROM newest_runs w
UNION ALL
SELECT w.suite, w.model, 'baseline', w.run_id, (
        SELECT max(b.id) FROM runs b JOIN suites s ON s.id = b.suite_id
        WHERE s.name = w.suite AND b.model_id = r.baseline_id)
FROM newest_runs w JOIN runs r ON r.id = w.run_id
WHERE r.baseline_id IS NOT NULL AND r.baseline_id <> r.model_id;

-- Which unchanged cases passed before and fail now?
CREATE VIEW regressions AS
SELECT p.suite, c.name AS case_name, p.model, p.against, p.before_run, p.after_run,
    b.output AS before_output, coalesce(a.error, a.output) AS after_output
FROM compared_runs p
JOIN results b ON b.run_id = p.before_run AND b.passed = 1
JOIN cases c ON c.id = b.case_id
JOIN runs ra ON ra.id = p.after_run
JOIN cases d ON d.suite_id = ra.suite_id AND d.name = c.name AND d.sha256 = c.sha256
JOIN results a ON a.run_id = p.after_run AND a.case_id = d.id AND a.passed = 0
ORDER BY p.suite, c.name;

-- Which figures moved?
CREATE VIEW changes AS
SELECT p.suite, p.model, p.against, a.name AS metric, b.value AS before, a.value AS after,
    a.value - b.value AS difference,
    CASE WHEN a.value = b.value THEN 'same'
        WHEN (a.value > b.value) = a.higher_is_better THEN 'better'
        ELSE 'worse' END AS verdict
FROM compared_runs p
JOIN metrics b ON b.run_id = p.before_run AND b.slice = ''
JOIN metrics a ON a.run_id = p.after_run AND a.slice = '' AND a.name = b.name
ORDER BY p.suite, p.model, p.against, a.name;

-- What has become of each case, run by run?
CREATE VIEW case_history AS
SELECT s.name AS suite, c.name AS case_name, r.id AS run, r.model_name AS model, c.kind,
    x.passed, x.score, coalesce(x.error, x.output) AS output,
    CASE lag(c.sha256) OVER before WHEN c.sha256 THEN
            CASE WHEN lag(x.passed) OVER before IS x.passed THEN
                    CASE WHEN lag(x.output) OVER before IS x.output
                        AND lag(x.score) OVER before IS x.score THEN 'same' ELSE 'moved' END
                WHEN x.passed = 1 THEN 'fixed' ELSE 'broken' END
        ELSE 'new' END AS change
FROM results x
JOIN cases c ON c.id = x.case_id
JOIN runs r ON r.id = x.run_id
JOIN suites s ON s.id = r.suite_id
WINDOW before AS (PARTITION BY s.name, c.name, r.model_name ORDER BY r.id)
ORDER BY s.name, c.name, r.id;

-- Which model is best? Complete runs on the newest content of each suite, the newest of each model.
CREATE VIEW leaderboard AS
SELECT s.name AS suite, m.name AS metric,
    rank() OVER (PARTITION BY s.id, m.name
        ORDER BY CASE m.higher_is_better WHEN 1 THEN -m.value ELSE m.value END) AS place,
    r.model_name AS model, round(m.value, 6) AS value, round(m.low, 6) AS low,
    round(m.high, 6) AS high, m.n, d.bytes
FROM runs r
JOIN suites s ON s.id = r.suite_id
JOIN models d ON d.id = r.model_id
JOIN metrics m ON m.run_id = r.id AND m.slice = '' AND m.value IS NOT NULL
WHERE r.status = 'complete'
    AND s.id = (SELECT q.suite_id FROM runs q JOIN suites t ON t.id = q.suite_id
        WHERE t.name = s.name ORDER BY q.id DESC LIMIT 1)
    AND r.id = (SELECT max(q.id) FROM runs q WHERE q.model_id = r.model_id
        AND q.suite_id = r.suite_id AND q.status = 'complete')
ORDER BY s.name, m.name, place, r.model_name;
