/* demo_table.mjs - the demo's JSON reports -> a table. Arguments: FOLDER, then NAME FILE pairs. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";

const [folder, ...pairs] = process.argv.slice(2);
const report = (name, kind) => JSON.parse(readFileSync(`${folder}/${name}-${kind}.json`, "utf8"));
const rows = [["file", "bytes", "bits/weight", "perplexity", "prompt tok/s", "text tok/s"]];
for (let i = 0; i < pairs.length; i += 2) {
    const validated = report(pairs[i], "validate");
    const runs = [1, 2, 3, 4, 5].map((n) => report(pairs[i], `run${n}`).stats);
    const median = (field) => runs.map((s) => s[field]).sort((a, b) => a - b)[2].toFixed(0);
    rows.push([
        basename(pairs[i + 1]),
        String(validated.bytes),
        validated.bits_per_weight.toFixed(2),
        report(pairs[i], "eval").perplexity.toFixed(3),
        median("prompt_tokens_per_second"),
        median("decode_tokens_per_second"),
    ]);
}
const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
for (const row of rows) {
    const cells = row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]));
    console.log(cells.join("  "));
}
