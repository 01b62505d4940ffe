from __future__ import annotations

import pytest

from components.services.aml.build_log import LONGEST, worth_showing

TELLING = """\
Unpacking 39407f44.tar.gz
Building the environment aml-edge/environment:c6fa from aml-edge/base:8aef
Python 3.11.2
Installing the pip section
Using the environment aml-edge/environment:c6fa that was built before
Step 3/10 : COPY app/ /var/azureml-app/
ERROR: No matching distribution found for nosuchpackage==1
ERROR: Could not find a version that satisfies the requirement nosuchpackage==1 (from versions: none)
error: subprocess-exited-with-error
WARNING: scikit-learn 1.9 does not provide the extra 'x'
  Building wheel for thing (pyproject.toml): finished with status 'error'
Building wheels for collected packages failed
Traceback (most recent call last):
Pushing 127.0.0.1:20715/anomaly:1
1: digest: sha256:8cfa573f6c86d80af462ee0fec0fe021cdf9a9843f9ff18fd89e1e4bcecdd251 size: 1372
0123456789ab: Retrying the push failed: denied
Image build failed: the conda package x was not found
The command '/bin/sh -c false' returned a non-zero code: 1
CondaEnvException: Pip failed
Solving environment: failed
2026/11/23 17:00:00 Build complete
"""

NOISE = """\
 ---> 3882a4d31092
 ---> Running in 5a1c8f0b7a11
 ---> Using cache
Removing intermediate container 5a1c8f0b7a11
Successfully built 3882a4d31092
Successfully tagged 127.0.0.1:20715/anomaly:1
The push refers to repository [127.0.0.1:20715/anomaly]
0123456789ab: Preparing
0123456789ab: Waiting
0123456789ab: Pushed
0123456789ab: Layer already exists
0123456789ab: Pull complete
Collecting scikit-learn==1.9.1 (from -r /tmp/pip.txt (line 1))
Collecting exceptiongroup (from anyio->-r /tmp/pip.txt (line 2))
Collecting azure-error-kit
  Downloading azureml_inference_server_http-1.5.1-py3-none-any.whl (42 kB)
  Using cached numpy-2.4.6-cp311-cp311-manylinux_2_28_x86_64.whl (16.9 MB)
Requirement already satisfied: pip in ./azureml-envs/x (26.3)
Installing collected packages: setuptools, pip, exception
  Preparing metadata (pyproject.toml): started
  Getting requirements to build wheel: finished with status 'done'
  Created wheel for thing: filename=thing-1.0-py3-none-any.whl size=1 sha256=00
  Attempting uninstall: pip
INFO: pip is looking at multiple versions of azure-monitor-opentelemetry-exporter
WARNING: Running pip as the 'root' user can result in broken permissions
[notice] A new release of pip is available: 26.3 -> 27.0
     ---------------------------------------- 16.9/16.9 MB 20.1 MB/s eta 0:00:00
numpy==2.4.6
error-helper==1.0
#7 sha256:0123 1.0MB / 2.0MB 0.3s
#7 DONE 0.4s

"""


@pytest.mark.parametrize("line", TELLING.splitlines())
def test_what_tells_something_is_shown_as_it_is(line: str) -> None:
    assert list(worth_showing([line])) == [line]


@pytest.mark.parametrize("line", [*NOISE.splitlines(), "   "])
def test_what_only_says_that_all_goes_well_is_not(line: str) -> None:
    assert list(worth_showing([line])) == []


def test_what_pip_installed_becomes_a_count() -> None:
    lines = ["Successfully installed numpy-2.4.6 pip-26.3", "Successfully installed wheel-0.48.0"]
    assert list(worth_showing(lines)) == ["Successfully installed 2 packages", "Successfully installed 1 package"]


def test_a_long_line_is_cut_and_the_order_kept() -> None:
    shown = list(worth_showing(["Step 1/2 : RUN " + "x" * 1000, "Step 2/2 : USER root"]))
    assert len(shown[0]) == LONGEST
    assert shown[0].startswith("Step 1/2 : RUN xxx")
    assert shown[1] == "Step 2/2 : USER root"
