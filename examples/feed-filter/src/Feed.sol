// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Inference} from "@foreblock/contracts/src/Inference.sol";
import {Tensor} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {TensorLib} from "@foreblock/contracts/src/Tensor.sol";
import {WadVector} from "@foreblock/contracts/src/WadVector.sol";

/// @title A public feed whose channels take only posts that are on topic and not hostile.
/// @notice A channel's topic is one example sentence. A post's bytes go to the `text` model as they are, and the post must lie near
/// the example. Nobody moderates, and nobody can make an exception.
contract Feed {
    /// @notice Length of an embedding, and of the longest post in bytes.
    uint256 public constant WIDTH = 32;
    uint256 public constant MAX_BYTES = 280;
    /// @dev An embedding is kept in two slots: 32 numbers of 16 bits.
    int256 private constant STEP = int256(1e18) / 32767;

    struct Channel {
        int64 minLikeness; // WAD, -1 to 1
        int64 minValence; // WAD
        uint256[2] topic;
    }

    error NoChannel(uint256 channel);
    error NoTopic(string example);
    error BadLimits(int256 minLikeness, int256 minValence);
    error TextSize(uint256 size, uint256 max);
    error OffTopic(int256 likeness, int256 needed);
    error Hostile(int256 valence, int256 needed);

    event Opened(uint256 indexed channel, string example);
    event Posted(uint256 indexed channel, address indexed author, string post, int256 likeness, int256 valence);

    bytes32 public immutable textModel;
    Channel[] private channels;

    constructor(bytes32 textModel_) {
        textModel = textModel_;
    }

    /// @notice Opens a channel about what `example` is about.
    /// @param minLikeness how near a post must lie, the cosine as WAD; 0.4e18 is a start
    /// @param minValence how pleasant it must sound, WAD; -1e18 keeps out what people call clearly negative
    function open(string calldata example, int64 minLikeness, int64 minValence) external returns (uint256 channel) {
        if (minLikeness < -1e18 || minLikeness > 1e18 || minValence < -5e18 || minValence > 5e18) {
            revert BadLimits(minLikeness, minValence);
        }
        (int256[] memory embedding,) = read(example);
        if (WadVector.norm(embedding) == 0) revert NoTopic(example);
        channel = channels.length;
        channels.push(Channel(minLikeness, minValence, _pack(embedding)));
        emit Opened(channel, example);
    }

    /// @notice Posts, in the transaction in which the model reads the post.
    function post(uint256 channel, string calldata text) external {
        (int256 likeness, int256 valence) = judge(channel, text);
        Channel storage chosen = channels[channel];
        if (likeness < chosen.minLikeness) revert OffTopic(likeness, chosen.minLikeness);
        if (valence < chosen.minValence) revert Hostile(valence, chosen.minValence);
        emit Posted(channel, msg.sender, text, likeness, valence);
    }

    /// @notice How near a text lies to a channel's topic, and how pleasant it sounds; WAD.
    function judge(uint256 channel, string calldata text) public view returns (int256 likeness, int256 valence) {
        if (channel >= channels.length) revert NoChannel(channel);
        int256[] memory embedding;
        (embedding, valence) = read(text);
        likeness = WadVector.dot(embedding, _unpack(channels[channel].topic));
    }

    /// @notice What the model says of a text: what it is about, and how pleasant it sounds; WAD.
    function read(string calldata text) public view returns (int256[] memory embedding, int256 valence) {
        uint256 size = bytes(text).length;
        if (size == 0 || size > MAX_BYTES) revert TextSize(size, MAX_BYTES);
        Tensor memory input = TensorLib.reshape(TensorLib.octets(bytes(text)), TensorLib.shape(1, size));
        Tensor[] memory outputs = Inference.run(textModel, input);
        return (TensorLib.takeWads(outputs[0]), TensorLib.takeWads(outputs[1])[0]);
    }

    function _pack(int256[] memory embedding) private pure returns (uint256[2] memory slots) {
        for (uint256 i = 0; i < WIDTH; ++i) {
            int256 steps = embedding[i] / STEP;
            if (steps > 32767) steps = 32767; // a cosine of one, rounded
            if (steps < -32767) steps = -32767;
            slots[i / 16] |= uint256(uint16(int16(steps))) << (16 * (i % 16));
        }
    }

    function _unpack(uint256[2] memory slots) private pure returns (int256[] memory embedding) {
        embedding = new int256[](WIDTH);
        for (uint256 i = 0; i < WIDTH; ++i) {
            embedding[i] = int256(int16(uint16(slots[i / 16] >> (16 * (i % 16))))) * STEP;
        }
    }
}
