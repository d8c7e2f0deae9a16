"""Archives (zip, tar, compressed tar): unpacked once into the cache, and read as the folder that they contain.

Reading inside the archive is not practical, because several processes open images by name, again at each start. The
cache is the folder `unpacked` in $EMOCALIBER_CACHE, by default ~/.cache/emocaliber; it may be removed at any time.
Nothing is written outside it, and no links are created.

    folder = unpacked(Path("ferplus.zip"))
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.data.facts import cache_file
from emocaliber.data.folders import is_left_over

ZIP = ".zip"
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
RESERVE = 1 << 30
"""Bytes of disk space to leave free."""


def is_archive(path: Path) -> bool:
    """Whether the path is an existing file with the suffix of a supported archive."""
    return path.name.casefold().endswith((ZIP, *TARS)) and path.is_file()


def unpacked(archive: Path) -> Path:
    """The folder with the archive's content, or the file if it contains only one; wrapper folders are skipped.

    The cache key is the archive's path, size and modification time. Raises UserError if it cannot be unpacked, or a
    member is a link or lies outside.
    """
    facts = archive.stat()
    mark = hashlib.sha256(f"{archive.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}".encode()).hexdigest()[:12]
    target = cache_file().parent / "unpacked" / f"{archive.stem}-{mark}"
    if not target.is_dir():
        try:
            _unpack(archive, target)
        except (
            zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, RuntimeError,
            NotImplementedError, OSError,
        ) as problem:  # fmt: skip
            first = str(problem).partition("\n")[0].rstrip(":")
            raise UserError(f"{archive} cannot be unpacked into {target}: {first}; unpack it by hand") from None
    return _content(target)


def _unpack(archive: Path, target: Path) -> None:
    """Unpack into a temporary folder and rename it to the target, so that a kill leaves no partial content."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=".partial-"))
    try:
        (_unzip if archive.name.casefold().endswith(ZIP) else _untar)(archive, partial)
        partial.replace(target)
    except OSError:
        if not target.is_dir():  # another process was first
            raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        members = [info for info in file.infolist() if not _is_left_over(info.filename)]
        _refuse_too_large(archive, sum(info.file_size for info in members), folder)
        file.extractall(folder, members)


def _untar(archive: Path, folder: Path) -> None:
    """Extract member by member, because the size of a compressed archive is known only at its end. tarfile copies hard
    links within the archive; other links are refused."""
    free, size = shutil.disk_usage(folder).free, 0
    with tarfile.open(archive) as file:
        for member in file:
            if _is_left_over(member.name):
                continue
            if member.issym():
                raise UserError(f"{archive}: {member.name} is a link; unpack it by hand, and put the file in its place")
            size += member.size
            _refuse_too_large(archive, size, folder, free)
            file.extract(member, folder, set_attrs=False, filter="data")


def _is_left_over(name: str) -> bool:
    return any(is_left_over(part) for part in Path(name).parts if part not in (".", ".."))


def _refuse_too_large(archive: Path, size: int, folder: Path, free: int | None = None) -> None:
    if size > (shutil.disk_usage(folder).free if free is None else free) - RESERVE:
        raise UserError(
            f"{archive}: its {size / 1e9:,.1f} GB do not fit into {folder.parent}; name another folder with"
            " EMOCALIBER_CACHE, or unpack it by hand"
        )


def _content(folder: Path) -> Path:
    """The content below folders that contain nothing but one folder or file."""
    inside = [entry for entry in sorted(folder.iterdir()) if not is_left_over(entry.name)]
    if len(inside) == 1:
        return _content(inside[0]) if inside[0].is_dir() else inside[0]
    return folder
