import { expectAssignable, expectError, expectNotAssignable, expectType } from 'tsd'
import { ChordError, inspect, loadModel, loadTokenizer, plan, quantize, systemInfo, wasmCodes } from '../..'
import type {
  Chat, ChatAnswer, ChatMessage, ChatResult, ChordErrorCode, Generation, GenerateOptions, GgufInfo, LoadOptions, MetadataScalar, Model, PerplexityResult, Plan, QuantizeOptions, QuantizeResult, RankedDocument, Result, Session, Stats, SystemInfo, Tensor,
  TokenEvent, Tokenizer, ToolCall, WasmImports, WasmMemory,
} from '../..'

const signal = new AbortController().signal

// Loading.
expectType<Promise<Model>>(loadModel('model.gguf'))
expectType<Promise<Model>>(loadModel(new URL('file:///model.gguf'), { memory: '2GiB', context: 512, threads: 2, signal }))
expectType<Promise<Plan>>(plan('model.gguf', { memory: 1e9 }))
expectType<number | null>((await plan('model.gguf')).kv.q8_0.secondsPerToken)
expectType<Promise<Plan>>(plan('model.gguf', { routes: 'repeating' }))
expectType<Promise<Plan>>(plan('model.gguf', { routes: { file: 'routes.txt' } }))
expectError(loadModel('model.gguf', { routes: 'repeating' }))
expectType<Promise<GgufInfo>>(inspect('model.gguf'))
expectType<Promise<Tokenizer>>(loadTokenizer('model.gguf'))
expectType<{ readonly prefix: number; readonly suffix: number; readonly middle: number } | null>((await loadTokenizer('model.gguf')).info.infill)
expectType<SystemInfo>(systemInfo())
expectAssignable<LoadOptions>({ cache: { mode: 'mapped' }, kv: { type: 'f16' }, onProgress: ({ phase, done, total }) => `${phase} ${done / total}` })
expectNotAssignable<LoadOptions>({ cache: { mode: 'paged' } })
expectAssignable<LoadOptions>({ kv: { type: 'q8_0', spill: 'a.spill' } })
expectNotAssignable<LoadOptions>({ kv: { type: 'f32' } })
expectAssignable<LoadOptions>({ memory: { total: '8GiB', weights: '2GiB', kv: 1e9 } })
expectNotAssignable<LoadOptions>({ memory: { weight: 1 } })
expectError(loadModel())
expectError(loadModel('model.gguf', { treads: 2 }))
expectError(loadModel('model.gguf', { context: '512' }))

// Quantizing.
expectType<Promise<QuantizeResult>>(quantize('in.gguf', new URL('file:///out.gguf'), { type: 'Q4_K_M' }))
expectAssignable<QuantizeOptions>({ type: 'q8_0', threads: 2, requantize: true, signal, onProgress: ({ done, total }) => done / total })
expectNotAssignable<QuantizeOptions>({ threads: 2 })
expectError(quantize('in.gguf', 'out.gguf'))
expectError(quantize('in.gguf', { type: 'Q4_0' }))

declare const model: Model

// A generation is a promise of its result ...
const generation = model.generate('Once')
expectType<Generation>(generation)
expectType<Result>(await generation)
expectType<Result>(await model.generate([1, 2, 3], { maxTokens: 4, signal }))
expectType<Result>(await model.generate(Uint32Array.of(1)))
expectType<Promise<string>>(generation.then(({ text }) => text))
expectType<Promise<Result | null>>(generation.catch(() => null))
expectType<Promise<Result>>(generation.finally(() => {}))
expectType<'stop' | 'length' | 'cancelled'>((await generation).finishReason)
expectType<number[]>((await generation).tokens)
expectAssignable<{ token: number; logprob: number }[] | undefined>((await generation).logprobs)

// ... and a stream of its text.
export async function stream() {
  for await (const text of generation) expectType<string>(text)
  for await (const event of generation.events()) expectType<TokenEvent>(event)
}
expectType<ReadableStream<string>>(generation.readable)

