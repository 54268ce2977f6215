import type { ForeblockActions, InferenceEvent, Tensor } from 'foreblock-viem';
import type { ChainType, DefaultChainType } from 'hardhat/types/network';
import type { HardhatPlugin } from 'hardhat/types/plugins';
import type { EthereumProvider } from 'hardhat/types/providers';
import type { Hash, Hex, PublicClient, TransactionReceipt } from 'viem';

export {
  InferenceExpiredError,
  InferenceTimeoutError,
  inferenceAbi,
  encodeTensors,
  decodeTensors,
  tensor,
  text,
  texts,
  values,
  numbers,
} from 'foreblock-viem';

/** How the devnet behind the network `foreblock` is started. */
export interface ForeblockUserConfig {
  /** The `foreblock` program; $FOREBLOCK_BIN, or `foreblock` on the path, where it is not given. */
  binary?: string;
  /** Flags, such as ['--block-time', '1']. */
  args?: string[];
  /** Where it listens; a free port where it is not given. */
  port?: number;
}

export interface ForeblockConfig {
  binary: string;
  args: string[];
  port: number;
}

export interface Devnet {
  url: string;
  /** What it has printed, the end of it. */
  log(): string;
  stop(): Promise<void>;
}

/** A model's outcomes in tests; all calls are mined before they resolve. */
export interface InferenceMock {
  answer(model: Hash, inputs: readonly Tensor[], outputs: readonly Tensor[]): Promise<void>;
  answerAll(model: Hash, outputs: readonly Tensor[]): Promise<void>;
  fail(model: Hash, inputs: readonly Tensor[], code: number, reason: string): Promise<void>;
  failAll(model: Hash, code: number, reason: string): Promise<void>;
  givesScore(model: Hash, value: number | bigint | string): Promise<void>;
  givesVector(model: Hash, values: readonly (number | bigint | string)[]): Promise<void>;
  givesText(model: Hash, value: string): Promise<void>;
  replay(file: string | URL): Promise<number>;
  remove(): Promise<Hex>;
}

/** What each network connection has under `foreblock`. All but `mock` needs a Foreblock node. */
export interface ForeblockConnection {
  client: PublicClient & ForeblockActions;
  models: ForeblockActions['inferenceModels'];
  /** The id of a model by its name. */
  model(name: string): Promise<Hash>;
  status: ForeblockActions['inferenceStatus'];
  infer(model: Hash, inputs: readonly Tensor[]): Promise<Tensor[]>;
  /** Throws `InferenceTimeoutError` or `InferenceExpiredError`. */
  waitForInference(
    hash: Hash,
    options?: { timeoutMs?: number; onEvent?: (event: InferenceEvent) => void },
  ): Promise<TransactionReceipt>;
  /** News of a transaction's inferences; returns what ends it. */
  watchInference(
    hash: Hash,
    onEvent: (event: InferenceEvent) => void,
    options?: { onError?: (error: Error) => void },
  ): () => Promise<void>;
  mock(): Promise<InferenceMock>;
}

export function startDevnet(config?: ForeblockUserConfig): Promise<Devnet>;
export function installMock(provider: EthereumProvider): Promise<InferenceMock>;

declare const plugin: HardhatPlugin;
export default plugin;

declare module 'hardhat/types/config' {
  interface HardhatUserConfig {
    foreblock?: ForeblockUserConfig;
  }
  interface HardhatConfig {
    foreblock: ForeblockConfig;
  }
}

declare module 'hardhat/types/network' {
  interface NetworkConnection<ChainTypeT extends ChainType | string = DefaultChainType> {
    foreblock: ForeblockConnection;
  }
}
