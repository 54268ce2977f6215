'use strict';

/** What a transaction waits for, in words. `status` is what `inference_status` gives. */
function describe(status) {
  if (!status) return 'the node knows no such transaction';
  const { phase, reason, calls = [], predictedBlock } = status;
  const waiting = calls.filter(({ state }) => state !== 'ready');
  const parts = [reason ? `it is ${phase}: ${reason}` : `it is ${phase}`];
  if (waiting.length > 0) parts.push(`${waiting.length} of ${calls.length} answers are not there (${waiting.map(call).join(', ')})`);
  if (predictedBlock) parts.push(`expected in block ${BigInt(predictedBlock)}`);
  return parts.join('; ');
}

function call({ request, model, state, position }) {
  const place = position === null || position === undefined ? '' : ` at place ${position}`;
  return `${request.slice(0, 10)} of model ${model.slice(0, 10)} is ${state}${place}`;
}

/** The transaction was not mined in time; it may still be. */
class InferenceTimeoutError extends Error {
  constructor({ hash, timeout, status }) {
    super(`${hash} is not mined after ${timeout} ms: ${describe(status)}`);
    Object.assign(this, { name: 'InferenceTimeoutError', hash, status });
  }
}

/** The node gave the transaction up: it will not be mined unless it is sent again. */
class InferenceExpiredError extends Error {
  constructor({ hash, reason }) {
    super(`${hash} left the pool without being mined: ${reason ?? 'the node gives no reason'}`);
    Object.assign(this, { name: 'InferenceExpiredError', hash, reason });
  }
}

module.exports = { InferenceTimeoutError, InferenceExpiredError };
