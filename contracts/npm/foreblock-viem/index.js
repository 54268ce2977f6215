'use strict';

const { readContract } = require('viem/actions');
const { getAction } = require('viem/utils');
const { INFERENCE_ADDRESS, inferenceAbi } = require('./abi.js');
const { InferenceExpiredError, InferenceTimeoutError } = require('./errors.js');
const { watchInference } = require('./news.js');
const { decodeTensors, encodeTensors } = require('./tensors.js');
const { waitForInference } = require('./wait.js');

/** `createPublicClient(…).extend(foreblockActions())` */
const foreblockActions = ({ address = INFERENCE_ADDRESS } = {}) => (client) => ({
  /** The models that the node serves, with their ids. */
  inferenceModels: () => client.request({ method: 'inference_models', params: [] }),

  /** The id of a model that the node serves, by its name. */
  inferenceModelId: (name) => client.request({ method: 'inference_modelId', params: [name] }),

  /** Where the node's inference stands; with a transaction's hash, where that transaction's requests stand. */
  inferenceStatus: (hash) => client.request({ method: 'inference_status', params: hash ? [hash] : [] }),

  /** Where the inferences of the transactions in the pool stand, in the builder's order. */
  inferencePending: (limit) => client.request({ method: 'inference_pending', params: limit === undefined ? [] : [limit] }),

  /** A model's output for these tensors, by eth_call: nothing is sent. */
  async infer({ model, inputs }) {
    const args = [model, encodeTensors(inputs)];
    // The client's own, where it has it: errors of another copy of viem (ES modules have one) would not be decoded.
    const read = getAction(client, readContract, 'readContract');
    return decodeTensors(await read({ address, abi: inferenceAbi, functionName: 'run', args }));
  },

  /** The receipt of a transaction that may have to wait for its answers. */
  waitForInference: (request) => waitForInference(client, request),

  /** News of a transaction's inferences, or of all. Returns what ends it. */
  watchInference: (request) => watchInference(client, request),
});

// Spread as Node.js can see it, so that `import { tensor }` finds the name.
module.exports = {
  INFERENCE_ADDRESS,
  InferenceExpiredError,
  InferenceTimeoutError,
  inferenceAbi,
  foreblockActions,
  ...require('./tensors.js'),
};
