"""Violations from what `pulumi preview` prints; the text is the real CLI's, shortened."""

from __future__ import annotations

from pipeline.diagnostics import Violation, errors, violations

PRINTED = """\
 +  pulumi:pulumi:Stack aml-edge-dev create error: preview failed
Policies:
    \x1b[31m❌\x1b[0m aml-edge@v0.0.1 (local: /src/aml-edge/policy/pack)
        - [advisory]  deployment-verified  (pulumi-python:dynamic/edge:EdgeDeployment: edge-1-deployment)
          A deployment waits.
          onFailure is 'keep'. Fix: Set it.
        - [mandatory]  no-build  (pulumi-python:dynamic/edge:ModelImage: image)
          This stack runs what another stack has built and verified.
          it builds an image, SharedAccessKey=hunter2 Fix: Promote an image.
        - [mandatory]  no-build  (pulumi-python:dynamic/edge:ModelImage: image)
          This stack runs what another stack has built and verified.
          it builds an image, SharedAccessKey=hunter2 Fix: Promote an image.

Diagnostics:
  pulumi:pulumi:Stack (aml-edge-dev):
    error: preview failed

Outputs:
    [unknown]
"""


def test_violations() -> None:
    built = (
        "This stack runs what another stack has built and verified.\n"
        "it builds an image, SharedAccessKey=[secret] Fix: Promote an image."
    )
    assert violations(PRINTED) == [
        Violation("no-build", "mandatory", "image", built),
        Violation(
            "deployment-verified",
            "advisory",
            "edge-1-deployment",
            "A deployment waits.\nonFailure is 'keep'. Fix: Set it.",
        ),
    ]


def test_none() -> None:
    assert (
        violations("")
        == violations("Policies:\n    ✅ aml-edge@v0.0.1 (local: x)\n\nResources:\n    18 unchanged\n")
        == []
    )


def test_errors() -> None:
    assert errors(PRINTED + "\x1b[31merror: preview failed\x1b[0m\n") == ("error: preview failed",)
