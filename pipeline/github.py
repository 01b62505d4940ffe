"""One comment a stack in a pull request, written anew in its place: REST API of GitHub, "Issue comments"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import requests

_TIMEOUT = 30
_AUTHOR = "github-actions[bot]"
"""Of comments written with a workflow's own token. A marker in somebody else's comment is not ours."""


class CommentError(Exception):
    """GitHub did not take the comment; says what it answered."""


def upsert(api: str, repository: str, number: int, token: str, body: str, author: str = _AUTHOR) -> str:
    """Its URL. The first line of `body` is the marker by which the earlier comment is found. Raises CommentError."""
    marker = body.splitlines()[0]
    comments = f"{api}/repos/{repository}/issues/{number}/comments"
    with requests.Session() as session:
        session.headers.update({"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"})
        for one in _all(session, comments):
            written = str(one.get("body", "")).splitlines()[:1]
            if one.get("user", {}).get("login") == author and written == [marker]:
                address = f"{api}/repos/{repository}/issues/comments/{one['id']}"
                return str(_send(session, "PATCH", address, json={"body": body})["html_url"])
        return str(_send(session, "POST", comments, json={"body": body})["html_url"])


def _all(session: requests.Session, address: str) -> Iterator[Mapping[str, Any]]:
    page = 1
    while True:
        found = _send(session, "GET", address, params={"per_page": 100, "page": page})
        yield from found
        if len(found) < 100:
            return
        page += 1


def _send(session: requests.Session, method: str, address: str, **more: Any) -> Any:
    try:
        answer = session.request(method, address, timeout=_TIMEOUT, **more)
    except requests.RequestException as error:
        raise CommentError(f"could not reach {address}: {type(error).__name__}") from error
    if answer.status_code >= 300:
        raise CommentError(
            f"{method} {address} answered {answer.status_code} {answer.reason}; "
            "the workflow's token needs the permission `pull-requests: write`"
        )
    return answer.json()
