"""A service that lets processes share a GPU: for one command, ended with it, and only where it can be.

The driver's programs are stood in for by scripts: the service is a process that waits, and notes what it is
asked.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lib import gpu_sharing, settings

CONTROL = """#!/bin/sh
at="$CUDA_MPS_PIPE_DIRECTORY/nvidia-cuda-mps-control.pid"
if [ "$1" = -d ]; then
  echo "start $CUDA_MPS_PIPE_DIRECTORY" >> "{log}"
  echo "words of the service" > "$CUDA_MPS_LOG_DIRECTORY/control.log"
  [ {starts} = 0 ] || exit {starts}
  setsid sleep 600 < /dev/null > /dev/null 2>&1 &
  echo $! > "$at"; echo $! >> "{log}.pids"; exit 0
fi
read word
if [ "$word" = get_server_list ]; then echo "{servers}"; exit 0; fi
echo "$word $CUDA_MPS_PIPE_DIRECTORY" >> "{log}"
sleep {slow}
[ {quits} = 0 ] || exit {quits}
kill $(cat "$at")
"""
SHOW = "import os; print(os.environ.get('CUDA_MPS_PIPE_DIRECTORY'), flush=True)"
WAIT = f"{SHOW}; import time; time.sleep(60)"
# a child of its own, as the signals of a person come: `ask` stands for PyTorch
ALONE = "import sys; from lib import gpu_sharing as g; g.ASK = {ask!r}; sys.exit(g.main(sys.argv[1:]))"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the service is there on Linux alone")


class Machine:
    """A machine with a card and its driver's programs."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "asked.txt"

    def install(self, starts=0, quits=0, slow=0, servers="41", card="GPU 0: a card", status=0):
        told = {"log": self.log, "starts": starts, "quits": quits, "slow": slow, "servers": servers}
        smi = f"#!/bin/sh\necho '{card}'; exit {status}\n"
        for name, text in (("nvidia-cuda-mps-control", CONTROL.format(**told)), ("nvidia-smi", smi)):
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o755)
        return self

    def asked(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []

    def running(self) -> list[int]:
        """Services that are still there."""
        pids = Path(f"{self.log}.pids")
        return [int(pid) for pid in pids.read_text().split() if there(int(pid))] if pids.exists() else []

    def left(self) -> list[int]:
        """Services that are still there when they have had time to end."""
        until = time.monotonic() + 10
        while self.running() and time.monotonic() < until:
            time.sleep(0.02)
        return self.running()


def there(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


@pytest.fixture
def machine(tmp_path, monkeypatch):
    for name in (gpu_sharing.PIPE, gpu_sharing.CHOSEN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(settings.ROOT))
    monkeypatch.setattr(gpu_sharing, "ASK", "pass")
    found = Machine(tmp_path)
    yield found
    for pid in found.running():
        os.kill(pid, signal.SIGKILL)


def test_a_command_runs_behind_a_service_of_its_own(machine, capfd):
    machine.install()
    assert gpu_sharing.able()
    assert gpu_sharing.run([sys.executable, "-c", f"{SHOW}; raise SystemExit(3)"]) == 3
    out, err = capfd.readouterr()
    folder = out.strip()
    assert machine.asked() == ["start", folder, "quit", folder]
    assert not os.path.exists(folder) and err == "" and machine.left() == []


def test_two_services_do_not_meet(machine):
    machine.install()
    with gpu_sharing.service() as one, gpu_sharing.service() as other:
        assert one[gpu_sharing.PIPE] != other[gpu_sharing.PIPE] and len(machine.running()) == 2
        assert os.path.isdir(one[gpu_sharing.PIPE]) and os.path.isdir(one[gpu_sharing.LOG])
    assert machine.asked()[-4:] == ["quit", other[gpu_sharing.PIPE], "quit", one[gpu_sharing.PIPE]]


@pytest.mark.parametrize("ask, driver, why", [
    ("pass", {"starts": 1}, "-d failed: words of the service"),
    ("raise SystemExit(1)", {}, "PyTorch cannot compute"),
    ("pass", {"servers": ""}, "no server"),  # PyTorch computes without the service, too
])  # fmt: skip
def test_without_a_service_that_serves_the_command_runs_all_the_same(
    machine, monkeypatch, capfd, ask, driver, why
):
    machine.install(**driver)
    monkeypatch.setattr(gpu_sharing, "ASK", ask)
    assert gpu_sharing.run([sys.executable, "-c", SHOW]) == 0
    out, err = capfd.readouterr()
    assert out.strip() == "None" and "in turns" in err and why in err and len(err.splitlines()) == 1
    assert machine.asked()[::2] == ["start", "quit"] and machine.left() == []


def test_nothing_is_shared_without_a_card_or_where_others_decided(machine, monkeypatch, tmp_path):
    for driver in ({"card": "No devices were found"}, {"status": 9}):
        machine.install(**driver)
        assert not gpu_sharing.able()
    machine.install()
    assert gpu_sharing.able()
    for name, value in (("PIPE", "/elsewhere"), ("CHOSEN", ""), ("CHOSEN", "1")):
        name = getattr(gpu_sharing, name)
        assert not gpu_sharing.able(os.environ | {name: value})
    assert not gpu_sharing.able({"PATH": ""})
    monkeypatch.setattr(gpu_sharing, "USUAL", tmp_path)  # a service that nobody gave a place
    (tmp_path / "nvidia-cuda-mps-control.pid").write_text(str(os.getpid()))
    assert not gpu_sharing.able()
    (tmp_path / "nvidia-cuda-mps-control.pid").write_text("no number")
    assert gpu_sharing.able()


def begun(ask="pass", code=WAIT):
    words = [sys.executable, "-c", ALONE.format(ask=ask), sys.executable, "-c", code]
    return subprocess.Popen(
        words, cwd=settings.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, preexec_fn=heard,
    )  # fmt: skip


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def heard():
    """As at a terminal: tests that were begun in the background, or by nohup, ignore some of them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_command_then_the_service(machine, number):
    machine.install()
    found = begun()
    folder = found.stdout.readline().strip()
    assert machine.running() and machine.asked() == ["start", folder]
    os.killpg(found.pid, number)  # as a terminal does
    _, err = found.communicate(timeout=30)
    assert found.returncode == 128 + number and "gpu_sharing" not in err
    assert machine.asked() == ["start", folder, "quit", folder] and machine.left() == []


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_the_service_starts_leaves_none(machine, number):
    machine.install()
    found = begun(ask="import time; time.sleep(20)")
    while not machine.running():
        assert found.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(found.pid, number)
    assert found.wait(timeout=15) == 128 + number
    assert machine.left() == [] and machine.asked()[::2] == ["start", "quit"]


def test_an_impatient_person_leaves_no_service(machine):
    """A second interrupt while the service is being ended."""
    machine.install(slow=2)
    found = begun()
    found.stdout.readline()
    os.killpg(found.pid, signal.SIGINT)
    while "quit" not in machine.asked():
        time.sleep(0.05)
    os.killpg(found.pid, signal.SIGINT)
    found.communicate(timeout=30)
    assert machine.left() == []


def test_a_service_that_does_not_take_its_leave_is_ended(machine):
    machine.install(quits=1)
    assert gpu_sharing.run([sys.executable, "-c", "pass"]) == 0
    assert machine.left() == []


def module(*words, **more):
    command = [sys.executable, "-m", "lib.gpu_sharing", *words]
    found = subprocess.run(command, cwd=settings.ROOT, text=True, capture_output=True, timeout=60, **more)
    return found.returncode, found.stdout, found.stderr


def test_the_command_line_passes_on_what_the_command_says_and_how_it_ends(machine):
    plain = {"env": os.environ | {gpu_sharing.CHOSEN: ""}}  # without a service
    assert module(sys.executable, "-c", "print('said'); raise SystemExit(7)", **plain)[:2] == (7, "said\n")
    status, _, err = module(**plain)
    assert status == 2 and "usage" in err
    status, _, err = module("no-such-command", **plain)
    assert status == 127 and len(err.splitlines()) == 1 and "no-such-command" in err


def test_a_command_that_there_is_not_is_one_line_behind_a_service_too(machine, capfd):
    machine.install()
    assert gpu_sharing.run(["no-such-command"]) == 127
    assert len(capfd.readouterr().err.splitlines()) == 1 and machine.left() == []
