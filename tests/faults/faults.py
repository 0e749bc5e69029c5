# SPDX-License-Identifier: Apache-2.0
"""What goes wrong: one entry for each fault."""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from tests.faults import surroundings
from tests.faults.cases import (
    AT_THE_EDGE,
    Fault,
    Play,
    answered_with_body,
    downloads,
    each_process,
    each_write_with_each_later_moment,
    each_write_with_the_next_moments,
    every_moment,
    every_request,
    first_request,
    not_to_the_edge,
    of_the_task,
    of_the_triggerer,
    pairs_at_random,
    to_ims,
    to_the_edge,
    with_an_ims_token,
    with_body,
)
from tests.faults.plays import (
    SHORT,
    another_run,
    arrives_late,
    cleared_and_rerun,
    ended_by_a_person,
    first_try_in,
    hours_pass,
    jumps,
    killed,
    killed_at_the_very_end,
    killed_twice,
    lasts,
    processed_late,
    profile_token_expires,
    restarted,
    survives,
    survives_or_says_so,
    through_a_proxy,
    zombie,
)

if TYPE_CHECKING:
    pass

FAULTS: dict[str, Fault] = {}


def fault(name: str, group: str, play: Play, places: Any = every_request) -> None:
    assert name not in FAULTS
    FAULTS[name] = Fault(name, group, play, places)


HTML = {"content-type": "text/html"}
LOGIN_PAGE = "<html><head><title>Log in to the guest network</title></head><body>Welcome</body></html>"
GATEWAY = {"error_code": "503000", "message": "upstream request failed"}

fault("SIGKILL before the request is processed", "SIGKILL", killed("before"), of_the_task)
fault("SIGKILL after it is committed", "SIGKILL", killed("after"), of_the_task)
fault("SIGKILL in the middle of the body", "SIGKILL", killed("body"), with_body)
fault("SIGKILL in two tries in a row", "SIGKILL", killed_twice, pairs_at_random)
fault("SIGKILL, and the write arrives later", "SIGKILL", arrives_late, each_write_with_each_later_moment)

fault("SIGKILL before Airflow notes the outcome", "SIGKILL", killed_at_the_very_end, each_process)
fault("restart before the request is processed", "triggerer restart", killed("before"), of_the_triggerer)
fault("restart after it is processed", "triggerer restart", killed("after"), of_the_triggerer)

fault(
    "SIGTERM before the request is processed", "SIGTERM (on_kill)", ended_by_a_person("before"), every_moment
)
fault("SIGTERM after it is committed", "SIGTERM (on_kill)", ended_by_a_person("after"), every_moment)

fault("reset before the request is processed", "connection", survives(drop=True))
fault("reset after it is committed", "connection", survives(drop=True, phase="after"))
fault("reset in the middle of the body", "connection", survives(drop=True, phase="body"), with_body)
fault("closed without an answer", "connection", survives(drop="close"))
fault("closed without an answer after it is committed", "connection", survives(drop="close", phase="after"))
fault("restart of the service", "connection", restarted(0.0))
fault("restart, refused for a while", "connection", restarted(0.15))

fault("refused for a whole try", "network", first_try_in(surroundings.nobody_listens), first_request)
fault("connect timeout", "network", first_try_in(surroundings.connect_times_out), first_request)
fault("DNS failure", "network", first_try_in(surroundings.name_not_resolved), first_request)
fault(
    "TLS: certificate of a stranger",
    "network",
    first_try_in(surroundings.stranger_with_a_certificate),
    first_request,
)
fault("TLS: plain text instead", "network", first_try_in(surroundings.plain_text_for_tls), first_request)
fault("a proxy that refuses", "network", first_try_in(surroundings.proxy_refuses), first_request)
fault("a proxy, reset before the request is processed", "network", through_a_proxy("before"))
fault("a proxy, reset after it is committed", "network", through_a_proxy("after"))
fault("disk full while downloading", "disk full", first_try_in(surroundings.disk_full), downloads)

fault(
    "read timeout before the request is processed",
    "timeouts",
    survives({"read_timeout": SHORT}, delay=2 * SHORT, drop=True),
)
fault(
    "read timeout after it is committed",
    "timeouts",
    survives({"read_timeout": SHORT}, delay=2 * SHORT, phase="after", drop=True),
)
fault("read timeout, processed later", "timeouts", processed_late, each_write_with_the_next_moments)

fault("slow drip within the deadline", "answers", survives(drip=0.0001), answered_with_body)
fault(
    "slow drip beyond the deadline",
    "answers",
    survives({"total_timeout": 0.4}, drip=0.02),
    answered_with_body,
)
fault("truncated answer", "answers", survives(truncate=5), answered_with_body)
fault(
    "HTML instead of JSON, not processed",
    "answers",
    survives_or_says_so(status=200, headers=HTML, body=LOGIN_PAGE),
)
fault(
    "HTML instead of JSON, committed",
    "answers",
    survives_or_says_so(status=200, headers=HTML, body=LOGIN_PAGE, phase="after"),
)
fault(
    "another JSON than documented",
    "answers",
    survives_or_says_so(status=200, body=["unexpected"]),
    answered_with_body,
)
fault("an empty 200", "answers", survives_or_says_so(status=200, body=""), answered_with_body)
fault(
    "a redirect to another host",
    "answers",
    survives_or_says_so(status=302, headers={"location": "https://attacker.example/"}),
)

