"""What the kernel can ask of a mounted volume, as system calls that Node does not offer.
Usage: kernel_checks.py MOUNTPOINT CHECK; exits non-zero with a message when a check fails."""
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE, INSERT = 1, 2, 8, 16, 32
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
MIB = 1 << 20


def fails(code, call, *args):
    try:
        call(*args)
    except OSError as error:
        assert error.errno == code, 'expected %s, got %s' % (errno.errorcode[code], errno.errorcode.get(error.errno, error.errno))
        return
    raise AssertionError('expected %s, but it succeeded' % errno.errorcode[code])


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def renameat2(source, target, flags):
    if libc.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def write(path, data):
    with open(path, 'wb') as file:
        file.write(data)


def read(path):
    with open(path, 'rb') as file:
        return file.read()


def sparse_files_show_their_holes(d):
    with open(d + '/f', 'wb') as file:
        file.seek(70 * MIB)
        file.write(b'end')
    fd = os.open(d + '/f', os.O_RDONLY)
    assert os.lseek(fd, 0, os.SEEK_DATA) >= 64 * MIB
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
    assert os.lseek(fd, 70 * MIB, os.SEEK_HOLE) == 70 * MIB + 3
    fails(errno.ENXIO, os.lseek, fd, 70 * MIB + 3, os.SEEK_DATA)
    assert os.pread(fd, 10, 5) == bytes(10)
    os.close(fd)


def fallocate_follows_its_modes(d):
    write(d + '/f', b'x' * 10000)
    fd = os.open(d + '/f', os.O_RDWR)
    fallocate(fd, 0, 0, 20000)
    assert os.fstat(fd).st_size == 20000
    fallocate(fd, KEEP_SIZE, 0, 90000)
    assert os.fstat(fd).st_size == 20000
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 100, 200)
    data = read(d + '/f')
    assert data[:100] == b'x' * 100 and data[100:300] == bytes(200) and data[300:10000] == b'x' * 9700 and data[10000:] == bytes(10000)
    fallocate(fd, ZERO_RANGE, 19000, 2000)
    assert os.fstat(fd).st_size == 21000
    fails(errno.EOPNOTSUPP, fallocate, fd, COLLAPSE, 0, 4096)
    fails(errno.EOPNOTSUPP, fallocate, fd, INSERT, 0, 4096)
    fails(errno.EINVAL, fallocate, fd, 0, 0, 0)
    os.close(fd)


def copy_file_range_shares_data(d):
    data = os.urandom(5 * MIB)
    write(d + '/a', data)
    a, b = os.open(d + '/a', os.O_RDWR), os.open(d + '/b', os.O_RDWR | os.O_CREAT)
    left, offset = len(data), 0
    while left:
        copied = os.copy_file_range(a, b, left, offset, offset + 7)
        assert copied > 0
        left -= copied
        offset += copied
    assert read(d + '/b') == bytes(7) + data
    assert os.copy_file_range(a, a, MIB, 0, 6 * MIB) == MIB
    assert os.pread(a, MIB, 6 * MIB) == data[:MIB] and os.pread(a, MIB, 5 * MIB) == bytes(MIB)
    fails(errno.EINVAL, os.copy_file_range, a, a, MIB, 0, 1000)
    os.close(a)
    os.close(b)


def rename_knows_its_flags(d):
    write(d + '/a', b'a')
    write(d + '/b', b'b')
    os.mkdir(d + '/dir')
    write(d + '/dir/inside', b'')
    fails(errno.EEXIST, renameat2, d + '/a', d + '/b', NOREPLACE)
    renameat2(d + '/a', d + '/b', EXCHANGE)
    assert read(d + '/a') == b'b' and read(d + '/b') == b'a'
    renameat2(d + '/a', d + '/dir', EXCHANGE)
    assert os.path.isdir(d + '/a') and os.path.isfile(d + '/dir') and os.listdir(d + '/a') == ['inside']
    renameat2(d + '/b', d + '/c', NOREPLACE)
    assert read(d + '/c') == b'a'
    fails(errno.ENOENT, renameat2, d + '/c', d + '/missing', EXCHANGE)


