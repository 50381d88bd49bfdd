// Small tokenizers, one for each way to write a step that models use and some that are merely
// possible, and what the Hugging Face tokenizers library makes of hard texts. Writes small.jsonl
// here: a line is a name, a tokenizer.json, and cases of text, ids, decoded text (null: the
// library's own is not wanted, see `decoded` below).
//
//     npm install tokenizers@0.23.2 && node make_small.mjs
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const { Tokenizer } = createRequire(`${process.cwd()}/`)('tokenizers');
const here = path.dirname(fileURLToPath(import.meta.url));

// ---- Vocabularies -------------------------------------------------------------------------------

const merged = (symbols, merges) => {
  const vocab = {};
  for (const s of [...symbols, ...merges.map((m) => m.join(''))]) {
    vocab[s] ??= Object.keys(vocab).length;
  }
  return { vocab, merges };
};
// the bytes of é, U+0301 and U+2581 among them
const BYTES = merged([...'abcdexyz<>|019._ĠĊĉÃ©Ìģâĸ'], [['a', 'b'], ['b', 'c'], ['ab', 'c'],
  ['Ġ', 'a'], ['Ġa', 'b'], ['Ġ', 'Ġ'], ['0', '1'], ['01', '9'], ['x', 'y'], ['xy', 'z'], ['Ã', '©'],
  ['d', 'e'], ['a', 'y'], ['Ċ', 'Ċ']]);
const PIECES = merged([...'abcdexyz<>|019._\n▁é'], [['a', 'b'], ['b', 'c'], ['ab', 'c'], ['▁', 'a'],
  ['▁a', 'b'], ['▁', '▁'], ['▁▁', '▁▁'], ['0', '1'], ['x', 'y'], ['d', 'e'], ['a', 'y'],
  ['y', '▁']]);
const hex = [...Array(256).keys()].map((i) =>
  `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`);

// ---- Steps --------------------------------------------------------------------------------------

const bytes = (add_prefix_space = false, use_regex = true) => ({ type: 'ByteLevel',
  add_prefix_space, trim_offsets: true, use_regex });
const split = (Regex, behavior = 'Isolated', invert = false) => ({ type: 'Split',
  pattern: { Regex }, behavior, invert });
const cuts = (...pretokenizers) => ({ type: 'Sequence', pretokenizers });
const norms = (...normalizers) => ({ type: 'Sequence', normalizers });
const parts = (...decoders) => ({ type: 'Sequence', decoders });
const digits = (individual_digits) => ({ type: 'Digits', individual_digits });
const mark = (prepend_scheme, split_ = true) => ({ type: 'Metaspace', replacement: '▁',
  prepend_scheme, split: split_ });
const NFC = { type: 'NFC' };
const PREPEND = { type: 'Prepend', prepend: '▁' };
const SPACES = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
const MARKS = { type: 'Replace', pattern: { String: '▁' }, content: ' ' };
const FALLBACK = { type: 'ByteFallback' };
const FUSE = { type: 'Fuse' };
const strip = (content = ' ') => ({ type: 'Strip', content, start: 1, stop: 0 });
const template = (...names) => ({ type: 'TemplateProcessing',
  single: names.map((id) => (id === 'A' ? { Sequence: { id, type_id: 0 } }
    : { SpecialToken: { id, type_id: 0 } })), pair: [], special_tokens: Object.fromEntries(
    names.filter((n) => n !== 'A').map((id) => [id, { id, ids: [1000], tokens: [id] }])) });

const make = (base, fields, model = {}, added = []) => {
  const { vocab, merges } = structuredClone({ ...base, ...model });
  const all = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null,
    ...structuredClone(fields) };
  const added_tokens = added.map((a) => ({ id: (vocab[a.content] ??= Object.keys(vocab).length),
    single_word: false, lstrip: false, rstrip: false, normalized: false, special: false, ...a }));
  for (const step of all.post_processor?.processors ?? [all.post_processor]) {
    for (const { ids, id } of Object.values(step?.special_tokens ?? {})) {
      ids[0] = vocab[id];
    }
  }
  return { version: '1.0', truncation: null, padding: null, added_tokens, ...all,
    model: { type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null,
      end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false,
      ...model, vocab, merges } };
};
const byteLevel = (pre, more = {}, model = {}, added = []) => make(BYTES,
  { pre_tokenizer: pre, decoder: bytes(true), ...more }, model, added);
const S = { content: '<s>', special: true };
const E = { content: '</s>', special: true };
const U = { content: '<u>', special: true };
const pieces = (fields, model = {}, added = [S]) => make(PIECES, fields, model, added);

// Every combination of the flags of an added token.
const FLAGS = [...Array(16).keys()].map((i) => ({ content: `<a${'abcdexyz019._|<>'[i]}>`,
  lstrip: !!(i & 1), rstrip: !!(i & 2), single_word: !!(i & 4), special: !!(i & 8) }));
