// The declarations of both packages, as TypeScript sees them: `tsc --noEmit --strict`. Each `@ts-expect-error` is a mistake that
// the compiler must find.
import {
  INFERENCE_ADDRESS,
  InferenceExpiredError,
  InferenceTimeoutError,
  foreblockActions,
  inferenceAbi,
  numbers,
  tensor,
  text,
  values,
  type InferenceEvent,
  type Tensor,
} from 'foreblock-viem';
import { defineConfig } from 'hardhat/config';
import { network } from 'hardhat';
import foreblock, { startDevnet, type InferenceMock } from 'hardhat-foreblock';
import { createPublicClient, http, type Hash } from 'viem';
import { foundry } from 'viem/chains';

const client = createPublicClient({ chain: foundry, transport: http() }).extend(foreblockActions());

export async function ask(question: readonly number[]): Promise<number> {
  const model: Hash = await client.inferenceModelId('volatility');
  const [output] = await client.infer({ model, inputs: [tensor('Wad', question)] });
  return numbers(output!)[0]!;
}

export async function follow(hash: Hash): Promise<'mined' | 'late' | 'gone'> {
  const events: InferenceEvent[] = [];
  const stop: () => Promise<void> = client.watchInference({ hash, onEvent: (event) => void events.push(event) });
  try {
    const receipt = await client.waitForInference({ hash, timeout: 5_000, onEvent: (event) => void events.push(event) });
    const mined: bigint = receipt.blockNumber;
    return mined > 0n ? 'mined' : 'late';
  } catch (error) {
    if (error instanceof InferenceExpiredError) return 'gone';
    if (error instanceof InferenceTimeoutError && error.status?.phase === 'waiting') return 'late';
    throw error;
  } finally {
    await stop();
  }
}

// The ABI is typed: viem knows what each function takes and gives.
export async function gas(modelId: Hash): Promise<bigint> {
  const info = await client.readContract({ address: INFERENCE_ADDRESS, abi: inferenceAbi, functionName: 'model', args: [modelId] });
  const known: boolean = info.known;
  return known ? info.gasPerRun : 0n;
}

export const strings: string[] = values({ dtype: 'Text', shape: [1], data: '0x' });
export const integers: bigint[] = values({ dtype: 'U8', shape: [1], data: '0x01' });
export const prompt: Tensor = text('2+2?');

// @ts-expect-error a text is no tensor of numbers
tensor('Text', [1]);
// @ts-expect-error no such dtype
tensor('Float', [1]);
// @ts-expect-error a hash is hexadecimal
client.waitForInference({ hash: 'no hash' });
// @ts-expect-error the precompile has no such function
client.readContract({ address: INFERENCE_ADDRESS, abi: inferenceAbi, functionName: 'walk', args: [] });
// @ts-expect-error whoever watches must listen
client.watchInference({});

export default defineConfig({ plugins: [foreblock], solidity: '0.8.28', foreblock: { port: 8546, args: ['--block-time', '1'] } });
// @ts-expect-error a port is a number
defineConfig({ plugins: [foreblock], foreblock: { port: 'many' } });

export async function hardhat(): Promise<void> {
  const connection = await network.create();
  const mock: InferenceMock = await connection.foreblock.mock();
  const model = await connection.foreblock.model('volatility');
  await mock.givesScore(model, 0.25);
  await mock.answer(model, [tensor('Wad', [1])], [text('one')]);
  const receipt = await connection.foreblock.waitForInference(model, { timeoutMs: 10_000 });
  const used: bigint = receipt.gasUsed;
  const stop = connection.foreblock.watchInference(model, ({ event }) => console.log(event, used));
  await stop();
  const devnet = await startDevnet({ port: 8547 });
  await devnet.stop();
  // @ts-expect-error a score is no object
  await mock.givesScore(model, {});
  // @ts-expect-error the mock has no such method
  await mock.givesNothing();
}
