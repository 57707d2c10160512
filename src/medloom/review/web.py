"""The study on a socket: the raters' page, the operator's, and the few requests that they make.

A rater's token comes with each request as a bearer token. In a link it stands behind the #, which browsers send to nobody: it is in no log.
Neither are questions, answers or votes.
"""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..ledger import Refusal
from ..notice import NOTICE
from ..web import WithHeaders, json_body, page_routes
from .raters import digest, rater_of, standing
from .store import Store
from .votes import Unknown, Vote, Voted, Wrong, next_pair, vote

PAGE = Path(__file__).parent / "page"
BODY_LIMIT = 1 << 17
class Web:
    """The application of one study. `operator` is the token of the operator's page, made anew each time."""

    def __init__(self, store: Store) -> None:
        self.store, self.operator = store, secrets.token_urlsafe(24)

    def application(self) -> ASGIApp:
        """The ASGI application."""
        pages = page_routes(PAGE, {"/": "rater.html", "/operator": "operator.html"})
        routes = [*pages, Route("/api/study", self._study, methods=["GET"]), Route("/api/next", self._next, methods=["GET"]),
                  Route("/api/votes", self._vote, methods=["POST"]), Route("/api/progress", self._progress, methods=["GET"]),
                  Route("/health", _health, methods=["GET"])]
        return WithHeaders(Starlette(routes=routes, exception_handlers={HTTPException: _refused, Refusal: _failed}))

    async def _study(self, request: Request) -> Response:
        rater, study = await self._rater(request), self.store.study
        return JSONResponse({"title": study.title, "instructions": study.instructions, "rater": rater, "reveal": study.reveal,
                             "axes": [axis.model_dump(mode="json") for axis in study.axes], "notice": NOTICE})

    async def _next(self, request: Request) -> Response:
        rater = await self._rater(request)
        return JSONResponse(await run_in_threadpool(next_pair, self.store, rater))

    async def _vote(self, request: Request) -> Response:
        rater = await self._rater(request)
        try:
            said = Vote.model_validate_json(await json_body(request, BODY_LIMIT))
            return JSONResponse(await run_in_threadpool(vote, self.store, rater, said), 201)
        except ValidationError as error:
            fault = error.errors(include_input=False)[0]
            raise HTTPException(400, f"{'.'.join(map(str, fault['loc'])) or 'the vote'}: {fault['msg']}") from None
        except Wrong as error:
            raise HTTPException(400, str(error)) from None
        except Unknown as error:
            raise HTTPException(404, str(error)) from None
        except Voted as error:
            raise HTTPException(409, str(error)) from None

    async def _progress(self, request: Request) -> Response:
        if not hmac.compare_digest(digest(_token(request)), digest(self.operator)):
            raise HTTPException(401, "this link is not the operator's; the server says it when it starts")
        raters = await run_in_threadpool(standing, self.store)
        return JSONResponse({"title": self.store.study.title, "raters": raters, "notice": NOTICE})

    async def _rater(self, request: Request) -> str:
        rater = await run_in_threadpool(rater_of, self.store, _token(request))
        if rater is None:
            raise HTTPException(401, "this link is not valid, or a newer one has taken its place; ask whoever runs the study for yours")
        return rater


def _token(request: Request) -> str:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    """The database is held or damaged; its place is nobody's business but the operator's."""
    return JSONResponse({"error": "the study cannot be read or written just now; your entries are kept in this browser, try again"}, 503)
