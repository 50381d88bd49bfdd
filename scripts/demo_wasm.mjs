/* demo_wasm.mjs - the WebAssembly module tells a story, as slm-run --echo --logits-digest does. */
import { Slm } from "../dist/slm.js";

const [path, prompt, temperature, seed, maxTokens] = process.argv.slice(2);
const model = await Slm.load(path);
const generation = model.generate(prompt, {
    temperature: Number(temperature),
    seed: BigInt(seed),
    maxTokens: Number(maxTokens),
    digest: true,
});
process.stdout.write(prompt);
for await (const piece of generation) {
    process.stdout.write(piece);
}
process.stdout.write(`\n${generation.digest}\n`);
