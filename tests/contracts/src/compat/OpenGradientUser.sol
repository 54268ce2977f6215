// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

// A contract as one writes it for OpenGradient's chain: it declares what that chain publishes, and knows nothing of this one.

struct Number {
    int128 value;
    int128 decimals;
}

struct MultiDimensionalNumberTensor {
    string name;
    Number[] values;
    uint32[] shape;
}

struct StringTensor {
    string name;
    string[] values;
}

struct JsonScalar {
    string name;
    string value;
}

struct ModelInput {
    MultiDimensionalNumberTensor[] numbers;
    StringTensor[] strings;
}

struct ModelOutput {
    MultiDimensionalNumberTensor[] numbers;
    StringTensor[] strings;
    JsonScalar[] jsons;
    bool is_simulation_result;
}

enum ModelInferenceMode {
    VANILLA,
    ZK,
    TEE
}

struct ModelInferenceRequest {
    ModelInferenceMode mode;
    string modelCID;
    ModelInput input;
}

interface OGInference {
    function runModelInference(ModelInferenceRequest memory request) external returns (ModelOutput memory);
}

OGInference constant OG_INFERENCE_CONTRACT = OGInference(0x00000000000000000000000000000000000000F4);

contract OpenGradientUser {
    Number public result;

    /// @notice Asks a model of one row of numbers, each with four decimals.
    function runModel(string calldata cid, int128[] calldata row) external {
        ModelInput memory input = ModelInput(new MultiDimensionalNumberTensor[](1), new StringTensor[](0));
        Number[] memory numbers = new Number[](row.length);
        for (uint256 i = 0; i < row.length; i++) {
            numbers[i] = Number(row[i], 4);
        }
        uint32[] memory shape = new uint32[](2);
        (shape[0], shape[1]) = (1, uint32(row.length));
        input.numbers[0] = MultiDimensionalNumberTensor("input", numbers, shape);
        ModelOutput memory output =
            OG_INFERENCE_CONTRACT.runModelInference(ModelInferenceRequest(ModelInferenceMode.VANILLA, cid, input));
        if (output.is_simulation_result == false) {
            result = output.numbers[0].values[0];
        } else {
            result = Number(0, 0);
        }
    }
}
