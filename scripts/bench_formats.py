#!/usr/bin/env python3
"""Sets the readers beside the Python packages nd2 and tifffile (with imagecodecs), on one core, in turn.

    bench_formats.py PROGRAM [--dir DIR] [--rounds N] [--json FILE]

PROGRAM is the bench binary: `cargo bench --bench formats --no-run` prints its path. Writes ND2 files with it and TIFF files
of the same planes with tifffile into DIR (a temporary folder by default), for sides of 256 to 8192 pixels, then reads
each file with both in turn, N rounds (5 by default). Everything is in the page cache. The figure is the best CPU time, user
and system, to get all planes of a file into memory, opening not counted; for many small files opening counts. Prints a
table; the ratio is how many times as fast PROGRAM is. Exit status 0 when every ratio holds its target, 1 when one does
not, 2 when a package is missing.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

# one core: before anything starts its threads
for variable in ("OMP_NUM_THREADS", "TIFFFILE_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

try:
    import imagecodecs
    import nd2
    import numpy as np
    import tifffile
except ImportError as error:
    print(f"error: {error}: the packages nd2, tifffile, imagecodecs and numpy are needed", file=sys.stderr)
    sys.exit(2)

SIDES = [256, 512, 1024, 2048, 4096, 8192]
# name of the compression: what tifffile is told
TIFF = {
    "none": {},
    "deflate": {"compression": "zlib"},
    "deflate-p2": {"compression": "zlib", "predictor": True},
    "lzw": {"compression": "lzw"},
    "lzw-p2": {"compression": "lzw", "predictor": True},
    "zstd": {"compression": "zstd"},
}
N_SMALL = 200


def write_tiffs(folder):
    """TIFF files of the planes of the ND2 files."""
    for side in SIDES:
        with nd2.ND2File(folder / f"{side}.nd2") as file:
            n = max(1, min(file.attributes.sequenceCount, (32 << 20) // (side * side * 2)))
            planes = np.stack([file.read_frame(i).copy() for i in range(n)])
        for name, options in TIFF.items():
            with tifffile.TiffWriter(folder / f"{name}-{side}.tif") as tiff:
                for plane in planes:
                    tiff.write(plane, contiguous=False, rowsperstrip=max(1, (256 << 10) // (side * 2)), **options)


def write_small(folder):
    """Many files of a few planes of 256 pixels."""
    small = folder / "small"
    small.mkdir()
    data = (folder / "few.nd2").read_bytes()
    paths = [small / f"{number}.nd2" for number in range(N_SMALL)]
    for path in paths:
        path.write_bytes(data)
    return paths


def read_nd2(path):
    with nd2.ND2File(path) as file:
        n = file.attributes.sequenceCount
        out = np.empty(file.read_frame(0).shape, file.read_frame(0).dtype)
        begun = time.process_time()
        for i in range(n):
            # what is mapped is not in memory yet
            np.copyto(out, file.read_frame(i))
        return time.process_time() - begun


def read_tiff(path):
    with tifffile.TiffFile(path) as file:
        pages = list(file.pages)
        out = np.empty(pages[0].shape, pages[0].dtype)
        pages[0].asarray(out=out, maxworkers=1)
        begun = time.process_time()
        for page in pages:
            page.asarray(out=out, maxworkers=1)
        return time.process_time() - begun


def open_nd2(paths):
    begun = time.process_time()
    for path in paths:
        with nd2.ND2File(path) as file:
            file.read_frame(0).copy()
    return time.process_time() - begun


def ours(program, rounds, paths):
    command = [program, "time", str(rounds), *map(str, paths)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def in_turn(program, path, peer, rounds):
    """Best times of both, and the bytes of pixels."""
    best, best_peer = float("inf"), float("inf")
    for _ in range(rounds):
        line = ours(program, 1, [path])[0]
        best = min(best, line["read_s"])
        best_peer = min(best_peer, peer(path))
    return best, best_peer, line["bytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--dir", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        return bench(arguments, pathlib.Path(name))


def bench(arguments, folder):
    program, rounds = arguments.program, arguments.rounds
    subprocess.run([program, "write", str(folder)], check=True)
    write_tiffs(folder)
    cases = []
    for side in SIDES:
        big = side * side * 2 >= 1 << 20
        cases.append((f"nd2 {side}", folder / f"{side}.nd2", read_nd2, 0.9 if big else None))
        cases.append((f"nd2 zlib {side}", folder / f"zlib{side}.nd2", read_nd2, 2.0))
        for kind in TIFF:
            target = None if kind == "none" else 1.0
            cases.append((f"tiff {kind} {side}", folder / f"{kind}-{side}.tif", read_tiff, target))
    rows, failed = [], 0
    print(f"nd2 {nd2.__version__}, tifffile {tifffile.__version__}, imagecodecs {imagecodecs.__version__}")
    print(f"{'':24} {'MB/s':>8} {'peer MB/s':>10} {'ratio':>7}  target")
    for label, path, peer, target in cases:
        own, other, n_bytes = in_turn(program, path, peer, rounds)
        failed += report(rows, label, (n_bytes / own / 1e6, n_bytes / other / 1e6), target)
    small = write_small(folder)
    own, other = float("inf"), float("inf")
    for _ in range(rounds):
        own = min(own, sum(line["open_and_first_s"] for line in ours(program, 1, small)))
        other = min(other, open_nd2(small))
    failed += report(rows, f"nd2 {N_SMALL} small files/s", (N_SMALL / own, N_SMALL / other), 2.0)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    print(f"{len(rows)} figures, {failed} below their target")
    return 1 if failed else 0


def report(rows, label, speeds, target):
    ratio = speeds[0] / speeds[1]
    holds = target is None or ratio >= target
    rows.append({"what": label, "own": speeds[0], "peer": speeds[1], "ratio": ratio, "target": target})
    said = "" if target is None else f">= {target}{'' if holds else '  MISSED'}"
    print(f"{label:24} {speeds[0]:8.0f} {speeds[1]:10.0f} {ratio:7.2f}  {said}", flush=True)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
