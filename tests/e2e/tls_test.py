"""TLS, CORS and proxies' headers, with real certificates and real sockets."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

from hadal_server import ConfigCase, Server, Stream, wait_for

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")
CHAT = "/v1/chat/completions"
ASK = {"model": "tiny", "messages": [{"role": "user", "content": "What is 17 + 25?"}],
       "temperature": 0, "max_tokens": 8, "ignore_eos": True}
ENV = {"HADAL_TEST_ADMIN_KEY": "operator-key"}
BASE = """
backends: [{name: here, model: embedded, names: [tiny], engine: {threads: 1, max_sequences: 8}}]
"""


def openssl(*args):
    subprocess.run(["openssl", *args], check=True, capture_output=True, timeout=60)


class Authority:
    """Signs certificates in a folder."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.key, self.certificate = self.path(".key"), self.path(".pem")
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        openssl("req", "-new", "-x509", "-key", self.key, "-subj", f"/CN={name}", "-days", "2",
                "-out", self.certificate)

    def path(self, suffix):
        return os.path.join(self.folder, self.name + suffix)

    def sign(self, name, subject="/CN=localhost", days=2, password=None):
        """(certificate, key)"""
        base = os.path.join(self.folder, name)
        key, request, certificate, names = (base + end for end in (".key", ".csr", ".pem", ".ext"))
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", subject, "-out", request)
        with open(names, "w") as file:
            file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                "-CAcreateserial", "-days", str(days), "-extfile", names, "-out", certificate)
        if password:
            openssl("ec", "-in", key, "-aes128", "-passout", "pass:" + password, "-out", key)
        return certificate, key


class TlsServer(Server):
    """Asks by https; `context` is what its clients show and trust."""

    def __init__(self, config, context, wait=True):
        self.context = context
        super().__init__(BINARY, "--config", config, env=ENV, wait=wait)

    def request(self, method, path, body=None, headers=None):
        return ask(self.port, self.context, method, path, body, headers)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def said(self, text):
        return any(text in line for line in list(self.errors))


class Reply:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()


def ask(port, context, method, path, body=None, headers=None):
    body = json.dumps(body) if body is not None else None
    connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json",
                                                **(headers or {})})
        return Reply(connection.getresponse())
    finally:
        connection.close()


def trusting(authority, certificate=None, key=None):
    context = ssl.create_default_context(cafile=authority.certificate)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def connect(port, context):
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=60),
                               server_hostname="localhost")


def shown(port, context):
    with connect(port, context) as wire:
        return wire.getpeercert()["serialNumber"]


class Fixture(ConfigCase):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder, "authority")
        self.certificate, self.key = self.authority.sign("server")
        self.trust = trusting(self.authority)

    def write(self, server, more=""):
        with open(self.config, "w") as file:
            file.write(f"server: {{port: 0, {server}}}\n" + BASE + more)

    def tls(self, more="", certificate="server.pem", key="server.key"):
        return f"tls: {{cert_file: {certificate}, key_file: {key}{more}}}"

    def check(self):
        return subprocess.run([BINARY, "serve", "--check", "--config", self.config], timeout=60,
                              capture_output=True, text=True, env={**os.environ, **ENV})


