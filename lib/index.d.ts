declare global {
  // Older libraries of TypeScript lack it; where it is declared, the declarations merge.
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol
  }
}

/**
 * Opens a GGUF model. Reads the header only: weights come into memory as they are used. A model larger than the memory it is given runs
 * from disk.
 *
 * ```js
 * const model = await loadModel('model.gguf')
 * for await (const text of model.generate('Once upon a time')) process.stdout.write(text)
 * await model.close()
 * ```
 *
 * @param path of the file, or of the first file of a split model
 */
export function loadModel(path: string | URL, options?: LoadOptions): Promise<Model>

/** What `loadModel` would do, from the header alone: bytes by use, expected speed, warnings. */
export function plan(path: string | URL, options?: PlanOptions): Promise<Plan>

/** The metadata and the tensor directory of a GGUF file, of any architecture. */
export function inspect(path: string | URL): Promise<GgufInfo>

/**
 * Writes the model `input` (the first file of a split one) to the file `output` with its matrices in another type. Resolves when the new
 * file is whole; only then does it bear its name, in place of one that did before. Whatever ends it earlier (an error, `signal`)
 * leaves nothing behind.
 *
 * Memory does not grow with the model: its header, and some 0.8 MiB for each thread. The file is the same with any number of threads.
 *
 * ```js
 * await quantize('model-F16.gguf', 'model-Q4_K_M.gguf', { type: 'Q4_K_M' })
 * ```
 */
export function quantize(input: string | URL, output: string | URL, options: QuantizeOptions): Promise<QuantizeResult>

/** The tokenizer of a GGUF file, without its weights; files that hold nothing else will do. */
export function loadTokenizer(path: string | URL): Promise<Tokenizer>

/**
 * What the functions of {@link Model.wasmImports} return when they do not return bytes:
 * - `CLOSED`: the model has been closed;
 * - `RANGE`: bytes past the end of the model's files, a layer that the model does not have, a span that is not inside the guest's memory
 *   as it is now, or a size beyond 2^31 - 1, which the result could not tell;
 * - `TOO_SMALL`: the layer has more bytes than the guest has room for (`max`);
 * - `IO`: the file can't be read, or has changed since it was opened. What the span of the guest's memory holds then is not specified;
 *   with the other codes it is untouched.
 */
export const wasmCodes: { readonly CLOSED: -1; readonly RANGE: -2; readonly TOO_SMALL: -3; readonly IO: -4 }

/** What this machine offers to chord. */
export function systemInfo(): SystemInfo

export interface LoadOptions {
  /**
   * The ceiling for everything that the model takes, its weights included: bytes, or a string such as `'2GiB'`.
   * `'auto'` (the default) is what the machine, its container and the process's own limits leave free, but for a sixteenth. A model larger than that runs all the same, its weights
   * read from disk as they are needed (`cache`); below what that needs, loading is refused with the number that would do.
   *
   * An object sets ceilings of single uses beside the one of all (`total`): `weights` in memory (a model that has more is paged),
   * keys and values of all generations together (`kv`), activations and logits (`scratch`).
   */
  memory?: number | string | MemoryCeilings
  /** Tokens of context. Default: the model's own, as far as the memory reaches. */
  context?: number
  /** Compute threads. Default: one per processor that this process may use. */
  threads?: number
  cache?: {
    /**
     * `'mapped'`: weights are used from the mapped file, which the system keeps in memory as far as it likes. `'paged'`: weights
     * are read from the file, past the system's page cache, into memory of the model's own, within the budget. `'auto'` (the default) maps a
     * model that fits the memory together with its context, else pages it.
     */
    mode?: 'auto' | 'mapped' | 'paged'
    /**
     * Of paged mode. `'pin'`: a part of the weights, spread evenly over the layers, stays in memory; the rest is read for every token,
     * ahead of its use. `'lru'`: what was used last stays, which for a model that is used from end to end hits nothing; it is there to
     * compare with. Of a mixture of experts, what every token uses stays, and experts are cached: with `'lru'` those used last, with
     * any other policy those whose next use is expected soonest, which is `'expert'`. `'auto'` (the default), and `'expert'` for a
     * model without experts, is `'pin'`.
     */
    policy?: 'auto' | 'pin' | 'lru' | 'expert'
  }
  kv?: {
    /** Of the keys and values kept per token. `'q8_0'` takes 53 % of the memory of `'f16'`, the default. */
    type?: 'f16' | 'q8_0'
    /**
     * A file for keys and values of sessions that generate nothing: when there is no memory for those of others, what was used longest ago
     * goes there, and comes back as it was when its session goes on. A text that is being generated stays in memory as a whole. The file
     * must not exist. It is of this model alone and goes with it; its name, where the system allows, at once. Default: none.
     */
    spill?: string | URL
  }
  /**
   * A draft model for all generations that do not name another (`draft` of {@link GenerateOptions}). One with another vocabulary is refused,
   * with an error that says how the two differ. `false`: none, the default.
   */
  draft?: Model | false
  /** Stops the loading; the promise then rejects with the signal's reason. */
  signal?: AbortSignal
  onProgress?: (progress: Progress) => void
}

/** Bytes, or strings such as `'2GiB'`; what is left out has no ceiling of its own. */
export interface MemoryCeilings {
  total?: number | string
  weights?: number | string
  kv?: number | string
  scratch?: number | string
}

export interface Progress {
  /** What is being worked on: `'header'`, `'tokenizer'`, `'weights'`, `'save'`, `'restore'`. */
  phase: string
  done: number
  total: number
}

/** A mix of types, named as llama.cpp names its files; `Q3_K`, `Q4_K` and `Q5_K` stand for their `_M`. Any case will do. */
export type QuantizeType =
  | 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1'
  | 'Q2_K' | 'Q2_K_S' | 'Q3_K_S' | 'Q3_K_M' | 'Q3_K_L' | 'Q4_K_S' | 'Q4_K_M' | 'Q5_K_S' | 'Q5_K_M' | 'Q6_K'
  | 'IQ4_NL' | 'IQ4_XS' | 'TQ1_0' | 'TQ2_0' | 'I2_S'

export interface QuantizeOptions {
  type: QuantizeType | (string & {})
  /** Default: one per processor that this process may use. */
  threads?: number
  /** Also from matrices that are quantized; what they have lost stays lost. Default `false`: only from F32, F16 and BF16. */
  requantize?: boolean
  /**
   * An importance matrix of the model: the mean square of what each column of each matrix is multiplied with, as llama.cpp's tool `imatrix`
   * writes it (GGUF, or the older `.dat`). Values then count as much as they matter, and a few matrices take other types, as with llama.cpp. Tensors
   * that it does not know, and types that take no importances (F32, F16, BF16, Q8_0, TQ1_0, TQ2_0, I2_S), are quantized as without it; a matrix of
   * another model is refused with `INVALID_ARGUMENT`.
   */
  imatrix?: string | URL
  /** Its reason is what the promise is rejected with. */
  signal?: AbortSignal
  /** `phase` is `'weights'`, `done` and `total` are bytes of the input's tensors. */
  onProgress?: (progress: Progress) => void
}

