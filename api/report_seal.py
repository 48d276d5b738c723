"""The county's seal on a report's PDF: a digital signature that shows any later change (ISO 32000-2 12.8).

Key and certificate lie in one PEM file, ``report-seal.pem``, in the service's secrets. The first signature makes a
self-made certificate, which proves that a report was not changed but not to strangers who the county is; a county puts a
key and certificate (and its chain) from its own authority into the same file.
"""

from __future__ import annotations

import io
import os
import secrets
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pyhanko.keys import load_certs_from_pemder_data, load_private_key_from_pemder_data
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko_certvalidator.registry import CertificateRegistry

from core.clock import now
from core.settings import Settings

FILE_NAME = "report-seal.pem"
#: Longer than records are kept (15 years).
_YEARS = 20
FIELD_NAME = "Seal"


def seal(pdf: bytes, settings: Settings, *, signer_name: str, reason: str) -> bytes:
    """Return ``pdf`` with the county's signature over all of it."""
    writer = IncrementalPdfFileWriter(io.BytesIO(pdf))
    metadata = signers.PdfSignatureMetadata(
        field_name=FIELD_NAME,
        md_algorithm="sha256",
        name=signer_name,
        reason=reason,
        location=settings.county.name_zh,
    )
    sealed = signers.sign_pdf(writer, metadata, signer=_signer(settings))
    return bytes(sealed.getbuffer())


def seal_file(settings: Settings) -> Path:
    """Return the file with key and certificate; the first caller makes it, and of two at once one wins."""
    file = settings.secrets / FILE_NAME
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = file.with_name(f".{FILE_NAME}-{secrets.token_hex(4)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(_self_made(settings))
        try:
            os.link(draft, file)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return file


def _signer(settings: Settings) -> signers.SimpleSigner:
    pem = seal_file(settings).read_bytes()
    certificate, *chain = load_certs_from_pemder_data(pem)
    key = load_private_key_from_pemder_data(pem, passphrase=None)
    known: CertificateRegistry = CertificateRegistry()
    known.register_multiple([certificate, *chain])
    return signers.SimpleSigner(signing_cert=certificate, signing_key=key, cert_registry=known)


def _self_made(settings: Settings) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, settings.county.name_zh),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{settings.county.name_en} reports"),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(minutes=5))
        .not_valid_after(now() + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=True,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(serialization.Encoding.PEM)
