"""Many small runs under random faults: ``python -m tests.faults.soak --minutes 30 --seed 0``.

Each run is hit a few times (its workers, ledger and driver killed, stopped or told to end, its
MLflow server restarted), resumed until it is done, and then held against the undisturbed run: the
same results bit for bit, and every metric point once.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import mlflow

from distributed.cluster import SILENCE
from tests.faults.faults import LEDGER, LONG, WORKER, Job, below, calm, heeds, whole
from tests.servers import MlflowServer

FAULTS_A_RUN = 4
WORDS = [*LONG, "--max-failures", "20"]
SOON = {SILENCE: "4"}


def hit(kind, job, server, chance):
    """Cause a fault; whom it met, or None where there was nobody."""
    what, _, whom = kind.partition(" ")
    number = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}.get(what)
    if whom == "server":
        server.stop()
        time.sleep(chance.uniform(0, 3))
        server.start()
        return server.port
    if whom == "driver":
        number = number or getattr(signal, what)
        if number != signal.SIGKILL and not heeds(job.process.pid, signal.SIGTERM):
            return None
        job.process.send_signal(number)
        return job.process.pid
    there = below(job.process.pid, WORKER if whom == "worker" else LEDGER)
    if not there:
        return None
    pid = chance.choice(there)
    os.kill(pid, number)
    return pid


KINDS = (
    "kill worker", "kill worker", "stop worker", "kill ledger", "stop ledger", "kill driver",
    "SIGTERM driver", "SIGINT driver", "SIGHUP driver", "restart server",
)  # fmt: skip


def one_run(folder, server, chance, say):
    """Run and resume until it is done; how often each fault was caused."""
    caused, resumed = Counter(), 0
    words = ["distributed.cv", *WORDS, "--tracking-uri", server.uri, "--experiment", folder.name]
    while True:
        with Job(folder, *words, **SOON) as job:
            while job.process.poll() is None and caused.total() < FAULTS_A_RUN:
                if job.journal():
                    time.sleep(chance.uniform(0.1, 3))
                    kind = chance.choice(KINDS)
                    met = hit(kind, job, server, chance) if job.process.poll() is None else None
                    if met is not None:
                        caused[kind] += 1
                        say(f"{folder.name}: {kind} {met}, {len(job.journal())} events so far")
                time.sleep(0.2)
            status, errors = job.end(300)
        if status == 0:
            caused["resumed"] = resumed
            return caused
        say(f"{folder.name}: ended with {status}: {errors.strip()}")
        assert errors.count("\n") <= 1, errors
        resumed += 1
        begun = any(folder.glob(".crossfold/*/run.json"))
        words = ["distributed.cv", "--resume"] if begun else words


def main():
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance, start = random.Random(asked.seed), time.monotonic()
    totals, runs = Counter(), 0

    def say(line):
        print(f"{time.monotonic() - start:7.1f} s  {line}", flush=True)

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(root / "cache")
        reference = calm(root / "calm", *WORDS)
        database, files = f"sqlite:///{root}/server.db", ["--artifacts-destination", root / "files"]
        with MlflowServer(root, database, *files) as server:
            while time.monotonic() - start < 60 * asked.minutes:
                folder = root / f"run-{runs}"
                folder.mkdir()
                caused = one_run(folder, server, chance, say)
                client = mlflow.MlflowClient(server.uri, server.uri)
                whole(folder, reference, client=client)
                say(f"{folder.name}: as the calm run; {dict(caused)}")
                totals += caused
                runs += 1
    say(f"{runs} runs, all as the calm one; faults: {dict(totals)}")


if __name__ == "__main__":
    main()
