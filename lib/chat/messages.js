'use strict'

// Messages as callers give them.

const v = require('../validate.js')

/** A copy of a message { role, content, ... } of plain data. */
function checkMessage(name, value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw v.invalidOption(name, "a message such as { role: 'user', content: 'Hi' }", value)
  const { role, content, reasoning, toolCalls } = value
  if (typeof role !== 'string' || role === '') throw v.invalidOption(`${name}.role`, "a role such as 'user'", role)
  if (typeof content !== 'string' && !Array.isArray(content) && content !== null && content !== undefined) {
    throw v.invalidOption(`${name}.content`, 'a string or an array of parts', content)
  }
  if (reasoning !== undefined && typeof reasoning !== 'string') throw v.invalidOption(`${name}.reasoning`, 'a string', reasoning)
  if (toolCalls !== undefined) checkToolCalls(`${name}.toolCalls`, toolCalls)
  return plain(name, value)
}

function checkToolCalls(name, value) {
  if (!Array.isArray(value)) throw v.invalidOption(name, 'an array of calls { id, name, arguments }', value)
  value.forEach((call, i) => {
    const fits = typeof call === 'object' && call !== null && typeof call.id === 'string' && typeof call.name === 'string' && typeof call.arguments === 'object' && call.arguments !== null
    if (!fits) throw v.invalidOption(`${name}[${i}]`, 'a call { id, name, arguments }', call)
  })
}

function checkMessages(name, value) {
  if (!Array.isArray(value)) throw v.invalidOption(name, 'an array of messages', value)
  return value.map((message, i) => checkMessage(`${name}[${i}]`, message))
}

/** A copy; functions and the like, which no template could be handed, are refused. */
function plain(name, value) {
  try {
    return structuredClone(value)
  } catch (error) {
    throw v.invalid(`${name}: expected plain data: ${error.message}`)
  }
}

/** What chat.send() is given: a text, a message, several, or nothing. */
function messagesToSend(value) {
  if (value === undefined) return []
  if (typeof value === 'string') return [{ role: 'user', content: value }]
  return Array.isArray(value) ? checkMessages('messages', value) : [checkMessage('message', value)]
}

const isMessages = (value) => Array.isArray(value) && value.length > 0 && typeof value[0] === 'object' && value[0] !== null

module.exports = { checkMessages, isMessages, messagesToSend, plain }
