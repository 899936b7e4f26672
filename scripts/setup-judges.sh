#!/bin/sh
# Installs the outside judges of the mount tests: Debian's (fio, dbench, stress-ng, …) and two by cargo (pjdfstest, fsx).
# Idempotent. What cannot be had here is left out; the tests that need it are then skipped with that reason.
set -eu
judges="${JUICEFS_TS_JUDGES:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/juicefs-ts/judges}"
mkdir -p "$judges"

packages=""
need() { command -v "$1" >/dev/null 2>&1 || packages="$packages $2"; }
need fio fio
need dbench dbench
need stress-ng stress-ng
need setfacl acl
need setfattr attr
need rsync rsync
need git git
need cc gcc
need make make
need python3 python3
need sqlite3 sqlite3
need fusermount3 fuse3
need zstd zstd
need strace strace
[ -e /usr/include/sys/acl.h ] || packages="$packages libacl1-dev"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages="$packages postgresql"
python3 -c 'import ensurepip' >/dev/null 2>&1 || packages="$packages python3-venv"
if [ -n "$packages" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "judges: installing$packages"
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null || echo "judges: some packages could not be installed"
fi

if [ "$(id -u)" = 0 ]; then
  getent group tests >/dev/null || groupadd tests
  getent passwd tests >/dev/null || useradd -M -N -g tests tests
fi

if command -v cargo >/dev/null 2>&1; then
  for tool in pjdfstest@0.2.2 fsx@0.3.2; do
    [ -x "$judges/bin/${tool%@*}" ] && continue
    echo "judges: cargo install $tool"
    cargo install --quiet --locked --root "$judges" "$tool" || echo "judges: $tool could not be built"
  done
else
  echo "judges: no cargo here, pjdfstest and fsx are skipped"
fi
