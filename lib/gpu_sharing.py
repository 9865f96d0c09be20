"""Several processes at work on one NVIDIA GPU at once: `python -m lib.gpu_sharing COMMAND ...`.

The notebooks of a profile run side by side, each a process of its own. A card gives processes turns; behind
NVIDIA's Multi-Process Service their kernels run at the same time, without which small networks leave a large
card idle. This starts a service for one command and ends it with it. Nothing of the card's settings is
changed. Where there is nothing to share (no NVIDIA GPU, no nvidia-cuda-mps-control, a service that runs
already, one that does not come up) the command runs as it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"
PIPE, LOG = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
STARTS, ENDS = 60, 20  # seconds at most until it serves, until it is gone
# Whether a process can compute behind the service.
ASK = "import torch; assert torch.ones(2, device='cuda').sum().item() == 2"


def able(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this machine has a GPU, the service, and none that runs already."""
    path = environment.get("PATH", "")
    return bool(shutil.which(CONTROL, path=path)) and PIPE not in environment and _has_gpu(path)


def _has_gpu(path: str) -> bool:
    """Whether the driver lists a card: asked of nvidia-smi, as importing PyTorch takes seconds."""
    command = shutil.which("nvidia-smi", path=path)
    if not command:
        return False
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        found = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=STARTS)
        return found.returncode == 0 and "GPU 0" in found.stdout
    return False


@contextlib.contextmanager
def service(environment: Mapping[str, str] = os.environ) -> Iterator[dict[str, str] | None]:
    """Environment of processes that share the card while the context lasts; None where it did not start.

    The service has folders of its own (the path of a socket must be short, so not in the checkout).
    """
    with tempfile.TemporaryDirectory(prefix="mps", ignore_cleanup_errors=True) as folder:
        own = {**environment, PIPE: str(Path(folder, "pipe")), LOG: str(Path(folder, "log"))}
        for name in (PIPE, LOG):
            Path(own[name]).mkdir()
        serving = False
        try:
            serving = _run([CONTROL, "-d"], own) and _run([sys.executable, "-c", ASK], own)
            if not serving:
                _run([CONTROL], own, "quit\n", ENDS)
            yield own if serving else None
        finally:
            if serving:
                _run([CONTROL], own, "quit\n", ENDS)


def _run(words: Sequence[str], environment: Mapping[str, str], text: str = "", seconds: int = STARTS) -> bool:
    """Whether a command that should say nothing ended well, and in time."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # a daemon would keep a pipe open
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        words = [shutil.which(words[0], path=environment.get("PATH")) or words[0], *words[1:]]
        found = subprocess.run(words, env=environment, input=text, text=True, timeout=seconds, **quiet)
        return found.returncode == 0
    return False


def run(words: Sequence[str]) -> int:
    """Exit status of a command that runs behind a service of its own; interrupts are the command's affair."""
    with service() as environment:
        if environment is None:
            print("one GPU, shared in turns: NVIDIA's Multi-Process Service did not start", file=sys.stderr)
        child = subprocess.Popen(words, env=environment)
        handlers = {}
        for number in (signal.SIGTERM, signal.SIGINT):  # Ctrl-C reaches the child by itself
            handlers[number] = signal.signal(
                number, lambda n, frame: child.send_signal(n) if n == signal.SIGTERM else None
            )
        try:
            status = child.wait()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def main(words: Sequence[str]) -> int:
    """Command line: the command and its arguments."""
    if not words:
        print("usage: python -m lib.gpu_sharing COMMAND ...", file=sys.stderr)
        return 2
    if not able():
        sys.stdout.flush()
        os.execvp(words[0], list(words))
    return run(words)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
