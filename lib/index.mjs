import chord from './index.js'

export const { ChordError, Generation, Model, Session, Tokenizer, inspect, loadModel, loadTokenizer, plan, quantize, systemInfo, wasmCodes } = chord
