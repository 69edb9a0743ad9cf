// What answers hold, as JSON schemas. The tests validate real answers against them.
#include <array>

#include "hadal/api/openapi.h"

namespace hadal::api {
namespace {

constexpr auto kSchemas = std::to_array<AnswerSchema>({
    {"Error", R"({"type": "object", "required": ["error"], "properties": {"error": {
        "type": "object", "required": ["message", "type", "param", "code"], "properties": {
          "message": {"type": "string"},
          "type": {"enum": ["invalid_request_error", "rate_limit_error", "server_error"]},
          "param": {"type": ["string", "null"], "description": "the field at fault"},
          "code": {"type": "string"}}}}})"},
    {"MessagesError", R"({"type": "object", "required": ["type", "error"], "properties": {
        "type": {"const": "error"},
        "error": {"type": "object", "required": ["type", "message"], "properties": {
          "type": {"enum": ["invalid_request_error", "authentication_error", "not_found_error",
                            "request_too_large", "rate_limit_error", "overloaded_error",
                            "api_error"]},
          "message": {"type": "string"}}}}})"},
    {"Health", R"({"type": "object", "required": ["status"], "properties": {
        "status": {"enum": ["ok", "loading", "draining"]},
        "progress": {"type": "number", "minimum": 0, "maximum": 1}}})"},
    {"Version", R"({"type": "object", "required": ["version"], "properties": {
        "version": {"type": "string"}}})"},
    {"OpenApi", R"({"type": "object"})"},
    {"Model", R"({"type": "object", "required": ["id", "object", "created", "owned_by"],
        "properties": {
          "id": {"type": "string"}, "object": {"const": "model"}, "created": {"type": "integer"},
          "owned_by": {"type": "string"},
          "root": {"type": "string", "description": "the model behind the name"},
          "parent": {"type": "null"},
          "max_model_len": {"type": ["integer", "null"], "description": "tokens of context"}}})"},
    {"ModelList", R"({"type": "object", "required": ["object", "data"], "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}}})"},
    {"Balance", R"({"type": "object", "required": ["is_available", "balance_infos"],
        "properties": {"is_available": {"const": true},
                       "balance_infos": {"type": "array", "maxItems": 0}}})"},
    {"TokenCount", R"({"type": "object", "required": ["input_tokens"], "properties": {
        "input_tokens": {"type": "integer"}}})"},
    {"TokenizeAnswer", R"({"type": "object", "required": ["count", "max_model_len", "tokens"],
        "properties": {
          "count": {"type": "integer"}, "max_model_len": {"type": "integer"},
          "tokens": {"type": "array", "items": {"type": "integer"}},
          "token_strs": {"type": ["array", "null"], "items": {"type": "string"}}}})"},
    {"FileUpload", R"({"type": "object", "required": ["file", "purpose"], "properties": {
        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
        "purpose": {"const": "batch"},
        "expires_after[anchor]": {"const": "created_at"},
        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2592000}}})"},
    {"File", R"({"type": "object",
        "required": ["id", "object", "bytes", "created_at", "filename", "purpose", "status"],
        "properties": {
          "id": {"type": "string"}, "object": {"const": "file"}, "bytes": {"type": "integer"},
          "created_at": {"type": "integer"}, "expires_at": {"type": "integer"},
          "filename": {"type": "string"}, "purpose": {"enum": ["batch", "batch_output"]},
          "status": {"const": "processed"}}})"},
    {"FileList", R"({"type": "object", "required": ["object", "data", "has_more"], "properties": {
        "object": {"const": "list"}, "has_more": {"type": "boolean"},
        "first_id": {"type": ["string", "null"]}, "last_id": {"type": ["string", "null"]},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/File"}}}})"},
    {"FileRemoved", R"({"type": "object", "required": ["id", "object", "deleted"], "properties": {
        "id": {"type": "string"}, "object": {"const": "file"}, "deleted": {"const": true}}})"},
    {"BatchErrors", R"({"type": "object", "required": ["object", "data"], "properties": {
        "object": {"const": "list"},
        "data": {"type": "array", "items": {"type": "object",
          "required": ["code", "message", "param", "line"], "properties": {
            "code": {"type": "string"}, "message": {"type": "string"},
            "param": {"type": ["string", "null"]},
            "line": {"type": ["integer", "null"], "description": "of the input file, from 1"}}}}}})"},
    {"Batch", R"({"type": "object",
        "required": ["id", "object", "endpoint", "input_file_id", "completion_window", "status",
                     "created_at", "request_counts"],
        "properties": {
          "id": {"type": "string"}, "object": {"const": "batch"}, "endpoint": {"type": "string"},
          "errors": {"anyOf": [{"type": "null"}, {"$ref": "#/components/schemas/BatchErrors"}]},
          "input_file_id": {"type": "string"}, "completion_window": {"type": "string"},
          "status": {"enum": ["validating", "failed", "in_progress", "finalizing", "completed",
                              "expired", "cancelling", "cancelled"]},
          "output_file_id": {"type": ["string", "null"]},
          "error_file_id": {"type": ["string", "null"]},
          "created_at": {"type": "integer"}, "in_progress_at": {"type": ["integer", "null"]},
          "expires_at": {"type": ["integer", "null"]},
          "finalizing_at": {"type": ["integer", "null"]},
          "completed_at": {"type": ["integer", "null"]},
          "failed_at": {"type": ["integer", "null"]}, "expired_at": {"type": ["integer", "null"]},
          "cancelling_at": {"type": ["integer", "null"]},
          "cancelled_at": {"type": ["integer", "null"]},
          "request_counts": {"type": "object", "required": ["total", "completed", "failed"],
            "properties": {"total": {"type": "integer"}, "completed": {"type": "integer"},
                           "failed": {"type": "integer"}}},
          "metadata": {"type": ["object", "null"], "additionalProperties": {"type": "string"}}}})"},
    {"BatchList", R"({"type": "object", "required": ["object", "data", "has_more"], "properties": {
        "object": {"const": "list"}, "has_more": {"type": "boolean"},
        "first_id": {"type": ["string", "null"]}, "last_id": {"type": ["string", "null"]},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Batch"}}}})"},
    {"DetokenizeAnswer", R"({"type": "object", "required": ["prompt"], "properties": {
        "prompt": {"type": "string"}}})"},

    {"Usage", R"({"type": "object",
        "required": ["prompt_tokens", "completion_tokens", "total_tokens"], "properties": {
          "prompt_tokens": {"type": "integer"}, "completion_tokens": {"type": "integer"},
          "total_tokens": {"type": "integer"},
          "prompt_tokens_details": {"type": "object", "properties": {
            "cached_tokens": {"type": "integer"}}},
          "prompt_cache_hit_tokens": {"type": "integer"},
          "prompt_cache_miss_tokens": {"type": "integer"},
          "completion_tokens_details": {"type": "object", "properties": {
            "reasoning_tokens": {"type": "integer"}}}}})"},
    {"TokenScore", R"({"type": "object", "required": ["token", "logprob", "bytes"], "properties": {
        "token": {"type": "string"}, "logprob": {"type": "number"},
        "bytes": {"type": "array", "items": {"type": "integer"}},
        "top_logprobs": {"type": "array",
                         "items": {"$ref": "#/components/schemas/TokenScore"}}}})"},
    {"ChatLogprobs", R"({"type": ["object", "null"], "required": ["content"], "properties": {
        "content": {"type": "array", "items": {"$ref": "#/components/schemas/TokenScore"}},
        "refusal": {"type": "null"}}})"},
    {"FinishReason", R"({"enum": ["stop", "length", "tool_calls", null]})"},
    {"MadeToolCall", R"({"type": "object", "required": ["function"], "properties": {
        "index": {"type": "integer", "description": "of a stream: which call goes on"},
        "id": {"type": "string"}, "type": {"const": "function"},
        "function": {"type": "object", "required": ["arguments"], "properties": {
          "name": {"type": "string"}, "arguments": {"type": "string"}}}}})"},
    {"ChatAnswerMessage", R"({"type": "object", "properties": {
        "role": {"const": "assistant"}, "content": {"type": ["string", "null"]},
        "reasoning_content": {"type": ["string", "null"]},
        "tool_calls": {"type": "array",
                       "items": {"$ref": "#/components/schemas/MadeToolCall"}}}})"},
    {"ChatCompletion", R"({"type": "object",
        "required": ["id", "object", "created", "model", "choices", "usage"], "properties": {
          "id": {"type": "string"}, "object": {"const": "chat.completion"},
          "created": {"type": "integer"}, "model": {"type": "string"},
          "system_fingerprint": {"type": "string"}, "service_tier": {"type": "string"},
          "choices": {"type": "array", "items": {"type": "object",
            "required": ["index", "finish_reason", "message", "logprobs"], "properties": {
              "index": {"type": "integer"},
              "finish_reason": {"$ref": "#/components/schemas/FinishReason"},
              "stop_reason": {"type": ["string", "null"], "description": "the stop string"},
              "message": {"$ref": "#/components/schemas/ChatAnswerMessage"},
              "logprobs": {"$ref": "#/components/schemas/ChatLogprobs"}}}},
          "usage": {"$ref": "#/components/schemas/Usage"}}})"},
    {"ChatCompletionChunk", R"({"type": "object",
        "description": "The last one's data is [DONE].",
        "required": ["id", "object", "created", "model", "choices"], "properties": {
          "id": {"type": "string"}, "object": {"const": "chat.completion.chunk"},
          "created": {"type": "integer"}, "model": {"type": "string"},
          "system_fingerprint": {"type": "string"}, "service_tier": {"type": "string"},
          "choices": {"type": "array", "items": {"type": "object",
            "required": ["index", "finish_reason", "delta"], "properties": {
              "index": {"type": "integer"},
              "finish_reason": {"$ref": "#/components/schemas/FinishReason"},
              "stop_reason": {"type": ["string", "null"]},
              "delta": {"$ref": "#/components/schemas/ChatAnswerMessage"},
              "logprobs": {"$ref": "#/components/schemas/ChatLogprobs"}}}},
          "usage": {"oneOf": [{"$ref": "#/components/schemas/Usage"}, {"type": "null"}]}}})"},
    {"Completion", R"({"type": "object",
        "description": "In a stream too; the last one's data is [DONE].",
        "required": ["id", "object", "created", "model", "choices"], "properties": {
          "id": {"type": "string"}, "object": {"const": "text_completion"},
          "created": {"type": "integer"}, "model": {"type": "string"},
          "system_fingerprint": {"type": "string"}, "service_tier": {"type": "string"},
          "choices": {"type": "array", "items": {"type": "object",
            "required": ["index", "finish_reason", "text"], "properties": {
              "index": {"type": "integer"},
              "finish_reason": {"$ref": "#/components/schemas/FinishReason"},
              "stop_reason": {"type": ["string", "null"]},
              "text": {"type": "string"},
              "logprobs": {"type": ["object", "null"], "properties": {
                "tokens": {"type": "array", "items": {"type": "string"}},
                "token_logprobs": {"type": "array", "items": {"type": ["number", "null"]}},
                "top_logprobs": {"type": "array", "items": {"type": ["object", "null"],
                  "additionalProperties": {"type": "number"}}},
                "text_offset": {"type": "array", "items": {"type": "integer"}}}}}}},
          "usage": {"oneOf": [{"$ref": "#/components/schemas/Usage"}, {"type": "null"}]}}})"},

    {"MessagesUsage", R"({"type": "object", "required": ["input_tokens", "output_tokens"],
        "properties": {
          "input_tokens": {"type": "integer"},
          "cache_creation_input_tokens": {"type": "integer"},
          "cache_read_input_tokens": {"type": "integer"},
          "output_tokens": {"type": "integer"}}})"},
    {"MadeBlock", R"({"type": "object", "required": ["type"], "properties": {
        "type": {"enum": ["thinking", "text", "tool_use"]},
        "thinking": {"type": "string"}, "signature": {"type": "string"},
        "text": {"type": "string"},
        "id": {"type": "string"}, "name": {"type": "string"},
        "input": {"type": "object", "additionalProperties": true}}})"},
    {"MessagesStop", R"({"enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use", null]})"},
    {"MessagesAnswer", R"({"type": "object",
        "required": ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence",
                     "usage"],
        "properties": {
          "id": {"type": "string"}, "type": {"const": "message"}, "role": {"const": "assistant"},
          "model": {"type": "string"},
          "content": {"type": "array", "items": {"$ref": "#/components/schemas/MadeBlock"}},
          "stop_reason": {"$ref": "#/components/schemas/MessagesStop"},
          "stop_sequence": {"type": ["string", "null"]},
          "usage": {"$ref": "#/components/schemas/MessagesUsage"}}})"},
    {"MessagesEvent", R"({"type": "object", "description": "Its type is also the event's name.",
        "required": ["type"], "properties": {
          "type": {"enum": ["message_start", "content_block_start", "content_block_delta",
                            "content_block_stop", "message_delta", "message_stop", "ping",
                            "error"]},
          "message": {"$ref": "#/components/schemas/MessagesAnswer"},
          "index": {"type": "integer"},
          "content_block": {"$ref": "#/components/schemas/MadeBlock"},
          "delta": {"type": "object", "properties": {
            "type": {"enum": ["thinking_delta", "text_delta", "input_json_delta"]},
            "thinking": {"type": "string"}, "text": {"type": "string"},
            "partial_json": {"type": "string"},
            "stop_reason": {"$ref": "#/components/schemas/MessagesStop"},
            "stop_sequence": {"type": ["string", "null"]}}},
          "usage": {"$ref": "#/components/schemas/MessagesUsage"},
          "error": {"type": "object", "additionalProperties": true}}})"},

    {"ItemStatus", R"({"enum": ["in_progress", "completed", "incomplete"]})"},
    {"MadePart", R"({"type": "object", "required": ["type", "text"], "properties": {
        "type": {"enum": ["output_text", "reasoning_text"]}, "text": {"type": "string"},
        "annotations": {"type": "array", "maxItems": 0},
        "logprobs": {"type": "array", "items": {"$ref": "#/components/schemas/TokenScore"}}}})"},
    {"OutputItem", R"({"type": "object", "required": ["id", "type", "status"], "properties": {
        "id": {"type": "string"}, "type": {"enum": ["reasoning", "message", "function_call"]},
        "status": {"$ref": "#/components/schemas/ItemStatus"},
        "summary": {"type": "array", "maxItems": 0},
        "content": {"type": "array", "items": {"$ref": "#/components/schemas/MadePart"}},
        "encrypted_content": {"type": ["string", "null"]},
        "role": {"const": "assistant"},
        "call_id": {"type": "string"}, "name": {"type": "string"},
        "arguments": {"type": "string"}}})"},
    {"ResponseUsage", R"({"type": "object", "required": ["input_tokens", "input_tokens_details",
          "output_tokens", "output_tokens_details", "total_tokens"], "properties": {
        "input_tokens": {"type": "integer"},
        "input_tokens_details": {"type": "object", "properties": {
          "cached_tokens": {"type": "integer"}, "cache_write_tokens": {"const": 0}}},
        "output_tokens": {"type": "integer"},
        "output_tokens_details": {"type": "object", "properties": {
          "reasoning_tokens": {"type": "integer"}}},
        "total_tokens": {"type": "integer"}}})"},
    {"Response", R"({"type": "object", "required": ["id", "object", "created_at", "status", "error",
          "incomplete_details", "instructions", "metadata", "model", "output",
          "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p"],
        "properties": {
          "id": {"type": "string"}, "object": {"const": "response"},
          "created_at": {"type": "integer"},
          "status": {"enum": ["in_progress", "completed", "incomplete", "failed"]},
          "background": {"const": false}, "store": {"const": false},
          "error": {"type": ["object", "null"], "properties": {
            "code": {"enum": ["server_error", "rate_limit_exceeded", "invalid_prompt"]},
            "message": {"type": "string"}}},
          "incomplete_details": {"type": ["object", "null"], "properties": {
            "reason": {"const": "max_output_tokens"}}},
          "instructions": {"type": ["string", "null"]},
          "max_output_tokens": {"type": ["integer", "null"]},
          "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
          "model": {"type": "string"},
          "output": {"type": "array", "items": {"$ref": "#/components/schemas/OutputItem"}},
          "parallel_tool_calls": {"type": "boolean"},
          "previous_response_id": {"type": "null"},
          "prompt_cache_key": {}, "safety_identifier": {}, "user": {},
          "reasoning": {"type": "object", "properties": {
            "effort": {"type": ["string", "null"]}, "summary": {"type": "null"}}},
          "service_tier": {"type": "string"},
          "temperature": {"type": ["number", "null"]},
          "text": {"type": "object", "properties": {
            "format": {"type": "object", "properties": {"type": {"type": "string"}}},
            "verbosity": {"type": "string"}}},
          "tool_choice": {"type": ["string", "object"], "additionalProperties": true},
          "tools": {"type": "array",
                    "items": {"type": "object", "additionalProperties": true}},
          "top_logprobs": {"type": "integer"},
          "top_p": {"type": ["number", "null"]},
          "truncation": {"const": "disabled"},
          "usage": {"oneOf": [{"$ref": "#/components/schemas/ResponseUsage"},
                              {"type": "null"}]}}})"},
    {"ResponseEvent", R"({"type": "object", "description": "Its type is also the event's name.",
        "required": ["type", "sequence_number"], "properties": {
          "type": {"enum": ["response.created", "response.in_progress",
            "response.output_item.added", "response.content_part.added",
            "response.reasoning_text.delta", "response.reasoning_text.done",
            "response.output_text.delta", "response.output_text.done",
            "response.function_call_arguments.delta", "response.function_call_arguments.done",
            "response.content_part.done", "response.output_item.done", "response.completed",
            "response.incomplete", "response.failed"]},
          "sequence_number": {"type": "integer"},
          "response": {"$ref": "#/components/schemas/Response"},
          "output_index": {"type": "integer"}, "content_index": {"const": 0},
          "item_id": {"type": "string"},
          "item": {"$ref": "#/components/schemas/OutputItem"},
          "part": {"$ref": "#/components/schemas/MadePart"},
          "delta": {"type": "string"}, "text": {"type": "string"},
          "name": {"type": "string"}, "arguments": {"type": "string"},
          "logprobs": {"type": "array",
                       "items": {"$ref": "#/components/schemas/TokenScore"}}}})"},
});

}  // namespace

std::span<const AnswerSchema> answer_schemas() { return kSchemas; }

}  // namespace hadal::api