class Tls(Fixture):
    def test_answers_streams_and_keeps_connections(self):
        self.write(self.tls())
        self.assertEqual(self.check().returncode, 0)
        with TlsServer(self.config, self.trust) as server:
            self.assertEqual(server.post(CHAT, ASK).status, 200)
            wait_for(lambda: any("https://" in line for line in server.output), server.output)
            self.assertIn("hadal_tls_certificate_valid_until_seconds{port=\"main\"} 1",
                          server.get("/metrics").text)
            connection = http.client.HTTPSConnection("localhost", server.port, context=self.trust)
            for size in (1, 3, 50_000, 3):  # the same connection, small and large
                prompt = {**ASK, "messages": [{"role": "user", "content": "x" * size}]}
                connection.request("POST", CHAT, json.dumps(prompt))
                response = connection.getresponse()
                response.read()
                self.assertIn(response.status, (200, 400))
                self.assertFalse(response.will_close)
            connection.close()
            self.assertTrue(self.events(server.port))
            self.write(self.tls())
            server.terminate()
            self.assertEqual(server.wait_exit(), 0)

    def events(self, port, tokens=30):
        with connect(port, self.trust) as wire:
            body = json.dumps({**ASK, "stream": True, "max_tokens": tokens}).encode()
            wire.sendall(b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" %
                         (CHAT.encode(), len(body)) + body)
            text = b""
            while not text.endswith(b"0\r\n\r\n"):
                piece = wire.recv(65536)
                self.assertTrue(piece, text)
                text += piece
            return b"data: [DONE]" in text

    def test_protocols(self):
        self.write(self.tls())
        with TlsServer(self.config, self.trust) as server:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                context = trusting(self.authority)
                context.minimum_version = context.maximum_version = version
                context.set_alpn_protocols(["h2", "http/1.1"])
                with connect(server.port, context) as wire:
                    self.assertEqual(wire.selected_alpn_protocol(), "http/1.1")
                    self.assertIn("GCM" if version == ssl.TLSVersion.TLSv1_2 else "TLS_",
                                  wire.cipher()[0])
            context = trusting(self.authority)
            context.set_alpn_protocols(["h2"])
            with self.assertRaises(ssl.SSLError):
                connect(server.port, context)
            context = trusting(self.authority)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("AES128-SHA:AES256-SHA:ECDHE-ECDSA-AES128-SHA")  # no AEAD
            with self.assertRaises(ssl.SSLError):
                connect(server.port, context)
            self.write(self.tls(", min_version: '1.3'"))
            server.reload()
            context = trusting(self.authority)
            context.maximum_version = ssl.TLSVersion.TLSv1_2

            def refused():
                try:
                    connect(server.port, context).close()
                    return False
                except (ssl.SSLError, OSError):
                    return True
            wait_for(refused, "TLS 1.2 is still spoken")
            self.assertEqual(server.get("/health").status, 200)

    def test_plain_http_is_told_so(self):
        self.write(self.tls())
        with TlsServer(self.config, self.trust) as server:
            for bytes_sent in (b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n", b"\x00\xff", b"\x80" * 2000):
                with socket.create_connection(("127.0.0.1", server.port), timeout=60) as wire:
                    wire.sendall(bytes_sent)
                    wire.shutdown(socket.SHUT_WR)
                    answer = b""
                    while piece := wire.recv(4096):
                        answer += piece
                self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
                self.assertIn(b"https://", answer)
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as wire:
                wire.sendall(b"\x16\x03\x01" + b"\xff" * 600)  # begins as TLS and is none
                while wire.recv(4096):
                    pass
            self.assertEqual(server.get("/health").status, 200)

    def test_half_handshakes_hold_nobody_up(self):
        self.write(self.tls() + ", connections: 200")
        with TlsServer(self.config, self.trust) as server:
            hello = ssl.MemoryBIO()
            half = self.trust.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
            with self.assertRaises(ssl.SSLWantReadError):
                half.do_handshake()
            greeting = hello.read()
            wires = []
            for number in range(150):
                wire = socket.create_connection(("127.0.0.1", server.port), timeout=60)
                wire.sendall(greeting[:number % len(greeting)])
                wires.append(wire)
            self.assertEqual(server.post(CHAT, ASK).status, 200)
            for wire in wires:  # each is dropped, in time
                try:
                    while wire.recv(4096):
                        pass
                except ConnectionError:
                    pass
                wire.close()
            self.assertEqual(server.post(CHAT, ASK).status, 200)

    def test_a_client_that_leaves_is_noticed(self):
        self.write(self.tls())
        with TlsServer(self.config, self.trust) as server:
            for politely in (True, False):
                wire = connect(server.port, self.trust)
                body = json.dumps({**ASK, "stream": True, "max_tokens": 3900}).encode()
                wire.sendall(b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" %
                             (CHAT.encode(), len(body)) + body)
                self.assertTrue(wire.recv(100))
                if politely:
                    try:
                        wire.settimeout(0.01)
                        wire.unwrap()
                    except (OSError, ValueError):
                        pass
                wire.close()
                server.wait_metric("vllm:num_requests_running", 0)
            server.wait_metric("hadal_http_clients_gone_total", 2)

    def test_a_client_that_does_not_read_holds_no_memory(self):
        self.write(self.tls())
        with TlsServer(self.config, self.trust) as server:
            slow = connect(server.port, self.trust)
            slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n" * 400)
            self.assertEqual(server.post(CHAT, ASK).status, 200)
            total = b""
            while total.count(b"HTTP/1.1 200") < 400:
                piece = slow.recv(65536)
                self.assertTrue(piece)
                total += piece
            slow.close()


class Reload(Fixture):
    def test_renewed_without_dropping(self):
        self.write(self.tls())
        with TlsServer(self.config, self.trust) as server:
            old = shown(server.port, self.trust)
            kept = http.client.HTTPSConnection("localhost", server.port, context=self.trust)
            kept.request("GET", "/health")
            kept.getresponse().read()
            wire = kept.sock
            done = []
            stream = threading.Thread(target=lambda: done.append(Tls.events(self, server.port, 600)))
            stream.start()
            self.authority.sign("server")
            server.reload()
            wait_for(lambda: shown(server.port, self.trust) != old, "the old certificate is shown")
            stream.join()
            self.assertEqual(done, [True])
            kept.request("GET", "/health")
            self.assertEqual(kept.getresponse().status, 200)
            self.assertIs(kept.sock, wire)
            kept.close()

    def test_a_bad_pair_changes_nothing(self):
        self.write(self.tls())
        with TlsServer(self.config, self.trust) as server:
            first = shown(server.port, self.trust)
            self.authority.sign("other")
            self.authority.sign("locked", password="secret")
            self.authority.sign("expired", days=-1)
            empty = os.path.join(self.folder, "empty.pem")
            open(empty, "w").close()
            cases = [("server.pem", "other.key", "is not that of"), ("none.pem", "server.key", "none.pem"),
                     ("server.pem", "none.key", "none.key"), ("empty.pem", "server.key", "empty.pem"),
                     ("server.pem", "server.pem", "server.pem"), ("locked.pem", "locked.key", "locked.key"),
                     ("expired.pem", "expired.key", "expired since")]
            for certificate, key, expected in cases:
                self.write(self.tls("", certificate, key))
                checked = self.check()
                self.assertEqual(checked.returncode, 2, (certificate, key))
                self.assertIn(expected, checked.stderr)
                count = len(server.errors)
                server.reload()
                wait_for(lambda: any("stays as it was" in line for line in server.errors[count:]),
                         (certificate, key, server.errors))
                self.assertEqual(shown(server.port, self.trust), first)
            self.write(self.tls("", "expired.pem", "expired.key"))
        with TlsServer(self.config, self.trust, wait=False) as server:  # a start goes on with it
            wait_for(lambda: server.said("expired since"), "no warning")
            with self.assertRaises(ssl.SSLCertVerificationError):
                shown(server.port, self.trust)

    def test_plain_and_back(self):
        self.write("keys_file: ''")
        with open(self.config, "w") as file:
            file.write("server: {port: 0}\n" + BASE)
        with Server(BINARY, "--config", self.config, env=ENV) as server:
            self.write(self.tls())
            server.process.send_signal(signal.SIGHUP)

            def encrypted():
                try:
                    return ask(server.port, self.trust, "GET", "/health").status == 200
                except (ssl.SSLError, OSError):
                    return False
            wait_for(encrypted, "TLS does not begin")


class Mutual(Fixture):
    def setUp(self):
        super().setUp()
        self.clients = Authority(self.folder, "clients")
        self.stranger = Authority(self.folder, "stranger")

    def refused(self, port, context):
        """TLS 1.3 tells a client only after its handshake that it is not welcome."""
        try:
            with connect(port, context) as wire:
                wire.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
                return not wire.recv(100)
        except (ssl.SSLError, ConnectionError):
            return True

    def test_required(self):
        self.write(self.tls(", client_ca_file: clients.pem"))
        good = trusting(self.authority, *self.clients.sign("alice", "/O=lab/CN=alice"))
        late = trusting(self.authority, *self.clients.sign("late", days=-1))
        wrong = trusting(self.authority, *self.stranger.sign("mallory"))
        with TlsServer(self.config, good) as server:
            self.assertEqual(server.post(CHAT, ASK).status, 200)
            for context in (self.trust, late, wrong):
                self.assertTrue(self.refused(server.port, context))
            with connect(server.port, good) as wire:  # resumed, with the certificate of before
                wire.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
                wire.recv(4096)
                session = wire.session
            with good.wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=60),
                                  server_hostname="localhost", session=session) as wire:
                wire.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
                self.assertIn(b" 200 ", wire.recv(4096))

    def test_optional_and_admin(self):
        admin = "admin: {port: 0, key_env: HADAL_TEST_ADMIN_KEY, tls: {cert_file: server.pem, " \
                "key_file: server.key, client_ca_file: clients.pem}}\nstore: {path: hadal.db}\n"
        self.write(self.tls(", client_ca_file: clients.pem, client_certificate: optional"), admin)
        good = trusting(self.authority, *self.clients.sign("alice"))
        wrong = trusting(self.authority, *self.stranger.sign("mallory"))
        with TlsServer(self.config, self.trust) as server:
            self.assertEqual(server.get("/health").status, 200)
            self.assertEqual(ask(server.port, good, "GET", "/health").status, 200)
            self.assertTrue(self.refused(server.port, wrong))
            wait_for(lambda: any(line.startswith("admin on port") for line in server.output), "")
            port = int([line for line in server.output if line.startswith("admin")][0].split()[-1])
            self.assertTrue(self.refused(port, self.trust))
            bearer = {"Authorization": "Bearer operator-key"}
            self.assertEqual(ask(port, good, "GET", "/admin/v1/keys", headers=bearer).status, 200)
            self.assertEqual(ask(port, good, "GET", "/admin/v1/keys").status, 401)


