"""Work on one volume through several mounts at once, each worker a process on one of them. Whatever is read is compared with what may be
there; who sees anything else, or an error, says so and ends with 1.

    across.py cells  <role> <mount> <directory of shared notes> <seconds> <seed>    one file, overwritten and read in cells of 4 KiB
    across.py shares <role> <mount> <directory of shared notes> <seconds> <seed>    files that share slices by copy_file_range

Python, since it has mmap, flock and copy_file_range. Notes lie on a local file system.
"""

import ctypes
import fcntl
import mmap
import os
import random
import struct
import sys
import time

CELL, CELLS = 4096, 512
FILES, MOST, CHUNK = 6, 300_000, 64 << 20
# Two files lie across the border of two chunks.
BASES = [0, 0, 0, CHUNK - 150_000, 0, CHUNK - 100_000]
OP_COMPACT, PROGRESS = 1008, 0xFE

what, role, mount, notes, seconds, seed = sys.argv[1:7]
dice = random.Random(int(seed))
end = time.time() + float(seconds)


def wrong(*words):
    print(role, mount, *words, flush=True)
    sys.exit(1)


def compact(ino):
    """Has the mount merge the slices of a file."""
    control = os.open(f'{mount}/.control', os.O_RDWR)
    os.write(control, struct.pack('>IIQH', OP_COMPACT, 10, ino, 4))
    reply = b''
    while len(reply) != 1:
        reply += os.read(control, 1000)
        while len(reply) >= 17 and reply[0] == PROGRESS:
            reply = reply[17:]
        time.sleep(0.002)
    os.close(control)
    return reply[0]


# ── cells ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Numbers:
    """For each cell the number last handed to write, and the last one that was synced."""

    def __init__(self):
        self.map = mmap.mmap(os.open(f'{notes}/cells', os.O_RDWR), CELLS * 16)

    def get(self, cell, which):
        return struct.unpack_from('<Q', self.map, cell * 16 + which * 8)[0]

    def put(self, cell, which, number):
        struct.pack_into('<Q', self.map, cell * 16 + which * 8, number)


ISSUED, SYNCED = 0, 1


