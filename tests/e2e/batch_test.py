"""Files and batches, over real sockets and through kill -9.

    batch_test.py HADAL [--kills N] [unittest's arguments]

--kills: how often the server is killed in the test that does so; 10 unless said otherwise.
"""

import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

from hadal_server import ConfigCase, Server, wait_for

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
KILLS = 10
if "--kills" in sys.argv:
    place = sys.argv.index("--kills")
    KILLS = int(sys.argv.pop(place + 1))
    sys.argv.pop(place)
CHAT = "/v1/chat/completions"
PATIENCE = 120  # seconds until a batch has ended, on a machine that does much else

CONFIG = """
server: {port: 0}
backends:
  - {name: here, model: embedded, names: [tiny], engine: {threads: 1, max_sequences: 4}}
"""


def ask(number, **fields):
    return {"model": "tiny", "messages": [{"role": "user", "content": f"What is {number} + 25?"}],
            "temperature": 0, "max_tokens": 12, **fields}


def line(number, **fields):
    return json.dumps({"custom_id": f"c{number}", "method": "POST", "url": CHAT,
                       "body": ask(number, **fields)})


def bearer(key):
    return {"Authorization": f"Bearer {key}"} if key else {}


def upload(server, text, key=None, boundary="odd(boundary)'+_,-./:=?", name="in.jsonl"):
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in (('name="purpose"', b"batch"),
                              (f'name="file"; filename="{name}"', text.encode())))
    body += f"--{boundary}--\r\n".encode()
    return server.request("POST", "/v1/files", body, {
        "Content-Type": f'multipart/form-data; boundary="{boundary}"', **bearer(key)})


def create(server, file, key=None, endpoint=CHAT, window="24h", **fields):
    return server.post("/v1/batches", {"input_file_id": file, "endpoint": endpoint,
                                       "completion_window": window, **fields}, bearer(key))


def batch_of(server, batch, key=None):
    return server.get(f"/v1/batches/{batch}", bearer(key)).json


def wait_ended(server, batch, key=None, seconds=PATIENCE):
    ended = ("completed", "failed", "expired", "cancelled")
    wait_for(lambda: batch_of(server, batch, key)["status"] in ended, "the batch does not end", seconds)
    return batch_of(server, batch, key)


def content(server, file, key=None):
    answer = server.get(f"/v1/files/{file}/content", bearer(key))
    assert answer.status == 200, answer.text
    return answer.text


def results(server, file, key=None):
    """Lines of a result file by custom_id; an assertion when one is there twice."""
    found = {}
    for text in content(server, file, key).splitlines():
        one = json.loads(text)
        assert set(one) == {"id", "custom_id", "response", "error"}, text
        assert one["custom_id"] not in found, "twice: " + text
        found[one["custom_id"]] = one
    return found


def words(body):
    return body["choices"][0]["message"]["content"]


