# The database of slm-eval under odd paths, damage, locks and other programs: DB01 to DB50 of the
# malformed inputs. Faults of single calls are in tests/unit/test_eval_store.c, kills in
# eval_kill.bats, two writers and NULs in eval_run.bats and the unit test.

bats_require_minimum_version 1.5.0

setup_file() {
    export BIN="$PWD/${SLM_BIN:-bin}" ROOT="$PWD"
    [[ "${SLM_BIN:-bin}" = /* ]] && BIN="$SLM_BIN"
    export EVAL="$BIN/slm-eval"
    export MODEL="$BATS_FILE_TMPDIR/model.slm" SUITE="$BATS_FILE_TMPDIR/s.jsonl"
    "$BIN/slm-convert" evals/models/tinystories-2.6m -o "$MODEL" -q
    { echo '{"slm_suite": 1, "name": "s"}'
      for n in 1 2 3; do
          echo '{"id": "c'"$n"'", "kind": "tokenize", "text": "text '"$n"'"}'
      done; } > "$SUITE"
    export GOOD="$BATS_FILE_TMPDIR/good.db"
    "$EVAL" run "$MODEL" "$SUITE" --db "$GOOD" > "$BATS_FILE_TMPDIR/out"
}

setup() {
    mkdir "$BATS_TEST_TMPDIR/work"
    cd "$BATS_TEST_TMPDIR/work"
}

go() { # DB OPTIONS...
    local db=$1
    shift
    run --separate-stderr timeout 120 "$EVAL" run "$MODEL" "$SUITE" --db "$db" --again "$@"
    echo "exit $status, stderr: $stderr"
}

fails() { # CODE TEXT DB OPTIONS...: and the file, if there is one, keeps its bytes
    local code=$1 text=$2 sum=""
    shift 2
    [ ! -f "$1" ] || sum=$(cksum < "$1")
    go "$@"
    [ "$status" -eq "$code" ] && [[ "$stderr" == *"$text"* ]] && [ -z "$output" ]
    [ ! -f "$1" ] || [ "$(cksum < "$1")" = "$sum" ]
}

works() { # DB
    go "$1"
    [ "$status" -eq 0 ]
    [ "$(sqlite3 -cmd '.timeout 20000' "$1" 'PRAGMA integrity_check')" = ok ]
}

patch() { # FILE OFFSET HEX
    python3 - "$@" <<'END'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    f.write(bytes.fromhex(sys.argv[3]))
END
}

@test "paths that cannot be one [DB01, DB38]" {
    fails 4 "No such file" absent/r.db
    mkdir d
    fails 4 "not a regular file" d
    fails 2 "plain path" ""
    fails 2 "plain path" ":memory:"
    fails 2 "plain path" "file:r.db?mode=memory"
    [ "$(ls -A .)" = d ]
}

as_nobody() { # COMMAND...
    if [ "$(id -u)" -eq 0 ]; then
        command -v setpriv > /dev/null || skip "needs setpriv"
        setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
    else
        "$@"
    fi
}

@test "read-only file, read-only folder [DB02]" {
    local work
    work=$(mktemp -d "${TMPDIR:-/tmp}/slm-eval-XXXXXX")
    cp "$GOOD" "$MODEL" "$SUITE" "$EVAL" "$work"
    chmod 755 "$work" "$work"/*
    chmod 444 "$work/good.db"
    sum=$(cksum < "$work/good.db")
    run --separate-stderr as_nobody "$work/slm-eval" run "$work/model.slm" "$work/s.jsonl" \
        --db "$work/good.db" --again
    echo "exit $status: $stderr"
    local first=$status message=$stderr
    run --separate-stderr as_nobody "$work/slm-eval" run "$work/model.slm" "$work/s.jsonl" \
        --db "$work/new.db"
    echo "exit $status: $stderr"
    chmod 755 "$work"
    local same
    same=$(cksum < "$work/good.db")
    rm "$work"/good.db "$work"/model.slm "$work"/s.jsonl "$work"/slm-eval
    rmdir "$work"
    [ "$first" -eq 4 ] && [[ "$message" == *"Permission denied"* ]] && [ "$same" = "$sum" ]
    [ "$status" -eq 4 ]
}

@test "files that are no database; an empty one is taken [DB03]" {
    : > r.db
    works r.db
    printf 'x' > a.db && fails 3 "is not an SQLite database" a.db
    head -c 99 "$GOOD" > b.db && fails 3 "" b.db
    echo "a text file, longer than sixteen bytes" > c.db && fails 3 "is not an SQLite database" c.db
    { printf '\xff\xd8\xff\xe0\0\x10JFIF\0'; head -c 5000 "$SUITE"; } > d.db
    fails 3 "is not an SQLite database" d.db
    head -c 8192 /dev/urandom > e.db && fails 3 "is not an SQLite database" e.db
}

@test "a damaged header [DB04]" {
    for damage in "0 58" "16 0000" "16 0003" "18 03" "19 03" "21 00" "44 00000009"; do
        cp "$GOOD" r.db
        patch r.db $damage
        go r.db
        [ "$status" -eq 3 ] || [ "$status" -eq 4 ]
        [ -n "$stderr" ] && [[ "$stderr" != *"INTERNAL"* ]]
    done
}

@test "cut at every page, and between [DB05]" {
    local size
    size=$(stat -c %s "$GOOD")
    for ((at = 4096; at < size; at += 4096)); do
        for n in $at $((at + 1000)); do
            [ "$n" -lt "$size" ] || continue
            head -c "$n" "$GOOD" > r.db
            rm -f r.db-wal r.db-shm
            sum=$(cksum < r.db)
            go r.db
            [ "$status" -eq 3 ] && [ "$(cksum < r.db)" = "$sum" ]
        done
    done
}

@test "pages overwritten with noise [DB06]" {
    python3 - "$GOOD" <<'END'
import random, sys
good = open(sys.argv[1], "rb").read()
rng = random.Random(6)
for i in range(24):
    bad = bytearray(good)
    page = rng.randrange(1 if i % 2 else 0, len(good) // 4096)
    start = page * 4096 + (100 if page == 0 else 0)
    n = rng.choice([4, 64, 2000])
    at = start + rng.randrange(0, 4096 - (start % 4096) - n)
    if i % 3 == 0:
        at = start
    bad[at:at + n] = rng.randbytes(n)
    open(f"bad-{i}.db", "wb").write(bad)
END
    local refused=0
    for file in bad-*.db; do
        go "$file"
        [ "$status" -eq 0 ] || [ "$status" -eq 3 ] || [ "$status" -eq 4 ]
        [ "$status" -eq 0 ] || refused=$((refused + 1))
    done
    [ "$refused" -ge 8 ] # noise in free space harms nothing
}

@test "another program's database, and tables that only look like ours [DB07, DB09]" {
    sqlite3 a.db 'CREATE TABLE notes (x)' && fails 3 "another program" a.db
    sqlite3 b.db 'PRAGMA application_id = 99; CREATE TABLE x (y)' && fails 3 "another program" b.db
    cp "$GOOD" c.db && sqlite3 c.db 'PRAGMA application_id = 1196444487' # GeoPackage
    fails 3 "another program" c.db
    sqlite3 d.db 'CREATE TABLE results (id, x); PRAGMA user_version = 2' && fails 3 "" d.db
    cp "$GOOD" e.db && sqlite3 e.db 'ALTER TABLE models ADD COLUMN note TEXT'
    fails 3 "table models is not the one" e.db
    cp "$GOOD" f.db && sqlite3 f.db 'DROP VIEW latest; CREATE VIEW latest AS SELECT 1'
    fails 3 "view latest is not the one" f.db
    cp "$GOOD" g.db && sqlite3 g.db 'CREATE TRIGGER t AFTER INSERT ON results BEGIN
        DELETE FROM models; END'
    fails 3 "triggers" g.db
    cp "$GOOD" h.db && sqlite3 h.db 'DROP INDEX results_by_case' && fails 3 "missing" h.db
    cp "$GOOD" i.db && sqlite3 i.db 'CREATE VIEW mine AS SELECT 1; CREATE TABLE my_notes (x)'
    works i.db # what a user adds is the user's
}

@test "an older version is migrated after a copy; a newer one is refused [DB08]" {
    python3 - "$ROOT/schemas/eval.sql" <<'END'
import sqlite3, sys
first = open(sys.argv[1]).read().split("-- version 2")[0]
db = sqlite3.connect("old.db")
db.executescript(first)
db.execute("PRAGMA application_id = 0x534c4d45")
db.execute("PRAGMA user_version = 1")
db.execute("INSERT INTO models VALUES (7, ?, 'kept', 'llama', 1, 2, 'a', 'b', 'c')", ("0" * 64,))
db.commit()
END
    works old.db
    [ "$(sqlite3 old.db 'PRAGMA user_version')" = 2 ]
    [ "$(sqlite3 old.db "SELECT name FROM models WHERE id = 7")" = kept ]
    [ "$(sqlite3 old.db 'SELECT count(*) > 0 FROM latest')" = 1 ]
    [ "$(sqlite3 old.db.v1.bak 'PRAGMA user_version')" = 1 ]
    [ "$(sqlite3 old.db.v1.bak 'PRAGMA integrity_check')" = ok ]
    [ "$(sqlite3 old.db.v1.bak 'SELECT name FROM models')" = kept ]
    for version in 3 99 -1 0; do
        cp "$GOOD" new.db && sqlite3 new.db "PRAGMA user_version = $version"
        fails 3 "this slm-eval knows 1 to 2" new.db
    done
}

hold() { # DB SECONDS: an exclusive lock; returns when it is taken
    python3 - "$@" <<'END' &
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute("PRAGMA locking_mode = EXCLUSIVE")
db.execute("BEGIN EXCLUSIVE")
db.execute("UPDATE models SET name = name")
open("held", "w").close()
time.sleep(float(sys.argv[2]))
db.execute("ROLLBACK")
END
    holder=$!
    for _ in $(seq 200); do
        [ -e held ] && break
        sleep 0.05
    done
}

@test "locked for a moment: waited for; locked for long: said so [DB10, DB32]" {
    cp "$GOOD" r.db
    hold r.db 1
    works r.db
    wait "$holder"
    rm held
    hold r.db 20
    go r.db --wait 1
    [ "$status" -eq 4 ] && [[ "$stderr" == *"locked for 1 s"* ]]
    kill "$holder"
    wait "$holder" || true
    works r.db
}

@test "a reader's snapshot, VACUUM and backups during runs [DB12, DB31]" {
    cp "$GOOD" r.db
    works r.db # WAL from here on
    python3 - <<'END' &
import sqlite3, time
db = sqlite3.connect("r.db", isolation_level=None)
db.execute("BEGIN")
db.execute("SELECT count(*) FROM results").fetchall()
open("held", "w").close()
time.sleep(3)
db.execute("SELECT count(*) FROM results").fetchall()
END
    local reader=$!
    for _ in $(seq 100); do
        [ -e held ] && break
        sleep 0.05
    done
    for _ in 1 2 3; do
        works r.db
    done
    wait "$reader"
    { for _ in 1 2 3 4 5; do
          sqlite3 -cmd '.timeout 5000' r.db VACUUM
          sqlite3 -cmd '.timeout 5000' r.db '.backup copy.db'
      done; } &
    local other=$!
    works r.db
    works r.db
    wait "$other"
    [ "$(sqlite3 copy.db 'PRAGMA integrity_check')" = ok ]
    [ ! -e r.db-wal ] # the last one out has folded it in
}

leave_wal() { # makes r.db with a WAL that a killed process left: 3 results in it
    python3 - "$GOOD" <<'END'
import os, shutil, sqlite3, sys
shutil.copy(sys.argv[1], "live.db")
db = sqlite3.connect("live.db", isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA wal_autocheckpoint = 0")
for i in range(3):
    db.execute("INSERT INTO models VALUES (NULL, ?, 'wal', 'x', 1, 1, 'a', 'b', 'c')",
               (f"{i:064}",))
for name in ("", "-wal", "-shm"):
    shutil.copy("live.db" + name, "r.db" + name)
END
}

@test "a WAL that a crash left: recovered; cut or damaged: what is whole of it [DB13, DB14]" {
    leave_wal
    works r.db
    [ "$(sqlite3 r.db "SELECT count(*) FROM models WHERE name = 'wal'")" = 3 ]
    leave_wal
    rm r.db-shm
    works r.db
    [ "$(sqlite3 r.db "SELECT count(*) FROM models WHERE name = 'wal'")" = 3 ]
    leave_wal
    size=$(stat -c %s r.db-wal)
    truncate -s $((size - 100)) r.db-wal # the last frame
    rm r.db-shm
    works r.db
    [ "$(sqlite3 r.db "SELECT count(*) FROM models WHERE name = 'wal'")" -lt 3 ]
    leave_wal
    patch r.db-wal 60 ffffffff # in the first frame
    rm r.db-shm
    works r.db
    [ "$(sqlite3 r.db "SELECT count(*) FROM models WHERE name = 'wal'")" = 0 ]
    leave_wal
    head -c 32768 /dev/urandom > r.db-shm # stale
    works r.db
    [ "$(sqlite3 r.db "SELECT count(*) FROM models WHERE name = 'wal'")" = 3 ]
}

@test "a hot journal is rolled back [DB13]" {
    python3 - "$GOOD" <<'END'
import shutil, sqlite3, sys
shutil.copy(sys.argv[1], "live.db")
db = sqlite3.connect("live.db", isolation_level=None)
db.execute("PRAGMA journal_mode = DELETE")
db.execute("PRAGMA cache_size = 1")  # spill: changed pages reach the file before the commit
db.execute("BEGIN")
db.execute("UPDATE models SET name = 'half'")
for i in range(200):
    db.execute("INSERT INTO models VALUES (NULL, ?, ?, 'x', 1, 1, 'a', 'b', 'c')",
               (f"{i:064}", "y" * 1000))
for name in ("", "-journal"):
    shutil.copy("live.db" + name, "r.db" + name)
END
    [ -s r.db-journal ]
    works r.db
    [ "$(sqlite3 r.db "SELECT name FROM models")" = model.slm ]
}

@test "removed or replaced while it is in use [DB22]" {
    { echo '{"slm_suite": 1, "name": "long"}'
      for n in $(seq 3000); do
          echo '{"id": "c'"$n"'", "kind": "cloze", "prompt": "'"$n"' dogs", "continuation": " ran"}'
      done; } > long.jsonl
    "$EVAL" run "$MODEL" long.jsonl --db r.db > out 2> err &
    local runner=$! code=0
    for _ in $(seq 200); do
        [ "$(sqlite3 r.db 'SELECT count(*) > 5 FROM results' 2> /dev/null)" = 1 ] && break
        sleep 0.05
    done
    mv r.db moved.db
    wait "$runner" || code=$?
    cat err
    [ "$code" -eq 4 ] && grep -q "removed or replaced" err
}

@test "links: a symbolic one is followed, a hard one refused [DB23]" {
    mkdir d
    cp "$GOOD" d/real.db
    ln -s d/real.db link.db
    works link.db
    [ -L link.db ] && [ ! -e link.db-wal ]
    [ "$(sqlite3 d/real.db 'SELECT count(*) FROM runs')" = 2 ]
    ln d/real.db hard.db
    fails 3 "second name" hard.db
    ln -s nowhere/r.db dangling.db
    fails 4 "" dangling.db
}

@test "devices and pipes [DB24]" {
    fails 4 "not a regular file" /dev/full
    fails 4 "not a regular file" /dev/null
    mkfifo pipe
    fails 4 "not a regular file" pipe
}

@test "odd names [DB25]" {
    for name in 'a?mode=ro' 'b#c' 'd%20e' 'f g' "h'i\"j" '-k.db' $'l\xff' 'm;DROP'; do
        works "./$name"
        [ -s "$name" ]
    done
    cp "$GOOD" n.db && go n.db
    fails 4 "" "$(head -c 4096 /dev/zero | tr '\0' x)"
}

@test "SQL in ids and texts is text [DB26]" {
    { echo "{\"slm_suite\": 1, \"name\": \"'); DROP TABLE runs; --\"}"
      echo '{"id": "x'"'"'); DROP TABLE results; --", "kind": "tokenize", "text": "\"'"'"'; --"}'
    } > odd.jsonl
    run "$EVAL" run "$MODEL" odd.jsonl --db r.db
    [ "$status" -eq 0 ]
    [ "$(sqlite3 r.db 'SELECT name FROM cases')" = "x'); DROP TABLE results; --" ]
    [ "$(sqlite3 r.db 'SELECT name FROM suites')" = "'); DROP TABLE runs; --" ]
}

@test "whole numbers keep their digits; the queries of a run use indexes [DB28, DB30]" {
    { echo '{"slm_suite": 1, "name": "n"}'
      echo '{"id": "a", "kind": "generate", "prompt": "x", "max_tokens": 1, "temperature": 1,
          "seed": 9007199254740993, "checks": [{"type": "regex", "value": "."}]}' | tr '\n' ' '
    } > n.jsonl
    run "$EVAL" run "$MODEL" n.jsonl --db r.db
    [ "$(sqlite3 r.db "SELECT definition LIKE '%9007199254740993%' FROM cases")" = 1 ]
    for query in 'SELECT 1 FROM results WHERE run_id = 1 AND case_id = 1' \
        "SELECT id FROM cases WHERE sha256 = 'x'" 'SELECT 1 FROM cases WHERE suite_id = 1' \
        'SELECT * FROM results WHERE case_id = 1' "SELECT * FROM runs WHERE key = 'x'" \
        'SELECT data FROM vectors WHERE result_id = 1'; do
        sqlite3 r.db "EXPLAIN QUERY PLAN $query" | grep -q SEARCH
    done
}

@test "no temporary folder is needed [DB35, DB36]" {
    TMPDIR=/nonexistent SQLITE_TMPDIR=/nonexistent works r.db
}

@test "a full disk: the last result committed stays [DB16, DB40]" {
    local filler
    filler=$(head -c 2000 /dev/zero | tr '\0' x)
    { echo '{"slm_suite": 1, "name": "long"}'
      for n in $(seq 300); do
          echo '{"id": "c'"$n"'", "kind": "tokenize", "text": "'"$n $filler"'"}'
      done; } > long.jsonl
    local whole
    # a limit on the size of files stands in for the disk; SIGXFSZ must not end the run
    for blocks in 60 200 300 400; do
        rm -f r.db*
        run --separate-stderr bash -c "ulimit -f $blocks
            '$EVAL' run '$MODEL' long.jsonl --db r.db"
        echo "exit $status: $stderr"
        [ "$status" -eq 4 ]
        [ "$(sqlite3 r.db 'PRAGMA integrity_check')" = ok ]
        whole=$(sqlite3 r.db "SELECT count(*) FROM sqlite_schema WHERE name = 'results'")
        [ "$whole" = 0 ] || sqlite3 r.db 'SELECT count(*) FROM results'
    done
    run "$EVAL" run "$MODEL" long.jsonl --db r.db
    [ "$status" -eq 0 ]
}

@test "few descriptors: an error or a whole run [DB41]" {
    for n in 6 7 8 16; do
        rm -f r.db*
        run --separate-stderr bash -c "ulimit -n $n; exec '$EVAL' run '$MODEL' '$SUITE' --db r.db"
        [ "$status" -eq 0 ] || { [ "$status" -eq 4 ] && [[ "$stderr" == *"r.db: "* ]]; }
    done
    [ "$status" -eq 0 ]
}

@test "half a run: marked in csv and json, refused for a model card [DB43]" {
    "$EVAL" run "$MODEL" "$SUITE" --db r.db --limit 1
    [[ "$("$EVAL" export "$MODEL" --db r.db --format csv)" == *",open,"* ]]
    "$EVAL" export "$MODEL" --db r.db --format json | grep -q '"complete": false'
    run --separate-stderr "$EVAL" export "$MODEL" --db r.db --format model-index
    [ "$status" -eq 3 ] && [[ "$stderr" == *"r.db: only 1 of "*"slm-eval run again"* ]]
    [ -z "$output" ]
    "$EVAL" run "$MODEL" "$SUITE" --db r.db
    "$EVAL" export "$MODEL" --db r.db --format model-index | grep -q "verified: false"
}

@test "exports while a run is at work are of one moment [DB44]" {
    { echo '{"slm_suite": 1, "name": "long"}'
      for n in $(seq 300); do
          echo '{"id": "c'"$n"'", "kind": "cloze", "prompt": "'"$n"' dogs", "continuation": " ran"}'
      done; } > long.jsonl
    "$EVAL" run "$MODEL" long.jsonl --db r.db --limit 1
    "$EVAL" run "$MODEL" long.jsonl --db r.db &
    for _ in 1 2 3 4 5; do
        "$EVAL" export "$MODEL" --db r.db --format json > e.json
        python3 "$ROOT/tests/lib/json_query.py" 'all(m["n"] <= r["done"] <= r["cases"]
            for r in d["runs"] for m in r["metrics"])' < e.json
    done
    wait $!
}

@test "the largest row number is taken already [DB47]" {
    "$EVAL" run "$MODEL" "$SUITE" --db r.db --limit 1
    sqlite3 r.db 'UPDATE results SET id = 9223372036854775807'
    "$EVAL" run "$MODEL" "$SUITE" --db r.db
    [ "$(sqlite3 r.db 'PRAGMA integrity_check')" = ok ]
    [ "$(sqlite3 r.db 'SELECT status FROM runs')" = complete ]
}
