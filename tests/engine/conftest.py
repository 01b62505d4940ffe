"""One local Azure and one stack for the whole story; its tests run in the order of the file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import LocalAzure, Project, local_azure


@pytest.fixture(scope="package")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAzure]:
    with local_azure(tmp_path_factory.mktemp("engine")) as made:
        yield made


@pytest.fixture(scope="package")
def project(azure: LocalAzure, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.create(tmp_path_factory.mktemp("project") / "aml-edge", azure)
