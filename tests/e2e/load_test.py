"""Many clients at once, some of whom leave: every complete answer is the one the request gets alone.
dev/soak runs the same for hours."""

import os
import sys
import unittest

from hadal_server import Server
from swarm import Swarm

BINARY = os.path.abspath(sys.argv.pop(1) if len(sys.argv) > 1 else "build/release/hadal")


class Load(unittest.TestCase):
    def test_64_clients(self):
        with Server(BINARY, "--max-sequences", "16", "--threads", "2") as server:
            swarm = Swarm(server, clients=64, distinct=24, seed=1)
            swarm.learn()
            swarm.run(rounds=3)
            self.assertEqual(swarm.failures, [])
            self.assertGreater(swarm.complete, 64)
            self.assertGreater(swarm.left, 10)
            server.wait_metric("vllm:num_requests_running", 0)
            server.wait_metric("vllm:num_requests_waiting", 0)
            server.wait_metric("vllm:kv_cache_usage_perc", 0)
            server.terminate()
            self.assertEqual(server.wait_exit(), 0)


if __name__ == "__main__":
    unittest.main()
