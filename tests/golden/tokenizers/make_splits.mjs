// Words of a hard text, as the Hugging Face tokenizers library cuts it with pre-tokenizers that
// models use and others that are merely possible. Writes splits.txt and splits.jsonl here.
//
//     npm install tokenizers@0.23.2 && node make_splits.mjs KINDS
//
// KINDS: lines of a name, 1 if GPT-2's own expression ends it, and expressions, between tabs, as
// tools/lib/gguf_pre.c has them.
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const { Tokenizer } = createRequire(`${process.cwd()}/`)('tokenizers');
const here = path.dirname(fileURLToPath(import.meta.url));

const POOLS = [
  'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '0123456789', ' ', ' ', '\n',
  '\r\t\f\v',
  '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~',
  "''''stmdSTMDlLvVrReE", 'äöüßéèñçµªºÿÆŁſKÅǅǈʰʼʕ',
  'αβγΔΩάΐᾳὼ', 'абвгдЖЩЪёҐ', 'אבגד', 'ابتث٠١٢٣۔،',
  'कखिाी्।', 'ไทยก็', '一二三漢字々〆', 'ひらがなカタカナー',
  '가각한글ㄱ', '²³¹½¼Ⅷⅳ①௧', '…。，、“”‘’—–、！？（）',
  '€£¥©®™°±×÷≤∞', '\u0301\u0308\u0323\u20dd',
  '😀🦙👍🏽\u200d\ufe0f',
  '\u00a0\u2003\u2028\u3000\u0085\u200b\ufeff', '𐐀𐐨𝒳𠀀', '\u0000\u0007\u00ad',
];
let seed = 12345;
const next = (n) => {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return Math.floor((seed / 4294967296) * n);
};
const FIXED = "I'll go; WE'RE here, it'S 3'x 'tis 'TIS don'T \n\n "
  + "  indented\n\t\ttabs   \r\n\r\nline  \n 12345 1,234,567.89 "
  + 'HTMLParser camelCase XMLHttpRequest ÄÖÜber ǅemal  naïve '
  + 'café e\u0301te\u0301 $100 (a)[b]{c} !!!\n\n/path/to//file\n// comment /'
  + ' aaa aaaa   ' + 'x'.repeat(40) + ' '.repeat(20) + '\n'.repeat(5)
  + '中文，中文。 日本語のテキスト 한국어 123一二三 end   ';
let text = FIXED;
for (let i = 0; i < 420; i++) {
  const pool = [...POOLS[next(POOLS.length)]];
  for (let k = next(4) === 0 ? 1 + next(9) : 1; k > 0; k--) {
    text += pool[next(pool.length)];
  }
}

const byteLevel = (regex) => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true,
  use_regex: regex });
const split = (Regex, behavior = 'Isolated', invert = false) => ({ type: 'Split',
  pattern: { Regex }, behavior, invert });
const sequence = (...pretokenizers) => ({ type: 'Sequence', pretokenizers });
const kinds = fs.readFileSync(process.argv[2], 'utf8').trim().split('\n').map((line) => {
  const [name, gpt2, ...splits] = line.split('\t');
  return [name, sequence(...splits.map((s) => split(s)), byteLevel(gpt2 === '1'))];
});
const more = {
  'falcon, its own': sequence({ type: 'Punctuation', behavior: 'Contiguous' }, byteLevel(true),
    { type: 'Digits', individual_digits: false }, split('[0-9][0-9][0-9]')),
  'punctuation alone': sequence({ type: 'Punctuation', behavior: 'Isolated' }, { type: 'Digits',
    individual_digits: false }, byteLevel(false)),
  'digits after bytes': sequence(byteLevel(false), { type: 'Digits', individual_digits: true }),
  'matches only': sequence(split('\\p{L}+|\\d', 'Removed', true), byteLevel(false)),
  'a text': sequence({ type: 'Split', pattern: { String: '. ' }, behavior: 'Isolated',
    invert: true }, byteLevel(false)),
  'end of line': sequence(split('\\s+$'), byteLevel(false)),
  'nested repetition': sequence(split('(?:[a-z]\\d?)+!|(ab?){2,3}|x{3}|y{2,}'), byteLevel(false)),
  'first choice': sequence(split('a|aa|aaa|[b-y]{1,2}(?=[x-z])|\\p{Han}+|\\p{Hiragana}'),
    byteLevel(false)),
  'sets in sets': sequence(split('[\\p{L}&&[^a-m]]+|[^\\s[0-9]x-z]|[\\d\\-]{2}'), byteLevel(false)),
  'folded': sequence(split('(?i:kiss|\\x{73}e|[dk])|(?i:s)'.replace('kiss', 'kis')),
    byteLevel(false)),
  'possessive': sequence(split("'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+"
    + '| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s'), byteLevel(false)),
  'possessive, nothing left': sequence(split('[a-m]++[a-z]|[n-z]?+[n-s]{2}|\\d*+\\d\\p{L}|a{2}+b'),
    byteLevel(false)),
  'complements': sequence(split('\\P{L}\\D|\\S\\S|\\p{^Lu}.'), byteLevel(false)),
};
const tokenizer = (pre_tokenizer) => Tokenizer.fromString(JSON.stringify({
  version: '1.0', truncation: null, padding: null, added_tokens: [], normalizer: null,
    pre_tokenizer,
  post_processor: null, decoder: null,
  model: { type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false, byte_fallback: false, vocab: { a: 0 }, merges: [] },
}));
const lines = [...kinds, ...Object.entries(more)].map(([name, pre]) => JSON.stringify({
  name, pre_tokenizer: pre,
  words: tokenizer(pre).getPreTokenizer().preTokenizeString(text).map(([word]) => [...word].length),
}));
fs.writeFileSync(`${here}/splits.txt`, text);
fs.writeFileSync(`${here}/splits.jsonl`, `${lines.join('\n')}\n`);
