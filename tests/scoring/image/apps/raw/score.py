"""Answers with what it got, as bytes."""

from azureml_inference_server_http.api.aml_request import rawhttp
from azureml_inference_server_http.api.aml_response import AMLResponse


def init():
    pass


@rawhttp
def run(request):
    body = request.get_data()
    return AMLResponse(body[::-1], 200, {"Content-Type": f"application/x-got; was={request.content_type}"})
