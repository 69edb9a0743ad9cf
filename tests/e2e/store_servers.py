"""Real servers that limits can be kept in, each in a folder of its own. Standard library only."""

import glob
import os
import shutil
import signal
import subprocess

from hadal_server import wait_for


class RedisStore:
    def __init__(self, folder):
        self.socket = os.path.join(folder, "redis.sock")
        self.folder = folder
        self.yaml = f"redis: 'unix://{self.socket}'"

    @staticmethod
    def is_installed():
        return shutil.which("redis-server") is not None

    def start(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--save", "", "--unixsocket", self.socket, "--dir", self.folder],
            stdout=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(self.socket), "redis-server does not start")

    def stop(self):
        self.process.kill()
        self.process.wait()


class PostgresStore:
    """Refuses to run as root, who lends it the user that Debian's package made."""

    def __init__(self, folder):
        os.chmod(folder, 0o755)
        self.folder = os.path.join(folder, "postgres")
        os.mkdir(self.folder)
        self.rights = {}
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self.rights = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self.yaml = (f"postgres: 'postgresql:///postgres?user=hadal&host={self.folder}', "
                     "postgres_timeout: 5s")
        subprocess.run([self.program("initdb"), "-D", self.folder + "/data", "-U", "hadal", "-A", "trust",
                        "--no-sync", "--locale=C", "--encoding=UTF8"],
                       stdout=subprocess.DEVNULL, check=True, cwd="/", **self.rights)

    @staticmethod
    def program(name):
        found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
        return found[-1] if found else None

    @staticmethod
    def is_installed():
        return PostgresStore.program("postgres") is not None

    def start(self):
        self.process = subprocess.Popen(
            [self.program("postgres"), "-D", self.folder + "/data", "-k", self.folder,
             "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **self.rights)
        ready = [self.program("pg_isready"), "-h", self.folder, "-q"]
        wait_for(lambda: subprocess.run(ready).returncode == 0, "PostgreSQL does not start")

    def stop(self):
        # As a crash, but the processes that serve connections end first.
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()
