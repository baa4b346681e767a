'use strict'

const binding = require('./binding.js')
const { Answer: ChatAnswer } = require('./chat/answer.js')
const { Chat } = require('./chat/chat.js')
const { ChordError } = require('./errors.js')
const { Generation } = require('./generation.js')
const { inspect } = require('./inspect.js')
const { Model, loadModel, plan } = require('./model.js')
const { quantize } = require('./quantize.js')
const { Session } = require('./session.js')
const { Tokenizer, loadTokenizer } = require('./tokenizer.js')
const { wasmCodes } = require('./wasm.js')

const systemInfo = () => binding.systemInfo()

module.exports = { Chat, ChatAnswer, ChordError, Generation, Model, Session, Tokenizer, inspect, loadModel, loadTokenizer, plan, quantize, systemInfo, wasmCodes }
