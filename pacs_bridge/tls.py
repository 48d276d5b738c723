"""TLS of the node (PS3.15 B.12, the BCP 195 profile): certificates on both sides, and the node's own made where none is given."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.clock import now
from core.errors import SumuError
from core.settings import Settings

#: TLS 1.2 with forward secrecy and authenticated encryption; TLS 1.3 has nothing weaker (RFC 9325).
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"
VALID = dt.timedelta(days=3650)


class UnusableCertificate(SumuError):
    """A certificate file that cannot be read."""

    def __init__(self, what: str, error: Exception) -> None:
        super().__init__(
            f"{what} is no usable certificate: {error}", remedy="Give a PEM file with the certificate (and its key)."
        )


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A certificate as it is kept."""

    pem: str
    #: Of its DER form, hexadecimal.
    sha256: str


def read_certificate(pem: str) -> Certificate:
    """Return the first certificate of a PEM text.

    Raises
    ------
    UnusableCertificate
        If there is none.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise UnusableCertificate("The text", error) from error
    encoded = certificate.public_bytes(serialization.Encoding.DER)
    return Certificate(pem=ssl.DER_cert_to_PEM_cert(encoded), sha256=hashlib.sha256(encoded).hexdigest())


class ServerTls:
    """The TLS of the node's secure port.

    Every caller must show a certificate that the register of devices knows; which device it belongs to is checked when the
    association is asked for. A device that is admitted meanwhile is known at its next call.
    """

    def __init__(self, settings: Settings) -> None:
        """Load the node's certificate, or make one.

        Raises
        ------
        UnusableCertificate
            If the settings name files that cannot be used.
        """
        certificate, key = node_certificate(settings)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_ciphers(CIPHERS)
        self._context.verify_mode = ssl.CERT_REQUIRED
        # A device's own certificate is the anchor, whoever signed it.
        self._context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            self._context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise UnusableCertificate(str(certificate), error) from error
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def context(self, certificates: Iterable[str]) -> ssl.SSLContext:
        """Return the context in which these certificates (PEM) open the door."""
        with self._lock:
            for pem in certificates:
                if pem not in self._known:
                    self._context.load_verify_locations(cadata=pem)
                    self._known.add(pem)
        return self._context


def node_certificate(settings: Settings) -> tuple[Path, Path]:
    """Return files of the node's certificate and key; made at the first start where the settings name none."""
    if settings.node.tls_certificate.name:
        return settings.node.tls_certificate, settings.node.tls_key
    certificate, key = settings.secrets / "node.pem", settings.secrets / "node.key"
    if not certificate.exists():
        made, secret = make_certificate(settings.node.ae_title, [socket.gethostname(), "localhost", "127.0.0.1"])
        settings.secrets.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(key, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(secret)
        certificate.write_text(made, encoding="ascii")
    return certificate, key


def make_certificate(common_name: str, hosts: Iterable[str]) -> tuple[str, str]:
    """Return a certificate that signs itself, and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    moment = now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - dt.timedelta(days=1))
        .not_valid_after(moment + VALID)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), secret.decode()


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
