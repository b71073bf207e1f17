"""A disk under SQLite that notes what is written and what is synced, that fails when told to, and that loses power.

It is a VFS of SQLite's (https://www.sqlite.org/vfs.html) around its own, in the very library that Python's `sqlite3`
uses, and does all that is asked of it. Besides, it keeps a model of what the disk would hold after a power cut: of a
file, what was written before its last sync; of a folder, the names it had at its last sync. SQLite syncs a folder
when it syncs a journal it has just made, and when it removes a file and is told to (`syncDir`).
"""

import _sqlite3
import ctypes
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

MAKES: Final = 0x00000004  # SQLITE_OPEN_CREATE
OK: Final = 0
FOLDER_NOT_SYNCED: Final = 1290  # SQLITE_IOERR_DIR_FSYNC: what was asked is done, for now
SECTOR: Final = 512

_KEPT: Final[list[Any]] = []
"""What SQLite points to, as long as it has a file open: it must stay where it is."""
_LIBRARY: Final = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
_FILE_METHODS: Final = (
    "xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock", "xCheckReservedLock",
    "xFileControl", "xSectorSize", "xDeviceCharacteristics", "xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap",
    "xFetch", "xUnfetch",
)  # fmt: skip
_VFS_METHODS: Final = (
    "xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose", "xRandomness",
    "xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64", "xSetSystemCall", "xGetSystemCall",
    "xNextSystemCall",
)  # fmt: skip


FAILING: Final = {"open": 14, "write": 778, "truncate": 1546, "sync": 1034, "delete": 2570}
"""SQLITE_CANTOPEN, and SQLITE_IOERR with its kinds."""
FULL: Final = {**FAILING, "write": 13}


class FileMethods(Structure):
    """`sqlite3_io_methods`."""

    _fields_ = (("iVersion", c_int), *((name, c_void_p) for name in _FILE_METHODS))


class OpenFile(Structure):
    """`sqlite3_file`."""

    _fields_ = (("pMethods", POINTER(FileMethods)),)


class Vfs(Structure):
    """`sqlite3_vfs`."""

    _fields_ = (
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        *((name, c_void_p) for name in _VFS_METHODS),
    )


_OPEN: Final = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE: Final = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_CLOSE: Final = CFUNCTYPE(c_int, c_void_p)
_WRITE: Final = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE: Final = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC: Final = CFUNCTYPE(c_int, c_void_p, c_int)


@dataclass(eq=False)
class Inode:
    """A file: what is in it, what of that a power cut leaves, and what was written since."""

    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    since: list[tuple[int, bytes] | int] = field(default_factory=list)
    """Writes (where, what) and truncations (to which length)."""


class Disk:
    """What the disk holds, and what it would hold after a power cut. `before` is called before each operation.

    What `before` gives is the operation's result code: where it is not 0, the operation fails with it.
    """

    def __init__(self, before: Callable[[str], int] = lambda _what: OK) -> None:
        self.before = before
        self.names: dict[str, Inode] = {}
        self.synced_names: dict[str, Inode] = {}
        self.open: dict[int, str] = {}

    def holds(self, file: Path) -> None:
        """Let a file be there from the start, all of it synced. No SQLite may have it open."""
        content = file.read_bytes()
        self.names[str(file)] = self.synced_names[str(file)] = Inode(bytearray(content), content)

    def unsynced(self) -> list[str]:
        """Name what a power cut could take back now."""
        found = [f"{name}: {len(inode.since)} writes" for name, inode in self.names.items() if inode.since]
        if self.names != self.synced_names:
            found.append(f"names: {sorted(self.names)} is not yet {sorted(self.synced_names)}")
        return found

    def after_power_cut(self, folder: Path, draw: random.Random | None = None) -> None:
        """Put into a folder what a power cut would leave: all that was synced, and a drawn part of what was not."""
        lives: Callable[[], bool] = (lambda: draw.random() < 0.5) if draw else (lambda: False)
        names = self.names if lives() else self.synced_names
        for name, inode in names.items():
            content = bytearray(inode.synced)
            for change in inode.since:
                if isinstance(change, int):
                    if lives():
                        _resize(content, change)
                    continue
                where, what = change
                for begin in range(0, len(what), SECTOR):
                    if lives():
                        _put(content, where + begin, what[begin : begin + SECTOR])
            (folder / Path(name).name).write_bytes(content)

    def opened(self, file: int, name: str) -> None:
        """Note that a file is open."""
        self.open[file] = name
        self.names.setdefault(name, Inode())

    def wrote(self, file: int, where: int, what: bytes) -> None:
        """Note a write."""
        inode = self.names[self.open[file]]
        _put(inode.content, where, what)
        inode.since.append((where, what))

    def truncated(self, file: int, length: int) -> None:
        """Note a truncation."""
        inode = self.names[self.open[file]]
        _resize(inode.content, length)
        inode.since.append(length)

    def synced(self, file: int) -> None:
        """Note a sync, of the folder too where the file is a journal just made."""
        name = self.open[file]
        inode = self.names[name]
        inode.synced = bytes(inode.content)
        inode.since.clear()
        if name.endswith("-journal") and self.synced_names.get(name) is not inode:
            self.synced_names = dict(self.names)

    def deleted(self, name: str, *, folder_synced: bool) -> None:
        """Note that a file is gone, for good where its folder was synced."""
        self.names.pop(name, None)
        if folder_synced:
            self.synced_names = dict(self.names)


