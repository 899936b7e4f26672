#!/bin/sh
# Formats a volume on SQLite and a local directory, mounts it for real, writes and reads, and leaves it mounted.
# JUICEFS_TS_DEMO: where it lives (default: juicefs-ts-demo in the temporary directory).
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
root=$(pwd)
demo=${JUICEFS_TS_DEMO:-${TMPDIR:-/tmp}/juicefs-ts-demo}
juicefs=$root/bin/juicefs-ts
meta=sqlite3://$demo/meta.db
mnt=$demo/mnt
run() {
  echo "\$ juicefs-ts $*"
  "$juicefs" "$@"
}

mkdir -p "$demo"
echo "== format: names and attributes in $demo/meta.db, blocks in $demo/objects"
run format --no-update --bucket "$demo/objects" "$meta" demo
echo "== mount"
if awk -v mnt="$mnt" '$5 == mnt { found = 1 } END { exit !found }' /proc/self/mountinfo && [ -e "$mnt/.stats" ]; then
  echo "already mounted"
else
  run mount -d --no-syslog --backup-meta 0 --cache-dir "$demo/cache" --log "$demo/mount.log" "$meta" "$mnt"
fi

echo "== write and read"
mkdir -p "$mnt/hello"
echo "written $(date)" >"$mnt/hello/note.txt"
dd if=/dev/urandom of="$mnt/hello/random.bin" bs=1M count=32 2>/dev/null
sum=$(cksum <"$mnt/hello/random.bin")
mv "$mnt/hello/random.bin" "$mnt/hello/renamed.bin"
[ "$(cksum <"$mnt/hello/renamed.bin")" = "$sum" ] || { echo "the bytes came back different" >&2; exit 1; }
ls -l "$mnt/hello"
cat "$mnt/hello/note.txt"
df -h "$mnt"
run info "$mnt/hello/note.txt"
cat <<END

The volume is mounted at $mnt: use it as any directory.
  measure      bin/juicefs-ts bench $mnt
  look inside  bin/juicefs-ts status $meta
  unmount      bin/juicefs-ts umount $mnt
  mount again  bin/juicefs-ts mount -d $meta $mnt
  remove       bin/juicefs-ts umount $mnt && rm -r $demo
END
