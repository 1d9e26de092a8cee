#!/usr/bin/env python3
"""Sets `segment` beside scikit-image, on one core, in turn, on the same images.

    bench_segmentation.py PROGRAM [--dir DIR] [--rounds N] [--json FILE] [IMAGE.tif...]

PROGRAM is the bench binary: `cargo bench --bench segmentation --no-run` prints its path. It draws 2304 x 2304 pixels of 16 bits
with about 6,000 nuclei at 20 % and at 60 % foreground (other images may be named), and times its chain: label image, region
table and the figures of the plane. The peer is what is usual with scikit-image: Gaussian of 1 pixel, Otsu's threshold, exact
distance transform, peak_local_max (7 pixels apart), watershed, regionprops_table, once with eight cheap columns, once with
the columns of the region table, which are what the chain computes. Times are CPU time, user and system, the best of N rounds
(3 by default). Exit status 0 when the chain is at least 20 times as fast as the peer with eight columns on every image, 1
when not, 2 when a package is missing.
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
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TIFFFILE_NUM_THREADS"):
    os.environ[variable] = "1"

try:
    import numpy as np
    import scipy
    import skimage
    import tifffile
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.filters import threshold_otsu
    from skimage.measure import regionprops_table
    from skimage.segmentation import watershed
except ImportError as error:
    print(f"error: {error}: the packages numpy, scipy, scikit-image and tifffile are needed", file=sys.stderr)
    sys.exit(2)

TARGET = 20
PEAKS_APART_PX = 7
FEW = ["label", "area", "centroid", "bbox", "intensity_mean", "intensity_max", "eccentricity", "equivalent_diameter_area"]
ALL = FEW + """centroid_weighted axis_major_length axis_minor_length orientation solidity extent perimeter intensity_min
intensity_std intensity_median""".split()


def peer(image):
    """CPU seconds of each step, and the number of objects."""
    steps, begun = {}, time.process_time()

    def done(name):
        nonlocal begun
        now = time.process_time()
        steps[name], begun = now - begun, now

    smooth = ndimage.gaussian_filter(image.astype(np.float32), 1)
    mask = smooth > threshold_otsu(smooth)
    done("blur and otsu")
    distance = ndimage.distance_transform_edt(mask)
    done("distance")
    # peaks restricted to labels would cost ten times as much
    peaks = peak_local_max(distance, min_distance=PEAKS_APART_PX, exclude_border=False)
    markers = np.zeros(image.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    done("peaks")
    labels = watershed(-distance, markers, mask=mask)
    done("watershed")
    regionprops_table(labels, image, properties=FEW)
    done("few columns")
    regionprops_table(labels, image, properties=ALL)
    done("all columns")
    return steps, int(labels.max())


def ours(program, path):
    ran = subprocess.run([program, "time", "3", path], check=True, capture_output=True, text=True)
    return json.loads(ran.stdout)


def in_turn(program, path, rounds):
    """Best figures of both."""
    image = np.squeeze(tifffile.imread(path))
    best, steps, n_objects = None, {}, 0
    for _ in range(rounds):
        own = ours(program, path)
        best = own if best is None or own["cpu_s"] < best["cpu_s"] else best
        took, n_objects = peer(image)
        steps = {name: min(seconds, steps.get(name, np.inf)) for name, seconds in took.items()}
    few = sum(seconds for name, seconds in steps.items() if name != "all columns")
    every = sum(seconds for name, seconds in steps.items() if name != "few columns")
    return {
        "image": path.name, "mpixel": image.size / 1e6, "own": best, "peer_steps_s": steps, "peer_objects": n_objects,
        "peer_s": few, "peer_all_columns_s": every, "ratio": few / best["cpu_s"], "ratio_all_columns": every / best["cpu_s"],
    }


def tell(row):
    own, speed = row["own"], lambda seconds: row["mpixel"] / seconds
    holds = row["ratio"] >= TARGET
    print(f"{row['image']}: {own['n_objects']} objects on {own['foreground']:.1%} of the pixels, the peer has {row['peer_objects']}")
    print(f"  own, one thread       {speed(own['cpu_s']):8.2f} Mpixel/s")
    for name, key in (("peer, eight columns", "peer_s"), ("peer, all columns", "peer_all_columns_s")):
        print(f"  {name:21} {speed(row[key]):8.2f} Mpixel/s")
    print("  peer's steps          " + ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in row["peer_steps_s"].items()))
    said = f"target >= {TARGET}{'' if holds else '  MISSED'}"
    print(f"  ratio                 {row['ratio']:8.1f}, {row['ratio_all_columns']:.1f} with all columns; {said}", flush=True)
    return holds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("images", nargs="*", type=pathlib.Path, metavar="IMAGE.tif")
    parser.add_argument("--dir", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    print(f"scikit-image {skimage.__version__}, scipy {scipy.__version__}, load {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        images = arguments.images
        if not images:
            subprocess.run([arguments.program, "write", name], check=True)
            images = sorted(pathlib.Path(name).glob("*.tif"))
        rows, hold = [], True
        for path in images:
            rows.append(in_turn(arguments.program, path, arguments.rounds))
            hold &= tell(rows[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    return 0 if hold else 1


if __name__ == "__main__":
    sys.exit(main())
