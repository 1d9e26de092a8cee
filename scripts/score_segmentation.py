#!/usr/bin/env python3
"""Scores `scopewatch segment` against instance labels, beside a classical baseline on the same images.

    score_segmentation.py PROGRAM DATA [--json FILE] [--baseline-dir DIR] [--resamples 10000] [--seed 1]

DATA holds `manifest.csv` with the columns image, label and stratum (paths relative to DATA; mosaic_group, where it is
there, names images cut from one picture); a label image is a TIFF: 0 is background, every other number one nucleus.
Needs numpy, scipy, scikit-image (0.26 was used), tifffile (and imagecodecs for compressed files) and Pillow.

An object is found when its IoU with a true one is at least t, one to one, as many pairs as possible. AP = TP / (TP + FP +
FN) and F1 = 2 TP / (2 TP + FP + FN) per image, averaged over the images that have true objects; count error = |found -
true| / true, averaged likewise; images without true objects tell how many objects are invented. Printed for all
images, by stratum, and by the median equivalent diameter of an image's true nuclei; recall also by the single nucleus'
own diameter. The gain is the paired difference in AP, image by image, with a percentile bootstrap interval of 95 %,
once over images and once over mosaics.

The baseline: Gaussian of 0.7 pixels; mask where a pixel exceeds the 51 x 51 mean and the background by 0.75 of Otsu's
contrast, nothing at all where that contrast is below 3 robust standard deviations; R is the rms of the distance
transform's maxima; components below 8 % of a disc of radius R are dropped; markers are the h-maxima (0.07) of distance
(smoothed by 0.12 R, in units of R) plus intensity (smoothed by 0.25 R, scaled to 0..1 in each component); watershed on the
same surface. `--baseline-dir` keeps its labels there, and takes them from there the next time.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import tifffile
    from PIL import Image
    from scipy import ndimage
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching
    from skimage.filters import threshold_otsu
    from skimage.measure import label as components
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed
except ImportError as error:
    print(f"error: {error}: numpy, scipy, scikit-image, tifffile and Pillow are needed", file=sys.stderr)
    sys.exit(2)

THRESHOLDS = (0.5, 0.7)
DIAMETERS = (("below 4 px", 0, 4), ("4-8 px", 4, 8), ("8-16 px", 8, 16), ("over 16 px", 16, np.inf))
METHODS = ("scopewatch", "baseline")


def read_grey(path):
    if path.suffix in (".tif", ".tiff"):
        return np.squeeze(tifffile.imread(path))
    image = Image.open(path)
    return np.asarray(image if image.mode in ("L", "I;16", "I") else image.convert("L"))


# ---- the baseline


def baseline(image):
    smooth = ndimage.gaussian_filter(image.astype(np.float32), 0.7)
    nothing = np.zeros(image.shape, np.int32)
    if smooth.min() == smooth.max():
        return nothing
    otsu = threshold_otsu(smooth)
    below = smooth[smooth <= otsu]
    background = np.median(below)
    noise_sd = 1.4826 * np.median(np.abs(below - background))
    if otsu - background < 3 * noise_sd:
        return nothing
    mask = (smooth > ndimage.uniform_filter(smooth, 51)) & (smooth > background + 0.75 * (otsu - background))
    mask = ndimage.binary_fill_holes(mask)
    distance = ndimage.distance_transform_edt(mask)
    peaks = distance[mask & (distance == ndimage.maximum_filter(distance, 3))]
    if not len(peaks):
        return nothing
    radius = np.sqrt(np.mean(peaks**2))
    labels = components(mask, connectivity=1)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    mask = (areas >= 0.08 * np.pi * radius**2)[labels]
    labels = components(mask, connectivity=1)
    if not labels.max():
        return nothing
    surface = ndimage.gaussian_filter(distance * mask, 0.12 * radius) / radius
    surface += scaled(ndimage.gaussian_filter(smooth, 0.25 * radius), labels)
    markers = components(h_maxima(surface * mask, 0.07), connectivity=2)
    return watershed(-surface, markers * mask, mask=mask)


def scaled(values, labels):
    """To 0..1 in each component."""
    index = np.arange(labels.max() + 1)
    low, high = (find(values, labels, index) for find in (ndimage.minimum, ndimage.maximum))
    return (values - low[labels]) / np.maximum(high - low, 1e-9)[labels]


def baseline_labels(image, name, folder):
    kept = folder / f"{name}.tif" if folder else None
    if kept and kept.exists():
        return tifffile.imread(kept)
    labels = baseline(image)
    if kept:
        folder.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(kept, labels.astype(np.int32))
    return labels


# ---- the score


def score(truth, found):
    """Of one image: counts at each threshold, and which true objects were found."""
    truth, n_true = dense(truth)
    found, n_found = dense(found)
    pairs, shared = np.unique(np.stack([truth.ravel(), found.ravel()]), axis=1, return_counts=True)
    areas = np.bincount(truth.ravel(), minlength=n_true + 1)
    both = (pairs > 0).all(axis=0)
    (a, b), shared = pairs[:, both], shared[both]
    overlap = shared / (areas[a] + np.bincount(found.ravel(), minlength=n_found + 1)[b] - shared)
    result = {"n_true": n_true, "n_found": n_found, "diameters": np.sqrt(4 / np.pi * areas[1:])}
    result["count_error"] = abs(n_found - n_true) / n_true if n_true else np.nan
    for threshold in THRESHOLDS:
        is_match = overlap >= threshold
        graph = coo_matrix((np.ones(is_match.sum()), (a[is_match] - 1, b[is_match] - 1)), (n_true, n_found)).tocsr()
        partner = maximum_bipartite_matching(graph, perm_type="column") if n_true and n_found else np.full(n_true, -1)
        n_hit = int((partner >= 0).sum())
        n_either = n_true + n_found - n_hit
        result[f"hit@{threshold}"] = partner >= 0
        result[f"AP@{threshold}"] = n_hit / n_either if n_either else np.nan
        result[f"F1@{threshold}"] = 2 * n_hit / (n_true + n_found) if n_true + n_found else np.nan
    return result


def dense(labels):
    """Labels 1..n without gaps, and n."""
    ids, dense = np.unique(np.append(labels.ravel(), 0), return_inverse=True)
    return dense[:-1].reshape(labels.shape), len(ids) - 1


def summary(rows):
    """Means over the images with true objects."""
    rows = [row for row in rows if row["n_true"]]
    if not rows:
        return None
    n_true, n_found = (sum(row[name] for row in rows) for name in ("n_true", "n_found"))
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("AP@0.5", "AP@0.7", "F1@0.5", "F1@0.7", "count_error")}
    return {"n_images": len(rows), "n_true": n_true, **means, "bias": n_found / n_true - 1}


def recall(rows, low, high):
    inside = np.concatenate([(row["diameters"] >= low) & (row["diameters"] < high) for row in rows])
    if not inside.any():
        return None
    hits = {f"recall@{t}": float(np.concatenate([row[f"hit@{t}"] for row in rows])[inside].mean()) for t in THRESHOLDS}
    return {"n_nuclei": int(inside.sum()), **hits}


def bootstrap(gains, groups, arguments):
    """95 % interval of the mean gain; whole groups are drawn."""
    rng = np.random.default_rng(arguments.seed)
    names, index = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(index, gains), np.bincount(index)
    drawn = rng.integers(len(names), size=(arguments.resamples, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [float(value) for value in np.percentile(means, [2.5, 97.5])]


def gain(scores, manifest, threshold, arguments):
    images = [i for i, row in enumerate(scores["baseline"]) if row["n_true"]]
    ours, theirs = (np.array([scores[method][i][f"AP@{threshold}"] for i in images]) for method in METHODS)
    mosaics = [manifest[i].get("mosaic_group") or manifest[i]["image"] for i in images]
    gains = ours - theirs
    return {
        "mean": float(gains.mean()),
        "interval_images": bootstrap(gains, np.arange(len(gains)), arguments),
        "interval_mosaics": bootstrap(gains, mosaics, arguments),
        "n_mosaics": len(set(mosaics)),
        "n_better": int((gains > 0).sum()),
        "n_worse": int((gains < 0).sum()),
    }


# ---- both methods on all images


def run_program(program, images, out):
    """Label image of each file."""
    ran = subprocess.run([program, "segment", *images, "--out", out, "--json"], capture_output=True, text=True)
    found = {}
    for line in ran.stdout.splitlines():
        answer = json.loads(line)
        for plane in answer.get("planes", []):
            if plane.get("labels"):
                found[answer["file"]] = plane["labels"]
    missing = [str(image) for image in images if str(image) not in found]
    if missing:
        sys.exit(f"error: no labels of {', '.join(missing)}\n{ran.stderr}")
    return [tifffile.imread(found[str(image)]) for image in images]


def score_all(arguments):
    manifest = list(csv.DictReader((arguments.data / "manifest.csv").open(newline="")))
    images = [arguments.data / row["image"] for row in manifest]
    with tempfile.TemporaryDirectory() as out:
        ours = run_program(arguments.program, images, out)
    scores = {method: [] for method in METHODS}
    for row, path, labels in zip(manifest, images, ours):
        truth = np.squeeze(tifffile.imread(arguments.data / row["label"])).astype(np.int64)
        scores["scopewatch"].append(score(truth, labels))
        scores["baseline"].append(score(truth, baseline_labels(read_grey(path), path.stem, arguments.baseline_dir)))
    return manifest, scores


def parts(manifest, scores):
    """Name of each part of the images, and which these are."""
    everything = range(len(manifest))
    yield "all", list(everything)
    for stratum in sorted({row["stratum"] for row in manifest}):
        yield stratum, [i for i in everything if manifest[i]["stratum"] == stratum]
    for name, low, high in DIAMETERS:
        middle = lambda i: np.median(scores["baseline"][i]["diameters"]) if scores["baseline"][i]["n_true"] else -1
        yield f"median {name}", [i for i in everything if low <= middle(i) < high]


def report(manifest, scores, arguments):
    result = {"parts": {}, "recall": {}, "invented": {}, "gain": {}, "images": []}
    for name, chosen in parts(manifest, scores):
        sums = {method: summary([scores[method][i] for i in chosen]) for method in METHODS}
        if sums["baseline"]:
            result["parts"][name] = sums
    for name, low, high in DIAMETERS:
        result["recall"][name] = {method: recall(scores[method], low, high) for method in METHODS}
    for method in METHODS:
        result["invented"][method] = sum(row["n_found"] for row in scores[method] if not row["n_true"])
    for threshold in THRESHOLDS:
        result["gain"][f"AP@{threshold}"] = gain(scores, manifest, threshold, arguments)
    for i, row in enumerate(manifest):
        figures = {method: {k: v for k, v in scores[method][i].items() if np.isscalar(v) and v == v} for method in METHODS}
        result["images"].append({"image": row["image"], "stratum": row["stratum"], **figures})
    return result


def tell(result):
    print(f"{'':24}{'':11} images nuclei  AP@0.5 AP@0.7 F1@0.5 F1@0.7 count err   bias")
    for name, sums in result["parts"].items():
        for method in METHODS:
            s = sums[method]
            print(
                f"{name if method == METHODS[0] else '':24}{method:11} {s['n_images']:6d} {s['n_true']:6d}  {s['AP@0.5']:6.3f}"
                f" {s['AP@0.7']:6.3f} {s['F1@0.5']:6.3f} {s['F1@0.7']:6.3f} {s['count_error']:9.3f} {s['bias']:+6.1%}"
            )
    print("\nrecall of single nuclei by their own diameter")
    for name, both in result["recall"].items():
        if both["baseline"]:
            figures = [f"{m} {both[m]['recall@0.5']:.3f} @0.5 {both[m]['recall@0.7']:.3f} @0.7" for m in METHODS]
            print(f"{name:12} {both['baseline']['n_nuclei']:6d} nuclei  {'   '.join(figures)}")
    print("\nobjects on images without any:", ", ".join(f"{m} {result['invented'][m]}" for m in METHODS))
    for name, g in result["gain"].items():
        (a, b), (c, d) = g["interval_images"], g["interval_mosaics"]
        print(
            f"gain in {name} {g['mean']:+.4f}, 95 % interval {a:+.4f} to {b:+.4f} over images, {c:+.4f} to {d:+.4f} over"
            f" {g['n_mosaics']} mosaics; better on {g['n_better']}, worse on {g['n_worse']}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--baseline-dir", type=pathlib.Path)
    parser.add_argument("--resamples", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    manifest, scores = score_all(arguments)
    result = report(manifest, scores, arguments)
    tell(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
