"""The set-up, run on a copy of itself in a folder of its own. No test here downloads anything."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = "scripts/setup_environment.py"
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": os.devnull}

pytestmark = pytest.mark.slow


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What of a clone the set-up reads."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but pip, to be copied: making one takes seconds."""
    made = tmp_path_factory.mktemp("made") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", made], check=True)
    return made


@pytest.fixture
def complete(clone: Path, venv: Path) -> Path:
    """A clone whose .venv was completed for testing, as far as the set-up can tell."""
    shutil.copytree(venv, clone / ".venv", symlinks=True)
    inside(clone, "s.stamp('test').write_text(s.key())")
    return clone


def inside(clone: Path, statement: str, settings: Mapping[str, str] = MappingProxyType({})) -> str:
    """What a statement prints that knows the clone's set-up script as `s`, without a network, under settings of pip."""
    command = [sys.executable, "-c", f"import setup_environment as s\n{statement}"]
    environment = os.environ | OFFLINE | settings
    return subprocess.run(
        command, cwd=clone / "scripts", env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


def is_fresh(clone: Path, level: str) -> bool:
    return inside(clone, f"print(s.is_fresh({level!r}))") == "True"


def set_up(clone: Path, level: str = "train") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, level]
    return subprocess.run(command, cwd=clone, env=os.environ | OFFLINE, capture_output=True, text=True, check=False)


def test_a_complete_environment_is_left_alone_without_a_word(complete: Path):
    for level in ("train", "test"):
        answer = set_up(complete, level)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_an_environment_for_training_is_not_enough_for_testing(complete: Path):
    (complete / ".venv" / "emocaliber-test-complete").rename(complete / ".venv" / "emocaliber-train-complete")
    assert is_fresh(complete, "train")
    assert not is_fresh(complete, "test")


def touch_requirements(clone: Path) -> None:
    with (clone / "pyproject.toml").open("a") as file:
        file.write("# another requirement\n")


def touch_constraints(clone: Path) -> None:
    with (clone / "constraints.txt").open("a") as file:
        file.write("# another version\n")


def leave_unfinished(clone: Path) -> None:
    (clone / ".venv" / "emocaliber-unfinished").touch()


def lose_the_interpreter(clone: Path) -> None:
    (clone / ".venv" / "bin" / "python").unlink()
    (clone / ".venv" / "bin" / "python").symlink_to("/gone/python3")


def change_the_interpreter(clone: Path) -> None:
    config = clone / ".venv" / "pyvenv.cfg"
    config.write_text(config.read_text().replace("version = 3", "version = 2"))


DAMAGE = [touch_requirements, touch_constraints, leave_unfinished, lose_the_interpreter, change_the_interpreter]


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_no_longer_fits_is_set_up_again(complete: Path, damage: Callable[[Path], None]):
    damage(complete)
    assert not is_fresh(complete, "test")


def test_a_failed_installation_says_what_failed_and_goes_on_next_time(clone: Path):
    answer = set_up(clone)
    assert answer.returncode == 1
    assert "torch: failed" in answer.stderr
    assert "No matching distribution found for torch==2.13.0" in answer.stderr
    again = set_up(clone)
    assert "afresh" not in again.stdout
    assert not is_fresh(clone, "train")


def wheels_of(folder: Path, *versions: str) -> Path:
    """Wheels of a package `tiny`, with nothing in it, for pip to find in the folder."""
    folder.mkdir()
    for version in versions:
        own = f"tiny-{version}.dist-info"
        with ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{own}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
            wheel.writestr(f"{own}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{own}/RECORD", "")
    return folder


@pytest.fixture
def install_tiny(complete: Path, tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Pins `tiny`, of which 1.0 and 2.0 exist, and installs it: what the set-up says, and the version that is there."""
    links = {"PIP_FIND_LINKS": str(wheels_of(tmp_path / "wheels", "1.0", "2.0"))}

    def install(pinned: str, requirement: str = "tiny") -> tuple[str, str]:
        (complete / "constraints.txt").write_text(f"tiny=={pinned}\n")
        said = inside(complete, f"s.install_packages('tiny', {requirement!r})", links)
        question = "from importlib.metadata import version; print(version('tiny'))"
        installed = subprocess.check_output([complete / ".venv" / "bin" / "python", "-c", question], text=True)
        return said, installed.strip()

    return install


def test_packages_are_installed_at_the_versions_of_the_constraints(install_tiny: Callable[..., tuple[str, str]]):
    said, installed = install_tiny("1.0")
    assert installed == "1.0"
    assert "not available" not in said


@pytest.mark.parametrize(("pinned", "requirement"), [("3.0", "tiny"), ("1.0", "tiny>=2")])
def test_constraints_that_cannot_be_met_here_prevent_no_installation(
    install_tiny: Callable[..., tuple[str, str]], pinned: str, requirement: str
):
    said, installed = install_tiny(pinned, requirement)
    assert installed == "2.0"
    assert "tiny: not available here at the versions of constraints.txt (ERROR: Cannot install tiny" in said


def test_what_fails_for_another_reason_is_not_tried_without_the_constraints(complete: Path):
    with pytest.raises(subprocess.CalledProcessError) as failed:
        inside(complete, "s.install_packages('tiny', '--no-such-option')")
    assert "no such option" in failed.value.stderr
    assert "not available" not in failed.value.stdout


def test_a_killed_installation_starts_afresh_next_time(clone: Path, venv: Path):
    shutil.copytree(venv, clone / ".venv", symlinks=True)
    unfinished = clone / ".venv" / "emocaliber-unfinished"
    command = [sys.executable, SCRIPT, "train"]
    with subprocess.Popen(command, cwd=clone, env=os.environ | OFFLINE, start_new_session=True) as process:
        while not unfinished.exists() and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert unfinished.exists()
    assert "starting it afresh" in set_up(clone).stdout


def test_asking_whether_torchvision_exists_imports_no_torch():
    code = """
import sys, importlib.util
sys.path.insert(0, "scripts")
import torchvision_beside_cpu_torch
print(importlib.util.find_spec("torchvision") is not None, "torch" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "False"]


def test_image_processors_can_be_imported_here_and_in_child_processes():
    code = """
import subprocess, sys
line = "from transformers import AutoProcessor, Qwen2VLImageProcessor; import torchvision.transforms.v2"
exec(line)
subprocess.run([sys.executable, "-c", line], check=True)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
