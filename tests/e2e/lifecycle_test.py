"""Start, leave, drain, stop: what a client and an operator see."""

import os
import signal
import socket
import subprocess
import sys
import time
import unittest

from hadal_server import SLOW, Server, join_chat, wait_for

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
CHAT = "/v1/chat/completions"


def endless(tokens=100_000):
    return {"messages": [{"role": "user", "content": "Tell me a story."}], "ignore_eos": True,
            "max_tokens": tokens, "temperature": 0}


def cpu_seconds(process):
    """User and system time of all of a process's threads."""
    with open(f"/proc/{process.pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Lifecycle(unittest.TestCase):
    def test_idle_is_no_cpu(self):
        """Before the first request and after one: the pool's threads and the engine's are parked."""
        with Server(BINARY, "--threads", "4") as server:
            for asked in (False, True):
                if asked:
                    self.assertEqual(server.post(CHAT, endless(20)).status, 200)

                def is_quiet():
                    before = cpu_seconds(server.process)
                    time.sleep(2)
                    return cpu_seconds(server.process) - before <= 0.02
                wait_for(is_quiet, f"asked: {asked}")

    def test_port_is_open_while_loading(self):
        with Server(BINARY, wait=False) as server:
            first = server.get("/health")
            self.assertIn(first.status, (200, 503))
            if first.status == 503:
                self.assertEqual(first.json["status"], "loading")
            server.wait_ready()

    def test_prints_what_to_do_and_the_line_works(self):
        with Server(BINARY) as server:
            until = time.monotonic() + 10
            while len(server.output) < 3 and time.monotonic() < until:
                time.sleep(0.01)
            shown = "".join(server.output)
            self.assertIn(f"http://127.0.0.1:{server.port}", shown)
            line = next(line for line in server.output if line.startswith("try"))
            done = subprocess.run(line[len("try"):].strip(), shell=True, capture_output=True, text=True)
            self.assertIn('"chat.completion"', done.stdout, done.stderr)

    def test_client_that_leaves_frees_its_blocks(self):
        with Server(BINARY, *SLOW) as server:
            stream = server.stream(CHAT, endless())
            events = stream.events()
            for _ in range(3):
                next(events)
            self.assertEqual(server.metric("vllm:num_requests_running"), 1)
            stream.close()
            server.wait_metric("vllm:num_requests_running", 0)
            server.wait_metric("vllm:kv_cache_usage_perc", 0)
            self.assertEqual(server.metric("hadal_http_clients_gone_total"), 1)

    def test_client_that_leaves_before_the_whole_answer(self):
        with Server(BINARY, *SLOW) as server:
            body = '{"messages": [{"role": "user", "content": "x"}], "ignore_eos": true}'
            client = socket.create_connection(("127.0.0.1", server.port))
            client.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n"
                           f"{body}".encode())
            until = time.monotonic() + 30
            while server.metric("vllm:num_requests_running") != 1 and time.monotonic() < until:
                time.sleep(0.001)
            client.close()
            server.wait_metric("vllm:num_requests_running", 0)
            server.wait_metric("vllm:kv_cache_usage_perc", 0)

    def test_drain_finishes_what_runs(self):
        with Server(BINARY) as server:
            tokens = 400
            alone = server.post(CHAT, endless(tokens)).json
            stream = server.stream(CHAT, endless(tokens))
            events = stream.events()
            seen = [next(events), next(events)]
            server.terminate()
            wait_for(lambda: "finishing" in "".join(server.errors), "not told to end")
            try:
                # Until it knows: what comes in between is still answered.
                while (refused := server.post(CHAT, endless(1))).status == 200:
                    pass
                self.assertEqual(refused.status, 503)
                self.assertTrue(refused.headers["Retry-After"])
            except (ConnectionError, OSError):
                pass  # it was done already
            seen += events
            self.assertTrue(stream.done)
            choices, _ = join_chat(seen)
            message = alone["choices"][0]["message"]
            self.assertEqual(choices[0]["content"], message["content"])
            self.assertEqual(choices[0]["reasoning_content"], message.get("reasoning_content", ""))
            self.assertEqual(server.wait_exit(), 0)

    def test_idle_server_leaves_at_once(self):
        for sent in (signal.SIGTERM, signal.SIGINT):
            with Server(BINARY) as server:
                server.process.send_signal(sent)
                self.assertEqual(server.wait_exit(10), 0)

    def test_second_signal_stops_at_once(self):
        with Server(BINARY) as server:
            streams = [server.stream(CHAT, endless()) for _ in range(8)]
            for stream in streams:
                next(stream.events())
            server.terminate()
            until = time.monotonic() + 10
            while "second signal" not in "".join(server.errors) and time.monotonic() < until:
                time.sleep(0.005)
            server.terminate()
            status = server.wait_exit(10)
            # The answers may have been complete by then on a fast machine.
            self.assertIn(status, (0, 128 + signal.SIGTERM))
            for stream in streams:
                stream.close()

    def test_full_queue_is_refused(self):
        with Server(BINARY, "--max-sequences", "1") as server:
            prompts = {"prompt": ["x"] * 2048, "max_tokens": 2000, "ignore_eos": True}
            answer = server.post("/v1/completions", prompts)
            self.assertEqual(answer.status, 429, answer.text[:200])
            self.assertTrue(answer.headers["Retry-After"])
            until = time.monotonic() + 30  # what had been accepted is cancelled behind the refusal
            while server.post(CHAT, endless(1)).status == 429 and time.monotonic() < until:
                time.sleep(0.01)
            self.assertEqual(server.post(CHAT, endless(1)).status, 200)
            server.wait_metric("vllm:num_requests_running", 0)
            server.wait_metric("vllm:num_requests_waiting", 0)
            server.wait_metric("vllm:kv_cache_usage_perc", 0)

    def test_bad_start(self):
        cases = [
            (["--model", "no-such-file.gguf"], 1, "no-such-file.gguf"),
            (["--cpu-impl", "abacus"], 1, "abacus"),
            (["--quantize", "q9"], 1, "q8_0"),
            (["--kv-memory", "lots"], 2, "512M"),
            (["--port", "70000"], 2, "--port"),
            (["--port", "1", "--port", "2"], 2, "--port"),
            (["--prot", "1"], 2, "--prot"),
            (["--api-key", ","], 2, "no key"),
            (["extra"], 2, "extra"),
        ]
        for flags, status, fragment in cases:
            with self.subTest(flags):
                port = [] if "--port" in flags else ["--port", "0"]
                done = subprocess.run([BINARY, "serve", *port, *flags], capture_output=True, text=True,
                                      timeout=60)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertIn(fragment, done.stderr)

    def test_port_in_use(self):
        with Server(BINARY) as server:
            done = subprocess.run([BINARY, "serve", "--port", str(server.port)], capture_output=True,
                                  text=True, timeout=60)
            self.assertEqual(done.returncode, 1)
            self.assertIn(str(server.port), done.stderr)


if __name__ == "__main__":
    unittest.main()
