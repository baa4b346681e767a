'use strict'

// The options of every function, as schemas for validate.js.

const { checkMessages } = require('./chat/messages.js')
const { SAMPLING } = require('./sampling.js')
const { toolChoice, tools } = require('./tools/definitions.js')
const v = require('./validate.js')

const LOAD = {
  memory: v.memory,
  context: v.integer({ least: 1, most: 2 ** 31 }),
  threads: v.integer({ least: 1, most: 1024 }),
  cache: v.objectSchema('cache', {
    mode: v.oneOf(['auto', 'mapped', 'paged']),
    policy: v.oneOf(['auto', 'pin', 'lru', 'expert']),
  }),
  kv: v.objectSchema('kv', { type: v.oneOf(['f16', 'q8_0']), spill: (name, value) => v.filePath(name, value, 'of a file that does not exist') }),
  draft: v.draft,
  signal: v.signal,
  onProgress: v.callback,
}

const PLAN = { ...LOAD, routes: v.routes }

const GENERATE = {
  maxTokens: v.integer({ least: 1 }),
  ignoreEos: v.boolean,
  ...SAMPLING,
  sample: v.callback,
  stop: v.strings,
  logitBias: v.logitBias,
  grammar: v.string,
  schema: v.jsonSchema,
  logprobs: v.integer({ least: 0, most: 64 }),
  speculate: v.speculate,
  draft: v.draft,
  signal: v.signal,
}

const MESSAGES = { template: v.string, documents: v.list, variables: v.plainObject }
const TOOLS = { tools, toolChoice, parallelToolCalls: v.boolean, maxRounds: v.integer({ least: 0, most: 1000 }) }
const CHAT = { system: v.string, messages: checkMessages, overflow: v.oneOf(['error', 'shift']), ...MESSAGES, ...TOOLS }

const RESTORE_CHAT = { template: v.string, overflow: CHAT.overflow, ...TOOLS, signal: v.signal, onProgress: v.callback }

const PERPLEXITY = { context: v.integer({ least: 4 }), stride: v.integer({ least: 1 }), signal: v.signal, onProgress: v.callback }
const QUANTIZE = {
  type: v.string,
  threads: v.integer({ least: 1, most: 1024 }),
  requantize: v.boolean,
  imatrix: (name, value) => v.filePath(name, value, 'of an importance matrix'),
  signal: v.signal,
  onProgress: v.callback,
}
const EMBED = {
  normalize: v.boolean,
  dimensions: v.integer({ least: 1 }),
  pooling: v.oneOf(['mean', 'cls', 'last']),
  signal: v.signal,
}
const SIGNAL = { signal: v.signal }
const PRELOAD = { signal: v.signal, onProgress: v.callback }
const TRANSFER = { signal: v.signal, onProgress: v.callback }
const WASM = { memory: v.guestMemory }
const TOKENIZE = { special: v.boolean, bos: v.boolean }
const DETOKENIZE = { special: v.boolean }

/** What the addon takes of load options. */
function nativeLoadOptions({ memory = {}, context, threads, cache = {}, kv = {} }) {
  const { mode, policy } = cache
  const ceilings = { memory: memory.total, memoryWeights: memory.weights, memoryKv: memory.kv, memoryScratch: memory.scratch }
  return { ...ceilings, context, threads, mapped: mode === 'mapped', paged: mode === 'paged', lru: policy === 'lru', kvQ8_0: kv.type === 'q8_0', kvSpill: kv.spill }
}

module.exports = { CHAT, DETOKENIZE, EMBED, GENERATE, LOAD, MESSAGES, PERPLEXITY, PLAN, PRELOAD, QUANTIZE, RESTORE_CHAT, SIGNAL, TOKENIZE, TOOLS, TRANSFER, WASM, nativeLoadOptions }
