#!/usr/bin/env python3
"""Sets a scan for copies beside the Python packages imagehash and tifffile or nd2, on the same frames.

    bench_scan.py PROGRAM [--frames N] [--dir DIR]

PROGRAM is the bench binary: `cargo bench --bench scan --no-run` prints its path. Draws N frames with it (10,000 by default:
5 GB; a temporary folder unless DIR is given), prints its table, then reads each frame with tifffile or nd2 and hashes it with
imagehash.phash (16 x 16) through Pillow, on one core. Everything is in the page cache. Exit status 0 when done, 2 when a
package is missing.
"""
import argparse
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
    import imagehash
    import nd2
    import tifffile
    from PIL import Image
except ImportError as error:
    print(f"error: {error}: the packages imagehash, Pillow, tifffile and nd2 are needed", file=sys.stderr)
    sys.exit(2)


def hash_frame(path):
    frame = nd2.imread(path) if path.suffix == ".nd2" else tifffile.imread(path)
    # Pillow brings 16 bits down to 8 by cutting off what is above: imagehash's users stretch the range first
    low, high = int(frame.min()), int(frame.max())
    frame = ((frame - low) * (255.0 / max(high - low, 1))).astype("uint8")
    return imagehash.phash(Image.fromarray(frame), hash_size=16)


def measure(folder, n):
    program, frames = arguments.program, str(folder)
    subprocess.run([program, "write", frames, str(n)], check=True)
    subprocess.run([program, "table", frames], check=True)
    print("Python: imread, imagehash.phash 16 x 16")
    for name in ("tiff", "deflate", "nd2"):
        paths = sorted((folder / name).iterdir())
        begun = (time.perf_counter(), time.process_time())
        for path in paths:
            hash_frame(path)
        wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
        print(f"  {name:<32} {wall:7.2f} s {len(paths) / wall:8.0f} frames/s, CPU {cpu:7.2f} s")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("program")
parser.add_argument("--frames", type=int, default=10_000, help="frames to draw")
parser.add_argument("--dir", type=pathlib.Path, help="where to draw them; must be empty or missing")
arguments = parser.parse_args()
if arguments.dir is None:
    with tempfile.TemporaryDirectory() as folder:
        measure(pathlib.Path(folder), arguments.frames)
else:
    arguments.dir.mkdir(parents=True, exist_ok=True)
    if any(arguments.dir.iterdir()):
        sys.exit(f"error: {arguments.dir}: expected an empty folder")
    measure(arguments.dir, arguments.frames)
