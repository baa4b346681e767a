'use strict'

// Finds and loads the compiled addon: the only file that knows where it lies.
//   1. the file that the environment variable CHORD_BINDING names
//   2. prebuilds/<platform>-<arch>/chord.node
//   3. build/Release/chord.node, build/Debug/chord.node

const fs = require('node:fs')
const path = require('node:path')
const { ChordError } = require('./errors.js')

const root = path.resolve(__dirname, '..')

function find() {
  if (process.env.CHORD_BINDING) return path.resolve(process.env.CHORD_BINDING)
  const places = [
    path.join('prebuilds', `${process.platform}-${process.arch}`, 'chord.node'),
    path.join('build', 'Release', 'chord.node'),
    path.join('build', 'Debug', 'chord.node'),
  ]
  const place = places.find((file) => fs.existsSync(path.join(root, file)))
  if (place) return path.join(root, place)
  throw new ChordError(
    `the addon of chord is not built for ${process.platform}-${process.arch}: run \`npm run build\` in ${root} ` +
      `(looked for ${places.join(', ')})`,
    { code: 'BINDING_NOT_FOUND' },
  )
}

function load() {
  const file = find()
  try {
    return require(file)
  } catch (error) {
    throw new ChordError(
      `${file} can't be loaded (${error.message}): if it was built for another system or Node, run \`npm run build\` in ${root}`,
      { code: 'BINDING_NOT_FOUND', cause: error },
    )
  }
}

const binding = load()
binding.setErrorClass(ChordError)
// A step of a large model takes its time; the end of the process need not wait for it.
process.on('exit', () => binding.stop())

module.exports = binding