const NAMED = FLAGS.map((f, i) => ({ ...f, content: `a${f.content}`, normalized: !(i & 8),
  special: false }));
const DROPPED = { normalizer: norms(PREPEND, SPACES), decoder: parts(MARKS, FUSE, strip()) };
const UNKNOWN = { ...DROPPED, decoder: parts(MARKS, FALLBACK, FUSE, strip()) };
const falling = { vocab: { ...PIECES.vocab, ...Object.fromEntries(hex.map((h, i) =>
  [h, Object.keys(PIECES.vocab).length + i])), '<0xGG>': 300, '<0x100>': 301, '<0x-1>': 302 },
byte_fallback: true };

const TOKENIZERS = {
  'bytes': byteLevel(bytes()),
  'bytes, prefix': byteLevel(bytes(true)),
  'bytes, prefix, no words': byteLevel(bytes(true, false)),
  'bytes, no words': byteLevel(bytes(false, false)),
  'bytes, each digit': byteLevel(cuts(digits(true), bytes())),
  'bytes, prefix, then each digit': byteLevel(cuts(bytes(true), digits(true))),
  'bytes, runs of digits': byteLevel(cuts(digits(false), bytes())),
  'bytes, possessive': byteLevel(cuts(split("'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+"
    + '|\\p{N}{1,2}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+'),
    bytes(false, false))),
  'bytes, Sequences in Sequences': byteLevel(cuts(cuts(digits(true)), cuts(cuts(), bytes())),
    { normalizer: norms(), decoder: parts(parts(bytes(true))), post_processor: { type: 'Sequence',
      processors: [bytes(), { type: 'Sequence', processors: [] }] } }),
  'bytes, fused': byteLevel(bytes(), { decoder: parts(bytes(true), FUSE) }),
  'bytes, matches only': byteLevel(cuts(split('[a-d]+|\\d', 'Removed', true), bytes(false, false))),
  'bytes, whole words': byteLevel(bytes(), {}, { ignore_merges: true,
    vocab: { ...BYTES.vocab, 'Ġcab': 100, 'dd': 101 } }),
  'bytes, unknown': byteLevel(bytes(), {}, { unk_token: '<u>' }, [U]),
  'bytes, unknown, fused': byteLevel(bytes(), {}, { unk_token: '<u>', fuse_unk: true }, [U]),
  'bytes, merges that make control tokens': byteLevel(bytes(), {}, { unk_token: '<u>' }, [U,
    { content: 'ab', special: true }, { content: 'xyz', special: true }]),
  'bytes, BOS': byteLevel(bytes(), { post_processor: template('<s>', 'A') }, {}, [S]),
  'bytes, EOS': byteLevel(bytes(), { post_processor: template('A', '</s>') }, {}, [S, E]),
  'bytes, both': byteLevel(bytes(), { post_processor: { type: 'Sequence', processors: [bytes(),
    template('<s>', 'A', '</s>')] } }, {}, [S, E]),
  'bytes, added': byteLevel(bytes(), {}, {}, [...FLAGS, ...NAMED]),
  'bytes, prefix, added': byteLevel(bytes(true), {}, {}, [...FLAGS, ...NAMED]),
  'bytes, NFC, added': byteLevel(bytes(), { normalizer: norms(NFC) }, {}, [
    { content: '<e\u0301>', normalized: true }, { content: '<\u00e9\u0301>', normalized: true,
      special: true }, { content: 'e\u0301x' }, { content: 'a\u0301', normalized: true,
      special: true, lstrip: true }]),
  'bytes, added that overlap': byteLevel(bytes(), {}, {}, [{ content: '<|a|>', special: true },
    { content: '<|a|>b' }, { content: '<|a' }, { content: 'a|>', lstrip: true },
    { content: '\n', rstrip: true }, { content: '\t' }, { content: '  ', normalized: true }]),
  'bytes, added white space': byteLevel(bytes(), {}, {}, [
    { content: '\t\n', lstrip: true, rstrip: true }, { content: 'x', rstrip: true }]),
  'marks': pieces(DROPPED),
  'marks, Replace first': pieces({ ...DROPPED, normalizer: norms(SPACES, PREPEND) }),
  'marks, a space in front': pieces({ ...DROPPED, normalizer: norms(
    { type: 'Prepend', prepend: ' ' },
    { type: 'Replace', pattern: { Regex: ' ' }, content: '▁' }) }),
  'marks, NFC last': pieces({ ...DROPPED, normalizer: norms(PREPEND, SPACES, NFC) }),
  'marks, no prefix': pieces({ normalizer: SPACES, decoder: parts(MARKS, FUSE) }),
  'marks, Strip before Replace': pieces({ ...DROPPED, decoder: parts(FUSE, strip('▁'), MARKS) }),
  'marks, Gemma': pieces({ normalizer: SPACES, decoder: parts(MARKS, FUSE), pre_tokenizer: {
    type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false } }),
  'marks, falling back': pieces(UNKNOWN, falling),
  'marks, falling back, unknown': pieces(UNKNOWN, { ...falling, unk_token: '<u>' }, [U]),
  'marks, unknown': pieces(DROPPED, { unk_token: '<u>' }, [U, S]),
  'marks, unknown, fused': pieces(DROPPED, { unk_token: '<u>', fuse_unk: true }, [U, S]),
  'marks, whole text': pieces(DROPPED, { ignore_merges: true,
    vocab: { ...PIECES.vocab, '▁abcab': 100 } }),
  'marks, added': pieces({ ...DROPPED, decoder: null }, {}, [...FLAGS, ...NAMED]),
  ...Object.fromEntries(['first', 'always', 'never'].flatMap((scheme) => [true, false].map((s) => [
    `Metaspace ${scheme}${s ? '' : ', one word'}`,
    pieces({ pre_tokenizer: mark(scheme, s), decoder: parts(FALLBACK, mark(scheme, s)) })]))),
  'Metaspace, older': pieces({ pre_tokenizer: { type: 'Metaspace', replacement: '▁',
    add_prefix_space: true }, decoder: { type: 'Metaspace', replacement: '▁',
    add_prefix_space: true } }),
  'Metaspace, other decoder': pieces({ pre_tokenizer: mark('always'), decoder: mark('never') }),
  'Metaspace, added': pieces({ pre_tokenizer: mark('first', false), decoder: mark('first') }, {},
    [...FLAGS, ...NAMED]),
};

