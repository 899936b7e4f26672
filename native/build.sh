#!/bin/sh
# Compiles the addon next to its sources: native/juicefs_fuse-<arch>.node. Needs a C compiler and Node's headers, which
# come along with the runtime package; NODE_INCLUDE names another place.
set -eu
cd "$(dirname "$0")"
case "$(uname -m)" in
  x86_64) arch=x64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) arch=$(uname -m) ;;
esac
include=${NODE_INCLUDE:-}
for candidate in "../node_modules/node-linux-$arch/include/node" \
  "$(dirname "$(dirname "$(command -v node || echo /usr/bin/node)")")/include/node" /usr/include/node; do
  [ -n "$include" ] && break
  [ -f "$candidate/node_api.h" ] && include=$candidate
done
[ -n "$include" ] || { echo "build.sh: Node's headers (node_api.h) were not found; set NODE_INCLUDE" >&2; exit 1; }
target=juicefs_fuse-$arch.node
"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden -I"$include" juicefs_fuse.c system.c files.c crc32c.c -o "$target.new"
mv "$target.new" "$target" # a running process keeps the file that it has mapped
