# SPDX-License-Identifier: Apache-2.0
"""Operations of Target's Admin API that the emulator leaves out."""

from __future__ import annotations

READ = ("GET",)
WRITE = ("PUT",)
CREATE = ("POST",)
ONE = ("GET", "PUT", "DELETE")
MANY = ("GET", "POST")
SINGLE = ("GET", "PUT")
ACTIVITIES = ("", "/ab", "/xt")

_OPERATIONS: dict[str, tuple[str, ...]] = {
    "/activities": READ,
    **dict.fromkeys((f"/activities/{kind}" for kind in ("ab", "xt", "abt", "autoallocate")), CREATE),
    **dict.fromkeys((f"/activities/{kind}/{{id}}" for kind in ("ab", "xt", "abt", "autoallocate")), ONE),
    **dict.fromkeys(
        (f"/activities/{kind}/{{id}}/qamode" for kind in ("ab", "xt", "abt", "autoallocate")), CREATE
    ),
    **dict.fromkeys(
        (
            f"/activities{kind}/{{id}}/{field}"
            for kind in ACTIVITIES
            for field in ("state", "schedule", "priority", "name")
        ),
        WRITE,
    ),
    "/activities/{id}/changelog": READ,
    **dict.fromkeys(
        (
            f"/activities/{kind}/{{id}}/report/{report}"
            for kind in ("ab", "xt", "abt")
            for report in ("performance", "orders")
        ),
        READ,
    ),
    "/atjs/settings": SINGLE,
    "/atjs/versions": READ,
    "/audiences": CREATE,
    "/audiences/{id}": ("GET", "PUT", "PATCH", "DELETE"),
    "/authorizedHosts": SINGLE,
    "/batch": CREATE,
    "/clients/ipfilter/{type}": SINGLE,
    "/clients/uisettings": SINGLE,
    "/environments": MANY,
    "/environments/{id}": ONE,
    "/environments/defaults": SINGLE,
    "/hosts": READ,
    "/hosts/{hostName}": ("PUT", "DELETE"),
    "/mbox/{mboxName}": READ,
    "/mboxes": READ,
    "/offers": READ,
    **dict.fromkeys((f"/offers/{kind}" for kind in ("content", "json", "recs")), CREATE),
    **dict.fromkeys((f"/offers/{kind}/{{id}}" for kind in ("content", "json", "recs")), ONE),
    "/offers/templates": READ,
    "/offers/templates/{id}": READ,
    "/ondevicedecisioning/bundle": READ,
    "/ondevicedecisioning/bundle/aep": READ,
    "/profileattributes/mbox": READ,
    "/properties": MANY,
    "/properties/{id}": ONE,
    "/responsetokens": MANY,
    "/responsetokens/{id}": ("DELETE",),
    "/revisions/{type}": READ,
    "/revisions/{type}/{id}": READ,
    "/revisions/{type}/{id}/revision": READ,
    "/revisions/{type}/{id}/revision/{revision}": READ,
}

LEFT_OUT = {f"/{{tenant}}/target{path}": methods for path, methods in _OPERATIONS.items()}
