'use strict'

/**
 * The one class of errors that chord makes. `code` is stable and for programs, `message` is for people.
 *
 * INVALID_ARGUMENT            an argument or option is not usable; the message names it, what was expected and what came
 * FILE_NOT_FOUND              the file does not exist
 * IO                          the operating system refused or broke off a read or a write
 * NOT_GGUF                    the file does not begin as a GGUF file does
 * GGUF_VERSION                a GGUF version that chord does not read
 * GGUF_TRUNCATED              the file ends before what its header promises
 * GGUF_LIMIT                  a count, length or size beyond what a file may hold
 * GGUF_METADATA               a metadata key or value is malformed or missing
 * GGUF_TENSOR                 a tensor's name, shape, offset or span is malformed
 * GGUF_TENSOR_TYPE            a tensor type that chord does not read
 * GGUF_ALIGNMENT              the alignment is not a usable power of two
 * GGUF_SPLIT                  the files of a split model do not belong together
 * UNSUPPORTED_ARCHITECTURE    a model architecture that chord does not run
 * UNSUPPORTED_TOKENIZER       a tokenizer model or pre-tokenizer that chord does not know
 * MODEL_HPARAMS               hyperparameters are missing or contradict each other
 * MODEL_TENSOR                a tensor of the architecture is missing, surplus or of the wrong shape or type
 * TOKENIZER                   the vocabulary is malformed
 * OUT_OF_MEMORY               the system has no memory left
 * MEMORY_BUDGET               the memory budget does not suffice; the message names the number that would do
 * CONTEXT_FULL                more tokens than the context holds; the message names both numbers
 * CANCELLED                   cancelled by the caller
 * CLOSED                      the model has been closed
 * NOT_FOUND                   no key, tensor or token of that name
 * FILE_CHANGED                the model file changed while it was in use
 * NOT_SESSION                 the file is not a saved session
 * SESSION_VERSION             a version of saved sessions that chord does not read
 * SESSION_TRUNCATED           the file of a saved session ends too early
 * SESSION_DAMAGED             the file of a saved session is damaged; the message names the offset
 * SESSION_FOREIGN             the session was saved with another model, KV type or processor tier; the message says which
 * BUSY                        the session is generating a text or being saved
 * CHAT_TEMPLATE               a chat template is malformed, refuses the messages, or takes too long or too much; the message says which
 * THREAD                      the system refused to start a thread
 * BINDING_NOT_FOUND           the compiled addon is not there; the message names the command that builds it
 */
class ChordError extends Error {
  constructor(message, { code, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
  }
}
// On the prototype, so that a printed error shows the name once and `code` as its own property.
Object.defineProperty(ChordError.prototype, 'name', { value: 'ChordError', configurable: true, writable: true })

/**
 * Awaits a promise of the addon. Its errors are born on no stack; this gives them the one of the caller, async frames included.
 */
async function located(promise) {
  try {
    return await promise
  } catch (error) {
    if (error instanceof ChordError) Error.captureStackTrace(error, located)
    throw error
  }
}

module.exports = { ChordError, located }
