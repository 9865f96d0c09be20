"""lib.download against a server on this machine with small archives made here."""

import errno
import io
import os
import re
import stat
import struct
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lib import download as module
from lib.download import count_files, download, main
from lib.runs import InputError

NAME = "VisDrone2019-DET-val"
FRAMES = 3


def archive(top=f"{NAME}/", frames=FRAMES, extra=()):
    """A zip as the mirror has it: frames of noise (which zip cannot shrink) and annotations."""
    rng, buffer = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for frame in range(frames):
            bundle.writestr(f"{top}images/{frame:07}.jpg", rng.bytes(100_000))
            bundle.writestr(f"{top}annotations/{frame:07}.txt", f"{frame},2,30,40,1,4,0,0\n" * 50)
        for member, content in extra:
            bundle.writestr(member, content)
    return buffer.getvalue()


class Server:
    """Serves `content` for every name; `breaks` holds byte counts after which it hangs up, one a request."""

    def __init__(self):
        self.content, self.ranges, self.breaks, self.status, self.asked = b"", True, [], [], []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.http.server_port}/v0/"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, request):
        self.asked.append((request.path, request.headers.get("Range")))
        if self.status:
            request.send_error(self.status.pop(0))
            return
        start, size = 0, len(self.content)
        if self.ranges and request.headers.get("Range"):
            start = int(re.fullmatch(r"bytes=(\d+)-", request.headers["Range"])[1])
            if start >= size:
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{size}")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(size - start))
        request.end_headers()
        stop = start + self.breaks.pop(0) if self.breaks else size
        request.wfile.write(self.content[start:stop])


@pytest.fixture
def server():
    server = Server()
    server.content = archive()
    yield server
    server.http.shutdown()
    server.http.server_close()


def get(server, folder, **options):
    options = {"sets": ["val"], "counts": {"val": FRAMES}, "pause": 0.01, "timeout": 5, **options}
    return download(folder, base=server.base, **options)


def test_normal(server, tmp_path):
    (folder,) = get(server, tmp_path / "new" / "data")
    assert folder == tmp_path / "new" / "data" / NAME
    assert count_files(folder) == (FRAMES, FRAMES)
    assert (folder / "annotations/0000001.txt").read_text().startswith("1,2,30,40,1,4,0,0\n")
    assert os.listdir(folder.parent) == [NAME]  # no archive, no temporary folder
    assert server.asked == [(f"/v0/{NAME}.zip", None)]
    assert stat.S_IMODE(folder.stat().st_mode) & 0o500 == 0o500


def test_without_folder_on_top(server, tmp_path):
    server.content = archive(top="", extra=[("__MACOSX/x", b"1"), (".DS_Store", b"1")])
    (folder,) = get(server, tmp_path)
    assert count_files(folder) == (FRAMES, FRAMES)
    assert sorted(os.listdir(folder)) == ["annotations", "images"]


def test_goes_on_after_a_broken_connection(server, tmp_path):
    server.breaks = [120_000, 50_000]
    (folder,) = get(server, tmp_path)
    assert count_files(folder) == (FRAMES, FRAMES)
    assert [asked for _, asked in server.asked] == [None, "bytes=120000-", "bytes=170000-"]


def test_server_without_ranges_starts_anew(server, tmp_path):
    server.ranges, server.breaks = False, [120_000]
    (folder,) = get(server, tmp_path)
    assert count_files(folder) == (FRAMES, FRAMES)
    assert len(server.asked) == 2


def test_gives_up_where_nothing_new_comes(server, tmp_path):
    server.ranges, server.breaks = False, [90_000] * 50
    with pytest.raises(OSError, match=r"ended early, 3 times; 90000 bytes are kept in .*\.part"):
        get(server, tmp_path, tries=3)
    assert len(server.asked) == 3
    assert os.listdir(tmp_path) == [f"{NAME}.zip.part"]


def test_next_call_goes_on(server, tmp_path):
    server.breaks = [150_000, 0, 0]
    with pytest.raises(OSError, match="150000 bytes are kept"):
        get(server, tmp_path, tries=2)
    server.breaks, server.asked = [], []
    get(server, tmp_path)
    assert server.asked == [(f"/v0/{NAME}.zip", "bytes=150000-")]


