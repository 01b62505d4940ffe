"""The two error bodies of the service: Model Management's flat one and the one of artifacts."""

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
