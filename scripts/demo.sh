#!/usr/bin/env bash
# Builds scopewatch and shows it at work on a synthetic acquisition. Arguments go to `scopewatch demo`; see its --help.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
cargo run --locked --release --quiet --bin scopewatch -- demo "$@"
