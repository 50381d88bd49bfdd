#!/bin/sh
# Sizes of files, raw and gzipped, as a table; then what one visitor fetches of them.
set -eu
printf '%-32s %9s %9s\n' file bytes gzipped
for file in "$@"; do
    printf '%-32s %9d %9d\n' "$file" "$(wc -c <"$file")" "$(gzip -9nc "$file" | wc -c)"
done
printf '\na visitor fetches, gzipped\n'
grep -v '^#' runtime/web/budget.txt | while read -r limit files; do
    total=0
    [ ! -e dist/engine.js ] || files="$files engine.js load.js opfs.js" # not bundled
    for file in $files; do
        total=$((total + $(gzip -9nc "dist/$file" | wc -c)))
    done
    printf '%-32s %19d of %d\n' "$(echo "$files" | grep -o '[^ ]*wasm')" "$total" "$limit"
done
