'use strict'

// Where the command line writes: text on standard output, progress on standard error.

class Terminal {
  constructor(out = process.stdout, err = process.stderr) {
    this.out = out
    this.err = err
    this.drawn = false
    this.told = 0
    this.reserved = 0
  }

  /** Writes text; resolves when the reader has kept up. */
  write(text) {
    if (this.out.write(text)) return undefined
    return new Promise((resolve) => this.out.once('drain', resolve))
  }

  json(value) {
    return this.write(`${JSON.stringify(value, (key, x) => (typeof x === 'bigint' ? String(x) : x))}\n`)
  }

  note(line) {
    this.clear()
    this.err.write(`${line}\n`)
  }

  /** A line that the next one takes the place of on a terminal; elsewhere a plain line, every few seconds at most. */
  progress(line) {
    if (this.err.isTTY) {
      this.err.write(`\r\x1b[K${line}`)
      this.drawn = true
    } else if (Date.now() - this.told > 5000) {
      this.err.write(`${line}\n`)
      this.told = Date.now()
    }
  }

  /** A line that stays below the text while that is written: on a terminal its last line, kept out of the scrolling. */
  status(line) {
    const { rows, columns } = this.err
    if (!(this.out.isTTY && this.err.isTTY && rows > 3)) return this.progress(line)
    if (!this.reserved) this.err.write(`\n\x1b[1A\x1b7\x1b[1;${rows - 1}r\x1b8`)
    this.reserved = rows
    this.err.write(`\x1b7\x1b[${rows};1H\x1b[2K${line.slice(0, columns - 1)}\x1b8`)
  }

  endStatus() {
    if (this.reserved) this.err.write(`\x1b7\x1b[r\x1b[${this.reserved};1H\x1b[2K\x1b8`)
    this.reserved = 0
    this.clear()
  }

  clear() {
    if (this.drawn) this.err.write('\r\x1b[K')
    this.drawn = false
  }
}

module.exports = { Terminal }
