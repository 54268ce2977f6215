// A model's output through ethers: first by a call, which sends nothing, then in a transaction.
//
//   npm install ethers @foreblock/contracts && node ask.js [URL of the devnet]
'use strict';

const { AbiCoder, Contract, ContractFactory, JsonRpcProvider, formatEther, parseEther } = require('ethers');
const inferenceAbi = require('@foreblock/contracts/abi/IInference.json');

const INFERENCE = '0x0000000000000000000000000000000000001a0F';
const TENSORS = ['tuple(uint8 dtype, uint32[] shape, bytes data)[]'];
const WAD = 0; // the first of IInference.sol's DType: int256 with 18 decimals

const coder = AbiCoder.defaultAbiCoder();
/** One row of numbers, as `abi.encode(Tensor[])`. */
const encodeRow = (row) => {
  const words = row.map((number) => coder.encode(['int256'], [parseEther(String(number))]).slice(2));
  return coder.encode(TENSORS, [[{ dtype: WAD, shape: [1, row.length], data: `0x${words.join('')}` }]]);
};
const decodeRow = (bytes) => {
  const [[{ data }]] = coder.decode(TENSORS, bytes);
  return data.slice(2).match(/.{64}/g).map((word) => coder.decode(['int256'], `0x${word}`)[0]);
};

async function main([url = 'http://127.0.0.1:8545', artifact]) {
  const provider = new JsonRpcProvider(url, undefined, { pollingInterval: 50 });
  const inference = new Contract(INFERENCE, inferenceAbi, provider);
  const model = await provider.send('inference_modelId', ['volatility']);
  const returns = Array.from({ length: 16 }, (_, day) => (day % 2 ? 0.01 : -0.02));

  const [volatility] = decodeRow(await inference.run(model, encodeRow(returns)));
  console.log(`called: ${volatility} (${formatEther(volatility)} a day)`);

  try {
    await inference.run(model, encodeRow([0.01])); // one number where the model wants sixteen
  } catch ({ revert }) {
    console.log(`refused: ${revert.name}(${revert.args.join(', ')})`); // the ABI has the errors, too
  }

  if (artifact) {
    const { abi, bytecode } = require(artifact); // the quick start's contract, as `forge build` leaves it in out/
    const factory = new ContractFactory(abi, bytecode.object, await provider.getSigner(0));
    const forecast = await factory.deploy(model);
    const sent = await forecast.ask(returns.map((number) => parseEther(String(number))));
    await sent.wait(); // mined once the model's answer is there
    console.log(`stored: ${await forecast.volatility()}`);
  }
  provider.destroy();
}

main(process.argv.slice(2));
