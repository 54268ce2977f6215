import type { Address, Chain, Client, Hash, Hex, ParseAbi, TransactionReceipt, Transport } from 'viem';

export type DType = 'Wad' | 'Int' | 'U8' | 'I8' | 'U16' | 'I16' | 'U32' | 'I32' | 'U64' | 'I64' | 'Bool' | 'Text';

export interface Tensor {
  dtype: DType;
  shape: number[];
  data: Hex;
}

export const DTYPES: Readonly<Record<DType, number>>;
/** A WAD element is a number, a decimal string, or a bigint that is a WAD already. Shape defaults to [1, n]. */
export function tensor(dtype: Exclude<DType, 'Text'>, values: readonly (number | bigint | string)[], shape?: number[]): Tensor;
export function text(value: string): Tensor;
export function texts(values: readonly string[]): Tensor;
/** Strings of a Text tensor, bigints of every other. */
export function values(tensor: Tensor & { dtype: 'Text' }): string[];
export function values(tensor: Tensor & { dtype: Exclude<DType, 'Text'> }): bigint[];
export function values(tensor: Tensor): bigint[] | string[];
/** Elements of a WAD tensor; about 16 digits. */
export function numbers(tensor: Tensor): number[];
export function encodeTensors(tensors: readonly Tensor[]): Hex;
export function decodeTensors(bytes: Hex): Tensor[];

export const INFERENCE_ADDRESS: Address;
export const inferenceAbi: ParseAbi<
  readonly [
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
  ]
>;

/** A model that the node serves. */
export interface Model {
  id: Hash;
  name: string;
  profile: string;
  gasPerRun: Hex;
  maxInputBytes: number;
  maxOutputBytes: number;
  inputs: TensorSpec[];
  outputs: TensorSpec[];
  engine: string | null;
  state: string;
  runMicros: number | null;
}

export interface TensorSpec {
  name: string;
  elementType: number;
  shape: (number | string)[];
}

export type Phase = 'scouting' | 'waiting' | 'ready' | 'deferred' | 'invalid' | 'included' | 'expired';

/** One question of a transaction. */
export interface InferenceCall {
  request: Hash;
  model: Hash;
  state: 'ready' | 'queued' | 'running' | 'missing';
  source: 'disk' | 'memory' | null;
  position: number | null;
  predictedBlock: Hex | null;
}

/** Where a transaction's inferences stand; once it is included or expired, only some of it is told. */
export interface TransactionStatus {
  hash: Hash;
  phase: Phase;
  reason?: string | null;
  sender?: Address;
  calls?: InferenceCall[];
  predictedBlock?: Hex | null;
  block?: Hex;
  inferencesOfBlock?: Hash[];
}

export type InferenceEvent =
  | { event: 'outcome'; request: Hash }
  | { event: 'ready' | 'deferred' | 'expired'; transaction: Hash; reason: string | null };

/** The transaction was not mined in time; it may still be. */
export class InferenceTimeoutError extends Error {
  readonly hash: Hash;
  readonly status: TransactionStatus | null;
}

/** The node gave the transaction up: it will not be mined unless it is sent again. */
export class InferenceExpiredError extends Error {
  readonly hash: Hash;
  readonly reason: string | null;
}

/** Times are in milliseconds. */
export interface WaitForInferenceParameters {
  hash: Hash;
  /** 60,000 where it is not given. */
  timeout?: number;
  /** How often the node is asked; the client's, and 500 at most, where it is not given. */
  pollingInterval?: number;
  /** Hears what happens meanwhile. */
  onEvent?: (event: InferenceEvent) => void;
}

export interface WatchInferenceParameters {
  /** Without it, news of all transactions and outcomes; that needs a WebSocket. */
  hash?: Hash;
  onEvent: (event: InferenceEvent) => void;
  onError?: (error: Error) => void;
  /** How often the node is asked where there is no WebSocket. */
  pollingInterval?: number;
}

/** A type and no interface, since viem extends clients only by such. */
export type ForeblockActions = {
  inferenceModels(): Promise<Model[]>;
  inferenceModelId(name: string): Promise<Hash>;
  inferenceStatus(): Promise<Record<string, unknown>>;
  inferenceStatus(hash: Hash): Promise<TransactionStatus | null>;
  inferencePending(limit?: number): Promise<TransactionStatus[]>;
  infer(request: { model: Hash; inputs: readonly Tensor[] }): Promise<Tensor[]>;
  waitForInference(request: WaitForInferenceParameters): Promise<TransactionReceipt>;
  /** Returns what ends it. */
  watchInference(request: WatchInferenceParameters): () => Promise<void>;
};

export function foreblockActions(options?: {
  address?: Address;
}): <transport extends Transport, chain extends Chain | undefined>(client: Client<transport, chain>) => ForeblockActions;