export interface QuantizeResult {
  /** Of the new file. */
  path: string
  /** As it is written: `'Q4_K_M'`. */
  type: string
  /** Of the input's tensors. */
  inputBytes: number
  /** Of the new file. */
  outputBytes: number
  /** The most memory that was held at once. */
  peakBytes: number
  /** With an importance matrix: how many tensors were weighed with it, and how many it does not know that could have been. */
  imatrix?: { weighted: number; unweighted: number }
}

export interface EmbedOptions {
  /** Whether vectors get length 1. Default `true`. */
  normalize?: boolean
  /** The first so many numbers of each vector, then scaled to length 1 (`normalize`): for models that were trained for it. Default: all. */
  dimensions?: number
  /**
   * What of a text's last hidden states is its vector: their mean, the first, or the last. Default: as the metadata says
   * (`{architecture}.pooling_type`); where it says nothing or none, the last one, as llama.cpp's bindings for Node do it, but the mean
   * of an encoder's.
   */
  pooling?: 'mean' | 'cls' | 'last'
  /** Stops the work; the promise then rejects with the signal's reason. */
  signal?: AbortSignal
}

export interface RankedDocument {
  /** Of the document in the array. */
  index: number
  /** From 0 to 1. */
  score: number
}

/** A loaded model. Made by {@link loadModel}. */
export class Model {
  private constructor()

  readonly info: ModelInfo

  /**
   * Continues a prompt. The work begins at once, and generations of one model that run at the same time share its steps.
   *
   * The result is a stream and a promise in one:
   * ```js
   * for await (const text of model.generate('Once upon a time')) process.stdout.write(text) // break cancels
   * const { text, finishReason } = await model.generate('Once upon a time', { maxTokens: 64 })
   * ```
   *
   * What is wrong with the arguments is thrown by the call itself, what fails later rejects the promise and the stream.
   *
   * @param prompt a text, in which special tokens are text like any other, and which begins with BOS if the model's metadata says so
   *   (the empty text is BOS alone); or token ids, taken as they are; or the messages of a conversation, which the chat template makes a
   *   prompt of ({@link chat} keeps one going)
   */
  generate<const S extends JsonSchema>(prompt: readonly ChatMessage[], options: GenerateOptions & MessagesOptions & ToolsOptions & { schema: S }): ChatAnswer<ValueOf<S>>
  generate(prompt: readonly ChatMessage[], options?: GenerateOptions & MessagesOptions & ToolsOptions): ChatAnswer
  generate<const S extends JsonSchema>(prompt: string | ArrayLike<number>, options: GenerateOptions & { schema: S }): Generation<ValueOf<S>>
  generate(prompt: string | ArrayLike<number>, options?: GenerateOptions): Generation

  /**
   * A conversation. Each turn computes what is new in it:
   * ```js
   * const chat = model.chat({ system: 'You are brief.' })
   * for await (const text of chat.send('Hi')) process.stdout.write(text)
   * const { text, usage } = await chat.send('What did I say?')
   * ```
   */
  chat(options?: ChatOptions): Chat

  /**
   * Fills the gap between two texts, as code models learn it: the text that is generated stands between `prefix` and `suffix`, and ends where the model
   * says that it does (`finishReason` is then `'stop'`). Special tokens in the two are text like any other.
   * ```js
   * const { text } = await model.infill('function add(a, b) {\n  return ', '\n}\n', { maxTokens: 32 })
   * ```
   * A model whose vocabulary has no infill tokens (`info.tokenizer.infill` is `null`) is refused with `NOT_FOUND`.
   */
  infill(prefix: string, suffix: string, options?: GenerateOptions): Generation

  /**
   * A text that is continued turn by turn. What a generation computed of it stays in memory until the session is closed or collected:
   * ```js
   * const session = model.session()
   * await session.generate('The first line.')
   * const more = [...session.tokens, ...model.tokenize(' And then', { bos: false })]
   * await session.generate(more) // computes what is new
   * ```
   */
  session(): Session

  /**
   * A session that {@link Session.save} wrote, in this process or another. It goes on token for token as the saved one does. A file that is
   * no session (`NOT_SESSION`), of another version (`SESSION_VERSION`), cut (`SESSION_TRUNCATED`), damaged (`SESSION_DAMAGED`), or of
   * another model, KV type or tier of the processor (`SESSION_FOREIGN`) is refused.
   */
  restoreSession(path: string | URL, options?: TransferOptions): Promise<Session>

  /**
   * A chat that {@link Chat.save} wrote, in this process or another. It goes on as the saved one does, with its template and its options, unless
   * these are chosen anew. Tools are functions, which are in no file: they are given again. Refused as {@link restoreSession} does, and what is a session but no chat with `NOT_SESSION`.
   */
  restoreChat(path: string | URL, options?: TransferOptions & ToolsOptions & Pick<ChatOptions, 'template' | 'overflow'>): Promise<Chat>

  /** The logits after the last token, one per token of the vocabulary. */
  evaluate(tokens: ArrayLike<number>, options?: { signal?: AbortSignal }): Promise<Float32Array>

  /**
   * The vectors of texts, computed together: many short texts cost one pass over the weights. A vector does not depend on the texts beside it.
   * ```js
   * const [a, b] = await model.embed(['a cat', 'a dog'])
   * const similarity = a.reduce((sum, x, i) => sum + x * b[i], 0) // of length 1: the cosine
   * ```
   * Texts get the tokens around them that the model's metadata asks for (such as CLS and SEP); what a model wants before them (`'query: '`,
   * an instruction) is the caller's. A text longer than the context is refused with both numbers (`CONTEXT_FULL`). For every model but
   * one for ranking: the vectors of models that were not trained for it mean less.
   */
  embed(text: string, options?: EmbedOptions): Promise<Float32Array>
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>

  /**
   * How well documents answer a query, best first, for models with a classifier for that (`info.pooling` is `'rank'`). Query and document are read
   * together: by the file's template for that (`tokenizer.chat_template.rerank`), in which special tokens of the two texts are text; in files
   * without one as two texts, each ended by the token that ends texts, as BERT and its kin were trained (`[CLS] query [SEP] document [SEP]`, the document
   * of token type 1; `<s> query </s></s> document </s>`). A template without a place for one of the two is refused with `CHAT_TEMPLATE`.
   */
  rerank(query: string, documents: readonly string[], options?: { signal?: AbortSignal }): Promise<RankedDocument[]>

  /** How well the model foretells a text: the exponential of the mean negative log-likelihood per token; less is better. */
  perplexity(text: string, options?: PerplexityOptions): Promise<PerplexityResult>

  /** The token ids of a text. Synchronous: a megabyte takes a fraction of a second. */
  tokenize(text: string, options?: TokenizeOptions): number[]

