#!/bin/sh
# Installs what bench/mounts.ts compares us with: rclone, s3fs and what they mount with (Debian's). Only for that benchmark; nothing
# else needs them. Idempotent. The S3 servers come by scripts/setup-servers.sh.
set -eu
packages=""
need() { command -v "$1" >/dev/null 2>&1 || packages="$packages $2"; }
need rclone rclone
need s3fs s3fs
need fusermount3 fuse3
need openssl openssl
[ -z "$packages" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "not installed, since this is not root on Debian:$packages" >&2
  exit 1
fi
apt-get update -qq || true
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
