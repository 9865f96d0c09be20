"""A service that lets processes share a GPU: for one command, ended with it, and only where it can be.

The driver's programs are stood in for by scripts that note what they are asked.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from lib import gpu_sharing, settings

CONTROL = """#!/bin/sh
if [ "$1" = -d ]; then echo "start $CUDA_MPS_PIPE_DIRECTORY" >> "{log}"; exit {status}; fi
read word; echo "$word $CUDA_MPS_PIPE_DIRECTORY" >> "{log}"
"""
SHOW = "import os, sys; print(os.environ.get('CUDA_MPS_PIPE_DIRECTORY'), flush=True)"


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A machine with a card; returns what its service was asked."""
    log = tmp_path / "asked.txt"

    def machine(status=0, card="GPU 0: a card"):
        for name, text in (("nvidia-cuda-mps-control", CONTROL.format(log=log, status=status)),
                           ("nvidia-smi", f"#!/bin/sh\necho '{card}'\n")):  # fmt: skip
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv(gpu_sharing.PIPE, raising=False)
        monkeypatch.setattr(gpu_sharing, "ASK", "pass")
        return lambda: log.read_text().split() if log.exists() else []

    return machine


def test_a_command_runs_behind_a_service_of_its_own(driver, capfd):
    asked = driver()
    assert gpu_sharing.able()
    assert gpu_sharing.run([sys.executable, "-c", f"{SHOW}; sys.exit(3)"]) == 3
    out, err = capfd.readouterr()
    folder = out.strip()
    assert asked() == ["start", folder, "quit", folder]
    assert not os.path.exists(folder) and err == ""


def test_two_services_do_not_meet(driver):
    asked = driver()
    with gpu_sharing.service() as one, gpu_sharing.service() as other:
        assert one[gpu_sharing.PIPE] != other[gpu_sharing.PIPE]
        assert os.path.isdir(one[gpu_sharing.PIPE]) and os.path.isdir(one[gpu_sharing.LOG])
    assert asked()[-4:] == ["quit", other[gpu_sharing.PIPE], "quit", one[gpu_sharing.PIPE]]


@pytest.mark.parametrize("ask, status", [("pass", 1), ("raise SystemExit(1)", 0)])
def test_without_a_service_that_serves_the_command_runs_all_the_same(driver, monkeypatch, capfd, ask, status):
    asked = driver(status)
    monkeypatch.setattr(gpu_sharing, "ASK", ask)
    assert gpu_sharing.run([sys.executable, "-c", SHOW]) == 0
    out, err = capfd.readouterr()
    assert out.strip() == "None" and "did not start" in err
    assert asked()[::2] == ["start", "quit"]


def test_nothing_is_shared_without_a_card_or_beside_a_service_that_runs(driver, monkeypatch):
    driver(card="No devices were found")
    assert not gpu_sharing.able()
    driver()
    assert gpu_sharing.able()
    monkeypatch.setenv(gpu_sharing.PIPE, "/elsewhere")
    assert not gpu_sharing.able()
    assert not gpu_sharing.able({"PATH": ""})


def module(*words, **more):
    command = [sys.executable, "-m", "lib.gpu_sharing", *words]
    return subprocess.Popen(command, cwd=settings.ROOT, text=True, stdout=subprocess.PIPE, **more)


def test_the_command_line_passes_on_what_the_command_says_and_how_it_ends():
    plain = {"env": os.environ | {"PATH": ""}}
    found = module(sys.executable, "-c", "print('said'); raise SystemExit(7)", **plain)
    assert found.communicate()[0] == "said\n" and found.returncode == 7
    found = module(**plain, stderr=subprocess.STDOUT)
    assert "usage" in found.communicate()[0] and found.returncode == 2


def test_the_command_is_told_to_stop(driver):
    """An interrupt ends the command first, then the service."""
    asked = driver()
    code = "import sys; from lib import gpu_sharing as g; g.ASK = 'pass'; sys.exit(g.main(sys.argv[1:]))"
    wait = f"{SHOW}; import time; time.sleep(60)"
    begun = time.monotonic()
    found = subprocess.Popen(
        [sys.executable, "-c", code, sys.executable, "-c", wait], cwd=settings.ROOT, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    folder = found.stdout.readline().strip()
    found.send_signal(signal.SIGTERM)
    assert found.wait(timeout=30) == 128 + signal.SIGTERM
    assert asked() == ["start", folder, "quit", folder] and time.monotonic() - begun < 30
