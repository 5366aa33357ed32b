"""Drives the official OpenAI SDK against a gateway: only base URL and key differ from a program without RateGuard.

usage: openai_sdk.py BASE_URL KEY    prints one JSON object for the test that started it
"""

import json
import sys

import openai

base_url, key = sys.argv[1:3]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0)
messages = [{"role": "user", "content": "Say hello"}]

raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=messages)
completion = raw.parse()
result = {
    "text": completion.choices[0].message.content,
    "total_tokens": completion.usage.total_tokens,
    "headers": {k.lower(): v for k, v in raw.headers.items()},
}

# A program that did not ask for usage must not see the chunk that RateGuard asks for.
stream = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
chunks = list(stream)
result["stream_text"] = "".join(c.choices[0].delta.content or "" for c in chunks)
result["stream_usage_seen"] = any(c.usage is not None for c in chunks)

# One that asked gets it.
stream = client.chat.completions.create(
    model="gpt-4o-mini", messages=messages, stream=True, stream_options={"include_usage": True}
)
result["asked_usage"] = [c.usage.total_tokens for c in stream if c.usage is not None]

try:
    openai.OpenAI(base_url=base_url, api_key="rg_live_" + "0" * 32, max_retries=0).chat.completions.create(
        model="gpt-4o-mini", messages=messages
    )
except openai.AuthenticationError as error:
    result["bad_key"] = {"status": error.status_code, "code": error.code, "type": error.type, "message": error.body["message"]}

print(json.dumps(result))
