#!/bin/sh
# Installs the database servers that tests start themselves: on free loopback ports, in temporary directories. Idempotent.
# No service of the system is started. What cannot be had here is left out; the tests that need it are skipped with that reason.
set -eu

packages=""
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || packages="$packages $2"; }
need redis-server redis-server
need mariadbd mariadb-server
need pgbouncer pgbouncer
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages="$packages postgresql"
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "servers: not installed, since this is not root on Debian:$packages"
  exit 0
fi
echo "servers: installing$packages"

# Packages start their service, unless this file says no.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
# Nor should Debian make a PostgreSQL cluster of its own.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
  mkdir -p /etc/postgresql-common
  echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
fi
apt-get update -qq || true
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold \
  $packages >/dev/null ||
  echo "servers: some packages could not be installed"
