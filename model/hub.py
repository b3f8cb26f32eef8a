"""Where weights come from: a folder, or the Hugging Face Hub."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError


def find_weights(source: str) -> Path:
    """Folder with the weights that `source` names: a folder, or a Hub id "ORG/NAME" (downloaded once, then cached).

    Only JSON and safetensors files are fetched. Raises: ValueError with a sentence if there is neither.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    try:
        return Path(snapshot_download(source, allow_patterns=["*.json", "*.safetensors"]))
    except (OSError, HFValidationError) as error:
        raise ValueError(
            f"no weights at {source}: it is no folder, and the Hub gave none ({type(error).__name__}). "
            "Check the name and the network."
        ) from error
