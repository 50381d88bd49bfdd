#!/usr/bin/env bash
# The tour: from a Hugging Face folder to a story, natively and in WebAssembly, with proof that both
# are the same. Installs what is missing and says so first; SLM_NO_INSTALL=1 only checks.
set -eu
cd "$(dirname "$0")/.."
export LC_ALL=C
# shellcheck source=scripts/packages.sh
. scripts/packages.sh

source=evals/models/tinystories-2.6m
text=evals/text/stories.txt
work=build/demo
full=$work/tinystories-bf16.slm
small=$work/tinystories-q4km.slm
prompt="once upon a time there was a little fox who"
temperature=0.5
seed=6
length=90

title() {
    printf '\n== %s\n' "$*"
}

show() { # runs a command after showing it
    local word line='$'
    for word in "$@"; do
        case $word in
        *' '*) line+=" '$word'" ;;
        *) line+=" $word" ;;
        esac
    done
    printf '%s\n' "$line"
    "$@"
}

check_packages() {
    need_for_demo
    if [ ${#missing[@]} -eq 0 ]; then
        return 0
    fi
    title "Missing on this machine (Debian packages, and what they are for)"
    show_missing
    if [ -n "${SLM_NO_INSTALL:-}" ]; then
        echo "SLM_NO_INSTALL is set: nothing was installed." >&2
        exit 1
    fi
    title "Installing them with apt-get"
    install_missing
}

measure() { # NAME FILE: perplexity and speed, as JSON
    local i
    bin/slm-eval perplexity "$2" "$text" --json >"$work/$1-eval.json"
    for i in 1 2 3 4 5; do
        head -c 600 "$text" | bin/slm-run "$2" -f - -n 60 --temp 0 --json -q >"$work/$1-run$i.json"
    done
    bin/slm-validate "$2" --json >"$work/$1-validate.json"
}

check_packages

title "Building the commands and the WebAssembly module"
make --no-print-directory -j"$(nproc)" all dist
mkdir -p "$work"

title "Converting $source: Llama, 2.6 M parameters, BF16"
show bin/slm-convert "$source" -o "$full" --force

title "Validating it"
show bin/slm-validate "$full"

title "Quantizing it"
show bin/slm-quantize "$full" "$small" --type Q4_K_M --force

title "What that costs: perplexity on $text, and speed here (median of 5)"
measure full "$full"
measure small "$small"
node scripts/demo_table.mjs "$work" full "$full" small "$small"

title "A story, natively"
show bin/slm-run "$small" -p "$prompt" --temp "$temperature" --seed "$seed" -n "$length" --echo \
    --logits-digest | tee "$work/native.txt"

title "The same story, by the WebAssembly module under Node"
show node scripts/demo_wasm.mjs "$small" "$prompt" "$temperature" "$seed" "$length" |
    tee "$work/wasm.txt"

title "Are they the same?"
tail -n +2 "$work/native.txt" >"$work/native-output.txt"
tail -n +2 "$work/wasm.txt" >"$work/wasm-output.txt"
if ! diff "$work/native-output.txt" "$work/wasm-output.txt"; then
    echo "NO: the native engine and the WebAssembly module disagree (see above)." >&2
    exit 1
fi
echo "Yes: the texts are equal, and so is the digest of all logits, bit for bit:" \
    "$(tail -n 1 "$work/wasm.txt")"

title "Your own model"
cat <<END
A folder from Hugging Face (config.json, model.safetensors, tokenizer.json), a GGUF file, or a
PyTorch or llama2.c checkpoint:

  bin/slm-convert  SOURCE -o model.slm
  bin/slm-quantize model.slm model-q4.slm --type Q4_K_M
  bin/slm-validate model-q4.slm
  bin/slm-run      model-q4.slm -p "Once upon a time"     (or --chat)

On a web page: dist/slm.js and dist/slm.wasm; README.md shows how. Then: make test
END
