"""The county as its edge sees it: one HTTPS connection, STOW-RS with receipts, and what each answer means for the edge."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from core.errors import SumuError
from core.settings import Settings
from pacs_bridge.edge import words
from pacs_bridge.edge.loads import Load, Meter, blocks, compressed, metered, multipart
from pacs_bridge.edge.prediction import NAME, predicted

_CONNECT_SECONDS = 20.0
#: After the last byte of a large instance the county still reads it all once.
_LONGEST_READ_SECONDS = 600.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class LineDown(SumuError):
    """The county was not reached, or the line broke."""

    def __init__(self, address: str, cause: Exception) -> None:
        super().__init__(
            f"The county at {address} is not reached ({type(cause).__name__}: {str(cause)[:160] or 'no words'}).",
            remedy="The edge tries again by itself and keeps everything. If it lasts: the router, the line, the county's server.",
        )


class CountyBusy(SumuError):
    """The county answers that it cannot take anything now."""

    def __init__(self, why: str, wait_seconds: float) -> None:
        super().__init__(f"The county takes nothing now: {why}", remedy="The edge waits and tries again by itself.")
        self.wait_seconds = wait_seconds


class CountyRefuses(SumuError):
    """The county answers, and refuses the edge itself."""

    def __init__(self, status: int, why: str, remedy: str) -> None:
        super().__init__(f"The county refuses with {status}: {why}", remedy=remedy)
        self.status = status


class RequestTooLarge(CountyRefuses):
    """Something on the way takes no request of this size."""


class OtherOffset(SumuError):
    """The county holds more or less of a large instance than we thought."""

    def __init__(self) -> None:
        super().__init__("The county holds another part of this instance.", remedy="The edge asks, and goes on from there.")


class UnusableEdge(SumuError):
    """The edge's settings do not lead to a county."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the county says of one instance."""

    #: Its place in the request, from 0.
    part: int
    #: SHA-256 of the data set as the county holds it; empty where it does not.
    sha256: str = ""
    #: Failure Reason (PS3.18 Table I.2-1); 0 where it holds it.
    failure: int = 0
    note: str = ""


