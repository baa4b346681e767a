'use strict'

// What a chat template does with tools, calls and results, and a conversation in the shape that it takes.

const { formatOf, generic } = require('./formats.js')

const quoted = JSON.stringify

// What a template is tried with. The id is one that the strictest templates take.
const QUESTION = { role: 'user', content: 'question' }
const probeTool = (property) => ({
  type: 'function',
  function: { name: 'probe_tool', description: 'A probe', parameters: { type: 'object', properties: { probe_key: property }, required: ['probe_key'] } },
})
const PROBE = probeTool({ type: 'string', description: 'A key' })
const BARE_PROBE = probeTool({ type: 'string' })
const PROBE_ARGUMENTS = { probe_key: 'probe_value' }

/** The id of the n-th call of a conversation: nine letters and digits suit the strictest templates. */
const callId = (format, n, name) => format.id?.(n, name) ?? `call${String(n).padStart(5, '0')}`

/**
 * Finds out by rendering small conversations what a template does:
 *   system    shows a system message
 *   tools     shows the definitions of tools
 *   bare      does so where parameters have no description
 *   calls     shows calls: how it takes arguments, as an 'object' or a 'string'; null if it shows none
 *   content   of a message that has calls and no text: '' or null
 *   parallel  shows several calls of a message
 *   results   shows messages of the role 'tool'
 * `render(messages, tools)` gives the text, or throws, or promises either.
 */
async function capabilitiesOf(render, format) {
  const shown = async (messages, tools = [PROBE]) => {
    try {
      return await render(messages, tools)
    } catch {
      return ''
    }
  }
  const probeCall = (i, args) => ({ id: callId(format, i, `probe_call${i}`), type: 'function', function: { name: `probe_call${i}`, arguments: args } })
  const answer = (content, ...calls) => ({ role: 'assistant', content, tool_calls: calls })
  const found = { system: false, tools: false, bare: false, calls: null, content: '', parallel: false, results: false }
  found.system = (await shown([{ role: 'system', content: 'probe_system' }, QUESTION], null)).includes('probe_system')
  found.tools = (await shown([QUESTION])).includes('probe_tool')
  found.bare = (await shown([QUESTION], [BARE_PROBE])).includes('probe_tool')
  // Text that stands as it was given is best: it is then what the model wrote.
  const isShown = (text) => ['probe_call0', 'probe_key', 'probe_value'].every((part) => text.includes(part))
  const isExact = (text) => text.includes(quoted(PROBE_ARGUMENTS)) && text.includes('probe_call0')
  for (const [kind, args, isTaken] of [['string', quoted(PROBE_ARGUMENTS), isExact], ['object', PROBE_ARGUMENTS, isShown]]) {
    if (found.calls !== null) break
    const call = probeCall(0, args)
    const [empty, none] = [await shown([QUESTION, answer('', call)]), await shown([QUESTION, answer(null, call)])]
    if (!isTaken(empty) && !isTaken(none)) continue
    found.calls = kind
    // A message without text has none for templates that tell the two apart, but for those that can't take it or spell it.
    const says = (text) => text.split(/None|null/).length
    found.content = isTaken(none) && (!isTaken(empty) || says(none) <= says(empty)) ? null : ''
    const more = await shown([QUESTION, answer(found.content, call, probeCall(1, args))])
    found.parallel = isTaken(more) && more.includes('probe_call1')
    const result = { role: 'tool', tool_call_id: call.id, name: 'probe_call0', content: 'probe_result' }
    found.results = (await shown([QUESTION, answer(found.content, call), result])).includes('probe_result')
  }
  return found
}

/** How a template is spoken to: its form of calls and its capabilities. */
async function protocolOf(render, source) {
  const format = formatOf(source)
  const can = await capabilitiesOf(render, format)
  if (format !== generic && (can.tools || can.calls !== null)) return { format, can }
  // What the template may have for tools is in a form that is not read here: it is left out.
  return { format: generic, can: { ...can, tools: false, calls: null, parallel: false, results: false } }
}

