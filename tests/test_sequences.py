"""Which sequence is named, by tags that say it and by none that do not."""

import pytest

from model import scans
from tests.dicom_files import dicom, slice_12_bit


def named(**tags):
    return scans.read(dicom(slice_12_bit(), **tags)).sequence


@pytest.mark.parametrize(
    ("description", "sequence"),
    [
        ("AX T1", "T1"),
        ("t1_se_tra", "T1"),
        ("Sag MPRAGE", "T1"),
        ("AX T1 POST GD", "T1C+"),
        ("t1_mpr_sag_km", "T1C+"),
        ("AX T1 +C", "T1C+"),
        ("T1 PRE CONTRAST", "T1"),
        ("T1 no contrast", "T1"),
        ("AX T1 +C, no motion", "T1C+"),
        ("COR T1 FLAIR", "T1"),
        ("AX T2 FLAIR FS", "FLAIR"),
        ("t2_tirm_tra_dark-fluid", "FLAIR"),
        ("AX T2 TSE", "T2"),
        ("T2* GRE", ""),
        ("ep2d_diff_3scan_trace", ""),
        ("SWI_Images", ""),
        ("3D TOF", ""),
        ("T1 T2 map", ""),
        ("T1000 something", ""),
        ("Brain routine", ""),
        ("3-plane localizer T2", ""),
    ],
)
def test_a_description_names_the_sequence(description, sequence):
    assert named(SeriesDescription=description) == sequence


def test_a_contrast_agent_makes_t1_t1c_and_nothing_else():
    assert named(SeriesDescription="AX T1", ContrastBolusAgent="GADOVIST") == "T1C+"
    assert named(SeriesDescription="AX T1", ContrastBolusAgent="NONE") == "T1"
    assert named(SeriesDescription="AX T2", ContrastBolusAgent="GADOVIST") == "T2"


@pytest.mark.parametrize(
    ("echo", "repetition", "inversion", "sequence"),
    [
        (12, 500, None, "T1"),
        (95, 4500, None, "T2"),
        (100, 9000, 2500, "FLAIR"),
        (30, 3000, None, ""),
        (12, 500, 200, ""),
    ],
)
def test_the_times_of_a_spin_echo_name_it_where_words_do_not(echo, repetition, inversion, sequence):
    times = {"EchoTime": echo, "RepetitionTime": repetition, "InversionTime": inversion, "SeriesDescription": "AX"}
    assert named(ScanningSequence="SE", **times) == sequence
    assert named(ScanningSequence="GR", **times) == ""


def test_the_early_echo_of_a_double_one_is_no_t2():
    double = {"RepetitionTime": 3000, "SeriesDescription": "AX PD T2"}
    assert (named(EchoTime=15, **double), named(EchoTime=90, **double)) == ("", "T2")
