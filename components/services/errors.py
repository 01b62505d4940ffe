"""The one family of errors. Pulumi shows a dynamic provider's exception as its bare message, so the message must say everything."""

from __future__ import annotations


class ServiceError(Exception):
    """What was being done, to which resource, what came back, what to do next. Never holds a key or a password."""

    def __init__(self, doing: str, resource: str, answer: str, advice: str = "") -> None:
        self.doing, self.resource, self.answer, self.advice = doing, resource, answer, advice
        super().__init__(f"could not {doing} {resource}: {answer}" + (f"\n  {advice}" if advice else ""))


class NotFoundError(ServiceError):
    """The service itself answered that the resource does not exist (404): only then may `read` say that it is gone.

    Where it reaches the user, something that the state holds was deleted behind Pulumi's back.
    """

    def __init__(self, doing: str, resource: str, answer: str, advice: str = "") -> None:
        super().__init__(doing, resource, answer, advice or _GONE)


_GONE = "It was deleted outside of this program. Run `pulumi refresh`, which sees that, then `pulumi up`, which makes it again."


class RolloutError(ServiceError):
    """The hub has the deployment, and the device does not run it. `replaced`: because somebody else's took its place."""

    replaced = False


class MethodError(ServiceError):
    """A module answered a direct method with a status other than 2xx."""


class ChangedError(ServiceError):
    """Somebody else changed the resource since it was read (412)."""


class DeniedError(ServiceError):
    """Whoever is logged in may not do this (401, 403)."""


class ConflictError(ServiceError):
    """The resource exists already (409)."""
