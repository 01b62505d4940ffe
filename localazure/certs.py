"""The instance's own certificate authority and the certificates it issues. Nothing outside the instance's folder trusts it."""

from __future__ import annotations

import datetime
import fcntl
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from localazure.instance import Instance

_VALIDITY = datetime.timedelta(days=3650)


def ensure(instance: Instance) -> None:
    """Make the CA, the server certificate for the instance's address and the CA bundle, unless they are there."""
    instance.pki.mkdir(mode=0o700, exist_ok=True)
    with (instance.pki / ".lock").open(
        "w"
    ) as lock:  # two at once must not mix the key of one CA with the certificate of another
        fcntl.flock(lock, fcntl.LOCK_EX)
        _ensure(instance)


def issue(instance: Instance, stem: str, names: list[str], folder: Path | None = None) -> tuple[Path, Path]:
    """A server certificate for host names and IP addresses: `<stem>.pem` with its chain and `<stem>.key`, below `folder` (default: pki)."""
    folder = folder or instance.pki
    ca = x509.load_pem_x509_certificate(instance.ca.read_bytes())
    ca_key = serialization.load_pem_private_key((instance.pki / "ca.key").read_bytes(), password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(names[0]), ca.subject, key.public_key())
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    chain, private = folder / f"{stem}.pem", folder / f"{stem}.key"
    _write(private, _pem_key(key))
    _write(chain, certificate.public_bytes(serialization.Encoding.PEM) + instance.ca.read_bytes())
    return chain, private


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer, as Azure's front ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def _ensure(instance: Instance) -> None:
    pki = instance.pki
    if not (pki / "ca.pem").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"aml-edge local Azure CA {instance.address}")
        certificate = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_ca_usage(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(pki / "ca.key", _pem_key(key))
        _write(pki / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))
    if not (pki / "server.pem").exists():
        issue(instance, "server", [instance.address, "localhost"])
    trusted = [path.read_text() for path in [_system_bundle(instance)] if path]
    _write(instance.ca_bundle, "\n".join([*trusted, instance.ca.read_text()]).encode())


def _system_bundle(instance: Instance) -> Path | None:
    """What this machine trusts. In a shell that `make env` made, SSL_CERT_FILE is our own bundle: then what OpenSSL was built with,
    or the bundle would grow with each start."""
    paths = ssl.get_default_verify_paths()
    candidates = (paths.cafile, paths.openssl_cafile, "/etc/ssl/certs/ca-certificates.crt")
    for candidate in (Path(found) for found in candidates if found):
        if candidate.is_file() and not (instance.ca_bundle.exists() and candidate.samefile(instance.ca_bundle)):
            return candidate
    return None


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + _VALIDITY)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> None:
    """Private from its first byte, and whole or not at all."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
