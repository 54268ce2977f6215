'use strict';

const { decodeAbiParameters, encodeAbiParameters, formatEther, hexToBytes, hexToString, bytesToHex, parseEther, stringToHex } =
  require('viem');

/** The dtypes in the order of the Solidity enumeration, with the bytes of one element; text has no fixed width. */
const DTYPES = Object.freeze({
  Wad: 32, Int: 32, U8: 1, I8: 1, U16: 2, I16: 2, U32: 4, I32: 4, U64: 8, I64: 8, Bool: 1, Text: 0,
});
const NAMES = Object.keys(DTYPES);
const SIGNED = new Set(['Wad', 'Int', 'I8', 'I16', 'I32', 'I64']);
const TENSORS = [
  {
    type: 'tuple[]',
    components: [
      { name: 'dtype', type: 'uint8' },
      { name: 'shape', type: 'uint32[]' },
      { name: 'data', type: 'bytes' },
    ],
  },
];

const elements = (shape) => shape.reduce((product, length) => product * length, 1);

/** A WAD from a number or a decimal string; a bigint is one already. */
function toWad(value) {
  if (typeof value === 'bigint') return value;
  return parseEther(typeof value === 'number' ? value.toFixed(18) : value);
}

function word(value, width, signed, dtype) {
  const bits = BigInt(width * 8);
  const [min, max] = signed ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
  if (value < min || value > max) throw new RangeError(`${value} does not fit ${dtype}: expected ${min} to ${max}`);
  return BigInt.asUintN(width * 8, value).toString(16).padStart(width * 2, '0');
}

/** A tensor of numbers. `dtype` is any but Text; shape defaults to one row, [1, n]. */
function tensor(dtype, values, shape = [1, values.length]) {
  const width = DTYPES[dtype];
  if (!width) throw new TypeError(`${dtype} is no dtype of numbers: expected one of ${NAMES.slice(0, -1).join(', ')}`);
  if (elements(shape) !== values.length) throw new RangeError(`shape [${shape}] does not hold ${values.length} elements`);
  const words = values.map((value) => word(dtype === 'Wad' ? toWad(value) : BigInt(value), width, SIGNED.has(dtype), dtype));
  return { dtype, shape, data: `0x${words.join('')}` };
}

/** One text. */
const text = (value) => ({ dtype: 'Text', shape: [], data: stringToHex(value) });

/** Several texts, shape [n]. */
function texts(values) {
  const parts = values.map((value) => {
    const bytes = stringToHex(value).slice(2);
    return word(BigInt(bytes.length / 2), 4, false, 'a text') + bytes;
  });
  return { dtype: 'Text', shape: [values.length], data: `0x${parts.join('')}` };
}

/** The elements: bigints, or strings of a Text tensor. */
function values({ dtype, shape, data }) {
  if (dtype === 'Text') return shape.length === 0 ? [hexToString(data)] : splitTexts(hexToBytes(data), elements(shape));
  const width = DTYPES[dtype] * 2;
  const words = data.slice(2).match(new RegExp(`.{${width}}`, 'g')) ?? [];
  if (words.length * width !== data.length - 2 || words.length !== elements(shape)) {
    throw new RangeError(`shape [${shape}] of ${dtype} does not fit ${data.length / 2 - 1} bytes of data`);
  }
  return words.map((hex) => (SIGNED.has(dtype) ? BigInt.asIntN(width * 4, BigInt(`0x${hex}`)) : BigInt(`0x${hex}`)));
}

function splitTexts(bytes, count) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const result = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const length = at + 4 <= bytes.length ? view.getUint32(at) : Infinity;
    if (at + 4 + length > bytes.length) throw new RangeError(`text ${i} of ${count} ends beyond the data`);
    result.push(hexToString(bytesToHex(bytes.subarray(at + 4, at + 4 + length))));
    at += 4 + length;
  }
  if (at !== bytes.length) throw new RangeError(`${bytes.length - at} bytes behind the last text`);
  return result;
}

/** WAD tensors as JavaScript numbers, which have about 16 digits. */
const numbers = (wads) => values(wads).map((wad) => Number(formatEther(wad)));

/** The bytes that `IInference.run` takes. */
function encodeTensors(tensors) {
  const plain = tensors.map(({ dtype, shape, data }) => ({ dtype: NAMES.indexOf(dtype), shape, data }));
  return encodeAbiParameters(TENSORS, [plain]);
}

/** The tensors in the bytes that `IInference.run` gives. */
function decodeTensors(bytes) {
  const [plain] = decodeAbiParameters(TENSORS, bytes);
  return plain.map(({ dtype, shape, data }) => ({ dtype: NAMES[dtype], shape: [...shape], data }));
}

module.exports = { DTYPES, tensor, text, texts, values, numbers, encodeTensors, decodeTensors };
