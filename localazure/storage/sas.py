"""Shared access signatures for single blobs.

The fields and the string to sign are those of a service SAS of version 2019-07-07 ("Create a service SAS", Blob service REST API); the
key is derived from the instance's signing key, one for each owner, where Azure would use the storage account's key.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode

from localazure.instance import Instance
from localazure.storage.errors import VERSION, BlobError

_TIME = "%Y-%m-%dT%H:%M:%SZ"


class Signer:
    def __init__(self, instance: Instance) -> None:
        self._secret = instance.signing_key.encode()

    def query(self, container: str, owner: str, blob: str, permissions: str, lifetime: datetime.timedelta) -> str:
        """The query string that grants `permissions` (letters of "rcw") on one blob of an owner."""
        expiry = (datetime.datetime.now(datetime.UTC) + lifetime).strftime(_TIME)
        signature = self._sign(container, owner, blob, permissions, "", expiry)
        fields = {"sv": VERSION, "sr": "b", "sig": signature, "se": expiry, "sp": permissions}
        return urlencode(fields)

    def check(self, container: str, owner: str, blob: str, query: Mapping[str, str], needed: str) -> None:
        """Raises BlobError 403 unless the query is genuine, in force and grants one of the letters in `needed`."""
        expiry, permissions, start = query.get("se", ""), query.get("sp", ""), query.get("st", "")
        given = query.get("sig", "")
        expected = self._sign(container, owner, blob, permissions, start, expiry)
        fits = query.get("sv") == VERSION and query.get("sr") == "b"
        if not fits or not hmac.compare_digest(given.encode(), expected.encode()):
            raise BlobError(
                403,
                "AuthenticationFailed",
                "Server failed to authenticate the request. Make sure the value of the signature is formed correctly.",
            )
        now = datetime.datetime.now(datetime.UTC).strftime(_TIME)  # this form sorts as text
        if not start <= now < expiry:
            raise BlobError(
                403, "AuthenticationFailed", f"Signature not valid in the specified time frame: expiry {expiry}."
            )
        if not set(needed) & set(permissions):
            raise BlobError(
                403,
                "AuthorizationPermissionMismatch",
                f"This request is not authorized to perform this operation using this permission ({permissions}).",
            )

    def _sign(self, container: str, owner: str, blob: str, permissions: str, start: str, expiry: str) -> str:
        resource = f"/blob/{owner}/{container}/{blob}"
        unused = [""] * 5  # cache-control, content-disposition, -encoding, -language, -type of the answer
        identifier, address, protocol, snapshot = "", "", "", ""
        text = "\n".join(
            [permissions, start, expiry, resource, identifier, address, protocol, VERSION, "b", snapshot, *unused]
        )
        key = hmac.digest(self._secret, b"blob-sas\n" + owner.encode(), "sha256")
        return base64.b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()
