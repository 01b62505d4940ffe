"""The two error bodies of the service: Model Management's flat one and the one of artifacts; and the one of blob storage."""

from __future__ import annotations

import uuid

from starlette.responses import JSONResponse, Response


class ServiceError(Exception):
    """Answered to the client as it is: HTTP status, error code, message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self, path: str) -> Response:
        """In the shape that the client of this path parses."""
        request_id = str(uuid.uuid4())
        if path.startswith("/azureml/"):
            return _blob_error(self, request_id)
        correlation = {"operation": request_id, "request": request_id[:8]}
        if path.startswith("/artifact/"):  # azureml-core: _restclient.models.ErrorResponse
            error = {"code": self.code, "message": self.message, "details": []}
            return JSONResponse({"error": error, "correlation": correlation, "componentName": "artifact"}, self.status)
        body = {  # azureml-core: _restclient.models.ModelErrorResponse; its messages show `details`, not `message`
            "code": self.code,
            "statusCode": self.status,
            "message": self.message,
            "details": [{"code": self.code, "message": self.message}],
            "correlation": correlation,
        }
        return JSONResponse(body, self.status)


def _blob_error(error: ServiceError, request_id: str) -> Response:
    """XML, as "Status and error codes" of the Blob service REST API describes; clients read the code from the header."""
    message = error.message.replace("&", "&amp;").replace("<", "&lt;")
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{error.code}</Code><Message>{message}</Message></Error>'
    headers = {"x-ms-error-code": error.code, "x-ms-request-id": request_id, "x-ms-version": "2019-07-07"}
    return Response(text, error.status, headers, media_type="application/xml")
