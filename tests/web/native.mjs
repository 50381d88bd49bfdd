/* native.mjs - the commands, for comparison with the wasm module: models made by them, and what
 * slm-run says about a prompt. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const bin = process.env.SLM_BIN ?? "bin";
const checkpoint = "evals/models/tinystories-2.6m";

export function command(name, ...args) {
    return execFileSync(join(bin, name), args, { encoding: "utf8" });
}

export const bytes = (path) => readFileSync(path);

/* The ids that slm-tokenizer gives for a text. */
export function tokenize(path, text) {
    const args = ["encode", path, "--no-special"];
    const out = execFileSync(join(bin, "slm-tokenizer"), args, { encoding: "utf8", input: text });
    return out.trim().split(/\s+/).map(Number);
}

/* A folder for one test file's models; gone when the process ends. */
export const folder = mkdtempSync(join(tmpdir(), "slm-web-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const made = new Map();

/* The demo checkpoint as a .slm of a type: "f32", "f16", "bf16" converted, others quantized. */
export function model(type) {
    if (!made.has(type)) {
        const path = join(folder, `${type}.slm`);
        if (/^b?f\d+$/.test(type)) {
            command("slm-convert", checkpoint, "-o", path, "--dtype", type, "-q");
        } else {
            command("slm-quantize", model("bf16"), path, "--type", type, "-q");
        }
        made.set(type, path);
    }
    return made.get(type);
}

/* The demo checkpoint with ChatML turns. */
export function chatModel() {
    const folder_ = join(folder, "chat"), path = join(folder, "chat.slm");
    if (!made.has(path)) {
        cpSync(checkpoint, folder_, { recursive: true });
        writeFileSync(join(folder_, "chat_template.jinja"),
            "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + " +
            "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}" +
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}");
        command("slm-convert", folder_, "-o", path, "-q");
        made.set(path, path);
    }
    return path;
}

/* Text and digest that slm-run gives for a prompt. */
export function run(path, prompt, ...options) {
    const out = command("slm-run", path, "-p", prompt, "--logits-digest", "-q", ...options);
    const lines = out.split("\n");
    return { text: lines.slice(0, -2).join("\n"), digest: lines.at(-2) };
}

/* Logits of each of these ids, by slm-run. */
export function logits(path, ids, ...options) {
    const at = join(folder, "ids.i32");
    writeFileSync(at, Buffer.from(Int32Array.from(ids).buffer));
    const bytes = execFileSync(join(bin, "slm-run"), [path, "--ids", at, "--logits-out", "-", "-q",
                                                     ...options], { maxBuffer: 1 << 28 });
    return new Float32Array(Uint8Array.from(bytes).buffer);
}

/* Measures a model on one case and applies a gate on its size: writes its quality manifest. */
export function gate(path, maxBytes = 1e9) {
    const at = (name) => join(folder, name);
    writeFileSync(at("mini.jsonl"), '{"slm_suite": 1, "name": "mini"}\n' + JSON.stringify(
        { id: "a", kind: "choice", prompt: "the dog was", choices: [" big", " q"], answer: 0 }));
    writeFileSync(at("policy.json"), JSON.stringify({ slm_policy: 1, name: "p", gates: [
        { id: "size", kind: "resource", metric: "file_bytes", max: maxBytes },
        { id: "errors", kind: "limit", suite: "mini", metric: "errors", max: 0 }] }));
    command("slm-eval", "run", path, at("mini.jsonl"), "--db", at("r.db"));
    command("slm-eval", "gate", path, "--db", at("r.db"), "--policy", at("policy.json"));
}
