// models.mjs - a shape and a type -> the same synthetic model for us and for the peers, made once.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));

export const run = (command, args) =>
    execFileSync(command, args.map(String), { encoding: "utf8",
                                              stdio: ["ignore", "pipe", "inherit"] });

// Where rows are a multiple of 256 the peer gets our very weights; else a file of the same shape
// with the types that its own quantizer would have put there.
export function makeModels(work, bin, shape, type) {
    const folder = path.join(work, "models"), base = path.join(folder, `${shape}-${type}`);
    const files = { slm: `${base}.slm`, gguf: `${base}.gguf`, facts: `${base}.json` };
    if (Object.values(files).every((file) => fs.existsSync(file))) {
        return files;
    }
    fs.mkdirSync(folder, { recursive: true });
    const converted = `${base}.tmp.gguf`, template = `${base}.tmp.slm`;
    const make = (t, file) => run(`${bin}/slm-bench`, ["--synthetic", shape, "--type", t, "--force",
                                                       "--write", file]);
    make(type, files.slm);
    const same = shape.startsWith("llama") || ["Q8_0", "Q4_0", "F16"].includes(type);
    if (!same) {
        make("Q8_0", template);
    }
    run(`${bin}/slm-convert`, ["-q", same ? files.slm : template, "--to", "gguf", "--force",
                               "-o", converted]);
    const facts = JSON.parse(run(process.execPath, [path.join(here, "peer_gguf.mjs"), converted,
                                                    files.gguf, ...(same ? [] : [type])]));
    fs.rmSync(converted);
    fs.rmSync(template, { force: true });
    fs.writeFileSync(files.facts, JSON.stringify({ same_weights: same, ...facts }));
    return files;
}
