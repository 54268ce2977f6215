'use strict';

const { parseAbi } = require('viem');

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

module.exports = { INFERENCE_ADDRESS, inferenceAbi };
