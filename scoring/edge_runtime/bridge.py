"""Keeps a session with the edge hub: connects, connects again, renews the token in time, gives up in the end."""

from __future__ import annotations

import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import methods, sas
from .messages import Answer, Message, Output, output_of, reason_of
from .scorer import Scorer, ServerUnavailableError
from .session import Session, SessionError
from .settings import EdgeIdentity, Settings
from .topics import parse_input
from .workload import WorkloadApi, WorkloadError

log = logging.getLogger("edge_runtime")

_RENEW_AT = 0.75  # of a token's life: from then on at an idle moment ...
_RENEW_BY = 0.9  # ... and from then on in any case
_STEADY_SECONDS = 10.0  # a session that stood so long, or delivered something, was a working one
_LONGEST_PAUSE_SECONDS = 15.0
_LOOK_SECONDS = 0.2
_LEAVE_SECONDS = 1.5  # to notice that it is time and to disconnect


@dataclass(frozen=True)
class _Token:
    """`begin` and `expiry` are seconds since 1970."""

    text: str
    begin: float
    expiry: int

    @property
    def age(self) -> float:
        """0 when new, 1 when expired."""
        return (time.time() - self.begin) / max(1.0, self.expiry - self.begin)


class Bridge:
    """Runs on a thread of its own from `start` to `stop`. `failed` says why it gave up, which ends the container."""

    def __init__(self, settings: Settings, identity: EdgeIdentity, scorer: Scorer) -> None:
        self.failed: str | None = None
        self._settings, self._identity, self._scorer = settings, identity, scorer
        self._workload = WorkloadApi(identity)
        self._executor = ThreadPoolExecutor(settings.workers, "score")
        self._stopping = threading.Event()
        self._drain = 0.0
        self._session: Session | None = None
        self._thread = threading.Thread(target=self._run, name="bridge", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, drain: float) -> None:
        """Finish what was begun, for `drain` seconds at most, and disconnect."""
        self._drain = drain
        self._stopping.set()
        if self._session:  # else there is nothing to finish, and connecting may take long
            self._thread.join(drain + _LEAVE_SECONDS)
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        try:
            self._keep_connected()
        except Exception as error:
            log.exception("the bridge failed")
            self.failed = f"the bridge failed: {type(error).__name__}: {error}"

    def _keep_connected(self) -> None:
        healthy, failures = time.monotonic(), 0
        following: _Token | None = None
        while not self._stopping.is_set() and not self.failed:
            begin = time.monotonic()
            try:
                session, token = self._connect(following)
                self._session = session
                following = self._stay(session, token)
                self._session = None
                problem = "the connection to the edge hub was lost"
                if session.delivered or time.monotonic() - begin > _STEADY_SECONDS:
                    healthy, failures = time.monotonic(), 0
            except (WorkloadError, SessionError, OSError) as error:
                following, problem = None, f"{type(error).__name__}: {error}"
            if following or self._stopping.is_set() or self.failed:
                continue
            failures += 1
            if time.monotonic() - healthy > self._settings.give_up:
                self.failed = f"no working edge hub for {self._settings.give_up:g} s; the last problem: {problem}"
                return
            pause = min(_LONGEST_PAUSE_SECONDS, 0.25 * 2 ** min(failures, 10)) * random.uniform(0.5, 1)  # noqa: S311
            log.warning("%s; trying again in %.1f s", problem, pause)
            self._stopping.wait(pause)

    def _connect(self, token: _Token | None) -> tuple[Session, _Token]:
        """The trust bundle is fetched each time: a device may get a new one."""
        token = token or self._new_token()
        bundle = self._workload.trust_bundle()
        session = Session(self._identity, token.text, bundle, self._executor, self._carry)
        session.open()
        log.info("connected to the edge hub %s; input %r", self._identity.gateway, self._settings.input)
        return session, token

    def _stay(self, session: Session, token: _Token) -> _Token | None:
        """Until the session is lost, the bridge is stopped, or the token is to be renewed: then the next one is returned."""
        following: _Token | None = None
        ask_again = 0.0
        while not session.lost.wait(_LOOK_SECONDS) and not self._stopping.is_set():
            if token.age < _RENEW_AT:
                continue
            if following is None and time.monotonic() >= ask_again:
                try:
                    following = self._new_token()
                except WorkloadError as error:
                    ask_again = time.monotonic() + min(_LONGEST_PAUSE_SECONDS, (token.expiry - token.begin) / 50)
                    log.warning("renewing the token failed, the old one still holds: %s", error)
            if (following and (session.idle or token.age > _RENEW_BY)) or token.age >= 1:
                break
        self._leave(session)
        return following

    def _leave(self, session: Session) -> None:
        if not session.lost.is_set():
            stopping = self._stopping.is_set()
            done = session.drain(self._drain if stopping else self._settings.drain)
            log.info(
                "%s: %s",
                "stopping" if stopping else "renewing the token",
                "drained" if done else "some messages are left to come again",
            )
        session.close()
        if isinstance(session.error, ServerUnavailableError):
            self.failed = str(session.error)
        elif session.error:
            raise session.error

    def _new_token(self) -> _Token:
        now = time.time()
        expiry = int(now + self._settings.token)
        return _Token(sas.token(self._identity, expiry, self._workload.sign), now, expiry)

    def _carry(self, topic: str, body: bytes) -> Output | None:
        if called := methods.call(topic):
            name, request = called
            if name != methods.NAME:
                return methods.unknown(request, name)
            return methods.result(request, self._scorer.score(methods.message(body)))
        try:
            name, properties = parse_input(self._identity, topic)
        except ValueError as error:  # a subscription of an earlier program with this identity
            log.warning("ignored: %s", error)
            return None
        message = Message(name, body, properties)
        if name != self._settings.input:
            log.warning("%s came on input %r, which nobody reads here: ignored", message.label, name)
            return None
        answer: Answer = self._scorer.score(message)
        if not answer.accepted:
            log.warning("%s was not scored: %d %s", message.label, answer.status, reason_of(answer))
        return output_of(message, answer, self._settings, self._identity)
