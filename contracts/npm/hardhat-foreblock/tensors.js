// What `foreblock-viem` has for tensors, under the names of ES modules.
import foreblock from 'foreblock-viem';

export const { encodeTensors, decodeTensors, tensor, text, texts, values, numbers } = foreblock;