  /** The text of token ids. */
  detokenize(tokens: ArrayLike<number>, options?: DetokenizeOptions): string

  /** A tensor's numbers, dequantized; read when asked for and not kept. */
  tensor(name: string, options?: { signal?: AbortSignal }): Promise<Tensor>

  /** Brings the weights into memory, so that the first tokens come as fast as the later ones. */
  preload(options?: { signal?: AbortSignal; onProgress?: (progress: Progress) => void }): Promise<void>

  /** Tells the system that the weights are not needed for now. They come back when they are used. */
  clearCache(): void

  stats(): Stats

  /**
   * Host functions by which WebAssembly modules in this process read the model's bytes, so that they need not fit into a guest's memory:
   * ```js
   * const memory = new WebAssembly.Memory({ initial: 1 })
   * await WebAssembly.instantiate(bytes, { env: { memory, ...model.wasmImports({ memory }) } })
   * ```
   * They read through the model's own store, and wait until the bytes are there: it is the thread that runs the guest that waits.
   */
  wasmImports(options: WasmOptions): WasmImports

  /** Cancels what runs, waits for it, and frees the model. Further calls return the same promise. */
  close(): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}

export interface WasmOptions {
  /**
   * The guest's memory (32- or 64-bit, shared or not), or a function that returns it, for a guest that exports its memory:
   * `() => instance.exports.memory`. Looked at anew in every call, since it may have grown.
   */
  memory: WasmMemory | (() => WasmMemory)
}

/** What chord needs of a WebAssembly.Memory. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
}

/**
 * Parameters are i32 or i64 as the guest declares them, always taken as unsigned. Results are of the type that is named; negative
 * ones are {@link wasmCodes}.
 */
export type WasmImports = {
  /**
   * Copies a layer (block) of the model to `pointer`, where the guest has room for `max` bytes. The layer is all tensors whose name begins
   * with `blk.<layer>.`, in the order in which `inspect().tensors` lists them, as they lie in the file; the first at `pointer`, each other
   * one at the next multiple of 32 bytes from there, with zeros in between. (As a rule this is what the file holds from the layer's
   * first tensor to the end of its last one.)
   * @returns i32: the bytes written, or a code
   */
  memory64_load_layer(layer: number | bigint, pointer: number | bigint, max: number | bigint): number
  /**
   * Copies `size` bytes of the model's file from `offset` on to `pointer`. Offset 0 is the first byte of the file, so that
   * `inspect().tensors[i].offset` is the offset of a tensor; the files of a split model count as one, each following the one before.
   * @returns i32: `size`, or a code
   */
  memory64_read(offset: number | bigint, pointer: number | bigint, size: number | bigint): number
  /** @returns i64: the bytes that `memory64_load_layer` would write, or a code */
  memory64_layer_bytes(layer: number | bigint): bigint
  /** @returns i32: 1 while the model is open, then 0 */
  memory64_is_enabled(): number
  /** @returns i64: how many reads, of layers and of bytes, these functions have done */
  memory64_stats(): bigint
}

export interface ModelInfo {
  readonly path: string
  /** `general.architecture`, such as `'llama'`. */
  readonly architecture: string
  /** `general.name`; empty when the file has none. */
  readonly name: string
  /** Such as `'Q4_K_M'`. */
  readonly quantization: string
  /** Elements of all tensors. */
  readonly parameters: number
  /** Of all files of the model. */
  readonly fileBytes: number
  /** Tokens of context in force. */
  readonly context: number
  /** Tokens of context that the model was made for. */
  readonly contextTrained: number
  /** Tokens of the vocabulary. */
  readonly vocabulary: number
  readonly layers: number
  readonly embedding: number
  readonly feedForward: number
  readonly heads: number
  readonly headsKv: number
  readonly mode: 'mapped' | 'paged'
  /** The kernels in use: `'scalar'`, `'avx2'`, ... */
  readonly cpu: string
  readonly threads: number
  /** Whether every token of a text sees all others: `embed()` or `rerank()`, and no `generate()`. */
  readonly encoder: boolean
  /** What `embed()` takes as a text's vector; `'rank'`: nothing, but `rerank()` scores pairs of texts. */
  readonly pooling: 'mean' | 'cls' | 'last' | 'rank'
  readonly tokenizer: TokenizerInfo
}

