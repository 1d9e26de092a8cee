#!/usr/bin/env bash
# Runs both benchmarks on generated data: the optimizers on known pairs, then registration without known pairs. The
# first argument is the folder for the results (default scopewatch-bench); further ones go to both commands, such as
# --trials, --seed, --workers.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
out="${1:-scopewatch-bench}"
[ "$#" -eq 0 ] || shift
cargo build --locked --release --quiet --bin scopewatch
for what in optimizers registration; do
    target/release/scopewatch bench "$what" --out "$out/$what" "$@"
done
