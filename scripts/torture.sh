#!/usr/bin/env bash
# Tries to break the promises for a longer time: the release binary, files, faults, and a model of what must come of it.
#   scripts/torture.sh [--seed N] [--seconds N] [--rounds N] [--from N] [--table FILE] [KIND...]
# KIND is a test of tests/it/torture: kills terms halts clock_jumps vanishing_root burst slow_writers soak full_disk remounts without_events
# io_errors failing_disk failing_calls power_cuts; default: all of them, one after the other. full_disk, remounts and without_events need root (the last one bindfs), io_errors needs strace.
# --rounds ends a trial before its time, --from skips the first rounds of io_errors and failing_calls; --table writes the figures of `soak` as comma-separated values.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh

kinds=()
export SCOPEWATCH_TORTURE_SEED=1 SCOPEWATCH_TORTURE_SECONDS=60
while [ $# -gt 0 ]; do
    case "$1" in
        --seed) SCOPEWATCH_TORTURE_SEED=$2; shift 2 ;;
        --seconds) SCOPEWATCH_TORTURE_SECONDS=$2; shift 2 ;;
        --from) export SCOPEWATCH_TORTURE_FROM=$2; shift 2 ;;
        --rounds) export SCOPEWATCH_TORTURE_ROUNDS=$2; shift 2 ;;
        --table) SCOPEWATCH_TORTURE_TABLE=$(realpath -m "$2"); export SCOPEWATCH_TORTURE_TABLE; shift 2 ;;
        -h|--help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
        -*) echo "unknown option $1; see $0 --help" >&2; exit 2 ;;
        *) kinds+=("$1"); shift ;;
    esac
done
[ ${#kinds[@]} -gt 0 ] ||
    kinds=(kills terms halts clock_jumps vanishing_root burst slow_writers soak full_disk remounts without_events
        io_errors failing_disk failing_calls power_cuts)

cargo build --release --locked
SCOPEWATCH_BINARY=${SCOPEWATCH_BINARY:-$PWD/target/release/scopewatch}
export SCOPEWATCH_BINARY
for kind in "${kinds[@]}"; do
    # a name that fits no test is a mistake, not a pass
    cargo test --locked --test it torture:: -- --list 2>/dev/null | grep -q "::$kind: test" ||
        { echo "unknown kind $kind; see $0 --help" >&2; exit 2; }
    cargo test --locked --test it "::$kind" -- --nocapture --test-threads 1 | grep -E "^torture|panicked|test result|assert"
done