def unnamed_files_can_be_named(d):
    fd = os.open(d, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b'unnamed')
    assert os.fstat(fd).st_nlink == 0 and os.listdir(d) == []
    assert libc.linkat(-100, b'/proc/self/fd/%d' % fd, -100, os.fsencode(d) + b'/named', 0x400) == 0, os.strerror(ctypes.get_errno())
    os.close(fd)
    assert read(d + '/named') == b'unnamed' and os.stat(d + '/named').st_nlink == 1
    os.close(os.open(d, os.O_TMPFILE | os.O_RDWR, 0o600))
    assert os.listdir(d) == ['named']


def unlinked_files_stay_usable_while_open(d):
    fd = os.open(d + '/f', os.O_RDWR | os.O_CREAT)
    os.write(fd, b'before')
    os.unlink(d + '/f')
    os.pwrite(fd, b'AFTER', 6)
    assert os.pread(fd, 100, 0) == b'beforeAFTER' and os.listdir(d) == []
    os.ftruncate(fd, 3)
    assert os.fstat(fd).st_size == 3
    os.close(fd)


def shared_mappings_are_one_memory(d):
    write(d + '/f', bytes(3 * mmap.PAGESIZE))
    fd = os.open(d + '/f', os.O_RDWR)
    with mmap.mmap(fd, 3 * mmap.PAGESIZE) as first, mmap.mmap(fd, 3 * mmap.PAGESIZE) as second:
        first[5000:5005] = b'hello'
        assert second[5000:5005] == b'hello'
        first.flush()
        assert os.pread(fd, 5, 5000) == b'hello'
        os.pwrite(fd, b'world', 9000)
        assert second[9000:9005] == b'world'
    os.close(fd)
    assert read(d + '/f')[5000:5005] == b'hello'


