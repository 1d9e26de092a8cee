#!/usr/bin/env bash
# A file grows frame by frame while the daemon runs and is killed five times at random moments; then its reports are
# checked: how long each frame took to its line, planes twice, planes lost, lines of the container.
# Usage: scripts/growing.sh [nd2|tiff] [MB] [SECONDS] [WORK FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
kind=${1:-nd2} mb=${2:-300} seconds=${3:-40} work=${4:-$(mktemp -d -t scopewatch-growing-XXXXXX)}
case $kind in nd2) extension=nd2 ;; tiff | tif) extension=tif ;; *) echo "error: expected nd2 or tiff, found $kind" >&2; exit 2 ;; esac
if [ -e "$work/watched" ]; then echo "error: $work holds an earlier run; name another folder" >&2; exit 2; fi
mkdir -p "$work/watched"
work=$(cd "$work" && pwd)

echo "== building"
cargo build --locked --release --quiet --bin scopewatch --example growing_writer
target=$(cargo metadata --locked --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
writer=$target/release/examples/growing_writer
start() {
    "$target/release/scopewatch" run --watch "$work/watched" --out "$work/out" --quiet-period-ms 2000 \
        --scan-interval-ms 1000 2>> "$work/daemon.log" &
    daemon=$!
}
trap 'kill "$daemon" 2>/dev/null || true' EXIT

# the sibling that tells how the frames of the run are stored
"$writer" "$work/watched/run_Seq0000.$extension" --mb 4 --seconds 0.1 > /dev/null
start
for _ in $(seq 300); do [ -s "$work/out/reports/files.jsonl" ] && break; sleep 0.1; done

echo "== run_Seq0001.$extension grows to $mb MB over $seconds s, with five kill -9"
"$writer" "$work/watched/run_Seq0001.$extension" --mb "$mb" --seconds "$seconds" --seed 2 > "$work/frames.txt" &
writing=$!
for _ in 1 2 3 4 5; do
    sleep "$(awk -v s="$seconds" -v r="$RANDOM" 'BEGIN { print s / 6 * (0.5 + r / 32768) }')"
    kill -9 "$daemon"; wait "$daemon" 2>/dev/null || true
    start
done
wait "$writing"
for _ in $(seq 1200); do
    [ "$(wc -l < "$work/out/reports/files.jsonl")" -ge 2 ] && break
    kill -0 "$daemon" 2>/dev/null || { echo "error: the daemon ended by itself; see $work/daemon.log" >&2; exit 1; }
    sleep 0.1
done
sleep 3
kill -TERM "$daemon"; wait "$daemon"
trap - EXIT

python3 - "$work" "run_Seq0001.$extension" <<'PY'
import collections, datetime, json, statistics, sys
work, name = sys.argv[1:]
written = {int(frame): float(time) for frame, time in map(str.split, open(f"{work}/frames.txt"))}
lines, seen, early = {}, collections.Counter(), 0
for line in map(json.loads, open(f"{work}/out/reports/planes.jsonl")):
    if line["file"] == name:
        frame = line["t"]
        seen[frame] += 1; early += not line["container_complete"]
        time = datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp()
        lines.setdefault(frame, time)
files = [line for line in map(json.loads, open(f"{work}/out/reports/files.jsonl")) if line["file"] == name]
waits = sorted(lines[frame] - written[frame] for frame in lines if frame in written)
lost, twice = len(set(written) - set(seen)), sum(n > 1 for n in seen.values())
confirmed = [line for line in files if line["outcome"] == "done" and line["planes"] == len(written)]
print(f"frames written                       {len(written)}")
print(f"planes reported before the end       {early}")
print(f"seconds from the first frame to its line {lines[0] - written[0]:.2f}")
print(f"seconds from a frame to its line     median {statistics.median(waits):.2f}, 95 % {waits[int(.95 * (len(waits) - 1))]:.2f}, most {waits[-1]:.2f}")
print(f"planes twice                         {twice}")
print(f"planes lost                          {lost}")
print(f"container lines                      {len(files)} ({len(confirmed)} with every plane)")
sys.exit(0 if (lost, twice, len(files), len(confirmed)) == (0, 0, 1, 1) and lines[0] - written[0] <= 5 else 1)
PY
echo "work folder: $work"
