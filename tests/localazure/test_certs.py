from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest

from localazure import certs
from localazure.instance import Instance, load_or_create


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    made = load_or_create(tmp_path)
    certs.ensure(made)
    return made


def handshake(instance: Instance, context: ssl.SSLContext, name: str) -> str:
    """A real TLS handshake with the instance's server certificate. Returns the TLS version."""
    server = certs.server_context(instance.pki / "server.pem", instance.pki / "server.key")
    with socket.create_server((instance.address, 0)) as listener:
        listener.settimeout(120)

        def serve() -> None:
            connection, _ = listener.accept()
            try:
                with server.wrap_socket(connection, server_side=True):
                    pass
            except (ssl.SSLError, OSError):
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=120) as raw,
                context.wrap_socket(raw, server_hostname=name) as secured,
            ):
                return secured.version() or ""
        finally:
            thread.join()


def test_who_trusts_the_bundle_trusts_the_server(instance: Instance) -> None:
    strict = ssl.create_default_context(cafile=str(instance.ca_bundle))
    strict.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT  # Python 3.13's default
    assert handshake(instance, strict, instance.address) == "TLSv1.3"


def test_another_address_and_another_ca_are_refused(instance: Instance, tmp_path: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(instance.ca))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(instance, trusting, "127.0.0.1")
    other = load_or_create(tmp_path / "other")
    certs.ensure(other)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(instance, ssl.create_default_context(cafile=str(other.ca)), instance.address)


def test_ensure_keeps_what_is_there_and_hides_the_keys(instance: Instance) -> None:
    before = {path.name: path.read_bytes() for path in instance.pki.iterdir()}
    certs.ensure(instance)
    assert {path.name: path.read_bytes() for path in instance.pki.iterdir()} == before
    assert {path.name for path in instance.pki.iterdir() if path.stat().st_mode & 0o077} <= {".lock"}


def test_the_bundle_does_not_grow_in_a_shell_that_uses_it(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    size = instance.ca_bundle.stat().st_size
    monkeypatch.setenv("SSL_CERT_FILE", str(instance.ca_bundle))
    for _ in range(3):
        certs.ensure(instance)
    assert instance.ca_bundle.stat().st_size <= size
    assert instance.ca.read_text() in instance.ca_bundle.read_text()


def test_two_at_once_make_one_authority(tmp_path: Path) -> None:
    instance = load_or_create(tmp_path)
    threads = [threading.Thread(target=certs.ensure, args=(instance,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handshake(instance, ssl.create_default_context(cafile=str(instance.ca)), instance.address)
