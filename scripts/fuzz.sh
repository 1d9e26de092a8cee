#!/usr/bin/env bash
# Fuzzes the readers: scripts/fuzz.sh [SECONDS per target, default 600] [TARGET...; default all of nd2 clx xml tiff ome].
# Works with a stable toolchain: coverage comes from LLVM's own pass. What is found goes to fuzz/artifacts/TARGET/.
# Allocations are counted against the limits of the readers, so that too large a one is a finding, too.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-600}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(nd2 clx xml tiff ome)
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/fuzz}
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --manifest-path fuzz/Cargo.toml --locked --release --target "$host" --bins
failed=0
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    echo "== $target: $seconds s"
    nice "$CARGO_TARGET_DIR/$host/release/$target" "fuzz/corpus/$target" -artifact_prefix="fuzz/artifacts/$target/" \
        -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=20 -max_len=16384 -print_final_stats=1 \
        || failed=$((failed + 1))
done
exit $((failed > 0))
