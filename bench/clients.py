"""Clients of an OpenAI-compatible server: many at once, streaming, timed. Standard library only."""

import http.client
import json
import random
import threading
import time

WORDS = ("amber anchor basin birch canyon cedar cliff cobalt delta ember fjord garnet glacier harvest "
         "island juniper lagoon lantern maple meadow mirror orchard pebble prairie quartz raven saffron "
         "shelter summit timber tundra valley violet willow").split()


def text(words, *seed):
    """The same words for the same seed, on every machine."""
    rng = random.Random("/".join(map(str, seed)))
    return " ".join(rng.choice(WORDS) for _ in range(words))


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def model_name(port):
    return json.loads(get(port, "/v1/models")[1])["data"][0]["id"]


def ask(port, model, prompt, tokens):
    """One answer: times of its pieces in seconds from the request, and the tokens that were counted."""
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True,
            "ignore_eos": True, "stream_options": {"include_usage": True}}
    start, times, usage = time.monotonic(), [], {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request("POST", "/v1/completions", json.dumps(body),
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {response.read(200)}")
        for line in response:
            if not line.startswith(b"data:") or line.strip() == b"data: [DONE]":
                continue
            event = json.loads(line[5:])
            usage = event.get("usage") or usage
            if event.get("choices") and event["choices"][0].get("text"):
                times.append(time.monotonic() - start)
    finally:
        connection.close()
    # The first piece of text; a stream of tokens that are no text ends with its end.
    times = times or [time.monotonic() - start]
    return {"first": times[0], "last": times[-1], "pieces": len(times),
            "tokens": usage.get("completion_tokens", len(times)),
            "prompt": usage.get("prompt_tokens", 0)}


def load(port, model, clients, requests, words, tokens, seed):
    """`clients` at once ask `requests` times in all, nobody the same. Figures of the whole."""
    answers, failures, lock, waiting = [], [], threading.Lock(), list(range(requests))

    def client():
        while True:
            with lock:
                if not waiting:
                    return
                number = waiting.pop(0)
            try:
                answer = ask(port, model, f"{number} {text(words, seed, number)}", tokens)
                with lock:
                    answers.append(answer)
            except (OSError, RuntimeError, http.client.HTTPException, json.JSONDecodeError) as error:
                with lock:
                    failures.append(str(error))

    start = time.monotonic()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    if failures:
        raise RuntimeError(f"{len(failures)} of {requests} requests failed: {failures[0]}")
    between = [(a["last"] - a["first"]) / (a["pieces"] - 1) for a in answers if a["pieces"] > 1]
    first = [a["first"] for a in answers]
    return {"seconds": seconds, "out_tokens_per_second": sum(a["tokens"] for a in answers) / seconds,
            "prompt_tokens": sum(a["prompt"] for a in answers),
            "first_token_p50": percentile(first, 0.5), "first_token_p95": percentile(first, 0.95),
            "inter_token_p50": percentile(between, 0.5) if between else 0.0}


def shared(port, model, words, tokens, seed):
    """Two questions about one long text, one after the other: seconds to the first token of each."""
    long_text = text(words, seed, "shared")
    first, second = (ask(port, model, f"{long_text} {question}", tokens)["first"]
                     for question in ("What is first?", "What is last?"))
    return {"shared_first": first, "shared_second": second, "shared_ratio": second / first}
