"""The error body of blob storage."""

from __future__ import annotations

import uuid
from xml.sax.saxutils import escape

from starlette.responses import Response

VERSION = "2019-07-07"
"""Of the Blob service REST API."""


class BlobError(Exception):
    """Answered to the client as it is: HTTP status, error code, message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self) -> Response:
        """XML, as "Status and error codes" of the Blob service REST API describes; clients read the code from the header."""
        text = (
            f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{self.code}</Code>'
            f"<Message>{escape(self.message)}</Message></Error>"
        )
        headers = {"x-ms-error-code": self.code, "x-ms-request-id": str(uuid.uuid4()), "x-ms-version": VERSION}
        return Response(text, self.status, headers, media_type="application/xml")