def test_whole_part_is_not_fetched_again(server, tmp_path):
    (tmp_path / f"{NAME}.zip.part").write_bytes(server.content)
    (folder,) = get(server, tmp_path)
    assert count_files(folder) == (FRAMES, FRAMES)
    assert len(server.asked) == 1  # answered 416


def test_part_of_another_file_starts_anew(server, tmp_path):
    (tmp_path / f"{NAME}.zip.part").write_bytes(server.content + b"more")
    (folder,) = get(server, tmp_path)
    assert count_files(folder) == (FRAMES, FRAMES)


def test_truncated_archive(server, tmp_path):
    server.content = server.content[:-5000]  # whole by its length, but no whole zip
    with pytest.raises(InputError, match=r"VisDrone2019-DET-val\.zip: found .* expected a whole zip archive"):
        get(server, tmp_path)
    assert os.listdir(tmp_path) == []


def test_damaged_member(server, tmp_path):
    content = bytearray(server.content)
    content[50_000:50_100] = bytes(100)
    server.content = bytes(content)
    with pytest.raises(InputError, match=r"'.*0000000\.jpg' damaged .* expected a whole zip archive"):
        get(server, tmp_path)
    assert os.listdir(tmp_path) == []


HOSTILE = ["../evil.txt", f"{NAME}/../../evil.txt", "/tmp/evil.txt", "..\\evil.txt", "C:/evil"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_path(server, tmp_path, name):
    server.content = archive(extra=[(name, b"evil")])
    inside = tmp_path / "a" / "b"
    with pytest.raises(InputError, match="expected paths inside the set's folder"):
        get(server, inside)
    assert os.listdir(inside) == []
    assert [path for path in tmp_path.rglob("*evil*")] == []


def special(name, mode, content=b""):
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, mode << 16
    return member, content


def test_link(server, tmp_path):
    server.content = archive(extra=[special(f"{NAME}/images/link.jpg", stat.S_IFLNK | 0o777, b"/etc/passwd")])
    with pytest.raises(InputError, match=r"link\.jpg', a link, expected plain files"):
        get(server, tmp_path)
    assert os.listdir(tmp_path) == []


def test_special_file_and_file_as_folder(server, tmp_path):
    server.content = archive(extra=[special("pipe", stat.S_IFIFO | 0o600)])
    with pytest.raises(InputError, match="'pipe', a special file"):
        get(server, tmp_path)
    server.content = archive(extra=[("a", b"1"), ("a/b", b"2")])
    with pytest.raises(InputError, match="a file with files below it"):
        get(server, tmp_path)


def test_bomb(server, tmp_path):
    server.content = archive(extra=[("zeros", bytes(30_000_000))])
    with pytest.raises(InputError, match=r"found 7 files of 30\.\d MB in all, expected about 6 files"):
        get(server, tmp_path)
    assert os.listdir(tmp_path) == []


def test_bomb_that_lies_about_its_size(server, tmp_path):
    content = bytearray(archive(extra=[("zeros", bytes(30_000_000))]))
    where = content.rfind(struct.pack("<L", 30_000_000))  # the size in the directory at the end
    content[where : where + 4] = struct.pack("<L", 1000)
    server.content = bytes(content)
    with pytest.raises(InputError, match="'zeros' damaged"):
        get(server, tmp_path)
    assert os.listdir(tmp_path) == []


def test_wrong_count(server, tmp_path):
    with pytest.raises(InputError, match="found 3 frames and 3 annotations, expected 4 of each"):
        get(server, tmp_path, counts={"val": 4})
    assert os.listdir(tmp_path) == []


def test_no_such_file(server, tmp_path):
    server.status = [404]
    with pytest.raises(
        InputError, match=rf"{NAME}\.zip: found HTTP 404 Not Found, expected the set's archive"
    ):
        get(server, tmp_path)
    assert len(server.asked) == 1 and os.listdir(tmp_path) == []


def test_busy_server_is_asked_again(server, tmp_path):
    server.status = [503, 429]
    (folder,) = get(server, tmp_path)
    assert count_files(folder) == (FRAMES, FRAMES)


def test_nobody_answers(tmp_path):
    with pytest.raises(OSError, match="no connection.*, 2 times; nothing came"):
        download(tmp_path, ["val"], "http://127.0.0.1:9/", tries=2, pause=0.01, timeout=1)
    assert os.listdir(tmp_path) == []


def test_already_there_even_in_part(server, tmp_path, capsys):
    for part, suffix in (("images", "jpg"), ("annotations", "txt")):
        (tmp_path / NAME / part).mkdir(parents=True)
        (tmp_path / NAME / part / f"1.{suffix}").write_text("")
    assert get(server, tmp_path, counts={"val": 548}) == [tmp_path / NAME]
    assert "1 of 548 frames" in capsys.readouterr().out
    assert server.asked == []


def test_empty_folder_is_filled_and_a_foreign_one_refused(server, tmp_path):
    (tmp_path / NAME).mkdir()
    (folder,) = get(server, tmp_path)
    assert count_files(folder) == (FRAMES, FRAMES)
    (tmp_path / "b" / NAME).mkdir(parents=True)
    (tmp_path / "b" / NAME / "notes").write_text("mine")
    with pytest.raises(InputError, match="found 0 frames and 0 annotations"):
        get(server, tmp_path / "b")


@pytest.mark.parametrize(
    ("half", "found"), [("images/1.jpg", "1 frames and 0"), ("annotations/1.txt", "0 frames and 1")]
)
def test_a_half_of_a_set_is_none(server, tmp_path, half, found):
    file = tmp_path / NAME / half
    file.parent.mkdir(parents=True)
    file.write_text("")
    with pytest.raises(InputError, match=f"found {found} annotations, expected images"):
        get(server, tmp_path)
    assert server.asked == [] and file.exists()


def test_archive_of_the_user_stays(server, tmp_path):
    (tmp_path / f"{NAME}.zip").write_bytes(server.content)
    get(server, tmp_path)
    assert sorted(os.listdir(tmp_path)) == [NAME, f"{NAME}.zip"] and server.asked == []


def test_full_disk(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(OSError, match="MB needed, 0 MB free"):
        get(server, tmp_path)


def test_disk_that_fills_up_while_fetching(server, tmp_path, monkeypatch, capsys):
    """The error of the open file names none; what was fetched is kept, and the next try goes on."""
    bar = module._bar

    def full(what, total, initial=0):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_bar", full)
    words = [str(tmp_path), "--sets", "val", "--base", server.base]
    (tmp_path / f"{NAME}.zip.part").write_bytes(server.content[:1000])
    assert main(words) == 2
    error = capsys.readouterr().err
    part = re.escape(f"{tmp_path}/{NAME}.zip.part")
    assert re.fullmatch(rf"{part}: found a full disk .*, expected room for it\n", error)
    assert os.listdir(tmp_path) == [f"{NAME}.zip.part"]
    monkeypatch.setattr(module, "_bar", bar)
    get(server, tmp_path)
    assert server.asked[-1] == (f"/v0/{NAME}.zip", "bytes=1000-")


def test_disk_that_fills_up_while_unpacking(server, tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "copyfileobj", full)
        with pytest.raises(OSError, match=rf"{NAME}: found a full disk .*, expected room for it"):
            get(server, tmp_path)
    assert os.listdir(tmp_path) == [f"{NAME}.zip"]  # whole: not fetched again
    get(server, tmp_path)
    assert len(server.asked) == 1


def test_hidden_files_do_not_count(server, tmp_path):
    (folder,) = get(server, tmp_path)
    for name in ("images/._0000001.jpg", "annotations/._0000001.txt"):
        (folder / name).write_bytes(b"x")
    assert count_files(folder) == (FRAMES, FRAMES)


def test_command_line(server, tmp_path, capsys):
    assert main([str(tmp_path), "--sets", "val", "--base", server.base]) == 2  # 548 expected, 3 found
    output = capsys.readouterr()
    told = f"{tmp_path}/{NAME}.zip: found {FRAMES} frames and {FRAMES} annotations, expected 548 of each"
    assert output.err == f"{told}\n"
    assert main([str(tmp_path), "--sets", "nothing"]) == 2
    assert "found 'nothing', expected one of train, val, test-dev" in capsys.readouterr().err
    assert main([str(tmp_path), "--sets", "val", "--base", "file:///tmp"]) == 2
    assert "expected http:// or https://" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "--base" in capsys.readouterr().out