export interface GenerateOptions {
  /** Default: until the model ends the text or the context is full. */
  maxTokens?: number
  /** Never end the text by an end-of-generation token. Default false. */
  ignoreEos?: boolean
  /** 0 always takes the most likely token. Default 0.8. */
  temperature?: number
  /** Choose among the k most likely tokens. 0: off. Default 40. */
  topK?: number
  /** Choose among the most likely tokens that together have this probability. 1: off. Default 0.95. */
  topP?: number
  /** Choose among the tokens at least this likely, relative to the most likely one. 0: off. Default 0.05. */
  minP?: number
  /** Locally typical sampling. 1: off. Default 1. */
  typicalP?: number
  /** Divides the logits of tokens that occurred lately. 1: off. Default 1. */
  repeatPenalty?: number
  /** Taken from a token's logit for each time it occurred lately. Default 0. */
  frequencyPenalty?: number
  /** Taken from a token's logit if it occurred lately. Default 0. */
  presencePenalty?: number
  /** How many tokens back "lately" reaches. Default 64. */
  penaltyLastN?: number
  /** A temperature that follows how sure the model is. Default: none. */
  dynamicTemperature?: DynamicTemperatureOptions
  /** Choose among the tokens whose logit is at most this many standard deviations of all logits below the largest. 0: off. Default 0. */
  topNSigma?: number
  /** Drops, in some of the steps, the most likely tokens. Default: off. */
  xtc?: XtcOptions
  /** Makes what would repeat a passage of the text less likely. Default: off. */
  dry?: DryOptions
  /**
   * Mirostat 2.0: keeps the surprise of the text near a target. It alone decides which tokens stay: `topK`, `topP` and `minP` are off with it, and to
   * set them, `typicalP`, `topNSigma`, `xtc` or a temperature of 0 beside it is refused. Default: off.
   */
  mirostat?: MirostatOptions
  /**
   * The samplers in the order in which they are applied, each at most once; those not named take no part, and their options are refused. Filters
   * before `'temperature'` see the model's own probabilities. Default: all, in the order `'penalties'` (repeat, frequency, presence), `'dry'`,
   * `'topNSigma'`, `'temperature'` (also the dynamic one), `'topK'`, `'typicalP'`, `'topP'`, `'minP'`, `'xtc'`, `'mirostat'`.
   */
  samplers?: SamplerName[]
  /**
   * A sampler of your own, for experiments: called for every token, it returns the token's id, or a promise of it. `logits` is a copy, one number
   * per token of the vocabulary, as the model gives them but with `logitBias`, and `-Infinity` for tokens that can't be chosen. No
   * other option that decides on tokens may be given with it, and nothing is guessed ahead.
   *
   * The generation pauses until it has answered; others of the model go on. What it throws rejects the generation; an id that is
   * none, or whose logit is `-Infinity`, rejects it with `INVALID_ARGUMENT`.
   *
   * ```js
   * const greedy = (logits) => logits.indexOf(logits.reduce((a, b) => Math.max(a, b)))
   * await model.generate('Once upon a time', { sample: greedy })
   * ```
   */
  sample?: (logits: Float32Array, state: SampleState) => number | Promise<number>
  /** Of the random choice: the same seed gives the same text. Default: drawn anew. */
  seed?: number
  /** The text ends before the first of these that appears, also where it begins within a token. */
  stop?: string | string[]
  /** Added to the logits of tokens, by id; `-Infinity` forbids a token. */
  logitBias?: Record<number, number> | Map<number, number>
  /**
   * Which texts may be written, in llama.cpp's GBNF: rules such as `root ::= "yes" | "no" " because " [^.]{1,200} "."`, of which `root` is the whole
   * text. With `{n,m}` what is repeated is counted, however large the numbers are. The text then is one of the grammar whenever
   * `finishReason` is `'stop'` and no stop string cut it; with `'length'` it is the beginning of one. The generation ends by itself where the grammar
   * leaves nothing else. Sampling, `logitBias` and penalties choose among what the grammar allows; `logprobs` are those of all tokens.
   *
   * The text is compiled off the event loop, once for all generations that use it, and what a model finds out of it serves the next one; what is wrong with it is an error with line and
   * column, code `INVALID_ARGUMENT`. Left recursion (a rule that begins with itself) is refused.
   */
  grammar?: string
  /**
   * A JSON Schema: the text is a JSON document that it validates, in the form in which `JSON.stringify` writes it, and the awaited result has it as
   * `value`. A document that ends early is told by `finishReason`, and then there is no `value`.
   * ```js
   * const { value } = await model.generate(prompt, { schema: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] } })
   * ```
   * What the schema says, not what the model knows: say in the prompt what is wanted.
   *
   * Of draft 2020-12: `type`, `enum`, `const`, `properties`, `required`, `additionalProperties`, `patternProperties`, `propertyNames`, `minProperties`,
   * `maxProperties`, `items`, `prefixItems`, `minItems`, `maxItems`, `minLength`, `maxLength`, `pattern` (without look-around, back-references, `\\b` and `\\p`),
   * `format` (date, time, date-time, uuid, email, ipv4), `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `multipleOf` (of decimals, as they are
   * written), `$ref` within the schema, also recursive, `allOf`, `anyOf`, and `oneOf` and `not` where branches can be told apart. What else it
   * says is refused by name and place, before anything is generated: code `INVALID_ARGUMENT`.
   *
   * Narrower than what the schema validates: members come in the order of `properties`; members and elements that it does not mention are
   * left out, but for those of `additionalProperties` and `items`, unless it mentions none; integers are within 2^53. It is compiled off the event
   * loop, once for all generations that use it. Not beside `grammar`.
   */
  schema?: JsonSchema
  /** Log-probabilities of the chosen tokens, and of this many of the most likely ones (0 to 64). Default: none. */
  logprobs?: number
  /**
   * Computes guesses of the next tokens in one step with the last known one. The text, its tokens and log-probabilities are the same
   * as without: a guess counts only where it is the token that is chosen from its logits.
   *
   * `'lookup'`, the default, guesses from where the last tokens stood before, in the prompt or the text: of use where a text is edited,
   * quoted or repeats itself. How many guesses a step takes is decided by how often they came true and by what steps of so many tokens
   * take on this machine, both measured; where they do not pay none is computed.
   */
  speculate?: false | 'lookup' | SpeculateOptions
  /**
   * A smaller model of the same vocabulary, loaded beside this one, that guesses how the text goes on: of use where it often guesses right and takes a
   * fraction of this model's time, above all where this model's weights are read from disk. As with `speculate`, the text stays the same, and
   * how many guesses are made of it, if any, follows from what is measured: where drafts do not pay they end, but for a try now
   * and then, in a hundredth of the time. Of lookup and draft each step takes what promises more.
   *
   * The draft model is a {@link Model} like any other and stays yours: it takes memory for these texts from its own budget, may draft for several
   * models, and may generate itself; it is not asked while it does. Close it when you like: generations under way go on without.
   * One with another vocabulary, or this model itself, is refused. Default: that of {@link loadModel}; `false`: none, as with
   * `speculate: false`.
   */
  draft?: Model | false
  /** An abort cancels; the promise and the stream then reject with the signal's reason. */
  signal?: AbortSignal
}

export type SamplerName = 'penalties' | 'dry' | 'topNSigma' | 'temperature' | 'topK' | 'typicalP' | 'topP' | 'minP' | 'xtc' | 'mirostat'

/** What a sampler of {@link GenerateOptions.sample} is told. One object for the whole generation: to change it changes what it is told next. */
export interface SampleState {
  /** The text so far: the prompt, then what was generated. */
  tokens: number[]
  /** Of `tokens`, those of the prompt. */
  promptTokens: number
  /** Tokens generated so far: 0 at first. */
  step: number
}

/**
 * From `temperature - range` (at least 0) to `temperature + range`, by the entropy of the tokens in the running, divided by the largest that
 * so many can have, to the power of `exponent`.
 */
export interface DynamicTemperatureOptions {
  /** 0: off. */
  range: number
  /** Default 1. */
  exponent?: number
}

/** XTC, "exclude top choices": all tokens of at least the probability `threshold` are dropped but the least likely of them. */
export interface XtcOptions {
  /** Of a step to be one in which that is done. 0: off. Default 0.5. */
  probability?: number
  /** At most 0.5, since two tokens have to be so likely. Default 0.1. */
  threshold?: number
}

/**
 * DRY, "don't repeat yourself": where the end of the text stood before, `multiplier * base ** (length - allowedLength)` is taken from the logit of
 * the token that followed it there, `length` being the tokens of the longest passage that would go on being repeated.
 */
export interface DryOptions {
  /** 0: off. Default 0.8. */
  multiplier?: number
  /** At least 1. Default 1.75. */
  base?: number
  /** Shorter passages cost nothing. Default 2. */
  allowedLength?: number
  /** How many tokens back passages are looked for. Default: the whole text, with the prompt. */
  penaltyLastN?: number
  /** No passage goes across a token at which one of these ends. Default: a line break, `:`, `"` and `*`. */
  sequenceBreakers?: string | string[]
}

export interface MirostatOptions {
  /** The surprise aimed at, in bits. Default 5. */
  tau?: number
  /** How fast it is aimed. Default 0.1. */
  eta?: number
}

export type JsonSchema = boolean | { readonly [keyword: string]: unknown }

/**
 * What a value of a JSON Schema is to TypeScript, as far as `const`, `enum`, `type`, `properties`, `required`, `items`, `prefixItems`, `anyOf` and `oneOf` say
 * it by themselves; else `unknown`.
 */
