"""Labelling a folder of crops with a classifier's weights."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lib.classify import classify, find_images, main
from lib.crops import resize
from lib.models import build_classifier, build_vae
from lib.pictures import read_frame
from lib.visdrone import CLASSES
from lib.weights import save_network


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return build_classifier(2, 8, 0.5).eval()


@pytest.fixture
def weights(network, tmp_path):
    return save_network(tmp_path / "classifier.safetensors", network, groups=2, width=8, compression=0.5)


@pytest.fixture
def folder(tmp_path):
    """Five pictures of several sizes, kinds and colour modes, two of them in sub-folders."""
    root = tmp_path / "my crops"
    rng = np.random.default_rng(5)
    sizes = {"b.jpg": (40, 31), "a.png": (32, 32), "far/x.PNG": (7, 90), "far/away/y.bmp": (64, 64)}
    for name, (width, height) in sizes.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
    Image.fromarray(rng.integers(0, 256, (20, 20), np.uint8)).save(root / "grey.png")
    (root / "notes.txt").write_text("no picture")
    return root


def test_table(weights, folder, network, tmp_path, capsys):
    out = tmp_path / "labels.csv"
    assert main([str(weights), str(folder), "--out", str(out)]) == 0
    table = pd.read_csv(out)
    assert list(table.columns) == ["file", "label", "probability", *CLASSES]
    assert list(table["file"]) == ["a.png", "b.jpg", "far/away/y.bmp", "far/x.PNG", "grey.png"]
    shares = table[list(CLASSES)].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)
    assert list(table["label"]) == [CLASSES[k] for k in shares.argmax(1)]
    np.testing.assert_allclose(table["probability"], shares.max(1))
    assert "5 images" in capsys.readouterr().out


def test_probabilities_are_the_networks_own_on_the_resized_crop(weights, folder, network):
    table = classify(weights, folder).set_index("file")
    crop = resize(read_frame(folder / "far/x.PNG"), 32)
    with torch.inference_mode():
        scores = network(torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float() / 255)
    expected = scores.softmax(1).numpy()[0]
    found = table.loc["far/x.PNG", list(CLASSES)].to_numpy(float)
    np.testing.assert_allclose(found, expected, atol=0.01)  # bfloat16, where the processor has it


def refused(arguments, capsys, out) -> str:
    """The one line with which a command ends; nothing is written."""
    assert main([*map(str, arguments), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and not out.exists()
    return error


def test_missing_weights(folder, tmp_path, capsys):
    assert "no such file" in refused([tmp_path / "none.safetensors", folder], capsys, tmp_path / "x.csv")


def test_weights_of_another_network(folder, tmp_path, capsys):
    numbers = {"groups": 2, "width": 8, "compression": 0.5}
    file = save_network(tmp_path / "vae.safetensors", build_vae(2, 8, 0.5, 4), **numbers)
    error = refused([file, folder], capsys, tmp_path / "x.csv")
    assert "body.groups.0.conv1.weight: nothing" in error and "vae.safetensors" in error


def test_weights_that_contradict_their_numbers(network, folder, tmp_path, capsys):
    file = save_network(tmp_path / "w.safetensors", network)  # no numbers: the paper's are taken
    assert "body.groups.0.conv1.weight" in refused([file, folder], capsys, tmp_path / "x.csv")
    file = save_network(tmp_path / "w.safetensors", network, groups="many")
    assert "many" in refused([file, folder], capsys, tmp_path / "x.csv")


def test_a_file_that_holds_no_weights(folder, tmp_path, capsys):
    (tmp_path / "w.safetensors").write_bytes(b"nothing of the kind")
    assert "safetensors" in refused([tmp_path / "w.safetensors", folder], capsys, tmp_path / "x.csv")


def test_corrupt_image(weights, folder, tmp_path, capsys):
    content = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(content[: len(content) // 2])
    assert "b.jpg: found a corrupt image" in refused([weights, folder], capsys, tmp_path / "x.csv")


def test_hidden_files_are_no_images(weights, folder, tmp_path, capsys):
    """As macOS leaves them beside the pictures that it copies."""
    (folder / "._a.png").write_bytes(b"\x00\x05\x16\x07 no picture")
    (folder / ".DS_Store").write_bytes(b"\x00")
    (folder / ".thumbs").mkdir()
    (folder / ".thumbs" / "a.png").write_bytes(b"no picture")
    assert [path.name for path in find_images(folder)] == ["a.png", "b.jpg", "y.bmp", "x.PNG", "grey.png"]
    assert len(classify(weights, folder)) == 5
    (tmp_path / "copied").mkdir()
    (tmp_path / "copied" / "._a.png").write_bytes(b"\x00")
    assert "no images" in refused([weights, tmp_path / "copied"], capsys, tmp_path / "x.csv")


def test_no_images_and_no_folder(weights, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "no images" in refused([weights, tmp_path / "empty"], capsys, tmp_path / "x.csv")
    assert "no such folder" in refused([weights, tmp_path / "absent"], capsys, tmp_path / "x.csv")


def test_a_table_that_may_have_been_mended_is_not_replaced(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("mine")
    assert main(["a", "b"]) == 2
    assert "labels.csv: found a file, expected none, or --out" in capsys.readouterr().err
    assert (tmp_path / "labels.csv").read_text() == "mine"
