'use strict'

const binding = require('./binding.js')
const { answerMessages, restoreChat, startChat } = require('./chat/chat.js')
const { isMessages } = require('./chat/messages.js')
const { ChatTokenizer } = require('./chat/tokens.js')
const { withCancel } = require('./cancel.js')
const { checkLength, embedTexts, finished, relevance, textList } = require('./embedding.js')
const { ChordError, located } = require('./errors.js')
const { runJob, startGeneration } = require('./generation.js')
const { compileGrammar } = require('./grammar.js')
const { infillTokens } = require('./infill.js')
const { EMBED, GENERATE, LOAD, PERPLEXITY, PLAN, PRELOAD, RESTORE_CHAT, SIGNAL, TRANSFER, WASM, nativeLoadOptions } = require('./options.js')
const { plainPairs, templatePairs } = require('./pairs.js')
const { measurePerplexity } = require('./perplexity.js')
const { nativeRoutes } = require('./routes.js')
const { checkNoSampling, nativeSampling } = require('./sampling.js')
const { SECRET, Session } = require('./session.js')
const { tokenizerOf } = require('./tokenizer.js')
const { FORM } = require('./tools/use.js')
const v = require('./validate.js')
const { makeWasmImports } = require('./wasm.js')

const PRELOAD_SECONDS = 0.02
const LONG_PROMPT = 8192 // characters; about a millisecond of work

let setDraft // (model, draft model): what loadModel() does of a Model

/** A loaded model. From loadModel(). */
class Model {
  #handle
  #info
  #tokenizer
  #draft // the Model that drafts where a generation does not say otherwise
  #asHost = null
  #closing = null

