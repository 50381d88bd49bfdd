#!/bin/sh
# Sizes of files, raw and gzipped, as a table with a total.
set -eu
printf '%-22s %9s %9s\n' file bytes gzipped
total=0 total_gz=0
for file in "$@"; do
    raw=$(wc -c <"$file")
    gz=$(gzip -9nc "$file" | wc -c)
    printf '%-22s %9d %9d\n' "$file" "$raw" "$gz"
    total=$((total + raw))
    total_gz=$((total_gz + gz))
done
printf '%-22s %9d %9d\n' total "$total" "$total_gz"
