"""What the routes answer, as OpenAPI describes it; the answers themselves are made by model/report.py."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from model import CLASSES

Share = Annotated[float, Field(ge=0, le=1)]
Class = Literal[CLASSES]
Status = Literal["accepted", "doubtful", "refused"]
Probabilities = Annotated[dict[Class, Share], Field(description="Calibrated; they add up to 1.")]


class Window(BaseModel):
    """The square of the slice that an evidence map covers, in pixels of the slice; it may reach beyond the slice."""

    left: float
    top: float
    side: float


class Evidence(BaseModel):
    """Where in the slice each class's score comes from, for every class a grid of rows from top to bottom."""

    window: Window
    maps: dict[Class, list[list[Share]]] = Field(description="Each adds up to 1.")


class Slice(BaseModel):
    slice: int = Field(ge=1, description="Its number in the scan's own order.")
    status: Status
    reason: str = Field(description="Why it is doubtful or refused; empty when accepted.")
    label: Class = Field(description="The most probable class; means nothing when refused.")
    prediction_set: list[Class] = Field(description="The classes that cannot be excluded, the most probable first.")
    probabilities: Probabilities
    tumor_probability: Share
    threshold: Share = Field(description="The operating point: from this tumor_probability on a tumor counts as seen.")
    sees_tumor: bool
    brain_score: Share = Field(description="How sure the model is that this is a brain MRI.")
    distance: float = Field(ge=0, description="How far the slice lies from the training images; 1 is ordinary.")
    evidence: Evidence | None = Field(None, description="If asked for with ?evidence=true.")


class Study(BaseModel):
    suspicious: list[int] = Field(description="Numbers of slices, the most suspicious first.")
    judged: int
    refused: int


class Omission(BaseModel):
    count: int = Field(description="Slices that the files hold and that were not looked at.")
    reason: str
    other_picture: bool = Field(description="Such as a localizer. Any other omission makes the verdict doubtful.")


class Scan(BaseModel):
    """One scan: a picture, a volume, or the files of a series; or a file that could not be read."""

    file: str
    status: Status | Literal["unreadable", "failed"]
    reason: str
    sentence: str = Field(description="The answer in plain words.")
    label: Class | None = Field(description="Of the study or the only slice; null where there is no answer.")
    probabilities: Probabilities | None
    tumor_probability: Share | None
    sees_tumor: bool | None
    study: Study | None = Field(description="Of several slices.")
    slices: list[Slice]
    kind: str
    plane: str
    sequence: str
    spacing: list[float] | None = Field(description="Millimeters, where the file tells.")
    notes: list[str]
    omitted: list[Omission]
    seconds: float = Field(description="That the model took.")
    answered: datetime
    model: str = Field(description="Name, precision and start of the weights' sha256.")


class Origin(BaseModel):
    """Where the weights come from."""

    name: str
    revision: str | None
    date: str | None
    note: str = Field(description="A sentence when these are not the weights that were asked for; else empty.")


class OperatingPoint(BaseModel):
    threshold: Share
    sensitivity: Share | None
    specificity: Share | None


class Model(BaseModel):
    """What answers, and what its answers are worth."""

    version: str
    origin: Origin
    classes: list[Class]
    operating_point: OperatingPoint = Field(description="Measured on the patients that `measured_on` names.")
    measured_on: Literal["test", "validation"]
    prediction_set_coverage: Share | None = Field(description="Share of slices like those of training that it covers.")
    max_bytes: int = Field(description="Of one file.")
    max_body: int = Field(description="Bytes of one request.")
    notice: str


class Health(BaseModel):
    status: Literal["ok", "ready"]
