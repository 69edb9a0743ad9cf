"""Asks a running server every held-out question and prints exact-match accuracy per category.

    hadal serve &
    python3 evaluate.py --url http://127.0.0.1:8080

Standard library only. The answer, without the reasoning before </think>, must equal the expected text exactly.
"""

import argparse
import json
import os
import sys
import time
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))


def post(url, body, key, timeout):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = "Bearer " + key
    request = urllib.request.Request(url, json.dumps(body).encode("utf-8"), headers)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.loads(response.read().decode("utf-8"))


def first_model(url, key, timeout):
    headers = {"Authorization": "Bearer " + key} if key else {}
    request = urllib.request.Request(url + "/v1/models", headers=headers)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return json.loads(response.read().decode("utf-8"))["data"][0]["id"]


def ask(args, row):
    body = {"model": args.model, "temperature": 0, "max_tokens": args.max_tokens, "stream": False,
            "messages": [{"role": "user", "content": row["question"]}]}
    try:
        message = post(args.url + "/v1/chat/completions", body, args.api_key, args.timeout)["choices"][0]["message"]
    except (OSError, ValueError, KeyError, IndexError) as error:
        return "", "request failed: %s" % error
    return (message.get("content") or "").rpartition("</think>")[2].strip(), ""


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--data", default=os.path.join(HERE, "heldout.jsonl"))
    parser.add_argument("--model", default="", help="default: the first one that the server lists")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--limit", type=int, default=0, help="ask only the first so many")
    parser.add_argument("--max-tokens", type=int, default=700)
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--wrong", action="store_true", help="print what was answered wrongly")
    parser.add_argument("--at-least", type=float, default=0, help="exit with 1 below this percentage")
    args = parser.parse_args()
    args.url = args.url.rstrip("/")
    return args


def main():
    args = parse()
    with open(args.data, encoding="utf-8") as source:
        rows = [json.loads(line) for line in source]
    rows = rows[:args.limit] if args.limit else rows
    args.model = args.model or first_model(args.url, args.api_key, args.timeout)
    started = time.time()
    with ThreadPoolExecutor(args.parallel) as pool:
        answers = list(pool.map(lambda row: ask(args, row), rows))
    table = defaultdict(lambda: [0, 0])
    for row, (answer, error) in zip(rows, answers):
        right = not error and answer == row["answer"]
        for name in (row["category"], "language: " + row["lang"]):
            table[name][0] += right
            table[name][1] += 1
        if args.wrong and not right:
            print("%s  %s\n  expected %s\n  got      %s" % (row["id"], row["question"], row["answer"], error or answer))
    total = sum(n for name, (_, n) in table.items() if not name.startswith("language"))
    right = sum(r for name, (r, _) in table.items() if not name.startswith("language"))
    for name, (r, n) in sorted(table.items()):
        print("%-26s %4d / %4d  %5.1f %%" % (name, r, n, 100 * r / n))
    print("%-26s %4d / %4d  %5.1f %%   (%.0f s)" % ("all", right, total, 100 * right / total, time.time() - started))
    failed = sum(1 for _, error in answers if error)
    if failed:
        print("%d requests failed" % failed, file=sys.stderr)
    sys.exit(1 if failed or 100 * right / total < args.at_least else 0)


if __name__ == "__main__":
    main()