NO_TOKEN = {"error_code": "401013", "message": "Oauth token is not valid"}
NO_RIGHT = {"error_code": "403025", "message": "Profile is not valid"}
fault("401 once", "401 and 403", survives(status=401, body=NO_TOKEN), with_an_ims_token)
fault("401 once from the edge", "401 and 403", survives(status=401, body=NO_TOKEN), to_the_edge)
fault("401 for ever", "401 and 403", lasts(False, status=401, body=NO_TOKEN), not_to_the_edge)
# A rotation may be under way, so this is worth a retry.
fault(
    "401 for ever from the edge",
    "401 and 403",
    lasts(True, path=AT_THE_EDGE, status=401, body=NO_TOKEN),
    to_the_edge,
)
fault("403 once", "401 and 403", survives_or_says_so(status=403, body=NO_RIGHT))
fault("403 for ever", "401 and 403", lasts(False, status=403, body=NO_RIGHT), not_to_the_edge)
fault(
    "403 for ever from the edge",
    "401 and 403",
    lasts(True, path=AT_THE_EDGE, status=403, body={"message": "Forbidden"}),
    to_the_edge,
)
fault(
    "IMS refuses once",
    "401 and 403",
    survives_or_says_so(status=400, body={"error": "invalid_client"}),
    to_ims,
)
fault("IMS token expires in the middle", "tokens expire", survives(expire_token=True), with_an_ims_token)
fault("all IMS tokens expire in the middle", "tokens expire", hours_pass)
fault("profile token expires in the middle", "tokens expire", profile_token_expires, to_the_edge)

fault("400", "4xx", survives_or_says_so(status=400, body={"title": "BadRequestError", "detail": "no"}))
fault("404", "4xx", survives_or_says_so(status=404, body={"title": "NotFoundError", "detail": "no"}))
fault("408", "4xx", survives(status=408, body="", headers=HTML))
fault("409", "4xx", survives_or_says_so(status=409, body={"title": "ConflictError", "detail": "no"}))
fault(
    "409 after it is committed",
    "4xx",
    survives_or_says_so(status=409, body={"title": "ConflictError", "detail": "no"}, phase="after"),
)

TOO_MANY = {"error_code": "429050", "message": "Too many requests"}
fault("429", "429", survives(status=429, body=TOO_MANY))
fault("429 with seconds", "429", survives(status=429, body=TOO_MANY, headers={"retry-after": "2"}))
fault(
    "429 with a date",
    "429",
    survives(status=429, body=TOO_MANY, headers={"retry-after": formatdate(0, usegmt=True)}),
)
fault(
    "429 with an absurd wait",
    "429",
    survives(status=429, body=TOO_MANY, headers={"retry-after": "99999999999999999999"}),
)
fault("429 with nonsense", "429", survives(status=429, body=TOO_MANY, headers={"retry-after": "-soon"}))
fault("429 for ever", "429", lasts(True, status=429, body=TOO_MANY, headers={"retry-after": "1"}))
IMS_IS_BUSY = {"error": "too_many_requests", "error_description": "Try again later"}
fault("IMS throttles", "429", survives(status=429, body=IMS_IS_BUSY, headers={"retry-after": "2"}), to_ims)
fault("IMS throttles for ever", "429", lasts(True, path="^/ims/", status=429, body=IMS_IS_BUSY), to_ims)

for _status in (500, 502, 503, 504):
    fault(f"{_status}", "5xx", survives(status=_status, body=GATEWAY))
    fault(
        f"{_status} after it is committed",
        "5xx",
        survives(status=_status, body=LOGIN_PAGE, headers=HTML, phase="after"),
    )
fault("503 in the middle of the body", "5xx", survives(status=503, body=GATEWAY, phase="body"), with_body)
fault("500 for ever", "5xx", lasts(None, status=500, body=GATEWAY))

fault("clock jumps an hour forward", "clock", jumps(3600), every_moment)
fault("clock jumps an hour back", "clock", jumps(-3600), every_moment)

fault("two runs at once, interleaved before the request", "two at once", another_run("before"), every_moment)
fault(
    "two runs at once, interleaved after it is committed", "two at once", another_run("after"), every_moment
)
fault("the lost process comes back, before the request", "two at once", zombie("before"), every_moment)
fault("the lost process comes back, after it is committed", "two at once", zombie("after"), every_moment)

fault("cleared and run again", "clear", cleared_and_rerun, first_request)
