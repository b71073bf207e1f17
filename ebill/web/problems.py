"""How refusals reach the web: one table of statuses, and one shape, the problem details of RFC 9457."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, SecurityError

from ebill import errors
from ebill.logs import log
from ebill.render.json import encode
from ebill.web import metrics
from ebill.web.fence import CODE, REQUEST_ID, UNEXPECTED, Environ

STATUSES: Final[dict[type[errors.Refusal], int]] = {
    errors.Refusal: 422,
    errors.MalformedJson: 400,
    errors.BadRequest: 400,
    errors.Unauthenticated: 401,
    errors.MissingEntitlement: 403,
    errors.NotAllowed: 403,
    errors.OutsideScope: 403,
    errors.TermsNotAccepted: 403,
    errors.ForgedForm: 403,
    errors.NotIdentified: 403,
    errors.TooManyTries: 429,
    errors.AskedTooOften: 429,
    errors.UnknownState: 404,
    errors.ClientNotFound: 404,
    errors.AccountNotFound: 404,
    errors.UserNotFound: 404,
    errors.TeamNotFound: 404,
    errors.TokenNotFound: 404,
    errors.FeedNotFound: 404,
    errors.SessionNotFound: 404,
    errors.RequestNotFound: 404,
    errors.TokenAlreadyShown: 409,
    errors.FeedAlreadyShown: 409,
    errors.PaymentRecorded: 409,
    errors.PaymentNotInForce: 409,
    errors.Stale: 412,
    errors.PreviewOutdated: 412,
    errors.TooLarge: 413,
    errors.TooManyRows: 413,
    errors.LineTooLong: 413,
    errors.UnsupportedMediaType: 415,
    errors.PreconditionMissing: 428,
    errors.StoreUnavailable: 503,
    errors.NotReady: 503,
    errors.TooBusy: 503,
    errors.BatchesBusy: 503,
    errors.Overloaded: 503,
}
"""The status of each refusal; one that is not listed has that of its nearest listed ancestor."""

HTTP_CODES: Final = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    412: "precondition_failed",
    413: "body_too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    431: "headers_too_large",
    500: UNEXPECTED,
}
"""The code of what Flask itself refuses."""

_UNEXPECTED: Final = "Something went wrong here; the request id tells us what."
FACTS: Final = ("coverage_month", "entitlement", "payment_id", "version")
"""Attributes of a refusal that programs are told besides."""


def status_of(kind: type[errors.Refusal]) -> int:
    """Give the status of a kind of refusal."""
    return next(STATUSES[each] for each in kind.__mro__ if each in STATUSES)


def refuse(refusal: errors.Refusal) -> Response:
    """Answer with a refusal."""
    status = status_of(type(refusal))
    facts = {fact: getattr(refusal, fact) for fact in FACTS if getattr(refusal, fact, None) is not None}
    if refusal.faults:
        facts["errors"] = [{"pointer": fault.pointer, "detail": fault.detail} for fault in refusal.faults]
    answer = problem(status, refusal.code, str(refusal), **facts)
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="ebill"'
    if isinstance(refusal, errors.UnsupportedMediaType):
        answer.headers["Accept-Encoding"] = "identity"
        answer.headers["Accept-Post"] = refusal.taken
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = "1"
    if isinstance(refusal, errors.Stale) and refusal.version is not None:
        answer.headers["ETag"] = f'"{refusal.version}"'
    return answer


def problem(status: int, code: str, detail: str, **facts: Any) -> Response:
    """Make a problem answer."""
    request.environ[CODE] = code
    body = written(status, code, detail, request.environ.get(REQUEST_ID, ""), **facts)
    return Response(body, status, content_type="application/problem+json")


def written(status: int, code: str, detail: str, request_id: str, **facts: Any) -> bytes:
    """Write the body of a problem answer."""
    title = HTTPStatus(status).phrase
    return encode(
        {
            "type": f"/problems#{code}",
            "title": title,
            "status": status,
            "code": code,
            "detail": detail,
            "request_id": request_id,
            **facts,
        }
    )


def register(app: Flask) -> None:
    """Give every refusal and every error of an application this shape."""
    app.register_error_handler(errors.Refusal, refuse)
    app.register_error_handler(HTTPException, http)
    app.register_error_handler(Exception, unexpected)


def plainly(error: HTTPException) -> str:
    """Say in a sentence what is wrong with a request that Flask refuses."""
    if isinstance(error, SecurityError):
        return "This service does not answer by the host name that was asked for."
    status = HTTPStatus(error.code or 500)
    return status.description or status.phrase


def http(error: HTTPException) -> Response:
    """Answer with what Flask itself refuses."""
    status = error.code or 500
    code = HTTP_CODES.get(status, "bad_request" if status < 500 else UNEXPECTED)
    detail = {
        404: "There is nothing at this address.",
        405: f"This address does not take {errors.shown(request.method)}.",
        413: "The body is larger than 256 kB.",
    }.get(status, plainly(error))
    answer = problem(status, code, detail)
    if allowed := getattr(error, "valid_methods", None):
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def unexpected(error: Exception) -> Response:
    """Answer with what nobody foresaw, and write it down."""
    _write_down(request.environ, error)
    return problem(500, UNEXPECTED, _UNEXPECTED)


def last_line(environ: Environ, error: Exception) -> bytes:
    """Make of what nobody foresaw the last line of an answer that is under way, and write it down."""
    _write_down(environ, error)
    environ[CODE] = UNEXPECTED
    return written(500, UNEXPECTED, _UNEXPECTED, environ.get(REQUEST_ID, "")).rstrip() + b"\n"


def _write_down(environ: Environ, error: Exception) -> None:
    metrics.UNEXPECTED.inc()
    log("unexpected", error, level="error", request_id=environ.get(REQUEST_ID))
