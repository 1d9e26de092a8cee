#!/usr/bin/env bash
# Checks that layers 0 and 1 build for other processors and systems, without C: scripts/portable.sh [TARGET...].
# The targets are installed with rustup where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(aarch64-unknown-linux-gnu aarch64-apple-darwin x86_64-pc-windows-gnu)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/portable}
for target in "${targets[@]}"; do
    rustup target add "$target"
    echo "== $target"
    cargo check --manifest-path portable/Cargo.toml --locked --target "$target"
done
