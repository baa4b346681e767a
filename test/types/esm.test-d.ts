import { expectType } from 'tsd'
import { loadModel } from '../../lib/index.mjs'
import type { Model } from '../../lib/index.mjs'

expectType<Promise<Model>>(loadModel('model.gguf'))