class County:
    """A client with one connection. One thread uses it."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; nothing is asked yet.

        Raises
        ------
        UnusableEdge
            If address, token or certificates are missing or cannot be used.
        """
        edge = settings.edge
        self.address = _address(edge.county_url)
        self._level = edge.zstd_level
        #: Whether the county can restore predicted pixels; None before it was asked.
        self._predicting: bool | None = None
        token = _token(settings)
        if not token and not edge.certificate.name:
            raise UnusableEdge(
                "The edge has neither a token nor a certificate.",
                remedy=f"Have the county give the edge a token (page Devices) and write it into {token_file(settings)}.",
            )
        self._http = httpx.Client(
            base_url=self.address,
            verify=_trust(settings) if self.address.startswith("https:") else False,
            headers={"Accept": words.RECEIPTS, **({"Authorization": f"Bearer {token}"} if token else {})},
            timeout=httpx.Timeout(edge.stalled_seconds, connect=min(_CONNECT_SECONDS, edge.stalled_seconds)),
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None),
            follow_redirects=False,
            trust_env=False,
        )

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def line(self) -> Mapping[str, Any]:
        """Ask whether the county is there and knows us; return what it says of itself.

        Raises
        ------
        LineDown, CountyBusy, CountyRefuses
            If it is not, or does not.
        """
        said = self._json(self._ask("GET", words.LINE))
        names = said.get("predictions")
        self._predicting = bool(self._level) and isinstance(names, list) and NAME in names
        return said

    def store(self, loads: Sequence[Load], meter: Meter) -> list[Receipt]:
        """Send instances in one request (PS3.18 10.5) and return the county's receipts.

        ``meter`` lets each piece of what goes over the line pass.

        Raises
        ------
        LineDown, CountyBusy, CountyRefuses
            If nothing is known of them: whatever the county had taken by then, it recognises when it comes again.
        """
        boundary = uuid.uuid4().hex
        headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"'}
        return self._receipts(
            self._send("POST", words.STORE, multipart(loads, boundary, predict=self._predicts()), headers, meter)
        )

    def held(self, load: Load) -> int:
        """Return how many bytes of a large instance's file the county holds."""
        return int(self._json(self._ask("GET", f"{words.PIECES}/{load.sha256}")).get("held", 0))

    def add_piece(self, load: Load, offset: int, length: int, whole: int, meter: Meter) -> tuple[int, list[Receipt]]:
        """Send a piece of a large instance's file; return what the county holds now, and receipts once it is whole.

        Raises
        ------
        OtherOffset
            If it does not go on from there.
        LineDown, CountyBusy, CountyRefuses
            As for :meth:`store`.
        """
        headers = {**load.headers, words.OFFSET: str(offset), words.WHOLE: str(whole)}
        body: Iterator[bytes | memoryview] = blocks(load.path, offset, length)
        if self._predicts() and (prediction := load.prediction()) is not None:
            here = prediction.from_byte(offset)
            headers[words.PREDICTION] = str(here)
            body = predicted(body, here)
        answer = self._send("PUT", f"{words.PIECES}/{load.sha256}", body, headers, meter)
        said = self._json(answer)
        if "kept" in said:
            return whole, self._receipts(answer)
        if answer.status_code == 409:
            raise OtherOffset
        return int(said.get("held", 0)), []

    def tell_ended(self, associations: Mapping[str, str]) -> None:
        """Tell which associations have ended, with everything of theirs forwarded, and how."""
        told = [{"id": id_, "outcome": outcome} for id_, outcome in associations.items()]
        self._ask("POST", words.ENDED, json=told)

    # --- requests and answers -------------------------------------------------------------------------------------------

    def _predicts(self) -> bool:
        if self._predicting is None:
            self.line()
        return bool(self._predicting)

    def _send(
        self, method: str, path: str, body: Iterator[bytes | memoryview], headers: dict[str, str], meter: Meter
    ) -> httpx.Response:
        if self._level:
            headers["Content-Encoding"] = "zstd"
            body = compressed(body, self._level)
        stalled = self._http.timeout
        timeout = httpx.Timeout(
            stalled.write, connect=stalled.connect, read=_LONGEST_READ_SECONDS if method == "PUT" else stalled.read
        )
        return self._ask(method, path, content=metered(body, meter), headers=headers, timeout=timeout)

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            self._predicting = None  # another county may answer next
            raise LineDown(self.address, error) from error
        if answer.status_code in (200, 202, 204, 409) or (answer.status_code == 503 and b'"failed"' in answer.content):
            return answer
        raise self._refusal(answer)

    def _refusal(self, answer: httpx.Response) -> SumuError:
        try:
            said = answer.json()
            why, remedy = str(said["message"]), str(said["remedy"])
        except (ValueError, KeyError, TypeError):
            why, remedy = answer.text[:200] or "no words", ""
        if answer.status_code in (408, 429, 502, 503, 504):
            wait = answer.headers.get("retry-after", "")
            return CountyBusy(why, float(wait) if wait.isascii() and wait.isdigit() else 0.0)
        self._predicting = None
        if answer.status_code == 413:
            return RequestTooLarge(413, why, remedy or "Raise the body limit of the county's proxy (client_max_body_size).")
        return CountyRefuses(answer.status_code, why, remedy or "Check edge.county_url: the address must be the county's Sumu.")

    def _json(self, answer: httpx.Response) -> Mapping[str, Any]:
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise CountyRefuses(
                answer.status_code, "the answer is not Sumu's", "Check edge.county_url, and whether a gateway asks for a sign-in."
            )
        return said

    def _receipts(self, answer: httpx.Response) -> list[Receipt]:
        said = self._json(answer)
        try:
            return [
                Receipt(
                    part=int(one["part"]), sha256=str(one.get("sha256", "")),
                    failure=int(one.get("failure", 0)), note=str(one.get("note", "")),
                )
                for one in (*said["kept"], *said["failed"])
            ]  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise CountyRefuses(
                answer.status_code, "the answer holds no receipts", "Bring the county to the edge's version."
            ) from error


def token_file(settings: Settings) -> Path:
    """Return where the edge's token is kept."""
    return settings.edge.token_file if settings.edge.token_file.name else settings.secrets / "edge.token"


def _token(settings: Settings) -> str:
    file = token_file(settings)
    try:
        return file.read_text(encoding="ascii").strip() if file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableEdge(f"The token in {file} cannot be read.", remedy="Write the token alone into that file.") from error


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return url.rstrip("/")
    raise UnusableEdge(
        f"'{url}' is no address of a county.", remedy="Set edge.county_url to the county's address, which begins with https://."
    )


def _trust(settings: Settings) -> ssl.SSLContext:
    edge = settings.edge
    try:
        authorities = str(edge.county_certificates) if edge.county_certificates.name else None
        context = ssl.create_default_context(cafile=authorities)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if edge.certificate.name:
            context.load_cert_chain(edge.certificate, edge.key if edge.key.name else None)
    except (OSError, ssl.SSLError) as error:
        raise UnusableEdge(
            f"A certificate of the edge's settings cannot be used: {error}.",
            remedy="Check edge.county_certificates, edge.certificate and edge.key: PEM files that the service may read.",
        ) from error
    return context
