"""The set-up files agree with one another and with what the code imports."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
IMPORTED_AS = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "torch-fidelity": "torch_fidelity",
}
PYTHONS = ["3.11", "3.12", "3.13"]  # immutables 0.21, which Snakemake needs, has no wheel for 3.14
MACHINES = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def direct():
    return [Requirement(text) for text in project()["project"]["dependencies"]]


def lock_entries():
    """(requirement, hashes) of each entry of the lock."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    entries = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            head, *hashes = line.split("--hash=")
            entries.append((Requirement(head.strip()), [value.strip() for value in hashes]))
    return entries


def test_lock_holds_every_direct_dependency_in_its_range():
    locked = {}
    for requirement, _ in lock_entries():
        locked.setdefault(requirement.name, []).append(requirement)
    for wanted in direct():
        assert wanted.name in locked, f"{wanted.name} is not in requirements.txt: make lock"
        for found in locked[wanted.name]:
            (pin,) = found.specifier
            assert pin.operator == "==" and Version(pin.version) in wanted.specifier, (
                f"{found}, wanted {wanted}"
            )


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system, machine", MACHINES)
def test_lock_serves_each_machine(system, machine, python):
    here = {
        "sys_platform": system,
        "platform_machine": machine,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
        "os_name": "posix",
        "python_version": python,
        "python_full_version": f"{python}.7",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    names = [entry.name for entry, _ in lock_entries() if not entry.marker or entry.marker.evaluate(here)]
    assert len(names) == len(set(names)), "two versions of one package"
    assert {wanted.name for wanted in direct()} <= set(names)


def test_lock_is_hashed_and_names_no_address():
    entries = lock_entries()
    assert len(entries) > 100
    for requirement, hashes in entries:
        assert hashes, f"{requirement.name} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement.name
        assert requirement.url is None
    for name in ("requirements.txt", "pyproject.toml", "environment.yml"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|index-url|find-links|file:", text), f"an address in {name}"


def test_lock_has_nothing_for_other_systems():
    for requirement, _ in lock_entries():
        assert not re.search(r"== '(win32|cygwin|emscripten|nt)'", str(requirement.marker)), requirement.name


def test_conda_installs_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, packages = environment["dependencies"]
    assert pip == "pip" and packages == {"pip": ["-r requirements.txt"]}
    assert environment["name"] == project()["project"]["name"]
    lowest = Requirement(f"python{project()['project']['requires-python']}").specifier
    wanted = Requirement(python).specifier
    inside = [f"3.{minor}" for minor in range(8, 30) if Version(f"3.{minor}") in wanted]
    assert all(Version(version) in lowest for version in inside)
    # conda takes the newest that is allowed, so only those that the whole lock has wheels for
    assert inside == PYTHONS


def test_every_dependency_has_a_purpose():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    for wanted in direct():
        (line,) = [line for line in lines if line.startswith(f'  "{wanted.name}>=')]
        assert re.search(r'",\s+# \w+', line), f"no purpose beside {wanted.name}"


def test_third_party_imports_are_direct_dependencies():
    known = {IMPORTED_AS.get(wanted.name, wanted.name.replace("-", "_")) for wanted in direct()}
    known |= set(sys.stdlib_module_names) | {"lib", "benchmarks"}
    files = [*ROOT.glob("lib/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for name in names:
                found = name.split(".")[0]
                if path.name == "keras_networks.py" and found in ("keras", "tensorflow"):
                    continue  # runs in .venv-bench, from the lock of benchmarks/requirements.in
                assert found in known, f"{path}:{node.lineno}: {found} is no direct dependency"


def test_make_panorama_refuses_an_unknown_profile_before_it_writes():
    """`-o`: the set-up is not what is tested."""
    command = ["make", "--no-print-directory", "-o", ".venv/.installed", "panorama",
               "FIRST=notebooks", "SECOND=params"]  # fmt: skip
    for width in ("", "VEHICLE_PX=30 px", "VEHICLE_PX=abc"):
        words = [*command, width] if width else command
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2 and "expected the width of a car in pixels, such as 30" in done.stderr
    command.append("VEHICLE_PX=30")
    done = subprocess.run([*command, "PROFILE=embeded"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "PROFILE: found 'embeded', expected one of embedded" in done.stderr
    assert "Traceback" not in done.stderr and not (ROOT / "runs" / "embeded").exists()


def test_help_lists_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", text, re.M)[1].split()
    needed = {"help", "reproduce", "test", "lint", "notebook", "data", "publish", "verify", "lock", "clean"}
    assert needed <= set(declared)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make"], cwd=ROOT, env=plain, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  (\w+)  +\S", done.stdout, re.M)
    assert sorted(listed) == sorted(declared)


def test_compiled_modules_are_kept_where_the_environment_forbids_it(tmp_path):
    """Without them every process of a run compiles PyTorch anew."""
    asks = tmp_path / "asks.mk"
    asks.write_text('told:\n\t@echo "bytecode $${PYTHONDONTWRITEBYTECODE-kept}"\n', encoding="utf-8")
    command = ["make", "--no-print-directory", "-f", "Makefile", "-f", str(asks), "told"]
    asked = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=asked, capture_output=True, text=True, check=True)
    assert done.stdout == "bytecode kept\n"


def test_clean_refuses_a_path():
    for profile in ("", "..", "a/b"):
        command = ["make", "--no-print-directory", "-n", "clean", f"PROFILE={profile}"]
        plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        guard = plan.splitlines()[0]
        assert guard.startswith("case ")
        assert subprocess.run(["sh", "-c", guard], capture_output=True).returncode == 2
    assert subprocess.run(["sh", "-c", guard.replace("a/b", "embedded")]).returncode == 0


def test_citation():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["version"] == project()["project"]["version"]
    assert {"message", "title", "authors", "license"} <= set(citation)
    paper = citation["preferred-citation"]
    assert paper["title"].startswith("A method for creating realistic synthetic images")
    assert [author["family-names"] for author in paper["authors"]] == ["Arkhipov", "Philippskih", "Tsukanov"]
    assert citation["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_continuous_integration_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert text.startswith("#!") and "set -eu" in text and re.search(r"^make test$", text, re.M)


def test_notebooks_carry_no_absolute_path_and_no_noise():
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    if not notebooks:
        pytest.skip("no notebooks yet")
    for path in notebooks:
        assert path.stat().st_size < 1_500_000, path.name
        notebook = json.loads(path.read_text(encoding="utf-8"))
        assert "papermill" not in notebook["metadata"], f"{path.name}: papermill's notes of one run"
        for number, cell in enumerate(notebook["cells"]):
            assert "execution" not in cell["metadata"] and "papermill" not in cell["metadata"], (
                f"{path.name}: {number}"
            )
            for output in cell.get("outputs", []):
                data = {
                    kind: value
                    for kind, value in output.get("data", {}).items()
                    if not kind.startswith("image/")
                }
                text = json.dumps([output.get("text"), data, output.get("traceback")])
                found = re.search(r"(?<![\w.:/<])/(home|root|work|tmp|Users|opt|usr|var|mnt)/\w+", text)
                assert not found, f"{path.name}, cell {number}: {found[0]}"
