import chord from './index.js'

export const { Chat, ChatAnswer, ChordError, Generation, Model, Session, Tokenizer, inspect, loadModel, loadTokenizer, plan, quantize, systemInfo, wasmCodes } = chord