// Values of a schema.
const typed = await model.generate('Ada', {
  schema: {
    type: 'object',
    properties: { name: { type: 'string' }, born: { type: ['integer', 'null'] }, tags: { type: 'array', items: { enum: ['a', 'b'] } }, size: { anyOf: [{ const: 1 }, { type: 'boolean' }] } },
    required: ['name', 'born'],
  },
})
expectAssignable<{ name: string; born: number | null; tags?: ('a' | 'b')[]; size?: 1 | boolean } | undefined>(typed.value)
expectType<string | undefined>(typed.value?.name)
expectType<number | null | undefined>(typed.value?.born)
expectType<('a' | 'b')[] | undefined>(typed.value?.tags)
expectError(typed.value?.age)
expectType<unknown>((await model.generate('Ada', { schema: { $ref: '#/$defs/a', $defs: { a: { type: 'string' } } } })).value)
expectType<unknown>((await model.generate('Ada', { schema: JSON.parse('{}') as Record<string, unknown> })).value)
expectType<string | undefined>((await model.generate([{ role: 'user', content: 'Hi' }], { schema: { type: 'string' } })).value)
expectError(model.generate('Ada', { schema: 'string' }))

expectType<Generation>(model.infill('function f() {', '}', { maxTokens: 8 }))
expectError(model.infill('function f() {'))

// Samplers.
expectAssignable<GenerateOptions>({ samplers: ['penalties', 'dry', 'topNSigma', 'topK', 'typicalP', 'topP', 'minP', 'xtc', 'temperature', 'mirostat'] })
expectNotAssignable<GenerateOptions>({ samplers: ['topQ'] })
expectAssignable<GenerateOptions>({ xtc: { threshold: 0.1 }, dry: { base: 2, sequenceBreakers: ['.'] }, dynamicTemperature: { range: 1 }, topNSigma: 1 })
expectNotAssignable<GenerateOptions>({ dynamicTemperature: {} })
expectAssignable<GenerateOptions>({ mirostat: { tau: 5 }, sample: async (logits, { tokens, step }) => logits.length + tokens[step] })
expectNotAssignable<GenerateOptions>({ sample: () => 'token' })
expectType<void>(generation.cancel())

// A session.
const session = model.session()
expectType<Session>(session)
expectType<Generation>(session.generate([...session.tokens, 5], { maxTokens: 4 }))
expectType<Promise<Session>>(session.fork())
expectType<Promise<void>>(session.close())
expectType<Promise<void>>(session.save('a.session', { signal, onProgress: ({ done, total }) => done / total }))
expectType<Promise<Session>>(model.restoreSession(new URL('file:///a.session'), { signal }))
expectType<number>((await generation).usage.reusedTokens)
expectError(model.session('text'))
expectError((session.tokens = []))

expectAssignable<GenerateOptions>({ speculate: false })
expectAssignable<GenerateOptions>({ speculate: { guesses: 4 } })
expectNotAssignable<GenerateOptions>({ speculate: true })
expectAssignable<GenerateOptions>({ draft: await loadModel('small.gguf') })
expectAssignable<LoadOptions>({ draft: false })
expectNotAssignable<GenerateOptions>({ draft: 'small.gguf' })
expectNotAssignable<LoadOptions>({ draft: true })
expectType<number>((await generation).speculation.acceptedDraftTokens)
expectType<number>((await generation).speculation.acceptedTokens)
expectAssignable<GenerateOptions>({ stop: ['\n', 'END'], logitBias: { 5: -Infinity }, logprobs: 3, seed: 1 })
expectAssignable<GenerateOptions>({ grammar: 'root ::= "yes" | "no"' })
expectError<GenerateOptions>({ grammar: /a/ })
expectAssignable<GenerateOptions>({ stop: '\n', logitBias: new Map([[5, 1.5]]) })
expectError(model.generate('Once', { max_tokens: 3 }))
expectError(model.generate('Once', { temperature: 'hot' }))
expectError(model.generate())

