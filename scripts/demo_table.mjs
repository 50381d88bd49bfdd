/* demo_table.mjs - the demo's JSON reports -> a table. Arguments: FOLDER, then NAME FILE pairs. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";

const [folder, ...pairs] = process.argv.slice(2);
const report = (name, kind) => JSON.parse(readFileSync(`${folder}/${name}-${kind}.json`, "utf8"));
const rows = [["file", "bytes", "bits/weight", "perplexity", "prompt tok/s", "text tok/s"]];
for (let i = 0; i < pairs.length; i += 2) {
    const validated = report(pairs[i], "validate");
    const { stats } = report(pairs[i], "run");
    rows.push([
        basename(pairs[i + 1]),
        String(validated.bytes),
        validated.bits_per_weight.toFixed(2),
        report(pairs[i], "eval").perplexity.toFixed(3),
        stats.prompt_tokens_per_second.toFixed(0),
        stats.decode_tokens_per_second.toFixed(0),
    ]);
}
const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
for (const row of rows) {
    const cells = row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]));
    console.log(cells.join("  "));
}
