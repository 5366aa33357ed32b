"""Drives the official Anthropic SDK against a gateway: only base URL and key differ from a program without RateGuard.

usage: anthropic_sdk.py BASE_URL KEY    prints one JSON object for the test that started it
"""

import json
import sys

import anthropic

base_url, key = sys.argv[1:3]
client = anthropic.Anthropic(base_url=base_url, api_key=key, max_retries=0)
request = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Say hello"}],
}

raw = client.messages.with_raw_response.create(**request)
message = raw.parse()
result = {
    "text": message.content[0].text,
    "output_tokens": message.usage.output_tokens,
    "headers": {k.lower(): v for k, v in raw.headers.items()},
}

with client.messages.stream(**request) as stream:
    result["stream_text"] = "".join(stream.text_stream)
    result["stream_output_tokens"] = stream.get_final_message().usage.output_tokens

try:
    anthropic.Anthropic(base_url=base_url, api_key="rg_live_" + "0" * 32, max_retries=0).messages.create(**request)
except anthropic.AuthenticationError as error:
    result["bad_key"] = {"status": error.status_code, "type": error.body["error"]["type"], "code": error.body["error"]["code"]}

print(json.dumps(result))
