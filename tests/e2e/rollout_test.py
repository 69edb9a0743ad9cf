"""Rollouts over real sockets: two upstreams that are equal or not, and a gateway that finds out."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import unittest

from hadal_server import AdminServer, ConfigCase, wait_for

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
CHAT = "/v1/chat/completions"
ADMIN_KEY = "HADAL_TEST_ADMIN_KEY"
ENVIRONMENT = {**os.environ, ADMIN_KEY: "operator-key"}
BEARER = {"Authorization": "Bearer sesame"}

BASE = """
server: {port: 0, keys_file: keys.txt}
store: {path: hadal.db}
admin: {port: 0, key_env: HADAL_TEST_ADMIN_KEY}
backends:
  - {name: one, url: "http://127.0.0.1:%d/v1", models: {r1: x}}
  - {name: two, url: "http://127.0.0.1:%d/v1", models: {r1: x, r2: y}}
"""
AUDIT = "audit: {path: audit}\n"
# What a busy machine does to times is no regression.
MARGINS = "margins: {errors: 0.3, refusals: 0.3, first_token: 50, between_tokens: 50, length: 20}"
FAST = f"window: 300ms, samples: 40, windows: 100, {MARGINS}"


class Upstream(http.server.ThreadingHTTPServer):
    """An OpenAI-compatible server that says its name; `fails`: with 500."""

    daemon_threads = True

    def __init__(self, name):
        self.name, self.fails, self.text, self.bodies = name, False, f"I am {name}", []
        super().__init__(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    @property
    def port(self):
        return self.server_address[1]

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        answer = {"error": {"message": "broken"}} if self.server.fails else {
            "id": "x", "object": "chat.completion", "model": body["model"], "choices": [
                {"index": 0, "message": {"role": "assistant", "content": self.server.text},
                 "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}}
        data = json.dumps(answer).encode()
        self.send_response(500 if self.server.fails else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Gateway(AdminServer):
    def __init__(self, config):
        super().__init__(BINARY, config, {ADMIN_KEY: "operator-key"})

    def ask(self, user, model="r1"):
        return self.post(CHAT, {"model": model, "user": str(user),
                                  "messages": [{"role": "user", "content": "Who are you?"}]}, BEARER)

    def rollout(self, *args, env=None):
        return subprocess.run(
            [BINARY, "rollout", *args, "--url", f"http://127.0.0.1:{self.admin_port}", "--key-env",
             ADMIN_KEY], env=env or ENVIRONMENT, capture_output=True, text=True, timeout=60)

    def status(self, name="next"):
        done = self.rollout("status", name, "--json")
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return json.loads(done.stdout)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Fixture(ConfigCase):
    def setUp(self):
        super().setUp()
        self.write("keys.txt", "sesame\n")
        self.one, self.two = Upstream("one"), Upstream("two")
        self.addCleanup(self.one.stop)
        self.addCleanup(self.two.stop)

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as file:
            file.write(text)

    def start(self, rollouts):
        self.write("hadal.yaml", BASE % (self.one.port, self.two.port) + "rollouts:\n" + rollouts)
        return Gateway(self.config)

    def records(self, kind):
        shown = subprocess.run([BINARY, "audit", "show", os.path.join(self.folder, "audit")],
                               timeout=60, capture_output=True, text=True)
        found = [json.loads(line) for line in shown.stdout.splitlines()]
        return [one for one in found if one["kind"] == kind]

    def wait_measured(self, gateway, count):
        """A client may see an answer's last byte before its end has been noted."""
        wait_for(lambda: sum(arm["requests"] for arm in gateway.status()["arms"]) == count,
                 f"not {count} answers: {gateway.status()}")

    def traffic_until(self, gateway, phase, name="next", users=100):
        """Asks as `users` in turn, by four clients; each user's arms in their order."""
        arms, over, lock = {}, threading.Event(), threading.Lock()

        def client(first):
            while not over.is_set():
                for user in range(first, users, 4):
                    arm = gateway.ask(user).headers.get("X-Hadal-Rollout")
                    with lock:
                        arms.setdefault(user, []).append(arm)

        clients = [threading.Thread(target=client, args=(i,)) for i in range(4)]
        for one in clients:
            one.start()
        try:
            wait_for(lambda: gateway.status(name)["phase"] == phase,
                     f"not {phase}: {gateway.status(name)}", 120)
        finally:
            over.set()
            for one in clients:
                one.join()
        return arms


