# packages.sh - Debian packages by need, and how to get those that are missing. Sourced by demo.sh
# and .ci/run; `need PROGRAM_OR_FILE PACKAGE REASON` notes what is not there.
# shellcheck shell=bash

missing=()
reasons=()

need() { # PROGRAM|/PATH/OF/HEADER PACKAGE REASON
    case $1 in
    /*) [ -e "$1" ] && return 0 ;;
    *) command -v "$1" >/dev/null 2>&1 && return 0 ;;
    esac
    case " ${missing[*]-} " in
    *" $2 "*) return 0 ;; # one package, two needs
    esac
    missing+=("$2")
    reasons+=("$3")
}

need_either() { # PROGRAM OTHER_PROGRAM PACKAGE REASON
    command -v "$2" >/dev/null 2>&1 || need "$1" "$3" "$4"
}

need_for_demo() {
    need "${CC:-cc}" build-essential "C compiler and linker"
    need /usr/include/jansson.h libjansson-dev "strict JSON, in slm-convert"
    need /usr/include/sqlite3.h libsqlite3-dev "evaluation results"
    need /usr/include/zlib.h zlib1g-dev "compressed members of model files"
    if [ -z "${WASI_SDK_PATH:-}" ]; then
        need_either clang-19 clang clang-19 "compiles the WebAssembly module"
        need_either wasm-ld-19 wasm-ld lld-19 "links the WebAssembly module"
    fi
    need node nodejs "runs the WebAssembly module"
}

need_for_tests() {
    need_for_demo
    need bats bats "tests of the commands"
    need python3 python3 "compares logits in tests"
    need sqlite3 sqlite3 "asks the databases of results, in tests"
    need c++ build-essential "checks that the header is good C++"
    need esbuild esbuild "makes the package's scripts small"
}

need_for_browser_test() {
    command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 ||
        need chromium chromium "runs the WebAssembly module in a browser"
    command -v firefox >/dev/null 2>&1 || need firefox-esr firefox-esr "the same in another browser"
    need npm npm "installs what drives them"
}

# What drives the browsers in tests, at the versions of the lock file, without any browser of its
# own; fails if that is not possible.
install_browser_drivers() {
    local folder=tests/web
    [ "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ] && return 0
    PUPPETEER_SKIP_DOWNLOAD=1 PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 \
        npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
}

show_missing() {
    local i
    for i in "${!missing[@]}"; do
        printf '    %-18s %s\n' "${missing[$i]}" "${reasons[$i]}"
    done
}

# Installs what is missing with apt-get; fails if that is not possible.
install_missing() {
    local sudo=()
    [ ${#missing[@]} -eq 0 ] && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "There is no apt-get here; install these by other means, then try again." >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || {
            echo "Not root, and no sudo: run as root: apt-get install ${missing[*]}" >&2
            return 1
        }
        sudo=(sudo)
    fi
    "${sudo[@]}" apt-get update -qq &&
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends "${missing[@]}" >/dev/null
}
