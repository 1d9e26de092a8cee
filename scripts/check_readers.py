#!/usr/bin/env python3
"""Compares how independent readers see the files of a synthetic acquisition with what is true of them.

    check_readers.py DIR [--scopewatch PROGRAM]

DIR is a folder made by `scopewatch synth`. Each file that its truth.json calls whole is read by the Python package
`nd2` or `tifffile`: axes, shape, sample type, pixel size, channels, stage position, times and the SHA-256 of every plane
must be those of the truth. With --scopewatch, `PROGRAM inspect --digests` must say the same. Damaged files must be
refused or give pixels that no whole file has, and `inspect` must refuse them. Prints what differs; exit status 0 when
nothing does, 1 when something does or nothing was compared, 2 when a package is missing.
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys

try:
    import nd2
    import numpy as np
    import tifffile
except ImportError as error:
    print(f"error: {error}: the packages nd2, tifffile and numpy are needed", file=sys.stderr)
    sys.exit(2)

AXES = "TZC"


def digest(plane):
    plane = np.ascontiguousarray(plane)
    return hashlib.sha256(plane.astype(plane.dtype.newbyteorder("<"), copy=False).tobytes()).hexdigest()


def close(found, expected):
    return found is not None and abs(found - expected) <= 1e-6 * max(1.0, abs(expected))


def planes_of(array, axes, dims):
    """Planes by (t, z, c), from an array whose named axes are those longer than 1."""
    expected = "".join(axis for axis in AXES if dims[axis] > 1) + "YX"
    if axes != expected:
        raise ValueError(f"axes are {axes}, expected {expected}")
    array = array.reshape([dims[axis] for axis in AXES + "YX"])
    return {(t, z, c): array[t, z, c] for t, z, c in np.ndindex(array.shape[:3])}


def read_nd2(path, dims):
    with nd2.ND2File(path) as file:
        order = [axis for axis in AXES + "YX" if file.sizes.get(axis, 1) > 1 or axis in "YX"]
        # nd2 keeps the order of the loops; axes of length 1 may be listed
        axes = "".join(axis for axis in file.sizes if file.sizes[axis] > 1 or axis in "YX")
        array = file.asarray()
        kept = [length for axis, length in file.sizes.items() if length > 1 or axis in "YX"]
        array = array.reshape(kept).transpose([axes.index(axis) for axis in order])
        channel = file.metadata.channels[0]
        where = file.frame_metadata(0).channels[0]
        return {
            "planes": planes_of(array, "".join(order), dims),
            "pixel_size_um": channel.volume.axesCalibration[0],
            "magnification": channel.microscope.objectiveMagnification,
            "channels": [own.channel.name for own in file.metadata.channels],
            "stage_um": list(where.position.stagePositionUm)[:2],
            "times_ms": [
                file.frame_metadata(frame).channels[0].time.relativeTimeMs
                for frame in range(file.attributes.sequenceCount)
            ],
        }


def read_tiff(path, dims):
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        axes = "".join(axis for axis, length in zip(series.axes, series.shape) if length > 1 or axis in "YX")
        found = {"planes": planes_of(series.asarray().reshape([n for n in series.shape if n > 1]), axes, dims)}
        resolution, unit = file.pages[0].tags["XResolution"].value, file.pages[0].tags["ResolutionUnit"].value
        assert int(unit) == 3, "the resolution is in pixels per centimetre"
        found["pixel_size_um"] = 1e4 * resolution[1] / resolution[0]
        if file.is_ome:
            ome = tifffile.xml2dict(file.ome_metadata)["OME"]
            pixels = ome["Image"]["Pixels"]
            listed = lambda value: value if isinstance(value, list) else [value]
            planes = listed(pixels["Plane"])
            found["magnification"] = ome["Instrument"]["Objective"]["NominalMagnification"]
            found["channels"] = [channel["Name"] for channel in listed(pixels["Channel"])]
            found["stage_um"] = [planes[0]["PositionX"], planes[0]["PositionY"]]
            found["times_ms"] = [plane["DeltaT"] for plane in planes]
            if not close(pixels["PhysicalSizeX"], found["pixel_size_um"]):
                raise ValueError("OME-XML and the resolution tags name different pixel sizes")
        return found


def index_of(name):
    """The numbers of t0p0z0c0."""
    t, rest = name[1:].split("p")
    _, rest = rest.split("z")
    z, c = rest.split("c")
    return int(t), int(z), int(c)


def differences(path, true):
    """What a reader sees that is not so."""
    reader = read_nd2 if true["format"] == "nd2" else read_tiff
    try:
        found = reader(path, true["dims"])
    except Exception as error:  # whatever a reader raises is a difference
        return [f"{type(error).__name__}: {error}"]
    wrong = []
    if not close(found["pixel_size_um"], true["pixel_size_um"]):
        wrong.append(f"pixel size {found['pixel_size_um']}, expected {true['pixel_size_um']}")
    if "channels" in found:
        names = list(dict.fromkeys(plane["channel"] for plane in true["planes"]))
        if found["channels"] != names:
            wrong.append(f"channels {found['channels']}, expected {names}")
        if not close(found["magnification"], true["magnification"]):
            wrong.append(f"magnification {found['magnification']}, expected {true['magnification']}")
        if not all(map(close, found["stage_um"], true["stage_um"])):
            wrong.append(f"stage at {found['stage_um']}, expected {true['stage_um']}")
        times = [plane["time_ms"] for plane in true["planes"]]
        if true["format"] == "nd2":
            times = times[:: true["dims"]["C"]]
        if len(found["times_ms"]) != len(times) or not all(map(close, found["times_ms"], times)):
            wrong.append(f"times {found['times_ms']}, expected {times}")
    if len(found["planes"]) != len(true["planes"]):
        wrong.append(f"{len(found['planes'])} planes, expected {len(true['planes'])}")
    for plane in true["planes"]:
        pixels = found["planes"].get(index_of(plane["plane"]))
        if pixels is None or pixels.dtype.name != true["dtype"] or digest(pixels) != plane["sha256"]:
            wrong.append(f"{plane['plane']}: other samples")
    return wrong


def inspected(program, folder, files):
    """What `inspect` says that is not so, by file."""
    paths = [str(folder / file["file"]) for file in files]
    ended = subprocess.run([program, "inspect", "--json", "--digests", *paths], capture_output=True, text=True)
    wrong = {}
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    if len(lines) != len(files):
        return {"inspect": [f"{len(lines)} answers for {len(files)} files: {ended.stderr.strip()}"]}
    for true, line in zip(files, lines):
        digests = [plane.get("sha256") for plane in line.get("planes", [])]
        if digests != [plane["sha256"] for plane in true["planes"]]:
            wrong[true["file"]] = [f"inspect says {line.get('error', 'other samples')}"]
    return wrong


def not_refused(path, true, known):
    """What a reader takes from a damaged file as if it were whole."""
    try:
        pixels = nd2.imread(path) if true["format"] == "nd2" else tifffile.imread(path)
        planes = pixels.reshape(-1, *pixels.shape[-2:])
    except Exception:  # whatever a reader raises is a refusal
        return []
    return ["a damaged plane reads as a whole one"] if known & {digest(plane) for plane in planes} else []


def not_refused_by(program, path):
    """The same of `inspect`."""
    ended = subprocess.run([program, "inspect", "--json", "--digests", str(path)], capture_output=True, text=True)
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    refused = any("error" in part for line in answers for part in [line, *line.get("planes", [])])
    return [] if refused and ended.returncode == 3 else ["inspect does not refuse it"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--scopewatch", metavar="PROGRAM")
    arguments = parser.parse_args()
    truth = json.loads((arguments.folder / "truth.json").read_text())
    whole = [file for file in truth["files"] if file["condition"] == "whole"]
    damaged = [file for file in truth["files"] if file["condition"] == "rejected"]
    known = {plane["sha256"] for file in whole for plane in file["planes"]}
    wrong = {file["file"]: differences(arguments.folder / file["file"], file) for file in whole}
    if arguments.scopewatch:
        for file, found in inspected(arguments.scopewatch, arguments.folder, whole).items():
            wrong.setdefault(file, []).extend(found)
    for file in damaged:
        path = arguments.folder / file["file"]
        found = wrong.setdefault(file["file"], not_refused(path, file, known))
        if arguments.scopewatch:
            found += not_refused_by(arguments.scopewatch, path)
    for file, found in wrong.items():
        for difference in found:
            print(f"{file}: {difference}")
    n_wrong = sum(bool(found) for found in wrong.values())
    n_planes = sum(len(file["planes"]) for file in whole)
    print(f"{len(whole)} files with {n_planes} planes compared, {len(damaged)} damaged ones, {n_wrong} differ")
    return 1 if n_wrong or not whole else 0


if __name__ == "__main__":
    sys.exit(main())
