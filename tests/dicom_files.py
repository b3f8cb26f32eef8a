"""DICOM files made in memory: any transfer syntax that can be written, series in any order, a planted patient."""

import tempfile
import warnings
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import gdcm
import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

PLANTED = {  # whatever leaves the reader must hold none of these values
    "PatientName": "Plantagenet^Eleanor",
    "PatientID": "PLANTED-4711",
    "PatientBirthDate": "19231119",
    "PatientAddress": "Planted Lane 7",
    "OtherPatientIDs": "PLANTED-0815",
    "ReferringPhysicianName": "Plantwell^Doctor",
    "InstitutionName": "Planted Hospital",
    "AccessionNumber": "PLANTED-ACC",
    "StudyDate": "20231119",
    "StudyID": "PLANTED-ST",
    "StudyDescription": "Planted study of Eleanor",
    "DeviceSerialNumber": "PLANTED-SN",
    "PatientComments": "Planted comment",
}
NATIVE = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
BY_GDCM = {  # as GDCM calls them
    "JPEG Lossless": "JPEGLosslessProcess14_1",
    "JPEG Lossless, any predictor": "JPEGLosslessProcess14",
    "JPEG-LS": "JPEGLSLossless",
    "JPEG 2000": "JPEG2000Lossless",
}
LOSSLESS = (*NATIVE, "RLE", *BY_GDCM)
SYNTAXES = (*LOSSLESS, "JPEG Baseline", "JPEG Extended")  # the last: 12 bits, lossy
WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}  # of 12 bits: 0 is black, 4095 white
AXIAL, CORONAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]


def slice_12_bit(seed: int = 0, shape: tuple[int, int] = (48, 64)) -> np.ndarray:
    """uint16 of 12 bits, asymmetric: no flip or turn of it equals it."""
    return np.random.default_rng(seed).integers(0, 4096, shape).astype(np.uint16)


def dataset(pixels: np.ndarray, **tags) -> Dataset:
    """An MR image of a head whose patient is `PLANTED`.

    Args: `pixels` uint8, uint16 or int16 of (rows, columns), (frames, rows, columns) or, uint8 only, (rows, columns, 3)
        in RGB; up to 12 bits of 16 are said to be used. `tags`: any other values, by keyword; None leaves a tag out.
    """
    color = pixels.ndim == 3 and pixels.shape[-1] == 3 and pixels.dtype == np.uint8
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    made.Modality, made.BodyPartExamined, made.SeriesDescription = "MR", "HEAD", "planted"
    made.InstanceNumber = 1
    made.PixelSpacing = [1, 1]
    made.ImageOrientationPatient, made.ImagePositionPatient = AXIAL, [0, 0, 0]
    made.SamplesPerPixel, made.PhotometricInterpretation = (3, "RGB") if color else (1, "MONOCHROME2")
    if color:
        made.PlanarConfiguration = 0
    made.Rows, made.Columns = pixels.shape[:2] if color else pixels.shape[-2:]
    if pixels.ndim == 3 and not color:
        made.NumberOfFrames = len(pixels)
    allocated = 8 * pixels.itemsize
    made.BitsAllocated, made.PixelRepresentation = allocated, int(pixels.dtype.kind == "i")
    made.BitsStored = 12 if pixels.dtype == np.uint16 and pixels.max() < 4096 else allocated
    made.HighBit = made.BitsStored - 1
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW" if allocated > 8 else "OB"
    for keyword, value in {**PLANTED, **tags}.items():
        if value is None:
            made.pop(keyword, None)
        else:
            setattr(made, keyword, value)
    return made


def dicom(pixels: np.ndarray, syntax: str = "explicit", **tags) -> bytes:
    """The file of `dataset(pixels, **tags)`. `syntax`: one of `SYNTAXES`."""
    return encoded(dataset(pixels, **tags), syntax)