/** Parameters with what there are templates that need it of each: types where values tell them, and descriptions. */
function complete(parameters, can) {
  const typeOf = ({ enum: values, const: value }) => [...new Set((values ?? [value]).map((each) => (each === null ? 'null' : typeof each)))]
  const property = ([key, schema]) => {
    if (typeof schema !== 'object') return [key, schema]
    const [type, ...others] = schema.type === undefined ? typeOf(schema) : []
    const isTold = ['string', 'number', 'boolean'].includes(type) && others.length === 0
    return [key, { ...(isTold && { type }), ...(!can.bare && { description: '' }), ...schema }]
  }
  return { ...parameters, properties: Object.fromEntries(Object.entries(parameters.properties ?? {}).map(property)) }
}

const definitionOf = ({ name, description, parameters }, can) => ({ type: 'function', function: { name, description, parameters: complete(parameters, can) } })

/** For templates that have no place for definitions of tools. */
function instructions(tools, format) {
  const lines = tools.map(({ name, description = '', parameters }) => quoted({ name, description, parameters }))
  return (
    `You can call these functions, described by their JSON Schemas:\n${lines.join('\n')}\n\n` +
    `To call a function, answer in this form:\n${format.write([{ name: 'NAME', arguments: { PARAMETER: 'VALUE' } }])}\n\n` +
    'Its result comes in the next message. Call a function only if you need it.'
  )
}

/**
 * A conversation in the shape that the template takes: { messages, tools }, the latter undefined where they stand in the messages. `messages` have role and content, those of the assistant
 * also `toolCalls` [{ id, name, arguments }], those of the role 'tool' `toolCallId` and `name`; other members are passed on.
 */
function shape({ format, can }, messages, tools) {
  const shaped = []
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]
    if (message.role === 'tool') {
      let end = i + 1
      while (end < messages.length && messages[end].role === 'tool') end++
      shaped.push(...shapeResults(can, format, messages.slice(i, end)))
      i = end - 1
    } else if (message.role === 'assistant' && message.toolCalls?.length > 0) {
      const calls = message.toolCalls
      if (can.calls === null || can.parallel || calls.length === 1) shaped.push(shapeCalls(can, format, message, calls))
      else {
        // One call in a message, each followed by its result.
        let end = i + 1
        while (end < messages.length && messages[end].role === 'tool') end++
        const results = messages.slice(i + 1, end)
        for (const [k, call] of calls.entries()) {
          shaped.push(shapeCalls(can, format, k === 0 ? message : { role: 'assistant', content: '' }, [call]))
          shaped.push(...shapeResults(can, format, results.filter(({ toolCallId }) => toolCallId === call.id)))
        }
        i = end - 1
      }
    } else shaped.push(message)
  }
  if (tools.length === 0) return { messages: shaped }
  if (can.tools) return { messages: shaped, tools: tools.map((tool) => definitionOf(tool, can)) }
  return { messages: instructed(can, shaped, instructions(tools, format)) }
}

function shapeCalls(can, format, { toolCalls: _, ...message }, calls) {
  const text = message.content ?? ''
  if (can.calls === null) return { ...message, content: [text, format.write(calls)].filter((part) => part !== '').join('\n') }
  const args = (value) => (can.calls === 'object' ? value : quoted(value))
  // One of the two at most is what the template of this form takes in a message that calls.
  if (format.name === 'harmony' && text !== '' && message.reasoning) message = { ...message, content: '', reasoning: `${message.reasoning}\n${text}` }
  const toolCalls = calls.map(({ id, name, arguments: value }) => ({ id, type: 'function', function: { name, arguments: args(value) } }))
  return { ...message, content: message.content || can.content, tool_calls: toolCalls }
}

function shapeResults(can, format, results) {
  if (can.results) return results.map(({ toolCallId, ...rest }) => ({ ...rest, tool_call_id: toolCallId }))
  if (results.length === 0) return []
  return [{ role: 'user', content: quoted({ tool_results: results.map(({ name, content }) => ({ name, content })) }) }]
}

/** `messages` with `text` in the system message or, where the template takes none, before the first message. */
function instructed(can, [first, ...rest], text) {
  const join = (message) => ({ ...message, content: message.content ? `${message.content}\n\n${text}` : text })
  if (first?.role === 'system') return [join(first), ...rest]
  if (can.system || first === undefined) return [{ role: 'system', content: text }, ...(first ? [first] : []), ...rest]
  return [{ ...first, content: `${text}\n\n${first.content}` }, ...rest]
}

module.exports = { callId, protocolOf, shape }
