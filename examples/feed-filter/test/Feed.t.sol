// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IInference} from "@foreblock/contracts/src/interfaces/IInference.sol";
import {InferenceFixture} from "@foreblock/contracts/src/testing/InferenceFixture.sol";
import {vm} from "@foreblock/contracts/src/testing/Vm.sol";
import {Feed} from "../src/Feed.sol";

/// @dev The answers are the real model's, recorded by record.py.
contract FeedTest is InferenceFixture {
    bytes32 private constant MODEL = keccak256("text");
    string private constant TOPIC = "Proposal: reduce the swap fee from 30 to 5 basis points.";
    string private constant NEAR = "The DAO should spend 50,000 USDC on a security audit of the new vault.";
    string private constant FAR = "Delicious coffee, rich and smooth.";
    string private constant ANGRY =
        "The budget is terrible and the vote is a disgusting fraud, I hate this stupid tax.";
    Feed private feed;
    uint256 private channel;

    function setUp() public {
        vm.assertEq(replay("test/answers.json"), 6, "all sentences were recorded");
        feed = new Feed(MODEL);
        channel = feed.open(TOPIC, 0.3e18, -1e18);
    }

    function test_a_post_on_topic_is_taken() public {
        (int256 likeness, int256 valence) = feed.judge(channel, NEAR);
        vm.assertTrue(likeness > 0.493e18 && likeness < 0.495e18, "as the model sees it, but for the packing");
        vm.expectEmit(address(feed));
        emit Feed.Posted(channel, address(this), NEAR, likeness, valence);
        feed.post(channel, NEAR);
    }

    function test_the_example_itself_lies_at_one() public view {
        (int256 likeness,) = feed.judge(channel, TOPIC);
        vm.assertTrue(likeness > 0.999e18 && likeness <= 1e18, "packing loses less than a thousandth");
    }

    function test_a_post_off_topic_is_refused() public {
        vm.expectPartialRevert(Feed.OffTopic.selector);
        feed.post(channel, FAR);
    }

    function test_a_post_without_words_is_off_topic() public {
        vm.expectRevert(abi.encodeWithSelector(Feed.OffTopic.selector, 0, int256(0.3e18)));
        feed.post(channel, "...");
    }

    function test_a_hostile_post_is_refused_even_on_topic() public {
        (, int256 valence) = feed.read(ANGRY);
        vm.expectRevert(abi.encodeWithSelector(Feed.Hostile.selector, valence, int256(-1e18)));
        feed.post(channel, ANGRY);
        feed.post(feed.open(TOPIC, 0.3e18, -3e18), ANGRY); // a channel that bears it
    }

    function test_limits_and_sizes_are_checked_before_the_model_is_asked() public {
        vm.expectRevert(abi.encodeWithSelector(Feed.BadLimits.selector, int256(1.1e18), int256(0)));
        feed.open(TOPIC, 1.1e18, 0);
        vm.expectRevert(abi.encodeWithSelector(Feed.TextSize.selector, 0, 280));
        feed.post(channel, "");
        vm.expectRevert(abi.encodeWithSelector(Feed.TextSize.selector, 281, 280));
        feed.post(channel, string(new bytes(281)));
        vm.expectRevert(abi.encodeWithSelector(Feed.NoChannel.selector, 7));
        feed.post(7, NEAR);
        vm.expectRevert(abi.encodeWithSelector(Feed.NoTopic.selector, "..."));
        feed.open("...", 0, 0);
    }

    function test_without_an_answer_there_is_no_post() public {
        fails(MODEL, 4, "out of range");
        vm.expectRevert(abi.encodeWithSelector(IInference.InferenceFailed.selector, 4, "out of range"));
        feed.post(channel, "A sentence that nobody recorded.");
    }
}