def cell_of(cell, number):
    return struct.pack('<II', cell, number) * (CELL // 8)


def overwrite_cells(numbers):
    file = os.open(f'{mount}/cells', os.O_RDWR)
    waiting, number = [], 0

    def sync():
        os.fsync(file)
        for cell, synced in waiting:
            numbers.put(cell, SYNCED, synced)
        waiting.clear()

    while time.time() < end:
        number += 1
        first = dice.randrange(CELLS)
        cells = range(first, min(CELLS, first + dice.randrange(1, 9)))
        for cell in cells:
            numbers.put(cell, ISSUED, number)
            waiting.append((cell, number))
        os.pwrite(file, b''.join(cell_of(cell, number) for cell in cells), first * CELL)
        if dice.random() < 0.3:
            sync()
    sync()


def read_cells(numbers):
    """`held`: through one handle; `asking`: opens again and again, and then reads nothing older than what was synced before."""
    file = os.open(f'{mount}/cells', os.O_RDONLY)
    least = [0] * CELLS
    while time.time() < end:
        if role == 'asking' and dice.random() < 0.05:
            os.close(file)
            least = [numbers.get(cell, SYNCED) for cell in range(CELLS)]
            file = os.open(f'{mount}/cells', os.O_RDONLY)
        first = dice.randrange(CELLS)
        count = min(CELLS - first, dice.randrange(1, dice.choice([2, 9, 65])))
        found = os.pread(file, count * CELL, first * CELL)
        for cell in range(first, first + len(found) // CELL):
            piece = found[(cell - first) * CELL :][:CELL]
            number = 0 if piece == bytes(CELL) else struct.unpack_from('<I', piece, 4)[0]
            if number > 0 and piece != cell_of(cell, number):
                wrong('cell', cell, 'has other bytes', set(struct.iter_unpack('<II', piece)))
            if not least[cell] <= number <= numbers.get(cell, ISSUED):
                wrong('cell', cell, 'has', number, 'instead of', least[cell], '...', numbers.get(cell, ISSUED))


def compact_cells():
    ino = os.stat(f'{mount}/cells').st_ino
    while time.time() < end:
        if compact(ino) != 0:
            wrong('compact failed')


# ── shares ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

libc = ctypes.CDLL(None, use_errno=True)


class Shared:
    """One of the files, what it should hold, and who may work on it now. A file that is made anew has another name."""

    def __init__(self, number):
        self.base = BASES[number]
        self.notes = f'{notes}/{number}'
        self.lock = open(f'{self.notes}.lock', 'a+')
        self.number = number

    def __enter__(self):
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        with open(f'{self.notes}.name') as name:
            self.name = name.read()
        with open(f'{self.notes}.bytes', 'rb') as model:
            self.bytes = bytearray(model.read())
        self.file = os.open(f'{mount}/{self.name}', os.O_RDWR)
        os.fstat(self.file)  # the kernel copies no further than it believes the file to reach
        return self

    def __exit__(self, failure, *_):
        os.close(self.file)
        if failure is None:
            with open(f'{self.notes}.name', 'w') as name:
                name.write(self.name)
            with open(f'{self.notes}.bytes', 'wb') as model:
                model.write(self.bytes)
        fcntl.flock(self.lock, fcntl.LOCK_UN)

    def put(self, at, data):
        if at + len(data) > len(self.bytes):
            self.bytes.extend(bytes(at + len(data) - len(self.bytes)))
        self.bytes[at : at + len(data)] = data

    def check(self, after):
        found = os.pread(self.file, 2 * MOST, self.base)
        if found != self.bytes:
            at = next((i for i, (a, b) in enumerate(zip(found, self.bytes)) if a != b), min(len(found), len(self.bytes)))
            wrong(self.name, 'after', after, 'differs at', at, 'length', len(found), 'instead of', len(self.bytes))


def copy_all(source, source_at, target, target_at, length):
    done = 0
    while done < length:
        copied = os.copy_file_range(source, target, length - done, source_at + done, target_at + done)
        if copied == 0:
            wrong('copied', done, 'of', length)
        done += copied


def write(f, _):
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(MOST - 1)
        data = dice.randbytes(min(MOST - at, dice.randrange(1, 30_000)))
        os.pwrite(f.file, data, f.base + at)
        f.put(at, data)
        if dice.random() < 0.5:
            os.fsync(f.file)


def copy(f, source):
    if len(source.bytes) == 0:
        return
    source_at = dice.randrange(len(source.bytes))
    length = min(len(source.bytes) - source_at, dice.randrange(1, 100_000))
    at = dice.randrange(MOST - length + 1)
    if source is f and abs(source_at - at) < length:
        return
    data = bytes(source.bytes[source_at : source_at + length])
    copy_all(source.file, source.base + source_at, f.file, f.base + at, length)
    f.put(at, data)


def cut(f, _):
    length = dice.randrange(MOST)
    os.ftruncate(f.file, f.base + length)
    f.bytes = f.bytes[:length] + bytes(max(0, length - len(f.bytes)))


def punch(f, _):
    if len(f.bytes) == 0:
        return
    at = dice.randrange(len(f.bytes))
    length = dice.randrange(1, len(f.bytes) - at + 1)
    if libc.fallocate(f.file, 3, ctypes.c_long(f.base + at), ctypes.c_long(length)) != 0:
        wrong('punch', os.strerror(ctypes.get_errno()))
    f.bytes[at : at + length] = bytes(length)


def replace(f, _):
    """A clone takes the place of the file, whose slices stay where they are shared."""
    name = f.name + '+'
    clone = os.open(f'{mount}/{name}', os.O_RDWR | os.O_CREAT)
    os.ftruncate(clone, f.base)
    copy_all(f.file, f.base, clone, f.base, len(f.bytes))
    os.unlink(f'{mount}/{f.name}')
    f.check('its removal')
    os.close(f.file)
    f.file, f.name = clone, name


def merge(f, _):
    if compact(os.fstat(f.file).st_ino) != 0:
        wrong('compact failed')


def share():
    files = [Shared(number) for number in range(FILES)]
    while time.time() < end:
        deed = dice.choice([write, write, copy, copy, copy, cut, punch, replace, merge])
        f = dice.choice(files)
        source = dice.choice(files) if deed is copy else f
        if source is f:
            with f:
                deed(f, f)
                f.check(deed.__name__)
        else:
            first, second = sorted((f, source), key=lambda each: each.number)
            with first, second:
                source.check('nothing')
                deed(f, source)
                f.check(deed.__name__)
        # One that somebody else may be at work on.
        if dice.random() < 0.1:
            with open(f'{dice.choice(files).notes}.name') as name:
                try:
                    ino = os.stat(f'{mount}/{name.read()}').st_ino
                except FileNotFoundError:
                    continue
            compact(ino)


if what == 'shares':
    share()
elif role == 'overwriting':
    overwrite_cells(Numbers())
elif role == 'compacting':
    compact_cells()
else:
    read_cells(Numbers())