class Canary(Fixture):
    CANARY = ("  next: {model: r1, baseline: {backends: [one]}, candidate: {backends: [two]}, "
              "steps: [20, 50], %s}\n")

    def test_an_equal_candidate_gets_everybody_and_users_move_once(self):
        with self.start(self.CANARY % FAST) as gateway:
            arms = self.traffic_until(gateway, "promoted")
            for user, seen in arms.items():
                changes = sum(a != b for a, b in zip(seen, seen[1:]))
                self.assertLessEqual(changes, 1, (user, seen))
            self.assertTrue(any(seen[0] == "next=baseline" for seen in arms.values()))
            for user in range(20):
                answer = gateway.ask(user)
                self.assertEqual(answer.headers["X-Hadal-Backend"], "two")
                self.assertEqual(answer.headers["X-Hadal-Rollout"], "next=candidate")
            events = [event["what"] for event in gateway.status()["events"]]
            self.assertEqual(events[0].split(":")[0], "promoted")
            self.assertIn("step 2 of 2, 50 %", events[1])
            gateway.kill()
        with Gateway(self.config) as gateway:
            self.assertEqual(gateway.status()["phase"], "promoted")
            self.assertEqual(gateway.ask(1).headers["X-Hadal-Backend"], "two")

    def test_a_bad_candidate_is_rolled_back_and_stays_so_over_a_kill(self):
        self.two.fails = True
        with self.start(self.CANARY % FAST) as gateway:
            self.traffic_until(gateway, "rolled back")
            status = gateway.status()
            self.assertIn("errors", status["reason"])
            for user in range(40):
                self.assertEqual(gateway.ask(user).status, 200)
            gateway.kill()
        with Gateway(self.config) as gateway:
            after = gateway.status()
            self.assertEqual((after["phase"], after["reason"], after["events"]),
                             (status["phase"], status["reason"], status["events"]))
            for user in range(40):
                self.assertEqual(gateway.ask(user).headers["X-Hadal-Backend"], "one")

    def test_decisions_are_in_the_audit_record(self):
        self.two.fails = True
        with self.start(self.CANARY % FAST + AUDIT) as gateway:
            self.traffic_until(gateway, "rolled back")
        phases = [one["phase"] for one in self.records("rollout") if one["rollout"] == "next"]
        self.assertEqual(phases[-1], "rolled back")

    def test_killed_in_the_middle_it_goes_on_where_it_was(self):
        with self.start(self.CANARY % "window: 1h") as gateway:
            before = {user: gateway.ask(user).headers["X-Hadal-Rollout"] for user in range(60)}
            self.assertEqual(set(before.values()), {"next=baseline", "next=candidate"})
            self.wait_measured(gateway, 60)
            self.assertEqual(gateway.rollout("pause", "next").returncode, 0)
            status = gateway.status()
            gateway.kill()
        with Gateway(self.config) as gateway:
            self.assertEqual(gateway.status(), status)
            after = {user: gateway.ask(user).headers["X-Hadal-Rollout"] for user in range(60)}
            self.assertEqual(after, before)
            self.assertEqual(gateway.rollout("promote", "next", "--next").returncode, 0)
            gateway.kill()
        with Gateway(self.config) as gateway:
            status = gateway.status()
            self.assertEqual((status["step"], status["phase"]), (2, "running"))
            moved = {user: gateway.ask(user).headers["X-Hadal-Rollout"] for user in range(60)}
            for user, arm in before.items():
                if arm == "next=candidate":
                    self.assertEqual(moved[user], arm)

    def test_probes_that_the_candidate_fails_bring_it_back(self):
        self.write("probes.yaml", "".join(
            f"- {{prompt: 'question {i}', contains: 'one'}}\n" for i in range(14)))
        probes = "probes: {file: probes.yaml, every: 10ms}, " + FAST
        with self.start(self.CANARY % probes) as gateway:
            self.traffic_until(gateway, "rolled back")
            status = gateway.status()
            self.assertIn("score", status["reason"])
            self.assertEqual([arm["probes"]["passed"] for arm in status["arms"]], [14, 0])


