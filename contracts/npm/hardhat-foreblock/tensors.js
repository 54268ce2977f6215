// What `foreblock-viem` has for contracts and tensors, under the names of ES modules.
import foreblock from 'foreblock-viem';

export const { inferenceAbi, encodeTensors, decodeTensors, tensor, text, texts, values, numbers } = foreblock;
