#!/bin/sh
# What a machine can check without running anything: types, format, lint.
set -eu
cd "$(dirname "$0")/.."
node_modules/.bin/tsc -p .
node_modules/.bin/biome ci --reporter=summary .
