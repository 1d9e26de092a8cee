#!/usr/bin/env bash
# Everything that must hold before a change is handed in: format, lints, documentation, tests.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

echo "== format";        cargo fmt --all --check
echo "== lints";         cargo clippy --locked --all-targets -- -D warnings
echo "== documentation"; RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
echo "== tests";         cargo test --locked
