'use strict'

// Prepares a book for training: `node tools/demo-model/text.js train|held-out [--joined] BOOK.txt > OUT.txt`
//
// The book is cut at its chapters; their headings go, the lines of a paragraph are joined, a line break ends a paragraph.
// Every HELD_OUT_EVERY-th chapter is held out: it is never trained on. Chapters are separated by a form feed, or with
// --joined by a line break, as `chord perplexity` wants it.

const fs = require('node:fs')

const HELD_OUT_EVERY = 40
const HELD_OUT_FROM = 20

const HEADING = /^(CHAPTER [IVXLC]+|BOOK [A-Z]+: .*|(FIRST|SECOND) EPILOGUE: .*)$/

function chapters(book) {
  const all = [[]]
  for (const line of book.split(/\r?\n/)) {
    if (HEADING.test(line.trim())) all.push([])
    else all.at(-1).push(line)
  }
  return all.map(paragraphs).filter((chapter) => chapter !== '')
}

function paragraphs(lines) {
  return lines
    .join('\n')
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.split(/\s+/).filter(Boolean).join(' '))
    .filter(Boolean)
    .map((paragraph) => paragraph + '\n')
    .join('')
}

function isHeldOut(index) {
  return index % HELD_OUT_EVERY === HELD_OUT_FROM
}

function main() {
  const args = process.argv.slice(2).filter((arg) => arg !== '--joined')
  const [part, path] = args
  if (args.length !== 2 || !['train', 'held-out'].includes(part)) {
    console.error('usage: node tools/demo-model/text.js train|held-out [--joined] BOOK.txt > OUT.txt')
    process.exitCode = 2
    return
  }
  const wanted = chapters(fs.readFileSync(path, 'utf8')).filter((_, index) => isHeldOut(index) === (part === 'held-out'))
  process.stdout.write(wanted.join(process.argv.includes('--joined') ? '' : '\f'))
}

main()
