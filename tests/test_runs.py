"""How files are written: whole or not at all, and what is said when the disk refuses."""

import errno
import os
import pickle
import resource
import signal
import time
import tracemalloc

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from lib import runs
from lib.runs import InputError, MissingStep, WriteError, atomic_path


def full(*arguments, **named):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def small_files():
    """No file of this process may grow over 4 kB: a real refusal of the system, in every writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


WRITERS = {
    "text": lambda path: runs.write_text(path, "x" * 9000),
    "json": lambda path: runs.write_json(path, list(range(5000))),
    "array": lambda path: runs.write_array(path, np.zeros(5000)),
    "table": lambda path: runs.write_table(path, pd.DataFrame({"a": range(5000)})),
    "weights": lambda path: runs.write_weights(path, {"a": torch.zeros(5000)}),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_what_cannot_be_written_is_named_and_nothing_stays(tmp_path, small_files, kind):
    path = tmp_path / "a file"
    path.write_text("old")
    with pytest.raises(WriteError) as caught:
        WRITERS[kind](path)
    said = str(caught.value)
    assert said.startswith(f"{path}: found ") and said.endswith(", expected a file that can be written")
    assert "\n" not in said
    assert os.listdir(tmp_path) == ["a file"] and path.read_text() == "old"
    if kind != "array":  # NumPy says how much it wrote, not why no more
        assert caught.value.errno == errno.EFBIG


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        runs.write_text(tmp_path / "a.txt", "x")
    place = tmp_path / "a.txt"
    assert str(caught.value) == f"{place}: found a full disk (No space left on device), expected room for it"
    assert isinstance(caught.value, InputError) and caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "error", [RuntimeError("unexpected pos 704 vs 598"), OSError("9 requested and 2 written")]
)
def test_a_library_that_does_not_say_why(tmp_path, monkeypatch, error):
    """torch.save and NumPy: with no room left it was the disk; else their own words stay."""

    def write():
        with atomic_path(tmp_path / "a.pt"):
            raise error

    with pytest.raises(type(error), match="704|9 requested"):
        write()
    monkeypatch.setattr(runs.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    with pytest.raises(WriteError, match=r"a\.pt: found a full disk \(No space left on device\)"):
        write()
    assert os.listdir(tmp_path) == []


def test_other_errors_go_on_as_they_are(tmp_path):
    for error in (InputError("x", "y", "z"), KeyError("k"), FileNotFoundError(2, "No such file", "b.txt")):
        with pytest.raises(type(error)) as caught, atomic_path(tmp_path / "a"):
            raise error
        assert caught.value is error
    assert os.listdir(tmp_path) == []


def test_two_files_at_once_name_one(tmp_path):
    with pytest.raises(WriteError, match=r"inner: found a full disk"):
        with atomic_path(tmp_path / "outer"), atomic_path(tmp_path / "inner"):
            full()
    assert os.listdir(tmp_path) == []


def test_a_target_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WriteError, match=r"file/a\.txt: found "):
        runs.write_text(tmp_path / "file" / "a.txt", "x")
    (tmp_path / "folder" / "b").mkdir(parents=True)
    with pytest.raises(WriteError, match=r"folder: found Is a directory"):
        runs.write_text(tmp_path / "folder", "x")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("error", [
    InputError("a.txt", "x", "y", 3), MissingStep("a.npz", "make reproduce"),
    WriteError("a.npy", OSError(errno.ENOSPC, "No space left on device")),
])  # fmt: skip
def test_errors_of_worker_processes_arrive(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)
    assert (again.where, again.line) == (error.where, error.line)


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path):
    file, asked = tmp_path / "values", []

    @runs.kept_until_changed
    def values(path):
        asked.append(path)
        return [path.read_text()]

    def write(text, age):
        file.write_text(text)
        os.utime(file, (time.time() - age,) * 2)

    write("one", 60)
    values(file).append("a caller's own")
    assert values(file) == ["one"] and len(asked) == 1  # and nobody sees what another did with it
    write("two", 30)
    assert values(file) == ["two"] and len(asked) == 2
    for text in ("new", "old"):  # within one tick of the clock: nothing of the file tells the second
        write(text, 0)
        assert values(file) == [text]
    assert len(asked) == 4
    file.unlink()
    with pytest.raises(FileNotFoundError):
        values(file)


def test_a_notebook_is_read_with_whole_sources(tmp_path):
    path = tmp_path / "a.ipynb"
    cells = [nbformat.v4.new_code_cell("a = 1\nb = 2"), nbformat.v4.new_markdown_cell("words")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert '"a = 1\\n",' in path.read_text()  # as lines in the file
    assert [cell["source"] for cell in runs.read_notebook(path)["cells"]] == ["a = 1\nb = 2", "words"]


@pytest.mark.parametrize(("text", "found"), [
    ("[]", "no notebook"), ("{", "''"),
    ('{"nbformat": 3, "worksheets": []}', "format 3"), ('{"nbformat": 4}', "no such cells"),
    ('{"nbformat": 4, "cells": [{"source": "1"}]}', "no such"), ('{"nbformat": 4, "cells": [1]}', "no such"),
])  # fmt: skip
def test_what_is_no_notebook_is_named(tmp_path, text, found):
    path = tmp_path / "a.ipynb"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"a.ipynb.*: found {found}"):
        runs.read_notebook(path)


def test_a_table_is_never_all_text_in_memory(tmp_path):
    def peak(rows: int) -> int:
        table = pd.DataFrame({name: np.arange(rows, dtype=np.int32) for name in "abcdef"})
        tracemalloc.start()
        try:
            runs.write_table(tmp_path / f"{rows}.csv", table)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(runs.ROWS_AT_ONCE)  # what the first one alone takes
    few, many = peak(runs.ROWS_AT_ONCE), peak(12 * runs.ROWS_AT_ONCE)
    assert many < 1.5 * few
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / f"{12 * runs.ROWS_AT_ONCE}.csv", dtype=np.int32),
        pd.DataFrame({name: np.arange(12 * runs.ROWS_AT_ONCE, dtype=np.int32) for name in "abcdef"}),
    )
