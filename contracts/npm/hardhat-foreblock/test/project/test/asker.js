import hre from 'hardhat';
import { inferenceAbi } from 'hardhat-foreblock';
import { createPublicClient, createWalletClient, custom, keccak256, parseEther, stringToHex } from 'viem';
import { hardhat } from 'viem/chains';

export const MODEL = keccak256(stringToHex('model'));
/** 16 daily log returns, the input of the model `volatility`. */
export const RETURNS = Array.from({ length: 16 }, (_, day) => (day % 2 ? 0.0125 : -0.0125));

/** `Asker`, deployed through a connection. */
export async function deployAsker({ provider }) {
  const artifact = await hre.artifacts.readArtifact('Asker');
  const abi = [...artifact.abi, ...inferenceAbi.filter(({ type }) => type === 'error')]; // so that viem names the errors
  const client = createPublicClient({ chain: hardhat, transport: custom(provider), pollingInterval: 20 });
  const [account] = await provider.request({ method: 'eth_accounts' });
  const wallet = createWalletClient({ account, chain: hardhat, transport: custom(provider) });
  const { contractAddress: address } = await client.waitForTransactionReceipt({
    hash: await wallet.deployContract({ abi, bytecode: artifact.bytecode }),
  });
  const wads = (features) => features.map((feature) => (typeof feature === 'bigint' ? feature : parseEther(String(feature))));
  return {
    address,
    send: (model, features) => wallet.writeContract({ address, abi, functionName: 'ask', args: [model, wads(features)] }),
    simulate: (model, features) => client.simulateContract({ address, abi, functionName: 'ask', args: [model, wads(features)] }),
    score: () => client.readContract({ address, abi, functionName: 'score' }),
  };
}
