'use strict'

// Writes test/c/pretokenizer_cases.h: what the published expressions of pre-tokenizers make of awkward texts, by
// JavaScript's own regular expressions. White space is \p{White_Space}, as in the reference tokenizers, and 'ſ
// folds to 's.
//
//   node test/golden/pretokenizers.js > test/c/pretokenizer_cases.h
//   node test/golden/pretokenizers.js RANDOM-TEXTS SEED     as lines of JSON: [name, text, [piece, ...]]
//
// As a module it exports split(name, text), which gives the pieces, and PRETOKENIZERS.

const S = '\\p{White_Space}'
const NOT_S = '\\P{White_Space}'
const FOLDED = "'[sSſ]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
const SPACES = `${S}+(?!${NOT_S})|${S}+`
const NEWLINES = `${S}*[\\r\\n]+|${SPACES}`
const PREFIX = '[^\\r\\n\\p{L}\\p{N}]?'
const UPPER = '[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]'
const LOWER = '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'

// Letters with case, as DeepSeek's expression lists them.
const CASED =
  '\\u{41}-\\u{5a}\\u{61}-\\u{7a}\\u{b5}\\u{c0}-\\u{d6}\\u{d8}-\\u{f6}\\u{f8}-\\u{1ba}\\u{1bc}-\\u{1bf}\\u{1c4}-\\u{293}' +
  '\\u{295}-\\u{2af}\\u{370}-\\u{373}\\u{376}\\u{377}\\u{37b}-\\u{37d}\\u{37f}\\u{386}\\u{388}-\\u{38a}\\u{38c}' +
  '\\u{38e}-\\u{3a1}\\u{3a3}-\\u{3f5}\\u{3f7}-\\u{481}\\u{48a}-\\u{52f}\\u{531}-\\u{556}\\u{10a0}-\\u{10c5}' +
  '\\u{13a0}-\\u{13f5}\\u{13f8}-\\u{13fd}\\u{1c90}-\\u{1cba}\\u{1cbd}-\\u{1cbf}\\u{1d00}-\\u{1d2b}\\u{1d6b}-\\u{1d77}' +
  '\\u{1d79}-\\u{1d9a}\\u{1e00}-\\u{1f15}\\u{1f18}-\\u{1f1d}\\u{1f20}-\\u{1f45}\\u{1f48}-\\u{1f4d}\\u{1f50}-\\u{1f57}' +
  '\\u{1f59}\\u{1f5b}\\u{1f5d}\\u{1f5f}-\\u{1f7d}\\u{1f80}-\\u{1fb4}\\u{1fb6}-\\u{1fbc}\\u{1fbe}\\u{1fc2}-\\u{1fc4}' +
  '\\u{1fc6}-\\u{1fcc}\\u{1fd0}-\\u{1fd3}\\u{1fd6}-\\u{1fdb}\\u{1fe0}-\\u{1fec}\\u{1ff2}-\\u{1ff4}\\u{1ff6}-\\u{1ffc}' +
  '\\u{2102}\\u{2107}\\u{210a}-\\u{2113}\\u{2115}\\u{2119}-\\u{211d}\\u{2124}\\u{2126}\\u{2128}\\u{212a}-\\u{212d}' +
  '\\u{212f}-\\u{2134}\\u{2139}\\u{213c}-\\u{213f}\\u{2145}-\\u{2149}\\u{214e}\\u{2183}\\u{2184}\\u{2c00}-\\u{2c7b}' +
  '\\u{2c7e}-\\u{2ce4}\\u{2ceb}-\\u{2cee}\\u{2cf2}\\u{2cf3}\\u{a640}-\\u{a66d}\\u{a680}-\\u{a69b}\\u{a722}-\\u{a76f}' +
  '\\u{a771}-\\u{a787}\\u{a78b}-\\u{a78e}\\u{ab70}-\\u{abbf}\\u{fb00}-\\u{fb06}\\u{fb13}-\\u{fb17}\\u{ff21}-\\u{ff3a}' +
  '\\u{ff41}-\\u{ff5a}\\u{10400}-\\u{1044f}\\u{104b0}-\\u{104d3}\\u{104d8}-\\u{104fb}\\u{10c80}-\\u{10cb2}' +
  '\\u{10cc0}-\\u{10cf2}\\u{118a0}-\\u{118df}\\u{1e900}-\\u{1e943}'

// What UTS #18 takes for a character of a word: where it follows a digit, there is no \b.
const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]'

const gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${S}\\p{L}\\p{N}]+|${SPACES}`
const gpt4 = (digits) => `(?:${FOLDED})|${PREFIX}\\p{L}+|\\p{N}${digits}| ?[^${S}\\p{L}\\p{N}]+[\\r\\n]*|${NEWLINES}`
const cased = (upper, lower, suffix, digits, tail) =>
  `${PREFIX}${upper}*${lower}+${suffix}|${PREFIX}${upper}+${lower}*${suffix}|` +
  `\\p{N}${digits}| ?[^${S}\\p{L}\\p{N}]+[${tail}]*|${NEWLINES}`
const gpt4o = (suffix, digits) => cased(UPPER, LOWER, suffix, digits, '\\r\\n/')
const NOT_HAN = '(?!\\p{Script=Han})'
const bloom = ` ?[^(${S}|.,!?\\u{2026}\\u{3002}\\u{ff0c}\\u{3001}\\u{964}\\u{6d4}\\u{60c})]+`
const marked =
  '[!-\\/:-@\\[-`\\{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|' + NEWLINES

// By name, the expressions that are applied one after another to the pieces that the one before left.
const PRETOKENIZERS = {
  'gpt-2': [gpt2],
  'llama-bpe': [gpt4('{1,3}')],
  qwen2: [gpt4('')],
  qwen35: [`(?:${FOLDED})|${PREFIX}[\\p{L}\\p{M}]+|\\p{N}| ?[^${S}\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${NEWLINES}`],
  'seed-coder': [`(?:${FOLDED})|${PREFIX}\\p{L}+|\\p{N}| ?[^${S}\\p{L}\\p{N}\\r\\n]+|${NEWLINES}`],
  minicpm5: ['\\p{N}{1,3}', gpt4('+')],
  'gpt-4o': [gpt4o(`(?:${FOLDED})?`, '{1,3}')],
  tiny_aya: [`\\p{Nd}{1,3}(?=(?:\\p{Nd}{3})*(?!${WORD}))`, gpt4o(`(?:${FOLDED})?`, '{1,3}')],
  'kimi-k2': [
    '\\p{Script=Han}+|' + cased(`(?:${NOT_HAN}${UPPER})`, `(?:${NOT_HAN}${LOWER})`, `(?:${FOLDED})?`, '{1,3}', '\\r\\n'),
  ],
  youtu: [
    '[\\u{ac00}-\\u{d7a3}\\u{3131}-\\u{318e}]+|[\\u{ff01}\\u{2026}\\u{201c}\\u{201d}\\u{2018}\\u{2019}\\u{2014}\\u{ff1a}\\u{ff1b}\\u{ff0c}\\u{3001}-\\u{303f}\\u{fe30}-\\u{fe4f}]+|' +
      '[\\u{3105}-\\u{312f}]+|[\\u{4e00}-\\u{9fa5}\\u{3040}-\\u{309f}\\u{30a0}-\\u{30ff}]+',
    gpt4o(`(?:${FOLDED})?`, ''),
  ],
  tekken: [gpt4o('', '')],
  starcoder: ['\\p{N}', gpt2],
  ufakzeka: [`${PREFIX}\\p{L}+|\\p{N}| ?[^${S}\\p{L}\\p{N}]+[\\r\\n]*|${NEWLINES}`],
  laguna: ['[^\\n]+|[\\n]+', gpt4('')],
  'exaone-moe': [
    `(?:${FOLDED})|${PREFIX}(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^${S}\\p{L}\\p{N}]+[\\r\\n/]?|${S}*[\\r\\n]|${SPACES}`,
  ],
  'jais-2': [
    `(?:${FOLDED})|${PREFIX}\\p{L}+|\\p{N}{1,3}| ?[^${S}\\p{L}\\p{N}]+[\\r\\n]*|${S}*[\\r\\n]+|` +
      [512, 256, 128, 64, 32, 16, 8, 4, '1,2'].map((n) => `${S}{${n}}(?!${NOT_S})|`).join('') + S,
  ],
  bloom: [bloom],
  viking: [bloom, '\\p{N}'],
  superbpe: ['\\p{N}+', '(?=(\\p{Nd}{3})+(?!\\p{Nd}))'],
  'deepseek-llm': [
    '[\\r\\n]', `${S}?[${CASED}]+`, `${S}?[!-/:-~\\u{ff01}-\\u{ff0f}\\u{ff1a}-\\u{ff5e}\\u{2018}-\\u{201f}\\u{3000}-\\u{3002}]+`, `${S}+$`,
    '[\\u{800}-\\u{9fa5}\\u{ac00}-\\u{d7ff}]+', '\\p{N}+',
  ],
  'deepseek-coder': ['[\\r\\n]', `${S}?\\p{L}+`, `${S}?\\p{P}+`, '[\\u{800}-\\u{9fa5}\\u{ac00}-\\u{d7ff}]+', '\\p{N}'],
  'deepseek-v3': [
    '\\p{N}{1,3}', '[\\u{4e00}-\\u{9fa5}\\u{3040}-\\u{30ff}]+',
    marked,
  ],
  spark2_5: [
    '\\p{N}{1,3}', '[\\u{4e00}-\\u{9fa5}\\u{3040}-\\u{30ff}]+',
    `[!-\\/:-@\\[-\`\\{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\\r\\n]|${SPACES}`, '\\p{N}',
  ],
  falcon: ['[\\p{P}\\$\\+<=>\\^~\\|`]+', gpt2, '[0-9][0-9][0-9]'],
  default: ['[\\p{P}\\$\\+<=>\\^~\\|]+', gpt2, '\\p{N}+', '[0-9][0-9][0-9]'],
}

const TEXTS = [
  "I'LL we'Ve it'S 'ſ 're's'd 'tis o'clock DON'T",
  'tab\t\ttab \t mixed\r\n\r\n\n  \r x  \n\n y   ',
  'numbers 1 12 123 1234567 ٣٤ ½² x9y 3.14 1,000',
  'camelCase HTTPServer ǅungla ʰello 中文ABCabc アAAa IPhone\'S',
  'e\u0301a\u0300 \u0301\u0301x \u0301ABC \u03019 !\u0301',
  'a\u00a0b\u3000c\u2003\u2003d\u0085e\u200bf\ufeffg',
  '--==**// path/to/file.txt (x) [y];\n\n}\n/ #!$+`~|^<>',
  '  leading,   inner   and trailing  ',
  '日本語カタカナ中文abc。（x）【y】 한국어 Äpfel ßẞ ǅ ა Ა ‘q’ \u3000z  ',
  '\u0001\u0002\u0301 .call(x) _name $var 12345 \u0001a\ue000\u0378  \t \n  x',
  '😀👩‍👩‍👧 flags🇩🇪 ☃️\ue000\u0378',
  '1234567 12345 12_1234x 123½1234 1234½ 12345٣٤٥\u200dⅧ 1000',
  ' ⺀⺁x 々中〇1〇 A々b 中Ab 한글ㄱ！…“q”、ㄅㄆ⺀ ﹏ไทย။ Ünïcode оХ',
  'one two  three e\u0301 four. (a|b) x, y!? ।۔ z…//\n/ \u2008\u2028q \u200d\u0301w',
  // Where llama.cpp's hand-made expressions and Unicode tables cut otherwise (bench/tokenizers.md):
  "\u0316's жAb \u0627\u0612 \u2428 \u2429's \u{1f777} camelCaseЖж 々x \u2008",
  `a${' '.repeat(7)}b${' '.repeat(16)}c${' '.repeat(3)}\n${' '.repeat(9)}`,
]

function split(name, text) {
  let pieces = [text]
  for (const expression of PRETOKENIZERS[name]) {
    const cut = []
    for (const piece of pieces) {
      let at = 0
      for (const match of piece.matchAll(new RegExp(expression, 'gu'))) {
        if (match.index > at) cut.push(piece.slice(at, match.index))
        if (match[0] !== '') cut.push(match[0])
        at = match.index + match[0].length
      }
      if (at < piece.length) cut.push(piece.slice(at))
    }
    pieces = cut
  }
  return pieces
}

// Octal escapes end after three digits, so that what follows them cannot join.
const isPlain = (byte) => byte >= 0x20 && byte < 0x7f && !'"\\?'.includes(String.fromCharCode(byte))
const octal = (byte) => `\\${byte.toString(8).padStart(3, '0')}`
const literal = (text) =>
  `"${Array.from(Buffer.from(text), (byte) => (isPlain(byte) ? String.fromCharCode(byte) : octal(byte))).join('')}"`

function printCases() {
  console.log('// Generated by test/golden/pretokenizers.js: not to be edited by hand.')
  console.log('// {name, text, lengths of its pieces in bytes}')
  for (const name of Object.keys(PRETOKENIZERS)) {
    for (const text of TEXTS) {
      const lengths = split(name, text).map((piece) => Buffer.byteLength(piece))
      console.log(`{"${name}", ${literal(text)},\n {${lengths.join(', ')}}},`)
    }
  }
}

function printRandom(n, seed) {
  const parts = [...new Set(TEXTS.join('')), "'s", "'Ve", "'LL", '  ', '\r\n', '123']
  let state = seed >>> 0
  const random = (limit) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 8) % limit
  }
  for (let i = 0; i < n; i++) {
    const text = Array.from({ length: 1 + random(14) }, () => parts[random(parts.length)]).join('')
    for (const name of Object.keys(PRETOKENIZERS)) console.log(JSON.stringify([name, text, split(name, text)]))
  }
}

if (require.main !== module) module.exports = { PRETOKENIZERS, split }
else if (process.argv.length > 2) printRandom(Number(process.argv[2]), Number(process.argv[3]))
else printCases()
