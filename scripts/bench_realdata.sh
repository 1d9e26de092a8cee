#!/usr/bin/env bash
# Reads, segments and registers the ND2 and TIFF files of two folders, and tells how both optimizers got there:
# scripts/bench_realdata.sh DIR10X DIR40X [OUT] [OPTION...]. The results go to OUT (scopewatch-bench/real); options are those of
# `scopewatch bench registration`, such as --workers.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$#" -lt 2 ]; then
    echo "usage: scripts/bench_realdata.sh DIR10X DIR40X [OUT] [OPTION...]" >&2
    exit 2
fi
. scripts/setup.sh
coarse=$1 fine=$2 out="${3:-scopewatch-bench/real}"
shift "$(( $# < 3 ? $# : 3 ))"
cargo build --locked --release --quiet --bin scopewatch
target/release/scopewatch bench registration --real "$coarse" "$fine" --out "$out" "$@"