export type ValueOf<S> = S extends { readonly const: infer C }
  ? C
  : S extends { readonly enum: readonly (infer E)[] }
    ? E
    : S extends { readonly $ref: unknown } | { readonly allOf: unknown }
      ? unknown
      : S extends { readonly type: readonly (infer T)[] }
        ? ValueOfType<S, T>
        : S extends { readonly type: infer T }
          ? ValueOfType<S, T>
          : S extends { readonly properties: object }
            ? ValueOfType<S, 'object'>
            : S extends { readonly anyOf: readonly (infer B)[] } | { readonly oneOf: readonly (infer B)[] }
              ? ValueOf<B>
              : unknown

type ValueOfType<S, T> = string extends T ? unknown : T extends keyof SimpleTypes ? SimpleTypes[T] : T extends 'array' ? ArrayOf<S> : T extends 'object' ? ObjectOf<S> : unknown

interface SimpleTypes {
  null: null
  boolean: boolean
  integer: number
  number: number
  string: string
}

type ArrayOf<S> = S extends { readonly prefixItems: unknown } ? unknown[] : S extends { readonly items: infer I } ? ValueOf<I>[] : unknown[]

type RequiredOf<S> = S extends { readonly required: readonly (infer R)[] } ? R : never

type ObjectOf<S> = S extends { readonly properties: infer P }
  ? { -readonly [K in keyof P as K extends RequiredOf<S> ? K : never]: ValueOf<P[K]> } & {
      -readonly [K in keyof P as K extends RequiredOf<S> ? never : K]?: ValueOf<P[K]>
    }
  : Record<string, unknown>

export interface SpeculateOptions {
  /** Guess from prompt and text. Default true. */
  lookup?: boolean
  /** At most so many guesses in a step, 1 to 15. Default 15. */
  guesses?: number
  /** As many guesses as there are, whether they pay or not: for tests and benchmarks. Default false. */
  always?: boolean
}

/**
 * A text whose keys and values are kept between the generations that continue it. Made by {@link Model.session} and {@link Session.fork}.
 *
 * A token that was generated stays a generated one, and is computed as such should that have to be done again. So a text is the one
 * that a single run gives in which the same tokens are prompt and the same are generated, whatever of it was reused.
 */
export class Session {
  private constructor()

  /** The text so far: the last prompt and what was generated after it, without an end-of-generation token. While a generation runs: as it was before. */
  readonly tokens: number[]

  /**
   * As {@link Model.generate}, of the whole text so far: `prompt` is not appended. The longest prefix that it has in common
   * with {@link tokens} is not computed again (but for the last token of the prompt), and what the session held behind that prefix is
   * dropped: to go on from a text in several ways, {@link fork} it before.
   *
   * A generation that is cancelled or fails leaves the prompt and what was generated; one that ends before it began leaves the session as it
   * was. One generation at a time: else `BUSY`.
   */
  generate<const S extends JsonSchema>(prompt: string | ArrayLike<number>, options: GenerateOptions & { schema: S }): Generation<ValueOf<S>>
  generate(prompt: string | ArrayLike<number>, options?: GenerateOptions): Generation

  /** Another session with the same text. The two share memory as far as their texts are the same. `BUSY` while a generation runs. */
  fork(): Promise<Session>

  /**
   * Writes the session to a file, from which {@link Model.restoreSession} makes it again: tokens, keys and values, with checks. The file
   * appears under its name, or replaces the one there, when all of it is on the disk; before that, and if writing fails or is
   * aborted, nothing of that name changes. Only the user can read it. While it is written the session is in use: `BUSY`.
   */
  save(path: string | URL, options?: TransferOptions): Promise<void>

  /** Cancels what the session generates and gives back its memory. Further calls return the same promise. */
  close(): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}

/** A message of a conversation: plain data, of which the chat template takes what it knows. */
export interface ChatMessage {
  /** `'system'`, `'user'`, `'assistant'`, `'tool'`, or what else the template knows. */
  role: string
  content?: string | readonly ChatContentPart[] | null
  /** Of an assistant, what it thought before it answered. Templates find it as `reasoning_content` and as `thinking`. */
  reasoning?: string
  /** Of an assistant, the tools that it called; templates find them in their own way. */
  toolCalls?: readonly ToolCall[]
  /** Of the role `'tool'`, whose `content` is a result: the call that it answers, and the name of the tool. */
  toolCallId?: string
  name?: string
  [more: string]: unknown
}

export interface ChatContentPart {
  type: string
  text?: string
  [more: string]: unknown
}

/** How messages become a prompt. */
export interface MessagesOptions {
  /**
   * The chat template: the name of one in the model's file (`'default'`, `'tool_use'`), or a text in Jinja. Default: that of the file; where it
   * has none, a simple one of chord, to which {@link Chat.template} owns up.
   */
  template?: string
  /** For templates that know documents. */
  documents?: readonly unknown[]
  /** More variables for the template, such as `{ enable_thinking: false }`. */
  variables?: Record<string, unknown>
}

/**
 * A function that the model may call.
 *
 * ```js
 * const tools = {
 *   weather: {
 *     description: 'The weather of a town',
 *     parameters: { type: 'object', properties: { town: { type: 'string' } }, required: ['town'] },
 *     run: async ({ town }) => (await fetch(`https://example.com/${town}`)).json(),
 *   },
 * }
 * const { text } = await model.chat({ tools }).send('Is it raining in Oslo?')
 * ```
 */
export interface Tool<Arguments = any> {
  /** What it does and when it is of use, for the model. */
  description?: string
  /**
   * A JSON Schema of the type `'object'`. Arguments are generated by it, so they parse and are valid; what chord does not support of JSON Schema is refused
   * by name. Where a form has a tag for each argument (Qwen3-Coder, GLM), strings stand in it as they are, and are of their schema too (where it takes null as well, `null` is none); what closes the tag
   * does not occur in them. Default: no arguments.
   */
  parameters?: Record<string, unknown>
  /**
   * Answers a call. A string is the result as it is, anything else as JSON. What it throws the model is told: the message of the error.
   * Without it, the calls are in the result, and messages with the role `'tool'` answer them.
   */
  run?(args: Arguments, context: { signal: AbortSignal; toolCall: ToolCall }): unknown
}

export interface ToolCall {
  id: string
  name: string
  /** As the tool's `parameters` say. */
  arguments: any
}

/**
 * Tools for conversations. The model is told of them by its chat template, and calls them in the form that this template shows: those of
 * Hermes and Qwen, Qwen3-Coder, Llama 3, Mistral, gpt-oss, DeepSeek, Kimi, GLM and Granite are known; with a template that shows none,
 * definitions and calls are JSON in the messages. From where a call begins to its end nothing else can be generated.
 */
