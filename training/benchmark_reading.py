"""What the largest files that are read cost, and what reading in a process of its own adds.

    python -m training.benchmark_reading                       # makes the files, reads each as the page does
    python -m training.benchmark_reading --json reading.json

Seconds go from the file's name to the pixels; those of the processor, of the server's and the reading process together,
hold on a busy machine too. Memory is what the peaks of both processes add to what they hold while idle, which is no
less than the peak of both together. Linux alone tells it.
"""

import argparse
import gzip
import io
import json
import os
import struct
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gdcm
import numpy as np
import torch
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from model import scans
from model.scans import isolated, limits

from .hardware import describe

RUNS = 30  # of each ordinary file, here and there by turns
SIDE = int(limits.MAX_PIXELS**0.5)
SIDE_JPEG_2000 = int(limits.MAX_PIXELS_JPEG_2000**0.5)
SLICES = limits.MAX_PIXELS_IN_ALL // 512**2  # of 512 x 512


def grain(*shape: int, dtype: type = np.uint16, step: int = 1) -> np.ndarray:
    """Twelve bits of a ramp with noise in its lowest five: about as hard to compress as tissue, and less by `step`s."""
    ramp = np.linspace(0, 4000, shape[-1], dtype=np.uint16)
    noisy = ramp + np.random.default_rng(0).integers(0, 32, shape, dtype=np.uint16)
    return (noisy // (16 if dtype == np.uint8 else step)).astype(dtype)


def picture(image: np.ndarray | Image.Image, file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def tiff(page: np.ndarray, pages: int) -> bytes:
    return picture(
        page, "TIFF", save_all=True, compression="tiff_lzw", append_images=[Image.fromarray(page)] * (pages - 1)
    )


def dicom(frame: np.ndarray, frames: int, syntax: str = ExplicitVRLittleEndian, first: int = 0) -> bytes:
    """An Enhanced MR image of a head, `frames` times the same uint16 slice, 1 mm apart, the first at `first` mm."""
    made, shared, orientation, measures = Dataset(), Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [1, 1], 1
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    made.SharedFunctionalGroupsSequence, made.PerFrameFunctionalGroupsSequence = [shared], []
    for number in range(frames):
        each, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, first + number]
        each.PlanePositionSequence = [position]
        made.PerFrameFunctionalGroupsSequence.append(each)
    made.SOPClassUID, made.SOPInstanceUID, made.SeriesInstanceUID = EnhancedMRImageStorage, f"1.2.{first + 1}", "1.2"
    made.Modality, made.BodyPartExamined, made.NumberOfFrames = "MR", "HEAD", frames
    made.Rows, made.Columns = frame.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    if syntax == ExplicitVRLittleEndian:
        made.PixelData = frame.tobytes() * frames
    else:
        made.PixelData = encapsulate([compressed(frame, syntax)] * frames)
    made["PixelData"].VR = "OW" if syntax == ExplicitVRLittleEndian else "OB"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def compressed(frame: np.ndarray, syntax: str) -> bytes:
    """The code stream of one slice, made by GDCM."""
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder, "plain"), Path(folder, "packed")
        plain.write_bytes(dicom(frame, 1))
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(plain))
        reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
        change.SetInput(reader.GetImage())
        change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(packed))
        writer.Write()
        return next(generate_frames(dcmread(packed).PixelData, number_of_frames=1))


def zipped(files: int) -> bytes:
    frame, buffer = grain(512, 512), io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(files):
            archive.writestr(f"IM{number:04}", dicom(frame, 1, first=number))
    return buffer.getvalue()


def nifti(slices: int, dtype: type) -> tuple[bytes, bytes]:
    """(a NIfTI-1 header, axial, 1 mm; the voxels of each of its slices)."""
    header, code = bytearray(352), {np.int16: 4, np.float64: 64}[dtype]
    voxels = grain(512, 512, step=64).astype(dtype)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, 512, 512, slices, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, 8 * voxels.itemsize)
    struct.pack_into("<8f", header, 76, *[1] * 8)
    struct.pack_into("<f", header, 108, len(header))
    struct.pack_into("<h", header, 254, 1)  # the rows that follow say where the axes point
    struct.pack_into("<12f", header, 280, *np.eye(3, 4).ravel())
    header[344:348] = b"n+1\0"
    return bytes(header), voxels.tobytes()


