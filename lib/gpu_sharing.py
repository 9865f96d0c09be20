"""Several processes at work on one NVIDIA GPU at once: `python -m lib.gpu_sharing COMMAND ...`.

The notebooks of a profile run side by side, each a process of its own. A card gives processes turns; behind
NVIDIA's Multi-Process Service their kernels run at the same time, without which small networks leave a large
card idle. This starts a service for one command and ends it with it. Nothing of the card's settings is
changed. Where there is nothing to share (no NVIDIA GPU, no nvidia-cuda-mps-control, a card chosen with
CUDA_VISIBLE_DEVICES, a service that runs already, one that does not come up) the command runs as it is.
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
CHOSEN = "CUDA_VISIBLE_DEVICES"  # counts cards anew behind a service; empty: no card is wanted
USUAL = Path("/tmp/nvidia-mps")  # where a service lies that nobody gave a place
STARTS, ENDS = 60, 20  # seconds at most for a step of its start, and for its end
ASK = "import torch; assert torch.ones(2, device='cuda').sum().item() == 2"  # makes the service serve
NOT_FOUND = 127  # exit status of a command that there is not


def able(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this machine has a GPU that nobody chose among others, the service, and none that runs."""
    path = environment.get("PATH", "")
    taken = PIPE in environment or CHOSEN in environment or _signalled(USUAL, 0)
    return not taken and bool(shutil.which(CONTROL, path=path)) and _has_gpu(path)


def _signalled(pipes: Path, number: int) -> bool:
    """Whether the process that a service noted among its pipes is there; it gets a signal (0: none)."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((pipes / f"{CONTROL}.pid").read_text()), number)
        return True
    return False


def _has_gpu(path: str) -> bool:
    """Whether the driver lists a card: asked of nvidia-smi, as importing PyTorch takes seconds."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if command := shutil.which("nvidia-smi", path=path):
            found = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=STARTS)
            return found.returncode == 0 and "GPU 0" in found.stdout
    return False


@contextlib.contextmanager
def service() -> Iterator[dict[str, str] | None]:
    """Environment of processes that share the card while the context lasts; None where it did not start,
    and a line on stderr that says why.

    The service has folders of its own (the path of a socket must be short, so not in the checkout).
    """
    with tempfile.TemporaryDirectory(prefix="mps", ignore_cleanup_errors=True) as folder:
        own = {**os.environ, PIPE: str(Path(folder, "pipe")), LOG: str(Path(folder, "log"))}
        for name in (PIPE, LOG):
            Path(own[name]).mkdir()
        ended = False
        try:
            if obstacle := _start(own):
                print(f"the GPU is shared in turns, {obstacle}", file=sys.stderr)
                _end(own)
                ended = True
            yield None if obstacle else own
        finally:  # also of whatever stopped it while it started
            if not ended:
                _end(own)


def _start(own: Mapping[str, str]) -> str:
    """Start the service and let it serve; why it does not, empty if it does."""
    if _run([CONTROL, "-d"], own) is None:
        return f"{CONTROL} -d failed{_last_words(own)}"
    if _run([sys.executable, "-c", ASK], own) is None:
        return f"PyTorch cannot compute behind NVIDIA's Multi-Process Service{_last_words(own)}"
    # a process computes without the service, too, if that is not there
    return "" if (_run([CONTROL], own, "get_server_list\n") or "").strip() else f"no server{_last_words(own)}"


def _last_words(own: Mapping[str, str]) -> str:
    with contextlib.suppress(OSError, IndexError):
        log = Path(own[LOG], "control.log").read_text(encoding="utf-8", errors="replace")
        return f": {log.strip().splitlines()[-1]}"
    return ""


def _end(own: Mapping[str, str]) -> None:
    """End the service, if there is one: by its own word, else the process that it noted."""
    if _run([CONTROL], own, "quit\n", ENDS) is None:
        _signalled(Path(own[PIPE]), signal.SIGTERM)


def _run(words: Sequence[str], own: Mapping[str, str], text: str = "", seconds: int = STARTS) -> str | None:
    """What a command of the service says; None if it fails or takes longer.

    Its output goes to a file, as a daemon would keep a pipe open, and it has a session of its own: an
    interrupt at the terminal is not for it.
    """
    command = shutil.which(words[0], path=own.get("PATH")) or words[0]
    with tempfile.TemporaryFile("w+") as said, contextlib.suppress(OSError, subprocess.TimeoutExpired):
        found = subprocess.run(
            [command, *words[1:]], env=own, input=text, text=True, timeout=seconds, stdout=said,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        said.seek(0)
        return said.read() if found.returncode == 0 else None
    return None


def run(words: Sequence[str]) -> int:
    """Exit status of a command that runs behind a service of its own.

    A signal while it runs is passed on (a terminal sends its own to the command too); one before ends all.
    """
    child, over = None, False

    def told(number: int, frame: object) -> None:
        if child is not None:
            if number not in (signal.SIGINT, signal.SIGQUIT):
                child.send_signal(number)
        elif not over:
            raise SystemExit(128 + number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
    before = {number: signal.signal(number, told) for number in heard}
    try:
        with service() as environment:
            try:
                child = subprocess.Popen(words, env=environment)
                status = child.wait()
            except FileNotFoundError as error:
                print(error, file=sys.stderr)
                status = NOT_FOUND
            finally:
                over = True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def main(words: Sequence[str]) -> int:
    """Command line: the command and its arguments."""
    if not words:
        print("usage: python -m lib.gpu_sharing COMMAND ...", file=sys.stderr)
        return 2
    if able():
        return run(words)
    sys.stdout.flush()
    try:
        os.execvp(words[0], list(words))
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", file=sys.stderr)
    return NOT_FOUND


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
