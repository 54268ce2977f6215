'use strict';

const { parseAbi } = require('viem');
const tensors = require('./tensors.js');

/** Where the precompile stands by default. */
const INFERENCE_ADDRESS = '0x0000000000000000000000000000000000001a0F';

const inferenceAbi = parseAbi([
  'error UnknownModel(bytes32 modelId)',
  'error InputTooLarge(uint256 size, uint256 max)',
  'error MalformedInput(string reason)',
  'error InferenceFailed(uint16 code, string reason)',
  'error IndirectCall()',
  'error ValueSent(uint256 value)',
  'error MalformedCall()',
  'function run(bytes32 modelId, bytes input) view returns (bytes output)',
  'function runOr(bytes32 modelId, bytes input, uint256 deadline, bytes fallback_) view returns (bool ran, bytes output)',
  'struct ModelInfo { bool known; uint8 profile; uint64 gasPerRun; uint32 maxInputBytes; uint32 maxOutputBytes; }',
  'function model(bytes32 modelId) view returns (ModelInfo info)',
]);

/** `createPublicClient(…).extend(foreblockActions())` */
const foreblockActions = ({ address = INFERENCE_ADDRESS } = {}) => (client) => ({
  /** The models that the node serves, with their ids. */
  inferenceModels: () => client.request({ method: 'inference_models', params: [] }),

  /** Where the node's inference stands; with a transaction's hash, where that transaction's requests stand. */
  inferenceStatus: (hash) => client.request({ method: 'inference_status', params: hash ? [hash] : [] }),

  /** A model's output for these tensors, by eth_call: nothing is sent. */
  async infer({ model, inputs }) {
    const args = [model, tensors.encodeTensors(inputs)];
    return tensors.decodeTensors(await client.readContract({ address, abi: inferenceAbi, functionName: 'run', args }));
  },

  /** The receipt of a transaction that may have to wait for its answers; on a timeout, says what it waits for. */
  async waitForInference({ hash, timeout = 60_000 }) {
    try {
      return await client.waitForTransactionReceipt({ hash, timeout });
    } catch (error) {
      if (error.name !== 'WaitForTransactionReceiptTimeoutError') throw error;
      const status = await client.request({ method: 'inference_status', params: [hash] });
      throw new Error(`${hash} is not mined after ${timeout} ms; its inferences: ${JSON.stringify(status)}`, { cause: error });
    }
  },
});

module.exports = { INFERENCE_ADDRESS, inferenceAbi, foreblockActions, ...tensors };
