"""Which MR sequence the tags of a series name, if they do."""

import re

from .tags import Frame

OTHERS = re.compile(  # diffusion, susceptibility, perfusion, function, vessels, localizers
    r"DWI|DIFF(USION)?\b|\bE?ADC\b|\bTRACE|EP2D|\bDTI|\bSWI|\bSWAN|T2 ?STAR|T2 ?\*|\bMEDIC\b|\bPERF(USION)?\b"
    r"|\bP?C?ASL\b|\bR?CB[FV]\b|BOLD\b|\bFMRI|TOF|ANGIO|\bMR[AV]\b|\bLOC(ALI[SZ]ER)?S?\b|SCOUT|SURVEY"
)
FLAIR = re.compile(r"FLAIR|DARK.?FLUID|\bTIRM")
T1 = re.compile(r"(?<![A-Z0-9])T1(?![0-9])|MPRAGE|MP-RAGE|FSPGR|SPGR|BRAVO")
T2 = re.compile(r"(?<![A-Z0-9])T2(?![0-9])")
TREATED = re.compile(  # before or after an operation says nothing of a contrast agent
    r"(?<![A-Z])(PRE|POST|INTRA)[- ]?"
    r"(OP\w*|SURG\w*|TREATM\w*|THERAP\w*|CHEMO\w*|RADI\w*|RT|RESECT\w*|BIOPS\w*)(?![A-Z])"
)
GIVEN = re.compile(r"\+ ?(C|GD|KM|GAD\w*)\b|(?<![A-Z])(WITH|MIT|W) (C|GD|GAD\w*|KM|CONTRAST)(?![A-Z])")
CONTRAST = re.compile(r"(?<![A-Z])(POST|GD|GAD\w*|CE|KM|CONTRAST|POSTGAD\w*)(?![A-Z])")
NO_CONTRAST = re.compile(r"(?<![A-Z])(PRE|NATIVE?|WITHOUT|W/?O|NON|OHNE|UNENHANCED|NO (C|GD|GAD|KM|CONTRAST))(?![A-Z])")
NO_AGENT = ("", "NO", "NONE", "N", "WITHOUT")

# Spin echo, ms; the ranges that textbooks give for each weighting (McRobbie, MRI from Picture to Proton, ch. 3).
SHORT_ECHO, LONG_ECHO = 30, 75
SHORT_REPETITION, LONG_REPETITION = 800, 2000
FLUID_INVERSION = (1600, 3000)  # nulls cerebrospinal fluid at 1.5 and 3 T


def sequence_of(frame: Frame) -> str:
    """ "T1", "T1C+", "T2" or "FLAIR", from the series' description or, failing that, a spin echo's times; else ""."""
    words = " ".join(frame.texts("SeriesDescription") + frame.texts("ProtocolName")).replace("_", " ")
    words = TREATED.sub(" ", words)
    if OTHERS.search(words):
        return ""
    named = _named(words) or ("" if T1.search(words) or T2.search(words) else _by_times(frame))
    if named == "T2" and _is_short(frame):
        return ""  # the early echo of a double one: proton density
    return "T1C+" if named == "T1" and _with_contrast(frame, words) else named


def _named(words: str) -> str:
    is_t1, is_t2, is_flair = (bool(pattern.search(words)) for pattern in (T1, T2, FLAIR))
    if is_t1 and is_t2:
        return ""
    if is_t1:
        return "T1"  # of "T1 FLAIR", which nulls fluid to sharpen T1 contrast
    return "FLAIR" if is_flair else "T2" if is_t2 else ""


def _is_short(frame: Frame) -> bool:
    return "GR" not in frame.texts("ScanningSequence") and 0 < (frame.number("EchoTime") or 0) <= SHORT_ECHO


def _by_times(frame: Frame) -> str:
    if "SE" not in frame.texts("ScanningSequence"):
        return ""
    echo, repetition = frame.number("EchoTime"), frame.number("RepetitionTime")
    if not echo or not repetition:
        return ""
    inversion = frame.number("InversionTime") or 0
    if echo >= LONG_ECHO and repetition >= LONG_REPETITION:
        return "FLAIR" if FLUID_INVERSION[0] <= inversion <= FLUID_INVERSION[1] else "T2" if not inversion else ""
    return "T1" if echo <= SHORT_ECHO and repetition <= SHORT_REPETITION and not inversion else ""


def _with_contrast(frame: Frame, words: str) -> bool:
    if GIVEN.search(words):
        return True
    if NO_CONTRAST.search(words):
        return False
    return bool(CONTRAST.search(words)) or " ".join(frame.texts("ContrastBolusAgent")) not in NO_AGENT
