"""Zip archives as data sets are published: unpacked once, into the cache, and read as the folder that they hold.

Reading inside the archive is not practical: pictures are opened by several processes, by name, and again at each start.
The folder is `unpacked` in $EMOCALIBER_CACHE, by default in ~/.cache/emocaliber; it may be removed at any time.

    folder = unpacked(Path("ferplus.zip"))
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.data.facts import cache_file
from emocaliber.data.folders import is_left_over

ZIP = ".zip"
RESERVE = 1 << 30
"""Bytes of the disk that are left free."""


def is_zip(path: Path) -> bool:
    """Whether a path is that of a zip archive that is there."""
    return path.name.casefold().endswith(ZIP) and path.is_file()


def unpacked(archive: Path) -> Path:
    """The folder of what an archive holds, or the file where it holds one alone; folders that only wrap are passed.

    The content is told by the archive's path, size and time of change. Raises UserError where it cannot be unpacked.
    """
    facts = archive.stat()
    mark = hashlib.sha256(f"{archive.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}".encode()).hexdigest()[:12]
    target = cache_file().parent / "unpacked" / f"{archive.stem}-{mark}"
    if not target.is_dir():
        try:
            _unpack(archive, target)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError) as problem:
            raise UserError(f"{archive} cannot be unpacked into {target}: {problem}; unpack it by hand") from None
    return _content(target)


def _unpack(archive: Path, target: Path) -> None:
    """Into a folder beside the target, which then takes its name: a kill leaves no half of it."""
    with zipfile.ZipFile(archive) as file:
        members = [info for info in file.infolist() if not any(map(is_left_over, Path(info.filename).parts))]
        size = sum(info.file_size for info in members)
        target.parent.mkdir(parents=True, exist_ok=True)
        if size > shutil.disk_usage(target.parent).free - RESERVE:
            raise UserError(
                f"{archive}: its {size / 1e9:,.1f} GB do not fit into {target.parent}; name another folder with"
                " EMOCALIBER_CACHE, or unpack it by hand"
            )
        partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=".partial-"))
        try:
            file.extractall(partial, members)
            partial.replace(target)
        except OSError:
            if not target.is_dir():  # another process was first
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _content(folder: Path) -> Path:
    """What is below folders that hold nothing but one folder or file."""
    inside = [entry for entry in sorted(folder.iterdir()) if not is_left_over(entry.name)]
    if len(inside) == 1:
        return _content(inside[0]) if inside[0].is_dir() else inside[0]
    return folder
