"""A gateway in front of other servers: real ones, and one that misbehaves as a test says."""

import http.client
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
import unittest

from hadal_server import SLOW, Server, join_chat, wait_for

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
CHAT = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "What is 17 + 25?"}], "temperature": 0}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class Upstream:
    """A server whose every connection runs `script(peer, number)`; says what it was asked."""

    def __init__(self, script, port=0):
        self.script = script
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.requests, self.peers, self.closed_by_client = [], [], threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        number = 0
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            self.peers.append(peer)
            threading.Thread(target=self.run, args=(peer, number), daemon=True).start()
            number += 1

    def run(self, peer, number):
        try:
            self.script(self, peer, number)
            peer.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        peer.close()

    def read(self, peer):
        """One whole request: (head, body); None: the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = peer.recv(65536)
            if not piece:
                return None
            data += piece
        head, body = data.split(b"\r\n\r\n", 1)
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n")
                       if line.lower().startswith(b"content-length:")), 0)
        while len(body) < length:
            body += peer.recv(65536)
        self.requests.append((head.decode(), body))
        return self.requests[-1]

    def wait_closed(self, peer):
        peer.settimeout(20)
        if peer.recv(1) == b"":
            self.closed_by_client.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for peer in self.peers:
            peer.close()


def in_two_parts(turn):
    """A stream that waits for `turn` in its middle."""
    def script(upstream, peer, _):
        while upstream.read(peer):
            peer.sendall(EVENTS + chunk(b"data: {\"n\": 1}\n\n"))
            turn.wait(20)
            peer.sendall(chunk(b"data: {\"n\": 2}\n\ndata: [DONE]\n\n") + b"0\r\n\r\n")
    return script


def answering(*answers):
    """Gives each request of a connection the next answer, the last one for ever."""
    def script(upstream, peer, _):
        n = 0
        while upstream.read(peer):
            peer.sendall(answers[min(n, len(answers) - 1)])
            n += 1
    return script


class Gateway(Server):
    def __init__(self, *backends, extra="", env=None):
        """backends: (name, port, fields)."""
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "hadal.yaml")
        self.write(*backends, extra=extra)
        super().__init__(BINARY, "--config", self.path, env=env)

    def write(self, *backends, extra=""):
        text = "server: {port: 0}\nbackends:\n"
        for name, port, fields in backends:
            text += (f"  - {{name: {name}, url: 'http://127.0.0.1:{port}/v1', "
                     f"models: {{m: tiny}}{', ' if fields else ''}{fields}}}\n")
        with open(self.path, "w") as file:
            file.write(text + extra)

    def reload(self):
        before = len(self.errors)
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("again:" in line for line in self.errors[before:]), self.errors)

    def __exit__(self, *args):
        super().__exit__(*args)
        self.folder.cleanup()

    def ask(self, **fields):
        return self.post(CHAT, {"model": "m", **BODY, **fields})


class PassingOn(unittest.TestCase):
    def test_two_real_servers_behind_a_third(self):
        with Server(BINARY, "--alias", "tiny") as one, Server(BINARY, "--alias", "tiny") as two, \
                Gateway(("one", one.port, "health: {path: /health, every: 200ms}"),
                        ("two", two.port, "health: {path: /health, every: 200ms}"),
                        extra="aliases: {chat: {model: m, thinking: false}}\n"
                              "balancing: {strategy: round_robin}\n") as gateway:
            listed = [card["id"] for card in gateway.get("/v1/models").json["data"]]
            self.assertEqual(listed, ["m", "chat"])
            alone = one.post(CHAT, BODY).json["choices"]
            used = set()
            for _ in range(4):
                answer = gateway.ask()
                self.assertEqual(answer.status, 200, answer.body)
                self.assertEqual(answer.json["choices"], alone)
                used.add(answer.headers["X-Hadal-Backend"])
            self.assertEqual(used, {"one", "two"})
            stream = gateway.stream(CHAT, {"model": "m", **BODY})
            choices, _ = join_chat(stream.events())
            self.assertTrue(stream.done)
            self.assertEqual(choices[0]["content"], alone[0]["message"]["content"])
            unthinking = gateway.post(CHAT, {"model": "chat", **BODY}).json["choices"][0]["message"]
            self.assertFalse(unthinking.get("reasoning_content"))
            messages = gateway.post("/v1/messages", {"model": "m", "max_tokens": 50, **BODY})
            self.assertEqual(messages.json["type"], "message")
            self.assertEqual(gateway.post("/v1/completions", {"model": "m", "prompt": "x"}).status, 200)
            self.assertEqual(gateway.post(CHAT, {"model": "none", **BODY}).status, 404)
            self.assertEqual(gateway.post(CHAT, '{"model": "m", "messages": ').status, 400)
            refused = gateway.ask(temperature=9)
            self.assertEqual(refused.status, 400)  # the upstream's words
            self.assertEqual(refused.error["param"], "temperature")
            self.assertEqual(gateway.metric("hadal_gateway_in_flight"), 0)

            one.terminate()
            one.wait_exit()
            for _ in range(10):
                answer = gateway.ask()
                self.assertEqual((answer.status, answer.headers["X-Hadal-Backend"]), (200, "two"))

    def test_a_server_killed_in_the_middle_and_back_again(self):
        with Server(BINARY, "--alias", "tiny", *SLOW) as one, \
                Gateway(("one", one.port, ""), extra="balancing: {breaker_open: 3s}\n") as gateway:
            stream = gateway.stream(CHAT, {"model": "m", **BODY, "ignore_eos": True,
                                           "max_tokens": 100_000})
            events = stream.events()
            for _ in range(3):
                next(events)
            one.process.kill()
            rest = list(events)
            self.assertEqual(rest[-1]["error"]["code"], "upstream_broken")
            self.assertFalse(stream.done)
            self.assertEqual(gateway.metric("hadal_gateway_broken_answers_total"), 1)
            for _ in range(8):
                self.assertIn(gateway.ask().status, (502, 503))
            wait_for(lambda: gateway.ask().status == 503, "the breaker opens")
            one.wait_exit()
            with Server(BINARY, "--alias", "tiny", "--port", str(one.port)):
                wait_for(lambda: gateway.ask().status == 200, "the breaker closes again")

    def test_the_client_that_leaves_stops_the_upstream(self):
        with Server(BINARY, "--alias", "tiny", *SLOW) as one, Gateway(("one", one.port, "")) as gateway:
            stream = gateway.stream(CHAT, {"model": "m", **BODY, "ignore_eos": True,
                                           "max_tokens": 100_000})
            events = stream.events()
            next(events)
            one.wait_metric("vllm:num_requests_running", 1)
            stream.close()
            one.wait_metric("vllm:num_requests_running", 0)
            gateway.wait_metric("hadal_gateway_in_flight", 0)

    def test_bytes_and_headers(self):
        answer = (b"HTTP/1.1 418 Teapot\r\nContent-Type: x/y\r\nX-Own: 1\r\nX-Hop: 2\r\n"
                  b"Connection: keep-alive, X-Hop\r\nSet-Cookie: a=b\r\nServer: S\r\n"
                  b"Content-Length: 7\r\n\r\n\x00\xff{ \r\n}")
        with Upstream(answering(answer)) as upstream, \
                Gateway(("up", upstream.port, "key_env: UPSTREAM_KEY"),
                        env={"UPSTREAM_KEY": "theirs"}) as gateway:
            body = '{ "a":[1.0e3, "\\u00e9"],"model" : "m","x":"y" }'
            got = gateway.post(CHAT + "?q=1", body,
                               {"Authorization": "Bearer mine", "X-Api-Key": "mine", "Cookie": "c=d",
                                "X-Custom": "kept", "Connection": "close, X-Drop", "X-Drop": "1",
                                "Forwarded": "for=1.2.3.4", "X-Forwarded-For": "1.2.3.4"})
            self.assertEqual((got.status, got.body), (418, b"\x00\xff{ \r\n}"))
            for name, value in (("X-Own", "1"), ("X-Hop", None), ("Set-Cookie", None),
                                ("X-Hadal-Backend", "up"), ("Content-Type", "x/y")):
                self.assertEqual(got.headers[name], value)
            head, sent = upstream.requests[0]
            self.assertEqual(sent.decode(), body.replace('"m"', '"tiny"'))
            self.assertTrue(head.startswith("POST /v1/chat/completions?q=1 HTTP/1.1\r\n"), head)
            self.assertIn("\r\nAuthorization: Bearer theirs", head)
            self.assertIn("\r\nX-Custom: kept", head)
            for name in ("mine", "Cookie", "X-Drop", "1.2.3.4", "X-Api-Key"):
                self.assertNotIn(name, head)

    def test_events_come_as_they_are_sent(self):
        turn = threading.Semaphore(0)
        pieces = [b"data: 1\n\n", b"da", b"ta: 2\n\n: comment\n\n", b"data: [DONE]\n\n"]

        def script(upstream, peer, _):
            while upstream.read(peer):
                peer.sendall(EVENTS)
                for piece in pieces:
                    turn.acquire(timeout=20)
                    peer.sendall(chunk(piece))
                peer.sendall(b"0\r\n\r\n")

        with Upstream(script) as upstream, Gateway(("up", upstream.port, "")) as gateway:
            client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
            client.request("POST", CHAT, json.dumps({"model": "m", **BODY, "stream": True}))
            response = client.getresponse()
            self.assertEqual(response.headers["Content-Type"], "text/event-stream")
            for piece in pieces:
                turn.release()
                self.assertEqual(response.read(len(piece)), piece)
            self.assertEqual(response.read(), b"")
            client.close()

    def test_a_slow_client_slows_the_upstream_and_costs_no_memory(self):
        sent = [0]

        def script(upstream, peer, _):
            upstream.read(peer)
            peer.sendall(EVENTS)
            piece = chunk(b"data: " + b"x" * 65000 + b"\n\n")
            peer.settimeout(3)
            try:
                for _ in range(2000):
                    peer.sendall(piece)
                    sent[0] += len(piece)
            except OSError:
                pass

        with Upstream(script) as upstream, Gateway(("up", upstream.port, "")) as gateway:
            client = socket.create_connection(("127.0.0.1", gateway.port))
            body = json.dumps({"model": "m", **BODY, "stream": True})
            client.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
                           f"{body}".encode())
            client.recv(1000)
            before = -1
            while sent[0] != before:  # until nothing moves any more
                before = sent[0]
                time.sleep(0.5)
            self.assertLess(sent[0], 40 << 20)
            client.close()


class Faults(unittest.TestCase):
    def refused_port(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return listener.getsockname()[1]

    def test_each_fault_has_its_status_and_code(self):
        def silent(upstream, peer, _):
            upstream.read(peer)
            upstream.wait_closed(peer)

        def says(data):
            def script(upstream, peer, _):
                upstream.read(peer)
                peer.sendall(data)
            return script

        cases = [(silent, 504, "upstream_timeout"), (says(b""), 502, "upstream_broken"),
                 (says(b"220 smtp ready\r\n"), 502, "upstream_broken"),
                 (says(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), 502, "upstream_broken"),
                 (says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfour"),
                  502, "upstream_broken")]
        for script, status, code in cases:
            patience = "200ms" if script is silent else "60s"
            with Upstream(script) as upstream, \
                    Gateway(("up", upstream.port, f"timeouts: {{first_byte: {patience}}}"),
                            extra="balancing: {retries: 0}\n") as gateway:
                answer = gateway.ask()
                self.assertEqual((answer.status, answer.error["code"]), (status, code))
                self.assertNotIn(str(upstream.port), answer.text)
        with Gateway(("up", self.refused_port(), ""), extra="balancing: {retries: 0}\n") as gateway:
            answer = gateway.ask()
            self.assertEqual((answer.status, answer.error["code"]), (502, "upstream_unreachable"))

    def test_retries_go_elsewhere_before_the_first_byte(self):
        busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
        with Upstream(answering(busy)) as bad, Upstream(answering(OK)) as good, \
                Gateway(("dead", self.refused_port(), ""), ("bad", bad.port, ""),
                        ("good", good.port, "")) as gateway:
            for _ in range(20):
                answer = gateway.ask()
                self.assertEqual((answer.status, answer.headers["X-Hadal-Backend"]), (200, "good"))
            self.assertGreater(gateway.metric("hadal_gateway_retries_total"), 1)

    def test_no_retry_after_the_first_byte(self):
        def broken(upstream, peer, _):
            upstream.read(peer)
            peer.sendall(EVENTS + chunk(b"data: {\"choices\": []}\n\n"))

        with Upstream(broken) as one, Gateway(("one", one.port, "")) as gateway:
            stream = gateway.stream(CHAT, {"model": "m", **BODY})
            events = list(stream.events())
            self.assertEqual(events[-1]["error"]["code"], "upstream_broken")
            self.assertEqual(len(one.requests), 1)

    def test_a_length_that_lies_is_seen_by_the_client(self):
        short = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this"

        def script(upstream, peer, _):
            upstream.read(peer)
            peer.sendall(short)

        with Upstream(script) as upstream, Gateway(("up", upstream.port, "")) as gateway:
            answer = gateway.ask()
            self.assertEqual((answer.status, answer.error["code"]), (502, "upstream_broken"))
            self.assertEqual(len(upstream.requests), 1)  # it was computed: not asked again
            metrics = gateway.get("/metrics").text
            self.assertIn('hadal_gateway_requests_total{model="m",backend="up",status="502"} 1', metrics)
            # What is too long to be kept back goes out as it comes: cut off behind the head, or before it.
            short = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 70000
            with self.assertRaises((http.client.IncompleteRead, ConnectionError)):
                gateway.ask()

    def test_a_state_that_ends_by_time_is_shown(self):
        with Gateway(("up", self.refused_port(), ""),
                     extra="balancing: {retries: 0, breaker_failures: 1, breaker_open: 1s}\n") as gateway:
            self.assertEqual(gateway.ask().status, 502)
            gateway.wait_metric("hadal_gateway_backend_up", 0)
            gateway.wait_metric("hadal_gateway_backend_up", 1)  # half open, though nobody asked

    def test_a_backend_that_flaps(self):
        """Every second connection dies; the breaker, retries and the other backend hide it."""
        def flapping(upstream, peer, number):
            while upstream.read(peer):
                if number % 2:
                    return
                peer.sendall(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                return

        with Upstream(flapping) as bad, Upstream(answering(OK)) as good, \
                Gateway(("bad", bad.port, ""), ("good", good.port, "")) as gateway:
            for _ in range(60):
                self.assertEqual(gateway.ask().status, 200)

    def test_backups_answer_only_while_the_others_cannot(self):
        with Upstream(answering(OK)) as spare, Upstream(answering(OK)) as main, \
                Gateway(("main", main.port, ""), ("spare", spare.port, "backup: true"),
                        extra="balancing: {breaker_open: 100ms}\n") as gateway:
            self.assertEqual(gateway.ask().headers["X-Hadal-Backend"], "main")
            port = main.port
            main.__exit__()
            for _ in range(10):
                answer = gateway.ask()
                self.assertEqual((answer.status, answer.headers["X-Hadal-Backend"]), (200, "spare"))
            with Upstream(answering(OK), port):
                wait_for(lambda: gateway.ask().headers["X-Hadal-Backend"] == "main", "main is back")

    def test_a_slow_backend_is_hedged(self):
        def slow(upstream, peer, _):
            if upstream.read(peer):
                upstream.wait_closed(peer)

        with Upstream(slow) as one, Upstream(answering(OK)) as two, \
                Gateway(("one", one.port, ""), ("two", two.port, ""),
                        extra="balancing: {hedge_after: 50ms, strategy: round_robin}\n") as gateway:
            for _ in range(4):
                answer = gateway.ask()
                self.assertEqual((answer.status, answer.headers["X-Hadal-Backend"]), (200, "two"))
            self.assertTrue(one.closed_by_client.wait(20))  # the loser is cancelled
            self.assertGreaterEqual(gateway.metric("hadal_gateway_hedges_won_total"), 1)
            gateway.wait_metric("hadal_gateway_in_flight", 0)

    def test_places_and_the_line(self):
        """One place, one may wait, the third is refused; the waiting one gets the place."""
        turn = threading.Semaphore(0)

        def script(upstream, peer, _):
            while upstream.read(peer):
                turn.acquire(timeout=20)
                peer.sendall(OK)

        with Upstream(script) as upstream, \
                Gateway(("up", upstream.port, "max_in_flight: 1"),
                        extra="balancing: {queue: 1}\n") as gateway:
            statuses = []
            threads = [threading.Thread(target=lambda: statuses.append(gateway.ask().status))
                       for _ in range(2)]
            threads[0].start()
            wait_for(lambda: len(upstream.requests) == 1, "the first is there")
            threads[1].start()
            gateway.wait_metric("hadal_gateway_waiting", 1)
            third = gateway.ask()
            self.assertEqual((third.status, third.error["code"]), (429, "overloaded"))
            self.assertTrue(third.headers["Retry-After"])
            self.assertEqual(len(upstream.requests), 1)
            turn.release(2)
            for thread in threads:
                thread.join(20)
            self.assertEqual(statuses, [200, 200])

    def test_places_that_a_reload_adds_are_given_to_who_waits(self):
        turn = threading.Event()

        def script(upstream, peer, _):
            while upstream.read(peer):
                turn.wait(60)
                peer.sendall(OK)

        with Upstream(script) as upstream, \
                Gateway(("up", upstream.port, "max_in_flight: 1")) as gateway:
            statuses = []
            threads = [threading.Thread(target=lambda: statuses.append(gateway.ask().status))
                       for _ in range(4)]
            for thread in threads:
                thread.start()
            gateway.wait_metric("hadal_gateway_waiting", 3)
            gateway.write(("up", upstream.port, "max_in_flight: 3"))
            gateway.reload()
            # While the first is still there.
            wait_for(lambda: len(upstream.requests) == 3, "two of those who waited got the new places")
            gateway.wait_metric("hadal_gateway_waiting", 1)
            turn.set()
            for thread in threads:
                thread.join(20)
            self.assertEqual(statuses, [200] * 4)

    def test_a_reload_keeps_streams_and_moves_new_requests(self):
        turn = threading.Event()
        with Upstream(in_two_parts(turn)) as old, Upstream(answering(OK)) as new, \
                Gateway(("old", old.port, "")) as gateway:
            stream = gateway.stream(CHAT, {"model": "m", **BODY})
            events = stream.events()
            self.assertEqual(next(events)["n"], 1)
            gateway.write(("new", new.port, ""))
            gateway.reload()
            self.assertEqual(gateway.ask().headers["X-Hadal-Backend"], "new")
            turn.set()
            self.assertEqual([event["n"] for event in events], [2])
            self.assertTrue(stream.done)

    def test_drain_finishes_what_is_passed_on(self):
        turn = threading.Event()
        with Upstream(in_two_parts(turn)) as upstream, Gateway(("up", upstream.port, "")) as gateway:
            stream = gateway.stream(CHAT, {"model": "m", **BODY})
            events = stream.events()
            next(events)
            gateway.terminate()
            wait_for(lambda: "finishing 1" in "".join(gateway.errors), "draining")
            turn.set()
            self.assertEqual([event["n"] for event in events], [2])
            self.assertTrue(stream.done)
            self.assertEqual(gateway.wait_exit(), 0)

    def test_the_key_is_checked_before_anything_is_passed_on(self):
        with Upstream(answering(OK)) as upstream, Gateway(("up", upstream.port, "")) as gateway:
            with open(os.path.join(gateway.folder.name, "keys"), "w") as file:
                file.write("sesame\n")
            with open(gateway.path) as file:
                text = file.read()
            with open(gateway.path, "w") as file:
                file.write(text.replace("port: 0", "port: 0, keys_file: keys"))
            gateway.reload()
            self.assertEqual(gateway.ask().status, 401)
            self.assertEqual(upstream.requests, [])
            answer = gateway.post(CHAT, {"model": "m", **BODY}, {"Authorization": "Bearer sesame"})
            self.assertEqual(answer.status, 200)
            self.assertNotIn("sesame", upstream.requests[0][0])


if __name__ == "__main__":
    unittest.main()
