// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

// OpenGradient's published ABI, so that names are theirs.

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

struct ModelInferenceRequest {
    uint8 mode;
    string modelCID;
    ModelInput input;
}

struct LLMCompletionRequest {
    uint8 mode;
    string modelCID;
    string prompt;
    uint32 max_tokens;
    string[] stop_sequence;
    uint32 temperature;
}

struct LLMCompletionResponse {
    string answer;
}

struct ToolCall {
    string id;
    string name;
    string arguments;
}

struct ChatMessage {
    string role;
    string content;
    string name;
    string tool_call_id;
    ToolCall[] tool_calls;
}

struct ToolDefinition {
    string description;
    string name;
    string parameters;
}

struct LLMChatRequest {
    uint8 mode;
    string modelCID;
    ChatMessage[] messages;
    ToolDefinition[] tools;
    string tool_choice;
    uint32 max_tokens;
    string[] stop_sequence;
    uint32 temperature;
}

struct LLMChatResponse {
    string finish_reason;
    ChatMessage message;
}

/// @title OpenGradient's inference contract, at 0x00000000000000000000000000000000000000F4 on its chain.
interface IOpenGradient {
    function runModelInference(ModelInferenceRequest memory request) external returns (ModelOutput memory);
    function runLLMCompletion(LLMCompletionRequest memory request) external returns (LLMCompletionResponse memory);
    function runLLMChat(LLMChatRequest memory request) external returns (LLMChatResponse memory);
}
