#!/usr/bin/env bash
# What a visitor of a page fetches stays within runtime/web/budget.txt.
set -u
cd "$(dirname "$0")/../.." || exit 2
if [ -e dist/engine.js ]; then
    echo "1..0 # SKIP dist/ was made without esbuild: its scripts are longer"
    exit 0
fi
n=0
failed=0
while read -r limit files; do
    case $limit in '#' | '') continue ;; esac
    n=$((n + 1))
    total=0
    for file in $files; do
        bytes=$(gzip -9nc "dist/$file" | wc -c)
        [ "$bytes" -gt 20 ] || total=$limit # missing
        total=$((total + bytes))
    done
    verdict=ok
    if [ "$total" -gt "$limit" ]; then
        verdict="not ok"
        failed=1
    fi
    echo "$verdict $n - $files: $total of $limit bytes gzipped"
done <runtime/web/budget.txt
echo "1..$n"
exit $failed
