"""A load that knows what must survive a crash.

load.py write DIR LOG SECONDS SEED   creates, overwrites, appends, renames and deletes files; every state is fsynced before
                                     it is logged as done, and logged as intended before it is begun. LOG lies outside.
load.py verify DIR LOG               each file is in its last done state, or in one that was intended after it.
"""
import hashlib
import json
import os
import random
import sys
import time

mode, directory, log_path = sys.argv[1:4]


def digest(data):
    return hashlib.sha256(data).hexdigest()


def write():
    seconds, rng = float(sys.argv[4]), random.Random(int(sys.argv[5]))
    os.makedirs(directory, exist_ok=True)
    files = {}
    log = open(log_path, 'a')
    count = 0

    def record(kind, path, data):
        log.write(json.dumps([kind, path, None if data is None else digest(data)]) + '\n')
        log.flush()
        os.fsync(log.fileno())

    def remove(path):
        record('intend', path, None)
        os.unlink(path)
        del files[path]
        record('done', path, None)

    end = time.time() + seconds
    try:
        while time.time() < end:
            count += 1
            choice = rng.choice(['new', 'new', 'overwrite', 'append', 'rename', 'delete'])
            if choice == 'new' or not files:
                path = '%s/%d/f%06d' % (directory, rng.randrange(8), count)
                data = rng.randbytes(rng.choice([10, 4096, 70000, 1 << 20, 5 << 20]))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                record('intend', path, data)
                with open(path, 'wb') as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                files[path] = data
                record('done', path, data)
                continue
            path = rng.choice(sorted(files))
            data = files[path]
            if choice in ('overwrite', 'append'):
                piece = rng.randbytes(rng.randrange(1, 200000))
                offset = len(data) if choice == 'append' else rng.randrange(0, len(data))
                changed = data[:offset] + piece + data[offset + len(piece):]
                record('intend', path, changed)
                with open(path, 'r+b') as file:
                    file.seek(offset)
                    file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
                files[path] = changed
                record('done', path, changed)
            elif choice == 'rename':
                target = path + 'r'
                record('intend', target, data)
                record('intend', path, None)
                os.rename(path, target)
                del files[path]
                files[target] = data
                record('done', target, data)
                record('done', path, None)
            else:
                remove(path)
            while sum(map(len, files.values())) > 60 << 20:
                remove(rng.choice(sorted(files)))
    except OSError as error:
        print('writer stopped after', count, 'operations:', error)
    print('operations', count)


def verify():
    done, intended = {}, {}
    for line in open(log_path):
        try:
            kind, path, want = json.loads(line)
        except ValueError:
            continue
        if kind == 'intend':
            intended.setdefault(path, []).append(want)
        else:
            done[path] = want
            intended.pop(path, None)
    bad = 0
    for path in set(done) | set(intended):
        try:
            have = digest(open(path, 'rb').read())
        except FileNotFoundError:
            have = None
        except OSError as error:
            have = str(error)
        if have in [done.get(path)] + intended.get(path, []):
            continue
        if path in intended and have is not None and len(have) == 64:
            continue  # torn by the crash before its fsync: any readable state is allowed
        bad += 1
        print('BAD', path, 'have', have, 'want', done.get(path), 'or', intended.get(path))
    print('files', len(done), 'in flight', len(intended), 'bad', bad)
    sys.exit(1 if bad else 0)


write() if mode == 'write' else verify()