export interface ToolsOptions {
  /** By their names: up to 64 letters, digits, _, - and . */
  tools?: Record<string, Tool>
  /**
   * `'auto'` (the default): the model calls tools or does not. `'required'`: its first answer is calls; `{ name }`: calls of this tool. `'none'`:
   * it is told of the tools and can't call them.
   */
  toolChoice?: 'auto' | 'required' | 'none' | { name: string }
  /** Whether an answer may call several times, where the form of the model has that. Default true. */
  parallelToolCalls?: boolean
  /**
   * How often tools are run before an answer without calls: the calls of one answer run side by side, and are one round. Then, or when a tool that is called has
   * no `run`, the calls are the result. Default 8.
   */
  maxRounds?: number
}

export interface ChatOptions extends MessagesOptions, ToolsOptions {
  /** The text of a first message with the role `'system'`. */
  system?: string
  /** Messages to begin with. */
  messages?: readonly ChatMessage[]
  /**
   * When the conversation outgrows the context: `'error'` (the default) refuses the next message with `CONTEXT_FULL`. `'shift'` forgets the
   * oldest turns, as many as it takes to leave room for an answer (a fourth of the context, or `maxTokens` if that is less), and keeps
   * the system prompt; the rest is computed anew.
   */
  overflow?: 'error' | 'shift'
}

/** A conversation with a model. Made by {@link Model.chat} and {@link Chat.fork}. */
export class Chat {
  private constructor()

  /** Which template makes prompts of the messages: `'fallback'` is chord's own, for files without one. `name` is null but for `'file'`. */
  readonly template: { readonly name: string | null; readonly source: 'file' | 'option' | 'fallback'; readonly text: string }

  /**
   * Copies of the messages so far; while an answer is given, as they were before it. May be set, to edit or cut the conversation, which
   * computes again only what follows the first change: `BUSY` while an answer is given.
   */
  get messages(): ChatMessage[]
  set messages(messages: readonly ChatMessage[])

  /**
   * Adds messages to the conversation and has the model answer. A text is a message of the user; nothing at all has the messages that are
   * there answered. What is sent while an answer is given waits until that has ended.
   *
   * What is wrong with the arguments is thrown by the call itself. When a template or the generation fails, the chat is as it was before. An
   * answer that is cancelled stays in the conversation as far as it came; one that had not begun leaves the chat as it was. With tools that run,
   * each round stays in the conversation when its results are there.
   *
   * Options about tools take the place of the chat's.
   *
   * Control tokens that are written out in messages stay text, but where the template changes texts too much to tell them apart: then
   * the result has a warning.
   */
  send<const S extends JsonSchema>(
    message: string | ChatMessage | readonly ChatMessage[] | undefined,
    options: GenerateOptions & ToolsOptions & { schema: S },
  ): ChatAnswer<ValueOf<S>>
  send(message?: string | ChatMessage | readonly ChatMessage[], options?: GenerateOptions & ToolsOptions): ChatAnswer

  /** Takes back the last turns, each a message of the user with all that followed. Returns the messages. `BUSY` while an answer is given. */
  rewind(turns?: number): ChatMessage[]

  /** Another chat with the same messages; what the two have in common is held once. Waits for an answer that is being given. */
  fork(): Promise<Chat>

  /** The prompt that the template makes of the messages as they are, ready for an answer. */
  render(): Promise<string>

  /**
   * Writes messages, template, tokens, keys and values to a file, as {@link Session.save} does, from which {@link Model.restoreChat} goes on. Waits for an
   * answer that is being given.
   */
  save(path: string | URL, options?: TransferOptions): Promise<void>

  /** Cancels the answer that is being given and gives back the memory. Further calls return the same promise. */
  close(): Promise<void>

  [Symbol.asyncDispose](): Promise<void>
}

/**
 * An answer being given: iterating yields the text in pieces, awaiting gives the {@link ChatResult}, as with a {@link Generation}. To leave
 * a loop early cancels the answer, and goes on when the chat is at rest.
 */
export class ChatAnswer<V = unknown> implements AsyncIterable<string>, PromiseLike<ChatResult<V>> {
  private constructor()

  /** Stops the answer. The result then has what was said so far, and the finish reason `'cancelled'`. */
  cancel(): void

  /** The text as a web stream; to cancel it cancels the answer. */
  readonly readable: ReadableStream<string>

  /** What comes, in its order: pieces of the text, and what is not in the text: pieces of the reasoning, calls of tools and their results. */
  events(): AsyncGenerator<ChatEvent, void, undefined>

  [Symbol.asyncIterator](): AsyncGenerator<string, void, undefined>

