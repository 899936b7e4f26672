"""Prints what a walk of a mounted volume sees, in the shape of the golden volumes' tree.json.
Usage: walk.py ROOT. Paths are bytes written as latin-1; `group` is the first path of a hard-linked node."""
import hashlib
import json
import os
import stat
import sys

KINDS = {stat.S_IFDIR: 'dir', stat.S_IFREG: 'file', stat.S_IFLNK: 'symlink', stat.S_IFIFO: 'fifo', stat.S_IFBLK: 'blk', stat.S_IFCHR: 'chr', stat.S_IFSOCK: 'sock'}
INTERNAL = {b'.accesslog', b'.stats', b'.config', b'.trash', b'.control'}
root = os.fsencode(sys.argv[1])
tree = {}
names = {}


def describe(path, relative):
    st = os.lstat(path)
    kind = KINDS[stat.S_IFMT(st.st_mode)]
    entry = {'kind': kind, 'mode': oct(stat.S_IMODE(st.st_mode)), 'uid': st.st_uid, 'gid': st.st_gid, 'nlink': st.st_nlink}
    if relative != '.':
        entry['mtime_ns'] = st.st_mtime_ns
    if kind == 'file':
        digest = hashlib.sha256()
        with open(path, 'rb') as file:
            while data := file.read(1 << 20):
                digest.update(data)
        entry['size'] = st.st_size
        entry['sha256'] = digest.hexdigest()
    if kind == 'symlink':
        entry['target'] = os.readlink(path).decode('latin-1')
    if kind in ('blk', 'chr'):
        entry['rdev'] = [os.major(st.st_rdev), os.minor(st.st_rdev)]
    if kind in ('file', 'dir'):
        xattrs = {name: os.getxattr(path, name).hex() for name in os.listxattr(path)}
        if xattrs:
            entry['xattrs'] = xattrs
    if kind != 'dir' and st.st_nlink > 1:
        names.setdefault(st.st_ino, []).append(relative)
    tree[relative] = entry


for directory, subdirectories, files in os.walk(root):
    if directory == root:
        subdirectories[:] = [name for name in subdirectories if name not in INTERNAL]
        files = [name for name in files if name not in INTERNAL]
    relative = os.path.relpath(directory, root).decode('latin-1')
    describe(directory, relative)
    links = [name for name in subdirectories if os.path.islink(os.path.join(directory, name))]
    for name in files + links:
        path = os.path.join(directory, name)
        describe(path, os.path.relpath(path, root).decode('latin-1'))
for group in names.values():
    for relative in group:
        tree[relative]['group'] = min(group)
json.dump(tree, sys.stdout, sort_keys=True)
