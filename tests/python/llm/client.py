"""The official client of OpenAI against a server: client.py BASE_URL WHAT COUNT

Prints the calls it made, and the tokens that the server reported to it, as JSON.
"""

import json
import sys

import openai

MODEL = "tiny"
TOKENS = 12

client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)


def question(number):
    return [{"role": "user", "content": f"question {number}"}]


def chat(number):
    return client.chat.completions.create(model=MODEL, messages=question(number), max_tokens=TOKENS).usage


def streams(number, include_usage=True):
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    stream = client.chat.completions.create(
        model=MODEL, messages=question(number), max_tokens=TOKENS, stream=True, **options
    )
    usage = None
    for event in stream:
        usage = event.usage or usage
    return usage


def without_usage(number):
    return streams(number, include_usage=False)


def completions(number):
    return client.completions.create(model=MODEL, prompt=f"question {number}", max_tokens=TOKENS).usage


def completion_streams(number):
    usage = None
    stream = client.completions.create(
        model=MODEL, prompt=f"question {number}", max_tokens=TOKENS, stream=True
    )
    for event in stream:
        usage = event.usage or usage
    return usage


def responses(number):
    return client.responses.create(model=MODEL, input=f"question {number}", max_output_tokens=TOKENS).usage


def response_streams(number):
    stream = client.responses.create(
        model=MODEL, input=f"question {number}", max_output_tokens=TOKENS, stream=True
    )
    for event in stream:
        if event.type == "response.completed":
            usage = event.response.usage
    return usage


def embeddings(number):
    return client.embeddings.create(model=MODEL, input=f"question {number}", encoding_format="float").usage


def messages(number):
    """Anthropic's API, which this client has no method for."""
    body = {"model": MODEL, "max_tokens": TOKENS, "messages": question(number)}
    return client.post("/messages", body=body, cast_to=object)["usage"]


def leave(number):
    """Leaves a long stream at its second event."""
    stream = client.chat.completions.create(
        model=MODEL,
        messages=question(number),
        max_tokens=3000,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(stream)
    next(stream)
    stream.close()


def count(usage, *names):
    usage = usage if isinstance(usage, dict) else dict(usage or {})
    return sum(usage.get(name) or 0 for name in names)


calls = [globals()[sys.argv[2]](number) for number in range(int(sys.argv[3]))]
print(
    json.dumps(
        {
            "calls": len(calls),
            "input": sum(
                count(usage, "prompt_tokens", "input_tokens", "cache_read_input_tokens")
                if sys.argv[2] == "messages"
                else count(usage, "prompt_tokens", "input_tokens")
                for usage in calls
            ),
            "output": sum(count(usage, "completion_tokens", "output_tokens") for usage in calls),
        }
    )
)
