// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @notice A contract as one writes it for Ritual's chain: a call without a selector to its ONNX precompile, fixed point in and out.
contract RitualUser {
    address private constant ONNX_PRECOMPILE = address(0x0800);
    uint8 private constant FLOAT32 = 5;
    uint8 private constant FIXED_POINT = 1;
    uint8 private constant HALF_EVEN = 1;

    int32 public result;

    /// @notice Asks a model of one row of numbers with `scale` decimals.
    function predict(bytes calldata mlModelId, int32[] calldata values, uint8 scale) external {
        uint16[] memory shape = new uint16[](2);
        (shape[0], shape[1]) = (1, uint16(values.length));
        bytes memory tensor = abi.encode(FLOAT32, shape, values);
        (bool ok, bytes memory returned) =
            ONNX_PRECOMPILE.call(abi.encode(mlModelId, tensor, FIXED_POINT, scale, FIXED_POINT, scale, HALF_EVEN));
        require(ok, "ONNX call failed");
        (bytes memory output,,,) = abi.decode(returned, (bytes, uint8, uint8, uint8));
        (,, int32[] memory outputs) = abi.decode(output, (uint8, uint16[], int32[]));
        result = outputs[0];
    }
}
