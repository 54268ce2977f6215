import type { Abi, Address, Client, Hash, Hex, TransactionReceipt } from 'viem';

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
export function values(tensor: Tensor): bigint[] | string[];
/** Elements of a WAD tensor; about 16 digits. */
export function numbers(tensor: Tensor): number[];
export function encodeTensors(tensors: readonly Tensor[]): Hex;
export function decodeTensors(bytes: Hex): Tensor[];

export const INFERENCE_ADDRESS: Address;
export const inferenceAbi: Abi;

export interface ForeblockActions {
  inferenceModels(): Promise<Array<{ id: Hash; name: string } & Record<string, unknown>>>;
  inferenceStatus(hash?: Hash): Promise<Record<string, unknown>>;
  infer(request: { model: Hash; inputs: readonly Tensor[] }): Promise<Tensor[]>;
  waitForInference(request: { hash: Hash; timeout?: number }): Promise<TransactionReceipt>;
}

export function foreblockActions(options?: { address?: Address }): (client: Client) => ForeblockActions;
