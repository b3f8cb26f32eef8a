"""Where weights come from: a folder, the Hugging Face Hub, or the ones embedded in this repository."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError

EMBEDDED = Path(__file__).parent / "weights"


def find_weights(source: str | Path = EMBEDDED, revision: str | None = None) -> Path:
    """Folder with the weights that `source` names: a folder, or a Hub id "ORG/NAME" (downloaded once, then cached).

    Only JSON and safetensors files are fetched. Raises ValueError with a sentence if there is neither.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    try:
        return Path(snapshot_download(str(source), revision=revision, allow_patterns=["*.json", "*.safetensors"]))
    except (OSError, HFValidationError) as error:
        raise ValueError(
            f"no weights at {source}: it is no folder, and the Hub gave none ({type(error).__name__}). "
            "Check the name and the network."
        ) from error
