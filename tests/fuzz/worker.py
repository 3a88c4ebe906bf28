"""``python -m tests.fuzz.worker COUNT SEED READER...``: readers against damaged files.

Runs in an empty folder, which it may write to and nothing else. Prints a line of JSON a reader.
"""

import json
import os
import resource
import sys
import time
import traceback
import warnings
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from folds.errors import UserError
from folds.text import shown
from tests.fuzz.readers import readers

MOST_SECONDS = 5  # of the processor, an input
MEMORY = 3 * 2**30  # bytes, beside what the imports take
_RUN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen",
        "socket.connect", "pickle.find_class")  # fmt: skip
_WRITTEN = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod",
            "os.truncate", "shutil.rmtree")  # fmt: skip
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """Notes whatever runs a program, unpickles, or writes outside of a folder."""

    def __init__(self, folder):
        self.folder, self.seen, self.on = os.path.realpath(folder), [], False
        sys.addaudithook(self._note)

    def _note(self, event, args):
        if not self.on:
            return
        if event in _RUN:
            self.seen.append(f"{event} {args}"[:200])
        elif event in _WRITTEN or (
            event == "open" and isinstance(args[2], int) and args[2] & _WRITES
        ):
            path = args[0]
            if isinstance(path, str | bytes | os.PathLike):
                place = os.path.realpath(os.fsdecode(path))
                if not place.startswith(self.folder) and place != os.devnull:
                    self.seen.append(f"{event} {place}"[:200])


class Fuzz:
    """One reader, its failures by where they are."""

    def __init__(self, reader, folder, watch):
        self.reader, self.folder, self.watch = reader, folder, watch
        self.inputs, self.refused, self.slowest, self.failures = 0, 0, 0.0, {}
        for name, content in {reader.file: b"", **reader.others}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def try_one(self, content):
        """Read one input; keep the first that fails in each way."""
        (self.folder / self.reader.file).write_bytes(content)
        self.inputs += 1
        began, self.watch.seen, self.watch.on = time.process_time(), [], True
        problem = None
        try:
            self.reader.read(self.folder)
        except (UserError, *self.reader.allowed) as error:
            self.refused += 1
            lines = shown(str(error)).splitlines()  # what a command does with the rest of names
            if isinstance(error, UserError) and len(lines) != 1:
                problem = f"{len(lines)} lines: {error}"
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)
            ours = [f for f in where if "site-packages" not in f.filename] or where
            problem = f"{type(error).__name__} at {ours[-1].name}:{ours[-1].lineno}: {error}"
        finally:
            self.watch.on = False
        seconds = time.process_time() - began
        self.slowest = max(self.slowest, seconds)
        if seconds > MOST_SECONDS:
            problem = f"{MOST_SECONDS} s are not enough"
        if self.watch.seen:
            problem = f"did {self.watch.seen[0]}"
        if problem:
            key = problem.partition(": ")[0]
            if key not in self.failures:
                kept = Path(f"failure-{len(list(Path.cwd().iterdir()))}")
                kept.write_bytes(content)
                self.failures[key] = f"{problem[:300]!r}, input in {kept.absolute()}"


def fuzz(name, reader, watch, count, number):
    """Try so many inputs, and tell what came of it."""
    folder = Path(name.replace(" ", "-").replace(",", "")).absolute()
    one, began = Fuzz(reader, folder, watch), time.monotonic()
    one.try_one(reader.sound)
    sound = not (one.refused or one.failures)

    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(reader.damaged)
    def run(content):
        one.try_one(content)

    run()
    return {
        "reader": name, "sound": sound, "inputs": one.inputs, "refused": one.refused,
        "seconds": round(time.monotonic() - began, 1), "slowest": round(one.slowest, 2),
        "failures": list(one.failures.values()),
    }  # fmt: skip


def main():
    """See the module."""
    count, number, *names = sys.argv[1:]
    sys.dont_write_bytecode = True
    warnings.simplefilter("ignore")
    every = readers()
    here = Path.cwd()
    watch = Watch(here)
    if (memory := Path("/proc/self/statm")).exists():
        most = int(memory.read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for name in names or every:
        print(f"begins {name}", flush=True)
        print(json.dumps(fuzz(name, every[name], watch, int(count), int(number))), flush=True)


if __name__ == "__main__":
    main()
