#!/bin/sh
# All tests, set-up included; the fast ones first. Arguments: folders below test/ to run instead of all.
# The last lines say how many passed, what failed, and what was skipped for which reason.
set -u
cd "$(dirname "$0")/.."
sh scripts/setup.sh || exit 1
sh scripts/setup-servers.sh || echo "test: the servers could not all be set up"
wanted=${*:-"unit conformance model simulation golden mount crash judges"}
case " $wanted " in
  *" judges "*) [ -f scripts/setup-judges.sh ] && { sh scripts/setup-judges.sh || echo "test: the judges could not all be set up"; } ;;
esac

# Steps of the race simulation, shared by its runs.
: "${SIM_STEPS:=100000}"
export SIM_STEPS

node=node_modules/.bin/node
[ -x "$node" ] || node=node
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
failed=""

if [ $# -eq 0 ]; then
  echo "== check"
  sh scripts/check.sh || failed="$failed check"
fi
for layer in $wanted; do
  if [ "$layer" = unit ]; then
    files=$(find test -name '*.test.ts' -not -path 'test/conformance/*' -not -path 'test/model/*' -not -path 'test/simulation/*' \
      -not -path 'test/golden/*' -not -path 'test/mount/*' -not -path 'test/crash/*' -not -path 'test/judges/*' | sort)
  else
    files=$(find "test/$layer" -name '*.test.ts' 2>/dev/null | sort)
  fi
  [ -n "$files" ] || {
    echo "test: there are no tests below test/$layer"
    failed="$failed $layer"
    continue
  }
  # Mounts and judges measure time-outs and share the kernel: one at a time.
  case $layer in
    mount | crash | judges | golden) concurrency=--test-concurrency=1 ;;
    *) concurrency=--test-concurrency=2 ;;
  esac
  echo "== $layer"
  # A test that fails may leave its process waiting for ever. The long form of the judges takes hours.
  within="timeout --foreground -k 30 30m"
  [ "${JUDGES:-}" = full ] && within=
  # shellcheck disable=SC2086
  $within "$node" --test $concurrency --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter=./scripts/test-summary.mjs --test-reporter-destination="$results/$layer" $files || failed="$failed $layer"
done

echo
"$node" scripts/test-summary.mjs "$results"
if [ -n "$failed" ]; then
  echo "FAILED:$failed"
  exit 1
fi
echo "all passed"
