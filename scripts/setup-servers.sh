#!/bin/sh
# Installs the servers that tests start themselves: on free loopback ports, in temporary directories. Idempotent.
# No service of the system is started. What cannot be had here is left out; the tests that need it are skipped with that reason.
set -eu
bin="${JUICEFS_TS_JUDGES:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/juicefs-ts/judges}/bin"
mkdir -p "$bin"

packages=""
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || packages="$packages $2"; }
# databases
need redis-server redis-server
need mariadbd mariadb-server
need pgbouncer pgbouncer
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages="$packages postgresql"
# object stores
need apache2 apache2-bin
need rclone rclone
need sshd openssh-server
need openssl openssl
need memcached memcached
for part in proxy account container object; do need swift-$part-server swift-$part; done

install_packages() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "servers: not installed, since this is not root on Debian:$packages"
    return
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
}
[ -z "$packages" ] || install_packages

# Two S3 servers, kept beside the judges: versitygw is built (minutes, once), S3Proxy is one archive.
if [ ! -x "$bin/versitygw" ]; then
  if command -v go >/dev/null 2>&1; then
    echo "servers: go install versitygw"
    GOBIN="$bin" go install github.com/versity/versitygw/cmd/versitygw@v1.8.0 2>/dev/null || echo "servers: versitygw could not be built"
  else
    echo "servers: no go here, versitygw is skipped"
  fi
fi
if [ ! -e "$bin/s3proxy.jar" ]; then
  if command -v mvn >/dev/null 2>&1; then
    echo "servers: fetching s3proxy"
    jar=$(mktemp -d)
    mvn -q -B dependency:copy -Dartifact=org.gaul:s3proxy:2.6.0:jar:jar-with-dependencies -DoutputDirectory="$jar" >/dev/null 2>&1 &&
      mv "$jar"/s3proxy-*.jar "$bin/s3proxy.jar" || echo "servers: s3proxy could not be fetched"
    rm -rf "$jar"
  else
    echo "servers: no Maven here, s3proxy is skipped"
  fi
fi

# HDFS: a name node and a data node in one process (test/servers/MiniHdfs.java), out of archives.
if [ ! -e "$bin/../hadoop/complete" ] && command -v mvn >/dev/null 2>&1 && command -v java >/dev/null 2>&1; then
  echo "servers: fetching hadoop"
  hadoop=$(mktemp -d)
  dependency() { echo "<dependency><groupId>$1</groupId><artifactId>$2</artifactId><version>$3</version></dependency>"; }
  cat >"$hadoop/pom.xml" <<POM
<project><modelVersion>4.0.0</modelVersion><groupId>test</groupId><artifactId>hdfs</artifactId><version>1</version><dependencies>
$(dependency org.apache.hadoop hadoop-client-minicluster 3.4.1)
$(dependency org.apache.hadoop hadoop-client-runtime 3.4.1)
$(dependency javax.xml.bind jaxb-api 2.3.1)
</dependencies></project>
POM
  mkdir -p "$bin/../hadoop"
  (cd "$hadoop" && mvn -q -B dependency:copy-dependencies -DoutputDirectory="$hadoop/lib" >/dev/null 2>&1) &&
    cp "$hadoop"/lib/*.jar "$bin/../hadoop/" && touch "$bin/../hadoop/complete" || echo "servers: hadoop could not be fetched"
  rm -rf "$hadoop"
fi
