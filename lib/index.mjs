import chord from './index.js'

export const { ChordError, Generation, Model, Tokenizer, inspect, loadModel, loadTokenizer, plan, systemInfo, wasmCodes } = chord
