#!/bin/sh
# Everything that is needed to run from a checkout: packages, the kernel's helper, the native addon. Idempotent and quick when
# nothing is missing. As root on Debian-like systems it installs what is missing; elsewhere it says what that is.
set -eu
cd "$(dirname "$0")/.."
say() { echo "setup: $*"; }

# npm ci leaves a copy of the lock file behind; an older or missing one means that packages changed.
if ! cmp -s package-lock.json node_modules/.setup-lock; then
  command -v npm >/dev/null 2>&1 || { say "npm is missing: install Node.js with npm" >&2; exit 1; }
  say "installing packages"
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  cp package-lock.json node_modules/.setup-lock
fi

missing=""
command -v fusermount3 >/dev/null 2>&1 || command -v fusermount >/dev/null 2>&1 || missing="$missing fuse3"
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing$missing"
    # shellcheck disable=SC2086
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/dev/null ||
      say "could not install$missing" >&2
  else
    say "not installed:$missing" >&2
  fi
fi

case "$(uname -m)" in
  x86_64) addon=native/juicefs_fuse-x64.node ;;
  aarch64 | arm64) addon=native/juicefs_fuse-arm64.node ;;
  *) addon=native/juicefs_fuse-$(uname -m).node ;;
esac
# Unpacked sources may carry an old date: then the version tells.
needed=$(sed -n 's/^#define ADDON_VERSION //p' native/version.h)
node=node_modules/.bin/node
[ -x "$node" ] || node=node
built=$("$node" -p "require('./$addon').version" 2>/dev/null) || built=none
if [ "$built" != "$needed" ] || [ -n "$(find native -name '*.[ch]' -newer "$addon")" ]; then
  say "compiling $addon"
  sh native/build.sh || say "the native addon could not be compiled: mounts are served without it, slower, and by root only" >&2
fi

[ -e /dev/fuse ] || say "/dev/fuse is missing: nothing can be mounted here (modprobe fuse, or a container with the device)" >&2
