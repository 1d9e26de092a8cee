#!/usr/bin/env bash
# A small synthetic acquisition is dropped file by file into a watched folder while the daemon runs; then its reports
# are shown. Usage: scripts/demo.sh [OUTPUT FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
work=${1:-demo-out}
if [ -e "$work" ] && [ ! -e "$work/.scopewatch-demo" ]; then
    echo "error: $work exists and is not a folder of an earlier demo; name another one: scripts/demo.sh DIR" >&2
    exit 2
fi
rm -rf "$work"
mkdir -p "$work/watched"
touch "$work/.scopewatch-demo"
work=$(cd "$work" && pwd)

echo "== building"
cargo build --locked --release --quiet --bin scopewatch --example synthetic_folder
target=$(cargo metadata --locked --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
scopewatch=$target/release/scopewatch

echo "== a synthetic acquisition: TIFF and ND2, with copies, an empty well and two damaged files"
"$target/release/examples/synthetic_folder" "$work/acquired" --fields 12

echo "== the daemon watches $work/watched"
"$scopewatch" run --watch "$work/watched" --out "$work/out" --quiet-period-ms 300 --scan-interval-ms 1000 \
    2> "$work/daemon.log" &
daemon=$!
trap 'kill "$daemon" 2>/dev/null || true' EXIT
for _ in $(seq 100); do grep -q READY "$work/daemon.log" 2>/dev/null && break; sleep 0.1; done

n=0
while IFS= read -r -d '' file; do
    target_file=$work/watched/${file#"$work/acquired/"}
    mkdir -p "$(dirname "$target_file")"
    cp "$file" "$target_file"
    n=$((n + 1))
    printf '\rdropped %d files' "$n"
    sleep 0.15
done < <(find "$work/acquired" -type f -print0 | sort -z)
echo

# the file that is cut in half stays "waiting": everything else gets its line
for _ in $(seq 600); do
    lines=$(wc -l < "$work/out/reports/files.jsonl" 2>/dev/null || echo 0)
    [ "$lines" -ge $((n - 1)) ] && break
    kill -0 "$daemon" 2>/dev/null || { echo "error: the daemon ended by itself; see $work/daemon.log" >&2; exit 1; }
    sleep 0.1
done
echo "== status"
"$scopewatch" status --out "$work/out"
kill -TERM "$daemon"
wait "$daemon"
trap - EXIT

echo "== reports/files.jsonl (first 3 of $(wc -l < "$work/out/reports/files.jsonl") lines)"
head -n 3 "$work/out/reports/files.jsonl" | cut -c 1-300
echo "== reports/duplicates.jsonl"
cut -c 1-300 "$work/out/reports/duplicates.jsonl"
echo "== reports/current/duplicate_pairs.csv"
cat "$work/out/reports/current/duplicate_pairs.csv"
echo "== what was rejected"
grep '"outcome":"rejected"' "$work/out/reports/files.jsonl" | cut -c 1-400 || true
echo
echo "reports:  $work/out/reports"
echo "nuclei:   $work/out/objects"
echo "log:      $work/daemon.log"
if [ "$lines" -lt $((n - 1)) ]; then
    echo "error: $lines of $((n - 1)) files were reported within a minute" >&2
    exit 1
fi