// ---- Texts --------------------------------------------------------------------------------------

const FIXED = ['', ' ', 'a', 'abc', ' abc', 'a b', 'ab  c', 'cab dd cab', 'abcab', 'e\u0301',
  'x\u0301y', 'a<s>b', '<s> <s>a</s> ', '<|a|>b <|a|> b <|a b', 'x a|> \n \n\t x',
  '<e\u0301> <\u00e9>  <é\u0301>', 'e\u0301x \u00e9x', ' a\u0301 \u00e1', '019019', 'axyb',
  'aQb xQQy', '0.1', 'QQ', '\n\n\n', 'ab\nab',
  'a▁b', "it's xy's", `${'dede'.repeat(9)}aQb0Q1字xQQy aQb`, `${'cab '.repeat(12)}QaQbQ xQy`,
  '<0xGG><0x100><0x-1><0x41>', 'a\t\n \t\n\t\nb', 'x \t\n \t\n x \t\n'];
let seed = 4;
const next = (n) => {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return Math.floor((seed / 4294967296) * n);
};
const ATOMS = [...'abcdexyz019._<>|', ' ', ' ', '  ', '\n', '\t', 'é', 'e\u0301', '\u0301', 'Q',
  '字', '\u00a0', '\u3000', 'abc', 'xyz'];
const random = (extra) => {
  let text = '';
  for (let n = 1 + next(9); n > 0; n--) {
    const from = extra.length && next(3) === 0 ? extra : ATOMS;
    text += from[next(from.length)];
  }
  return text;
};

// Without a decoder the library puts spaces between tokens; half characters become U+FFFD;
// Metaspace drops every mark of the first token, where SentencePiece drops one.
const decoded = async (reference, tokenizer, ids) => {
  const { decoder, pre_tokenizer, model } = tokenizer;
  const special = new Set(tokenizer.added_tokens.filter((a) => a.special).map((a) => a.id));
  const first = Object.keys(model.vocab).find((t) => model.vocab[t]
    === ids.find((id) => !special.has(id))) ?? '';
  const drops = pre_tokenizer?.type === 'Metaspace' && first.split('▁').length > 2;
  const text = await reference.decode(ids, true);
  return decoder && !drops && !text.includes('\ufffd') ? text : null;
};

const lines = [];
for (const [name, tokenizer] of Object.entries(TOKENIZERS)) {
  const reference = Tokenizer.fromString(JSON.stringify(tokenizer));
  const extra = tokenizer.added_tokens.map((a) => a.content);
  const around = extra.flatMap((e) => [`a${e}b`, ` ${e} \n`, `${e}${e}`, `x ${e} ${e} y`]);
  const texts = [...FIXED, ...around, ...[...Array(24)].map(() => random(extra))];
  const cases = [];
  for (const text of texts) {
    const ids = (await reference.encode(text, null, { addSpecialTokens: true })).getIds();
    cases.push([text, ids, await decoded(reference, tokenizer, ids)]);
  }
  lines.push(JSON.stringify({ name, tokenizer, cases }));
}
fs.writeFileSync(`${here}/small.jsonl`, `${lines.join('\n')}\n`);
console.log(`${lines.length} tokenizers`);
