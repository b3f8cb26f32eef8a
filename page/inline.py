"""Files that travel inside the page: nothing that is shown or saved lies on the server's disk."""

import base64


def address(content: bytes, kind: str) -> str:
    """The data URI of a file of the MIME type `kind`."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
