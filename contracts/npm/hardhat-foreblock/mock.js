import { readFile } from 'node:fs/promises';
import { encodeFunctionData, parseAbi } from 'viem';
import { INFERENCE_ADDRESS, encodeTensors, tensor, text } from 'foreblock-viem';

const ABI = parseAbi([
  'function answer(bytes32 modelId, bytes input, bytes output)',
  'function answerAll(bytes32 modelId, bytes output)',
  'function fail(bytes32 modelId, bytes input, uint16 code, string reason)',
  'function failAll(bytes32 modelId, uint16 code, string reason)',
]);
/** Who scripts the mock: no account of the user's, so that nonces and balances stay as they are. */
const SCRIPTER = '0x00000000000000000000000000000000f04eb10c';
const CODE = new URL('./artifacts/MockInference.hex', import.meta.url);

/** Puts `MockInference` at the precompile's address on a simulated network. */
export async function installMock(provider) {
  const rpc = (method, ...params) => provider.request({ method, params });
  await rpc('hardhat_setCode', INFERENCE_ADDRESS, (await readFile(CODE, 'utf8')).trim());
  await rpc('hardhat_setBalance', SCRIPTER, '0x56bc75e2d63100000');
  await rpc('hardhat_impersonateAccount', SCRIPTER);

  async function script(functionName, args) {
    const data = encodeFunctionData({ abi: ABI, functionName, args });
    await rpc('eth_sendTransaction', { from: SCRIPTER, to: INFERENCE_ADDRESS, data });
  }
  const mock = {
    /** What the model gives for these inputs; lists of tensors. */
    answer: (model, inputs, outputs) => script('answer', [model, encodeTensors(inputs), encodeTensors(outputs)]),
    /** What it gives for all inputs that have no answer of their own. */
    answerAll: (model, outputs) => script('answerAll', [model, encodeTensors(outputs)]),
    /** Its agreed failure for these inputs. */
    fail: (model, inputs, code, reason) => script('fail', [model, encodeTensors(inputs), code, reason]),
    /** Its agreed failure for all inputs that have no outcome of their own. */
    failAll: (model, code, reason) => script('failAll', [model, code, reason]),
    givesScore: (model, value) => mock.answerAll(model, [tensor('Wad', [value])]),
    givesVector: (model, values) => mock.answerAll(model, [tensor('Wad', values)]),
    givesText: (model, value) => mock.answerAll(model, [text(value)]),
    /** Answers what `foreblock` recorded: {"outcomes": [{model, input, output} | {model, input, failure: {code, reason}}]}. */
    async replay(file) {
      const { outcomes } = JSON.parse(await readFile(file, 'utf8'));
      for (const { model, input, output, failure } of outcomes) {
        if (failure) await script('fail', [model, input, failure.code, failure.reason]);
        else await script('answer', [model, input, output]);
      }
      return outcomes.length;
    },
    /** From here on this is a chain without the precompile. */
    remove: () => rpc('hardhat_setCode', INFERENCE_ADDRESS, '0x'),
  };
  return mock;
}
