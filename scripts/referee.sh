#!/usr/bin/env bash
# Sets both optimizers beside other people's (MINPACK's lmder in the crate levenberg-marquardt, L-BFGS-B 3.0 in the crate
# basin) on 200 random problems: the same optimum, and the evaluations of each in a table.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/referee}
cargo test --manifest-path referee/Cargo.toml --locked --quiet --test agreement -- --nocapture --test-threads 1