  static {
    setDraft = (model, draft) => {
      binding.checkDraft(model.#handle, draft.#handle)
      model.#draft = draft
    }
  }

  constructor(secret, handle, path) {
    if (secret !== SECRET) throw new TypeError('a Model is made by loadModel()')
    this.#handle = handle
    this.#tokenizer = tokenizerOf(handle)
    this.#info = Object.freeze({ path, ...binding.modelInfo(handle), tokenizer: this.#tokenizer.info })
    v.models.add(this)
  }

  get info() {
    return this.#info
  }

  generate(prompt, options) {
    if (isMessages(prompt)) {
      this.#assertOpen()
      return answerMessages(this.#chatHost(), prompt, options)
    }
    return this.#generate(prompt, options, (tokens, native, listener) => binding.generate(this.#handle, tokens, native, listener))
  }

  chat(options) {
    this.#assertOpen()
    return startChat(this.#chatHost(), options)
  }

  infill(prefix, suffix, options) {
    const submit = (tokens, native, listener) => binding.generate(this.#handle, tokens, native, listener)
    return this.#generate(undefined, options, submit, () => infillTokens(this.#tokenizer, prefix, suffix))
  }

  session() {
    this.#assertOpen()
    return this.#makeSession(binding.sessionOpen(this.#handle))
  }

  async restoreSession(path, options) {
    this.#assertOpen()
    const file = v.filePath('path', path, 'of a saved session')
    const { signal, onProgress } = v.options('restoreSession()', options, TRANSFER)
    const progress = onProgress && ((done, total) => onProgress({ phase: 'restore', done, total }))
    return (await this.#restore(file, signal, progress)).session
  }

  async restoreChat(path, options) {
    this.#assertOpen()
    const file = v.filePath('path', path, 'of a saved chat')
    const { signal, onProgress, ...rest } = v.options('restoreChat()', options, RESTORE_CHAT)
    const progress = onProgress && ((done, total) => onProgress({ phase: 'restore', done, total }))
    return restoreChat(this.#chatHost(), file, await this.#restore(file, signal, progress), rest)
  }

  async evaluate(tokens, options) {
    this.#assertOpen()
    const { signal } = v.options('evaluate()', options, SIGNAL)
    const ids = this.#tokenIds('tokens', tokens)
    const final = await this.#run((listener) => binding.evaluate(this.#handle, ids, listener), signal)
    return final.logits
  }

  async perplexity(text, options) {
    this.#assertOpen()
    const { context = Math.min(512, this.#info.context), stride, signal, onProgress } = v.options('perplexity()', options, PERPLEXITY)
    if (context > this.#info.context) {
      throw v.invalid(`option 'context' of perplexity(): expected at most the model's context, ${this.#info.context}, got ${context}`)
    }
    if (stride !== undefined && stride >= context) {
      throw v.invalid(`option 'stride' of perplexity(): expected less than the window of ${context} tokens, got ${stride}`)
    }
    v.string('text', text)
    signal?.throwIfAborted()
    const tokens = await this.#tokenizer.tokenizeLong(text)
    const { bos, addBos } = this.#tokenizer.info
    const score = (window, first) => this.#run((listener) => binding.score(this.#handle, window, first, listener), signal)
    return measurePerplexity({ tokens, bos: addBos ? bos : null, context, stride, score, signal, onProgress })
  }

  async embed(texts, options) {
    this.#assertOpen()
    const list = textList('texts', texts)
    const { pooling } = this.#info
    const { normalize = true, dimensions = this.#info.embedding, pooling: asked, signal } = v.options('embed()', options, EMBED)
    if (pooling === 'rank') throw v.invalid('embed(): this is a model for ranking, which gives a score of two texts and no vector of one; use rerank()')
    if (dimensions > this.#info.embedding) {
      throw v.invalid(`option 'dimensions' of embed(): expected at most those of the model's vectors, ${this.#info.embedding}, got ${dimensions}`)
    }
    const vectors = new Array(list.length)
    const nameOf = (index) => (typeof texts === 'string' ? 'the text' : `texts[${index}]`)
    await embedTexts({
      handle: this.#handle,
      n: list.length,
      tokensOf: (index) => this.#textTokens(list[index], (tokens) => this.#fitting(nameOf(index), { tokens })),
      pooling: asked,
      signal,
      take: (index, vector) => (vectors[index] = finished(vector, dimensions, normalize)),
    })
    return typeof texts === 'string' ? vectors[0] : vectors
  }

  async rerank(query, documents, options) {
    this.#assertOpen()
    const list = textList('documents', typeof documents === 'string' ? undefined : documents)
    const { signal } = v.options('rerank()', options, SIGNAL)
    const question = v.string('query', query)
    if (this.#info.pooling !== 'rank') {
      throw v.invalid(`rerank(): this model has no classifier that scores pairs of texts (its pooling is '${this.#info.pooling}'); use a reranker, or compare the vectors of embed()`)
    }
    const scores = new Float64Array(list.length)
    await embedTexts({
      handle: this.#handle,
      n: list.length,
      tokensOf: this.#pairTokens(question, list),
      signal,
      take: (index, labels) => (scores[index] = relevance(labels)),
    })
    return Array.from(scores, (score, index) => ({ index, score })).sort((a, b) => b.score - a.score || a.index - b.index)
  }

  tokenize(text, options) {
    this.#assertOpen()
    return this.#tokenizer.tokenize(text, options)
  }

  detokenize(tokens, options) {
    this.#assertOpen()
    return this.#tokenizer.detokenize(tokens, options)
  }

  async tensor(name, options) {
    this.#assertOpen()
    const { signal } = v.options('tensor()', options, SIGNAL)
    return withCancel(signal, (cancel) => binding.tensor(this.#handle, v.string('name', name), cancel))
  }

  async preload(options) {
    this.#assertOpen()
    const { signal, onProgress } = v.options('preload()', options, PRELOAD)
    await withCancel(signal, async (cancel) => {
      for (let done = 0, total = Infinity; done < total; ) {
        this.#assertOpen()
        ;({ done, total } = await binding.preload(this.#handle, done, PRELOAD_SECONDS, cancel))
        onProgress?.({ phase: 'weights', done, total })
        signal?.throwIfAborted()
      }
    })
  }

  clearCache() {
    this.#assertOpen()
    binding.clearCache(this.#handle)
  }

  stats() {
    this.#assertOpen()
    return binding.modelStats(this.#handle)
  }

  wasmImports(options) {
    this.#assertOpen()
    const { memory } = v.options('wasmImports()', options, WASM)
    if (memory === undefined) throw v.invalid("wasmImports(): the option 'memory' is missing: the guest's WebAssembly.Memory, or a function that returns it")
    const model = { handle: this.#handle, fileBytes: this.#info.fileBytes, isOpen: () => !this.#closing }
    return makeWasmImports(model, memory)
  }

  close() {
    this.#closing ??= binding.close(this.#handle)
    return this.#closing
  }

  [Symbol.asyncDispose]() {
    return this.close()
  }

  /** { session, note }: the note is the string that was saved with it, or null. */
  async #restore(file, signal, progress) {
    const { session, note } = await withCancel(signal, (cancel) => binding.sessionRestore(this.#handle, file, cancel, progress))
    return { session: this.#makeSession(session), note }
  }

  #makeSession(handle) {
    const model = {
      assertOpen: () => this.#assertOpen(),
      closing: () => this.#closing,
      generate: (prompt, options, submit) => this.#generate(prompt, options, submit),
      makeSession: (other) => this.#makeSession(other),
    }
    return new Session(SECRET, model, handle)
  }

  /** What chats need of the model. */
  #chatHost() {
    this.#asHost ??= {
      info: this.#info,
      tokenizer: new ChatTokenizer(this.#tokenizer),
      templates: this.#templates(),
      assertOpen: () => this.#assertOpen(),
      openSession: () => this.session(),
      generate: (tokens, options) => this.generate(tokens, options),
    }
    return this.#asHost
  }

  /** The file's chat templates by name; the default one is ''. */
  #templates() {
    const listed = binding.chatTemplates(this.#handle)
    return new Map(Array.from({ length: listed.length / 2 }, (_, i) => [listed[2 * i], listed[2 * i + 1]]))
  }

  /** A generation by `submit(tokens, options of the addon, listener)`, from a prompt or from `tokens()`, which may give a promise. */
  #generate(prompt, options, submit, tokens = () => this.#promptTokens(prompt)) {
    this.#assertOpen()
    const { signal, logitBias, grammar, schema, sample, speculate = { lookup: true }, draft = this.#draft, ...given } = v.options('generate()', options, GENERATE)
    if (sample) checkNoSampling(given)
    if (grammar !== undefined && schema !== undefined) throw v.invalid("generate(): the options 'grammar' and 'schema' exclude each other")
    const native = { ...nativeSampling(given), speculate, callerChooses: sample !== undefined }
    if (draft && speculate) native.draft = this.#draftHandle(draft, options?.draft !== undefined)
    if (logitBias) {
      for (const token of logitBias.tokens) v.tokenIds("option 'logitBias' of generate(), keys", [token], this.#info.vocabulary)
      Object.assign(native, { biasTokens: logitBias.tokens, biasValues: logitBias.values })
    }
    const held = options?.[FORM] ? ['form', options[FORM]] : schema !== undefined ? ['schema', schema] : grammar !== undefined ? ['gbnf', grammar] : null
    const ready = held ? this.#withGrammar(tokens(), held, native) : tokens()
    return startGeneration(ready, (ids, listener) => submit(ids, native, listener), {
      signal,
      withLogprobs: native.logprobs !== undefined,
      sample,
      withValue: schema !== undefined,
    })
  }

  /** A promise of the tokens, for when the grammar is among the addon's options. */
  async #withGrammar(tokens, held, native) {
    native.grammar = await compileGrammar(...held)
    return tokens
  }

  /** The handle of a draft model. One that was named for this generation must be open; one that loadModel() was given may have been closed. */
  #draftHandle(draft, isNamed) {
    if (draft.#closing && isNamed) throw new ChordError("option 'draft' of generate(): the draft model has been closed", { code: 'CLOSED' })
    return draft.#closing ? undefined : draft.#handle
  }

  #assertOpen() {
    if (this.#closing) throw new ChordError('the model has been closed', { code: 'CLOSED' })
  }

  /** Runs a job that has no partial result: one that close() cancels ends with CLOSED. */
  async #run(submit, signal) {
    const final = await located(runJob(submit, signal))
    if (final.finish === 'cancelled') throw new ChordError('the model was closed while it worked on this', { code: 'CLOSED' })
    return final
  }

  #tokenIds(name, value) {
    const ids = v.tokenIds(name, value, this.#info.vocabulary)
    if (ids.length === 0) throw v.invalid(`${name}: expected at least one token, got none`)
    return ids
  }

  /** then(the tokens of a text that is not a prompt), or a promise of that if the text is long. */
  #textTokens(text, then, options) {
    if (text.length > LONG_PROMPT) return this.#tokenizer.tokenizeLong(text, options).then(then)
    return then(Uint32Array.from(this.#tokenizer.tokenize(text, options)))
  }

  #fitting(what, text) {
    if (text.tokens.length === 0) throw v.invalid(`${what} has no tokens, and this model's vocabulary puts none around a text`)
    checkLength(what, text.tokens.length, this.#info.context)
    return text
  }

  /** The query with a document, by its index, as one list of tokens. */
  #pairTokens(query, documents) {
    const template = this.#templates().get('rerank')
    const read = template
      ? templatePairs(this.#tokenizer, template, query)
      : plainPairs(this.#tokenizer, (text, then) => this.#textTokens(text, then, { bos: false }), query)
    return (index) => {
      const fitting = (pair) => this.#fitting(`the query with documents[${index}]`, pair)
      const pair = read(documents[index])
      return pair instanceof Promise ? pair.then(fitting) : fitting(pair)
    }
  }

  /** The tokens of a prompt; a promise of them if the text is so long that this would hold up the event loop. */
  #promptTokens(prompt) {
    if (typeof prompt !== 'string') {
      if (!Array.isArray(prompt) && !ArrayBuffer.isView(prompt)) throw v.invalidOption('prompt', 'a string or an array of token ids or of messages', prompt)
      return this.#tokenIds('prompt', prompt)
    }
    if (prompt.length > LONG_PROMPT) return located(this.#tokenizer.tokenizeLong(prompt))
    const ids = this.#tokenizer.tokenize(prompt)
    if (ids.length > 0) return Uint32Array.from(ids)
    const { bos } = this.#tokenizer.info
    if (bos === null) {
      throw v.invalid('prompt: this model has no token that begins a text (BOS), so an empty prompt leaves it nothing to start from; give it some text')
    }
    return Uint32Array.of(bos)
  }
}

async function loadModel(path, options) {
  const file = v.filePath('path', path)
  const { signal, onProgress, draft, ...rest } = v.options('loadModel()', options, LOAD)
  const progress = onProgress && ((phase, done, total) => onProgress({ phase, done, total }))
  const handle = await withCancel(signal, (cancel) => binding.open(file, nativeLoadOptions(rest), progress, cancel))
  const model = new Model(SECRET, handle, file)
  try {
    signal?.throwIfAborted()
    if (draft) setDraft(model, draft)
  } catch (error) {
    await model.close()
    throw error
  }
  return model
}

async function plan(path, options) {
  const file = v.filePath('path', path)
  const { signal, onProgress, routes, ...rest } = v.options('plan()', options, PLAN)
  const native = { ...nativeLoadOptions(rest), routes: await nativeRoutes(routes) }
  const made = await withCancel(signal, (cancel) => binding.plan(file, native, undefined, cancel))
  if (made.experts) made.experts.routes = typeof routes === 'object' ? routes.file : (routes ?? 'scattered')
  return { path: file, ...made, tokensPerSecond: 1 / made.secondsPerToken }
}

module.exports = { Model, loadModel, plan }
