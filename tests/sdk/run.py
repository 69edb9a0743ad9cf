"""Installs the clients of package-lock.json into a build folder and runs *.test.mjs against a server.

    run.py HADAL FOLDER

Exit status 77 where Node.js 20 or the packages are not to be had: a test that is skipped.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
from hadal_server import Server  # noqa: E402

SKIPPED = 77


def skip(reason):
    print(f"sdk: skipped: {reason}")
    sys.exit(SKIPPED)


def install_packages(source, folder, how="ci"):
    """npm ci (or install) of what source/package-lock.json names, once per lock file."""
    if not shutil.which("node") or not shutil.which("npm"):
        skip("there is no node and npm")
    folder.mkdir(parents=True, exist_ok=True)
    lock = (source / "package-lock.json").read_text()
    done = folder / "installed"
    if not done.exists() or done.read_text() != lock:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(source / name, folder / name)
        try:
            result = subprocess.run(["npm", how, "--ignore-scripts"], cwd=folder, timeout=240,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except subprocess.TimeoutExpired:
            skip(f"npm {how} took more than 240 s")
        if result.returncode != 0:
            lines = [line for line in result.stdout.splitlines() if "error" in line]
            skip(f"npm {how} failed: " + (lines[0] if lines else "no reason given"))
        done.write_text(lock)


def install(folder):
    install_packages(HERE, folder)
    for test in HERE.glob("*.mjs"):
        shutil.copy(test, folder / test.name)


def main():
    binary, folder = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    if not shutil.which("node"):
        skip("there is no node")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < 20:
        skip(f"node {version} is older than 20")
    install(folder)
    with tempfile.TemporaryDirectory() as batches, \
            Server(binary, "--context", "1024", "--max-sequences", "8", "--batch-dir", batches) as server:
        environment = {**os.environ, "HADAL_URL": f"http://127.0.0.1:{server.port}"}
        tests = sorted(str(test) for test in folder.glob("*.test.mjs"))
        status = subprocess.run(["node", "--test", "--test-concurrency=1", *tests], cwd=folder,
                                env=environment, timeout=500).returncode
    sys.exit(status)


if __name__ == "__main__":
    main()