class Failing:
    """A disk that fails at its n-th operation of those that may fail, once or from then on."""

    def __init__(self, codes: dict[str, int], at: int, *, for_ever: bool) -> None:
        self.codes, self.left, self.for_ever = codes, at, for_ever

    def __call__(self, what: str) -> int:
        """Give the code of an operation."""
        if what not in self.codes:
            return OK
        self.left -= 1
        return self.codes[what] if self.left == 0 or (self.left < 0 and self.for_ever) else OK


def _put(content: bytearray, where: int, what: bytes) -> None:
    _resize(content, max(len(content), where + len(what)))
    content[where : where + len(what)] = what


def _resize(content: bytearray, length: int) -> None:
    del content[length:]
    content.extend(bytes(length - len(content)))


@contextmanager
def under_sqlite(disk: Disk) -> Iterator[None]:
    """Put a disk under every connection to SQLite that is opened meanwhile."""
    find = _LIBRARY.sqlite3_vfs_find
    find.restype = POINTER(Vfs)
    usual = find(None)
    ours = _vfs(disk, usual)
    _LIBRARY.sqlite3_vfs_register(ctypes.byref(ours), 1)
    try:
        yield
    finally:
        _LIBRARY.sqlite3_vfs_register(usual, 1)
        _LIBRARY.sqlite3_vfs_unregister(ctypes.byref(ours))


def _vfs(disk: Disk, usual: Any) -> Vfs:
    """Make a VFS that does what the usual one does, and lets the disk know."""
    open_usual, delete_usual = _OPEN(usual.contents.xOpen), _DELETE(usual.contents.xDelete)
    methods: dict[int, FileMethods] = {}

    def x_open(_vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        if flags & MAKES and (failed := disk.before("open")):
            ctypes.cast(file, POINTER(c_void_p))[0] = None
            return failed
        code = int(open_usual(ctypes.addressof(usual.contents), name, file, flags, out))
        if code == OK and name:
            disk.opened(file, ctypes.string_at(name).decode())
            opened = ctypes.cast(file, POINTER(OpenFile)).contents
            address = ctypes.addressof(opened.pMethods.contents)
            if address not in methods:
                methods[address] = _file_methods(disk, opened.pMethods.contents)
            opened.pMethods = ctypes.pointer(methods[address])
        return code

    def x_delete(_vfs: int, name: bytes, sync: int) -> int:
        code = disk.before("delete")
        if code not in {OK, FOLDER_NOT_SYNCED}:
            return code
        failed = int(delete_usual(ctypes.addressof(usual.contents), name, sync))
        if failed == OK:
            disk.deleted(name.decode(), folder_synced=bool(sync) and code == OK)
        return code or failed

    ours = Vfs.from_buffer_copy(usual.contents)
    ours.zName = b"tests.disk"
    _replace(ours, {"xOpen": _OPEN(x_open), "xDelete": _DELETE(x_delete)})
    return ours


def _file_methods(disk: Disk, usual: FileMethods) -> FileMethods:
    """Make the methods of a file that do what the usual ones do, and let the disk know."""
    close, sync = _CLOSE(usual.xClose), _SYNC(usual.xSync)
    write, truncate = _WRITE(usual.xWrite), _TRUNCATE(usual.xTruncate)

    def x_close(file: int) -> int:
        disk.open.pop(file, None)
        return int(close(file))

    def x_write(file: int, data: int, count: int, where: int) -> int:
        code = disk.before("write") or int(write(file, data, count, where))
        if code == OK and file in disk.open:
            disk.wrote(file, where, ctypes.string_at(data, count))
        return code

    def x_truncate(file: int, length: int) -> int:
        code = disk.before("truncate") or int(truncate(file, length))
        if code == OK and file in disk.open:
            disk.truncated(file, length)
        return code

    def x_sync(file: int, flags: int) -> int:
        code = disk.before("sync") or int(sync(file, flags))
        if code == OK and file in disk.open:
            disk.synced(file)
        return code

    ours = FileMethods.from_buffer_copy(usual)
    own = {"xClose": _CLOSE(x_close), "xWrite": _WRITE(x_write), "xTruncate": _TRUNCATE(x_truncate),
           "xSync": _SYNC(x_sync)}  # fmt: skip
    _replace(ours, own)
    return ours


def _replace(methods: Structure, own: dict[str, Any]) -> None:
    _KEPT.append(methods)
    for name, callback in own.items():
        _KEPT.append(callback)
        setattr(methods, name, ctypes.cast(callback, c_void_p))
