// ethers: deploy, ask, watch, read, trace. Prints what it saw as JSON for the Rust test.
'use strict';

const { readFileSync } = require('node:fs');
const { Contract, ContractFactory, JsonRpcProvider, NonceManager, Wallet } = require('ethers');

const { NODE_URL, ARTIFACT, QUESTION, MODEL, PRIVATE_KEY } = process.env;
const { abi, bytecode } = JSON.parse(readFileSync(ARTIFACT));
const question = JSON.parse(readFileSync(QUESTION)).map(BigInt);
const unknownModel = `0x${'11'.repeat(32)}`;

async function main() {
  const provider = new JsonRpcProvider(NODE_URL, undefined, { polling: true, pollingInterval: 50, cacheTimeout: -1 });
  const signer = new NonceManager(new Wallet(PRIVATE_KEY, provider));
  const deploy = async (model) => {
    const contract = await new ContractFactory(abi, bytecode.object, signer).deploy(model);
    return (await contract.waitForDeployment()).getAddress();
  };
  const address = await deploy(MODEL);
  const forecast = new Contract(address, abi, signer);
  const watched = new Promise((resolve) => forecast.once('Forecasted', resolve));
  // Listening starts with the next poll.
  await new Promise((resolve) => setTimeout(resolve, 300));

  await forecast.ask.staticCall(question);
  const estimate = await forecast.ask.estimateGas(question);
  const receipt = await (await forecast.ask(question)).wait();
  const event = await watched;
  const stored = await forecast.volatility();
  const logs = await forecast.queryFilter('Forecasted', 0);
  const trace = await provider.send('debug_traceTransaction', [receipt.hash, { tracer: 'callTracer' }]);

  const wrong = new Contract(await deploy(unknownModel), abi, signer);
  const refused = await wrong.ask.staticCall(question).then(
    () => null,
    (error) => error.data?.slice(0, 10),
  );
  const seen = { address, hash: receipt.hash, estimate, gasUsed: receipt.gasUsed, stored, event, logs: logs.length };
  Object.assign(seen, { trace, refused });
  console.log(JSON.stringify(seen, (_, value) => (typeof value === 'bigint' ? value.toString() : value)));
}

main().then(
  () => process.exit(0),
  (error) => (console.error(error), process.exit(1)),
);
