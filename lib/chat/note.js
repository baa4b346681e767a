'use strict'

// A conversation as it stands in the file of its session: JSON, whose bytes the file's check covers.
//   { chat: 1, template: name or text or null, overflow, documents, variables, entries: [{ message, record }] }

const { ChordError } = require('../errors.js')
const { checkMessages } = require('./messages.js')

const VERSION = 1

function writeNote({ template: { source, name, text }, options: { overflow, render }, entries }) {
  const template = source === 'file' ? name : source === 'option' ? text : null
  return JSON.stringify({ chat: VERSION, template, overflow, ...render, entries })
}

const isRecord = (vocabulary) => (value) =>
  value === null ||
  (typeof value === 'object' && Number.isSafeInteger(value.at) && value.at >= 0 && typeof value.digest === 'string' &&
    Array.isArray(value.tokens) && value.tokens.length > 0 && [value.last, ...value.tokens].every((id) => Number.isInteger(id) && id >= 0 && id < vocabulary))

/** { template, options, entries } of what writeNote() wrote; a file without it holds a session, but no chat. */
function readNote(file, text, vocabulary) {
  if (text === null) throw new ChordError(`${file}: holds a session, but no chat: model.restoreSession() reads it`, { code: 'NOT_SESSION' })
  try {
    const { chat, template, overflow, documents, variables, entries } = JSON.parse(text)
    if (chat > VERSION) throw new ChordError(`${file}: the chat is of version ${chat}; this chord reads version ${VERSION}`, { code: 'SESSION_VERSION' })
    const messages = checkMessages('messages', entries.map(({ message }) => message))
    const records = entries.map(({ record }) => record)
    const isNullish = (value) => value === undefined || value === null
    const fits =
      chat === VERSION && records.every(isRecord(vocabulary)) && (template === null || typeof template === 'string') &&
      [undefined, 'error', 'shift'].includes(overflow) && (isNullish(documents) || Array.isArray(documents)) && (isNullish(variables) || typeof variables === 'object')
    if (!fits) throw new TypeError('a field is not what it should be')
    const render = { documents: documents ?? undefined, variables: variables ?? undefined }
    return { template: template ?? undefined, options: { overflow, render }, entries: messages.map((message, i) => ({ message, record: records[i] })) }
  } catch (error) {
    if (error instanceof ChordError && error.code === 'SESSION_VERSION') throw error
    throw new ChordError(`${file}: holds a session, but its chat can't be read: ${error.message}`, { code: 'SESSION_DAMAGED', cause: error })
  }
}

module.exports = { readNote, writeNote }
