"""How `benchmarks.bench` talks to its workers: one process a variant, JSON lines over its pipes.

A worker starts, warms up, says {"ready": ...} and then answers one line a request until its input ends.
Every variant has a process of its own, so allocator settings, thread pools and TensorFlow cannot leak
from one into another; only one at a time is asked, so the others sleep. Standard library only, because
the worker of Keras runs where nothing of this project is installed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

from benchmarks import ROOT

PATIENCE = 900.0  # seconds that a worker may take for one answer; then it is stopped


def torch_worker(job: str, *words: str) -> list[str]:
    """The command of a worker that computes with PyTorch (`bench_torch`)."""
    return [sys.executable, "-m", "benchmarks.bench_torch", job, *words]


class WorkerError(RuntimeError):
    """A worker that cannot measure, with its reason in one line."""


class Line:
    """The worker's end: `answer` writes a line, `requests` reads them until the driver closes the pipe."""

    def __init__(self):
        # What a library prints must not end up between the answers: it goes to standard error. And no
        # process that a library starts may read the requests: it finds an empty standard input.
        self._in = os.fdopen(os.dup(0), "r", encoding="utf-8")
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def answer(self, **values) -> None:
        self._out.write(json.dumps(values) + "\n")
        self._out.flush()

    def requests(self) -> Iterator[dict]:
        for text in self._in:
            yield json.loads(text)

    def answer_all(self, about: dict, measure: Callable[[dict], dict]) -> None:
        """Say that the warm-up is over, then measure whatever is asked."""
        self.answer(ready=about)
        for request in self.requests():
            self.answer(**measure(request))


def serve(work: Callable[[Line], None]) -> None:
    """Run a worker: `work` warms up and answers. What stops it is told to the driver in one line."""
    line = Line()
    try:
        work(line)
    except Exception as error:
        line.answer(error=f"{type(error).__name__}: {error}".splitlines()[0])
        raise SystemExit(1) from error


class Worker:
    """The driver's end. A context manager: leaving it ends the process.

    Raises WorkerError where the process says that it failed, dies, or cannot be started.
    """

    def __init__(self, command: list[str], name: str):
        self.name = name
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}
        try:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise WorkerError(f"{name}: {error.strerror or error}") from None
        self._about: dict | None = None

    def about(self) -> dict:
        """What the worker says of itself; waits for the end of its warm-up."""
        if self._about is None:
            self._about = self._read()["ready"]
        return self._about

    def ask(self, **request) -> dict:
        """One measurement."""
        self.begin(**request)
        return self.finish()

    def begin(self, **request) -> None:
        """Ask for a measurement, and do not wait for it."""
        self.about()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            pass  # it died; what it said last is read by `finish`

    def finish(self) -> dict:
        """The measurement that `begin` asked for."""
        return self._read()

    def _read(self) -> dict:
        late = threading.Timer(PATIENCE, self._process.kill)
        late.start()
        try:
            text = self._process.stdout.readline()
            while text and not text.startswith("{"):  # said while modules were imported, before `Line` stood
                text = self._process.stdout.readline()
        finally:
            waiting = late.is_alive()
            late.cancel()
        if not text and not waiting:
            raise WorkerError(f"{self.name}: no answer within {PATIENCE:,.0f} s")
        if not text:
            self._log.seek(0)
            said = self._log.read().strip().splitlines() or ["no word"]
            raise WorkerError(f"{self.name}: ended with code {self._process.wait()} ({said[-1][:200]})")
        found = json.loads(text)
        if "error" in found:
            raise WorkerError(f"{self.name}: {found['error'][:300]}")
        return found

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        with contextlib.suppress(OSError):  # it died with a request unread
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
