#!/usr/bin/env bash
# Every header of the runtime and the tools compiles alone: as C, and the public one as C++ too.
set -u
cd "$(dirname "$0")/../.." || exit 2
n=0
failed=0
report() { # CODE TITLE NOTES
    n=$((n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n - $2"
    else
        failed=1
        printf '%s\n' "$3" | sed 's/^/# /'
        echo "not ok $n - $2"
    fi
}
cc=${CC:-cc}
flags='-fsyntax-only -std=c11 -Wall -Wextra -Wpedantic -Werror -Iruntime/include -Iruntime -Itools
    -D_GNU_SOURCE -Itests -Wno-unused-function -Wno-unused-variable'
for header in runtime/include/*.h runtime/*/*.h tools/lib/*.h tests/lib/*.h; do
    case $header in
    runtime/include/slm.h) continue ;; # below
    runtime/kernels/kernels.h | runtime/kernels/variants.h) ;;
    # bodies that a variant's .c completes with its vector types
    runtime/kernels/* | runtime/quant/lanes.h | runtime/quant/search.h) continue ;;
    esac
    # shellcheck disable=SC2086
    notes=$(echo "#include \"$header\"" | "$cc" $flags -I. -x c - 2>&1)
    report $? "$header" "$notes"
done
header=runtime/include/slm.h
notes=$(echo "#include \"$header\"" | "$cc" -fsyntax-only -std=c11 -Wall -Wextra -Wpedantic \
    -Werror -I. -x c - 2>&1)
report $? "$header as C11" "$notes"
if cxx=$(command -v "${CXX:-c++}"); then
    notes=$(echo "#include \"$header\"" | "$cxx" -fsyntax-only -std=c++11 -Wall -Wextra -Wpedantic \
        -Werror -I. -x c++ - 2>&1)
    report $? "$header as C++11" "$notes"
else
    n=$((n + 1))
    echo "ok $n - $header as C++11 # SKIP no C++ compiler"
fi
echo "1..$n"
exit $failed