class Cors(Fixture):
    def test_pages_of_listed_origins(self):
        page = "https://chat.example.org"
        self.write(f"keys_file: keys.txt, cors: {{origins: ['{page}'], credentials: true}}")
        with open(os.path.join(self.folder, "keys.txt"), "w") as file:
            file.write("right\n")
        key = {"Authorization": "Bearer right"}
        with Server(BINARY, "--config", self.config, env=ENV) as server:
            preflight = {"Origin": page, "Access-Control-Request-Method": "POST",
                         "Access-Control-Request-Headers": "authorization,content-type"}
            answer = server.request("OPTIONS", CHAT, None, preflight)
            self.assertEqual((answer.status, answer.body), (204, b""))
            self.assertEqual(answer.headers["Access-Control-Allow-Origin"], page)
            self.assertEqual(answer.headers["Access-Control-Allow-Headers"],
                             "authorization, content-type")
            self.assertEqual(server.post(CHAT, ASK, key).headers["Access-Control-Allow-Origin"], None)
            for headers, status in (({**key, "Origin": page}, 200), ({"Origin": page}, 401)):
                answer = server.post(CHAT, ASK, headers)
                self.assertEqual(answer.status, status)
                self.assertEqual(answer.headers["Access-Control-Allow-Origin"], page)
                self.assertEqual(answer.headers["Access-Control-Allow-Credentials"], "true")
            missing = server.get("/nothing", {**key, "Origin": page})
            self.assertEqual(missing.headers["Access-Control-Allow-Origin"], page)
            stream = Stream(server.port, CHAT, ASK, {**key, "Origin": page}, 60)
            self.assertEqual(stream.response.headers["Access-Control-Allow-Origin"], page)
            stream.close()
            for evil in ("https://evil.example", "null", page + ".evil.example"):
                answer = server.request("OPTIONS", CHAT, None, {**preflight, "Origin": evil})
                self.assertEqual(answer.status, 204)
                self.assertNotIn("Access-Control-Allow-Origin", answer.headers)
                answer = server.post(CHAT, ASK, {**key, "Origin": evil})
                self.assertNotIn("Access-Control-Allow-Origin", answer.headers)

    def test_configuration(self):
        for server, expected in (
                ("cors: {origins: ['*'], credentials: true}", "not with the origin '*'"),
                ("cors: {origins: ['chat.example.org']}", "expected '*' or a scheme"),
                ("cors: {credentials: true}", "'origins' is missing"),
                ("cors: {origins: ['*'], headers: ['a b']}", "is no header's name"),
                ("trusted_proxies: ['10.0.0.1/8']", "expected an address or a network"),
                ("tls: {cert_file: server.pem}", "'key_file' is missing"),
                ("tls: {key_file: server.key}", "'cert_file' is missing"),
                ("tls: {cert_file: a, key_file: b, client_certificate: optional}",
                 "'client_ca_file', which is missing"),
                ("tls: {cert_file: a, key_file: b, min_version: '1.1'}", "1.2")):
            self.write(server)
            checked = self.check()
            self.assertEqual(checked.returncode, 2, server)
            self.assertIn(expected, checked.stderr)


if __name__ == "__main__":
    unittest.main()
