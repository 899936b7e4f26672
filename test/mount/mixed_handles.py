"""Random operations on one file through handles of every kind at once, mappings too, against a plain copy of its bytes: the kernel caches pages
for some of them and not for others.
Usage: mixed_handles.py DIRECTORY SEED OPERATIONS; exits non-zero with the last operations when something differs."""
import ctypes
import mmap
import os
import random
import sys

libc = ctypes.CDLL(None, use_errno=True)
MOST_BYTES = 9 << 20
KEEP_SIZE, PUNCH_HOLE = 1, 2
SIZES = [1, 7, 100, 4096, 5000, 1 << 16, 1 << 17, 300000, 1 << 20, (2 << 20) + 5]


class Mixed:
    def __init__(self, path, seed):
        self.random = random.Random(seed)
        self.path = path
        self.model = bytearray()
        self.both = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.writer = os.open(path, os.O_WRONLY)
        self.appender = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.reader = os.open(path, os.O_RDONLY)
        self.operations = [name for name in dir(self) if name.startswith('do_')]

    def step(self):
        name = self.random.choice(self.operations)
        offset = self.random.randrange(min(MOST_BYTES, len(self.model) + 70000))
        length = min(self.random.choice(SIZES), MOST_BYTES - offset)
        getattr(self, name)(offset, length)
        return name, offset, length, len(self.model)

    def put(self, offset, data):
        self.grow(offset)
        self.model[offset:offset + len(data)] = data

    def grow(self, length):
        self.model.extend(bytes(max(0, length - len(self.model))))

    def expect(self, offset, found, how):
        expected = bytes(self.model[offset:offset + len(found)])
        if found != expected:
            at = next(i for i in range(len(found)) if found[i:i + 1] != expected[i:i + 1])
            raise AssertionError('%s differs at %d' % (how, offset + at))

    def either(self):
        return self.random.choice([self.reader, self.both])

    def do_write(self, offset, length):
        data = self.random.randbytes(length)
        assert os.pwrite(self.writer, data, offset) == length
        self.put(offset, data)

    do_write_again = do_write

    def do_write_by_pages(self, offset, length):
        data = self.random.randbytes(length)
        assert os.pwrite(self.both, data, offset) == length
        self.put(offset, data)

    def do_append(self, _offset, length):
        data = self.random.randbytes(min(length, MOST_BYTES - len(self.model)))
        assert os.write(self.appender, data) == len(data)
        self.model.extend(data)

    def do_write_to_mapping_and_beside_it(self, offset, length):
        if offset + length > len(self.model):
            return
        data, more = self.random.randbytes(length), self.random.randbytes(max(1, length // 3))
        with mmap.mmap(self.both, 0) as mapped:
            mapped[offset:offset + length] = data
            self.put(offset, data)
            assert os.pwrite(self.writer, more, offset + length // 3) == len(more)
            self.put(offset + length // 3, more)
            self.expect(0, mapped[:], 'the mapping')

    def do_read(self, offset, length):
        found = os.pread(self.either(), length, offset)
        assert len(found) == max(0, min(length, len(self.model) - offset)), 'a read of %d bytes' % len(found)
        self.expect(offset, found, 'a read')

    do_read_again = do_read

    def do_read_mapping(self, offset, length):
        if offset < len(self.model):
            with mmap.mmap(self.either(), 0, prot=mmap.PROT_READ) as mapped:
                assert len(mapped) == len(self.model)
                self.expect(offset, mapped[offset:offset + length], 'a mapping')

    def do_truncate(self, offset, _length):
        os.ftruncate(self.random.choice([self.writer, self.both]), offset)
        del self.model[offset:]
        self.grow(offset)

    def do_allocate(self, offset, length):
        assert libc.fallocate(self.writer, 0, ctypes.c_long(offset), ctypes.c_long(length)) == 0
        self.grow(offset + length)

    def do_punch(self, offset, length):
        assert libc.fallocate(self.writer, KEEP_SIZE | PUNCH_HOLE, ctypes.c_long(offset), ctypes.c_long(length)) == 0
        end = min(len(self.model), offset + length)
        if offset < end:
            self.model[offset:end] = bytes(end - offset)

    def do_copy(self, offset, length):
        if length >= len(self.model):
            return
        source = self.random.randrange(len(self.model) - length)
        if abs(source - offset) >= length:
            copied = os.copy_file_range(self.reader, self.writer, length, source, offset)
            self.put(offset, bytes(self.model[source:source + copied]))

    def do_look(self, _offset, _length):
        assert os.fstat(self.random.choice([self.reader, self.both, self.writer])).st_size == len(self.model)

    def do_sync(self, _offset, _length):
        os.fsync(self.random.choice([self.writer, self.both]))

    def do_open_anew(self, _offset, _length):
        which, flags = self.random.choice([('writer', os.O_WRONLY), ('reader', os.O_RDONLY), ('both', os.O_RDWR)])
        os.close(getattr(self, which))
        setattr(self, which, os.open(self.path, flags))

    def do_empty(self, _offset, _length):
        if self.random.random() < 0.2:
            os.close(self.writer)
            self.writer = os.open(self.path, os.O_WRONLY | os.O_TRUNC)
            self.model.clear()


def main():
    directory, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    mixed = Mixed('%s/mixed-%d' % (directory, seed), seed)
    done = []
    try:
        for _ in range(count):
            done.append(mixed.step())
    except BaseException:
        print('seed %d, after %d operations; the last (name, offset, length, length of the file then):' % (seed, len(done)), done[-8:])
        raise
    with open(mixed.path, 'rb') as file:
        assert file.read() == mixed.model


main()