def direct_io_reads_what_was_written(d):
    fd = os.open(d + '/f', os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    buffer = mmap.mmap(-1, 1 << 16)
    buffer.write(os.urandom(1 << 16))
    assert os.pwritev(fd, [buffer], 0) == 1 << 16
    again = mmap.mmap(-1, 1 << 16)
    assert os.preadv(fd, [again], 0) == 1 << 16
    assert again[:] == buffer[:]
    os.close(fd)
    assert read(d + '/f') == buffer[:]


def appenders_do_not_overwrite_each_other(d):
    lines = 200
    code = "import os,sys\nfd=os.open(sys.argv[1],os.O_WRONLY|os.O_APPEND|os.O_CREAT)\nfor i in range(%d): os.write(fd,(sys.argv[2]*50+'\\n').encode())" % lines
    children = [subprocess.Popen([sys.executable, '-c', code, d + '/f', letter]) for letter in 'abcd']
    assert all(child.wait() == 0 for child in children)
    found = read(d + '/f').decode().split('\n')[:-1]
    assert len(found) == 4 * lines and all(len(set(line)) == 1 and len(line) == 50 for line in found)


def mappings_beside_a_writer_show_each_write_when_it_has_returned(d):
    """A write in one call is several requests; pages that a reader fetches between them must not outlive the call."""
    size = 12 * MIB
    write(d + '/f', bytes([255]) * size)
    code = "import os,sys,mmap\nm=mmap.mmap(os.open(sys.argv[1],os.O_RDONLY),0,prot=mmap.PROT_READ)\nwhile os.getppid()==%d:\n  for at in range(0,%d,4096): m[at]" % (os.getpid(), size)
    readers = [subprocess.Popen([sys.executable, '-c', code, d + '/f']) for _ in range(2)]
    fd, own = os.open(d + '/f', os.O_WRONLY), os.open(d + '/f', os.O_RDONLY)
    try:
        with mmap.mmap(own, size, prot=mmap.PROT_READ) as mapped:
            for version in range(25):
                expected = bytes([version]) * size
                assert os.pwrite(fd, expected, 0) == size
                found = mapped[:]
                assert found == expected, 'write %d: %s' % (version, set(found))
                for at in range(0, size, MIB):
                    assert os.pread(own, MIB, at) == expected[:MIB]
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()


def what_is_written_shows_in_a_mapping_and_the_mapping_in_what_is_read(d):
    write(d + '/f', b'a' * 16384)
    both, fd = os.open(d + '/f', os.O_RDWR), os.open(d + '/f', os.O_WRONLY)
    with mmap.mmap(both, 16384) as mapped:
        assert mapped[:4] == b'aaaa'
        mapped[8192:8196] = b'same'
        os.pwrite(fd, b'else', 0)
        assert mapped[:8] == b'elseaaaa'
        # dirty in the mapping, overwritten beside it in the same page
        os.pwrite(fd, b'next', 8196)
        assert mapped[8192:8204] == b'samenextaaaa'
        mapped.flush()
        assert os.pread(both, 12, 8192) == b'samenextaaaa'
    os.close(both)
    os.close(fd)
    assert read(d + '/f') == b'else' + b'a' * 8188 + b'samenext' + b'a' * 8184


def a_follower_reads_line_after_line(d):
    fd, follower = os.open(d + '/f', os.O_WRONLY | os.O_APPEND | os.O_CREAT), os.open(d + '/f', os.O_RDONLY)
    for line in range(300):
        os.write(fd, b'%06d\n' % line)
        assert os.read(follower, 100) == b'%06d\n' % line
        assert os.fstat(follower).st_size == 7 * (line + 1)
    os.writev(fd, [b'%03d' % i for i in range(1000)])
    assert os.read(follower, 4000) == b''.join(b'%03d' % i for i in range(1000))


def bytes_arrive_from_pipes_mappings_and_memory_of_any_alignment(d):
    source = os.urandom(3 * MIB)
    write(d + '/source', source)
    fd = os.open(d + '/source', os.O_RDONLY)

    out = os.open(d + '/sent', os.O_WRONLY | os.O_CREAT)
    done = 0
    while done < len(source):
        done += os.sendfile(out, fd, done, len(source) - done)
    assert read(d + '/sent') == source

    out = os.open(d + '/odd', os.O_WRONLY | os.O_CREAT)
    assert os.pwrite(out, memoryview(source)[1:], 77) == len(source) - 1
    assert read(d + '/odd') == bytes(77) + source[1:]

    # the pages that are written from are the file's own, and not in memory yet
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    with mmap.mmap(fd, len(source), prot=mmap.PROT_READ) as mapped:
        out = os.open(d + '/source', os.O_WRONLY)
        assert os.pwrite(out, memoryview(mapped)[MIB:MIB + 8192], 0) == 8192
        assert os.pwrite(out, memoryview(mapped)[2 * MIB + 8:2 * MIB + 8192], 2 * MIB + 9000) == 8184
        expected = bytearray(source)
        expected[0:8192] = source[MIB:MIB + 8192]
        expected[2 * MIB + 9000:2 * MIB + 17184] = source[2 * MIB + 8:2 * MIB + 8192]
        assert mapped[:] == expected
    assert read(d + '/source') == expected


def open_with_truncation_empties_the_file(d):
    write(d + '/f', b'x' * 5 * MIB)
    os.close(os.open(d + '/f', os.O_WRONLY | os.O_TRUNC))
    assert os.stat(d + '/f').st_size == 0 and read(d + '/f') == b''


def open_with_truncation_touches_an_empty_file(d):
    write(d + '/stamp', b'')
    os.utime(d + '/stamp', (1, 1))
    os.close(os.open(d + '/stamp', os.O_WRONLY | os.O_TRUNC))
    assert time.time() - os.stat(d + '/stamp').st_mtime < 60


def bsd_locks_exclude_and_wait(d):
    write(d + '/f', b'')
    first, second = os.open(d + '/f', os.O_RDWR), os.open(d + '/f', os.O_RDWR)
    fcntl.flock(first, fcntl.LOCK_EX)
    fails(errno.EAGAIN, fcntl.flock, second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(first, fcntl.LOCK_SH)
    fcntl.flock(second, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.flock(second, fcntl.LOCK_UN)
    fcntl.flock(first, fcntl.LOCK_EX)
    got = []
    waiter = threading.Thread(target=lambda: (fcntl.flock(second, fcntl.LOCK_EX), got.append(time.time())))
    waiter.start()
    time.sleep(0.3)
    assert not got
    released = time.time()
    fcntl.flock(first, fcntl.LOCK_UN)
    waiter.join(5)
    assert got and got[0] - released < 2
    os.close(first)
    os.close(second)


def record_locks_exclude_between_processes(d):
    write(d + '/f', bytes(100))
    fd = os.open(d + '/f', os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 20)
    child = "import fcntl,os,sys\nfd=os.open(sys.argv[1],os.O_RDWR)\ntry:\n fcntl.lockf(fd,fcntl.LOCK_EX|fcntl.LOCK_NB,int(sys.argv[2]),int(sys.argv[3]))\nexcept OSError as e: sys.exit(e.errno)"
    attempt = lambda length, start: subprocess.run([sys.executable, '-c', child, d + '/f', str(length), str(start)]).returncode
    assert attempt(5, 25) == errno.EAGAIN and attempt(5, 0) == 0 and attempt(20, 0) == 0 and attempt(21, 0) == errno.EAGAIN and attempt(0, 30) == 0
    asked = struct.unpack('hhqqi', fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0)))
    assert asked[0] == fcntl.F_UNLCK
    fcntl.lockf(fd, fcntl.LOCK_UN, 10, 20)
    assert attempt(5, 25) == 0
    os.close(fd)


def a_waiting_lock_can_be_interrupted(d):
    write(d + '/f', b'')
    holder = os.open(d + '/f', os.O_RDWR)
    fcntl.lockf(holder, fcntl.LOCK_EX)
    child = subprocess.Popen([sys.executable, '-c', "import fcntl,os,signal,sys\nclass Stop(Exception): pass\ndef stop(*_): raise Stop\nsignal.signal(signal.SIGALRM,stop)\nsignal.setitimer(signal.ITIMER_REAL,0.3)\nfd=os.open(sys.argv[1],os.O_RDWR)\ntry:\n fcntl.lockf(fd,fcntl.LOCK_EX)\nexcept Stop: sys.exit(7)", d + '/f'])
    assert child.wait(10) == 7
    fcntl.lockf(holder, fcntl.LOCK_UN)
    os.close(holder)


def locks_go_with_their_process(d):
    write(d + '/f', b'')
    child = subprocess.Popen([sys.executable, '-c', "import fcntl,os,sys,time\nfd=os.open(sys.argv[1],os.O_RDWR)\nfcntl.flock(fd,fcntl.LOCK_EX)\nfcntl.lockf(fd,fcntl.LOCK_EX)\nprint('locked',flush=True)\ntime.sleep(60)", d + '/f'], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b'locked\n'
    child.kill()
    child.wait()
    fd = os.open(d + '/f', os.O_RDWR)
    deadline = time.time() + 5
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            assert time.time() < deadline, 'still locked'
            time.sleep(0.05)
    os.close(fd)


def extended_attributes_are_kept(d):
    write(d + '/f', b'')
    os.setxattr(d + '/f', 'user.a', b'1')
    os.setxattr(d + '/f', 'user.empty', b'')
    os.setxattr(d + '/f', 'user.big', bytes(60000))
    assert sorted(os.listxattr(d + '/f')) == ['user.a', 'user.big', 'user.empty']
    assert os.getxattr(d + '/f', 'user.a') == b'1' and os.getxattr(d + '/f', 'user.big') == bytes(60000) and os.getxattr(d + '/f', 'user.empty') == b''
    fails(errno.EEXIST, os.setxattr, d + '/f', 'user.a', b'2', os.XATTR_CREATE)
    fails(errno.ENODATA, os.setxattr, d + '/f', 'user.b', b'2', os.XATTR_REPLACE)
    os.removexattr(d + '/f', 'user.a')
    fails(errno.ENODATA, os.getxattr, d + '/f', 'user.a')
    fails(errno.ENODATA, os.removexattr, d + '/f', 'user.a')


def times_have_nanoseconds(d):
    write(d + '/f', b'')
    for ns in (1, 999_999_999, 1_577_934_245_678_901_234, -1_500_000_000):
        os.utime(d + '/f', ns=(ns, ns))
        status = os.stat(d + '/f')
        assert (status.st_atime_ns, status.st_mtime_ns) == (ns, ns), (ns, status.st_mtime_ns)


def names_are_bytes(d):
    names = [b'\xff\xfe', 'snow \u2603'.encode(), b'new\nline', b'quote"\'', b' ', b'x' * 255]
    for name in names:
        write(os.fsencode(d) + b'/' + name, name)
    assert sorted(os.listdir(os.fsencode(d))) == sorted(names)
    for name in names:
        assert read(os.fsencode(d) + b'/' + name) == name


def inode_flags_protect(d):
    write(d + '/f', b'x')
    fd = os.open(d + '/f', os.O_RDONLY)
    get, put = 0x80086601, 0x40086602
    flags = lambda: struct.unpack('l', fcntl.ioctl(fd, get, struct.pack('l', 0)))[0]
    fcntl.ioctl(fd, put, struct.pack('l', 0x10))
    assert flags() & 0x10
    fails(errno.EPERM, os.unlink, d + '/f')
    fails(errno.EPERM, os.open, d + '/f', os.O_WRONLY)
    fcntl.ioctl(fd, put, struct.pack('l', 0x20))
    fails(errno.EPERM, os.open, d + '/f', os.O_WRONLY)
    os.close(os.open(d + '/f', os.O_WRONLY | os.O_APPEND))
    fcntl.ioctl(fd, put, struct.pack('l', 0))
    os.close(fd)
    os.unlink(d + '/f')


def deep_directories_and_long_links(d):
    path = d
    for level in range(60):
        path += '/level%d' % level
        os.mkdir(path)
    write(path + '/f', b'deep')
    assert read(path + '/f') == b'deep'
    os.symlink('t' * 4000, d + '/long')
    assert os.readlink(d + '/long') == 't' * 4000


def removing_while_listing_leaves_nothing(d):
    for i in range(3000):
        write('%s/f%d' % (d, i), b'')
    removed = 0
    with os.scandir(d) as entries:
        for entry in entries:
            os.unlink(entry.path)
            removed += 1
    assert removed == 3000 and os.listdir(d) == []


def suid_goes_when_others_write(d):
    write(d + '/f', b'x')
    os.chmod(d + '/f', 0o6777)
    os.chmod(d, 0o777)
    if os.fork() == 0:
        os.setgid(65534)
        os.setuid(65534)
        fd = os.open(d + '/f', os.O_WRONLY)
        os.write(fd, b'y')
        os._exit(0)
    os.wait()
    assert os.stat(d + '/f').st_mode & 0o7777 == 0o777, oct(os.stat(d + '/f').st_mode)


def whoever_may_write_may_write_and_touch_what_is_not_his(d):
    write(d + '/f', b'mine')
    os.chmod(d + '/f', 0o666)
    os.chmod(d, 0o777)
    code = '''
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
fd = os.open(sys.argv[1], os.O_RDWR)
os.write(fd, b'yours')
os.close(fd)
os.utime(sys.argv[1])
os.truncate(sys.argv[1], 3)
os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_TRUNC))
try: os.utime(sys.argv[1], (1, 1))
except PermissionError: sys.exit(0)
sys.exit(9)
'''
    ended = subprocess.run([sys.executable, '-c', code, d + '/f'], stderr=subprocess.PIPE)
    assert ended.returncode == 0, ended.stderr.decode()
    assert os.stat(d + '/f').st_size == 0 and os.stat(d + '/f').st_uid == 0


def reads_see_what_another_handle_wrote(d):
    writer, reader = os.open(d + '/f', os.O_RDWR | os.O_CREAT), os.open(d + '/f', os.O_RDONLY)
    for i in range(50):
        piece = bytes([i]) * 1000
        os.pwrite(writer, piece, i * 900)
        assert os.pread(reader, 1000, i * 900) == piece
        assert os.fstat(reader).st_size == i * 900 + 1000
    os.close(writer)
    os.close(reader)


def main():
    root, name = sys.argv[1:3]
    directory = '%s/%s' % (root, name)
    os.mkdir(directory)
    signal.alarm(60)
    globals()[name](directory)


main()
