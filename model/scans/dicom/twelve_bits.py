"""JPEG Extended with 12 bits: GDCM decodes it, but pydicom's way to GDCM refuses. Registered as a plugin of pydicom."""

import gdcm
from pydicom.pixels.decoders import JPEGExtended12BitDecoder
from pydicom.pixels.decoders.base import DecodeRunner
from pydicom.uid import JPEGExtended12Bit

DECODER_DEPENDENCIES = {JPEGExtended12Bit: ("gdcm",)}  # pydicom asks plugins for these two


def is_available(uid: str) -> bool:
    return uid == JPEGExtended12Bit


def decode(frame: bytes, runner: DecodeRunner) -> bytes:
    """Stored pixels of one gray frame, little-endian, in as many bytes each as are allocated."""
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(str(runner.photometric_interpretation))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    bits = runner.bits_stored
    image.SetPixelFormat(
        gdcm.PixelFormat(runner.samples_per_pixel, runner.bits_allocated, bits, bits - 1, runner.pixel_representation)
    )
    return image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM hands bytes over as str


JPEGExtended12BitDecoder.add_plugin("gdcm, 12 bits", (__name__, "decode"))