def plain_nifti(slices: int) -> bytes:
    header, voxels = nifti(slices, np.int16)
    return header + voxels * slices


def gzipped_nifti(dtype: type) -> bytes:
    header, voxels = nifti(SLICES, dtype)
    return gzip.compress(header) + gzip.compress(voxels, 1) * SLICES  # members one after another are one file


LARGEST: dict[str, Callable[[], bytes]] = {
    "PNG, 8 bits": lambda: picture(grain(SIDE, SIDE, dtype=np.uint8), "PNG", compress_level=1),
    "PNG, 16 bits": lambda: picture(grain(SIDE, SIDE), "PNG", compress_level=1),
    "PNG, color and alpha": lambda: picture(
        Image.fromarray(grain(SIDE, SIDE, dtype=np.uint8)).convert("RGBA"), "PNG", compress_level=1
    ),
    "JPEG": lambda: picture(grain(SIDE, SIDE, dtype=np.uint8), "JPEG"),
    "JPEG, color": lambda: picture(Image.fromarray(grain(SIDE, SIDE, dtype=np.uint8)).convert("RGB"), "JPEG"),
    "WebP": lambda: picture(grain(SIDE, SIDE, dtype=np.uint8), "WEBP", method=0),
    "BMP": lambda: picture(Image.fromarray(grain(SIDE, SIDE, dtype=np.uint8)).convert("RGB"), "BMP"),
    "TIFF, CMYK": lambda: picture(Image.fromarray(grain(SIDE, SIDE, dtype=np.uint8)).convert("CMYK"), "TIFF"),
    "TIFF of 16-bit pages": lambda: tiff(grain(512, 512, step=64), SLICES),
    "TIFF of float pages": lambda: tiff(grain(512, 512, step=64).astype(np.float32), SLICES),
    "DICOM, uncompressed": lambda: dicom(grain(512, 512), limits.MAX_BYTES // 2**19 - 1),
    "DICOM, RLE": lambda: dicom(grain(512, 512), SLICES, RLELossless),
    "DICOM, JPEG Lossless": lambda: dicom(grain(512, 512), SLICES, JPEGLosslessSV1),
    "DICOM, JPEG-LS": lambda: dicom(grain(512, 512), SLICES, JPEGLSLossless),
    "DICOM, JPEG 2000": lambda: dicom(grain(512, 512), SLICES, JPEG2000Lossless),
    "DICOM, one slice in JPEG 2000": lambda: dicom(grain(SIDE_JPEG_2000, SIDE_JPEG_2000), 1, JPEG2000Lossless),
    "ZIP of a DICOM series": lambda: zipped(SLICES),
    "NIfTI": lambda: plain_nifti(limits.MAX_BYTES // 2**19 - 1),
    "NIfTI, gzip": lambda: gzipped_nifti(np.int16),
    "NIfTI, gzip, 64-bit floats": lambda: gzipped_nifti(np.float64),
}
ORDINARY: dict[str, Callable[[], bytes]] = {
    "PNG of 256 x 256, 8 bits": lambda: picture(grain(256, 256, dtype=np.uint8), "PNG"),
    "DICOM of 512 x 512": lambda: dicom(grain(512, 512), 1),
    "DICOM of 512 x 512, JPEG Lossless": lambda: dicom(grain(512, 512), 1, JPEGLosslessSV1),
    "DICOM of 155 x 240 x 240": lambda: dicom(grain(240, 240), 155),
}


def benchmark(folder: Path) -> dict:
    """Read everything once, what is ordinary `RUNS` times; the report is JSON-ready. `folder`: where files are made."""
    return {
        "largest": [measure_largest(what, make, folder) for what, make in LARGEST.items()],
        "isolation": [measure_isolation(what, make, folder) for what, make in ORDINARY.items()],
        "hardware": describe(torch.device("cpu")),
    }


def measure_largest(what: str, make: Callable[[], bytes], folder: Path) -> dict:
    """Seconds and peak memory of reading one file as the server does, in a process that has read nothing yet."""
    path = folder / "upload"
    path.write_bytes(make())
    with started_reader() as reader:
        processes = ("self", str(reader.pid))
        for process in processes:
            Path(f"/proc/{process}/clear_refs").write_text("5")  # begins a new peak
        idle, busy, start = sum(map(held, processes)), sum(map(busy_seconds, processes)), time.perf_counter()
        row = {"what": what, "file_mb": round(path.stat().st_size / 1e6, 1), "slices": 0, "reason": ""}
        try:
            (entry,) = reader.read_all([path], [what], lambda number: None)
        except isolated.ReaderDied as death:
            return row | {"reason": str(death), "seconds": round(time.perf_counter() - start, 2)}
        row |= {"slices": len(entry.slices)} if isinstance(entry, scans.Scan) else {"reason": entry.reason}
        return row | {
            "seconds": round(time.perf_counter() - start, 2),
            "busy_seconds": round(sum(map(busy_seconds, processes)) - busy, 2),
            "peak_mb": round((sum(map(peak, processes)) - idle) / 1e6),
        }


@contextmanager
def started_reader() -> Iterator[isolated.Reader]:
    """A new process that waits for work."""
    reader = isolated.Reader()
    try:
        reader.read_all([], [], lambda number: None)
        yield reader
    finally:
        reader.close()


def held(process: str) -> int:
    """Bytes of memory that a process holds now."""
    return 1024 * int(told(process, "VmRSS"))


def peak(process: str) -> int:
    return 1024 * int(told(process, "VmHWM"))


def told(process: str, what: str) -> str:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(what))


def busy_seconds(process: str) -> float:
    """What a process has had of the processor so far, in steps of 10 ms."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime: see man proc_pid_stat


def measure_isolation(what: str, make: Callable[[], bytes], folder: Path) -> dict:
    """Milliseconds of reading an ordinary file here and in a process of its own: medians of turns, and of processor."""
    path = folder / "upload"
    path.write_bytes(make())
    with started_reader() as reader:
        ways = {
            "here": (lambda: scans.read_all([path]), ("self",)),
            "isolated": (lambda: reader.read_all([path], [what], lambda number: None), ("self", str(reader.pid))),
        }
        passed, busy = {where: [] for where in ways}, dict.fromkeys(ways, 0.0)
        for turn in range(RUNS + 1):
            for where, (read, processes) in ways.items():
                before, start = sum(map(busy_seconds, processes)), time.perf_counter()
                read()
                if turn:  # the first one loads libraries
                    passed[where].append(1000 * (time.perf_counter() - start))
                    busy[where] += 1000 * (sum(map(busy_seconds, processes)) - before) / RUNS
    medians = {where: float(np.median(milliseconds)) for where, milliseconds in passed.items()}
    return {
        "what": what,
        **{f"{where}_ms": round(median, 1) for where, median in medians.items()},
        "costs_ms": round(medians["isolated"] - medians["here"], 1),
        "costs_busy_ms": round(busy["isolated"] - busy["here"], 1),
    }


def table(report: dict) -> str:
    """The report as lines of text."""
    lines = [report["hardware"]["processor"], "  the largest file of each kind: seconds, of them busy, peak above idle"]
    for row in report["largest"]:
        cost = f"{row['seconds']:7.2f} s{row.get('busy_seconds', '?'):>7} s{row.get('peak_mb', '?'):>6} MB"
        result = row["reason"] or f"{row['slices']} slices"
        lines.append(f"  {row['what']:32}{row['file_mb']:7.1f} MB{cost}   {result}")
    lines.append("  an ordinary file: here, isolated, the difference, and that of the processor")
    for row in report["isolation"]:
        times = (row[key] for key in ("here_ms", "isolated_ms", "costs_ms", "costs_busy_ms"))
        lines.append(f"  {row['what']:40}" + "".join(f"{time:9.1f} ms" for time in times))
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.benchmark_reading", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to FILE")
    options = parser.parse_args(arguments)
    if not Path("/proc/self/clear_refs").exists():
        print("Peaks of memory can be measured on Linux only.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        report = benchmark(Path(folder))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
