// Hardhat 3 as it comes, run with `hardhat run`: its own build, its network connection, its node's accounts.
// Prints what it saw as JSON for the Rust test.
import { readFileSync } from 'node:fs';
import hre from 'hardhat';
import { BrowserProvider, Contract, ContractFactory } from 'ethers';

const { QUESTION, MODEL } = process.env;
const question = JSON.parse(readFileSync(QUESTION)).map(BigInt);
const unknownModel = `0x${'11'.repeat(32)}`;

const { abi, bytecode } = await hre.artifacts.readArtifact('Forecast');
const { provider } = await hre.network.connect('foreblock');
const ethers = new BrowserProvider(provider, undefined, { pollingInterval: 50, cacheTimeout: -1 });
const signer = await ethers.getSigner(0);

const deploy = async (model) => {
  const contract = await new ContractFactory(abi, bytecode, signer).deploy(model);
  return (await contract.waitForDeployment()).getAddress();
};
const address = await deploy(MODEL);
const forecast = new Contract(address, abi, signer);
const estimate = await forecast.ask.estimateGas(question);
const receipt = await (await forecast.ask(question)).wait();
const event = forecast.interface.parseLog(receipt.logs[0]).args.volatility;
const stored = await forecast.volatility();
const logs = await forecast.queryFilter('Forecasted', 0);
const trace = await provider.request({ method: 'debug_traceTransaction', params: [receipt.hash, { tracer: 'callTracer' }] });

// Snapshots, time and impersonation are what Hardhat's users know by these names.
const snapshot = await provider.request({ method: 'evm_snapshot', params: [] });
await provider.request({ method: 'hardhat_mine', params: ['0x5', '0xc'] });
const mined = await ethers.getBlockNumber();
await provider.request({ method: 'evm_revert', params: [snapshot] });
const reverted = await ethers.getBlockNumber();

const data = forecast.interface.encodeFunctionData('ask', [question]);
const refused = await provider.request({ method: 'eth_call', params: [{ to: await deploy(unknownModel), data }, 'latest'] }).then(
  () => null,
  (error) => error.data?.slice(0, 10),
);
const seen = { address, hash: receipt.hash, estimate, gasUsed: receipt.gasUsed, stored, event, logs: logs.length };
Object.assign(seen, { trace, refused, minedAndReverted: mined - reverted });
console.log(JSON.stringify(seen, (_, value) => (typeof value === 'bigint' ? value.toString() : value)));
process.exit(0);
