// What llama.cpp makes of the small vocabularies of tests/cli/gguf_vocabularies.py. Writes
// gguf.jsonl here: a line is a name, whether control tokens are looked for, the ids put in front,
// the ids of each text.
//
//     npm install node-llama-cpp@3.22.1
//     python3 gguf_vocabularies.py -w FOLDER && node make_gguf.mjs FOLDER
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const entry = createRequire(`${process.cwd()}/`).resolve('node-llama-cpp');
const { getLlama } = await import(pathToFileURL(entry));
const [, , folder] = process.argv;
const here = path.dirname(fileURLToPath(import.meta.url));
const texts = JSON.parse(fs.readFileSync(`${folder}/texts.json`, 'utf8'));
const llama = await getLlama({ gpu: false, logLevel: 'error', build: 'never', skipDownload: true });
const lines = [];
for (const file of fs.readdirSync(folder).filter((f) => f.endsWith('.gguf')).sort()) {
  const modelPath = `${folder}/${file}`;
  const model = await llama.loadModel({ modelPath, vocabOnly: true, gpuLayers: 0 });
  for (const control of [false, true]) {
    lines.push(JSON.stringify({
      name: file.slice(0, -5), control,
      bos: model.tokens.shouldPrependBosToken ? [model.tokens.bos] : [],
      ids: texts.map((t) => [...model._model.tokenize(t, control)]),
    }));
  }
  await model.dispose();
}
fs.writeFileSync(`${here}/gguf.jsonl`, `${lines.join('\n')}\n`);
process.exit(0);