  then<A = ChatResult<V>, B = never>(
    onFulfilled?: ((result: ChatResult<V>) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B>
  catch<B = never>(onRejected?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<ChatResult<V> | B>
  finally(onFinally?: (() => void) | null): Promise<ChatResult<V>>
}

/** `token` is null of text that was held back, since it might have become a mark of reasoning or a stop string. */
export type ChatEvent = TokenEvent &
  (
    | { type: 'text' | 'reasoning' }
    /** A call is whole; those of one answer run when the answer is. */
    | { type: 'toolCall'; toolCall: ToolCall }
    | { type: 'toolResult'; toolResult: { id: string; name: string; content: string } }
  )

/** Of the last answer, where tools were run between several; `usage` is of all. */
export interface ChatResult<V = unknown> extends Omit<Result<V>, 'speculation' | 'timings' | 'finishReason'> {
  /** The answer, without its reasoning and without calls. */
  text: string
  /** As of a {@link Result}, and `'toolCalls'` where the answer calls tools. */
  finishReason: Result['finishReason'] | 'toolCalls'
  /** The calls that wait for an answer: messages of the role `'tool'` with their `toolCallId`. None where tools have been run. */
  toolCalls: ToolCall[]
  /** All that has been added to the conversation after what was sent: answers and results of tools. */
  messages: ChatMessage[]
  /** What the model thought before it answered, where its template knows such blocks. */
  reasoning?: string
  /** As it now stands in the conversation; null of an answer that was cancelled before it began. */
  message: ChatMessage | null
  /** Absent of an answer that was cancelled before it began. */
  speculation?: Result['speculation']
  timings?: Result['timings']
  /** What could not be had. */
  warnings: string[]
  /** Of chats: messages that overflow: 'shift' has forgotten. */
  droppedMessages?: number
}

export interface TransferOptions {
  /** An abort ends the work; the promise then rejects with the signal's reason. */
  signal?: AbortSignal
  /** In bytes; `phase` is `'save'` or `'restore'`. */
  onProgress?: (progress: Progress) => void
}

/**
 * A text being generated. Iterating yields pieces of whole characters; awaiting gives the {@link Result}. Both may be done, in any
 * order, any number of times: every reader starts at the beginning of the text. To leave a loop early cancels the generation.
 *
 * An error that nobody awaits is not reported as an unhandled rejection.
 */
export class Generation<V = unknown> implements AsyncIterable<string>, PromiseLike<Result<V>> {
  private constructor()

  /** Stops the generation. The result then has what was generated so far, and the finish reason `'cancelled'`. */
  cancel(): void

  /** The text as a web stream; to cancel it cancels the generation. */
  readonly readable: ReadableStream<string>

  /** Token by token, with log-probabilities if the option `logprobs` asks for them. */
  events(): AsyncGenerator<TokenEvent, void, undefined>

  [Symbol.asyncIterator](): AsyncGenerator<string, void, undefined>

  then<A = Result<V>, B = never>(
    onFulfilled?: ((result: Result<V>) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B>
  catch<B = never>(onRejected?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<Result<V> | B>
  finally(onFinally?: (() => void) | null): Promise<Result<V>>
}

export interface TokenEvent {
  /** `null` of text that was held back (it might have become a stop string) and that the end released. */
  token: number | null
  /** What this token added to the text: nothing while a character or a possible stop string is incomplete. */
  text: string
  /** Natural logarithm of the token's probability. */
  logprob?: number
  /** The most likely tokens. */
  top?: TokenLogprob[]
}

export interface TokenLogprob {
  token: number
  logprob: number
}

export interface Result<V = unknown> {
  text: string
  /** With the option `schema`: what the text is, parsed. Only when the document is whole: with `finishReason` `'stop'`, and no stop string has cut it. */
  value?: V
  /** What was generated, without the prompt and without an end-of-generation token. */
  tokens: number[]
  /** `'stop'`: the model or a stop string ended the text. `'length'`: `maxTokens` or the context did. `'cancelled'`: you did. */
  finishReason: 'stop' | 'length' | 'cancelled'
  /** reusedTokens: of promptTokens, those that a session or another generation had computed. */
  usage: { promptTokens: number; reusedTokens: number; completionTokens: number }
  /**
   * Of the options `speculate` and `draft`: tokens computed ahead, and those of them that came true; and how many of each were the draft
   * model's, the others being found in the text.
   */
  speculation: { guessedTokens: number; acceptedTokens: number; draftedTokens: number; acceptedDraftTokens: number }
  /** completionPerSecond: tokens per second from the first one, which comes with the prompt, to the last. */
  timings: { promptMs: number; completionMs: number; promptPerSecond: number; completionPerSecond: number }
  /** With the option `logprobs`: one entry per token. */
  logprobs?: (TokenLogprob & { top: TokenLogprob[] })[]
}

export interface PerplexityOptions {
  /** Tokens of a window. Default 512, or the model's context if that is less. */
  context?: number
  /**
   * Without it, windows lie side by side and the second half of each is scored, as llama.cpp's perplexity tool does it. With it,
   * windows begin every `stride` tokens, and the last `stride` tokens of each are scored.
   */
  stride?: number
  signal?: AbortSignal
  /** Called after each window, with the perplexity so far. */
  onProgress?: (progress: Progress & { perplexity: number }) => void
}

export interface PerplexityResult {
  perplexity: number
  /** Tokens scored. */
  tokens: number
  windows: number
}

export interface TokenizeOptions {
  /** Take the text of special tokens, such as `<s>`, for the tokens. Default false. */
  special?: boolean
  /** Begin with BOS. Default: as the metadata says. */
  bos?: boolean
}

export interface DetokenizeOptions {
  /** Show special tokens as text. Default false. */
  special?: boolean
}

/** Text to token ids and back. Made by {@link loadTokenizer}. */
export class Tokenizer {
  private constructor()
  readonly info: TokenizerInfo
  tokenize(text: string, options?: TokenizeOptions): number[]
  detokenize(tokens: ArrayLike<number>, options?: DetokenizeOptions): string
}

/** Token ids are `null` where the vocabulary has no such token. */
export interface TokenizerInfo {
  readonly model: string
  readonly pretokenizer: string
  readonly vocabulary: number
  readonly bos: number | null
  readonly eos: number | null
  readonly eot: number | null
  readonly unknown: number | null
  readonly padding: number | null
  /** Stands between two texts that are read as one (`rerank()`), behind the end of the first; `null` where the end alone parts them. */
  readonly separator: number | null
  /**
   * Tokens of models that fill gaps in texts: `[prefix, ...before, suffix, ...after, middle]` is the prompt, what fills the gap is generated; in
   * the vocabularies of Codestral and Seed-Coder the suffix comes first (`infill()` knows).
   * `null` where the vocabulary has none.
   */
  readonly infill: { readonly prefix: number; readonly suffix: number; readonly middle: number } | null
  readonly addBos: boolean
  readonly addEos: boolean
}

export interface Tensor {
  name: string
  /** As stored: `'Q4_K'`, `'F32'`, ... */
  type: string
  /** Of a matrix [rows, columns]; the last dimension runs fastest. */
  shape: number[]
  data: Float32Array
}

export interface PlanOptions extends LoadOptions {
  /**
   * Which experts a mixture of experts is expected to choose; of the header alone that can't be known.
   * - `'scattered'` (the default): nearly any of them, as models with random weights do. Trained models are faster than this says.
   * - `'repeating'`: often those of the last tokens, as was published of trained models with many small experts: half of them are used
   *   by the next token too.
   * - `{ file }`: those that `npm run bench:experts -- --record MODEL --trace FILE` has recorded.
   */
  routes?: 'scattered' | 'repeating' | { file: string | URL }
}

export interface Plan {
  path: string
  architecture: string
  mode: 'mapped' | 'paged'
  /** Whether everything fits the memory. A mapped model that does not still runs, as fast as the disk is. */
  fits: boolean
  /** The ceiling in force. */
  memoryBytes: number
  weightsBytes: number
  /** What one generated token reads of them. */
  weightsBytesPerToken: number
  /** Keys and values at full context. */
  kvBytes: number
  kvBytesPerToken: number
  /** Activations and logits. */
  scratchBytes: number
  /** Header and tokenizer. */
  metadataBytes: number
  context: number
  contextTrained: number
  layers: number
  threads: number
  /** Bytes per second that these threads read from memory, measured. */
  readBandwidth: number
  /** Paged: bytes per second that reads from these files got, measured; 0 in mapped mode. */
  diskBandwidth: number
  /**
   * Of weightsBytesPerToken, those that are in memory while one text of up to 128 tokens is generated: always, or of experts as often as
   * `experts.hitShare` says; all, in mapped mode.
   */
  pinnedBytes: number
  /** Paged: of memory for those that do not. */
  ringBytes: number
  /**
   * The greater of weightsBytesPerToken / readBandwidth and, paged, (weightsBytesPerToken - pinnedBytes) / diskBandwidth. With `experts`
   * that of all else, and added to it, for experts are read when their layer is reached, the greater of experts.bytesPerToken /
   * readBandwidth and experts.bytesPerToken * (1 - experts.hitShare) / experts.diskBandwidth.
   */
  secondsPerToken: number
  tokensPerSecond: number
  /** What the KV types (the option `kv.type`) make of it at the end of the context, when the cache is full. */
  kv: { f16: PlanKv; q8_0: PlanKv }
  /** The same by layer; the last is for what belongs to none, such as the output matrix. */
  layerBytes: { stepBytes: number; pinnedBytes: number }[]
  /**
   * Of a paged mixture of experts, else null. The cache of experts was replayed, in the size that it will have, over `routes` (the name or file
   * of the option).
   */
  experts: {
    routes: string
    /** Of weightsBytesPerToken. */
    bytesPerToken: number
    /** For experts that stay. */
    memoryBytes: number
    /** Of uses, those that find their expert there. */
    hitShare: number
    /** Bytes per second that reads of as many experts at once got as a layer will miss, measured. */
    diskBandwidth: number
  } | null
  warnings: string[]
}

export interface PlanKv {
  /** Of KV cache. */
  bytesPerToken: number
  /** Of KV cache, for the whole context. */
  bytes: number
  /** The cache fits the memory with what else has to be there. */
  fits: boolean
  /** As `pinnedBytes` of the plan, beside the whole cache. null: it does not fit. */
  pinnedBytes: number | null
  /** As `secondsPerToken` of the plan, with the weights that then stay, and bytes / readBandwidth for the cache, which a token reads. null: it does not fit. */
  secondsPerToken: number | null
}

export interface Stats {
  mode: 'mapped' | 'paged'
  /** What chord allocated itself. Mapped weights are not among it. */
  memory: { budgetBytes: number; heldBytes: number; peakBytes: number }
  /** ceilingBytes: of the option `memory`; null: none of its own. */
  regions: {
    metadata: { heldBytes: number }
    tokenizer: { heldBytes: number }
    /** residentBytes: of the mapped files, in memory now; null where the system does not tell. */
    weights: { heldBytes: number; ceilingBytes: number | null; mappedBytes: number; residentBytes: number | null }
    /** Of generations and of sessions. blocks: each once, however many texts share it. tokens: of all texts, each counted for itself. */
    kv: {
      heldBytes: number
      ceilingBytes: number | null
      blocks: number
      blockBytes: number
      tokens: number
      /** Of the option `kv.spill`: blocks in its file now, and bytes that went there and came back so far. */
      spilledBlocks: number
      spillWrittenBytes: number
      spillReadBytes: number
    }
    scratch: { heldBytes: number; ceilingBytes: number | null }
  }
  work: {
    /** Generations and the like that are unfinished. */
    running: number
    steps: number
    /** Of prompts, computed. */
    promptTokens: number
    /** Of prompts, not computed: the session, another one, or a generation under way had computed the same beginning. It is held once. */
    reusedTokens: number
    generatedTokens: number
    /** Of the options `speculate` and `draft`: tokens computed ahead, and those of them that came true. */
    guessedTokens: number
    acceptedTokens: number
    /** Of them, by draft models. */
    draftedTokens: number
    acceptedDraftTokens: number
    /** Of all steps. */
    weightBytesUsed: number
    /** In steps, without those waited for weights. */
    computeSeconds: number
    /** In steps, waited for weights of a paged model, on average over the threads. */
    stallSeconds: number
    /** Threads that read weights while one text is generated, and how far ahead they read: tried out on the first tokens. */
    decodeThreads: number
    prefetchBytes: number
  }
  /** Of paged mode, else null. Counted are uses of tiles, each some rows of a matrix, by whole steps. */
  paging: {
    policy: 'pin' | 'lru' | 'expert'
    /** Of weights that a step uses. */
    stepBytes: number
    /** Of memory for those of them that stay, and for the others. */
    pinnedBytes: number
    ringBytes: number
    tiles: number
    pinnedTiles: number
    /** Uses of tiles that were in memory before they were wanted, or had to be read. */
    hits: number
    misses: number
    hitBytes: number
    missBytes: number
    /** Tiles that gave their memory to others. */
    evictions: number
    readBytes: number
    /** In which at least one read was under way; with readBytes it gives readBandwidth, bytes per second. */
    readSeconds: number
    readBandwidth: number
  } | null
  /** By layer; the last is for what belongs to none, such as the output matrix. Counts of paged mode are 0 in mapped mode. */
  layers: {
    hits: number
    misses: number
    hitBytes: number
    missBytes: number
    evictions: number
    readBytes: number
    computeSeconds: number
    stallSeconds: number
  }[]
}

export type MetadataScalar = string | number | bigint | boolean

export interface GgufInfo {
  /** Of the format: 2 or 3. */
  version: number
  /** The files of a split model, or the one. */
  parts: { path: string; bytes: number }[]
  /** Of all files. */
  bytes: number
  /** Elements of all tensors. */
  parameters: number
  /** By key; integers beyond 2^53 are bigints. Arrays have at most 1048576 elements here. */
  metadata: Record<string, MetadataScalar | MetadataScalar[]>
  /** By key: `'uint32'`, `'string'`, `'string[]'`, ... */
  metadataTypes: Record<string, string>
  tensors: GgufTensor[]
}

export interface GgufTensor {
  name: string
  type: string
  /** Of a matrix [rows, columns]: the reverse of the order in the file. */
  shape: number[]
  bytes: number
  /** Index of its file in `parts`. */
  part: number
  /** In that file. */
  offset: number
}

export interface SystemInfo {
  /** The processor's name. */
  cpu: string
  /** The best kernels that run here. */
  tier: string
  /** All that run here. The environment variable CHORD_CPU forces one. */
  tiers: string[]
  /** Processors that this process may use. */
  processors: number
  /** What a new model may take: machine and container considered. */
  memoryFreeBytes: number
}

export type ChordErrorCode =
  | 'INVALID_ARGUMENT'
  | 'FILE_NOT_FOUND'
  | 'IO'
  | 'NOT_GGUF'
  | 'GGUF_VERSION'
  | 'GGUF_TRUNCATED'
  | 'GGUF_LIMIT'
  | 'GGUF_METADATA'
  | 'GGUF_TENSOR'
  | 'GGUF_TENSOR_TYPE'
  | 'GGUF_ALIGNMENT'
  | 'GGUF_SPLIT'
  | 'UNSUPPORTED_ARCHITECTURE'
  | 'UNSUPPORTED_TOKENIZER'
  | 'MODEL_HPARAMS'
  | 'MODEL_TENSOR'
  | 'TOKENIZER'
  | 'OUT_OF_MEMORY'
  | 'MEMORY_BUDGET'
  | 'CONTEXT_FULL'
  | 'CANCELLED'
  | 'CLOSED'
  | 'NOT_FOUND'
  | 'FILE_CHANGED'
  | 'NOT_SESSION'
  | 'SESSION_VERSION'
  | 'SESSION_TRUNCATED'
  | 'SESSION_DAMAGED'
  | 'SESSION_FOREIGN'
  | 'BUSY'
  | 'CHAT_TEMPLATE'
  | 'THREAD'
  | 'BINDING_NOT_FOUND'

/** Every error that chord makes. `code` is stable and for programs, `message` is for people; the codes are listed in lib/errors.js. */
export class ChordError extends Error {
  constructor(message: string, options: { code: ChordErrorCode; cause?: unknown })
  readonly code: ChordErrorCode
}
