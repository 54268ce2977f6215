// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Tensor} from "./interfaces/IInference.sol";
import {Inference} from "./Inference.sol";
import {TensorLib} from "./Tensor.sol";

/// @notice One message of a conversation.
/// @param role `system`, `user` or `assistant`
/// @param content plain text, whatever it says: it never becomes a role or a control token
struct Message {
    string role;
    string content;
}

/// @notice How an answer is made. `Text.greedy()` and `Text.sampled(..)` give one to start from.
/// @param maxTokens most tokens of the answer, paid for in advance; what is not used comes back within the call
/// @param maxBytes most bytes of the answer, at most 4,096
/// @param maxPromptTokens most tokens of the prompt, template included, paid for in advance like those of the answer, four for
/// the price of one; a longer prompt fails. No prompt is paid for beyond the bytes of the input
/// @param temperature WAD, at most 9; 0 takes the likeliest token each time
/// @param topP WAD: only the likeliest tokens that together have this probability
/// @param topK only so many of the likeliest tokens; 0 for all
/// @param seed chooses among the answers that sampling may give; 63 bits
/// @param stops texts that end the answer and are not part of it
struct TextParams {
    uint32 maxTokens;
    uint32 maxBytes;
    uint32 maxPromptTokens;
    int64 temperature;
    int64 topP;
    uint32 topK;
    uint64 seed;
    string[] stops;
}

/// @notice Why an answer ended.
enum Finish {
    End, // the model ended it
    Stop, // a stop sequence came
    Complete, // it is all that its constraint allows
    Tokens, // the limit of tokens
    Bytes // the limit of bytes
}

/// @notice An answer.
/// @param text what the model wrote; UTF-8, at most `maxBytes`
/// @param value the index of the option or the number, for answers that were constrained to one
/// @param finish why it ended
/// @param promptTokens tokens of the prompt
/// @param answerTokens tokens of the answer
struct Answer {
    string text;
    int64 value;
    Finish finish;
    uint256 promptTokens;
    uint256 answerTokens;
}

