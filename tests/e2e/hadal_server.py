"""A hadal process on a free port, and a client that sees the wire as it is. Standard library only."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

SLOW = ("--cpu-impl", "ref")  # an answer is under way for seconds, however slow the client is
OPERATOR_KEY = "operator-key"


def wait_for(condition, what, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(what)
        time.sleep(0.01)


def metric_of(answer, name):
    """The sum of a metric's series."""
    total, found = 0.0, False
    for line in answer.text.splitlines():
        if re.match(re.escape(name) + r"[ {]", line):
            total, found = total + float(line.rsplit(" ", 1)[1]), True
    if not found:
        raise KeyError(name)
    return total


class Server:
    """Starts `binary serve --port 0 ARGS`; use with `with`. Stops it at the end if a test has not.

    One thread unless ARGS say otherwise: threads of one step wait for each other, which on a machine
    that runs other tests at the same time costs a time slice at every turn."""

    def __init__(self, binary, *args, env=None, wait=True):
        if "--threads" not in args and "--config" not in args:
            args = ("--threads", "1", *args)
        self.process = subprocess.Popen(
            [binary, "serve", *(() if "--port" in args else ("--port", "0")), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})}, text=True)
        self.output, self.errors = [], []
        line = self.process.stdout.readline()
        found = re.match(r"listening on port (\d+)", line)
        if not found:
            self.process.kill()
            raise RuntimeError(f"no port in {line!r}: {self.process.stderr.read()}")
        self.port = int(found[1])
        self.readers = [threading.Thread(target=self.read, args=pair, daemon=True) for pair in
                        ((self.process.stdout, self.output), (self.process.stderr, self.errors))]
        for reader in self.readers:
            reader.start()
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.__exit__()
                raise

    @staticmethod
    def read(stream, lines):
        with stream:
            for line in stream:
                lines.append(line)

    def wait_ready(self, seconds=120):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if self.get("/health").status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"not ready: {''.join(self.errors)}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait_exit(self, seconds=60):
        return self.process.wait(seconds)

    timeout = 120  # seconds without a byte, of every request

    def request(self, method, path, body=None, headers=None):
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json",
                                                    **(headers or {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, headers=None):
        return self.request("GET", path, None, headers)

    def post(self, path, body, headers=None):
        return self.request("POST", path, body, headers)

    def stream(self, path, body, headers=None):
        return Stream(self.port, path, body, headers, self.timeout)

    def metric(self, name):
        return metric_of(self.get("/metrics"), name)

    def wait_metric(self, name, wanted, seconds=30):
        until = time.monotonic() + seconds
        while self.metric(name) != wanted:
            if time.monotonic() > until:
                raise AssertionError(f"{name} is {self.metric(name)}, wanted {wanted}")
            time.sleep(0.01)


class ConfigCase(unittest.TestCase):
    """A folder that goes with the test, and the hadal.yaml that it will have."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.config = os.path.join(self.folder, "hadal.yaml")


class AdminServer(Server):
    """A server with its admin port, whose key is OPERATOR_KEY; `env` has it."""

    def __init__(self, binary, config, env, **args):
        super().__init__(binary, "--config", config, env=env, **args)
        wait_for(lambda: any(line.startswith("admin on port") for line in self.output), "no admin port")
        line = next(line for line in self.output if line.startswith("admin on port"))
        self.admin_port = int(line.split()[-1])

    def admin(self, method, path, body=None, key=OPERATOR_KEY):
        other = object.__new__(Server)
        other.port = self.admin_port
        return other.request(method, path, body, {"Authorization": f"Bearer {key}"})


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]


class Stream:
    """Server-sent events, one by one, over a socket that can be closed at any moment."""

    def __init__(self, port, path, body, headers, timeout):
        body = json.dumps({**body, "stream": True}).encode()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        extra = "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items())
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n"
                            f"{extra}\r\n".encode() + body)
        self.response = http.client.HTTPResponse(self.socket)
        self.response.begin()
        self.status = self.response.status
        self.comments = 0
        self.done = False

    def events(self):
        """JSON of each event; ends after [DONE], which sets `done`."""
        for line in self.response:
            line = line.decode().rstrip("\r\n")
            if line.startswith(":"):
                self.comments += 1
            elif line == "data: [DONE]":
                self.done = True
            elif line.startswith("data: "):
                yield json.loads(line[len("data: "):])
        self.close()

    def close(self):
        self.response.close()
        self.socket.close()


def join_chat(events):
    """Stream chunks as the message each choice would have been: index -> dict."""
    choices, usage = {}, None
    for event in events:
        if "error" in event:
            raise AssertionError(event)
        usage = event.get("usage") or usage
        for chunk in event["choices"]:
            choice = choices.setdefault(chunk["index"], {
                "content": "", "reasoning_content": "", "finish_reason": None, "role": None,
                "logprobs": []})
            delta = chunk["delta"]
            choice["role"] = delta.get("role") or choice["role"]
            choice["content"] += delta.get("content") or ""
            choice["reasoning_content"] += delta.get("reasoning_content") or ""
            choice["finish_reason"] = chunk["finish_reason"] or choice["finish_reason"]
            if chunk.get("logprobs"):
                choice["logprobs"] += chunk["logprobs"]["content"]
    return choices, usage
