"""The program that plays clients and upstreams (passing_wire.cc), and the processes beside it. Standard library only."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))


def build(folder):
    """Compiles it; where it is."""
    program = os.path.join(folder, "wire")
    subprocess.run(["g++", "-std=c++20", "-O2", "-o", program, os.path.join(HERE, "passing_wire.cc")],
                   check=True)
    return program


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            sys.exit(what)
        time.sleep(0.01)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def wait_port(port):
    wait_for(lambda: listens(port), f"nobody listens on {port}")


def healthy(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answer:
            return answer.status == 200
    except OSError:
        return False


def stop(processes):
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
