"""Images in Parquet files, read on demand: one row group at a time, with a small cache of row groups.

read_stored(StoredImage(Path("photos.parquet"), group=0, row=3))
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from emocaliber.core.samples import StoredImage

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

CACHED_BYTES = 32_000_000
"""Bytes of encoded images cached per process; the row group read last is kept whatever its size."""
OPEN_FILES = 16

_Key = tuple[str, int, int]
"""A file's path, size and modification time, so that a rewritten file is not served from the cache."""
_lock = threading.Lock()
_files: OrderedDict[_Key, pq.ParquetFile] = OrderedDict()
_columns: OrderedDict[tuple[_Key, int, str], pa.ChunkedArray] = OrderedDict()


def read_stored(image: StoredImage) -> bytes:
    """The encoded bytes of one image. Raises OSError if the file cannot be read or the row has no image."""
    state = image.file.stat()
    key = (str(image.file), state.st_size, state.st_mtime_ns)
    with _lock:
        column = _column(key, image)
        value = column[image.row].as_py() if image.row < len(column) else None
    if value is None:
        raise OSError(f"row {image.row} of row group {image.group} holds no image")
    return bytes(value)


def _column(key: _Key, image: StoredImage) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    place = (key, image.group, image.column)
    if place in _columns:
        _columns.move_to_end(place)
        return _columns[place]
    try:
        if key not in _files:
            _files[key] = pq.ParquetFile(image.file)
            while len(_files) > OPEN_FILES:
                _files.popitem(last=False)
        _files.move_to_end(key)
        column = _files[key].read_row_group(image.group, columns=[image.column]).column(0)
    except pa.ArrowException as error:
        raise OSError(f"not a readable Parquet file ({error})") from error
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column, 0)
    _columns[place] = column
    while len(_columns) > 1 and sum(held.nbytes for held in _columns.values()) > CACHED_BYTES:
        _columns.popitem(last=False)
    return column
