// viem, over HTTP and over WebSocket: deploy, ask, watch, read, trace. Prints what it saw as JSON for the Rust test.
'use strict';

const { readFileSync } = require('node:fs');
const { createPublicClient, createWalletClient, http, webSocket } = require('viem');
const { privateKeyToAccount } = require('viem/accounts');
const { foundry } = require('viem/chains');

const { NODE_URL, TRANSPORT, ARTIFACT, QUESTION, MODEL, PRIVATE_KEY } = process.env;
const { abi, bytecode } = JSON.parse(readFileSync(ARTIFACT));
const question = JSON.parse(readFileSync(QUESTION)).map(BigInt);
const unknownModel = `0x${'11'.repeat(32)}`;

async function main() {
  const transport = TRANSPORT === 'ws' ? webSocket(NODE_URL.replace('http', 'ws')) : http(NODE_URL);
  const account = privateKeyToAccount(PRIVATE_KEY);
  const client = createPublicClient({ chain: foundry, transport, pollingInterval: 50 });
  const wallet = createWalletClient({ account, chain: foundry, transport });

  const deploy = async (model) => {
    const hash = await wallet.deployContract({ abi, bytecode: bytecode.object, args: [model] });
    return (await client.waitForTransactionReceipt({ hash })).contractAddress;
  };
  const address = await deploy(MODEL);
  const blocks = [];
  const stopBlocks = client.watchBlockNumber({ onBlockNumber: (number) => blocks.push(number) });
  const watched = new Promise((resolve, reject) => {
    const stop = client.watchContractEvent({
      address,
      abi,
      eventName: 'Forecasted',
      onLogs: (logs) => (stop(), resolve(logs[0].args.volatility)),
      onError: reject,
    });
  });
  // The subscription is asked for without waiting; a block may only come after it is there.
  await new Promise((resolve) => setTimeout(resolve, 200));

  const call = { address, abi, functionName: 'ask', args: [question] };
  const { request } = await client.simulateContract({ ...call, account });
  const estimate = await client.estimateContractGas({ ...call, account });
  const hash = await wallet.writeContract(request);
  const receipt = await client.waitForTransactionReceipt({ hash });
  const event = await watched;
  const stored = await client.readContract({ address, abi, functionName: 'volatility' });
  const logs = await client.getContractEvents({ address, abi, eventName: 'Forecasted', fromBlock: 0n });
  const trace = await client.request({ method: 'debug_traceTransaction', params: [hash, { tracer: 'callTracer' }] });

  const wrong = await deploy(unknownModel);
  const refused = await client.simulateContract({ ...call, address: wrong }).then(
    () => null,
    (error) => error.walk((cause) => cause.name === 'ContractFunctionRevertedError')?.signature,
  );
  stopBlocks();
  const seen = { address, hash, estimate, gasUsed: receipt.gasUsed, stored, event, logs: logs.length, trace, refused };
  seen.blocks = blocks.length;
  console.log(JSON.stringify(seen, (_, value) => (typeof value === 'bigint' ? value.toString() : value)));
}

main().then(
  () => process.exit(0),
  (error) => (console.error(error), process.exit(1)),
);