/// @title A language model's answer in one line of Solidity.
/// @notice The same text on every machine: an answer is a function of model, messages, parameters and seed. What the model
/// cannot answer reverts with `IInference.InferenceFailed`.
/// @dev Put what users send into messages of their own, never into the text of an instruction: contents are encoded apart
/// from the template, so they cannot end their message or begin another.
library Text {
    /// @notice The answer's tensors are not those of a text model.
    error NotATextModel(bytes32 modelId);

    int64 internal constant ONE = 1e18;
    uint32 internal constant DEFAULT_TOKENS = 64;
    uint32 internal constant DEFAULT_BYTES = 1_024;
    /// @dev Whatever the question's length: it is paid for by its bytes, and what its tokens leave comes back.
    uint32 internal constant ANY_PROMPT = type(uint32).max;
    /// @dev Blocks that share a seed. Longer than a transaction waits, shorter than `blockhash` reaches back.
    uint256 internal constant SEED_BLOCKS = 64;

    // ---- parameters

    /// @notice The likeliest token each time: no seed, and the same question is computed once for everybody.
    function greedy() internal pure returns (TextParams memory) {
        return TextParams(DEFAULT_TOKENS, DEFAULT_BYTES, ANY_PROMPT, 0, ONE, 0, 0, new string[](0));
    }

    /// @notice Greedy, with as many tokens as the longest of `choices` or of a `range` may take.
    function greedyFor(string[] memory constraint) internal pure returns (TextParams memory params) {
        params = greedy();
        params.maxTokens = 1;
        for (uint256 i = 1; i < constraint.length; ++i) {
            uint32 size = uint32(bytes(constraint[i]).length);
            if (size > params.maxTokens) params.maxTokens = size;
        }
    }

    /// @notice Sampled at a temperature, WAD, from the seed of these blocks.
    function sampled(int64 temperature) internal view returns (TextParams memory params) {
        params = greedy();
        (params.temperature, params.seed) = (temperature, seedOfBlocks());
    }

    /// @notice A seed that was fixed before the transaction was known: the hash of the last block whose number is a multiple
    /// of 64. Who computes or builds cannot choose it; who sends can only wait for another.
    function seedOfBlocks() internal view returns (uint64) {
        uint256 last = (block.number - 1) - (block.number - 1) % SEED_BLOCKS;
        return uint64(uint256(blockhash(last)) >> 193);
    }

    // ---- questions

    /// @notice How the model goes on from a prompt, without a template.
    function complete(bytes32 modelId, string memory prompt, TextParams memory params)
        internal
        view
        returns (string memory)
    {
        return ask(modelId, _one("prompt", prompt), params, new string[](0)).text;
    }

    /// @notice What the assistant says next.
    function chat(bytes32 modelId, Message[] memory messages, TextParams memory params)
        internal
        view
        returns (string memory)
    {
        return ask(modelId, messages, params, new string[](0)).text;
    }

    /// @notice Which of the options the model answers a question with: greedy, and always one of them.
    /// @dev No option may be how another begins.
    function choose(bytes32 modelId, string memory question, string[] memory options)
        internal
        view
        returns (uint256 index)
    {
        return choose(modelId, _one("user", question), options);
    }

    /// @notice The same at the end of a conversation, for texts that need messages of their own.
    function choose(bytes32 modelId, Message[] memory messages, string[] memory options)
        internal
        view
        returns (uint256 index)
    {
        string[] memory constraint = choices(options);
        return uint64(ask(modelId, messages, greedyFor(constraint), constraint).value);
    }

    /// @notice The same with parameters: for models whose tokens are dear, limit those of the prompt.
    function choose(bytes32 modelId, string memory question, string[] memory options, TextParams memory params)
        internal
        view
        returns (uint256 index)
    {
        return uint64(ask(modelId, _one("user", question), params, choices(options)).value);
    }

    /// @notice The number from `min` to `max` that the model answers a question with: greedy, and always one of them.
    function number(bytes32 modelId, string memory question, int64 min, int64 max) internal view returns (int64) {
        return number(modelId, question, min, max, greedyFor(range(min, max)));
    }

    /// @notice The same with parameters.
    function number(bytes32 modelId, string memory question, int64 min, int64 max, TextParams memory params)
        internal
        view
        returns (int64)
    {
        return ask(modelId, _one("user", question), params, range(min, max)).value;
    }

    /// @notice Everything at once: messages, parameters, and what the answer must be (empty for anything).
    function ask(bytes32 modelId, Message[] memory messages, TextParams memory params, string[] memory constraint)
        internal
        view
        returns (Answer memory)
    {
        return _read(modelId, Inference.run(modelId, tensors(messages, params, constraint)));
    }

    // ---- what an answer must be

    /// @notice One of these texts.
    function choices(string[] memory options) internal pure returns (string[] memory constraint) {
        constraint = new string[](options.length + 1);
        constraint[0] = "choice";
        for (uint256 i = 0; i < options.length; ++i) {
            constraint[i + 1] = options[i];
        }
    }

    /// @notice A number from `min` to `max`.
    function range(int64 min, int64 max) internal pure returns (string[] memory constraint) {
        constraint = new string[](3);
        (constraint[0], constraint[1], constraint[2]) = ("range", _decimals(min), _decimals(max));
    }

    /// @notice A text that this regular expression matches as a whole.
    function regex(string memory pattern) internal pure returns (string[] memory) {
        return _pair("regex", pattern);
    }

    /// @notice JSON of this schema, without spaces, properties in alphabetical order.
    function json(string memory schema) internal pure returns (string[] memory) {
        return _pair("json", schema);
    }

    // ---- the wire

    /// @notice The tensors that text models take.
    function tensors(Message[] memory messages, TextParams memory params, string[] memory constraint)
        internal
        pure
        returns (Tensor[] memory inputs)
    {
        int256[] memory numbers = new int256[](7);
        (numbers[0], numbers[1]) = (int256(uint256(params.maxTokens)), int256(uint256(params.maxBytes)));
        (numbers[2], numbers[3]) = (params.temperature, params.topP);
        (numbers[4], numbers[5]) = (int256(uint256(params.topK)), int256(uint256(params.seed)));
        numbers[6] = int256(uint256(params.maxPromptTokens));
        string[] memory flat = new string[](2 * messages.length);
        for (uint256 i = 0; i < messages.length; ++i) {
            (flat[2 * i], flat[2 * i + 1]) = (messages[i].role, messages[i].content);
        }
        inputs = new Tensor[](4);
        inputs[0] = TensorLib.ints(numbers);
        inputs[1] = TensorLib.texts(flat);
        inputs[1].shape = TensorLib.shape(messages.length, 2);
        inputs[2] = TensorLib.texts(constraint);
        inputs[3] = TensorLib.texts(params.stops);
    }

    function _read(bytes32 modelId, Tensor[] memory outputs) private pure returns (Answer memory answer) {
        if (outputs.length != 2) revert NotATextModel(modelId);
        int256[] memory facts = TensorLib.toInts(outputs[0]);
        if (facts.length != 4) revert NotATextModel(modelId);
        answer.text = TensorLib.toText(outputs[1]);
        (answer.value, answer.finish) = (int64(facts[0]), Finish(uint256(facts[1])));
        (answer.promptTokens, answer.answerTokens) = (uint256(facts[2]), uint256(facts[3]));
    }

    function _one(string memory role, string memory content) private pure returns (Message[] memory messages) {
        messages = new Message[](1);
        messages[0] = Message(role, content);
    }

    function _pair(string memory kind, string memory value) private pure returns (string[] memory constraint) {
        constraint = new string[](2);
        (constraint[0], constraint[1]) = (kind, value);
    }

    function _decimals(int64 value) private pure returns (string memory) {
        uint256 rest = value < 0 ? uint256(-int256(value)) : uint256(int256(value));
        bytes memory digits;
        do {
            digits = bytes.concat(bytes1(uint8(48 + rest % 10)), digits);
            rest /= 10;
        } while (rest > 0);
        return string(value < 0 ? bytes.concat("-", digits) : digits);
    }
}