// Host functions of WebAssembly guests.
declare const memory: WasmMemory
const imports = model.wasmImports({ memory })
expectType<WasmImports>(imports)
expectType<WasmImports>(model.wasmImports({ memory: () => memory }))
expectAssignable<Record<string, Function>>({ ...imports })
expectAssignable<WasmMemory>({ buffer: new SharedArrayBuffer(8) })
expectType<number>(imports.memory64_read(0n, 0, 4))
expectType<number>(imports.memory64_load_layer(0, 0n, 4n))
expectType<bigint>(imports.memory64_stats())
expectType<-4>(wasmCodes.IO)
expectError(model.wasmImports())
expectError(model.wasmImports({ memory: 1 }))

// The rest of a model.
expectType<Promise<Float32Array>>(model.evaluate([1, 2]))
expectType<Promise<Float32Array>>(model.embed('text', { normalize: false, dimensions: 64, pooling: 'cls' }))
expectType<Promise<Float32Array[]>>(model.embed(['a', 'b']))
expectType<Promise<RankedDocument[]>>(model.rerank('query', ['a', 'b']))
expectError(model.embed('text', { pooling: 'rank' }))
expectError(model.rerank('query', 'document'))
expectType<'mean' | 'cls' | 'last' | 'rank'>(model.info.pooling)
expectType<Promise<PerplexityResult>>(model.perplexity('text', { context: 128, stride: 64, onProgress: ({ perplexity }) => perplexity.toFixed(2) }))
expectType<number[]>(model.tokenize('text', { special: true, bos: false }))
expectType<string>(model.detokenize([1, 2], { special: true }))
expectType<Promise<Tensor>>(model.tensor('token_embd.weight'))
expectType<Promise<void>>(model.preload({ signal, onProgress: ({ done, total }) => done / total }))
expectType<void>(model.clearCache())
expectType<Stats>(model.stats())
expectType<number | null>(model.stats().regions.weights.residentBytes)
expectType<Promise<void>>(model.close())
expectType<Promise<void>>(model[Symbol.asyncDispose]())
expectError((model.info.layers = 3))
expectType<number | null>(model.info.tokenizer.bos)

// Files and errors.
expectType<MetadataScalar | MetadataScalar[]>((await inspect('model.gguf')).metadata['general.name'])
const error = new ChordError('gone', { code: 'CLOSED' })
expectAssignable<Error>(error)
expectType<ChordErrorCode>(error.code)
expectError(new ChordError('gone', { code: 'NO_SUCH_CODE' }))

// Chats.
const chat = model.chat({ system: 'You are brief.', overflow: 'shift', variables: { enable_thinking: false } })
expectType<Chat>(chat)
expectError(model.chat({ systems: '' }))
const answer = chat.send('Hi', { maxTokens: 3 })
expectType<ChatAnswer>(answer)
expectType<ChatResult>(await answer)
expectAssignable<AsyncIterable<string>>(answer)
expectAssignable<AsyncIterable<{ type: 'text' | 'reasoning' | 'toolCall' | 'toolResult'; text: string }>>(answer.events())
expectType<ChatMessage[]>(chat.messages)
chat.messages = [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }]
expectType<ChatMessage[]>(chat.rewind())
expectType<Promise<Chat>>(chat.fork())
expectType<ChatAnswer>(model.generate([{ role: 'user', content: 'Hi' }], { template: 'default' }))
expectType<Promise<void>>(chat.save('a.chat'))
expectType<Promise<Chat>>(model.restoreChat('a.chat', { overflow: 'shift', signal }))
expectError(chat.send(5))
const tools = { now: { description: 'The time', parameters: { type: 'object' }, run: async ({ zone }: { zone?: string }) => zone ?? 'UTC' } }
expectType<Chat>(model.chat({ tools, toolChoice: { name: 'now' }, parallelToolCalls: false, maxRounds: 3 }))
expectType<ToolCall[]>((await chat.send('Hi', { tools, toolChoice: 'required' })).toolCalls)
expectError(chat.send('Hi', { tools: { now: { run: 5 } } }))
expectError(model.generate('Hi', { tools }))