class Others(Fixture):
    def test_commands(self):
        with self.start("") as gateway:
            self.assertEqual(gateway.ask(1).headers.get("X-Hadal-Rollout"), None)
            began = gateway.rollout("start", "mine", "--model", "r1", "--candidate", "r2", "--step",
                                    "30", "--step", "60.5", "--window", "1h")
            self.assertEqual(began.returncode, 0, began.stderr)
            self.assertIn("mine: canary of 'r1', running", began.stdout)
            self.assertIn("X-Hadal-Rollout", gateway.ask(1).headers)
            listed = gateway.rollout("list")
            self.assertRegex(listed.stdout, r"mine +canary +r1 +running +1/2 +30 %")
            for command, phase in (("pause", "paused"), ("resume", "running"),
                                   ("promote", "promoted"), ("abort", "rolled back"),
                                   ("start", "running"), ("abort", "rolled back")):
                done = gateway.rollout(command, "mine")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(phase, done.stdout)
            self.assertEqual(gateway.rollout("forget", "mine").returncode, 0)
            unknown = gateway.rollout("status", "mine")
            self.assertEqual((unknown.returncode, unknown.stdout), (1, ""))
            self.assertIn("there is no rollout 'mine'", unknown.stderr)
            wrong = gateway.rollout("start", "mine", "--model", "r1", "--candidate", "r3")
            self.assertEqual(wrong.returncode, 2)
            self.assertIn("no backend or alias is called 'r3'", wrong.stderr)
            closed = gateway.rollout("list", env={**os.environ, ADMIN_KEY: "wrong"})
            self.assertEqual(closed.returncode, 1)
            self.assertIn("admin key", closed.stderr)

    def test_check_says_what_dangles(self):
        self.write("hadal.yaml", BASE % (1, 2) +
                   "rollouts:\n  next: {model: r1, candidate: {backends: [tow]}}\n")
        done = subprocess.run([BINARY, "serve", "--config", self.config, "--check"], timeout=60,
                              env=ENVIRONMENT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn(":9:44: rollouts.next.candidate.backends[0]: there is no backend 'tow'; did "
                      "you mean 'two'?", done.stderr)

    def test_an_experiment_reports_and_moves_nobody(self):
        arms = "arms: {a: {target: {backends: [one]}}, b: {target: {backends: [two]}}}"
        self.two.fails = True
        with self.start(f"  next: {{kind: experiment, model: r1, {arms}, window: 100ms}}\n") as gateway:
            for user in range(60):
                gateway.ask(user)
            self.wait_measured(gateway, 60)
            status = gateway.status()
            self.assertEqual(status["phase"], "running")
            a, b = status["arms"]
            self.assertEqual((a["errors"]["rate"], b["errors"]["rate"]), (0, 1))
            self.assertGreater(b["errors"]["low"], 0.5)
            self.assertLess(a["errors"]["high"], 0.5)
            self.assertIn("b, 50 % of users", gateway.rollout("status", "next").stdout)

    def test_a_shadow_sees_every_request_and_no_client_sees_it(self):
        self.two.fails = True
        shadow = ("  next: {kind: shadow, model: r1, baseline: {backends: [one]}, "
                  "candidate: {backends: [two]}, share: 100, in_flight: 100}\n")
        pinned = "  pin: {kind: canary, model: r1, baseline: {backends: [one]}, candidate: " \
                 "{backends: [two]}, autostart: false}\n"
        with self.start(shadow + pinned + AUDIT) as gateway:
            for user in range(20):
                answer = gateway.ask(user)
                self.assertEqual((answer.status, answer.headers["X-Hadal-Backend"]), (200, "one"))
            self.wait_measured(gateway, 40)
            baseline, copies = gateway.status()["arms"]
            self.assertEqual((baseline["errors"]["rate"], copies["errors"]["rate"]), (0, 1))
            self.assertEqual((baseline["requests"], copies["requests"]), (20, 20))
            self.assertEqual(self.two.bodies[0]["messages"], self.one.bodies[0]["messages"])
            metrics = gateway.get("/metrics", BEARER).text
            self.assertIn('hadal_tenant_requests_total{tenant="default",outcome="admitted"} 20',
                          metrics)
            self.assertIn('hadal_rollout_copies_total{rollout="next",outcome="sent"} 20', metrics)

            def copies():
                return [one for one in self.records("end") if one["tenant"] == "hadal-rollouts"]
            wait_for(lambda: len(copies()) == 20, "not every copy is recorded")
            self.assertEqual(copies()[0]["sent"], ["two"])  # later ones meet its open breaker


if __name__ == "__main__":
    unittest.main()