class Upstream:
    """Another server, which answers when it is told to: a live request that lasts as long as wanted."""

    def __init__(self):
        self.go, self.came = threading.Event(), threading.Event()
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                upstream.came.set()
                upstream.go.wait()
                body = json.dumps({"id": "x", "object": "chat.completion", "choices": []}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def backend(self):
        return (f"  - {{name: far, url: 'http://127.0.0.1:{self.server.server_port}/v1', "
                f"models: {{slow: slow}}}}\n")

    def hold(self, server, key=None):
        """A request that is under way until release()."""
        self.asker = threading.Thread(target=server.post, args=(CHAT, ask(1, model="slow"), bearer(key)))
        self.asker.start()
        assert self.came.wait(30), "the request has not come"

    def release(self):
        self.go.set()
        self.asker.join()

    def close(self):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()


class Fixture(ConfigCase):
    def upstream(self):
        upstream = Upstream()
        self.addCleanup(upstream.close)
        return upstream

    def write(self, batches="", more="", backends=""):
        with open(self.config, "w") as file:
            file.write(CONFIG + backends + "batches: {dir: batches" + batches + "}\n" + more)

    def server(self):
        return Server(BINARY, "--config", self.config)

    def make_key(self, *args):
        made = subprocess.run([BINARY, "keys", "create", *args, "--config", self.config], timeout=60,
                              capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        return made.stdout.strip()

    def submit(self, server, text, key=None, **fields):
        file = upload(server, text, key)
        self.assertEqual(file.status, 200, file.text)
        batch = create(server, file.json["id"], key, **fields)
        self.assertEqual(batch.status, 200, batch.text)
        return batch.json["id"]


class Batches(Fixture):
    def test_a_batch_from_upload_to_result(self):
        self.write()
        text = "\n".join([line(1), line(2, max_tokens=-5), "", line(3, model="none"), line(4)]) + "\r\n"
        with self.server() as server:
            file = upload(server, text)
            self.assertEqual(file.status, 200, file.text)
            self.assertEqual((file.json["bytes"], file.json["filename"], file.json["purpose"]),
                             (len(text), "in.jsonl", "batch"))
            self.assertEqual(content(server, file.json["id"]), text)
            created = create(server, file.json["id"], metadata={"a": "b"})
            self.assertEqual(created.json["status"], "validating")
            batch = wait_ended(server, created.json["id"])
            self.assertEqual(batch["status"], "completed")
            self.assertEqual(batch["request_counts"], {"total": 4, "completed": 2, "failed": 2})
            self.assertEqual(batch["metadata"], {"a": "b"})
            for time_of in ("in_progress_at", "finalizing_at", "completed_at", "expires_at"):
                self.assertGreaterEqual(batch[time_of], batch["created_at"], time_of)
            good = results(server, batch["output_file_id"])
            bad = results(server, batch["error_file_id"])
            self.assertEqual((set(good), set(bad)), ({"c1", "c4"}, {"c2", "c3"}))
            for number in (1, 4):
                live = server.post(CHAT, ask(number)).json
                answer = good[f"c{number}"]["response"]
                self.assertEqual(answer["status_code"], 200)
                self.assertEqual(words(answer["body"]), words(live))
                self.assertTrue(answer["request_id"])
            self.assertEqual(bad["c2"]["response"]["status_code"], 400)
            self.assertEqual(bad["c3"]["response"]["status_code"], 404)
            self.assertEqual(bad["c3"]["response"]["body"]["error"]["code"], "model_not_found")
            listed = server.get("/v1/files?limit=2").json
            self.assertEqual((len(listed["data"]), listed["has_more"]), (2, True))
            rest = server.get(f"/v1/files?limit=2&after={listed['last_id']}").json
            self.assertEqual([one["id"] for one in rest["data"]], [file.json["id"]])
            self.assertEqual(server.request("DELETE", "/v1/files/" + file.json["id"]).json,
                             {"id": file.json["id"], "object": "file", "deleted": True})
            self.assertEqual(server.get("/v1/files/" + file.json["id"]).status, 404)
            server.wait_metric("hadal_batches", 0)

    def test_other_endpoints(self):
        self.write()
        calls = {"/v1/completions": {"prompt": "1 + 1 =", "max_tokens": 4},
                 "/v1/responses": {"input": "Hi", "max_output_tokens": 8}}
        with self.server() as server:
            for endpoint, body in calls.items():
                text = json.dumps({"custom_id": "x", "method": "POST", "url": endpoint, "body": body})
                batch = wait_ended(server, self.submit(server, text, endpoint=endpoint))
                answer = results(server, batch["output_file_id"])["x"]["response"]
                self.assertEqual(answer["status_code"], 200, endpoint)

    def test_what_is_wrong_with_a_file_is_said_by_line(self):
        self.write(", file_max: 4K, files_max: 4, lines_max: 5")
        with self.server() as server:
            batch = wait_ended(server, self.submit(server, line(1) + "\n{\n" + line(1)))
            self.assertEqual(batch["status"], "failed")
            self.assertEqual([(one["code"], one["line"]) for one in batch["errors"]["data"]],
                             [("invalid_json_line", 2), ("duplicate_custom_id", 3)])
            many = "\n".join(line(i, max_tokens=1) for i in range(6))
            batch = wait_ended(server, self.submit(server, many))
            self.assertEqual(batch["errors"]["data"][0]["code"], "too_many_lines")
            self.assertEqual(upload(server, "x" * 5000).status, 413)
            upload(server, "x")
            upload(server, "x")
            full = upload(server, "x")
            self.assertEqual(full.status, 429)
            self.assertIn("at most 4", full.error["message"])
            self.assertEqual(create(server, "file-none").status, 404)
            for bad in ({"endpoint": "/v1/messages"}, {"completion_window": "soon"},
                        {"completion_window": "999d"}, {"metadata": {"a": 1}}, {"other": 1}):
                fields = {"input_file_id": "f", "endpoint": CHAT, "completion_window": "24h", **bad}
                self.assertEqual(server.post("/v1/batches", fields).status, 400, bad)
            for path in ("/v1/files?limit=0", "/v1/files?order=up", "/v1/batches?limit=x"):
                self.assertEqual(server.get(path).status, 400, path)
            self.assertEqual(server.get("/v1/batches?after=none").status, 404)
            self.assertEqual(server.request("PUT", "/v1/files").status, 405)
            self.assertEqual(server.post("/v1/files", {"purpose": "batch"}).status, 400)

    def test_a_disk_that_is_gone_is_said_and_live_requests_go_on(self):
        self.write()
        files = os.path.join(self.folder, "batches", "files")
        with self.server() as server:
            shutil.rmtree(files)
            gone = upload(server, line(1))
            self.assertEqual((gone.status, gone.headers["Retry-After"]), (503, "5"))
            self.assertNotIn(files, gone.text)
            self.assertEqual(server.post(CHAT, ask(1)).status, 200)
            os.mkdir(files)
            self.assertEqual(wait_ended(server, self.submit(server, line(1)))["status"], "completed")

    def test_where_nothing_is_configured_it_is_said(self):
        with Server(BINARY) as server:
            for answer in (upload(server, line(1)), server.get("/v1/batches")):
                self.assertEqual(answer.status, 400)
                self.assertIn("batches.dir", answer.error["message"])
        folder = os.path.join(self.folder, "flag")
        with Server(BINARY, "--batch-dir", folder) as server:
            batch = wait_ended(server, self.submit(server, line(1)))
            self.assertEqual(batch["status"], "completed")
            second = subprocess.run([BINARY, "serve", "--port", "0", "--batch-dir", folder],
                                    capture_output=True, text=True, timeout=60)
            self.assertEqual(second.returncode, 2)
            self.assertIn("another process", second.stderr)

    def test_hours_that_are_closed_let_a_batch_expire_or_be_cancelled(self):
        today = time.gmtime().tm_wday
        closed = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][(today + 3) % 7]
        self.write(f", hours: ['{closed} 12:00-13:00'], time_zone: '+00:00'")
        with self.server() as server:
            late = self.submit(server, line(1), window="2s")
            waits = self.submit(server, line(1) + "\n" + line(2))
            batch = wait_ended(server, late)
            self.assertEqual((batch["status"], batch["output_file_id"]), ("expired", None))
            error = results(server, batch["error_file_id"])["c1"]
            self.assertEqual((error["response"], error["error"]["code"]), (None, "batch_expired"))
            wait_for(lambda: batch_of(server, waits)["status"] == "in_progress", "it is not looked at")
            file = batch_of(server, waits)["input_file_id"]
            self.assertEqual(server.request("DELETE", f"/v1/files/{file}").status, 400)
            cancelled = server.post(f"/v1/batches/{waits}/cancel", {})
            self.assertEqual(cancelled.json["status"], "cancelling")
            batch = wait_ended(server, waits)
            self.assertEqual(batch["status"], "cancelled")
            self.assertEqual(batch["request_counts"], {"total": 2, "completed": 0, "failed": 2})
            self.assertEqual(server.post(f"/v1/batches/{waits}/cancel", {}).status, 400)
            self.assertEqual([one["id"] for one in server.get("/v1/batches").json["data"]],
                             [waits, late])

    def test_live_requests_go_first(self):
        upstream = self.upstream()
        self.write(", load: 0, preempt_after: 0s, at_once: 2", backends=upstream.backend())
        with self.server() as server:
            batch = self.submit(server, "\n".join(
                line(i, max_tokens=60, ignore_eos=True) for i in range(40)))
            wait_for(lambda: batch_of(server, batch)["request_counts"]["completed"] > 0, "nothing runs")
            upstream.hold(server)
            server.wait_metric("hadal_batch_lines_running", 0)
            done = batch_of(server, batch)["request_counts"]["completed"]
            for number in range(5):
                self.assertEqual(server.post(CHAT, ask(number)).status, 200)
            self.assertEqual(server.metric("hadal_batch_lines_running"), 0)
            self.assertEqual(batch_of(server, batch)["request_counts"]["completed"], done)
            upstream.release()
            self.assertEqual(wait_ended(server, batch)["request_counts"],
                             {"total": 40, "completed": 40, "failed": 0})

    def test_a_batch_for_another_server(self):
        upstream = self.upstream()
        self.write(backends=upstream.backend())
        with self.server() as server:
            batch = self.submit(server, line(1, model="slow"))
            server.wait_metric("hadal_batch_lines_running", 1)
            upstream.go.set()
            ended = wait_ended(server, batch)
            self.assertEqual(results(server, ended["output_file_id"])["c1"]["response"]["body"]["id"], "x")


class Keys(Fixture):
    def test_files_and_batches_are_their_owners_alone(self):
        tenants = "store: {path: hadal.db}\ntenants:\n  a: {}\n  b: {limits: {requests_per_second: 50}}\n"
        self.write(more=tenants)
        mine, other, theirs = (self.make_key("--tenant", name) for name in ("a", "a", "b"))
        with self.server() as server:
            self.assertEqual(server.get("/v1/files").status, 401)
            batch = self.submit(server, line(1), mine)
            file = wait_ended(server, batch, mine)["output_file_id"]
            for key in (other, theirs):
                self.assertEqual(server.get("/v1/files", bearer(key)).json["data"], [])
                self.assertEqual(server.get("/v1/batches", bearer(key)).json["data"], [])
                for path in (f"/v1/files/{file}", f"/v1/files/{file}/content", f"/v1/batches/{batch}"):
                    self.assertEqual(server.get(path, bearer(key)).status, 404, path)
                self.assertEqual(server.request("DELETE", f"/v1/files/{file}", None,
                                                bearer(key)).status, 404)
                self.assertEqual(create(server, file, key).status, 404)
                self.assertEqual(server.post(f"/v1/batches/{batch}/cancel", {}, bearer(key)).status, 404)
            self.assertEqual(len(results(server, file, mine)), 1)

    def test_a_tenant_may_share_and_its_limits_hold_for_batches(self):
        self.write(", shared_by: tenant", "store: {path: hadal.db}\ntenants:\n"
                   "  a: {models: [tiny]}\n  b: {limits: {requests_per_second: 2, burst: 1}}\n")
        mine, other, theirs = (self.make_key("--tenant", name) for name in ("a", "a", "b"))
        with self.server() as server:
            batch = self.submit(server, line(1), mine)
            self.assertEqual(wait_ended(server, batch, other)["status"], "completed")
            self.assertEqual(server.get(f"/v1/batches/{batch}", bearer(theirs)).status, 404)
            # More at once than the limit lets through: refused lines are asked again, none fails.
            batch = self.submit(server, "\n".join(line(i, max_tokens=1) for i in range(6)), theirs)
            self.assertEqual(wait_ended(server, batch, theirs)["request_counts"],
                             {"total": 6, "completed": 6, "failed": 0})

    def test_a_key_that_is_revoked_meanwhile(self):
        upstream = self.upstream()
        self.write(", load: 0, preempt_after: 0s", "store: {path: hadal.db}\ntenants: {a: {}, b: {}}\n",
                   upstream.backend())
        key, live = self.make_key("--tenant", "a"), self.make_key("--tenant", "b")
        with self.server() as server:
            upstream.hold(server, live)
            self.submit(server, line(1) + "\n" + line(2), key)
            revoked = subprocess.run([BINARY, "keys", "revoke", key.split("-")[1], "--config",
                                      self.config], capture_output=True, timeout=60)
            self.assertEqual(revoked.returncode, 0)
            upstream.release()
            # Nobody can look at it any more but in the folder itself.
            errors = os.path.join(self.folder, "batches", "files")
            names = lambda: [name for name in os.listdir(errors) if not name.endswith(".part")]
            wait_for(lambda: len(names()) == 2, "the batch does not end", PATIENCE)
            texts = [pathlib.Path(errors, name).read_text() for name in names()]
            found = [json.loads(one) for text in texts if '"response"' in text
                     for one in text.splitlines()]
            self.assertEqual([one["response"]["status_code"] for one in found], [401, 401])


class Kills(Fixture):
    def test_killed_at_any_moment_no_line_is_lost_or_run_twice_in_the_output(self):
        seed = random.randrange(1 << 30)
        rng = random.Random(seed)
        self.write(", load: 2, at_once: 3")
        lines, batches, killed = 10, [], 0
        expected = {}
        while killed < KILLS:
            server = self.server()
            try:
                if not expected:
                    for number in range(lines):
                        expected[f"c{number}"] = words(server.post(CHAT, ask(number)).json)
                batches.append(self.submit(server, "\n".join(line(i) for i in range(lines))))
                pause = rng.random() * 0.7
                until = time.monotonic() + pause
                while time.monotonic() < until:  # a live client all the while
                    self.assertEqual(server.post(CHAT, ask(7)).status, 200)
                server.process.send_signal(signal.SIGKILL)
                server.wait_exit()
                killed += 1
            finally:
                server.__exit__()
        with self.server() as server:
            for batch in batches:
                ended = wait_ended(server, batch, seconds=PATIENCE + 10 * KILLS)
                where = f"seed {seed}, batch {batch}"
                self.assertEqual(ended["status"], "completed", where)
                self.assertEqual(ended["request_counts"],
                                 {"total": lines, "completed": lines, "failed": 0}, where)
                found = results(server, ended["output_file_id"])
                self.assertEqual({name: words(one["response"]["body"])
                                  for name, one in found.items()}, expected, where)
            files = os.listdir(os.path.join(self.folder, "batches", "files"))
            self.assertEqual(len(files), 2 * len(batches))


if __name__ == "__main__":
    unittest.main()
