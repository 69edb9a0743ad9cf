"""What every kept result says beside its figures: the machine, the commit, the day. Standard library only."""

import datetime
import json
import os
import platform
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def machine():
    with open("/proc/cpuinfo") as info:
        found = re.search(r"^model name\s*:\s*(.+)$", info.read(), re.M)
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {"cpu": found[1] if found else platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(pages * size / 2**30, 1), "kernel": platform.release()}


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"],
                          capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def ceilings(hadal, threads=None):
    """Read bandwidth and int8 peak, measured now on the embedded model's few megabytes."""
    line = [hadal, "bench", "--json", "--prefill", "0", "--batch", "1", "--decode", "1", "--repeats", "1"]
    if threads:
        line += ["--threads", str(threads)]
    report = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
    return {"read_bandwidth": report["read_bandwidth"], "int8_peak": report["int8_peak"]}


def keep(kind, name, result, path=None):
    """Writes the result as JSON and returns where: bench/results/DATE-KIND-NAME.json unless `path` says."""
    today = datetime.date.today().isoformat()
    if path is None:
        slug = re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-")
        path = os.path.join(ROOT, "bench", "results", f"{today}-{kind}-{slug}.json")
    whole = {"kind": kind, "name": name, "date": today, "machine": machine(), "commit": commit(), **result}
    with open(path, "w") as file:
        json.dump(whole, file, indent=1)
        file.write("\n")
    return path
