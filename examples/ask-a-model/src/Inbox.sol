// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Message, Text, TextParams} from "@foreblock/contracts/src/Text.sol";

/// @title An inbox that a language model sorts.
/// @notice Whoever sends a text gets it filed in the same transaction: the model is asked what the text is about, and its
/// answer, one of four, is stored beside the text.
contract Inbox {
    /// @notice Longest text, in bytes.
    uint256 public constant MAX_BYTES = 400;
    string private constant QUESTION = "Is this about a product, a film, politics or a tweet?\n";

    struct Letter {
        address sender;
        uint8 folder;
        uint8 stars;
        string text;
    }

    error TextSize(uint256 size, uint256 max);

    event Filed(uint256 indexed letter, string folder, uint8 stars);

    bytes32 public immutable model;
    Letter[] public letters;

    constructor(bytes32 model_) {
        model = model_;
    }

    /// @notice The folders, in the order of their numbers.
    function folders() public pure returns (string[] memory names) {
        names = new string[](4);
        (names[0], names[1], names[2], names[3]) = ("product", "film", "politics", "tweet");
    }

    /// @notice One transaction: two questions to the model, its answers, and the letter filed by them.
    function send(string calldata text) external returns (uint256 letter) {
        uint256 size = bytes(text).length;
        if (size == 0 || size > MAX_BYTES) revert TextSize(size, MAX_BYTES);
        uint8 folder = uint8(Text.choose(model, string.concat(QUESTION, text), folders()));
        int64 stars = Text.number(model, string.concat("How many stars, 1 to 5?\n", text), 1, 5);
        letter = letters.length;
        letters.push(Letter(msg.sender, folder, uint8(uint64(stars)), text));
        emit Filed(letter, folders()[folder], uint8(uint64(stars)));
    }

    /// @notice What the model writes back, in a call: it costs nobody gas.
    function reply(string calldata text) external view returns (string memory) {
        Message[] memory messages = new Message[](1);
        messages[0] = Message("user", text);
        TextParams memory params = Text.greedy();
        (params.maxTokens, params.maxBytes) = (24, 120);
        return Text.chat(model, messages, params);
    }
}