def encoded(data: Dataset, syntax: str = "explicit") -> bytes:
    if syntax in BY_GDCM or syntax == "JPEG Extended":
        packed = _by_gdcm(_file(data, ExplicitVRLittleEndian), BY_GDCM.get(syntax, "JPEGExtendedProcess2_4"))
        data.PixelData = packed.PixelData  # nothing else: GDCM writes geometry of its own
        return _file(data, packed.file_meta.TransferSyntaxUID)
    if syntax == "RLE":
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.compress(RLELossless, generate_instance_uid=False)
        return _file(data, RLELossless)
    if syntax == "JPEG Baseline":
        data.PixelData = encapsulate([_jpeg(frame) for frame in _frames(data)])
        if data.SamplesPerPixel == 3:
            data.PhotometricInterpretation = "YBR_FULL_422"
        return _file(data, JPEGBaseline8Bit)
    return _file(data, NATIVE[syntax])


def without_preamble(content: bytes) -> bytes:
    """A data set as scanners of the nineties wrote it: no preamble, no file meta information; syntax "implicit"."""
    meta_length = int.from_bytes(content[140:144], "little")
    return content[144 + meta_length :]


def retagged(content: bytes, **tags) -> bytes:
    """A DICOM file with other values, even if they make no sense; None leaves a tag out, (VR, value) adds it."""
    data, buffer = dcmread(BytesIO(content)), BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in tags.items():
            if value is None:
                data.pop(keyword, None)
            elif isinstance(value, tuple):
                data.add_new(keyword, *value)
            else:
                setattr(data.file_meta if keyword == "TransferSyntaxUID" else data, keyword, value)
        data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def zipped(files: dict[str, bytes] | list[bytes], method: int = ZIP_DEFLATED) -> bytes:
    """The bytes of a ZIP of files: contents by name, or in order, when they are called IM0, IM1 ..."""
    named = files if isinstance(files, dict) else {f"IM{number}": content for number, content in enumerate(files)}
    buffer = BytesIO()
    with ZipFile(buffer, "w", method) as archive:
        for name, content in named.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def series(slices: list[np.ndarray], syntax: str = "explicit", spacing: float = 2.0, **tags) -> list[bytes]:
    """The files of one axial series, in the order of `slices`, which stand `spacing` mm apart from the feet up."""
    return [
        dicom(pixels, syntax, **{"InstanceNumber": i + 1, "ImagePositionPatient": [0, 0, spacing * i], **tags})
        for i, pixels in enumerate(slices)
    ]


def enhanced(frames: np.ndarray, positions: list[float], syntax: str = "explicit", **tags) -> bytes:
    """An Enhanced MR image, (frames, rows, columns), whose frames stand at `positions` mm from the feet up."""
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = AXIAL
    measures.PixelSpacing, measures.SliceThickness = [1, 1], 2
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    each = []
    for height in positions:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, height]
        frame.PlanePositionSequence = Sequence([position])
        each.append(frame)
    moved = {"PixelSpacing": None, "ImageOrientationPatient": None, "ImagePositionPatient": None}
    groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": each}
    return dicom(frames, syntax, SOPClassUID=EnhancedMRImageStorage, **{**moved, **groups, **tags})


def _file(data: Dataset, syntax: str) -> bytes:
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPInstanceUID = data.get("SOPInstanceUID") or generate_uid()
    if syntax == ExplicitVRBigEndian and data.BitsAllocated == 16:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    buffer = BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _by_gdcm(content: bytes, syntax: str) -> Dataset:
    with tempfile.TemporaryDirectory() as folder:
        plain, packed = Path(folder, "plain"), Path(folder, "packed")
        plain.write_bytes(content)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(plain))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change(), f"GDCM cannot write {syntax}"
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(packed))
        assert writer.Write()
        return dcmread(packed)


def _frames(data: Dataset) -> np.ndarray:
    shape = (-1, data.Rows, data.Columns, 3) if data.SamplesPerPixel == 3 else (-1, data.Rows, data.Columns)
    return np.frombuffer(data.PixelData, np.uint8).reshape(shape)


def _jpeg(frame: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
