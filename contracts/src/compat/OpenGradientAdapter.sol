// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DType, Tensor} from "../interfaces/IInference.sol";
import {Inference} from "../Inference.sol";
import {TensorLib} from "../Tensor.sol";
import {
    ChatMessage,
    IOpenGradient,
    LLMChatRequest,
    LLMChatResponse,
    LLMCompletionRequest,
    LLMCompletionResponse,
    ModelInferenceRequest,
    ModelInput,
    ModelOutput,
    Number,
    MultiDimensionalNumberTensor,
    StringTensor
} from "./IOpenGradient.sol";
import {ModelNames} from "./ModelNames.sol";
import {Numbers} from "./Numbers.sol";

/// @title Lets contracts written for OpenGradient run unmodified.
/// @notice What maps and what cannot stands in the package's README.
contract OpenGradientAdapter is IOpenGradient, ModelNames {
    /// @notice A feature that has no counterpart here.
    error Unsupported(string feature);

    /// @inheritdoc IOpenGradient
    function runModelInference(ModelInferenceRequest memory request) external view returns (ModelOutput memory) {
        return _output(Inference.run(modelOf(bytes(request.modelCID)), _tensors(request.input)));
    }

    /// @inheritdoc IOpenGradient
    function runLLMCompletion(LLMCompletionRequest memory request)
        external
        view
        returns (LLMCompletionResponse memory)
    {
        return LLMCompletionResponse(Inference.text(modelOf(bytes(request.modelCID)), request.prompt));
    }

    /// @inheritdoc IOpenGradient
    function runLLMChat(LLMChatRequest memory request) external view returns (LLMChatResponse memory response) {
        if (request.tools.length > 0) revert Unsupported("tools");
        response.finish_reason = "stop";
        response.message.role = "assistant";
        response.message.content = Inference.text(modelOf(bytes(request.modelCID)), _prompt(request.messages));
    }

    /// @dev One line a message, and the beginning of the answer's.
    function _prompt(ChatMessage[] memory messages) private pure returns (string memory prompt) {
        for (uint256 i = 0; i < messages.length; ++i) {
            prompt = string.concat(prompt, messages[i].role, ": ", messages[i].content, "\n");
        }
        return string.concat(prompt, "assistant:");
    }

    function _tensors(ModelInput memory input) private pure returns (Tensor[] memory tensors) {
        uint256 numbers = input.numbers.length;
        tensors = new Tensor[](numbers + input.strings.length);
        for (uint256 i = 0; i < numbers; ++i) {
            tensors[i] = _tensor(input.numbers[i]);
        }
        for (uint256 i = 0; i < input.strings.length; ++i) {
            tensors[numbers + i] = TensorLib.texts(input.strings[i].values);
        }
    }

    /// @dev Whole numbers travel as I64, which models of integers and of floats both take; all others as WAD.
    function _tensor(MultiDimensionalNumberTensor memory tensor) private pure returns (Tensor memory) {
        int256[] memory values = new int256[](tensor.values.length);
        bool whole = true;
        for (uint256 i = 0; i < values.length; ++i) {
            Number memory number = tensor.values[i];
            values[i] = number.value;
            whole = whole && number.decimals == 0 && int64(number.value) == number.value;
        }
        if (whole) return TensorLib.reshape(TensorLib.packed(values, DType.I64), tensor.shape);
        for (uint256 i = 0; i < values.length; ++i) {
            values[i] = Numbers.fromDecimal(values[i], tensor.values[i].decimals);
        }
        return TensorLib.reshape(TensorLib.wads(values), tensor.shape);
    }

    function _output(Tensor[] memory tensors) private pure returns (ModelOutput memory output) {
        uint256 texts = 0;
        for (uint256 i = 0; i < tensors.length; ++i) {
            if (tensors[i].dtype == DType.Text) ++texts;
        }
        output.numbers = new MultiDimensionalNumberTensor[](tensors.length - texts);
        output.strings = new StringTensor[](texts);
        (uint256 n, uint256 s) = (0, 0);
        for (uint256 i = 0; i < tensors.length; ++i) {
            if (tensors[i].dtype == DType.Text) output.strings[s++].values = _texts(tensors[i]);
            else output.numbers[n++] = _numbers(tensors[i]);
        }
    }

    function _texts(Tensor memory tensor) private pure returns (string[] memory values) {
        if (tensor.shape.length > 0) return TensorLib.toTexts(tensor);
        values = new string[](1);
        values[0] = TensorLib.toText(tensor);
    }

    function _numbers(Tensor memory tensor) private pure returns (MultiDimensionalNumberTensor memory result) {
        bool wad = tensor.dtype == DType.Wad;
        int256[] memory values = wad ? TensorLib.takeWads(tensor) : TensorLib.toInts(tensor);
        result.shape = tensor.shape;
        result.values = new Number[](values.length);
        for (uint256 i = 0; i < values.length; ++i) {
            result.values[i] = _number(values[i], wad ? int128(18) : int128(0));
        }
    }

    /// @dev Numbers too great for 128 bits lose decimals, with one rounding.
    function _number(int256 value, int128 decimals) private pure returns (Number memory) {
        uint256 divisor = 1;
        int256 shortened = value;
        while (int128(shortened) != shortened) {
            if (decimals == 0) revert Numbers.Unrepresentable();
            (divisor, decimals) = (divisor * 10, decimals - 1);
            shortened = Numbers.divide(value, divisor, Numbers.HALF_EVEN);
        }
        return Number(int128(shortened), decimals);
    }
}
